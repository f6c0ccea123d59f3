//! Captures in pcapng, the format of Wireshark: draft-ietf-opsawg-pcapng.
//!
//! One section; one interface for each port, described before the first frame of that port; each
//! frame with its direction; in the end the statistics of every port. All integers are little-endian
//! on every machine, so that the same records give the same bytes. [`super::Stream`] reads it back,
//! which is how captures cross the admin socket.
//!
//! What a port's statistics hold:
//!
//! | option | what |
//! | --- | --- |
//! | `isb_ifrecv` | frames that the capture looked at: [`PortTotals::seen`] |
//! | `isb_filteraccept` | those that the filter accepted: captured and dropped |
//! | `isb_osdrop` | those of them that the capture's buffer had no room for |
//! | `isb_ifdrop` | the same number again, for it is the only one that Wireshark shows as dropped; dumpcap puts its buffer's drops there, too |
//! | `isb_usrdeliv` | what came out of the buffer, and is in the capture: [`PortTotals::captured`] |
//!
//! A capture always ends with statistics, so that a reader knows an end from an accident. If there
//! was no port at all, those are of an interface without a port; libpcap also refuses files that
//! have no interface.

use std::borrow::Cow;
use std::io::{self, Write};
use std::time::Duration;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use pcap_file::pcapng::blocks::ENHANCED_PACKET_BLOCK;
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::pcapng::blocks::interface_statistics::{
    InterfaceStatisticsBlock, InterfaceStatisticsOption,
};
use pcap_file::pcapng::blocks::section_header::{SectionHeaderBlock, SectionHeaderOption};
use pcap_file::pcapng::{PcapNgWriter, RawBlock};
use pcap_file::{DataLink, Endianness};

use super::{Sink, into_io};
use crate::core::PortId;
use crate::mirror::{Captured, Direction, PortTotals, Record};

/// Writes a capture as pcapng.
pub struct PcapNg<W: Write> {
    writer: PcapNgWriter<W>,
    snaplen: u32,
    interfaces: HashMap<PortId, u32, RandomState>,
    described: u32,
    /// The body of the block at work; kept for its memory.
    body: Vec<u8>,
    last_frame: Duration,
}

impl<W: Write> PcapNg<W> {
    /// Begins a capture of frames of which at most `snaplen` bytes are kept. Each record is several
    /// small writes: `writer` should have a buffer, such as of [`super::BUFFER`] bytes.
    ///
    /// # Errors
    /// Those of `writer`.
    pub fn new(writer: W, snaplen: u32) -> io::Result<Self> {
        let section = SectionHeaderBlock {
            endianness: Endianness::Little,
            options: vec![
                SectionHeaderOption::Hardware(Cow::Borrowed(std::env::consts::ARCH)),
                SectionHeaderOption::OS(Cow::Borrowed(std::env::consts::OS)),
                SectionHeaderOption::UserApplication(Cow::Borrowed(APPLICATION)),
            ],
            ..SectionHeaderBlock::default()
        };
        Ok(PcapNg {
            writer: PcapNgWriter::with_section_header(writer, section).map_err(into_io)?,
            snaplen,
            interfaces: HashMap::default(),
            described: 0,
            body: Vec::new(),
            last_frame: Duration::ZERO,
        })
    }

    /// What it writes to.
    pub fn get_ref(&self) -> &W {
        self.writer.get_ref()
    }

    /// The same, for changes that do not touch the capture.
    pub fn get_mut(&mut self) -> &mut W {
        self.writer.get_mut()
    }

    /// How many bytes a frame takes of which `kept` bytes are kept.
    pub fn frame_len(kept: usize) -> u64 {
        (BLOCK_OVERHEAD + FRAME_HEADER + kept.next_multiple_of(4) + FRAME_OPTIONS) as u64
    }

    fn frame(&mut self, frame: &Captured<'_>) -> io::Result<()> {
        let interface = self.interface_of(frame.port)?;
        self.last_frame = frame.time;
        let time = nanoseconds(frame.time);
        let kept = frame.bytes.len();
        let flags: u32 = match frame.direction {
            Direction::In => 0b01,
            Direction::Out => 0b10,
        };
        // The crate's own block for frames allocates its options and writes everything twice, once
        // to learn the length.
        let body = &mut self.body;
        body.clear();
        body.extend_from_slice(&interface.to_le_bytes());
        body.extend_from_slice(&((time >> 32) as u32).to_le_bytes());
        body.extend_from_slice(&(time as u32).to_le_bytes());
        body.extend_from_slice(&(kept as u32).to_le_bytes());
        body.extend_from_slice(&frame.original.to_le_bytes());
        body.extend_from_slice(frame.bytes);
        body.resize(FRAME_HEADER + kept.next_multiple_of(4), 0);
        body.extend_from_slice(&EPB_FLAGS.to_le_bytes());
        body.extend_from_slice(&(size_of_val(&flags) as u16).to_le_bytes());
        body.extend_from_slice(&flags.to_le_bytes());
        body.extend_from_slice(&END_OF_OPTIONS);
        let len = (BLOCK_OVERHEAD + body.len()) as u32;
        let block = RawBlock {
            type_: ENHANCED_PACKET_BLOCK,
            initial_len: len,
            body: Cow::Borrowed(body),
            trailer_len: len,
        };
        self.writer.write_raw_block(&block).map_err(into_io)?;
        Ok(())
    }

