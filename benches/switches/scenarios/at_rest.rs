//! A switch with nothing to do: how soon it serves, what memory it holds, and whether it really sleeps.

use std::thread;
use std::time::Instant;

use anyhow::Result;

use super::overload;
use crate::competitor::USUAL;
use crate::measure::{Better, Goal, Unit};
use crate::place::Placement;
use crate::scenario::{Bed, Options, Samples, Scenario};

/// One, with our goals for hosts where many switches rest.
pub fn scenarios() -> Vec<Scenario> {
    let least = |name, unit, goal: Option<f64>| {
        overload::metric(name, unit, Better::Lower, goal.map(Goal::AtMost))
    };
    vec![Scenario {
        name: "at rest".into(),
        columns: USUAL,
        queue_lengths: &[10],
        placement: Placement::One,
        options: Options::NONE,
        metrics: vec![
            least(START, Unit::Microseconds, Some(5000.0)),
            least(MEMORY, Unit::Kibibytes, Some(4096.0)),
            least(CPU, Unit::Microseconds, None),
        ],
        run,
    }]
}

fn run(bed: &Bed<'_>) -> Result<Samples> {
    thread::sleep(bed.seconds(0.5));
    let memory = bed.switch.resident_kib()?;
    let _guests = bed.guests(2)?;
    let (before, start) = (bed.switch.cpu()?, Instant::now());
    thread::sleep(bed.seconds(1.0));
    let cpu = bed.switch.cpu()? - before;
    Ok(Samples::default()
        .with(START, bed.switch.started_in().as_secs_f64() * 1e6)
        .with(MEMORY, memory as f64)
        .with(CPU, cpu.as_secs_f64() * 1e6 / start.elapsed().as_secs_f64()))
}

/// To the first connection; a client that finds nobody tries again every 100 us or so.
const START: &str = "start";

/// Resident, without guests.
const MEMORY: &str = "memory";

/// Processor time for each second with two guests that say nothing.
const CPU: &str = "CPU in a second";
