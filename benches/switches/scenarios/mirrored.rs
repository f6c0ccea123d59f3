//! Everything is recorded: what that costs those whose frames they are. The same work with and
//! without, in turns on the same running switch.

use anyhow::{Result, ensure};

use super::overload::{self, Flow, Limit};
use super::round_trip;
use crate::competitor::USUAL;
use crate::measure::{Better, Goal, Metric, Spread, Unit};
use crate::mirror::{Mirror, OPTIONS};
use crate::place::Placement;
use crate::scenario::{BOTH, Bed, Run, Samples, Scenario};

/// An overload and lone round trips, with all on one processor and with the switch on one of its own.
pub fn scenarios() -> Vec<Scenario> {
    let mirrored = |name: &str, placement, run: Run, metrics| Scenario {
        name: name.to_owned(),
        columns: USUAL,
        queue_lengths: BOTH,
        placement,
        options: OPTIONS,
        metrics,
        run,
    };
    let (one, two) = (Placement::One, Placement::Two);
    vec![
        mirrored("overload, 64 bytes, all mirrored, one CPU", one, small, load_metrics()),
        mirrored("overload, 1514 bytes, all mirrored, one CPU", one, full, load_metrics()),
        mirrored("overload, 64 bytes, all mirrored, two CPUs", two, small, load_metrics()),
        mirrored("overload, 1514 bytes, all mirrored, two CPUs", two, full, load_metrics()),
        mirrored("lone round trip, all mirrored, one CPU", one, lone, lone_metrics()),
        mirrored("lone round trip, all mirrored, two CPUs", two, lone, lone_metrics()),
    ]
}

fn load_metrics() -> Vec<Metric> {
    let metric = overload::metric;
    vec![
        metric("delivered", Unit::PerSecond, Better::Higher, None),
        metric(KEPT, Unit::Percent, Better::Higher, Some(Goal::AtLeast(85.0))),
        metric("lost", Unit::Percent, Better::Lower, overload::NOTHING),
        metric(NOT_RECORDED, Unit::Percent, Better::Lower, None),
    ]
}

fn lone_metrics() -> Vec<Metric> {
    vec![
        overload::metric("p50", Unit::Microseconds, Better::Lower, None),
        overload::metric(TIMES, Unit::Percent, Better::Lower, Some(Goal::AtMost(105.0))),
    ]
}

fn small(bed: &Bed<'_>) -> Result<Samples> {
    load(bed, 64)
}

fn full(bed: &Bed<'_>) -> Result<Samples> {
    load(bed, 1514)
}

fn load(bed: &Bed<'_>, len: usize) -> Result<Samples> {
    let guests = bed.guests(2)?;
    let once = || {
        let flow = Flow::new(&guests[0], &guests[1], len);
        overload::run(bed, &[flow], 1, Limit::time(bed.seconds(0.25)))
    };
    let (mut rates, mut lost, mut missing) = (Vec::new(), Vec::new(), Vec::new());
    let mut parts = Vec::new();
    for _ in 0..TURNS {
        let before = once()?.delivered();
        let mirror = bed.on_clients_cpu(|| Mirror::start(bed.switch))?;
        let load = once()?;
        let recorded = mirror.end(|frame| frame.len() == len)?;
        let after = once()?.delivered();
        let without = f64::midpoint(before, after);
        ensure!(without > 0.0, "nothing arrives");
        let accepted: u64 = load.tallies.iter().map(|tally| tally.accepted).sum();
        rates.push(load.delivered());
        parts.push(100.0 * load.delivered() / without);
        lost.push(load.lost());
        missing.push(overload::lost(accepted, recorded));
    }
    Ok(Samples::default()
        .with("delivered", median(rates))
        .with(KEPT, median(parts))
        .with("lost", median(lost))
        .with(NOT_RECORDED, median(missing)))
}

fn lone(bed: &Bed<'_>) -> Result<Samples> {
    let guests = bed.guests(2)?;
    let once = || -> Result<f64> {
        let times = round_trip::times(bed, &guests[0], &guests[1], bed.seconds(0.25))?;
        Ok(times.value_at_quantile(0.5) as f64 / 1e3)
    };
    let (mut times, mut parts) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        let before = once()?;
        let mirror = bed.on_clients_cpu(|| Mirror::start(bed.switch))?;
        let with = once()?;
        drop(mirror);
        let after = once()?;
        times.push(with);
        parts.push(100.0 * with / f64::midpoint(before, after));
    }
    Ok(Samples::default().with("p50", median(times)).with(TIMES, median(parts)))
}

fn median(values: Vec<f64>) -> f64 {
    Spread::of(values).map_or(f64::NAN, |spread| spread.median)
}

/// How often it is mirrored, between two runs without.
const TURNS: u32 = 3;

const KEPT: &str = "of that without";
const TIMES: &str = "of that without";
const NOT_RECORDED: &str = "not recorded";