    /// The interface that stands for `port`, described now if it was not before.
    fn interface_of(&mut self, port: PortId) -> io::Result<u32> {
        match self.interfaces.get(&port) {
            Some(&interface) => Ok(interface),
            // Nothing of it was kept, or its number has gone to another port since.
            None => self.describe(Some(port), &format!("port {port}")),
        }
    }

    fn describe(&mut self, port: Option<PortId>, name: &str) -> io::Result<u32> {
        let mut options = vec![
            InterfaceDescriptionOption::IfName(Cow::Owned(printable(name))),
            InterfaceDescriptionOption::IfTsResol(NANOSECONDS),
        ];
        if let Some(port) = port {
            options.push(InterfaceDescriptionOption::IfDescription(description(port).into()));
        }
        let block = InterfaceDescriptionBlock {
            linktype: DataLink::ETHERNET,
            snaplen: self.snaplen,
            options,
        };
        self.writer.write_pcapng_block(block).map_err(into_io)?;
        let interface = self.described;
        self.described += 1;
        if let Some(port) = port {
            self.interfaces.insert(port, interface);
        }
        Ok(interface)
    }

    fn statistics(&mut self, interface: u32, totals: &PortTotals) -> io::Result<()> {
        let PortTotals { port: _, seen, captured, filtered: _, dropped } = *totals;
        let block = InterfaceStatisticsBlock {
            interface_id: interface,
            // The format wants the upper half first whatever the byte order; pcap-file 2.0 writes
            // the number as one, so in little-endian the lower half comes first.
            timestamp: nanoseconds(self.last_frame).rotate_left(32),
            options: vec![
                InterfaceStatisticsOption::IsbIfRecv(seen),
                InterfaceStatisticsOption::IsbIfDrop(dropped),
                InterfaceStatisticsOption::IsbFilterAccept(captured + dropped),
                InterfaceStatisticsOption::IsbOsDrop(dropped),
                InterfaceStatisticsOption::IsbUsrDeliv(captured),
            ],
        };
        self.writer.write_pcapng_block(block).map_err(into_io)?;
        Ok(())
    }
}

impl<W: Write> Sink for PcapNg<W> {
    fn record(&mut self, record: Record<'_>) -> io::Result<()> {
        match record {
            Record::Port { port, name } => self.describe(Some(port), name).map(drop),
            Record::Frame(frame) => self.frame(&frame),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.get_mut().flush()
    }

    fn finish(&mut self, totals: &[PortTotals]) -> io::Result<()> {
        for of_port in totals {
            let interface = self.interface_of(of_port.port)?;
            self.statistics(interface, of_port)?;
        }
        if totals.is_empty() {
            let port = PortId::from_parts(0, 0);
            let nothing = PortTotals { port, seen: 0, captured: 0, filtered: 0, dropped: 0 };
            let interface = self.describe(None, "no port")?;
            self.statistics(interface, &nothing)?;
        }
        self.flush()
    }
}

/// How an interface's description names its port: number and generation, so that a port whose
/// number another one had before can be told from that.
fn description(port: PortId) -> String {
    format!("{DESCRIPTION}{}.{}", port.number(), port.generation())
}

/// The port in an interface's description, if it is one of ours.
pub(super) fn described_port(description: &str) -> Option<PortId> {
    let (number, generation) = description.strip_prefix(DESCRIPTION)?.split_once('.')?;
    Some(PortId::from_parts(number.parse().ok()?, generation.parse().ok()?))
}

/// The name without what might do something to a terminal, for a guest's owner may have chosen it,
/// and no longer than an option can be.
fn printable(name: &str) -> String {
    let visible = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
    name.chars().take(MAX_NAME).map(visible).collect()
}

/// Since 1970; enough until the year 2554.
fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Names the program in every file.
const APPLICATION: &str = concat!("uml_switch ", env!("CARGO_PKG_VERSION"));

const DESCRIPTION: &str = "switch port ";

/// Characters of a port's name that are kept; an option has room for 65,535 bytes.
const MAX_NAME: usize = 256;

/// `if_tsresol`: the negative power of ten of a second that timestamps count.
const NANOSECONDS: u8 = 9;

/// A block's type, and its length before and after its body.
const BLOCK_OVERHEAD: usize = 12;

/// Interface, time in two halves, kept and original length.
const FRAME_HEADER: usize = 20;

/// The flags, and the end of the options.
const FRAME_OPTIONS: usize = 12;

/// The code of the option `epb_flags`.
const EPB_FLAGS: u16 = 2;

const END_OF_OPTIONS: [u8; 4] = [0; 4];
