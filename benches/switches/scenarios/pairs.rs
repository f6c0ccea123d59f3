//! Eight guests that each send to one of eight others as fast as they are let: whether they get the
//! same. The senders block; all is on one processor.

use anyhow::Result;

use super::overload::{self, Flow, Limit, NOTHING};
use crate::competitor::BY_TRANSPORT;
use crate::measure::{Better, Goal, Unit};
use crate::place::Placement;
use crate::scenario::{BOTH, Bed, Options, Samples, Scenario};

/// Small frames.
pub fn scenarios() -> Vec<Scenario> {
    let mut metrics = overload::metrics(Some(Goal::RatioAtLeast(2.0)), NOTHING, None);
    let fair = Some(Goal::AtLeast(0.95));
    metrics.push(overload::metric(SLOWEST, Unit::Ratio, Better::Higher, fair));
    vec![Scenario {
        name: "8 pairs in overload, 64 bytes".into(),
        columns: BY_TRANSPORT,
        queue_lengths: BOTH,
        placement: Placement::One,
        options: Options::NONE,
        metrics,
        run,
    }]
}

fn run(bed: &Bed<'_>) -> Result<Samples> {
    let guests = bed.guests(16)?;
    let flows: Vec<_> =
        guests.chunks_exact(2).map(|pair| Flow::new(&pair[0], &pair[1], 64)).collect();
    let load = overload::run(bed, &flows, 1, Limit::time(bed.seconds(1.0)))?;
    let samples = load.samples();
    Ok(match load.slowest_to_fastest() {
        Some(ratio) => samples.with(SLOWEST, ratio),
        None => samples,
    })
}

const SLOWEST: &str = "slowest to fastest";
