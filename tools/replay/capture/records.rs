//! The packets of a file as they were recorded.
//!
//! The readers of the `pcap-file` crate are not used: they take 8 MiB each, take the time stamps of
//! pcapng for nanoseconds whatever the file says, refuse options that have no end mark and packets
//! that were longer than the snap length, and cannot tell a file that was cut from a record whose
//! length is absurd. Its names of link types and its pcap header are.

use std::path::Path;

use pcap_file::Endianness;

use super::classic::Classic;
use super::error::Problem;
use super::input::{Got, Input};
use super::pcapng::PcapNg;

/// The packets of one file, in the order of the file.
pub(super) struct Records {
    input: Input,
    format: Format,
    number: u64,
    data: Vec<u8>,
}

/// One packet.
pub(super) struct Record<'a> {
    pub(super) head: Head,
    /// What was recorded of it.
    pub(super) data: &'a [u8],
}

/// What a file says about a packet.
pub(super) struct Head {
    /// Nanoseconds since 1970.
    pub(super) time: i128,
    /// The link type, as numbered by tcpdump.org.
    pub(super) link: u32,
    /// How long it was when it was sent; never less than was recorded.
    pub(super) original: usize,
}

impl Records {
    pub(super) fn open(path: &Path) -> Result<Self, Problem> {
        let mut input = Input::open(path)?;
        let format = Format::of(&mut input)?;
        Ok(Records { input, format, number: 0, data: Vec::new() })
    }

    /// The next packet. After an error there is none.
    pub(super) fn next(&mut self) -> Result<Option<Record<'_>>, Problem> {
        self.number += 1;
        let head = match &mut self.format {
            Format::Classic(classic) => classic.next(&mut self.input, &mut self.data)?,
            Format::Ng(ng) => ng.next(&mut self.input, &mut self.data)?,
        };
        Ok(head.map(|head| Record { head, data: &self.data }))
    }

    /// The number of the packet that was last asked for, from 1.
    pub(super) fn number(&self) -> u64 {
        self.number
    }
}

enum Format {
    Classic(Classic),
    Ng(PcapNg),
}

impl Format {
    /// Reads so much that the first record, or the rest of the first block, comes next.
    fn of(input: &mut Input) -> Result<Self, Problem> {
        let mut header = [0; CLASSIC_HEADER];
        let (magic, rest) = header.split_at_mut(4);
        match input.read(magic)? {
            Got::All => {}
            Got::Nothing => return Err(Problem::Empty),
            Got::Part => return Err(Problem::Magic),
        }
        if *magic == PcapNg::MAGIC {
            return match PcapNg::new(input) {
                Err(Problem::Cut) => Err(Problem::CutHeader),
                other => Ok(Format::Ng(other?)),
            };
        }
        let whole = input.read(rest)? == Got::All;
        match Classic::new(&header) {
            None => Err(Problem::Magic),
            Some(_) if !whole => Err(Problem::CutHeader),
            Some(classic) => Ok(Format::Classic(classic)),
        }
    }
}

/// The bytes that stand before the first record of a classic pcap file.
pub(super) const CLASSIC_HEADER: usize = 24;

/// The longest packet that is believed: `MAXIMUM_SNAPLEN` of libpcap, which refuses longer ones of
/// these link types too.
pub(super) const MAX_DATA: usize = 262_144;

/// The number at `at`, which the caller knows to be inside.
pub(super) fn u32_at(order: Endianness, bytes: &[u8], at: usize) -> u32 {
    let bytes = [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
    if order == Endianness::Big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
}

/// The number at `at`, which the caller knows to be inside.
pub(super) fn u16_at(order: Endianness, bytes: &[u8], at: usize) -> u16 {
    let bytes = [bytes[at], bytes[at + 1]];
    if order == Endianness::Big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }
}
