//! Round trips while every processor is kept busy by somebody else, at normal priority: how long
//! frames wait until the switch is run.
//!
//! The client runs with a real-time priority, whoever the switch is, for it is not the client's
//! wait that is to be seen. Round trips begin by a schedule and count from when they were due: a
//! switch that is always under way would have used its share of the processor and wait for another
//! reason.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;
use nix::unistd::gettid;

use uml_switch::client::{Client, frame};

use crate::competitor::USUAL;
use crate::exchange::join;
use crate::measure::{Better, Goal, Metric, Unit};
use crate::place::{self, Cpus, Placement};
use crate::scenario::{BOTH, Bed, Options, Samples, Scenario};
use crate::traffic::{be_punctual, no_delays, now, sleep_until, with_delays};

/// With the switch and its client on one processor, and where the system puts them.
pub fn scenarios() -> Vec<Scenario> {
    let hogs = |name: &str, placement| Scenario {
        name: name.to_owned(),
        columns: USUAL,
        queue_lengths: BOTH,
        placement,
        options: Options::ours(REALTIME),
        metrics: metrics(),
        run,
    };
    vec![
        hogs("round trip amid hogs, one CPU, --realtime", Placement::One),
        hogs("round trip amid hogs, all CPUs, --realtime", Placement::Free),
    ]
}

fn metrics() -> Vec<Metric> {
    let quantile =
        |name, goal| Metric { name, unit: Unit::Microseconds, better: Better::Lower, goal };
    vec![
        quantile("p50", None),
        quantile("p99", None),
        quantile("p99.9", Some(Goal::RatioAtMost(0.5))),
    ]
}

fn run(bed: &Bed<'_>) -> Result<Samples> {
    let guests = bed.guests(2)?;
    let stop = &AtomicBool::new(false);
    let trips = thread::scope(|scope| {
        let hogs: Result<Vec<_>> = (0..place::available())
            .map(|cpu| place::on(Cpus::Only(cpu), || scope.spawn(move || burn(stop))))
            .collect();
        let trips = hogs.and_then(|_| {
            bed.on_clients_cpu(|| {
                join(vec![scope.spawn(|| round_trips(&guests, bed.seconds(2.0)))])
            })
        });
        stop.store(true, Ordering::Relaxed);
        trips
    })?;
    let quantiles = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)];
    Ok(with_delays(Samples::default(), &trips[0], &quantiles))
}

fn burn(stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        std::hint::spin_loop();
    }
}

fn round_trips(guests: &[Client], time: Duration) -> Result<Histogram<u64>> {
    let [near, far] = guests else { unreachable!("there are two") };
    let there = frame(far.mac(), near.mac(), 60);
    let back = frame(near.mac(), far.mac(), 60);
    let mut buffer = [0; 64];
    let mut times = no_delays()?;
    be_punctual()?;
    be_first()?;
    let mut due = now();
    let until = due + time;
    while due + EVERY <= until {
        sleep_until(due);
        near.send(&there)?;
        ensure!(far.receive(&mut buffer)?.is_some(), "a lone frame is lost");
        far.send(&back)?;
        ensure!(near.receive(&mut buffer)?.is_some(), "a lone frame is lost");
        times.saturating_record(now().saturating_sub(due).as_nanos() as u64);
        due += EVERY;
    }
    Ok(times)
}

/// Gives this thread a real-time priority.
fn be_first() -> Result<()> {
    let thread = gettid().to_string();
    let chrt = Command::new("chrt").args(["--fifo", "--pid", "1", &thread]).status();
    ensure!(chrt.context("cannot run chrt")?.success(), "no right to a real-time priority");
    Ok(())
}

/// Two of them a millisecond.
const EVERY: Duration = Duration::from_micros(500);

const REALTIME: &[&str] = &["--realtime"];
