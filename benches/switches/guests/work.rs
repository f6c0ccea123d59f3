//! What guests are made to do, and what is measured meanwhile.
//!
//! The kernel of a guest sends without waiting: it drops what the switch has no room for, and
//! counts that. Those frames have never been on the network, so they are apart from the lost, and
//! so are the ones that the receiver's kernel had and its socket did not take. Lost is what one
//! interface has sent and the other has not received.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::base::Base;
use super::network::{LINUX_BRIDGE, VDE_SWITCH};
use super::site::{SERVER, Site, Station};
use super::transport::{Transport, address};
use crate::measure::{Better, Goal, Metric, Unit};
use crate::scenario::Samples;

/// One thing to do on a running site.
#[derive(Clone, Debug)]
pub struct Work {
    /// What the results call it.
    pub name: String,
    pub metrics: Vec<Metric>,
    /// For one more figure.
    pub base: Option<Base>,
    /// Of the guests. Works of the same one follow each other.
    pub transport: Transport,
    task: Task,
}

#[derive(Clone, Copy, Debug)]
enum Task {
    /// At a rate as `iperf3` wants it.
    Udp(Station, &'static str),
    Tcp,
    Ping,
    PingBesideTcp,
}

/// Everything, in the order in which it is done and shown.
pub fn all() -> Vec<Work> {
    let udp = |from, way| {
        RATES.map(|(megabits, rate)| Work {
            name: format!("real guests, UDP 80 bytes at {megabits} Mbit/s, {way}"),
            metrics: udp_metrics(),
            base: None,
            transport: Transport::Daemon,
            task: Task::Udp(from, rate),
        })
    };
    let mut all = Vec::new();
    all.extend(udp(Station::Guest(CLIENT), "guest to guest"));
    all.extend(udp(Station::Host, "host to guest"));
    all.push(Work {
        name: "real guests, bulk TCP".into(),
        metrics: vec![throughput(Some(Goal::RatioAtLeast(2.5)))],
        base: None,
        transport: Transport::Daemon,
        task: Task::Tcp,
    });
    all.push(Work {
        name: "real guests, ping by the host beside bulk TCP".into(),
        // A switch that carries less bulk has it easier.
        metrics: [
            ping_metrics(Some(Goal::RatioAtMost(0.7)), ("p99", None)),
            vec![throughput(None)],
        ]
        .concat(),
        base: None,
        transport: Transport::Daemon,
        task: Task::PingBesideTcp,
    });
    all.extend(BESS_MTUS.map(|(mtu, goal, base)| Work {
        name: format!("real guests, bulk TCP between `bess` guests, MTU {mtu}"),
        metrics: vec![throughput(goal)],
        base,
        transport: Transport::Bess { mtu },
        task: Task::Tcp,
    }));
    all.push(Work {
        name: "real guests, bulk TCP between `vde` guests".into(),
        metrics: vec![throughput(None)],
        base: Some(VDE),
        transport: Transport::Vde,
        task: Task::Tcp,
    });
    all.extend(QEMU.into_iter().flat_map(|(netdev, transport)| {
        let work = |what, metrics, task| Work {
            name: format!("real guests, {what} between QEMU guests, {netdev}"),
            metrics,
            base: None,
            transport,
            task,
        };
        // They are to be no worse off than on vde_switch. The average is mostly of the times when QEMU
        // did not get to run, so it is not judged.
        let tcp = vec![throughput(Some(Goal::RatioAtLeast(1.0)))];
        let ping = ping_metrics(None, ("p50", Some(Goal::RatioAtMost(1.0))));
        [work("bulk TCP", tcp, Task::Tcp), work("ping", ping, Task::Ping)]
    }));
    all
}

impl Work {
    /// Whether frames were lost between interfaces.
    pub fn lost(&self, samples: &Samples) -> bool {
        let metric = self.metrics.iter().find(|metric| metric.name == LOST_BETWEEN);
        metric.and_then(|metric| samples.of(metric)).is_some_and(|lost| lost > 0.0)
    }

