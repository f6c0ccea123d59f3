//! The buffer between the loop and who writes a capture: records as bytes in a ring of bounded size.
//!
//! Neither side ever waits for the other. The loop's side takes a record whole or not at all; what it
//! costs there is two copies, of [`HEADER`] bytes and of what is kept of the frame.

use std::io;
use std::time::Duration;

use rtrb::{Consumer, Producer, RingBuffer};

use super::{Captured, Direction, Record};
use crate::core::PortId;

/// A ring of `capacity` bytes. All its memory is touched here, so that the loop meets no page that the
/// kernel has yet to find.
pub(super) fn ring(capacity: usize) -> (Writer, Reader) {
    let (mut producer, mut consumer) = RingBuffer::new(capacity);
    let mut page = [0; 4096];
    let mut left = capacity;
    while left > 0 {
        let part = &mut page[..left.min(4096)];
        // It is empty, and only we know of it.
        let _ = producer.push_entire_slice(part);
        let _ = consumer.pop_entire_slice(part);
        left -= part.len();
    }
    (Writer { bytes: producer, since_half: 0 }, Reader { bytes: consumer, whole: Vec::new() })
}

/// The loop's side.
#[derive(Debug)]
pub(super) struct Writer {
    bytes: Producer<u8>,
    /// Bytes written since the last time that half of the ring had been.
    since_half: usize,
}

/// The other side.
#[derive(Debug)]
pub(super) struct Reader {
    bytes: Consumer<u8>,
    /// The bytes of a record that goes over the end of the ring, put together.
    whole: Vec<u8>,
}

impl Writer {
    /// Writes `record`; false if there is no room for it, and nothing is written then.
    pub(super) fn write(&mut self, record: Record<'_>) -> bool {
        let (header, bytes) = encode(record);
        let len = HEADER + bytes.len();
        // The other side's mark is in another CPU's cache: it is asked only if the last answer was not
        // enough.
        if self.bytes.cached_slots() < len && self.bytes.slots() < len {
            return false;
        }
        self.since_half += len;
        self.bytes.push_entire_slice(&header).is_ok() && self.bytes.push_entire_slice(bytes).is_ok()
    }

    /// True whenever so much was written again that the reader should not sleep on.
    pub(super) fn wants_reader(&mut self) -> bool {
        let wants = self.since_half >= self.bytes.buffer().capacity() / 2;
        if wants {
            self.since_half = 0;
        }
        wants
    }
}

