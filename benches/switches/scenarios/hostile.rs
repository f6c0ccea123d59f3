//! A hostile receiver: it reads just fast enough that the switch goes on waiting for it, and so
//! keeps its senders waiting. What the small flow of one of them to somebody else has to suffer.
//!
//! The figure is the small flow's delay beside the hostile receiver against that beside a good one
//! which is sent the same, within one run of one switch. Senders wait for room, see
//! [`exchange`](crate::exchange).

use std::time::Duration;

use anyhow::{Context, Result};

use uml_switch::client::Client;

use crate::competitor::USUAL;
use crate::exchange::{Fate, Pace, Reads, Receiver, SMALL, SMALL_FRAME, Sender, exchange};
use crate::measure::{Better, Goal, Metric, Unit};
use crate::place::Placement;
use crate::scenario::{BOTH, Bed, Options, Samples, Scenario};
use crate::traffic::{FULL, Flow, with_delays};

/// One scenario.
pub fn scenarios() -> Vec<Scenario> {
    vec![Scenario {
        name: "beside a hostile receiver".to_owned(),
        columns: USUAL,
        queue_lengths: BOTH,
        placement: Placement::One,
        options: Options::NONE,
        metrics: metrics(),
        run,
    }]
}

fn metrics() -> Vec<Metric> {
    use Unit::{Microseconds, Percent, Ratio};
    let lower = |name, unit, goal| Metric { name, unit, better: Better::Lower, goal };
    vec![
        lower("p50 to that without", Ratio, Some(Goal::AtMost(1.1))),
        lower("p50", Microseconds, None),
        lower("p99", Microseconds, None),
        lower("lost", Percent, Some(Goal::AtMost(0.0))),
        lower("refused", Percent, None),
    ]
}

fn run(bed: &Bed<'_>) -> Result<Samples> {
    let guests = bed.guests(4)?;
    let without = small_flow(bed, &guests, Reads::Crawling(GOOD))?;
    let with = small_flow(bed, &guests, Reads::Crawling(HOSTILE))?;
    let mut samples = Samples::default().with("refused", with.sent.refused());
    let p50 = |fate: &Fate| fate.arrived.delays.value_at_quantile(0.5) as f64;
    if with.arrived.frames > 0 && without.arrived.frames > 0 {
        samples = samples.with("p50 to that without", p50(&with) / p50(&without));
    }
    let samples = with_delays(samples, &with.arrived.delays, &[("p50", 0.5), ("p99", 0.99)]);
    Ok(with.with_lost(samples, "lost"))
}

/// What becomes of the small flow while its source and another guest send bulk to a third one.
fn small_flow(bed: &Bed<'_>, guests: &[Client], reads: Reads) -> Result<Fate> {
    let [source, other, hostile, player] = guests else { unreachable!("there are four") };
    let bulk = |port, from| {
        let flows = vec![Flow::new((from, hostile), port, FULL)?];
        anyhow::Ok(Sender { guest: from, flows, pace: Some(BULK) })
    };
    let small = Flow::new((source, player), 1, SMALL_FRAME)?;
    let senders = vec![
        Sender { guest: source, flows: vec![small], pace: Some(SMALL) },
        bulk(2, source)?,
        bulk(3, other)?,
    ];
    let receivers =
        [Receiver { guest: player, reads: Reads::AtOnce }, Receiver { guest: hostile, reads }];
    let fates = exchange(bed, bed.seconds(1.5), senders, &receivers)?;
    fates.into_iter().next().context("no flow")
}

/// What each of the two sends: 10,000 frames a second, more than the hostile receiver takes of
/// both.
const BULK: Pace = Pace { frames: 2, every: Duration::from_micros(200) };

/// 75 frames in 10 ms, where our switch wants 64 of a receiver that it waits for.
const HOSTILE: Pace = Pace { frames: 3, every: Duration::from_micros(400) };

/// A good receiver keeps the same hours, for how busy the processor is tells too. It takes all: what
/// comes in that time fits the shortest queue.
const GOOD: Pace = Pace { frames: 64, every: HOSTILE.every };
