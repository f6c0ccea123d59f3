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

use super::network::{Transport, address};
use super::site::{SERVER, Site, Station};
use crate::measure::{Better, Goal, Metric, Unit};
use crate::scenario::Samples;

/// One thing to do on a running site.
#[derive(Clone, Debug)]
pub struct Work {
    /// What the results call it.
    pub name: String,
    pub metrics: Vec<Metric>,
    /// Of the guests. Works of the same one follow each other.
    pub transport: Transport,
    task: Task,
}

#[derive(Clone, Copy, Debug)]
enum Task {
    /// At a rate as `iperf3` wants it.
    Udp(Station, &'static str),
    Tcp,
    PingBesideTcp,
}

/// Everything, in the order in which it is done and shown.
pub fn all() -> Vec<Work> {
    let udp = |from, way| {
        RATES.map(|(megabits, rate)| Work {
            name: format!("real guests, UDP 80 bytes at {megabits} Mbit/s, {way}"),
            metrics: udp_metrics(),
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
        transport: Transport::Daemon,
        task: Task::Tcp,
    });
    all.push(Work {
        name: "real guests, ping by the host beside bulk TCP".into(),
        metrics: ping_metrics(),
        transport: Transport::Daemon,
        task: Task::PingBesideTcp,
    });
    all.extend(BESS_MTUS.map(|(mtu, goal)| Work {
        name: format!("real guests, bulk TCP between `bess` guests, MTU {mtu}"),
        metrics: vec![throughput(Some(Goal::RatioAtLeast(goal)))],
        transport: Transport::Bess { mtu },
        task: Task::Tcp,
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

fn ping_metrics() -> Vec<Metric> {
    let time = |name, goal| Metric { name, unit: Unit::Microseconds, better: Better::Lower, goal };
    vec![
        Metric {
            name: "lost",
            unit: Unit::Percent,
            better: Better::Lower,
            goal: Some(Goal::AtMost(0.0)),
        },
        time("average", Some(Goal::RatioAtMost(0.7))),
        time("p99", None),
        // A switch that carries less bulk has it easier.
        throughput(None),
    ]
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
    // It sends on schedule, whether there are answers or not, and ends with 1 if there are none.
    let pings = format!("fping -q -C {count} -p 10 -t 1000 {} || [[ $? = 1 ]]", address(PINGED));
    let pings = site.run(Station::Host, &pings)?;
    let pinged = start.elapsed();
    let report = site.finish_in(CLIENT, bulk)?;
    let (mut times, lost) = round_trips(&pings)?;
    let bulk_lasted = number(&parse(&report)?, "/end/sum_sent/seconds")?;
    ensure!(pinged.as_secs_f64() < bulk_lasted, "bulk TCP ended before the pings");
    let samples = Samples::default()
        .with("lost", percent(lost, count)?)
        .with("throughput", received_megabits(&report)?);
    times.sort_by(f64::total_cmp);
    let Some(last) = times.len().checked_sub(1) else { return Ok(samples) };
    let average = times.iter().sum::<f64>() / times.len() as f64;
    Ok(samples.with("average", average).with("p99", times[last * 99 / 100]))
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

/// MTUs of `bess` guests on ours, and how much more they are to move than the guests of the others.
const BESS_MTUS: [(u32, f64); 3] = [(1500, 2.5), (9000, 6.0), (65000, 6.0)];

/// Frames that show that bulk TCP has left its beginning behind; large ones, on some networks.
const UNDER_WAY: u64 = 300;

const START_LIMIT: Duration = Duration::from_secs(10);

/// Seconds by which bulk TCP lasts longer than the pings.
const MARGIN: u64 = 3;
