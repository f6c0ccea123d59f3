//! A small flow and bulk to the same guest, which takes so many frames a second and no more: here
//! only the order in which the switch sends what waits can help the small flow.
//!
//! The bulk comes from another guest or from the same one. Senders wait for room, see
//! [`exchange`](crate::exchange), so what is over the receiver's rate need not be lost.

use std::time::Duration;

use anyhow::Result;

use crate::exchange::{Pace, Reads, Receiver, SMALL, SMALL_FRAME, Sender, exchange};
use crate::measure::{Better, Goal, Metric, Unit};
use crate::place::Placement;
use crate::scenario::{BOTH, Bed, Run, Samples, Scenario};
use crate::traffic::{FULL, Flow, with_delays};

/// With bulk of 80, 100 and 150 % of what the receiver takes.
pub fn scenarios() -> Vec<Scenario> {
    let same = |name: &str, goal, run: Run| Scenario {
        name: name.to_owned(),
        queue_lengths: BOTH,
        placement: Placement::One,
        options: &[],
        metrics: metrics(goal),
        run,
    };
    vec![
        same("same port, bulk of 80 %", None, |bed| from_another(bed, 80)),
        same("same port, bulk of 100 %", None, |bed| from_another(bed, 100)),
        same("same port, bulk of 150 %", Some(Goal::RatioAtMost(1.1)), |bed| {
            from_another(bed, 150)
        }),
        same("same port, same source, bulk of 150 %", None, |bed| from_the_same(bed, 150)),
    ]
}

fn metrics(p50: Option<Goal>) -> Vec<Metric> {
    use Unit::{Microseconds, PerSecond, Percent};
    let lower = |name, unit, goal| Metric { name, unit, better: Better::Lower, goal };
    let none = Some(Goal::AtMost(0.0));
    vec![
        lower("p50", Microseconds, p50),
        lower("p99", Microseconds, None),
        lower("small lost", Percent, none),
        lower("refused", Percent, None),
        lower("bulk lost", Percent, none),
        Metric { name: "bulk delivered", unit: PerSecond, better: Better::Higher, goal: None },
    ]
}

fn from_another(bed: &Bed<'_>, load: u32) -> Result<Samples> {
    run(bed, load, 2)
}

fn from_the_same(bed: &Bed<'_>, load: u32) -> Result<Samples> {
    run(bed, load, 1)
}

/// The first guest receives, the second sends the small flow, and the one at `source` the bulk.
fn run(bed: &Bed<'_>, load: u32, source: usize) -> Result<Samples> {
    let guests = bed.guests(3)?;
    let (reader, player, source) = (&guests[0], &guests[1], &guests[source]);
    let small = Flow::new((player, reader), 1, SMALL_FRAME)?;
    let bulk = Flow::new((source, reader), 2, FULL)?;
    let pace = Pace { frames: TAKEN.frames, every: TAKEN.every * 100 / load };
    let time = bed.seconds(1.5);
    let senders = vec![
        Sender { guest: player, flows: vec![small], pace: Some(SMALL) },
        Sender { guest: source, flows: vec![bulk], pace: Some(pace) },
    ];
    let receiver = Receiver { guest: reader, reads: Reads::At(TAKEN) };
    let fates = exchange(bed, time, senders, &[receiver])?;
    let (small, bulk) = (&fates[0], &fates[1]);
    Ok(with_delays(Samples::default(), &small.arrived.delays, &[("p50", 0.5), ("p99", 0.99)])
        .with("small lost", small.lost()?)
        .with("refused", small.sent.refused())
        .with("bulk lost", bulk.lost()?)
        .with("bulk delivered", bulk.arrived.in_time as f64 / time.as_secs_f64()))
}

/// What the receiver takes: 20,000 frames a second.
const TAKEN: Pace = Pace { frames: 4, every: Duration::from_micros(200) };
