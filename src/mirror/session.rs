//! One capture, as the loop has it: which frames it wants, and what became of them.

use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};
use std::time::Duration;

use super::bpf::Program;
use super::ring::{Writer, ring};
use super::tail::Tail;
use super::{
    BUFFERS, CaptureSpec, Captured, Direction, Directions, MAX_SNAPLEN, PortTotals, Record,
};
use crate::core::{PortId, Verdict};
use crate::handover::{Giver, handover};

/// What people call the open ports.
pub trait PortNames {
    /// Puts the name of `port` at the end of `name`.
    fn write_name(&self, port: PortId, name: &mut String);
}

/// Names a capture while the process lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionId(pub u64);

/// Why a capture cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSpec {
    /// Beyond [`BUFFERS`].
    #[error("a buffer of {0} bytes: it has {low} to {high}", low = BUFFERS.start(), high = BUFFERS.end())]
    Buffer(usize),
    /// Nothing would be kept, or more than any frame has.
    #[error("{0} bytes of each frame: 1 to {MAX_SNAPLEN} can be kept")]
    Snaplen(u32),
    /// There can be no such port.
    #[error("no port has the number {0}: the last is {LAST_PORT}")]
    Port(u32),
    /// It would end before it starts.
    #[error("a capture of no frames")]
    NoFrames,
}

/// The loop's half of a capture. [`Tail`] is the other.
#[derive(Debug)]
pub struct Session {
    id: SessionId,
    selection: Selection,
    filter: Option<Program>,
    snaplen: usize,
    /// Frames until the end.
    left: Option<u64>,
    ring: Writer,
    reader: Bell,
    ending: Giver<Ending>,
    ledger: Ledger,
    /// For the name of a port.
    name: String,
}

/// A frame that was forwarded.
#[derive(Clone, Copy, Debug)]
pub struct Forwarded<'a> {
    /// The port that it came from.
    pub from: PortId,
    /// Where it went.
    pub verdict: Verdict,
    /// The whole of it.
    pub bytes: &'a [u8],
    /// When the switch received it, by CLOCK_REALTIME, since 1970.
    pub time: Duration,
}

/// What the loop has to say at the end of a capture.
#[derive(Debug, Default)]
pub(super) struct Ending {
    pub(super) totals: Vec<PortTotals>,
    /// Ports in the totals whose names found no room in the buffer.
    pub(super) unannounced: Vec<(PortId, String)>,
}

/// Wakes the thread that reads, once that is known.
#[derive(Clone, Debug, Default)]
pub(super) struct Bell(Arc<OnceLock<Thread>>);

impl Bell {
    /// The calling thread is the one to wake.
    pub(super) fn is_mine(&self) {
        self.0.get_or_init(thread::current);
    }

    fn ring(&self) {
        if let Some(thread) = self.0.get() {
            thread.unpark();
        }
    }
}

impl Session {
    /// Both halves of a capture. Everything that takes time or memory is done here; `stop` is how the
    /// tail asks the loop for the end.
    ///
    /// # Errors
    /// [`InvalidSpec`].
    pub fn open(
        id: SessionId,
        spec: CaptureSpec,
        stop: Box<dyn Fn() + Send>,
    ) -> Result<(Session, Tail), InvalidSpec> {
        let CaptureSpec { ports, direction, filter, snaplen, count, buffer } = spec;
        if !BUFFERS.contains(&buffer) {
            return Err(InvalidSpec::Buffer(buffer));
        }
        if snaplen == 0 || snaplen > MAX_SNAPLEN {
            return Err(InvalidSpec::Snaplen(snaplen));
        }
        if count == Some(0) {
            return Err(InvalidSpec::NoFrames);
        }
        let selection = Selection::new(&ports, direction)?;
        let (writer, reader) = ring(buffer);
        let (giver, taker) = handover();
        let bell = Bell::default();
        let session = Session {
            id,
            selection,
            filter,
            snaplen: snaplen as usize,
            left: count,
            ring: writer,
            reader: bell.clone(),
            ending: giver,
            ledger: Ledger::default(),
            name: String::with_capacity(NAME_CAPACITY),
        };
        Ok((session, Tail::new(reader, bell, taker, stop)))
    }

    pub(super) fn id(&self) -> SessionId {
        self.id
    }

    /// Records what is wanted of a frame; `ports` are the open ones, in the order in which a flood
    /// reaches them. False if this was the capture's last.
    pub(super) fn record(
        &mut self,
        frame: Forwarded<'_>,
        ports: &[PortId],
        names: &impl PortNames,
    ) -> bool {
        let mut kept = None;
        if self.selection.wants(frame.from, Direction::In) {
            self.take(frame.from, Direction::In, frame, &mut kept, names);
        }
        match frame.verdict {
            Verdict::Unicast(to) if self.selection.wants(to, Direction::Out) => {
                self.take(to, Direction::Out, frame, &mut kept, names);
            }
            Verdict::Flood if self.selection.outbound => {
                for &to in ports.iter().filter(|&&to| to != frame.from) {
                    if self.selection.wants(to, Direction::Out) {
                        self.take(to, Direction::Out, frame, &mut kept, names);
                    }
                }
            }
            Verdict::Unicast(_) | Verdict::Flood | Verdict::Drop(_) => {}
        }
        if self.ring.wants_reader() {
            self.reader.ring();
        }
        self.left != Some(0)
    }