impl Reader {
    /// Gives `each` what is there now, and frees its room one by one. Returns how many there were.
    ///
    /// # Errors
    /// Those of `each`; the record that it was called with counts as read.
    pub(super) fn read(
        &mut self,
        mut each: impl FnMut(Record<'_>) -> io::Result<()>,
    ) -> io::Result<usize> {
        let mut there = self.bytes.slots();
        let mut records = 0;
        while there >= HEADER {
            let Ok(chunk) = self.bytes.read_chunk(HEADER) else { break };
            let mut header = [0; HEADER];
            let (start, rest) = chunk.as_slices();
            header[..start.len()].copy_from_slice(start);
            header[start.len()..].copy_from_slice(rest);
            let len = HEADER + payload_len(&header);
            // The bytes are written after the header, and may not be here yet.
            if there < len {
                break;
            }
            let Ok(chunk) = self.bytes.read_chunk(len) else { break };
            let (start, rest) = chunk.as_slices();
            let bytes = if start.len() == len {
                &start[HEADER..]
            } else if start.len() <= HEADER {
                &rest[HEADER - start.len()..]
            } else {
                self.whole.clear();
                self.whole.extend_from_slice(&start[HEADER..]);
                self.whole.extend_from_slice(rest);
                &self.whole
            };
            let result = each(decode(&header, bytes));
            chunk.commit_all();
            result?;
            there -= len;
            records += 1;
        }
        Ok(records)
    }
}

/// `u32` length of what follows, `u8` kind, three unused, `u32` number and generation of the port, `u64`
/// seconds, `u32` nanoseconds, `u32` length of the frame.
pub(super) const HEADER: usize = 32;

const PORT: u8 = 0;
const FRAME_IN: u8 = 1;
const FRAME_OUT: u8 = 2;

fn encode(record: Record<'_>) -> ([u8; HEADER], &[u8]) {
    let (kind, port, time, original, bytes) = match record {
        Record::Port { port, name } => (PORT, port, Duration::ZERO, 0, name.as_bytes()),
        Record::Frame(Captured { port, direction, time, original, bytes }) => {
            let kind = match direction {
                Direction::In => FRAME_IN,
                Direction::Out => FRAME_OUT,
            };
            (kind, port, time, original, bytes)
        }
    };
    let mut header = [0; HEADER];
    header[..4].copy_from_slice(&(bytes.len() as u32).to_ne_bytes());
    header[4] = kind;
    header[8..12].copy_from_slice(&port.number().to_ne_bytes());
    header[12..16].copy_from_slice(&port.generation().to_ne_bytes());
    header[16..24].copy_from_slice(&time.as_secs().to_ne_bytes());
    header[24..28].copy_from_slice(&time.subsec_nanos().to_ne_bytes());
    header[28..].copy_from_slice(&original.to_ne_bytes());
    (header, bytes)
}

fn payload_len(header: &[u8; HEADER]) -> usize {
    u32_at(header, 0) as usize
}

fn decode<'a>(header: &[u8; HEADER], bytes: &'a [u8]) -> Record<'a> {
    let port = PortId::from_parts(u32_at(header, 8), u32_at(header, 12));
    let direction = match header[4] {
        FRAME_IN => Direction::In,
        FRAME_OUT => Direction::Out,
        // Names are written as text and come out as it.
        _ => return Record::Port { port, name: str::from_utf8(bytes).unwrap_or_default() },
    };
    let mut seconds = [0; 8];
    seconds.copy_from_slice(&header[16..24]);
    let time = Duration::new(u64::from_ne_bytes(seconds), u32_at(header, 24));
    Record::Frame(Captured { port, direction, time, original: u32_at(header, 28), bytes })
}

