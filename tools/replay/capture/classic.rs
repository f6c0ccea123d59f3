//! Classic pcap: a header, then records of seconds, a fraction, two lengths and the packet.

use pcap_file::pcap::PcapHeader;
use pcap_file::{Endianness, TsResolution};

use super::error::Problem;
use super::input::{Got, Input};
use super::records::{CLASSIC_HEADER, Head, MAX_DATA, u32_at};

/// What the header says.
pub(super) struct Classic {
    order: Endianness,
    /// Nanoseconds in one unit of a time stamp's fraction.
    unit: i128,
    link: u32,
}

impl Classic {
    /// `None` for what is no header of a pcap file.
    pub(super) fn new(header: &[u8; CLASSIC_HEADER]) -> Option<Self> {
        let (_, header) = PcapHeader::from_slice(header).ok()?;
        let unit = match header.ts_resolution {
            TsResolution::MicroSecond => 1000,
            TsResolution::NanoSecond => 1,
        };
        // The upper half may say how long a frame check sequence is.
        let link = u32::from(header.datalink) & 0xffff;
        Some(Classic { order: header.endianness, unit, link })
    }

    pub(super) fn next(
        &self,
        input: &mut Input,
        data: &mut Vec<u8>,
    ) -> Result<Option<Head>, Problem> {
        let mut head = [0; 16];
        match input.read(&mut head)? {
            Got::All => {}
            Got::Nothing => return Ok(None),
            Got::Part => return Err(Problem::Cut),
        }
        let field = |number: usize| u32_at(self.order, &head, 4 * number);
        let (seconds, fraction) = (i128::from(field(0)), i128::from(field(1)));
        let (length, original) = (field(2) as usize, field(3) as usize);
        if length > MAX_DATA {
            return Err(Problem::Length(length as u64));
        }
        input.read_data(data, length)?;
        Ok(Some(Head {
            time: seconds * 1_000_000_000 + fraction * self.unit,
            link: self.link,
            original: original.max(length),
        }))
    }
}
