//! A small capture for the tests of the sinks.

use std::time::Duration;

use super::Sink;
use crate::core::PortId;
use crate::mirror::{Captured, Direction, PortTotals, Record};

/// A record that lives on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Owned {
    Port(PortId, String),
    Frame(PortId, Direction, Duration, u32, Vec<u8>),
}

impl Owned {
    pub(super) fn of(record: Record<'_>) -> Self {
        match record {
            Record::Port { port, name } => Owned::Port(port, name.to_owned()),
            Record::Frame(frame) => Owned::Frame(
                frame.port,
                frame.direction,
                frame.time,
                frame.original,
                frame.bytes.to_vec(),
            ),
        }
    }

    pub(super) fn record(&self) -> Record<'_> {
        match self {
            Owned::Port(port, name) => Record::Port { port: *port, name },
            &Owned::Frame(port, direction, time, original, ref bytes) => {
                Record::Frame(Captured { port, direction, time, original, bytes })
            }
        }
    }
}

pub(super) fn port(number: u32, generation: u32) -> PortId {
    PortId::from_parts(number, generation)
}

/// A frame that came in at port 1, `millis` after the example's beginning.
pub(super) fn frame_at(millis: u64, len: usize) -> Owned {
    let time = START + Duration::from_millis(millis);
    Owned::Frame(port(1, 0), Direction::In, time, len as u32, vec![0xee; len])
}

/// One frame through the switch, whole at its ingress and cut at its egress; then port 2 is another.
pub(super) fn records() -> Vec<Owned> {
    let frame: Vec<u8> = (1..=18).collect();
    let time = START + Duration::from_nanos(123_456_789);
    vec![
        Owned::Port(port(1, 0), "port 1 daemon".to_owned()),
        Owned::Frame(port(1, 0), Direction::In, time, 18, frame.clone()),
        Owned::Port(port(2, 0), "port 2".to_owned()),
        Owned::Frame(port(2, 0), Direction::Out, time, 18, frame[..16].to_vec()),
        Owned::Port(port(2, 1), "port 2".to_owned()),
        Owned::Frame(port(2, 1), Direction::Out, time + Duration::from_secs(1), 0, vec![]),
    ]
}

pub(super) fn totals() -> Vec<PortTotals> {
    let of = |port, seen, captured, filtered, dropped| PortTotals {
        port,
        seen,
        captured,
        filtered,
        dropped,
    };
    vec![of(port(1, 0), 6, 1, 2, 3), of(port(2, 0), 1, 1, 0, 0), of(port(2, 1), 1, 1, 0, 0)]
}

pub(super) fn give(sink: &mut impl Sink, records: &[Owned]) {
    for record in records {
        sink.record(record.record()).unwrap();
    }
}

/// The bytes of these hexadecimal digits.
pub(super) fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

/// 2026-11-22 04:15:00 in Greenwich.
pub(super) const START: Duration = Duration::from_secs(1_795_320_900);
