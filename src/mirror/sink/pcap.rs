//! Captures in the classic pcap format with nanoseconds: pcap-savefile(5). It knows neither ports
//! nor directions nor statistics, and every program reads it. All integers are little-endian on
//! every machine.

use std::io::{self, Write};

use pcap_file::pcap::PcapHeader;
use pcap_file::{DataLink, Endianness, TsResolution};

use super::{Sink, into_io};
use crate::mirror::{Captured, PortTotals, Record};

/// Writes a capture as classic pcap.
pub struct Pcap<W: Write> {
    writer: W,
}

impl<W: Write> Pcap<W> {
    /// Begins a capture of frames of which at most `snaplen` bytes are kept. Each frame is two small
    /// writes: `writer` should have a buffer, such as of [`super::BUFFER`] bytes.
    ///
    /// # Errors
    /// Those of `writer`.
    pub fn new(mut writer: W, snaplen: u32) -> io::Result<Self> {
        let header = PcapHeader {
            endianness: Endianness::Little,
            ts_resolution: TsResolution::NanoSecond,
            datalink: DataLink::ETHERNET,
            snaplen,
            ..PcapHeader::default()
        };
        header.write_to(&mut writer).map_err(into_io)?;
        Ok(Pcap { writer })
    }

    /// What it writes to.
    pub fn get_ref(&self) -> &W {
        &self.writer
    }

    /// How many bytes a frame takes of which `kept` bytes are kept.
    pub fn frame_len(kept: usize) -> u64 {
        (FRAME_HEADER + kept) as u64
    }

    // pcap-file's own writer of packets does not lend what it writes to, which could then not be
    // flushed while the capture goes on.
    fn frame(&mut self, frame: &Captured<'_>) -> io::Result<()> {
        let seconds = u32::try_from(frame.time.as_secs()).unwrap_or(u32::MAX);
        let fields = [seconds, frame.time.subsec_nanos(), frame.bytes.len() as u32, frame.original];
        let mut header = [0; FRAME_HEADER];
        for (bytes, field) in header.chunks_exact_mut(size_of::<u32>()).zip(fields) {
            bytes.copy_from_slice(&field.to_le_bytes());
        }
        self.writer.write_all(&header)?;
        self.writer.write_all(frame.bytes)
    }
}

impl<W: Write> Sink for Pcap<W> {
    fn record(&mut self, record: Record<'_>) -> io::Result<()> {
        match record {
            Record::Port { .. } => Ok(()),
            Record::Frame(frame) => self.frame(&frame),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }

    fn finish(&mut self, _totals: &[PortTotals]) -> io::Result<()> {
        self.flush()
    }
}

/// Seconds, nanoseconds, kept and original length.
const FRAME_HEADER: usize = 16;

#[cfg(test)]
mod tests {
    use super::super::examples::{bytes, give, records, totals};
    use super::*;

    #[test]
    fn every_byte_is_as_the_format_has_it() {
        let mut capture = Pcap::new(Vec::new(), 65_535).unwrap();
        give(&mut capture, &records());
        capture.finish(&totals()).unwrap();
        // 1795320900 is 0x6b026c44, 123456789 is 0x075bcd15.
        let expected = bytes(
            "4d3cb2a1 0200 0400 00000000 00000000 ffff0000 01000000 \
             446c026b 15cd5b07 12000000 12000000  0102030405060708090a0b0c0d0e0f101112 \
             446c026b 15cd5b07 10000000 12000000  0102030405060708090a0b0c0d0e0f10 \
             456c026b 15cd5b07 00000000 00000000",
        );
        assert_eq!(*capture.get_ref(), expected);
        let frames: u64 = [18, 16, 0].map(Pcap::<Vec<u8>>::frame_len).iter().sum();
        assert_eq!(expected.len() as u64, 24 + frames);
    }
}
