//! Who is on the Ethernet, and the frames that they send each other.
//!
//! The server is a guest, and so are the two ends of the bulk transfer. Players on the Internet come in
//! through the uplink: all of their frames carry the MAC address of the host's TAP interface. Players
//! on the LAN are stations of their own.

use std::net::Ipv4Addr;

use etherparse::{
    ArpEthIpv4Packet, ArpOperation, EtherType, IpFragOffset, IpHeaders, IpNumber, Ipv4Header,
    PacketBuilder,
};

/// An Ethernet address.
pub type Mac = [u8; 6];

/// One end of a conversation.
#[derive(Clone, Copy, Debug)]
pub struct Station {
    pub mac: Mac,
    pub ip: Ipv4Addr,
}

impl Station {
    /// A guest has the address that UML derives from the IP address: `fe:fd` and its four bytes.
    fn guest(ip: Ipv4Addr) -> Self {
        let [a, b, c, d] = ip.octets();
        Station { mac: [0xfe, 0xfd, a, b, c, d], ip }
    }
}

/// The game server.
pub fn server() -> Station {
    Station::guest(lan(2))
}

/// The host, as the guests see it: their gateway.
pub fn gateway() -> Station {
    Station { mac: [0x02, 0, 192, 0, 2, 1], ip: lan(1) }
}

/// The guest that sends the bulk transfer, and the one that gets it.
pub fn bulk_guests() -> (Station, Station) {
    (Station::guest(lan(3)), Station::guest(lan(4)))
}

/// The player in `slot`, on the LAN or somewhere behind the gateway.
pub fn player(slot: usize, on_lan: bool) -> Station {
    if on_lan {
        Station::guest(lan(FIRST_LAN_PLAYER + slot as u8))
    } else {
        behind_gateway(Ipv4Addr::new(198, 51, 100, 1 + slot as u8))
    }
}

/// The slot of the player with this address, if it is one's.
pub fn slot_of(ip: Ipv4Addr) -> Option<usize> {
    let [network @ .., host] = ip.octets();
    match network {
        [192, 0, 2] => host.checked_sub(FIRST_LAN_PLAYER).map(usize::from),
        [198, 51, 100] => host.checked_sub(1).map(usize::from),
        _ => None,
    }
}

/// As many as have an address here: [`player`].
pub const MOST_PLAYERS: usize = 128;

/// Somebody on the Internet who asks for the server's state.
pub fn stranger(number: u32) -> Station {
    behind_gateway(Ipv4Addr::new(203, 0, 113, 100 + (number % 100) as u8))
}

/// The master server.
pub fn master() -> Station {
    behind_gateway(Ipv4Addr::new(203, 0, 113, 10))
}

const FIRST_LAN_PLAYER: u8 = 16;

/// All addresses are those that RFC 5737 sets aside for documents.
fn lan(host: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, host)
}

fn behind_gateway(ip: Ipv4Addr) -> Station {
    Station { mac: gateway().mac, ip }
}

/// One UDP datagram; the ports belong to the two stations in their order.
pub fn udp(ends: (Station, Station), ports: (u16, u16), id: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(42 + payload.len());
    PacketBuilder::ethernet2(ends.0.mac, ends.1.mac)
        .ip(ipv4(ends, IpNumber::UDP, id))
        .udp(ports.0, ports.1)
        .write(&mut frame, payload)
        .expect("a payload of at most 1460 bytes fits, and a vector takes all");
    frame
}

/// One TCP segment without options, as udp(); with `acknowledged` in its header.
pub fn tcp(
    ends: (Station, Station),
    ports: (u16, u16),
    id: u16,
    (sequence, acknowledged): (u32, u32),
    payload: &[u8],
) -> Vec<u8> {
    let mut frame = Vec::with_capacity(54 + payload.len());
    PacketBuilder::ethernet2(ends.0.mac, ends.1.mac)
        .ip(ipv4(ends, IpNumber::TCP, id))
        .tcp(ports.0, ports.1, sequence, u16::MAX)
        .ack(acknowledged)
        .write(&mut frame, payload)
        .expect("a payload of at most 1460 bytes fits, and a vector takes all");
    frame
}

