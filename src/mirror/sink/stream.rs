//! Reads back a capture that [`PcapNg`](super::PcapNg) wrote, while it comes in.

use std::io::{self, Read};
use std::ops::Range;

use pcap_file::PcapError;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::pcapng::blocks::interface_statistics::{
    InterfaceStatisticsBlock, InterfaceStatisticsOption,
};
use pcap_file::pcapng::{Block, PcapNgParser};

use super::pcapng::described_port;
use crate::core::PortId;
use crate::mirror::{Captured, Direction, MAX_SNAPLEN, PortTotals, Record};

/// A capture that comes in, such as over the admin socket.
///
/// What comes is checked: no stream, however wrong, does more than end with an error.
pub struct Stream<R> {
    reader: R,
    buffer: Vec<u8>,
    /// Where in the buffer the bytes are that were not looked at yet.
    pending: Range<usize>,
    /// Once the header was seen.
    parser: Option<PcapNgParser>,
    contents: Contents,
}

/// How far a [`Stream`] has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// There may be more.
    Open,
    /// The capture has ended as it should, and these are its totals.
    Ended(Vec<PortTotals>),
    /// The stream has ended and the capture had not: the switch was killed, for example. What was
    /// given out until now is right.
    CutOff,
}

impl<R: Read> Stream<R> {
    /// A capture that `reader` gives; no need for a buffer.
    pub fn new(reader: R) -> Self {
        Stream {
            reader,
            buffer: vec![0; BUFFER],
            pending: 0..0,
            parser: None,
            contents: Contents::default(),
        }
    }

    /// What it reads from.
    pub fn get_ref(&self) -> &R {
        &self.reader
    }

