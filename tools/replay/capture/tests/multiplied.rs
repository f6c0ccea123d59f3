//! Captures with more players than were recorded. etherparse judges what came of the packets.

use std::collections::{HashMap, HashSet};

use etherparse::{
    ArpEthIpv4Packet, ArpOperation, EtherType, NetSlice, SlicedPacket, TransportSlice,
};

use super::*;

const SERVER: (u8, u16) = (2, 27015);

fn times(multiply: u32) -> Options {
    Options { multiply, ..Options::default() }
}

/// Players with stations of their own who all play for a second.
fn game(players: u8) -> Pcap {
    let mut pcap = Pcap::ethernet();
    for time in 0..20 {
        for player in 10..10 + players {
            pcap.packet(time * 50 * MS, &udp((player, 27005), SERVER, b"move"));
        }
        for player in 10..10 + players {
            pcap.packet(time * 50 * MS + MS, &udp(SERVER, (player, 27005), b"the world"));
        }
    }
    pcap
}

fn assert_sound(frame: &[u8]) {
    let packet = SlicedPacket::from_ethernet(frame).unwrap();
    match (packet.net, packet.transport) {
        (Some(NetSlice::Ipv4(ip)), transport) => {
            let header = ip.header().to_header();
            assert_eq!(header.header_checksum, header.calc_header_checksum());
            match transport {
                Some(TransportSlice::Udp(udp)) => {
                    let sum = udp.to_header().calc_checksum_ipv4(&header, udp.payload());
                    assert_eq!(udp.checksum(), sum.unwrap());
                }
                Some(TransportSlice::Tcp(tcp)) => {
                    let sum = tcp.to_header().calc_checksum_ipv4(&header, tcp.payload());
                    assert_eq!(tcp.checksum(), sum.unwrap());
                }
                _ => {}
            }
        }
        (Some(NetSlice::Ipv6(ip)), Some(TransportSlice::Udp(udp))) => {
            let header = ip.header().to_header();
            let sum = udp.to_header().calc_checksum_ipv6(&header, udp.payload()).unwrap();
            assert_eq!(udp.checksum(), sum);
        }
        (Some(NetSlice::Ipv6(ip)), Some(TransportSlice::Icmpv6(icmp))) => {
            let header = ip.header();
            let (source, destination) = (header.source(), header.destination());
            assert!(icmp.is_checksum_valid(source, destination));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_player_appears_so_often_and_the_server_once() {
    let pcap = game(5);
    let opened = open(&pcap.bytes, times(4));
    let capture = &opened.capture;
    assert_eq!((capture.players(), capture.stations().len()), (20, 21));
    assert_eq!(capture.frames(), 4 * 200);
    let frames = opened.play();
    frames.iter().for_each(|frame| assert_sound(&frame.bytes));

    let macs: HashSet<_> = capture.stations().iter().map(|station| station.mac).collect();
    assert_eq!(macs.len(), 21);
    assert!(macs.iter().all(|mac| mac[0] & 3 == 2), "locally administered, no groups");
    let addresses: HashSet<_> =
        capture.stations().iter().map(|station| format!("{:?}", station.addresses)).collect();
    assert_eq!(addresses.len(), 21);

    let mut flows: HashMap<&str, u32> = HashMap::new();
    frames.iter().for_each(|frame| *flows.entry(&frame.flow).or_default() += 1);
    assert_eq!(flows.len(), 40);
    assert!(flows.values().all(|number| *number == 20), "{flows:?}");
    for flow in flows.keys() {
        assert_eq!(flow.matches("10.0.0.2:27015").count(), 1, "{flow}");
    }
    let to_server = frames.iter().filter(|frame| frame.direction == Direction::ToServer);
    assert_eq!(to_server.count(), 400);
    let unknown = frames.iter().filter(|frame| !matches!(frame.to, Destination::Station(_)));
    assert_eq!(unknown.count(), 0);
}

#[test]
fn copies_do_not_coincide_but_keep_their_order() {
    let opened = open(&game(2).bytes, times(4));
    let frames = opened.play();
    // 39 gaps in 951 ms.
    let delay = Duration::from_nanos(951 * MS / 39) / 4;
    let first: Vec<_> = frames.iter().filter(|frame| frame.record == 1).collect();
    let at: Vec<_> = first.iter().map(|frame| frame.at).collect();
    assert_eq!(at, [Duration::ZERO, delay, delay * 2, delay * 3]);
    assert_eq!(first[0].bytes, udp((10, 27005), SERVER, b"move"), "what was recorded stays");
    let senders: HashSet<_> = first.iter().map(|frame| frame.from).collect();
    assert_eq!(senders.len(), 4);
}

#[test]
fn a_router_stays_one_and_players_behind_it_are_multiplied() {
    let mut pcap = Pcap::ethernet();
    for time in 0..10 {
        for player in 10..15 {
            let mut frame = udp((player, 27005), SERVER, b"move");
            frame[6..12].copy_from_slice(&mac(1));
            pcap.packet(time * 10 * MS, &frame);
        }
        let mut answer = udp(SERVER, (10, 27005), b"the world");
        answer[..6].copy_from_slice(&mac(1));
        pcap.packet(time * 10 * MS, &answer);
    }
    let opened = open(&pcap.bytes, times(3));
    let capture = &opened.capture;
    assert_eq!((capture.stations().len(), capture.players()), (2, 15));
    assert_eq!(capture.stations()[0].addresses, Addresses::Many(15));
    let frames = opened.play();
    let flows: HashSet<_> = frames.iter().map(|frame| &frame.flow).collect();
    assert_eq!(flows.len(), 18);
    frames.iter().for_each(|frame| assert_sound(&frame.bytes));
}

#[test]
fn the_servers_broadcasts_are_not_multiplied_and_arp_is() {
    let mut pcap = game(2);
    let arp = |operation, from: u8, to: u8, destination: [u8; 6]| {
        let packet = ArpEthIpv4Packet {
            operation,
            sender_mac: mac(from),
            sender_ipv4: ip(from).octets(),
            target_mac: mac(to),
            target_ipv4: ip(to).octets(),
        };
        [&destination[..], &mac(from), &EtherType::ARP.0.to_be_bytes(), &packet.to_bytes()].concat()
    };
    let mut to_all = udp(SERVER, (255, 1), b"here I am");
    to_all[..6].fill(0xff);
    pcap.packet(SECOND, &to_all);
    pcap.packet(SECOND + MS, &arp(ArpOperation::REQUEST, 10, 2, [0xff; 6]));
    pcap.packet(SECOND + 2 * MS, &arp(ArpOperation::REPLY, 2, 10, mac(10)));
    let opened = open(&pcap.bytes, times(2));
    let of_record = |record| {
        opened.play().into_iter().filter(|frame| frame.record == record).collect::<Vec<_>>()
    };
    assert_eq!(of_record(81).len(), 1);
    let copy = &opened.capture.stations()[3];
    assert_eq!(copy.addresses, Addresses::One([10, 1, 0, 10].into()));
    let request = &of_record(82)[1].bytes;
    assert_eq!((&request[..6], &request[6..12]), (&[0xff; 6][..], &copy.mac[..]));
    assert_eq!(request[22..32], [&copy.mac[..], &[10, 1, 0, 10]].concat());
    assert_eq!(request[38..42], ip(2).octets());
    let reply = &of_record(83)[1].bytes;
    assert_eq!((&reply[..6], &reply[6..12]), (&copy.mac[..], &mac(2)[..]));
    assert_eq!(reply[32..42], [&copy.mac[..], &[10, 1, 0, 10]].concat());
}

#[test]
fn no_two_addresses_become_one() {
    // What is 10.1.0.10 already, and 10.3.0.10, must be no copy's.
    let mut pcap = Pcap::ethernet();
    for (number, second) in [0, 1, 3].into_iter().enumerate() {
        let mut frame = udp((10 + number as u8, 27005), SERVER, b"move");
        (frame[27], frame[29]) = (second, 10);
        pcap.packet(number as u64, &frame);
    }
    let opened = open(&pcap.bytes, times(5));
    let addresses: HashSet<_> =
        opened.play().iter().map(|frame| frame.bytes[26..30].to_vec()).collect();
    assert_eq!(addresses.len(), 15);
}

#[test]
fn checksums_of_all_protocols_are_mended() {
    let mut pcap = Pcap::ethernet();
    let mut add = |frame: Vec<u8>| _ = pcap.packet(0, &frame);
    let mut tcp = Vec::new();
    let from_to = PacketBuilder::ethernet2(mac(1), mac(2));
    let tcp_builder = from_to.ipv4(ip(1).octets(), ip(2).octets(), 64).tcp(80, 81, 7, 8);
    tcp_builder.write(&mut tcp, b"tcp").unwrap();
    add(tcp);
    let mut six = Vec::new();
    let from_to = PacketBuilder::ethernet2(mac(1), mac(2)).ipv6([1; 16], [2; 16], 64);
    from_to.udp(1, 2).write(&mut six, b"udp").unwrap();
    add(six);
    let mut ping = Vec::new();
    let from_to = PacketBuilder::ethernet2(mac(1), mac(2)).ipv6([1; 16], [2; 16], 64);
    from_to.icmpv6_echo_request(1, 2).write(&mut ping, b"ping").unwrap();
    add(ping);
    let opened = open(&pcap.bytes, times(200));
    let frames = opened.play();
    assert_eq!(frames.len(), 600);
    frames.iter().for_each(|frame| assert_sound(&frame.bytes));
}

#[test]
fn a_datagram_without_checksum_stays_without() {
    let mut pcap = Pcap::ethernet();
    let mut frame = plain();
    frame[40..42].fill(0);
    pcap.packet(0, &frame);
    let frames = open(&pcap.bytes, times(3)).play();
    assert!(frames.iter().all(|frame| frame.bytes[40..42] == [0, 0]));
    // What is no first fragment has no checksum where others have it.
    let mut fragment = plain();
    fragment[21] = 9;
    let mut pcap = Pcap::ethernet();
    pcap.packet(0, &fragment);
    let frames = open(&pcap.bytes, times(3)).play();
    assert!(frames.iter().all(|frame| frame.bytes[34..] == fragment[34..]));
}

#[test]
fn what_is_too_much_is_refused() {
    let error = "there are addresses for 256 copies only";
    assert_eq!(refused(&game(2).bytes, times(257)), error);
    let error = "more than 4096 stations, each multiplied";
    assert_eq!(refused(&game(40).bytes, times(200)), error);
    assert_eq!(open(&game(2).bytes, times(0)).capture.frames(), 80, "none is once");
}
