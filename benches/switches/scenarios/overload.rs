//! Load: senders that send as fast as they are let, and receivers that read all that comes.
//!
//! The senders block, because that shows what a switch does about its senders: one that makes them
//! wait loses nothing. A guest of the `daemon` transport would drop the frame instead. No wait is for
//! ever, so a switch that stands still costs a run a second at most.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

use uml_switch::client::{Client, frame};

use crate::measure::{Better, Goal, Metric, Unit};
use crate::scenario::{Bed, Samples};

/// Frames from one guest to another.
#[derive(Clone, Copy)]
pub struct Flow<'a> {
    from: &'a Client,
    to: &'a Client,
    /// Bytes of a frame, 22 or more.
    len: usize,
    change: &'a (dyn Fn(u64, &mut [u8]) + Sync),
}

/// When a run is over, whichever comes first.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    pub time: Duration,
    /// Of each flow.
    pub frames: u64,
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Load {
    /// For each flow, in the order in which they were given.
    pub tallies: Vec<Tally>,
    /// How long the senders sent.
    time: Duration,
    /// Processor time of the switch, until the last frame had come.
    cpu: Duration,
}

/// What became of the frames of one flow.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Taken by the socket of the switch.
    pub accepted: u64,
    /// Arrived, late ones too.
    pub arrived: u64,
    /// Arrived while the senders were sending.
    pub in_time: u64,
}

/// Tells the frames of one stream from others and counts them. One that comes twice, out of order or
/// cut counts as not come.
#[derive(Clone, Debug)]
pub struct Arrivals {
    next: u64,
    end: u64,
    len: usize,
    pub frames: u64,
}

impl<'a> Flow<'a> {
    /// Frames of `len` bytes, all the same but for their numbers.
    pub fn new(from: &'a Client, to: &'a Client, len: usize) -> Self {
        Flow { from, to, len, change: &|_, _| () }
    }

    /// Each frame is given to `change` with its number, from 0 on, before it is sent.
    pub fn changing(self, change: &'a (dyn Fn(u64, &mut [u8]) + Sync)) -> Self {
        Flow { change, ..self }
    }

    fn receive(&self, stream: usize, sending: &AtomicUsize) -> Result<Tally> {
        self.to.set_patience(QUIET)?;
        let mut arrivals = Arrivals::of(stream, self.len);
        let mut tally = Tally::default();
        // One byte more, so that a frame that is too long is seen.
        let mut buffer = vec![0; self.len + 1];
        loop {
            let len = self.to.receive(&mut buffer)?;
            let still_sending = sending.load(Ordering::Relaxed) > 0;
            match len {
                Some(len) => {
                    arrivals.take(&buffer[..len]);
                    if still_sending {
                        tally.in_time = arrivals.frames;
                    }
                }
                None if still_sending => {}
                None => break,
            }
        }
        tally.arrived = arrivals.frames;
        Ok(tally)
    }
}

impl Limit {
    /// So much time, however many frames.
    pub fn time(time: Duration) -> Self {
        Limit { time, frames: u64::MAX }
    }
}

impl Load {
    /// Frames that arrived in each second.
    pub fn delivered(&self) -> f64 {
        self.tallies.iter().map(|tally| tally.in_time).sum::<u64>() as f64 / self.time.as_secs_f64()
    }

    /// Percent of the accepted frames that never arrived.
    pub fn lost(&self) -> f64 {
        let accepted = self.tallies.iter().map(|tally| tally.accepted).sum();
        lost(accepted, self.arrived())
    }

    /// Microseconds of the switch for each frame that arrived; `None` if none did.
    pub fn cpu_per_frame(&self) -> Option<f64> {
        cpu_per(self.cpu, self.arrived())
    }

    /// The frames of the slowest flow to those of the fastest; `None` if nothing arrived.
    pub fn slowest_to_fastest(&self) -> Option<f64> {
        let in_time = || self.tallies.iter().map(|tally| tally.in_time);
        let fastest = in_time().max().filter(|&most| most > 0)?;
        Some(in_time().min()? as f64 / fastest as f64)
    }

    /// What [`metrics`] wants.
    pub fn samples(&self) -> Samples {
        let samples =
            Samples::default().with("delivered", self.delivered()).with("lost", self.lost());
        match self.cpu_per_frame() {
            Some(cpu) => samples.with("CPU per frame", cpu),
            None => samples,
        }
    }

    fn arrived(&self) -> u64 {
        self.tallies.iter().map(|tally| tally.arrived).sum()
    }
}

impl Arrivals {
    /// Of frames of `len` bytes, made by [`number`] for `stream`.
    pub fn of(stream: usize, len: usize) -> Self {
        let next = (stream as u64) << STREAM_SHIFT;
        Arrivals { next, end: next + (1 << STREAM_SHIFT), len, frames: 0 }
    }

    /// The frame's number in its stream, or `None` if it does not count.
    pub fn take(&mut self, frame: &[u8]) -> Option<u64> {
        let &number = frame.get(NUMBER).and_then(|bytes| bytes.as_array())?;
        let number = u64::from_be_bytes(number);
        if frame.len() != self.len || !(self.next..self.end).contains(&number) {
            return None;
        }
        self.next = number + 1;
        self.frames += 1;
        Some(number % (1 << STREAM_SHIFT))
    }
}

