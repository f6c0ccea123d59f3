//! Guests that are only attached: whether those that speak notice them. The senders block; all is on one
//! processor.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::overload::{self, Flow, Limit, Load, NOTHING};
use super::round_trip;
use uml_switch::client::{Client, frame};

use crate::competitor::{ONLY_OURS, USUAL, WITH_MIXED};
use crate::measure::{Better, Goal, Unit};
use crate::place::Placement;
use crate::scenario::{Bed, Options, Run, Samples, Scenario};

/// From the two that speak to a lab full of others, and one where all speak.
pub fn scenarios() -> Vec<Scenario> {
    let ports = |name: &str, columns, run: Run, metrics| Scenario {
        name: name.to_owned(),
        columns,
        queue_lengths: &[10],
        placement: Placement::One,
        options: Options::NONE,
        metrics,
        run,
    };
    let load = |goal: Option<f64>| {
        overload::metrics(goal.map(Goal::RatioAtLeast), goal.and(NOTHING), None)
    };
    let mut growth = overload::metrics(None, NOTHING, None);
    growth.push(overload::metric(KEPT, Unit::Percent, Better::Higher, Some(Goal::AtLeast(90.0))));
    vec![
        ports("overload among 2 ports", WITH_MIXED, |bed| pair_among(bed, 2), load(None)),
        ports("overload among 32 ports", WITH_MIXED, |bed| pair_among(bed, 32), load(None)),
        ports("overload among 256 ports", WITH_MIXED, |bed| pair_among(bed, 256), load(None)),
        ports(
            "overload among 1000 ports",
            WITH_MIXED,
            |bed| pair_among(bed, 1000),
            load(Some(17.0)),
        ),
        ports("overload among 2 ports, then 1000", ONLY_OURS, two_then_1000, growth),
        ports("overload of 32 ports in turn", USUAL, all_in_turn, load(Some(3.0))),
        ports(
            "lone round trip among 1000 ports",
            WITH_MIXED,
            round_trip_among_1000,
            round_trip::metrics(Some(Goal::RatioAtMost(0.12))),
        ),
    ]
}

fn pair_among(bed: &Bed<'_>, count: u32) -> Result<Samples> {
    let guests = attach(bed, count, 2)?;
    Ok(pair_of(bed, &guests)?.samples())
}

/// The same two before and after the others are there.
fn two_then_1000(bed: &Bed<'_>) -> Result<Samples> {
    let guests = attach(bed, 2, 2)?;
    let alone = pair_of(bed, &guests)?.delivered();
    ensure!(alone > 0.0, "nothing arrives");
    let _others = attach_from(bed, 3, 1000)?;
    let load = pair_of(bed, &guests)?;
    Ok(load.samples().with(KEPT, 100.0 * load.delivered() / alone))
}

/// The first sends to the second.
fn pair_of(bed: &Bed<'_>, guests: &[Client]) -> Result<Load> {
    let flow = Flow::new(&guests[0], &guests[1], 64);
    overload::run(bed, &[flow], 1, Limit::time(bed.seconds(1.0)))
}

/// Sixteen pairs; one sender goes round them.
fn all_in_turn(bed: &Bed<'_>) -> Result<Samples> {
    let guests = attach(bed, 32, 32)?;
    let flows: Vec<_> =
        guests.chunks_exact(2).map(|pair| Flow::new(&pair[0], &pair[1], 64)).collect();
    let load = overload::run(bed, &flows, flows.len(), Limit::time(bed.seconds(1.0)))?;
    Ok(load.samples())
}

fn round_trip_among_1000(bed: &Bed<'_>) -> Result<Samples> {
    let guests = attach(bed, 1000, 2)?;
    round_trip::between(bed, &guests[0], &guests[1])
}

/// `count` guests, the first few of which, `known`, the switch knows; the others have said nothing.
///
/// No broadcast is sent: the C switch would leave its copies at the many that do not read, and have no
/// room for another frame. So each sends a frame to itself.
fn attach(bed: &Bed<'_>, count: u32, known: usize) -> Result<Vec<Client>> {
    let guests = attach_from(bed, 1, count)?;
    let known = &guests[..known];
    for guest in known {
        guest.send(&frame(guest.mac(), guest.mac(), 60))?;
    }
    // A frame each way shows that all are known; the first ones may have been flooded.
    for _ in 0..2 {
        for pair in known.chunks_exact(2) {
            // First who came last: where no handshake tells so, a guest that is heard is attached.
            exchange(&pair[1], &pair[0])?;
            exchange(&pair[0], &pair[1])?;
        }
        for guest in &guests {
            guest.discard()?;
        }
    }
    Ok(guests)
}

/// The guests from `first` to `last`, of which the switch knows nothing yet.
fn attach_from(bed: &Bed<'_>, first: u32, last: u32) -> Result<Vec<Client>> {
    let start = Instant::now();
    let mut guests = Vec::new();
    for n in first..=last {
        ensure!(start.elapsed() < ATTACH_LIMIT, "only {} of {last} ports in time", n - 1);
        let guest = bed.switch.client(n);
        guests.push(guest.with_context(|| format!("guest {n} of {last}"))?);
    }
    Ok(guests)
}

fn exchange(from: &Client, to: &Client) -> Result<()> {
    from.send(&frame(to.mac(), from.mac(), 60))?;
    ensure!(to.receive(&mut [0; 64])?.is_some(), "a lone frame is lost");
    Ok(())
}

/// What two deliver among 1000, of what they do alone.
const KEPT: &str = "of that among 2";

const ATTACH_LIMIT: Duration = Duration::from_secs(20);
