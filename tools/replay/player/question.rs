//! Questions to a real server, and its answers: UDP packets over IPv4 that carry a number, so that the
//! round trip can be measured, and the time for which the server held them, so that it can be taken
//! off.
//!
//! The first [`LEN`] bytes of the payload are ours, both ways, numbers in network byte order:
//!
//! | bytes | what |
//! | --- | --- |
//! | 0 to 3 | [`MAGIC`] |
//! | 4 to 7 | the question's number |
//! | 8 to 15 | nanoseconds for which the answerer held it; 0 in a question |

use std::ops::Range;
use std::time::Duration;

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use uml_switch::client::Mac;

/// Makes a question numbered `number` of a frame. The payload grows if it is shorter than [`LEN`].
/// False, and nothing is changed, if it is no UDP packet over IPv4, or a fragment.
pub fn ask(frame: &mut Vec<u8>, number: u64) -> bool {
    let Some(payload) = payload(frame) else { return false };
    let (ip, udp) = (ETHERNET, payload.start - UDP);
    let end = payload.end.max(payload.start + LEN);
    // Whatever padded it to Ethernet's shortest frame is not needed any longer, or is still there.
    if frame.len() < end {
        frame.resize(end, 0);
    }
    set_u16(frame, ip + 2, end - ip);
    set_u16(frame, udp + 4, end - udp);
    // A UDP packet over IPv4 may go without a checksum (RFC 768).
    set_u16(frame, udp + 6, 0);
    let head = payload.start;
    frame[head..head + 4].copy_from_slice(&MAGIC);
    frame[head + 4..head + 8].copy_from_slice(&(number as u32).to_be_bytes());
    frame[head + 8..head + LEN].fill(0);
    set_u16(frame, ip + 10, 0);
    let sum = checksum(&frame[ip..udp]);
    set_u16(frame, ip + 10, usize::from(sum));
    true
}

/// What identifies the answer to a question with this number, as [`super::event::content`] does frames.
pub fn key(number: u64) -> u64 {
    super::event::content(&[&MAGIC[..], &(number as u32).to_be_bytes()].concat())
}

/// A frame that belongs to this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Flooded, because the switch did not know the server yet.
    Question,
    /// With the question's [`key`], and how long it was held.
    Answer { key: u64, held: Duration },
}

/// What a frame is, if it was sent to the station `answering`, or by it.
pub fn kind(frame: &[u8], answering: Mac) -> Option<Kind> {
    let (to, from) = (frame.get(..6)?, frame.get(6..12)?);
    if to != answering && from != answering {
        return None;
    }
    let payload = &frame[payload(frame)?];
    let (magic, rest) = payload.get(..LEN)?.split_at(MAGIC.len());
    let (number, held) = rest.split_at(4);
    if magic != MAGIC {
        return None;
    }
    if to == answering {
        return Some(Kind::Question);
    }
    let number = u32::from_be_bytes(number.try_into().ok()?);
    let held = u64::from_be_bytes(held.try_into().ok()?);
    Some(Kind::Answer { key: key(number.into()), held: Duration::from_nanos(held) })
}

/// Writes into a question, or what is taken for one, how long it was held. It grows if need be.
pub fn answer(payload: &mut Vec<u8>, held: Duration) {
    payload.resize(payload.len().max(LEN), 0);
    let held = u64::try_from(held.as_nanos()).unwrap_or(u64::MAX);
    payload[8..LEN].copy_from_slice(&held.to_be_bytes());
}

/// Where the payload of a UDP packet over IPv4 is, without VLAN tags.
fn payload(frame: &[u8]) -> Option<Range<usize>> {
    let sliced = SlicedPacket::from_ethernet(frame).ok()?;
    let (Some(NetSlice::Ipv4(ip)), Some(TransportSlice::Udp(udp))) = (sliced.net, sliced.transport)
    else {
        return None;
    };
    let start = ETHERNET + ip.header().slice().len() + UDP;
    let end = start + udp.payload().len();
    (sliced.link_exts.is_empty() && end <= frame.len()).then_some(start..end)
}

fn set_u16(frame: &mut [u8], at: usize, number: usize) {
    frame[at..at + 2].copy_from_slice(&(number as u16).to_be_bytes());
}

/// Of the internet (RFC 1071); `bytes` are of an even number.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks_exact(2).map(|word| u32::from(word[0]) << 8 | u32::from(word[1]));
    let sum: u32 = words.sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    !((sum & 0xffff) + (sum >> 16)) as u16
}

/// `urq1`.
const MAGIC: [u8; 4] = *b"urq1";

/// Bytes of a payload that are ours.
pub const LEN: usize = 16;

/// Bytes of headers.
const ETHERNET: usize = 14;
const UDP: usize = 8;

#[cfg(test)]
mod tests {
    use etherparse::PacketBuilder;

    use super::*;

    const SERVER: Mac = [2, 0, 0, 0, 0, 2];
    const PLAYER: Mac = [2, 0, 0, 0, 0, 1];

    fn udp(from: Mac, to: Mac, payload: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        let headers = PacketBuilder::ethernet2(from, to)
            .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
            .udp(27005, 27015);
        headers.write(&mut frame, payload).unwrap();
        frame
    }

    #[test]
    fn a_question_is_a_sound_packet_that_keeps_its_length_if_it_can() {
        for (before, after) in [(0, LEN), (7, LEN), (LEN, LEN), (200, 200)] {
            let mut frame = udp(PLAYER, SERVER, &vec![7; before]);
            assert!(ask(&mut frame, 9));
            assert_eq!(frame.len(), 42 + after);
            let sliced = SlicedPacket::from_ethernet(&frame).unwrap();
            let Some(NetSlice::Ipv4(ip)) = &sliced.net else { panic!("no IPv4") };
            let header = ip.header().to_header();
            assert_eq!(header.header_checksum, header.calc_header_checksum());
            let Some(TransportSlice::Udp(udp)) = &sliced.transport else { panic!("no UDP") };
            assert_eq!((udp.payload().len(), udp.checksum()), (after, 0));
            assert_eq!(kind(&frame, SERVER), Some(Kind::Question));
            assert_eq!(kind(&frame, [9; 6]), None);
        }
    }

    #[test]
    fn an_answer_is_known_by_its_number_and_says_how_long_it_was_held() {
        let mut question = udp(PLAYER, SERVER, &[7; 30]);
        ask(&mut question, 0x1_0000_0009);
        let mut payload = question[42..].to_vec();
        answer(&mut payload, Duration::from_millis(5));
        let back = kind(&udp(SERVER, PLAYER, &payload), SERVER);
        let expected = Kind::Answer { key: key(0x1_0000_0009), held: Duration::from_millis(5) };
        assert_eq!(back, Some(expected));
        assert_eq!(key(9), key(0x1_0000_0009), "32 bits are carried");
        assert_ne!(key(9), key(10));
    }

    #[test]
    fn what_is_no_udp_packet_stays() {
        let mut arp = vec![0; 60];
        arp[12..14].copy_from_slice(&[8, 6]);
        let before = arp.clone();
        assert!(!ask(&mut arp, 1));
        assert_eq!(arp, before);
        let answer = udp(SERVER, PLAYER, &[7; 30]);
        assert_eq!(kind(&answer, SERVER), None);
        assert_eq!(kind(&[], SERVER), None);
    }
}