/// Gives `frame`, of 22 bytes or more, its number in `stream`.
pub fn number(frame: &mut [u8], stream: usize, n: u64) {
    frame[NUMBER].copy_from_slice(&(((stream as u64) << STREAM_SHIFT) + n).to_be_bytes());
}

/// Sends on all `flows` at once until `limit`. A sender serves `in_turn` of them, frame by frame; each
/// flow has a receiver of its own.
pub fn run(bed: &Bed<'_>, flows: &[Flow<'_>], in_turn: usize, limit: Limit) -> Result<Load> {
    let before = bed.switch.cpu()?;
    let senders = AtomicUsize::new(flows.len().div_ceil(in_turn));
    let start = Instant::now();
    let (tallies, time) = bed.on_clients_cpu(|| {
        thread::scope(|scope| {
            let senders = &senders;
            let receiving: Vec<_> = flows
                .iter()
                .enumerate()
                .map(|(stream, flow)| scope.spawn(move || flow.receive(stream, senders)))
                .collect();
            let sending: Vec<_> = flows
                .chunks(in_turn)
                .enumerate()
                .map(|(n, some)| {
                    let sender = Sender { flows: some, first: n * in_turn };
                    scope.spawn(move || {
                        let accepted = sender.send(start, limit);
                        senders.fetch_sub(1, Ordering::Relaxed);
                        accepted
                    })
                })
                .collect();
            let accepted: Vec<_> = sending.into_iter().map(join).collect();
            let time = start.elapsed();
            let tallies = receiving.into_iter().map(join).collect::<Result<_>>()?;
            let accepted = accepted.into_iter().collect::<Result<Vec<_>>>()?.concat();
            Ok((with_accepted(tallies, &accepted), time))
        })
    })?;
    Ok(Load { tallies, time, cpu: bed.switch.cpu()? - before })
}

struct Sender<'a> {
    flows: &'a [Flow<'a>],
    first: usize,
}

impl Sender<'_> {
    /// How many frames of each flow were accepted. One that finds no room is tried again.
    fn send(&self, start: Instant, limit: Limit) -> Result<Vec<u64>> {
        let mut frames: Vec<_> =
            self.flows.iter().map(|flow| frame(flow.to.mac(), flow.from.mac(), flow.len)).collect();
        let mut accepted = vec![0; self.flows.len()];
        for n in 0..limit.frames {
            for (place, flow) in self.flows.iter().enumerate() {
                number(&mut frames[place], self.first + place, n);
                (flow.change)(n, &mut frames[place]);
                loop {
                    if start.elapsed() >= limit.time {
                        return Ok(accepted);
                    }
                    if accepts(flow.from.send(&frames[place]))? {
                        break;
                    }
                }
                accepted[place] += 1;
            }
        }
        Ok(accepted)
    }
}

/// Whether a frame was accepted; not if there was no room in time.
pub fn accepts(sent: io::Result<()>) -> io::Result<bool> {
    match sent {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}

/// What `thread` found, once it has ended.
pub fn join<T>(thread: ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    thread.join().map_err(|_| anyhow!("a client's thread panicked"))?
}

fn with_accepted(mut tallies: Vec<Tally>, accepted: &[u64]) -> Vec<Tally> {
    for (tally, &accepted) in tallies.iter_mut().zip(accepted) {
        tally.accepted = accepted;
    }
    tallies
}

/// Percent of `accepted` frames that are not among those that `arrived`.
pub fn lost(accepted: u64, arrived: u64) -> f64 {
    100.0 * accepted.saturating_sub(arrived) as f64 / accepted.max(1) as f64
}

/// Microseconds of `cpu` for each of `frames`; `None` of none.
pub fn cpu_per(cpu: Duration, frames: u64) -> Option<f64> {
    (frames > 0).then(|| cpu.as_secs_f64() * 1e6 / frames as f64)
}

/// Those that every load has: what is delivered, what is lost, and the work for it.
pub fn metrics(delivered: Option<Goal>, lost: Option<Goal>, cpu: Option<Goal>) -> Vec<Metric> {
    vec![
        metric("delivered", Unit::PerSecond, Better::Higher, delivered),
        metric("lost", Unit::Percent, Better::Lower, lost),
        metric("CPU per frame", Unit::Microseconds, Better::Lower, cpu),
    ]
}

/// A metric.
pub fn metric(name: &'static str, unit: Unit, better: Better, goal: Option<Goal>) -> Metric {
    Metric { name, unit, better, goal }
}

/// Not a frame.
pub const NOTHING: Option<Goal> = Some(Goal::AtMost(0.0));

/// When nothing has come for so long and nobody sends, the queues are empty: a switch that makes senders
/// wait lets them go on after some 15 ms.
pub const QUIET: Duration = Duration::from_millis(100);

/// Where a frame has its number: behind the header.
const NUMBER: std::ops::Range<usize> = 14..22;

/// The stream's number is above the frame's.
const STREAM_SHIFT: u32 = 48;
