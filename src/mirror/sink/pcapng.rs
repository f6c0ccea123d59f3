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
use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::ENHANCED_PACKET_BLOCK;
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::pcapng::blocks::interface_statistics::{
    InterfaceStatisticsBlock, InterfaceStatisticsOption,
};
use pcap_file::pcapng::blocks::section_header::{SectionHeaderBlock, SectionHeaderOption};
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
            last_frame: Duration::ZERO,
        })
    }

    /// What it writes to.
    pub fn get_ref(&self) -> &W {
        self.writer.get_ref()
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
        let padding = kept.next_multiple_of(4) - kept;
        let len = Self::frame_len(kept) as u32;
        // The crate's own block for frames allocates its options and writes everything twice, once
        // to learn the length; and any block of it wants its body in one piece, which is a copy of
        // each frame.
        let fields = [
            ENHANCED_PACKET_BLOCK,
            len,
            interface,
            (time >> 32) as u32,
            time as u32,
            kept as u32,
            frame.original,
        ];
        let option = EPB_FLAGS | (size_of_val(&flags) as u32) << 16;
        let writer = self.writer.get_mut();
        writer.write_all(&little_endian::<{ FRAME_HEADER + 8 }>(&fields))?;
        writer.write_all(frame.bytes)?;
        writer.write_all(&[0; 3][..padding])?;
        writer.write_all(&little_endian::<{ FRAME_OPTIONS + 4 }>(&[
            option,
            flags,
            END_OF_OPTIONS,
            len,
        ]))
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

/// All of `fields`, which have `LEN` bytes.
fn little_endian<const LEN: usize>(fields: &[u32]) -> [u8; LEN] {
    let mut bytes = [0; LEN];
    for (bytes, field) in bytes.chunks_exact_mut(size_of::<u32>()).zip(fields) {
        bytes.copy_from_slice(&field.to_le_bytes());
    }
    bytes
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
const EPB_FLAGS: u32 = 2;

const END_OF_OPTIONS: u32 = 0;

#[cfg(test)]
mod tests {
    use super::super::examples::{Owned, bytes, give, port, records, totals};
    use super::*;

    /// What is written without the section header, which names the machine and the version.
    fn written(records: &[Owned], totals: &[PortTotals]) -> Vec<u8> {
        let mut capture = PcapNg::new(Vec::new(), 65_535).unwrap();
        let header = capture.get_ref().len();
        give(&mut capture, records);
        capture.finish(totals).unwrap();
        capture.get_ref()[header..].to_vec()
    }

    // tests/capture_files.rs has other programs say what such a file holds.
    // 1795320900.123456789 s are 0x18ea42d8_bdb17515 ns, one second later is ..._f94c3f15.
    #[test]
    fn every_block_is_as_the_format_has_it() {
        let expected = bytes(
            "01000000 48000000  0100 0000 ffff0000 \
                0200 0d00 706f72742031206461656d6f6e000000  0900 0100 09000000 \
                0300 0f00 73776974636820706f727420312e3000  0000 0000  48000000 \
             06000000 40000000  00000000 d842ea18 1575b1bd 12000000 12000000 \
                0102030405060708090a0b0c0d0e0f1011120000 \
                0200 0400 01000000  0000 0000  40000000 \
             01000000 40000000  0100 0000 ffff0000 \
                0200 0600 706f727420320000  0900 0100 09000000 \
                0300 0f00 73776974636820706f727420322e3000  0000 0000  40000000 \
             06000000 3c000000  01000000 d842ea18 1575b1bd 10000000 12000000 \
                0102030405060708090a0b0c0d0e0f10 \
                0200 0400 02000000  0000 0000  3c000000 \
             01000000 40000000  0100 0000 ffff0000 \
                0200 0600 706f727420320000  0900 0100 09000000 \
                0300 0f00 73776974636820706f727420322e3100  0000 0000  40000000 \
             06000000 2c000000  02000000 d842ea18 153f4cf9 00000000 00000000 \
                0200 0400 02000000  0000 0000  2c000000 \
             05000000 58000000  00000000 d842ea18 153f4cf9 \
                0400 0800 0600000000000000  0500 0800 0300000000000000 \
                0600 0800 0400000000000000  0700 0800 0300000000000000 \
                0800 0800 0100000000000000  0000 0000  58000000",
        );
        assert_eq!(written(&records(), &totals()[..1]), expected);
    }

    #[test]
    fn the_header_says_who_wrote_it() {
        let capture = PcapNg::new(Vec::new(), 65_535).unwrap();
        let header = capture.get_ref();
        assert_eq!(header[..4], [0x0a, 0x0d, 0x0d, 0x0a]);
        let text = String::from_utf8_lossy(header);
        assert!(text.contains(APPLICATION), "{text:?}");
        assert_eq!(header.len() % 4, 0);
    }

    #[test]
    fn the_length_of_a_frame_is_known_before_it_is_written() {
        for kept in [0, 1, 2, 3, 4, 60, 1514] {
            let frame = super::super::examples::frame_at(0, kept);
            let port = Owned::Port(port(1, 0), "port 1".to_owned());
            let without = written(std::slice::from_ref(&port), &[]).len() as u64;
            let with = written(&[port, frame], &[]).len() as u64;
            assert_eq!(with - without, PcapNg::<Vec<u8>>::frame_len(kept));
        }
    }

    #[test]
    fn a_capture_of_nothing_has_an_interface_and_its_statistics() {
        let written = written(&[], &[]);
        assert_eq!(written[..4], [1, 0, 0, 0]);
        assert!(String::from_utf8_lossy(&written).contains("no port"));
        let len = u32::from_le_bytes(written[4..8].try_into().unwrap()) as usize;
        assert_eq!(written[len..len + 4], [5, 0, 0, 0]);
    }

    #[test]
    fn a_name_is_made_harmless_and_short() {
        let name = format!("vde\x1b[2J\n{}", "x".repeat(100_000));
        let printable = printable(&name);
        assert!(printable.starts_with("vde\u{fffd}[2J\u{fffd}xxx"), "{printable}");
        assert_eq!(printable.chars().count(), MAX_NAME);
    }

    #[test]
    fn a_description_leads_back_to_its_port() {
        for port in [port(0, 0), port(7, 1), port(u32::MAX, u32::MAX)] {
            assert_eq!(described_port(&description(port)), Some(port));
        }
        for other in ["", "switch port", "switch port 1", "switch port 1.x", "switch port -1.0"] {
            assert_eq!(described_port(other), None, "{other}");
        }
    }
}
