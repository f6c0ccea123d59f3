//! pcapng: sections of blocks. Interfaces are described by blocks of their own, and packets name
//! theirs. See draft-ietf-opsawg-pcapng.

use pcap_file::Endianness;

use super::error::Problem;
use super::input::{Got, Input};
use super::records::{Head, MAX_DATA, u16_at, u32_at};

/// Where in a file the reader is.
pub(super) struct PcapNg {
    /// Of the section.
    order: Endianness,
    /// Of the section, in their order.
    interfaces: Vec<Interface>,
}

/// What packets of one interface have in common.
struct Interface {
    link: u32,
    resolution: Resolution,
    /// Seconds that are to be added to all times.
    offset: i64,
}

/// What one unit of a time stamp is.
#[derive(Clone, Copy)]
enum Resolution {
    /// 10 to the minus this, in seconds.
    Decimal(u8),
    /// 2 to the minus this, in seconds.
    Binary(u8),
}

impl PcapNg {
    /// With what a file begins: a section header's type, the same in both byte orders.
    pub(super) const MAGIC: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];

    /// Reads the rest of the first section header.
    pub(super) fn new(input: &mut Input) -> Result<Self, Problem> {
        let mut ng = PcapNg { order: Endianness::Little, interfaces: Vec::new() };
        let mut length = [0; 4];
        input.read_all(&mut length)?;
        ng.section(input, length)?;
        Ok(ng)
    }

    pub(super) fn next(
        &mut self,
        input: &mut Input,
        data: &mut Vec<u8>,
    ) -> Result<Option<Head>, Problem> {
        loop {
            let mut start = [0; 8];
            match input.read(&mut start)? {
                Got::All => {}
                Got::Nothing => return Ok(None),
                Got::Part => return Err(Problem::Cut),
            }
            if start[..4] == Self::MAGIC {
                let [.., a, b, c, d] = start;
                self.section(input, [a, b, c, d])?;
                continue;
            }
            let kind = u32_at(self.order, &start, 0);
            let length = u32_at(self.order, &start, 4);
            let body = body_of(length)?;
            let head = match kind {
                INTERFACE => {
                    self.interface(input, data, body)?;
                    None
                }
                ENHANCED_PACKET | PACKET => Some(self.packet(kind, input, data, body)?),
                SIMPLE_PACKET => return Err(Problem::NoTime),
                _ => {
                    input.skip(body)?;
                    None
                }
            };
            self.trailer(input, length)?;
            if head.is_some() {
                return Ok(head);
            }
        }
    }

    /// A section header, behind its type and length: from here on another byte order may hold, and
    /// other interfaces.
    fn section(&mut self, input: &mut Input, length: [u8; 4]) -> Result<(), Problem> {
        let mut order = [0; 4];
        input.read_all(&mut order)?;
        self.order = match order {
            [0x1a, 0x2b, 0x3c, 0x4d] => Endianness::Big,
            [0x4d, 0x3c, 0x2b, 0x1a] => Endianness::Little,
            _ => return Err(Problem::Block("the section's byte order is not marked")),
        };
        self.interfaces.clear();
        let length = u32_at(self.order, &length, 0);
        let rest = body_of(length)?.checked_sub(4).ok_or(TOO_SHORT)?;
        input.skip(rest)?;
        self.trailer(input, length)
    }

    fn interface(
        &mut self,
        input: &mut Input,
        data: &mut Vec<u8>,
        body: u64,
    ) -> Result<(), Problem> {
        if self.interfaces.len() == MAX_INTERFACES {
            return Err(Problem::TooManyInterfaces(MAX_INTERFACES));
        }
        input.read_data(data, bounded(body)?)?;
        if data.len() < 8 {
            return Err(TOO_SHORT);
        }
        let mut interface = Interface {
            link: u16_at(self.order, data, 0).into(),
            resolution: Resolution::Decimal(6),
            offset: 0,
        };
        interface.read_options(self.order, &data[8..]);
        self.interfaces.push(interface);
        Ok(())
    }

    /// An enhanced packet block, or the packet block of old, which differs in its first 4 bytes.
    fn packet(
        &self,
        kind: u32,
        input: &mut Input,
        data: &mut Vec<u8>,
        body: u64,
    ) -> Result<Head, Problem> {
        let mut fixed = [0; 20];
        let options = body.checked_sub(fixed.len() as u64).ok_or(TOO_SHORT)?;
        input.read_all(&mut fixed)?;
        let field = |number: usize| u32_at(self.order, &fixed, 4 * number);
        let id = if kind == PACKET { u16_at(self.order, &fixed, 0).into() } else { field(0) };
        let units = u64::from(field(1)) << 32 | u64::from(field(2));
        let (length, original) = (u64::from(field(3)), field(4) as usize);
        let length_of_data = bounded(length)?;
        let options = options
            .checked_sub(length)
            .ok_or(Problem::Block("its packet is longer than its block"))?;
        let interface = self.interfaces.get(id as usize).ok_or(Problem::Interface(id))?;
        input.read_data(data, length_of_data)?;
        input.skip(options)?;
        Ok(Head {
            time: interface.time(units),
            link: interface.link,
            original: original.max(length_of_data),
        })
    }

    /// A block ends as it begins, with its length.
    fn trailer(&self, input: &mut Input, length: u32) -> Result<(), Problem> {
        let mut trailer = [0; 4];
        input.read_all(&mut trailer)?;
        if u32_at(self.order, &trailer, 0) == length {
            Ok(())
        } else {
            Err(Problem::Block("the two lengths of its block differ"))
        }
    }
}

