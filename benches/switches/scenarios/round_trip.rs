//! One frame there, one frame back, nothing else: what each hop costs a player at the least.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use hdrhistogram::Histogram;

use uml_switch::client::{Client, frame};

use crate::competitor::{BY_TRANSPORT, LIBVDEPLUG, USUAL};
use crate::measure::{Better, Goal, Metric, Unit};
use crate::place::Placement;
use crate::scenario::{BOTH, Bed, Options, Samples, Scenario};

/// Lone round trips, with all on one processor and on two, and of the clients that vde_switch is for.
pub fn scenarios() -> Vec<Scenario> {
    let lone = |name: &str, columns, placement, options, most| Scenario {
        name: name.to_owned(),
        columns,
        queue_lengths: BOTH,
        placement,
        options,
        metrics: metrics(Some(Goal::RatioAtMost(most))),
        run: lone,
    };
    vec![
        lone("lone round trip, one CPU", BY_TRANSPORT, Placement::One, Options::NONE, 0.95),
        lone(
            "lone round trip of libvdeplug clients, one CPU",
            LIBVDEPLUG,
            Placement::One,
            Options::NONE,
            0.9,
        ),
        lone(
            "lone round trip, two CPUs, --busy-poll 50",
            USUAL,
            Placement::Two,
            Options::ours(BUSY_POLL),
            0.40,
        ),
        lone(
            "lone round trip of libvdeplug clients, two CPUs, --busy-poll 50",
            LIBVDEPLUG,
            Placement::Two,
            Options::ours(BUSY_POLL),
            0.9,
        ),
    ]
}

/// What [`between`] measures; `goal` is for the middle one of the times.
pub fn metrics(goal: Option<Goal>) -> Vec<Metric> {
    let quantile =
        |name, goal| Metric { name, unit: Unit::Microseconds, better: Better::Lower, goal };
    vec![quantile("p50", goal), quantile("p99", None)]
}

fn lone(bed: &Bed<'_>) -> Result<Samples> {
    let guests = bed.guests(2)?;
    between(bed, &guests[0], &guests[1])
}

/// Round trips between two guests that the switch knows.
pub fn between(bed: &Bed<'_>, near: &Client, far: &Client) -> Result<Samples> {
    let times = times(bed, near, far, bed.seconds(1.0))?;
    let quantile = |at| times.value_at_quantile(at) as f64 / 1e3;
    Ok(Samples::default().with("p50", quantile(0.5)).with("p99", quantile(0.99)))
}

/// How long round trips take for so much `time`, in nanoseconds.
pub fn times(bed: &Bed<'_>, near: &Client, far: &Client, time: Duration) -> Result<Histogram<u64>> {
    let there = frame(far.mac(), near.mac(), 60);
    let back = frame(near.mac(), far.mac(), 60);
    let end = Instant::now() + time;
    let mut times = Histogram::<u64>::new_with_bounds(1, 60_000_000_000, 3)?;
    let mut buffer = [0; 64];
    bed.on_clients_cpu(|| {
        while Instant::now() < end {
            let start = Instant::now();
            near.send(&there)?;
            ensure!(far.receive(&mut buffer)?.is_some(), "a lone frame is lost");
            far.send(&back)?;
            ensure!(near.receive(&mut buffer)?.is_some(), "a lone frame is lost");
            times.saturating_record(start.elapsed().as_nanos() as u64);
        }
        Ok(times)
    })
}

const BUSY_POLL: &[&str] = &["--busy-poll", "50"];
