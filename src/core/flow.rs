//! To which flow a frame belongs: what has to stay in order, and shares one turn.

use etherparse::{LaxNetSlice, LaxSlicedPacket, TransportSlice};

use super::port_table::PortId;

/// A flow: frames of one station behind one port and, if they are IP, of one protocol between one
/// pair of addresses and ports.
///
/// Fragments have no ports, not even the first, so that all fragments of two hosts' packets stay in
/// order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct FlowId {
    /// The port that it comes in at.
    pub(super) source: PortId,
    station: [u8; 6],
    conversation: Option<Conversation>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Conversation {
    /// Source and destination.
    addresses: Addresses,
    /// Of RFC 9293 and the like, numbered by IANA.
    protocol: u8,
    /// Source and destination; zero where there are none.
    ports: (u16, u16),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Addresses {
    V4([u8; 4], [u8; 4]),
    V6([u8; 16], [u8; 16]),
}

impl FlowId {
    /// The flow of a frame that came in at `source`. Looking through an IP header costs some 50 ns,
    /// so it is done only for frames that have to wait.
    pub(super) fn of(source: PortId, frame: &[u8]) -> Self {
        let station = frame.get(6..12).and_then(|mac| mac.try_into().ok()).unwrap_or_default();
        FlowId { source, station, conversation: Conversation::of(frame) }
    }
}

impl Conversation {
    /// Whatever can be read of a packet, however broken, is enough: a guest can only mix up its own
    /// flows.
    fn of(frame: &[u8]) -> Option<Self> {
        let packet = LaxSlicedPacket::from_ethernet(frame).ok()?;
        let (addresses, protocol) = match &packet.net {
            Some(LaxNetSlice::Ipv4(ip)) => {
                let header = ip.header();
                let addresses = Addresses::V4(header.source(), header.destination());
                (addresses, ip.payload().ip_number.0)
            }
            Some(LaxNetSlice::Ipv6(ip)) => {
                let header = ip.header();
                let addresses = Addresses::V6(header.source(), header.destination());
                (addresses, ip.payload().ip_number.0)
            }
            _ => return None,
        };
        let ports = match &packet.transport {
            Some(TransportSlice::Udp(udp)) => (udp.source_port(), udp.destination_port()),
            Some(TransportSlice::Tcp(tcp)) => (tcp.source_port(), tcp.destination_port()),
            _ => (0, 0),
        };
        Some(Conversation { addresses, protocol, ports })
    }
}

#[cfg(test)]
mod tests {
    use etherparse::{IpFragOffset, PacketBuilder};

    use super::*;

    fn flow(frame: &[u8]) -> FlowId {
        FlowId::of(PortId::from_parts(1, 0), frame)
    }

    fn udp(station: u8, to: [u8; 4], port: u16, vlan: Option<u16>) -> Vec<u8> {
        let frame = PacketBuilder::ethernet2([2, 0, 0, 0, 0, station], [2, 0, 0, 0, 0, 9]);
        let mut bytes = Vec::new();
        match vlan {
            None => frame.ipv4([10, 0, 0, 1], to, 64).udp(1000, port).write(&mut bytes, &[7; 40]),
            Some(id) => frame
                .single_vlan(id.try_into().unwrap())
                .ipv4([10, 0, 0, 1], to, 64)
                .udp(1000, port)
                .write(&mut bytes, &[7; 40]),
        }
        .unwrap();
        bytes
    }

    #[test]
    fn stations_addresses_and_ports_tell_flows_apart() {
        let base = udp(1, [10, 0, 0, 2], 27015, None);
        assert_eq!(flow(&base), flow(&udp(1, [10, 0, 0, 2], 27015, None)));
        assert_eq!(flow(&base), flow(&udp(1, [10, 0, 0, 2], 27015, Some(5))), "a tag is no end");
        for other in [
            udp(2, [10, 0, 0, 2], 27015, None),
            udp(1, [10, 0, 0, 3], 27015, None),
            udp(1, [10, 0, 0, 2], 27016, None),
        ] {
            assert_ne!(flow(&base), flow(&other));
        }
        assert_ne!(flow(&base), FlowId::of(PortId::from_parts(1, 1), &base));
    }

    #[test]
    fn tcp_and_ipv6_have_ports_too() {
        let tcp = |port| {
            let mut bytes = Vec::new();
            PacketBuilder::ethernet2([2; 6], [4; 6])
                .ipv6([1; 16], [2; 16], 64)
                .tcp(1000, port, 1, 1000)
                .write(&mut bytes, &[])
                .unwrap();
            bytes
        };
        assert_ne!(flow(&tcp(80)), flow(&tcp(81)));
    }

    #[test]
    fn all_fragments_of_a_packet_are_of_one_flow() {
        let fragment = |offset: u16, more: bool| {
            let mut bytes = udp(1, [10, 0, 0, 2], 27015, None);
            let mut header = etherparse::Ipv4Header::from_slice(&bytes[14..]).unwrap().0;
            header.fragment_offset = IpFragOffset::try_new(offset).unwrap();
            header.more_fragments = more;
            bytes[14..34].copy_from_slice(&header.to_bytes());
            // What stands where the ports were is payload in the later ones.
            bytes[34..38].copy_from_slice(&offset.to_be_bytes().repeat(2));
            bytes
        };
        assert_eq!(flow(&fragment(0, true)), flow(&fragment(10, true)));
        assert_eq!(flow(&fragment(0, true)), flow(&fragment(20, false)));
    }

    #[test]
    fn what_is_no_ip_is_one_flow_of_its_station() {
        let mut arp = vec![0xff; 42];
        arp[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
        arp[12..14].copy_from_slice(&[8, 6]);
        let mut other = arp.clone();
        other[20..].fill(3);
        assert_eq!(flow(&arp), flow(&other));
        assert_eq!(flow(&arp).conversation, None);
    }

    #[test]
    fn a_packet_cut_anywhere_is_of_some_flow() {
        for whole in [udp(1, [10, 0, 0, 2], 27015, None), udp(1, [10, 0, 0, 2], 27015, Some(5))] {
            for len in 0..whole.len() {
                flow(&whole[..len]);
            }
        }
    }
}