    /// Records a frame at one port. `kept` is how many bytes of it are, once that is known.
    fn take(
        &mut self,
        port: PortId,
        direction: Direction,
        frame: Forwarded<'_>,
        kept: &mut Option<usize>,
        names: &impl PortNames,
    ) {
        if self.left == Some(0) {
            return;
        }
        let kept = *kept.get_or_insert_with(|| match &self.filter {
            None => self.snaplen,
            Some(filter) => self.snaplen.min(filter.run(frame.bytes) as usize),
        });
        let entry = self.ledger.entry(port);
        entry.totals.seen += 1;
        if kept == 0 {
            entry.totals.filtered += 1;
            return;
        }
        if !entry.announced {
            self.name.clear();
            names.write_name(port, &mut self.name);
            entry.announced = self.ring.write(Record::Port { port, name: &self.name });
        }
        let record = Record::Frame(Captured {
            port,
            direction,
            time: frame.time,
            original: frame.bytes.len() as u32,
            bytes: &frame.bytes[..kept.min(frame.bytes.len())],
        });
        if entry.announced && self.ring.write(record) {
            entry.totals.captured += 1;
            if let Some(left) = &mut self.left {
                *left -= 1;
            }
        } else {
            entry.totals.dropped += 1;
        }
    }

    /// Ends the capture: the tail reads what is there, and then the totals.
    pub(super) fn end(self, names: &impl PortNames) {
        let Session { ring, ending, reader, ledger, .. } = self;
        let name = |port| {
            let mut name = String::new();
            names.write_name(port, &mut name);
            (port, name)
        };
        let Ledger { entries, .. } = ledger;
        let unannounced = entries.iter().filter(|entry| !entry.announced);
        let unannounced = unannounced.map(|entry| name(entry.totals.port)).collect();
        let totals = entries.into_iter().map(|entry| entry.totals).collect();
        // Our hold on the ring ends before the tail hears of it, so that it is the tail who gives its
        // memory back to the system: that may take a while.
        drop(ring);
        ending.give(Ending { totals, unannounced });
        reader.ring();
    }
}

/// Which frames are wanted.
#[derive(Debug)]
struct Selection {
    /// By number; all if empty.
    ports: Vec<bool>,
    inbound: bool,
    outbound: bool,
}

impl Selection {
    fn new(numbers: &[u32], directions: Option<Directions>) -> Result<Self, InvalidSpec> {
        let last = numbers.iter().max().copied();
        if let Some(last) = last.filter(|&last| last > LAST_PORT) {
            return Err(InvalidSpec::Port(last));
        }
        let mut ports = vec![false; last.map_or(0, |last| last as usize + 1)];
        for &number in numbers {
            ports[number as usize] = true;
        }
        let every_frame_once = if numbers.is_empty() { Directions::In } else { Directions::Both };
        let directions = directions.unwrap_or(every_frame_once);
        Ok(Selection {
            ports,
            inbound: directions != Directions::Out,
            outbound: directions != Directions::In,
        })
    }

    fn wants(&self, port: PortId, direction: Direction) -> bool {
        let wants_direction = match direction {
            Direction::In => self.inbound,
            Direction::Out => self.outbound,
        };
        let number = port.number() as usize;
        wants_direction && (self.ports.is_empty() || self.ports.get(number) == Some(&true))
    }
}

/// What became of the frames at each port, in the order in which the ports were first seen.
#[derive(Debug, Default)]
struct Ledger {
    entries: Vec<Entry>,
    /// By number: the place of the latest port with that number.
    places: Vec<Option<u32>>,
}

#[derive(Debug)]
struct Entry {
    totals: PortTotals,
    /// The tail knows its name.
    announced: bool,
}

impl Ledger {
    fn entry(&mut self, port: PortId) -> &mut Entry {
        let number = port.number() as usize;
        if self.places.len() <= number {
            self.places.resize(number + 1, None);
        }
        let place = match self.places[number].map(|place| place as usize) {
            Some(place) if self.entries[place].totals.port == port => place,
            // A client may come and go without end, but must not make this grow without end: its
            // frames count with those of who had its number before.
            Some(place) if self.entries.len() >= MAX_ENTRIES => {
                self.entries[place].totals.port = port;
                self.entries[place].announced = false;
                place
            }
            _ => {
                let totals = PortTotals { port, seen: 0, captured: 0, filtered: 0, dropped: 0 };
                self.entries.push(Entry { totals, announced: false });
                self.places[number] = Some(self.entries.len() as u32 - 1);
                self.entries.len() - 1
            }
        };
        &mut self.entries[place]
    }
}

/// The largest `--max-ports`.
const LAST_PORT: u32 = 65_535;

/// Ports of which a capture keeps separate counts, if numbers are used again and again: 3 MiB.
const MAX_ENTRIES: usize = 65_536;

/// Room for a description of 128 bytes and more: a name is written without allocating.
const NAME_CAPACITY: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_that_come_and_go_without_end_take_no_room_without_end() {
        let mut ledger = Ledger::default();
        let ports = MAX_ENTRIES as u32 + 1000;
        for generation in 0..ports {
            let entry = ledger.entry(PortId::from_parts(7, generation));
            assert!(!entry.announced, "each has a name of its own");
            (entry.announced, entry.totals.seen) = (true, entry.totals.seen + 1);
        }
        assert_eq!(ledger.entries.len(), MAX_ENTRIES);
        let seen: u64 = ledger.entries.iter().map(|entry| entry.totals.seen).sum();
        assert_eq!(seen, u64::from(ports), "and no frame is forgotten");
        let last = ledger.entries.last().map(|entry| entry.totals.port);
        assert_eq!(last, Some(PortId::from_parts(7, ports - 1)));
        // Numbers that were never seen still get an entry: there are not so many of them.
        ledger.entry(PortId::from_parts(8, 0));
        assert_eq!(ledger.entries.len(), MAX_ENTRIES + 1);
    }
}
