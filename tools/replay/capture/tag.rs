//! A number in every frame, so that frames with the same content can be told apart.

use super::checksum;
use super::packet::{ARP, IPV4, IPV6, Layout, u16_at};

/// Writes `number` where it changes nothing for who receives the frame, as much of it as has room:
///
/// - into the identification of an IPv4 packet, 16 bits (fragments of one packet part company);
/// - into the flow label of an IPv6 packet, 20 bits;
/// - into the last 4 bytes of the padding of an ARP packet, or of anything else that is shorter than
///   the 60 bytes of Ethernet and is padded for this.
///
/// Returns whether there was room. VLAN tags are looked through.
pub fn tag(frame: &mut Vec<u8>, number: u64) -> bool {
    let layout = Layout::of(frame);
    let at = layout.payload;
    match layout.ip {
        Some(_) if layout.ether_type == IPV4 => tag_ipv4(frame, at, number as u16),
        Some(_) if layout.ether_type == IPV6 => tag_ipv6(frame, at, number as u32),
        _ => {
            let end = if layout.ether_type == ARP { at + ARP_PACKET } else { frame.len() };
            return tag_padding(frame, end, number as u32);
        }
    }
    true
}

fn tag_ipv4(frame: &mut [u8], at: usize, number: u16) {
    let old = u16_at(frame, at + 4).unwrap_or_default();
    frame[at + 4..at + 6].copy_from_slice(&number.to_be_bytes());
    checksum::update(frame, at + 10, old, number);
}

/// No checksum covers the flow label.
fn tag_ipv6(frame: &mut [u8], at: usize, number: u32) {
    let [_, high, middle, low] = number.to_be_bytes();
    frame[at + 1] = frame[at + 1] & 0xf0 | high & 0x0f;
    frame[at + 2] = middle;
    frame[at + 3] = low;
}

fn tag_padding(frame: &mut Vec<u8>, end: usize, number: u32) -> bool {
    if frame.len() < SHORTEST {
        frame.resize(SHORTEST.max(end + 4), 0);
    }
    let Some(padding) = frame.get_mut(end..).and_then(|padding| padding.last_chunk_mut()) else {
        return false;
    };
    *padding = number.to_be_bytes();
    true
}

/// Ethernet's shortest frame, without the frame check sequence.
const SHORTEST: usize = 60;

/// For IPv4 over Ethernet.
const ARP_PACKET: usize = 28;

#[cfg(test)]
mod tests {
    use etherparse::{
        ArpHardwareId, ArpOperation, EtherType, NetSlice, PacketBuilder, SlicedPacket, VlanId,
    };

    use super::*;

    fn udp4(vlans: u16) -> Vec<u8> {
        let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
        let id = |number| VlanId::try_new(number).unwrap();
        let mut frame = Vec::new();
        let (source, destination) = ([192, 0, 2, 1], [192, 0, 2, 2]);
        match vlans {
            0 => builder.ipv4(source, destination, 64).udp(1, 2).write(&mut frame, &[7; 9]),
            1 => builder
                .single_vlan(id(5))
                .ipv4(source, destination, 64)
                .udp(1, 2)
                .write(&mut frame, &[7; 9]),
            _ => builder
                .double_vlan(id(5), id(6))
                .ipv4(source, destination, 64)
                .udp(1, 2)
                .write(&mut frame, &[7; 9]),
        }
        .unwrap();
        frame
    }

    #[test]
    fn the_identification_of_ipv4_is_the_number_and_all_else_stays() {
        for vlans in 0..3 {
            let frame = udp4(vlans);
            let at = 14 + 4 * usize::from(vlans);
            for number in [0, 1, 0xfffe, 0xffff, 0x1_2345] {
                let mut tagged = frame.clone();
                assert!(tag(&mut tagged, number));
                let header = match SlicedPacket::from_ethernet(&tagged).unwrap().net {
                    Some(NetSlice::Ipv4(ip)) => ip.header().to_header(),
                    other => panic!("no IPv4: {other:?}"),
                };
                assert_eq!(header.identification, number as u16);
                assert_eq!(header.header_checksum, header.calc_header_checksum());
                // With the old identification and checksum it is the old frame.
                tagged[at + 4..at + 6].copy_from_slice(&frame[at + 4..at + 6]);
                tagged[at + 10..at + 12].copy_from_slice(&frame[at + 10..at + 12]);
                assert_eq!(tagged, frame);
            }
        }
    }

    #[test]
    fn the_flow_label_of_ipv6_is_the_number_and_all_else_stays() {
        let mut frame = Vec::new();
        PacketBuilder::ethernet2([2; 6], [4; 6])
            .ipv6([1; 16], [2; 16], 64)
            .tcp(1000, 80, 1, 1000)
            .write(&mut frame, &[7; 9])
            .unwrap();
        frame[14] = 0x6a;
        frame[15] = 0xb0;
        let mut tagged = frame.clone();
        assert!(tag(&mut tagged, 0x12_3456));
        let header = match SlicedPacket::from_ethernet(&tagged).unwrap().net {
            Some(NetSlice::Ipv6(ip)) => ip.header().to_header(),
            other => panic!("no IPv6: {other:?}"),
        };
        assert_eq!((header.flow_label.value(), header.traffic_class), (0x2_3456, 0xab));
        tagged[15..18].copy_from_slice(&frame[15..18]);
        assert_eq!(tagged, frame);
    }

    #[test]
    fn an_arp_packet_has_room_in_its_padding() {
        let arp = etherparse::ArpPacket::new(
            ArpHardwareId::ETHERNET,
            EtherType::IPV4,
            ArpOperation::REQUEST,
            &[2; 6],
            &[192, 0, 2, 1],
            &[0; 6],
            &[192, 0, 2, 2],
        )
        .unwrap();
        let mut frame = Vec::new();
        PacketBuilder::ethernet2([2; 6], [0xff; 6]).arp(arp).write(&mut frame).unwrap();
        for length in [42, 44, 60, 64] {
            let mut tagged = frame.clone();
            tagged.resize(length, 0);
            assert!(tag(&mut tagged, 0xaabb_ccdd_eeff));
            assert_eq!(tagged.len(), length.max(60));
            assert_eq!(tagged[..42], frame);
            assert!(tagged.ends_with(&[0xcc, 0xdd, 0xee, 0xff]));
        }
    }

    #[test]
    fn what_is_shorter_than_ethernet_allows_is_padded_and_the_rest_stays() {
        let other = |length: usize| {
            let mut frame = vec![2; length];
            frame[12..14].copy_from_slice(&0x88b5_u16.to_be_bytes());
            frame
        };
        for length in [14, 59] {
            let mut tagged = other(length);
            assert!(tag(&mut tagged, 7));
            assert_eq!(tagged[..length], other(length));
            assert_eq!(tagged.len(), 60.max(length + 4));
            assert!(tagged.ends_with(&[0, 0, 0, 7]));
        }
        let mut long = other(60);
        assert!(!tag(&mut long, 7));
        assert_eq!(long, other(60));
    }

    #[test]
    fn broken_packets_are_padded_or_stay() {
        for ether_type in [IPV4, IPV6, ARP, 0x8100] {
            for length in [14, 16, 20, 33, 200] {
                let mut frame = vec![0; length];
                frame[12..14].copy_from_slice(&ether_type.to_be_bytes());
                let head = frame[..14].to_vec();
                tag(&mut frame, 1);
                assert_eq!(frame[..14], head);
            }
        }
    }
}
