//! Who is in a capture.

use super::*;

const SERVER: (u8, u16) = (2, 27015);

/// Players behind one router, and the server's answers.
fn behind_a_router(players: u8) -> Pcap {
    let mut pcap = Pcap::ethernet();
    for time in 0..20 {
        for player in 0..players {
            let mut ask = udp((10 + player, 27005), SERVER, b"move");
            ask[6..12].copy_from_slice(&mac(1));
            let mut answer = udp(SERVER, (10 + player, 27005), b"the world");
            answer[..6].copy_from_slice(&mac(1));
            pcap.packet(time * 50 * MS, &ask).packet(time * 50 * MS, &answer);
        }
    }
    pcap
}

#[test]
fn the_server_its_players_and_the_uplink_are_found() {
    let mut pcap = behind_a_router(12);
    let query = udp((200, 4000), SERVER, b"\xff\xff\xff\xffTSource Engine Query\0");
    pcap.packet(SECOND, &query);
    let opened = open(&pcap.bytes, Options::default());
    let capture = &opened.capture;
    assert_eq!(capture.server(), Some("10.0.0.2:27015".parse().unwrap()));
    assert_eq!(capture.players(), 12, "who only asks is no player");
    let seen: Vec<_> = capture
        .stations()
        .iter()
        .map(|station| (station.mac, station.addresses, station.is_uplink))
        .collect();
    assert_eq!(
        seen,
        [
            (mac(1), Addresses::Many(12), true),
            (mac(2), Addresses::One(ip(2).into()), false),
            (mac(200), Addresses::One(ip(200).into()), false),
        ]
    );
    let frames = opened.play();
    let number = |direction| frames.iter().filter(|frame| frame.direction == direction).count();
    assert_eq!((number(Direction::ToServer), number(Direction::FromServer)), (241, 240));
    assert_eq!(frames[0].flow, "10.0.0.10:27005 > 10.0.0.2:27015 udp");
    assert_eq!(frames[1].to, Destination::Station(StationId(0)));
}

#[test]
fn frames_for_nobody_and_for_everybody_are_told_apart() {
    let mut pcap = Pcap::ethernet();
    let mut to_all = plain();
    to_all[..6].fill(0xff);
    pcap.packet(0, &plain()).packet(1, &to_all).packet(2, &udp((2, 1), (1, 1), b""));
    pcap.packet(3, &udp((1, 1), (9, 1), b""));
    let frames = open(&pcap.bytes, Options::default()).play();
    let to: Vec<_> = frames.iter().map(|frame| frame.to).collect();
    let [one, two] = [0, 1].map(|id| Destination::Station(StationId(id)));
    assert_eq!(to, [two, Destination::Everybody, one, Destination::Unknown]);
}

#[test]
fn flows_have_names() {
    let mut pcap = Pcap::ethernet();
    let mut named = Vec::new();
    let mut add = |frame: &[u8], name: &str| {
        pcap.packet(0, frame);
        named.push(name.to_string());
    };
    add(&plain(), "10.0.0.1:1000 > 10.0.0.2:2000 udp");
    let mut tagged = plain();
    tagged.splice(12..12, [0x88, 0xa8, 0, 1, 0x81, 0, 0, 2]);
    add(&tagged, "10.0.0.1:1000 > 10.0.0.2:2000 udp");
    let mut fragment = plain();
    fragment[20] = 0x20;
    add(&fragment, "10.0.0.1 > 10.0.0.2 udp");
    let mut later = plain();
    later[21] = 5;
    add(&later, "10.0.0.1 > 10.0.0.2 udp");
    let mut other = plain();
    other[23] = 89;
    add(&other, "10.0.0.1 > 10.0.0.2 protocol 89");
    let mut arp = plain();
    arp[12..14].copy_from_slice(&[8, 6]);
    add(&arp, "02:00:00:00:00:01 > 02:00:00:00:00:02 arp");
    let mut broken = plain();
    broken[14] = 0x4f;
    broken.truncate(50);
    add(&broken, "02:00:00:00:00:01 > 02:00:00:00:00:02 ipv4");
    let mut llc = plain();
    llc[12..14].copy_from_slice(&[0, 38]);
    add(&llc, "02:00:00:00:00:01 > 02:00:00:00:00:02 llc");
    let mut six = Vec::new();
    PacketBuilder::ethernet2(mac(1), mac(2))
        .ipv6([1; 16], [2; 16], 64)
        .tcp(80, 81, 0, 0)
        .write(&mut six, &[])
        .unwrap();
    add(&six, "[101:101:101:101:101:101:101:101]:80 > [202:202:202:202:202:202:202:202]:81 tcp");
    // The same behind an extension header.
    let mut extended = six.clone();
    extended[20] = 0;
    extended.splice(54..54, [6, 0, 1, 4, 0, 0, 0, 0]);
    add(
        &extended,
        "[101:101:101:101:101:101:101:101]:80 > [202:202:202:202:202:202:202:202]:81 tcp",
    );

    let frames = open(&pcap.bytes, Options::default()).play();
    let flows: Vec<_> = frames.into_iter().map(|frame| frame.flow).collect();
    assert_eq!(flows, named);
}
