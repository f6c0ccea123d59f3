//! Guests that have stopped reading, and a pair beside them that has not: what the pair notices.
//!
//! One of the pair sends 20,000 small frames a second by a schedule. Delay counts from when a frame was
//! due, not from when it was sent, and frames that never came count as later than all others. All
//! senders block: one that drops what finds no room would hide how long it is kept waiting. All is on
//! one processor.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use nix::sys::prctl::set_timerslack;

use super::overload::{self, Arrivals, NOTHING, QUIET};
use uml_switch::client::{Client, frame};

use crate::competitor::USUAL;
use crate::measure::{Better, Unit};
use crate::place::Placement;
use crate::scenario::{BOTH, Bed, Options, Run, Samples, Scenario};

/// One, some and most of a host's guests; somebody else sends to them, or the sender itself.
pub fn scenarios() -> Vec<Scenario> {
    let stalled = |name: &str, run: Run| Scenario {
        name: name.to_owned(),
        columns: USUAL,
        queue_lengths: BOTH,
        placement: Placement::One,
        options: Options::NONE,
        metrics: vec![
            overload::metric("delivered of what was due", Unit::Percent, Better::Higher, None),
            overload::metric("lost", Unit::Percent, Better::Lower, NOTHING),
            overload::metric("p50", Unit::Microseconds, Better::Lower, None),
            overload::metric("p99", Unit::Microseconds, Better::Lower, None),
        ],
        run,
    };
    vec![
        stalled("beside 1 stalled, sent to by another", |bed| run(bed, 1, Disturber::Another)),
        stalled("beside 8 stalled, sent to by another", |bed| run(bed, 8, Disturber::Another)),
        stalled("beside 31 stalled, sent to by another", |bed| run(bed, 31, Disturber::Another)),
        stalled("beside 1 stalled, sent to by the sender", |bed| run(bed, 1, Disturber::Sender)),
        stalled("beside 8 stalled, sent to by the sender", |bed| run(bed, 8, Disturber::Sender)),
        stalled("beside 31 stalled, sent to by the sender", |bed| run(bed, 31, Disturber::Sender)),
    ]
}

/// Who sends full frames to the guests that do not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Disturber {
    /// A guest that does nothing else, as fast as it is let.
    Another,
    /// The sender of the pair, beside every twentieth of its own frames.
    Sender,
}

fn run(bed: &Bed<'_>, stalled: u32, disturber: Disturber) -> Result<Samples> {
    let guests = bed.guests(3 + stalled)?;
    let (from, to, other) = (&guests[0], &guests[1], &guests[2]);
    let mut own = Full::new(from, &guests[3..]);
    let mut others = Full::new(other, &guests[3..]);
    let (sending, start, time) = (AtomicBool::new(true), Instant::now(), bed.seconds(1.0));
    let (schedule, arrived) = bed.on_clients_cpu(|| {
        thread::scope(|scope| {
            let reading = scope.spawn(|| read(to, start, &sending));
            let disturbing = scope.spawn(|| {
                while disturber == Disturber::Another && sending.load(Ordering::Relaxed) {
                    others.send_next()?;
                }
                Ok(())
            });
            let own = (disturber == Disturber::Sender).then_some(&mut own);
            let pacing = scope.spawn(|| {
                let schedule = send_by_schedule((from, to), own, start, time);
                sending.store(false, Ordering::Relaxed);
                schedule
            });
            let schedule = overload::join(pacing);
            overload::join(disturbing)?;
            Ok((schedule?, overload::join(reading)?))
        })
    })?;
    let samples = Samples::default()
        .with("delivered of what was due", 100.0 - overload::lost(schedule.due, arrived.frames))
        .with("lost", overload::lost(schedule.accepted, arrived.frames));
    let quantiles = [("p50", 0.5), ("p99", 0.99)];
    Ok(quantiles.into_iter().fold(samples, |samples, (name, part)| {
        match arrived.delay_of(part, schedule.due) {
            Some(delay) => samples.with(name, delay),
            None => samples,
        }
    }))
}

struct Schedule {
    due: u64,
    accepted: u64,
}

/// Sends the frames that are due until `time` has passed; those that are still due then stay unsent.
fn send_by_schedule(
    (from, to): (&Client, &Client),
    mut beside: Option<&mut Full<'_>>,
    start: Instant,
    time: Duration,
) -> Result<Schedule> {
    // The kernel would add 50 us to each sleep.
    set_timerslack(1).context("cannot sleep precisely")?;
    let mut frame = frame(to.mac(), from.mac(), FRAME);
    let due = (time.as_nanos() / INTERVAL.as_nanos()) as u64;
    let mut accepted = 0;
    for n in 0..due {
        let due_at = INTERVAL * n as u32;
        let now = start.elapsed();
        if now >= time {
            break;
        }
        thread::sleep(due_at.saturating_sub(now));
        overload::number(&mut frame, 0, n);
        accepted += u64::from(overload::accepts(from.send(&frame))?);
        if let Some(full) = beside.as_mut().filter(|_| n % BESIDE == 0) {
            full.send_next()?;
        }
    }
    Ok(Schedule { due, accepted })
}

struct Arrived {
    frames: u64,
    /// Nanoseconds from when each was due.
    delays: Histogram<u64>,
}

impl Arrived {
    /// Within how many microseconds this part of the frames that were due came; `None` if fewer came at
    /// all. Of those that came alone, a switch that delivers next to nothing would look quick.
    fn delay_of(&self, part: f64, due: u64) -> Option<f64> {
        let part_of_arrived = part * due as f64 / self.frames as f64;
        (part_of_arrived <= 1.0)
            .then(|| self.delays.value_at_quantile(part_of_arrived) as f64 / 1e3)
    }
}

fn read(to: &Client, start: Instant, sending: &AtomicBool) -> Result<Arrived> {
    to.set_patience(QUIET)?;
    let mut arrivals = Arrivals::of(0, FRAME);
    let mut delays = Histogram::new_with_bounds(1, 60_000_000_000, 3)?;
    let mut buffer = [0; FRAME + 1];
    loop {
        match to.receive(&mut buffer)? {
            Some(len) => {
                if let Some(n) = arrivals.take(&buffer[..len]) {
                    let due_at = INTERVAL * n as u32;
                    let delay = start.elapsed().saturating_sub(due_at);
                    delays.saturating_record(delay.as_nanos() as u64);
                }
            }
            None if sending.load(Ordering::Relaxed) => {}
            None => return Ok(Arrived { frames: arrivals.frames, delays }),
        }
    }
}

/// Full frames from one guest to others in turn.
struct Full<'a> {
    from: &'a Client,
    to: &'a [Client],
    frame: Vec<u8>,
    next: usize,
}

impl<'a> Full<'a> {
    fn new(from: &'a Client, to: &'a [Client]) -> Self {
        Full { from, to, frame: frame(from.mac(), from.mac(), 1514), next: 0 }
    }

    /// Sends one, unless there is no room for long.
    fn send_next(&mut self) -> Result<()> {
        self.frame[..6].copy_from_slice(&self.to[self.next].mac());
        self.next = (self.next + 1) % self.to.len();
        overload::accepts(self.from.send(&self.frame))?;
        Ok(())
    }
}

/// Between frames of the pair.
const INTERVAL: Duration = Duration::from_micros(50);

/// With each so many frames of the pair goes one to a stalled guest.
const BESIDE: u64 = 20;

const FRAME: usize = 64;
