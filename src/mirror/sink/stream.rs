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

/// The longest block there can be: a frame with what belongs to it.
const MAX_BLOCK: usize = MAX_SNAPLEN as usize + 4096;

/// Room for a block, and for what comes behind its beginning.
const BUFFER: usize = 2 * MAX_BLOCK;