    /// Does it.
    pub fn run(&self, site: &mut Site) -> Result<Samples> {
        match self.task {
            Task::Udp(from, rate) => udp(site, from, rate),
            Task::Tcp => tcp(site),
            Task::Ping => ping(site),
            Task::PingBesideTcp => ping_beside_tcp(site),
        }
    }
}

/// The share of frames that were sent and not received, in percent: 0 is what is wanted.
const LOST_BETWEEN: &str = "lost between interfaces";

fn udp_metrics() -> Vec<Metric> {
    let share = |name, goal| Metric { name, unit: Unit::Percent, better: Better::Lower, goal };
    vec![
        share(LOST_BETWEEN, Some(Goal::AtMost(0.0))),
        share("dropped by sender", None),
        share("dropped by receiver", None),
        Metric { name: "delivered", unit: Unit::PerSecond, better: Better::Higher, goal: None },
    ]
}

fn udp(site: &mut Site, from: Station, rate: &str) -> Result<Samples> {
    let (sender, receiver) = (site.counters(from)?, site.counters(RECEIVER)?);
    let seconds = site.seconds(3.0);
    let report =
        site.run(from, &client(seconds, &format!("--udp --length 80 --bitrate {rate}")))?;
    let took = number(&parse(&report)?, "/end/sum_sent/seconds")?;
    let receiver = site.counters_at_rest(RECEIVER)?.since(receiver);
    let sender = site.counters(from)?.since(sender);
    let lost = sender.sent.checked_sub(receiver.received).context("more came than was sent")?;
    let offered = sender.sent + sender.dropped_at_sending;
    Ok(Samples::default()
        .with(LOST_BETWEEN, percent(lost, sender.sent)?)
        .with("dropped by sender", percent(sender.dropped_at_sending, offered)?)
        .with("dropped by receiver", percent(receiver.dropped_at_receipt, receiver.received)?)
        .with("delivered", receiver.received as f64 / took))
}

fn throughput(goal: Option<Goal>) -> Metric {
    Metric { name: "throughput", unit: Unit::Megabits, better: Better::Higher, goal }
}

fn tcp(site: &mut Site) -> Result<Samples> {
    let report = site.run(Station::Guest(CLIENT), &client(site.seconds(4.0), ""))?;
    Ok(Samples::default().with("throughput", received_megabits(&report)?))
}

/// Those of pings, with what is to be reached on average, and at one more quantile.
fn ping_metrics(average: Option<Goal>, quantile: (&'static str, Option<Goal>)) -> Vec<Metric> {
    let time = |name, goal| Metric { name, unit: Unit::Microseconds, better: Better::Lower, goal };
    vec![
        Metric {
            name: "lost",
            unit: Unit::Percent,
            better: Better::Lower,
            goal: Some(Goal::AtMost(0.0)),
        },
        time("average", average),
        time(quantile.0, quantile.1),
    ]
}

fn ping(site: &mut Site) -> Result<Samples> {
    let count = 100 * site.seconds(3.0);
    // The first has to ask where the other one is.
    let server = address(SERVER);
    let pings = format!("fping -q {server} && {}", pings(count, &server));
    times(&site.run(Station::Guest(CLIENT), &pings)?, count)
}

fn ping_beside_tcp(site: &mut Site) -> Result<Samples> {
    let count = 100 * site.seconds(3.0);
    let before = site.counters(Station::Guest(CLIENT))?;
    let start = Instant::now();
    let bulk = site.start_in(CLIENT, &client(site.seconds(3.0) + MARGIN, ""))?;
    while site.counters(Station::Guest(CLIENT))?.since(before).sent < UNDER_WAY {
        ensure!(start.elapsed() < START_LIMIT, "bulk TCP does not start");
        thread::sleep(Duration::from_millis(10));
    }
    let pings = site.run(Station::Host, &pings(count, &address(PINGED)))?;
    let pinged = start.elapsed();
    let report = site.finish_in(CLIENT, bulk)?;
    let bulk_lasted = number(&parse(&report)?, "/end/sum_sent/seconds")?;
    ensure!(pinged.as_secs_f64() < bulk_lasted, "bulk TCP ended before the pings");
    Ok(times(&pings, count)?.with("throughput", received_megabits(&report)?))
}

/// The command line for so many pings. It sends on schedule, whether there are answers or not, and
/// ends with 1 if there are none.
fn pings(count: u64, address: &str) -> String {
    format!("{{ fping -q -C {count} -p 10 -t 1000 {address} || [[ $? = 1 ]]; }}")
}

/// What a report of `count` pings says.
fn times(report: &str, count: u64) -> Result<Samples> {
    let (mut times, lost) = round_trips(report)?;
    let samples = Samples::default().with("lost", percent(lost, count)?);
    times.sort_by(f64::total_cmp);
    let Some(last) = times.len().checked_sub(1) else { return Ok(samples) };
    let average = times.iter().sum::<f64>() / times.len() as f64;
    Ok(samples
        .with("average", average)
        .with("p50", times[last / 2])
        .with("p99", times[last * 99 / 100]))
}

/// The times in microseconds in a report of `fping`, and how many pings have none.
fn round_trips(report: &str) -> Result<(Vec<f64>, u64)> {
    let (mut times, mut lost) = (Vec::new(), 0);
    let line = report.lines().find_map(|line| line.split_once(" : "));
    for word in line.context("no report by fping")?.1.split_whitespace() {
        match word {
            "-" => lost += 1,
            milliseconds => times.push(milliseconds.parse::<f64>().context("fping")? * 1e3),
        }
    }
    Ok((times, lost))
}

/// The command line of a client of `iperf3`, with some more options; reports once, at its end.
fn client(seconds: u64, options: &str) -> String {
    let server = address(SERVER);
    let options = format!("--interval 0 --json {options}");
    let limit = seconds + 20;
    // What goes wrong is in the report.
    format!("timeout {limit} iperf3 --client {server} --time {seconds} {options} || :")
}

fn received_megabits(report: &str) -> Result<f64> {
    Ok(number(&parse(report)?, "/end/sum_received/bits_per_second")? / 1e6)
}

fn parse(report: &str) -> Result<Value> {
    let report: Value = serde_json::from_str(report).context("no report by iperf3")?;
    if let Some(error) = report.get("error") {
        bail!("iperf3: {error}");
    }
    Ok(report)
}

fn number(report: &Value, at: &str) -> Result<f64> {
    report.pointer(at).and_then(Value::as_f64).with_context(|| format!("iperf3: no {at}"))
}

fn percent(part: u64, of: u64) -> Result<f64> {
    ensure!(of > 0, "nothing was sent");
    Ok(100.0 * part as f64 / of as f64)
}

/// Who receives.
const RECEIVER: Station = Station::Guest(SERVER);

/// The guest that sends.
const CLIENT: u32 = 1;

/// The guest that answers pings and does nothing else.
const PINGED: u32 = 3;

/// Megabits a second, and how to ask `iperf3` for them. It looks at its clock and its sockets
/// between datagrams, which takes a guest so long that it does not get far beyond 2 unless it sends
/// some at once.
const RATES: [(u32, &str); 3] = [(2, "2M"), (8, "8M/10"), (20, "20M/10")];

/// MTUs of `bess` guests on ours, and what they are to move: so many times what the guests of the C
/// program do, or, where those would be no match, the guests of who moves such frames too.
const BESS_MTUS: [(u32, Option<Goal>, Option<Base>); 3] = [
    (1500, Some(Goal::RatioAtLeast(2.5)), None),
    (9000, Some(Goal::RatioAtLeast(6.0)), None),
    (65000, None, Some(BRIDGE)),
];

const BRIDGE: Base =
    Base { competitor: LINUX_BRIDGE, times: "times the Linux bridge", at_least: 0.8 };

/// For `vde` guests, which move about half of what `daemon` guests do, whatever the switch.
const VDE: Base = Base { competitor: VDE_SWITCH, times: "times vde_switch", at_least: 1.0 };

/// How guests of QEMU are plugged into ours, and what the names call it.
const QEMU: [(&str, Transport); 2] =
    [("vde", Transport::QemuVde), ("stream", Transport::QemuStream)];

/// Frames that show that bulk TCP has left its beginning behind; large ones, on some networks.
const UNDER_WAY: u64 = 300;

const START_LIMIT: Duration = Duration::from_secs(10);

/// Seconds by which bulk TCP lasts longer than the pings.
const MARGIN: u64 = 3;
