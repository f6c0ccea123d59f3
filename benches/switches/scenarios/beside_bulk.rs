//! A small flow between two guests while two others move bulk as fast as it goes: the delay that a
//! player feels when somebody else downloads.
//!
//! Senders wait for room, see [`exchange`](crate::exchange).

use anyhow::Result;

use crate::competitor::USUAL;
use crate::exchange::{Reads, Receiver, SMALL, SMALL_FRAME, Sender, exchange};
use crate::measure::{Better, Goal, Metric, Unit};
use crate::place::Placement;
use crate::scenario::{BOTH, Bed, Options, Samples, Scenario};
use crate::traffic::{FULL, Flow, with_delays};

/// With all on one processor and on two.
pub fn scenarios() -> Vec<Scenario> {
    let beside = |name: &str, placement, goal| Scenario {
        name: name.to_owned(),
        columns: USUAL,
        queue_lengths: BOTH,
        placement,
        options: Options::NONE,
        metrics: metrics(goal),
        run,
    };
    vec![
        beside("small flow beside bulk, one CPU", Placement::One, Some(Goal::RatioAtMost(0.9))),
        beside("small flow beside bulk, two CPUs", Placement::Two, None),
    ]
}

fn metrics(p50: Option<Goal>) -> Vec<Metric> {
    use Unit::{Microseconds, PerSecond, Percent};
    let lower = |name, unit, goal| Metric { name, unit, better: Better::Lower, goal };
    let none = Some(Goal::AtMost(0.0));
    vec![
        lower("p50", Microseconds, p50),
        lower("p99", Microseconds, None),
        lower("lost", Percent, none),
        lower("refused", Percent, None),
        lower("bulk lost", Percent, none),
        Metric { name: "bulk delivered", unit: PerSecond, better: Better::Higher, goal: None },
    ]
}

fn run(bed: &Bed<'_>) -> Result<Samples> {
    let guests = bed.guests(4)?;
    let [a, b, c, d] = &guests[..] else { unreachable!("there are four") };
    let small = Flow::new((a, b), 1, SMALL_FRAME)?;
    let bulk = Flow::new((c, d), 2, FULL)?;
    let time = bed.seconds(1.5);
    let senders = vec![
        Sender { guest: a, flows: vec![small], pace: Some(SMALL) },
        Sender { guest: c, flows: vec![bulk], pace: None },
    ];
    let receivers = [b, d].map(|guest| Receiver { guest, reads: Reads::AtOnce });
    let fates = exchange(bed, time, senders, &receivers)?;
    let (small, bulk) = (&fates[0], &fates[1]);
    let samples = Samples::default()
        .with("refused", small.sent.refused())
        .with("bulk delivered", bulk.rate(time));
    let samples = with_delays(samples, &small.arrived.delays, &[("p50", 0.5), ("p99", 0.99)]);
    Ok(bulk.with_lost(small.with_lost(samples, "lost"), "bulk lost"))
}