    /// Reads once and gives each record that is complete now to `each`. After an error of the
    /// reader, such as a time that has run out, this may be called again.
    ///
    /// # Errors
    /// Those of the reader and of `each`; `InvalidData` if the stream is no capture of a switch.
    pub fn read(
        &mut self,
        mut each: impl FnMut(Record<'_>) -> io::Result<()>,
    ) -> io::Result<Progress> {
        self.make_room();
        let read = self.reader.read(&mut self.buffer[self.pending.end..])?;
        if read == 0 {
            let whole = self.contents.ended && self.pending.is_empty();
            let totals = std::mem::take(&mut self.contents.totals);
            return Ok(if whole { Progress::Ended(totals) } else { Progress::CutOff });
        }
        self.pending.end += read;
        self.give_out(&mut each)?;
        Ok(Progress::Open)
    }

    /// Gives out all records that are complete in the buffer.
    fn give_out(&mut self, each: &mut impl FnMut(Record<'_>) -> io::Result<()>) -> io::Result<()> {
        loop {
            let pending = &self.buffer[self.pending.clone()];
            let parsed = match &mut self.parser {
                Some(parser) => parser.next_block(pending).map(|(rest, block)| (rest, Some(block))),
                None if !SECTION_HEADER
                    .starts_with(&pending[..pending.len().min(SECTION_HEADER.len())]) =>
                {
                    return Err(invalid("it does not begin as a capture"));
                }
                None => PcapNgParser::new(pending).map(|(rest, parser)| {
                    self.parser = Some(parser);
                    (rest, None)
                }),
            };
            let (rest, block) = match parsed {
                Ok(parsed) => parsed,
                Err(PcapError::IncompleteBuffer) if pending.len() < MAX_BLOCK => return Ok(()),
                Err(PcapError::IncompleteBuffer) => return Err(invalid("a block is too long")),
                Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
            };
            self.pending.start += pending.len() - rest.len();
            if let Some(block) = block {
                self.contents.take(&block, each)?;
            }
        }
    }

    /// Moves what is pending to the front if there is little room behind it.
    fn make_room(&mut self) {
        if self.buffer.len() - self.pending.end < BUFFER - MAX_BLOCK {
            self.buffer.copy_within(self.pending.clone(), 0);
            self.pending = 0..self.pending.len();
        }
    }
}

/// What was said in the stream so far.
#[derive(Default)]
struct Contents {
    /// The port of each interface. One interface has none, if the capture had no ports.
    interfaces: Vec<Option<PortId>>,
    totals: Vec<PortTotals>,
    /// Whether there were statistics, which come last.
    ended: bool,
}

impl Contents {
    fn take(
        &mut self,
        block: &Block<'_>,
        each: &mut impl FnMut(Record<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        match block {
            Block::InterfaceDescription(interface) => {
                let (port, name) = described(interface);
                self.interfaces.push(port);
                match port {
                    Some(port) => each(Record::Port { port, name }),
                    None => Ok(()),
                }
            }
            Block::EnhancedPacket(frame) => {
                let port = self.port(frame.interface_id)?;
                each(Record::Frame(captured(frame, port.ok_or(invalid("a frame of no port"))?)))
            }
            Block::InterfaceStatistics(statistics) => {
                self.ended = true;
                if let Some(port) = self.port(statistics.interface_id)? {
                    self.totals.push(totals(statistics, port));
                }
                Ok(())
            }
            // For readers of later versions: what is not known does no harm.
            _ => Ok(()),
        }
    }

    fn port(&self, interface: u32) -> io::Result<Option<PortId>> {
        let port = self.interfaces.get(interface as usize);
        port.copied().ok_or_else(|| invalid("an interface that was not described"))
    }
}

fn described<'a>(interface: &'a InterfaceDescriptionBlock<'_>) -> (Option<PortId>, &'a str) {
    let mut port = None;
    let mut name = "";
    for option in &interface.options {
        match option {
            InterfaceDescriptionOption::IfDescription(text) => port = described_port(text),
            InterfaceDescriptionOption::IfName(text) => name = text,
            _ => {}
        }
    }
    (port, name)
}

fn captured<'a>(frame: &'a EnhancedPacketBlock<'_>, port: PortId) -> Captured<'a> {
    let is_outbound =
        |option: &_| matches!(option, EnhancedPacketOption::Flags(flags) if flags & 0b11 == 0b10);
    let outbound = frame.options.iter().any(is_outbound);
    Captured {
        port,
        direction: if outbound { Direction::Out } else { Direction::In },
        time: frame.timestamp,
        original: frame.original_len,
        bytes: &frame.data,
    }
}

fn totals(statistics: &InterfaceStatisticsBlock<'_>, port: PortId) -> PortTotals {
    let mut accepted = 0;
    let mut totals = PortTotals { port, seen: 0, captured: 0, filtered: 0, dropped: 0 };
    for option in &statistics.options {
        match *option {
            InterfaceStatisticsOption::IsbIfRecv(count) => totals.seen = count,
            InterfaceStatisticsOption::IsbFilterAccept(count) => accepted = count,
            InterfaceStatisticsOption::IsbOsDrop(count) => totals.dropped = count,
            InterfaceStatisticsOption::IsbUsrDeliv(count) => totals.captured = count,
            _ => {}
        }
    }
    totals.filtered = totals.seen.saturating_sub(accepted);
    totals
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// The type of the block that a capture begins with, the same in either byte order.
const SECTION_HEADER: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];

/// The longest block there can be: a frame with what belongs to it.
const MAX_BLOCK: usize = MAX_SNAPLEN as usize + 4096;

/// Room for a block, and for what comes behind its beginning.
const BUFFER: usize = 2 * MAX_BLOCK;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::examples::{Owned, give, records, totals};
    use super::super::{PcapNg, Sink};
    use super::*;

    fn capture(records: &[Owned], totals: &[PortTotals]) -> Vec<u8> {
        let mut capture = PcapNg::new(Vec::new(), MAX_SNAPLEN).unwrap();
        give(&mut capture, records);
        capture.finish(totals).unwrap();
        capture.get_ref().clone()
    }

    /// Gives out pieces of these sizes, over and over, and runs out of time before each.
    struct Pieces<'a> {
        left: &'a [u8],
        sizes: std::iter::Cycle<std::slice::Iter<'a, usize>>,
        late: bool,
    }

    impl<'a> Pieces<'a> {
        fn of(bytes: &'a [u8], sizes: &'a [usize]) -> Self {
            Pieces { left: bytes, sizes: sizes.iter().cycle(), late: false }
        }
    }

