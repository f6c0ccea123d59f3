//! Captures on disk: classic pcap, nanoseconds, little-endian on every machine.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use pcap_file::pcap::{PcapHeader, PcapPacket, PcapReader, PcapWriter};
use pcap_file::{DataLink, Endianness, TsResolution};

use crate::world::Sent;

/// Writes a capture and returns how many frames it has.
///
/// # Errors
/// When the file cannot be made or written to.
pub fn write(path: &Path, frames: impl Iterator<Item = Sent>) -> Result<u64> {
    let file = File::create(path).context("cannot make the file")?;
    let mut writer = PcapWriter::with_header(BufWriter::new(file), HEADER)?;
    let mut number = 0;
    for Sent { time, frame } in frames {
        let time = START + Duration::from_nanos(time);
        writer.write_packet(&PcapPacket::new(time, frame.len() as u32, &frame))?;
        number += 1;
    }
    writer.into_writer().flush()?;
    Ok(number)
}

/// Reads a capture, frame by frame, with the nanoseconds since the first.
///
/// Only what [`write()`] makes is taken: Ethernet, whole frames, times that do not go back.
///
/// # Errors
/// When the file cannot be read or is no such capture; the number of the record is named.
pub fn read(path: &Path, mut each: impl FnMut(u64, &[u8])) -> Result<()> {
    let file = File::open(path).context("cannot open the file")?;
    let mut reader = PcapReader::new(BufReader::new(file)).context("no pcap header")?;
    if reader.header().datalink != DataLink::ETHERNET {
        bail!("the capture is not of an Ethernet");
    }
    let mut first = None;
    let mut latest = Duration::ZERO;
    let mut number = 0_u64;
    while let Some(packet) = reader.next_packet() {
        number += 1;
        let packet = packet.with_context(|| format!("record {number}"))?;
        if packet.timestamp < latest {
            bail!("record {number}: its time is before that of the record before");
        }
        if packet.data.len() != packet.orig_len as usize {
            bail!("record {number}: the frame was cut when it was recorded");
        }
        latest = packet.timestamp;
        let since = latest - *first.get_or_insert(latest);
        each(since.as_nanos() as u64, &packet.data);
    }
    Ok(())
}

const HEADER: PcapHeader = PcapHeader {
    version_major: 2,
    version_minor: 4,
    ts_correction: 0,
    ts_accuracy: 0,
    snaplen: 65_535,
    datalink: DataLink::ETHERNET,
    ts_resolution: TsResolution::NanoSecond,
    endianness: Endianness::Little,
};

/// When all captures begin: 2001-09-09 01:46:40 UTC, the billionth second.
const START: Duration = Duration::from_secs(1_000_000_000);
