//! Bursts to a guest that does not read for 5 ms, as one does that its host has not run, and then reads
//! on: whether it finds them whole.
//!
//! The sender waits for room, except where a name says "sent without waiting": there it drops what
//! is refused, as a kernel's `daemon` transport does, and only frames that were accepted can be lost.

use std::thread;
use std::time::Duration;

use anyhow::Result;

use super::overload::{self, Arrivals, NOTHING, QUIET};
use uml_switch::client::{Client, frame};

use crate::competitor::USUAL;
use crate::measure::{Better, Unit};
use crate::place::Placement;
use crate::scenario::{BOTH, Bed, Options, Run, Samples, Scenario};

/// Bursts of three lengths, and the shortest without waiting.
pub fn scenarios() -> Vec<Scenario> {
    let burst = |name: &str, run: Run, metrics| Scenario {
        name: name.to_owned(),
        columns: USUAL,
        queue_lengths: BOTH,
        placement: Placement::One,
        options: Options::NONE,
        metrics,
        run,
    };
    let lost = || overload::metric("lost", Unit::Percent, Better::Lower, NOTHING);
    let refused = overload::metric("refused", Unit::Percent, Better::Lower, None);
    let kernel: Run = |bed| bursts(bed, 64, false);
    vec![
        burst("burst of 64 to a reader that pauses", |bed| bursts(bed, 64, true), vec![lost()]),
        burst("burst of 256 to a reader that pauses", |bed| bursts(bed, 256, true), vec![lost()]),
        burst("burst of 1024 to a reader that pauses", |bed| bursts(bed, 1024, true), vec![lost()]),
        burst("burst of 64, sent without waiting", kernel, vec![lost(), refused]),
    ]
}

fn bursts(bed: &Bed<'_>, len: u64, waits: bool) -> Result<Samples> {
    let guests = bed.guests(2)?;
    guests[0].set_nonblocking(!waits)?;
    guests[1].set_patience(QUIET)?;
    let (mut accepted, mut arrived, mut sent) = (0, 0, 0);
    for _ in 0..bed.times(BURSTS) {
        let burst = bed.on_clients_cpu(|| burst(&guests[0], &guests[1], len))?;
        accepted += burst.accepted;
        arrived += burst.arrived;
        sent += len;
    }
    // What was not accepted of what was sent was refused: the same reckoning.
    let refused = overload::lost(sent, accepted);
    Ok(Samples::default().with("lost", overload::lost(accepted, arrived)).with("refused", refused))
}

struct Burst {
    accepted: u64,
    arrived: u64,
}

fn burst(from: &Client, to: &Client, len: u64) -> Result<Burst> {
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            thread::sleep(PAUSE);
            read(to, len)
        });
        let accepted = send(from, to, len);
        let arrived = overload::join(reader)?;
        Ok(Burst { accepted: accepted?, arrived })
    })
}

fn send(from: &Client, to: &Client, len: u64) -> Result<u64> {
    let mut frame = frame(to.mac(), from.mac(), FRAME);
    let mut accepted = 0;
    for n in 0..len {
        overload::number(&mut frame, 0, n);
        accepted += u64::from(overload::accepts(from.send(&frame))?);
    }
    Ok(accepted)
}

/// How many frames come of a burst of `len`, until its last or until no more come.
fn read(to: &Client, len: u64) -> Result<u64> {
    let mut arrivals = Arrivals::of(0, FRAME);
    let mut buffer = [0; FRAME + 1];
    while let Some(got) = to.receive(&mut buffer)? {
        if arrivals.take(&buffer[..got]) == Some(len - 1) {
            break;
        }
    }
    Ok(arrivals.frames)
}

/// Each that is not whole costs [`QUIET`] too.
const BURSTS: u32 = 20;

const PAUSE: Duration = Duration::from_millis(5);

const FRAME: usize = 64;