    impl Read for Pieces<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            self.late = !self.late;
            if self.late {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let size = *self.sizes.next().unwrap();
            let len = size.min(self.left.len()).min(into.len());
            let (now, later) = self.left.split_at(len);
            into[..len].copy_from_slice(now);
            self.left = later;
            Ok(len)
        }
    }

    /// All records of a stream, and how it ended.
    fn read_all(reader: impl Read) -> (Vec<Owned>, io::Result<Progress>) {
        let mut stream = Stream::new(reader);
        let mut records = Vec::new();
        loop {
            let progress = stream.read(|record| {
                records.push(Owned::of(record));
                Ok(())
            });
            match progress {
                Ok(Progress::Open) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                ended => return (records, ended),
            }
        }
    }

    #[test]
    fn a_capture_comes_back_as_it_was_whatever_the_pieces() {
        let bytes = capture(&records(), &totals());
        for size in [1, 2, 3, 7, 64, 1000] {
            let (read, end) = read_all(Pieces::of(&bytes, &[size]));
            assert_eq!(read, records(), "pieces of {size}");
            assert_eq!(end.unwrap(), Progress::Ended(totals()));
        }
    }

    #[test]
    fn a_capture_of_nothing_ends_as_it_should() {
        let bytes = capture(&[], &[]);
        let (read, end) = read_all(&bytes[..]);
        assert_eq!((read, end.unwrap()), (vec![], Progress::Ended(vec![])));
    }

    #[test]
    fn a_stream_that_is_cut_anywhere_gives_what_came_and_says_so() {
        let bytes = capture(&records(), &totals());
        let mut whole = 0;
        for len in 0..bytes.len() {
            let (read, end) = read_all(&bytes[..len]);
            assert_eq!(read, records()[..read.len()], "cut at {len}");
            assert!(read.len() >= whole);
            whole = read.len();
            // Between the statistics of two ports there is no telling.
            let ended = matches!(end.unwrap(), Progress::Ended(of) if of.len() < totals().len());
            assert!(!ended || read.len() == records().len(), "cut at {len}");
        }
        assert_eq!(whole, records().len());
    }

    #[test]
    fn the_largest_frames_fit_at_every_place_in_the_buffer() {
        let largest = MAX_SNAPLEN as usize;
        let sizes = [largest, 1, largest, largest - 3, 60, largest, 13, largest];
        let mut all = records();
        all.extend(sizes.map(|len| super::super::examples::frame_at(0, len)));
        let bytes = capture(&all, &totals());
        for pieces in [&[usize::MAX][..], &[4095, 70_001], &[largest]] {
            let (read, end) = read_all(Pieces::of(&bytes, pieces));
            assert!(read == all, "pieces of {pieces:?}");
            assert_eq!(end.unwrap(), Progress::Ended(totals()));
        }
    }

    #[test]
    fn what_is_no_capture_is_an_error() {
        let bytes = capture(&records(), &totals());
        let header = u32::from_le_bytes(bytes[4..8].try_into().unwrap()) as usize;
        let no_interface = [&bytes[..header], &bytes[header + 0x48..]].concat();
        let endless = [&bytes[..header], &[6, 0, 0, 0, 0, 0, 0, 0xf0], &vec![0; 1 << 20]].concat();
        for wrong in [b"GET / HTTP/1.0\r\n\r\n", &no_interface[..], &endless[..]] {
            let (_, end) = read_all(wrong);
            assert_eq!(end.unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
    }

    #[test]
    fn an_error_of_the_taker_comes_through() {
        let bytes = capture(&records(), &totals());
        let full = Stream::new(&bytes[..]).read(|_| Err(io::ErrorKind::StorageFull.into()));
        assert_eq!(full.unwrap_err().kind(), io::ErrorKind::StorageFull);
    }

    proptest! {
        #[test]
        fn no_bytes_do_harm(
            flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..20),
            noise in prop::collection::vec(any::<u8>(), 0..200),
            at in any::<prop::sample::Index>(),
        ) {
            let mut bytes = capture(&records(), &totals());
            for (place, value) in flips {
                let place = place.index(bytes.len());
                bytes[place] = value;
            }
            let at = at.index(bytes.len());
            bytes.splice(at..at, noise);
            let _ = read_all(&bytes[..]);
        }
    }
}
