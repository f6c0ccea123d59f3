//! Many stations behind one guest, as behind a bridge: what each frame costs, and what it takes to
//! remember them.
//!
//! All are taught first, then the frames go round them, far from each other in the order in which they
//! were taught. The table is not emptied between the steps, so each step is compared with the first one
//! of the same switch. The senders block; all is on one processor.

use std::ops::Range;
use std::time::Duration;

use anyhow::Result;

use super::overload::{self, Flow, Limit};
use uml_switch::client::{Client, mac};

use crate::competitor::USUAL;
use crate::measure::{Better, Goal, Unit};
use crate::place::Placement;
use crate::scenario::{Bed, Options, Run, Samples, Scenario};

/// Behind the sender, where each frame has another source, and behind the receiver.
pub fn scenarios() -> Vec<Scenario> {
    let stations = |name: &str, run: Run| Scenario {
        name: name.to_owned(),
        columns: USUAL,
        queue_lengths: &[10],
        placement: Placement::One,
        options: Options::ours(ROOM),
        metrics: STEPS
            .map(|(name, _)| overload::metric(name, Unit::Microseconds, Better::Lower, None))
            .into_iter()
            .chain([
                overload::metric(GROWTH, Unit::Ratio, Better::Lower, Some(Goal::AtMost(1.15))),
                overload::metric(
                    MEMORY,
                    Unit::Kibibytes,
                    Better::Lower,
                    Some(Goal::AtMost(7168.0)),
                ),
            ])
            .collect(),
        run,
    };
    vec![
        stations("stations behind the sender", |bed| run(bed, Side::Sender)),
        stations("stations behind the receiver", |bed| run(bed, Side::Receiver)),
    ]
}

/// Where the many stations are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Sender,
    Receiver,
}

fn run(bed: &Bed<'_>, side: Side) -> Result<Samples> {
    let guests = bed.guests(2)?;
    let (from, to) = (&guests[0], &guests[1]);
    let mut samples = Samples::default();
    let (mut first, mut last, mut taught) = (None, None, 0);
    for (name, stations) in STEPS {
        let teacher = if side == Side::Sender { (from, to) } else { (to, from) };
        if !teach(bed, teacher, taught..stations)? {
            // Too slow, as a table without a bound is at last: what there is so far is the result.
            return Ok(samples);
        }
        taught = stations;
        let change = |n: u64, frame: &mut [u8]| side.set(frame, n * STRIDE % stations);
        let flow = Flow::new(from, to, 64).changing(&change);
        let load = overload::run(bed, &[flow], 1, Limit::time(bed.seconds(0.4)))?;
        last = load.cpu_per_frame();
        first = first.or(last);
        if let Some(cpu) = last {
            samples = samples.with(name, cpu);
        }
    }
    if let (Some(first), Some(last)) = (first, last) {
        samples = samples.with(GROWTH, last / first);
    }
    Ok(samples.with(MEMORY, bed.switch.resident_kib()? as f64))
}

/// Lets the switch see a frame from each of `stations`; false if it did not take them all in time.
fn teach(bed: &Bed<'_>, (from, to): (&Client, &Client), stations: Range<u64>) -> Result<bool> {
    let change = |n: u64, frame: &mut [u8]| Side::Sender.set(frame, stations.start + n);
    let flow = Flow::new(from, to, 64).changing(&change);
    let limit = Limit { time: TEACHING_LIMIT, frames: stations.end - stations.start };
    let load = overload::run(bed, &[flow], 1, limit)?;
    Ok(load.tallies[0].accepted == limit.frames)
}

impl Side {
    /// Makes `frame` one from or to the station numbered `n` on this side.
    fn set(self, frame: &mut [u8], n: u64) {
        let field = match self {
            Side::Sender => 6..12,
            Side::Receiver => 0..6,
        };
        frame[field].copy_from_slice(&mac(STATIONS_FROM + n as u32));
    }
}

const STEPS: [(&str, u64); 4] = [
    ("CPU per frame, 1", 1),
    ("CPU per frame, 100", 100),
    ("CPU per frame, 10000", 10_000),
    ("CPU per frame, 100000", 100_000),
];

const GROWTH: &str = "CPU at 100000 to 1";
const MEMORY: &str = "memory at 100000";

/// For our switch, which otherwise has room for 16384 stations.
const ROOM: &[&str] = &["--fdb-size", "131072"];

/// Shares no divisor with the numbers of stations, so the frames go round all of them.
const STRIDE: u64 = 61_803;

/// No guest has such an address as its own.
const STATIONS_FROM: u32 = 0x0100_0000;

const TEACHING_LIMIT: Duration = Duration::from_secs(10);
