//! Flows of numbered frames: what was sent of them, and what became of it.
//!
//! A flow is one UDP flow, with headers as a guest's kernel makes them, so that a switch which
//! looks at addresses and ports sees what it would see in earnest. Each frame carries its number
//! among those that were accepted and the moment at which it was **due**: delay counts from there,
//! so a sender that was made to wait does not hide it.

use std::io;
use std::ops::Range;
use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use etherparse::PacketBuilder;
use hdrhistogram::Histogram;

use uml_switch::client::{Client, Mac};

use crate::scenario::Samples;

/// A point in time, counted from the first one that was asked for.
pub type Moment = Duration;

/// The time, by CLOCK_MONOTONIC.
pub fn now() -> Moment {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed()
}

/// Sleeps until `due`, if that is yet to come.
pub fn sleep_until(due: Moment) {
    if let Some(left) = due.checked_sub(now()).filter(|left| !left.is_zero()) {
        thread::sleep(left);
    }
}

/// Lets this thread sleep as long as it asks for and not 50 us more, as the kernel has it. For a
/// thread of its own: what it starts inherits this, and a switch is not to.
pub fn be_punctual() -> Result<()> {
    Ok(nix::sys::prctl::set_timerslack(1)?)
}

/// One UDP flow as its sender knows it.
#[derive(Clone, Debug)]
pub struct Flow {
    to: Mac,
    port: u16,
    frame: Vec<u8>,
    /// Frames that the sender's kernel took.
    pub accepted: u64,
    /// Frames that it did not take: no room, or none before the time was up.
    pub refused: u64,
}

impl Flow {
    /// A flow to the UDP port `port`, of frames of `len` bytes; [`SHORTEST`] at the least.
    pub fn new((from, to): (&Client, &Client), port: u16, len: usize) -> Result<Self> {
        let address = |mac: Mac| [10, mac[3], mac[4], mac[5]];
        let (from, to) = (from.mac(), to.mac());
        let headers = PacketBuilder::ethernet2(from, to)
            .ipv4(address(from), address(to), 64)
            .udp(SOURCE_PORT, port);
        let mut frame = Vec::with_capacity(len);
        headers.write(&mut frame, &vec![0; len.max(SHORTEST) - HEADERS])?;
        // No checksum, or it would have to be computed for every frame.
        frame[CHECKSUM].fill(0);
        Ok(Flow { to, port, frame, accepted: 0, refused: 0 })
    }

    /// Sends the next frame, which was due at `due`, or counts it as refused.
    pub fn send(&mut self, client: &Client, due: Moment) -> Result<()> {
        self.frame[NUMBER].copy_from_slice(&self.accepted.to_be_bytes());
        self.frame[DUE].copy_from_slice(&nanoseconds(due).to_be_bytes());
        match client.send(&self.frame) {
            Ok(()) => self.accepted += 1,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.refused += 1,
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Its receiver's station.
    pub fn to(&self) -> Mac {
        self.to
    }

    /// The UDP port that it goes to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What part of the frames that were offered its kernel did not take, in percent.
    pub fn refused(&self) -> f64 {
        percent(self.refused, self.accepted + self.refused)
    }
}

/// What arrived of one flow.
#[derive(Debug)]
pub struct Arrivals {
    port: u16,
    /// Frames that came, in order and each once; others do not count.
    pub frames: u64,
    /// Those of them that came before the time was up.
    pub in_time: u64,
    /// The longest time in which none came.
    pub longest_stall: Duration,
    /// How often none came for [`STALL`].
    pub stalls: u64,
    /// Nanoseconds from when each was due.
    pub delays: Histogram<u64>,
    /// The number that the next frame has at the least.
    next: u64,
    last: Moment,
    until: Moment,
}

impl Arrivals {
    /// Of the flow to the UDP port `port`, nothing yet. Stalls are looked for until `until`.
    pub fn of(port: u16, until: Moment) -> Result<Self> {
        Ok(Arrivals {
            port,
            frames: 0,
            in_time: 0,
            longest_stall: Duration::ZERO,
            stalls: 0,
            delays: no_delays()?,
            next: 0,
            last: now(),
            until,
        })
    }

    /// The UDP port of the flow.
    pub fn port(&self) -> u16 {
        self.port
    }

    fn count(&mut self, frame: &[u8], at: Moment) {
        let number = number(frame, NUMBER);
        if number < self.next {
            return;
        }
        self.next = number + 1;
        self.frames += 1;
        self.in_time += u64::from(at <= self.until);
        self.end_stall(at);
        self.delays.saturating_record(nanoseconds(at).saturating_sub(self::number(frame, DUE)));
    }

    /// Counts the silence since the last frame, which ends at `at` or when the time is up.
    pub fn end_stall(&mut self, at: Moment) {
        let stall = at.min(self.until).saturating_sub(self.last);
        self.longest_stall = self.longest_stall.max(stall);
        self.stalls += u64::from(stall > STALL);
        self.last = at;
    }
}

/// Counts `frame`, which came at `at`, with its flow, if that is one of `awaited`.
pub fn count(awaited: &mut [Arrivals], frame: &[u8], at: Moment) {
    if frame.len() < SHORTEST || frame[ETHER_TYPE] != IPV4 {
        return;
    }
    let port = number(frame, PORT) as u16;
    if let Some(arrivals) = awaited.iter_mut().find(|arrivals| arrivals.port == port) {
        arrivals.count(frame, at);
    }
}

/// An empty histogram of nanoseconds, up to a minute.
pub fn no_delays() -> Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, 60_000_000_000, 3)?)
}

/// Adds quantiles of `delays` to `samples`, in microseconds, under these names; none of no delays.
pub fn with_delays(
    samples: Samples,
    delays: &Histogram<u64>,
    quantiles: &[(&'static str, f64)],
) -> Samples {
    if delays.is_empty() {
        return samples;
    }
    quantiles.iter().fold(samples, |samples, &(name, at)| {
        samples.with(name, delays.value_at_quantile(at) as f64 / 1e3)
    })
}

/// What part of `of` is `part`, in percent; 0 of nothing.
pub fn percent(part: u64, of: u64) -> f64 {
    100.0 * part as f64 / of.max(1) as f64
}

fn nanoseconds(moment: Moment) -> u64 {
    moment.as_nanos() as u64
}

/// The big-endian number at `place`.
fn number(frame: &[u8], place: Range<usize>) -> u64 {
    frame[place].iter().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

/// The shortest frame of a flow.
pub const SHORTEST: usize = DUE.end;

/// The Ethernet, IPv4 and UDP headers of a frame, none with options.
pub const HEADERS: usize = 42;

/// A full Ethernet frame.
pub const FULL: usize = 1514;

/// From how long on it is said that a flow has stalled.
pub const STALL: Duration = Duration::from_millis(5);

// Where things are in a frame: in its headers, then number and time.
const ETHER_TYPE: Range<usize> = 12..14;
const PORT: Range<usize> = 36..38;
const CHECKSUM: Range<usize> = 40..HEADERS;
const NUMBER: Range<usize> = HEADERS..HEADERS + 8;
const DUE: Range<usize> = NUMBER.end..NUMBER.end + 8;

const IPV4: [u8; 2] = [8, 0];

/// Where all flows come from.
const SOURCE_PORT: u16 = 27005;