fn u32_at(header: &[u8; HEADER], at: usize) -> u32 {
    u32::from_ne_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    /// A record with bytes of its own.
    #[derive(Clone, Debug, PartialEq, Eq)]
    enum Owned {
        Port(PortId, String),
        Frame(PortId, Direction, Duration, u32, Vec<u8>),
    }

    impl Owned {
        fn of(record: Record<'_>) -> Self {
            match record {
                Record::Port { port, name } => Owned::Port(port, name.to_owned()),
                Record::Frame(Captured { port, direction, time, original, bytes }) => {
                    Owned::Frame(port, direction, time, original, bytes.to_vec())
                }
            }
        }

        fn record(&self) -> Record<'_> {
            match self {
                Owned::Port(port, name) => Record::Port { port: *port, name },
                Owned::Frame(port, direction, time, original, bytes) => Record::Frame(Captured {
                    port: *port,
                    direction: *direction,
                    time: *time,
                    original: *original,
                    bytes,
                }),
            }
        }

        fn len(&self) -> usize {
            HEADER
                + match self {
                    Owned::Port(_, name) => name.len(),
                    Owned::Frame(_, _, _, _, bytes) => bytes.len(),
                }
        }
    }

    fn frame(len: usize) -> Owned {
        let bytes = (0..len).map(|at| at as u8).collect();
        let time = Duration::new(1_795_322_065, 999_999_999);
        Owned::Frame(PortId::from_parts(7, 9), Direction::Out, time, 1514, bytes)
    }

    fn read(reader: &mut Reader) -> Vec<Owned> {
        let mut records = Vec::new();
        reader
            .read(|record| {
                records.push(Owned::of(record));
                Ok(())
            })
            .unwrap();
        records
    }

    #[test]
    fn a_record_survives_the_end_of_the_ring_at_every_offset() {
        for record in
            [frame(0), frame(1), frame(33), Owned::Port(PortId::from_parts(0, 0), "ü".into())]
        {
            let capacity = 101;
            let (mut writer, mut reader) = ring(capacity);
            // Its length and that of the ring have no common factor, so that every offset comes.
            for _ in 0..capacity {
                assert!(writer.write(record.record()));
                assert_eq!(read(&mut reader), std::slice::from_ref(&record));
            }
        }
    }

    #[test]
    fn a_full_ring_takes_nothing_and_what_is_in_it_stays() {
        let (mut writer, mut reader) = ring(2 * HEADER + 20);
        assert!(writer.write(frame(10).record()));
        assert!(!writer.write(frame(11).record()));
        assert!(writer.write(frame(10).record()));
        assert!(!writer.write(frame(0).record()));
        assert_eq!(read(&mut reader), [frame(10), frame(10)]);
        assert!(writer.write(frame(20 + HEADER).record()));
        assert_eq!(read(&mut reader), [frame(20 + HEADER)]);
        assert_eq!(read(&mut reader), []);
    }

    #[test]
    fn a_record_larger_than_the_ring_is_refused_and_does_no_harm() {
        let (mut writer, mut reader) = ring(100);
        assert!(!writer.write(frame(101 - HEADER).record()));
        assert!(writer.write(frame(100 - HEADER).record()));
        assert_eq!(read(&mut reader), [frame(100 - HEADER)]);
    }

    #[test]
    fn a_record_that_cannot_be_used_counts_as_read() {
        let (mut writer, mut reader) = ring(1000);
        writer.write(frame(1).record());
        writer.write(frame(2).record());
        assert!(reader.read(|_| Err(io::ErrorKind::StorageFull.into())).is_err());
        assert_eq!(read(&mut reader), [frame(2)]);
    }

    #[test]
    fn the_reader_is_wanted_once_for_each_half_of_the_ring() {
        let (mut writer, mut reader) = ring(8 * HEADER);
        let mut wanted = 0;
        for _ in 0..80 {
            assert!(writer.write(frame(0).record()));
            wanted += u32::from(writer.wants_reader());
            read(&mut reader);
        }
        assert_eq!(wanted, 20);
    }

    fn records() -> impl Strategy<Value = Owned> {
        let port = (0..5u32, any::<u32>()).prop_map(|(n, g)| PortId::from_parts(n, g));
        let direction = prop_oneof![Just(Direction::In), Just(Direction::Out)];
        let time = (any::<u64>(), 0..1_000_000_000u32).prop_map(|(s, n)| Duration::new(s, n));
        let bytes = prop::collection::vec(any::<u8>(), 0..120);
        prop_oneof![
            (port.clone(), "[a-zü ]{0,40}").prop_map(|(port, name)| Owned::Port(port, name)),
            (port, direction, time, any::<u32>(), bytes).prop_map(
                |(port, direction, time, original, bytes)| {
                    Owned::Frame(port, direction, time, original, bytes)
                }
            ),
        ]
    }

    proptest! {
        /// Writes, with reads (`None`) in between, against a queue of records.
        #[test]
        fn the_ring_is_a_queue_of_bounded_size(
            steps in prop::collection::vec(prop::option::weighted(0.7, records()), 0..200),
            capacity in 1..400usize,
        ) {
            let (mut writer, mut reader) = ring(capacity);
            let mut model = VecDeque::new();
            for step in steps {
                match step {
                    Some(record) => {
                        let used: usize = model.iter().map(Owned::len).sum();
                        let fits = used + record.len() <= capacity;
                        prop_assert_eq!(writer.write(record.record()), fits);
                        if fits {
                            model.push_back(record);
                        }
                    }
                    None => prop_assert_eq!(read(&mut reader), model.drain(..).collect::<Vec<_>>()),
                }
            }
        }
    }

    #[test]
    fn two_threads_see_the_same_records_in_the_same_order() {
        let (mut writer, mut reader) = ring(1000);
        const RECORDS: u32 = 20_000;
        let reading = std::thread::spawn(move || {
            let mut next = 0;
            while next < RECORDS {
                for record in read(&mut reader) {
                    let Owned::Frame(port, _, _, _, bytes) = record else { panic!("a frame") };
                    assert_eq!(port.number(), next);
                    assert_eq!(bytes, vec![next as u8; next as usize % 90]);
                    next += 1;
                }
                std::thread::yield_now();
            }
        });
        for n in 0..RECORDS {
            let bytes = vec![n as u8; n as usize % 90];
            let (port, time) = (PortId::from_parts(n, 0), Duration::ZERO);
            let record = Owned::Frame(port, Direction::In, time, 0, bytes);
            while !writer.write(record.record()) {
                assert!(!reading.is_finished(), "the reader has given up");
                std::thread::yield_now();
            }
        }
        reading.join().unwrap();
    }
}
