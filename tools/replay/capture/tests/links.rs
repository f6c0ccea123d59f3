//! Packets that were recorded without Ethernet headers, and ones that cannot get any.

use etherparse::{ArpEthIpv4Packet, ArpOperation};

use super::*;

/// Of a frame to be made: destination, source, and what follows the addresses.
fn made(link: u32, packet: &[u8]) -> Played {
    let mut pcap = Pcap::new(Endianness::Little, true, link);
    pcap.packet(0, packet);
    open(&pcap.bytes, Options::default()).play().remove(0)
}

/// The same as an IP packet.
fn raw() -> Vec<u8> {
    plain()[14..].to_vec()
}

fn raw_to(destination: [u8; 4]) -> Vec<u8> {
    let mut packet = raw();
    packet[16..20].copy_from_slice(&destination);
    packet
}

const ONE: [u8; 6] = [0xfe, 0xfd, 10, 0, 0, 1];
const TWO: [u8; 6] = [0xfe, 0xfd, 10, 0, 0, 2];

#[test]
fn raw_ip_gets_headers() {
    let whole = [&TWO[..], &ONE, &[8, 0], &raw()].concat();
    for link in [12, 14, 101, 228] {
        let frame = made(link, &raw());
        assert_eq!(frame.bytes, whole);
        assert_eq!(frame.flow, "10.0.0.1:1000 > 10.0.0.2:2000 udp");
    }
}

#[test]
fn loopback_gets_headers() {
    for (link, family) in [(0, [2, 0, 0, 0]), (0, [0, 0, 0, 2]), (108, [0, 0, 0, 2])] {
        let frame = made(link, &[&family[..], &raw()].concat());
        assert_eq!(frame.bytes, [&TWO[..], &ONE, &[8, 0], &raw()].concat());
    }
}

#[test]
fn linux_cooked_captures_get_headers() {
    let sll = |kind: u8, protocol: [u8; 2], packet: &[u8]| {
        let header = [&[0, kind, 0, 1, 0, 6, 1, 2, 3, 4, 5, 6, 0, 0][..], &protocol].concat();
        made(113, &[&header[..], packet].concat())
    };
    let sll2 = |kind: u8, protocol: [u8; 2], packet: &[u8]| {
        let rest = [0, 0, 0, 0, 0, 3, 0, 1, kind, 6, 1, 2, 3, 4, 5, 6, 0, 0];
        made(276, &[&protocol[..], &rest, packet].concat())
    };
    let arp = |operation| {
        let packet = ArpEthIpv4Packet {
            operation,
            sender_mac: mac(7),
            sender_ipv4: ip(1).octets(),
            target_mac: mac(8),
            target_ipv4: ip(2).octets(),
        };
        packet.to_bytes()
    };
    for cooked in [&sll as &dyn Fn(u8, [u8; 2], &[u8]) -> Played, &sll2] {
        let frame = cooked(0, [8, 0], &raw());
        assert_eq!(frame.bytes, [&TWO[..], &ONE, &[8, 0], &raw()].concat());
        // A subnet's broadcast address is known by the packet's type only.
        let frame = cooked(1, [8, 0], &raw_to([10, 0, 0, 255]));
        assert_eq!((&frame.bytes[..6], frame.to), (&[0xff; 6][..], Destination::Everybody));
        let request = cooked(1, [8, 6], &arp(ArpOperation::REQUEST));
        assert_eq!(request.bytes[..14], [&[0xff; 6][..], &ONE, &[8, 6]].concat());
        let reply = cooked(0, [8, 6], &arp(ArpOperation::REPLY));
        assert_eq!(reply.bytes[..14], [&TWO[..], &ONE, &[8, 6]].concat());
    }
}