impl Interface {
    /// Takes what it knows; options may end without an end mark.
    fn read_options(&mut self, order: Endianness, mut options: &[u8]) {
        while options.len() >= 4 {
            let code = u16_at(order, options, 0);
            let length = usize::from(u16_at(order, options, 2));
            let Some(value) = options.get(4..4 + length) else { return };
            match (code, value) {
                (OPTION_END, _) => return,
                (OPTION_RESOLUTION, &[power, ..]) => {
                    let exponent = power & 0x7f;
                    self.resolution = if power & 0x80 == 0 {
                        Resolution::Decimal(exponent)
                    } else {
                        Resolution::Binary(exponent)
                    };
                }
                (OPTION_OFFSET, value) => {
                    let Ok(bytes) = value.try_into() else { return };
                    self.offset = match order {
                        Endianness::Big => i64::from_be_bytes(bytes),
                        Endianness::Little => i64::from_le_bytes(bytes),
                    };
                }
                _ => {}
            }
            options = options.get(4 + length.next_multiple_of(4)..).unwrap_or_default();
        }
    }

    /// Nanoseconds since 1970.
    fn time(&self, units: u64) -> i128 {
        let units = i128::from(units);
        let nanos = match self.resolution {
            Resolution::Decimal(power @ 0..=9) => units * 10_i128.pow(9 - u32::from(power)),
            // No 64-bit number has more than 20 digits.
            Resolution::Decimal(power) => units / 10_i128.pow((u32::from(power) - 9).min(20)),
            Resolution::Binary(power) => (units * 1_000_000_000) >> power.min(126),
        };
        nanos + i128::from(self.offset) * 1_000_000_000
    }
}

/// What lies between a block's type and length and its trailer.
fn body_of(length: u32) -> Result<u64, Problem> {
    if !length.is_multiple_of(4) {
        return Err(Problem::Block("the length of its block is no multiple of 4"));
    }
    length.checked_sub(12).map(u64::from).ok_or(TOO_SHORT)
}

/// A length that may be allocated.
fn bounded(length: u64) -> Result<usize, Problem> {
    if length <= MAX_DATA as u64 { Ok(length as usize) } else { Err(Problem::Length(length)) }
}

const TOO_SHORT: Problem = Problem::Block("its block is too short");

const INTERFACE: u32 = 1;
const PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;

const OPTION_END: u16 = 0;
const OPTION_RESOLUTION: u16 = 9;
const OPTION_OFFSET: u16 = 14;

/// Of one section. A file could describe millions, and each is remembered.
const MAX_INTERFACES: usize = 4096;