fn ipv4((from, to): (Station, Station), protocol: IpNumber, id: u16) -> IpHeaders {
    let header = Ipv4Header {
        identification: id,
        dont_fragment: true,
        fragment_offset: IpFragOffset::ZERO,
        // What comes through the gateway has passed routers.
        time_to_live: if from.mac == gateway().mac { 51 } else { 64 },
        protocol,
        source: from.ip.octets(),
        destination: to.ip.octets(),
        ..Default::default()
    };
    IpHeaders::Ipv4(header, Default::default())
}

/// `asker` asks everybody who has the address of `asked`.
pub fn arp_request(asker: Station, asked: Station) -> Vec<u8> {
    arp(ArpOperation::REQUEST, asker, Station { mac: [0; 6], ip: asked.ip }, [0xff; 6])
}

/// `asked` answers.
pub fn arp_reply(asker: Station, asked: Station) -> Vec<u8> {
    arp(ArpOperation::REPLY, asked, asker, asker.mac)
}

fn arp(operation: ArpOperation, sender: Station, target: Station, to: Mac) -> Vec<u8> {
    let packet = ArpEthIpv4Packet {
        operation,
        sender_mac: sender.mac,
        sender_ipv4: sender.ip.octets(),
        target_mac: target.mac,
        target_ipv4: target.ip.octets(),
    };
    let mut frame = [&to, &sender.mac, &EtherType::ARP.0.to_be_bytes()[..]].concat();
    frame.extend(packet.to_bytes());
    frame
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::{NetSlice, SlicedPacket, TransportSlice};

    #[test]
    fn players_are_found_by_their_address() {
        for slot in 0..MOST_PLAYERS {
            assert_eq!(slot_of(player(slot, true).ip), Some(slot));
            assert_eq!(slot_of(player(slot, false).ip), Some(slot));
        }
        let (one, other) = bulk_guests();
        for station in [server(), gateway(), one, other, stranger(7), master()] {
            assert_eq!(slot_of(station.ip), None, "{station:?}");
        }
    }

    #[test]
    fn frames_are_well_formed() {
        let ends = (player(3, false), server());
        let frame = udp(ends, (27005, 27015), 9, &[1, 2, 3]);
        assert_eq!(frame.len(), 45);
        assert_eq!(frame[..12], [server().mac, gateway().mac].concat());
        let sliced = SlicedPacket::from_ethernet(&frame).unwrap();
        let (Some(NetSlice::Ipv4(ip)), Some(TransportSlice::Udp(udp))) =
            (sliced.net, sliced.transport)
        else {
            panic!("no UDP: {frame:?}");
        };
        assert_eq!(udp.payload(), [1, 2, 3]);
        let header = ip.header().to_header();
        assert_eq!(header.header_checksum, header.calc_header_checksum());
        let checksum = udp.to_header().calc_checksum_ipv4(&header, udp.payload()).unwrap();
        assert_eq!(udp.checksum(), checksum);

        let frame = tcp(bulk_guests(), (80, 40000), 9, (5, 6), &[0; 1460]);
        assert_eq!(frame.len(), 1514);
    }

    #[test]
    fn arp_is_asked_of_all_and_answered_to_one() {
        let request = arp_request(gateway(), server());
        assert_eq!((request.len(), &request[..6]), (42, &[0xff; 6][..]));
        assert_eq!(request[32..42], [0, 0, 0, 0, 0, 0, 192, 0, 2, 2]);
        let reply = arp_reply(gateway(), server());
        assert_eq!((reply.len(), &reply[..6]), (42, &gateway().mac[..]));
        assert_eq!(reply[22..28], server().mac);
    }
}
