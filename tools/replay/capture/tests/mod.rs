//! Captures made byte by byte, opened and played from files.

mod broken;
mod files;
mod links;
mod multiplied;
mod surveys;

use std::io::Write;
use std::net::Ipv4Addr;

use etherparse::PacketBuilder;
use pcap_file::Endianness;
use tempfile::NamedTempFile;

use super::*;

/// A capture and the file that it is in.
struct Opened {
    capture: Capture,
    _file: NamedTempFile,
}

/// What is known of a frame once it is gone.
#[derive(Clone, Debug, PartialEq)]
struct Played {
    at: Duration,
    from: u32,
    to: Destination,
    direction: Direction,
    flow: String,
    bytes: Vec<u8>,
    record: u64,
}

fn open(bytes: &[u8], options: Options) -> Opened {
    let file = written(bytes);
    let capture = Capture::open(file.path(), options).unwrap_or_else(|error| panic!("{error}"));
    Opened { capture, _file: file }
}

/// The line that is printed, without the file's name, which it must begin with.
fn refused(bytes: &[u8], options: Options) -> String {
    let file = written(bytes);
    let error = Capture::open(file.path(), options).expect_err("it is refused").to_string();
    assert!(!error.contains('\n'), "one line: {error}");
    let name = format!("{}: ", file.path().display());
    error.strip_prefix(&name).unwrap_or_else(|| panic!("{error} does not name {name}")).to_string()
}

fn written(bytes: &[u8]) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    file
}

impl Opened {
    /// Plays all of it. What is counted in the first pass must be what comes in the second.
    fn play(&self) -> Vec<Played> {
        let mut frames = self.capture.play().unwrap();
        let mut all: Vec<Played> = Vec::new();
        let mut sent = vec![0; self.capture.stations().len()];
        while let Some(frame) = frames.next().unwrap() {
            sent[frame.from.0 as usize] += 1;
            assert!(all.last().is_none_or(|last| last.at <= frame.at), "in order");
            all.push(Played {
                at: frame.at,
                from: frame.from.0,
                to: frame.to,
                direction: frame.direction,
                flow: frame.flow.to_string(),
                bytes: frame.bytes.to_vec(),
                record: frame.record,
            });
        }
        let capture = &self.capture;
        assert!(frames.next().unwrap().is_none(), "the end is the end");
        assert_eq!(all.len() as u64, capture.frames());
        assert_eq!(all.iter().map(|frame| frame.bytes.len() as u64).sum::<u64>(), capture.bytes());
        assert_eq!(all.last().unwrap().at, capture.duration());
        let counted: Vec<_> = capture.stations().iter().map(|station| station.frames).collect();
        assert_eq!(sent, counted);
        all
    }
}

/// A classic pcap file.
struct Pcap {
    order: Endianness,
    nanos: bool,
    bytes: Vec<u8>,
}

impl Pcap {
    fn new(order: Endianness, nanos: bool, link: u32) -> Self {
        let mut pcap = Pcap { order, nanos, bytes: Vec::new() };
        let magic = if nanos { 0xa1b2_3c4d } else { 0xa1b2_c3d4 };
        // Version 2.4 in one word, whose halves depend on the byte order.
        let version = if order == Endianness::Big { 0x0002_0004 } else { 0x0004_0002 };
        pcap.words(&[magic, version, 0, 0, 96, link]);
        pcap
    }

    fn ethernet() -> Self {
        Self::new(Endianness::Little, true, 1)
    }

    /// A packet that was recorded whole.
    fn packet(&mut self, nanos: u64, packet: &[u8]) -> &mut Self {
        self.snapped(nanos, packet, packet.len() as u32)
    }

    fn snapped(&mut self, nanos: u64, packet: &[u8], original: u32) -> &mut Self {
        let fraction = nanos % 1_000_000_000 / if self.nanos { 1 } else { 1000 };
        let seconds = (nanos / 1_000_000_000) as u32;
        self.words(&[seconds, fraction as u32, packet.len() as u32, original]);
        self.bytes.extend_from_slice(packet);
        self
    }

    fn words(&mut self, words: &[u32]) {
        words.iter().for_each(|word| self.bytes.extend(in_order(self.order, *word)));
    }
}

/// A pcapng file.
struct Ng {
    order: Endianness,
    bytes: Vec<u8>,
}

impl Ng {
    fn new(order: Endianness) -> Self {
        let mut ng = Ng { order, bytes: Vec::new() };
        ng.section(order);
        ng
    }

    fn section(&mut self, order: Endianness) -> &mut Self {
        self.order = order;
        let version = if order == Endianness::Big { 0x0001_0000 } else { 0x0000_0001 };
        self.words(0x0a0d_0d0a, &[0x1a2b_3c4d, version, u32::MAX, u32::MAX], &[])
    }

    fn interface(&mut self, link: u16, options: &[u8]) -> &mut Self {
        let link = match self.order {
            Endianness::Big => u32::from(link) << 16,
            Endianness::Little => u32::from(link),
        };
        self.words(1, &[link, 96], options)
    }

    /// An option for an interface, padded.
    fn option(&self, code: u16, value: &[u8]) -> Vec<u8> {
        let length = value.len() as u16;
        let mut option = match self.order {
            Endianness::Big => [code.to_be_bytes(), length.to_be_bytes()].concat(),
            Endianness::Little => [code.to_le_bytes(), length.to_le_bytes()].concat(),
        };
        option.extend_from_slice(value);
        option.resize(option.len().next_multiple_of(4), 0);
        option
    }

    fn packet(&mut self, interface: u32, units: u64, packet: &[u8]) -> &mut Self {
        let length = packet.len() as u32;
        self.words(6, &[interface, (units >> 32) as u32, units as u32, length, length], packet)
    }

    /// A block of words, then bytes.
    fn words(&mut self, kind: u32, words: &[u32], bytes: &[u8]) -> &mut Self {
        let padded = bytes.len().next_multiple_of(4);
        let length = (12 + 4 * words.len() + padded) as u32;
        let order = self.order;
        let all = [&[kind, length], words].concat();
        self.bytes.extend(all.iter().flat_map(|word| in_order(order, *word)));
        self.bytes.extend_from_slice(bytes);
        self.bytes.extend(vec![0; padded - bytes.len()]);
        self.bytes.extend(in_order(order, length));
        self
    }
}

fn in_order(order: Endianness, word: u32) -> [u8; 4] {
    if order == Endianness::Big { word.to_be_bytes() } else { word.to_le_bytes() }
}

/// A UDP packet between two hosts, each with a MAC address of its own.
fn udp(from: (u8, u16), to: (u8, u16), payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(mac(from.0), mac(to.0))
        .ipv4(ip(from.0).octets(), ip(to.0).octets(), 64)
        .udp(from.1, to.1)
        .write(&mut frame, payload)
        .unwrap();
    frame
}

fn mac(host: u8) -> [u8; 6] {
    [2, 0, 0, 0, 0, host]
}

fn ip(host: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, host)
}

/// A packet like any other.
fn plain() -> Vec<u8> {
    udp((1, 1000), (2, 2000), b"hello")
}

fn repairing() -> Options {
    Options { repair: true, ..Options::default() }
}

const MS: u64 = 1_000_000;
const SECOND: u64 = 1000 * MS;
