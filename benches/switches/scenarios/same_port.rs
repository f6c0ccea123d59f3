//! A small flow and bulk to the same guest, which takes so many frames a second and no more: here
//! only the order in which the switch sends what waits can help the small flow.
//!
//! The bulk comes from another guest or, as another UDP flow, from the same one. Senders wait for
//! room, see [`exchange`](crate::exchange), so what is over the receiver's rate need not be lost.
//! Delays are of the frames that came, however few.

use std::time::Duration;

use anyhow::Result;

use crate::competitor::USUAL;
use crate::exchange::{Pace, Reads, Receiver, SMALL, SMALL_FRAME, Sender, exchange};
use crate::measure::{Better, Goal, Metric, Unit};
use crate::place::Placement;
use crate::scenario::{BOTH, Bed, Options, Run, Samples, Scenario};
use crate::traffic::{FULL, Flow, with_delays};

/// With bulk of 80, 100 and 150 % of what the receiver takes.
pub fn scenarios() -> Vec<Scenario> {
    let same = |name: &str, goal, run: Run| Scenario {
        name: name.to_owned(),
        columns: USUAL,
        queue_lengths: BOTH,
        placement: Placement::One,
        options: Options::NONE,
        metrics: metrics(goal),
        run,
    };
    let at_most = Some(Goal::RatioAtMost(1.1));
    vec![
        same("same port, bulk of 80 %", None, |bed| run(bed, steady(80), ANOTHER)),
        same("same port, bulk of 100 %", None, |bed| run(bed, steady(100), ANOTHER)),
        same("same port, bulk of 150 %", at_most, |bed| run(bed, steady(150), ANOTHER)),
        same("same port, same source, bulk of 150 %", None, |bed| run(bed, steady(150), PLAYER)),
        same("same port, same source, bulk in bursts", None, |bed| run(bed, BURSTS, PLAYER)),
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

/// The bulk comes from the guest at `source`.
fn run(bed: &Bed<'_>, pace: Pace, source: usize) -> Result<Samples> {
    let guests = bed.guests(3)?;
    let (reader, player, source) = (&guests[READER], &guests[PLAYER], &guests[source]);
    let small = Flow::new((player, reader), 1, SMALL_FRAME)?;
    let bulk = Flow::new((source, reader), 2, FULL)?;
    let time = bed.seconds(1.5);
    let senders = vec![
        Sender { guest: player, flows: vec![small], pace: Some(SMALL) },
        Sender { guest: source, flows: vec![bulk], pace: Some(pace) },
    ];
    let receiver = Receiver { guest: reader, reads: Reads::At(TAKEN) };
    let fates = exchange(bed, time, senders, &[receiver])?;
    let (small, bulk) = (&fates[0], &fates[1]);
    let samples = Samples::default()
        .with("refused", small.sent.refused())
        .with("bulk delivered", bulk.rate(time));
    let samples = with_delays(samples, &small.arrived.delays, &[("p50", 0.5), ("p99", 0.99)]);
    Ok(bulk.with_lost(small.with_lost(samples, "small lost"), "bulk lost"))
}

/// Bulk of so many percent of what the receiver takes.
fn steady(percent: u32) -> Pace {
    Pace { frames: TAKEN.frames, every: TAKEN.every * 100 / percent }
}

/// The places of the guests.
const READER: usize = 0;
const PLAYER: usize = 1;
const ANOTHER: usize = 2;

/// What the receiver takes: 20,000 frames a second.
const TAKEN: Pace = Pace { frames: 4, every: Duration::from_micros(200) };

/// Bulk that waits in the switch half of the time, but is never so much that its source must wait.
const BURSTS: Pace = Pace { frames: 100, every: Duration::from_millis(10) };