#[test]
fn groups_of_ip_are_groups_of_ethernet() {
    for (ip, group) in [
        ([224, 0, 0, 251], [0x01, 0x00, 0x5e, 0, 0, 251]),
        ([239, 255, 255, 250], [0x01, 0x00, 0x5e, 0x7f, 255, 250]),
        ([255, 255, 255, 255], [0xff; 6]),
    ] {
        let frame = made(101, &raw_to(ip));
        assert_eq!((&frame.bytes[..6], frame.to), (&group[..], Destination::Everybody));
    }
}

#[test]
fn ipv6_addresses_become_the_same_station_every_time() {
    let packet = |from: u8, to: [u8; 16]| {
        let mut frame = Vec::new();
        PacketBuilder::ip(etherparse::IpHeaders::Ipv6(
            etherparse::Ipv6Header {
                source: [from; 16],
                destination: to,
                hop_limit: 64,
                ..Default::default()
            },
            Default::default(),
        ))
        .udp(1, 2)
        .write(&mut frame, b"six")
        .unwrap();
        frame
    };
    let mut pcap = Pcap::new(Endianness::Big, false, 101);
    let mut group = [0; 16];
    (group[0], group[1], group[12], group[15]) = (0xff, 0x02, 9, 0xfb);
    pcap.packet(0, &packet(1, [2; 16])).packet(1, &packet(2, [1; 16])).packet(2, &packet(1, group));
    let frames = open(&pcap.bytes, Options::default()).play();
    assert_eq!(frames[0].bytes[..6], frames[1].bytes[6..12]);
    assert_eq!(frames[0].bytes[6..12], frames[1].bytes[..6]);
    assert_ne!(frames[0].bytes[..6], frames[0].bytes[6..12]);
    assert_eq!(frames[0].bytes[6..8], [0xfe, 0xfd]);
    assert_eq!(frames[0].bytes[12..14], [0x86, 0xdd]);
    assert_eq!(frames[2].bytes[..6], [0x33, 0x33, 9, 0, 0, 0xfb]);
}

#[test]
fn cooked_packets_keep_their_original_length() {
    let mut pcap = Pcap::new(Endianness::Little, true, 101);
    pcap.snapped(0, &raw()[..24], 1500).snapped(0, &raw()[..24], 9005);
    let opened = open(&pcap.bytes, Options::default());
    assert_eq!(opened.play()[0].bytes.len(), 1514);
    assert_eq!(opened.capture.skipped(), 1, "the other one is longer than 9018 as a frame");
}

#[test]
fn what_has_no_addresses_is_left_out() {
    let mut pcap = Pcap::new(Endianness::Little, true, 113);
    let header = |protocol: [u8; 2]| [&[0; 14][..], &protocol].concat();
    pcap.packet(0, &[&header([8, 0])[..], &raw()].concat());
    pcap.packet(0, &[&header([0x88, 0xcc])[..], &[7; 50]].concat());
    pcap.packet(0, &[&header([8, 0])[..], &raw()[..19]].concat());
    pcap.packet(0, &[0; 3]);
    let opened = open(&pcap.bytes, Options::default());
    assert_eq!(opened.capture.frames(), 1);
    let note = "3 frames were left out, neither Ethernet nor IP nor ARP";
    assert_eq!(opened.capture.notes(), [note]);
}

#[test]
fn other_links_are_refused_by_number_and_name() {
    for (link, name) in [(105, "IEEE802_11"), (127, "IEEE802_11_RADIOTAP"), (4711, "unknown")] {
        let mut pcap = Pcap::new(Endianness::Little, true, link);
        pcap.packet(0, &[0; 60]);
        let error =
            format!("record 1: has link type {link} ({name}), which cannot become Ethernet");
        assert_eq!(refused(&pcap.bytes, repairing()), error);
    }
    let mut ng = Ng::new(Endianness::Little);
    ng.interface(105, &[]).interface(1, &[]).packet(1, 0, &plain());
    let unused = open(&ng.bytes, Options::default());
    assert_eq!(unused.capture.frames(), 1, "an interface without packets does no harm");
}
