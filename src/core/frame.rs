//! One Ethernet frame as the switch sees it: fourteen checked bytes of header and the rest.
//!
//! Only the two addresses are read. Everything behind them, VLAN tags included, is payload and is
//! passed on byte for byte.

use std::fmt;
use std::hash::{Hash, Hasher};

/// Destination, source and type: IEEE 802.3 clause 3.1.1. Anything shorter is a runt.
pub const HEADER_LEN: usize = 14;

/// Bytes that a frame may carry beyond its IP MTU: the header and one 802.1Q tag.
pub const OVERHEAD: usize = HEADER_LEN + 4;

/// An Ethernet address (EUI-48), first byte first as on the wire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// True for multicast and broadcast: the I/G bit, the lowest of the first byte, is set.
    pub fn is_group(self) -> bool {
        self.0[0] & 1 == 1
    }

    /// True if this can be the address of one station: neither a group address nor all zero.
    pub fn is_station(self) -> bool {
        !self.is_group() && self.0 != [0; 6]
    }

    fn as_u64(self) -> u64 {
        let [a, b, c, d, e, f] = self.0;
        u64::from_be_bytes([0, 0, a, b, c, d, e, f])
    }
}

/// One `u64` instead of the derived length prefix and byte slice: the table is asked twice a frame.
impl Hash for MacAddr {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.as_u64());
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Bytes that are known to hold a whole Ethernet header.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a>(&'a [u8]);

impl<'a> Frame<'a> {
    /// The frame in `bytes`, or `None` for a runt (under [`HEADER_LEN`] bytes).
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        (bytes.len() >= HEADER_LEN).then_some(Frame(bytes))
    }

    /// The whole frame.
    pub fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// Where the frame wants to go.
    pub fn destination(self) -> MacAddr {
        self.address(DESTINATION)
    }

    /// Who claims to have sent it.
    pub fn source(self) -> MacAddr {
        self.address(SOURCE)
    }

    fn address(self, offset: usize) -> MacAddr {
        let mut mac = [0; 6];
        mac.copy_from_slice(&self.0[offset..offset + 6]);
        MacAddr(mac)
    }
}

const DESTINATION: usize = 0;
const SOURCE: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_frame_is_a_bare_header() {
        assert!(Frame::new(&[0; HEADER_LEN - 1]).is_none());
        let bytes = *b"\x02\0\0\0\0\x01\x02\0\0\0\0\x02\x08\0";
        let frame = Frame::new(&bytes).unwrap();
        assert_eq!(frame.destination(), MacAddr([2, 0, 0, 0, 0, 1]));
        assert_eq!(frame.source(), MacAddr([2, 0, 0, 0, 0, 2]));
    }

    #[test]
    fn group_and_zero_addresses_are_no_stations() {
        assert!(MacAddr([0x02, 0, 0, 0, 0, 1]).is_station());
        assert!(!MacAddr([0xff; 6]).is_station());
        assert!(!MacAddr([0x01, 0, 0x5e, 0, 0, 1]).is_station());
        assert!(!MacAddr([0; 6]).is_station());
    }

    #[test]
    fn addresses_print_as_people_write_them() {
        assert_eq!(MacAddr([0, 1, 0x2a, 0xff, 0x10, 9]).to_string(), "00:01:2a:ff:10:09");
    }
}
