//! A guest sends to one that reads slowly, or not at all, and in turn to one that reads at once:
//! what the second one still gets, and how evenly.
//!
//! Senders wait for room, see [`exchange`](crate::exchange). That is the hard case: a switch that
//! makes the sender wait for the slow one takes the time from the other.

use std::time::Duration;

use anyhow::Result;

use crate::competitor::USUAL;
use crate::exchange::{Pace, Reads, Receiver, Sender, exchange};
use crate::measure::{Better, Goal, Metric, Unit};
use crate::place::Placement;
use crate::scenario::{BOTH, Bed, Options, Run, Samples, Scenario};
use crate::traffic::Flow;

/// With a receiver that is slow, crawls, or has stopped.
pub fn scenarios() -> Vec<Scenario> {
    let slow = |name: &str, stalls, run: Run| Scenario {
        name: name.to_owned(),
        columns: USUAL,
        queue_lengths: BOTH,
        placement: Placement::One,
        options: Options::NONE,
        metrics: metrics(stalls),
        run,
    };
    let at_most_one = Some(Goal::AtMost(1.0));
    vec![
        slow("beside a slow receiver", None, |bed| run(bed, Some(Duration::from_millis(1)))),
        slow("beside a crawling receiver", at_most_one, |bed| {
            run(bed, Some(Duration::from_millis(4)))
        }),
        slow("beside a stopped receiver", at_most_one, |bed| run(bed, None)),
    ]
}

fn metrics(stalls: Option<Goal>) -> Vec<Metric> {
    use Unit::{Frames, Microseconds, PerSecond, Percent};
    let lower = |name, unit, goal| Metric { name, unit, better: Better::Lower, goal };
    let delivered = Some(Goal::RatioAtLeast(1.7));
    vec![
        Metric { name: "delivered", unit: PerSecond, better: Better::Higher, goal: delivered },
        lower("longest stall", Microseconds, Some(Goal::AtMost(12_000.0))),
        lower("stalls", Frames, stalls),
        lower("lost", Percent, Some(Goal::AtMost(0.0))),
    ]
}

/// The one receiver takes a frame `every` so long, or none; the figures are of the other.
fn run(bed: &Bed<'_>, every: Option<Duration>) -> Result<Samples> {
    let guests = bed.guests(3)?;
    let [source, slow, fast] = &guests[..] else { unreachable!("there are three") };
    let flows = vec![Flow::new((source, slow), 1, 60)?, Flow::new((source, fast), 2, 60)?];
    let mut receivers = vec![Receiver { guest: fast, reads: Reads::AtOnce }];
    receivers.extend(
        every.map(|every| Receiver {
            guest: slow,
            reads: Reads::Crawling(Pace { frames: 1, every }),
        }),
    );
    let time = bed.seconds(1.5);
    let fates = exchange(bed, time, vec![Sender { guest: source, flows, pace: None }], &receivers)?;
    let fast = &fates[1];
    let samples = Samples::default()
        .with("delivered", fast.rate(time))
        .with("longest stall", fast.arrived.longest_stall.as_secs_f64() * 1e6)
        .with("stalls", fast.arrived.stalls as f64);
    Ok(fast.with_lost(samples, "lost"))
}
