//! Captures as text: one line a frame.
//!
//! ```text
//! 04:15:00.123456 3 > 52:54:00:00:00:01 > ff:ff:ff:ff:ff:ff: ARP who-has 10.0.0.2 tell 10.0.0.1, 42 bytes
//! 04:15:00.123998 > 3 52:54:00:00:00:02 > 52:54:00:00:00:01: ARP 10.0.0.2 is-at 52:54:00:00:00:02, 42 bytes
//! 04:15:00.124201 3 > 52:54:00:00:00:01 > 52:54:00:00:00:02: 10.0.0.1:4000 > 10.0.0.2:80 TCP [S] seq 1 win 64240 length 0, 60 bytes
//! ```
//!
//! The time is the local one. `3 >` is a frame that the client of port 3 sent, `> 3` one to it. What
//! a frame holds reaches the terminal only as numbers that were read from it.

use std::fmt::{self, Display, Formatter};
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use etherparse::{
    ArpPacketSlice, EtherType, Icmpv4Type, Icmpv6Type, LaxLinkExtSlice, LaxNetSlice,
    LaxSlicedPacket, LinkSlice, TcpSlice, TransportSlice,
};

use super::Sink;
use crate::core::{MacAddr, PortId, UPLINK_NUMBER};
use crate::mirror::{Captured, Direction, PortTotals, Record};
use crate::sys;

/// Writes a capture as lines for people.
pub struct Lines<W: Write> {
    writer: W,
}

impl<W: Write> Lines<W> {
    /// Lines to `writer`, which should have a buffer.
    pub fn new(writer: W) -> Self {
        Lines { writer }
    }
}

impl<W: Write> Sink for Lines<W> {
    fn record(&mut self, record: Record<'_>) -> io::Result<()> {
        match record {
            Record::Port { .. } => Ok(()),
            Record::Frame(frame) => writeln!(self.writer, "{}", Line(&frame)),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }

    fn finish(&mut self, _totals: &[PortTotals]) -> io::Result<()> {
        self.flush()
    }
}

/// A frame as one line, without its end.
struct Line<'a>(&'a Captured<'a>);

impl Display for Line<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let frame = self.0;
        let t = sys::local_time(frame.time.as_secs());
        let micros = frame.time.subsec_micros();
        write!(f, "{:02}:{:02}:{:02}.{micros:06} ", t.hour, t.minute, t.second)?;
        let port = Port(frame.port);
        match frame.direction {
            Direction::In => write!(f, "{port} > ")?,
            Direction::Out => write!(f, "> {port} ")?,
        }
        let cut = frame.bytes.len() < frame.original as usize;
        match LaxSlicedPacket::from_ethernet(frame.bytes) {
            Ok(packet) => {
                Packet(&packet).fmt(f)?;
                if packet.stop_err.is_some() {
                    f.write_str(if cut { " [cut]" } else { " [malformed]" })?;
                }
            }
            Err(_) => f.write_str(if cut { "[cut]" } else { "[malformed]" })?,
        }
        write!(f, ", {} bytes", frame.original)
    }
}

struct Port(PortId);

impl Display for Port {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0.number() {
            UPLINK_NUMBER => f.write_str("uplink"),
            number => number.fmt(f),
        }
    }
}

/// Addresses and contents of a frame.
struct Packet<'a>(&'a LaxSlicedPacket<'a>);

impl Display for Packet<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let packet = self.0;
        let mut contents = EtherType(0);
        if let Some(LinkSlice::Ethernet2(ethernet)) = &packet.link {
            let (source, destination) = (ethernet.source(), ethernet.destination());
            write!(f, "{} > {}:", MacAddr(source), MacAddr(destination))?;
            contents = ethernet.ether_type();
        }
        for extension in &packet.link_exts {
            match extension {
                LaxLinkExtSlice::Vlan(tag) => {
                    write!(f, " vlan {}", tag.vlan_identifier().value())?;
                    contents = tag.ether_type();
                }
                LaxLinkExtSlice::Macsec(_) => f.write_str(" MACsec")?,
            }
        }
        match &packet.net {
            Some(LaxNetSlice::Arp(arp)) => Arp(arp).fmt(f),
            Some(LaxNetSlice::Ipv4(_) | LaxNetSlice::Ipv6(_)) => Ip(packet).fmt(f),
            None => match contents {
                EtherType::ARP => f.write_str(" ARP"),
                EtherType::IPV4 => f.write_str(" IPv4"),
                EtherType::IPV6 => f.write_str(" IPv6"),
                EtherType(length @ 0..FIRST_ETHER_TYPE) => write!(f, " 802.3 length {length}"),
                EtherType(other) => write!(f, " ethertype 0x{other:04x}"),
            },
        }
    }
}

struct Arp<'a>(&'a ArpPacketSlice<'a>);

impl Display for Arp<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let arp = self.0;
        let address = |bytes: &[u8]| <[u8; 4]>::try_from(bytes).ok().map(Ipv4Addr::from);
        let sender = address(arp.sender_protocol_addr());
        let target = address(arp.target_protocol_addr());
        let hardware = <[u8; 6]>::try_from(arp.sender_hw_addr()).ok().map(MacAddr);
        match (arp.operation().0, sender, target, hardware) {
            (ARP_REQUEST, Some(sender), Some(target), _) => {
                write!(f, " ARP who-has {target} tell {sender}")
            }
            (ARP_REPLY, Some(sender), _, Some(hardware)) => {
                write!(f, " ARP {sender} is-at {hardware}")
            }
            (operation, ..) => write!(f, " ARP operation {operation}"),
        }
    }
}

/// What is in an IP packet; nothing if it is none.
struct Ip<'a>(&'a LaxSlicedPacket<'a>);

impl Display for Ip<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Some(ip) = Header::of(self.0) else { return Ok(()) };
        let ports = match &self.0.transport {
            Some(TransportSlice::Tcp(tcp)) => Some((tcp.source_port(), tcp.destination_port())),
            Some(TransportSlice::Udp(udp)) => Some((udp.source_port(), udp.destination_port())),
            _ => None,
        };
        match ports {
            Some((from, to)) => {
                let (from, to) = (SocketAddr::new(ip.source, from), SocketAddr::new(ip.target, to));
                write!(f, " {from} > {to}")?;
            }
            None => write!(f, " {} > {}", ip.source, ip.target)?,
        }
        match &self.0.transport {
            Some(TransportSlice::Tcp(tcp)) => tcp_fields(f, tcp, ip.payload)?,
            Some(TransportSlice::Udp(udp)) => {
                write!(f, " UDP length {}", usize::from(udp.length()).saturating_sub(UDP_HEADER))?;
            }
            Some(TransportSlice::Icmpv4(icmp)) => {
                let echo = match icmp.icmp_type() {
                    Icmpv4Type::EchoRequest(echo) => Some(("request", echo)),
                    Icmpv4Type::EchoReply(echo) => Some(("reply", echo)),
                    _ => None,
                };
                icmp_fields(f, "ICMP", echo, icmp.type_u8(), icmp.code_u8(), ip.payload)?;
            }
            Some(TransportSlice::Icmpv6(icmp)) => {
                let echo = match icmp.icmp_type() {
                    Icmpv6Type::EchoRequest(echo) => Some(("request", echo)),
                    Icmpv6Type::EchoReply(echo) => Some(("reply", echo)),
                    _ => None,
                };
                icmp_fields(f, "ICMPv6", echo, icmp.type_u8(), icmp.code_u8(), ip.payload)?;
            }
            Some(TransportSlice::Igmp(_)) | None => match ip.protocol.keyword_str() {
                Some(name) => write!(f, " {name} length {}", ip.payload)?,
                None => write!(f, " protocol {} length {}", ip.protocol.0, ip.payload)?,
            },
        }
        match ip.fragment {
            Some(offset) => write!(f, " fragment at {offset}"),
            None => Ok(()),
        }
    }
}

/// What is said of an IP header.
struct Header {
    source: IpAddr,
    target: IpAddr,
    protocol: etherparse::IpNumber,
    /// Bytes that its contents have, by its own word.
    payload: usize,
    /// Where in the whole packet these contents stand, if it was taken apart.
    fragment: Option<u32>,
}

impl Header {
    fn of(packet: &LaxSlicedPacket<'_>) -> Option<Header> {
        match packet.net.as_ref()? {
            LaxNetSlice::Ipv4(ip) => {
                let header = ip.header();
                let present = ip.payload().payload.len();
                let fragmented = ip.is_payload_fragmented();
                Some(Header {
                    source: header.source_addr().into(),
                    target: header.destination_addr().into(),
                    protocol: ip.payload_ip_number(),
                    payload: header.payload_len().map_or(present, usize::from),
                    fragment: fragmented.then(|| header.fragments_offset().byte_offset().into()),
                })
            }
            LaxNetSlice::Ipv6(ip) => {
                let header = ip.header();
                let extensions = ip.extensions();
                let declared = usize::from(header.payload_length());
                let fragment =
                    extensions.clone().into_iter().find_map(|extension| match extension {
                        etherparse::Ipv6ExtensionSlice::Fragment(fragment) => {
                            Some(fragment.fragment_offset().byte_offset())
                        }
                        _ => None,
                    });
                Some(Header {
                    source: header.source_addr().into(),
                    target: header.destination_addr().into(),
                    protocol: ip.payload().ip_number,
                    payload: declared.saturating_sub(extensions.slice().len()),
                    fragment: fragment.filter(|_| ip.is_payload_fragmented()).map(u32::from),
                })
            }
            LaxNetSlice::Arp(_) => None,
        }
    }
}

fn tcp_fields(f: &mut Formatter<'_>, tcp: &TcpSlice<'_>, segment: usize) -> fmt::Result {
    f.write_str(" TCP [")?;
    let flags = [
        (tcp.syn(), "S"),
        (tcp.fin(), "F"),
        (tcp.rst(), "R"),
        (tcp.psh(), "P"),
        (tcp.urg(), "U"),
        (tcp.ece(), "E"),
        (tcp.cwr(), "W"),
        (tcp.ack(), "."),
    ];
    for (_, letter) in flags.iter().filter(|(set, _)| *set) {
        f.write_str(letter)?;
    }
    write!(f, "] seq {}", tcp.sequence_number())?;
    if tcp.ack() {
        write!(f, " ack {}", tcp.acknowledgment_number())?;
    }
    let length = segment.saturating_sub(usize::from(tcp.data_offset()) * 4);
    write!(f, " win {} length {length}", tcp.window_size())
}

fn icmp_fields(
    f: &mut Formatter<'_>,
    name: &str,
    echo: Option<(&str, etherparse::IcmpEchoHeader)>,
    icmp_type: u8,
    code: u8,
    length: usize,
) -> fmt::Result {
    match echo {
        Some((what, echo)) => write!(f, " {name} echo {what} id {} seq {}", echo.id, echo.seq)?,
        None => write!(f, " {name} type {icmp_type} code {code}")?,
    }
    write!(f, " length {length}")
}

/// What is less in its place is the length of an IEEE 802.3 frame.
const FIRST_ETHER_TYPE: u16 = 0x600;

/// RFC 826, `ares_op$REQUEST` and `ares_op$REPLY`.
const ARP_REQUEST: u16 = 1;
const ARP_REPLY: u16 = 2;

/// Bytes of a UDP header, which the length in it counts, too.
const UDP_HEADER: usize = 8;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use etherparse::PacketBuilder;
    use proptest::prelude::*;

    use super::*;

    const A: [u8; 6] = [0x52, 0x54, 0, 0, 0, 1];
    const B: [u8; 6] = [0x52, 0x54, 0, 0, 0, 2];

    /// The line of a frame of this length of which these bytes were kept, without the time.
    fn line_of(bytes: &[u8], original: usize) -> String {
        let frame = Captured {
            port: PortId::from_parts(3, 1),
            direction: Direction::In,
            time: Duration::from_secs(1_795_320_900),
            original: original as u32,
            bytes,
        };
        let line = Line(&frame).to_string();
        let (time, rest) = line.split_at("hh:mm:ss.uuuuuu ".len());
        assert!(time.ends_with(".000000 "), "{line}");
        rest.to_owned()
    }

    /// What stands behind the port and before the length.
    fn contents(bytes: &[u8]) -> String {
        let line = line_of(bytes, bytes.len());
        let end = format!(", {} bytes", bytes.len());
        let macs = "3 > 52:54:00:00:00:01 > 52:54:00:00:00:02: ";
        line.strip_prefix(macs).unwrap().strip_suffix(&end).unwrap().to_owned()
    }

    fn ethernet(ether_type: u16, payload: &[u8]) -> Vec<u8> {
        [&B[..], &A, &ether_type.to_be_bytes(), payload].concat()
    }

    fn v4() -> etherparse::PacketBuilderStep<etherparse::IpHeaders> {
        PacketBuilder::ethernet2(A, B).ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
    }

    macro_rules! built {
        ($builder:expr, $payload:expr) => {{
            let mut frame = Vec::new();
            $builder.write(&mut frame, &$payload).unwrap();
            frame
        }};
    }

    fn arp(operation: u8) -> Vec<u8> {
        let fixed = [0, 1, 8, 0, 6, 4, 0, operation];
        ethernet(0x806, &[&fixed[..], &A, &[10, 0, 0, 1], &[0; 6], &[10, 0, 0, 2]].concat())
    }

    #[test]
    fn the_beginning_is_time_port_and_direction() {
        let time = Duration::new(1_795_320_905, 98_765_999);
        let t = sys::local_time(time.as_secs());
        let mut lines = Lines::new(Vec::new());
        for (port, direction) in [(3, Direction::In), (0, Direction::In), (3, Direction::Out)] {
            let port = PortId::from_parts(port, 0);
            let bytes = arp(1);
            let frame = Captured { port, direction, time, original: 42, bytes: &bytes };
            lines.record(Record::Frame(frame)).unwrap();
        }
        lines.finish(&[]).unwrap();
        let now = format!("{:02}:{:02}:05.098765", t.hour, t.minute);
        let rest = "52:54:00:00:00:01 > 52:54:00:00:00:02: \
                    ARP who-has 10.0.0.2 tell 10.0.0.1, 42 bytes";
        let expected = format!("{now} 3 > {rest}\n{now} uplink > {rest}\n{now} > 3 {rest}\n");
        assert_eq!(String::from_utf8(lines.writer).unwrap(), expected);
    }

    #[test]
    fn arp_is_told_as_question_and_answer() {
        assert_eq!(contents(&arp(1)), "ARP who-has 10.0.0.2 tell 10.0.0.1");
        assert_eq!(contents(&arp(2)), "ARP 10.0.0.1 is-at 52:54:00:00:00:01");
        assert_eq!(contents(&arp(9)), "ARP operation 9");
    }

    #[test]
    fn tcp_and_udp_have_ports_and_lengths() {
        let syn = built!(v4().tcp(4000, 80, 7, 1000).syn(), []);
        assert_eq!(contents(&syn), "10.0.0.1:4000 > 10.0.0.2:80 TCP [S] seq 7 win 1000 length 0");
        // Padding to the least length of a frame is no contents.
        let padded = [&syn[..], &[0; 6]].concat();
        assert_eq!(contents(&padded), contents(&syn));
        let push = built!(v4().tcp(4000, 80, 7, 1000).psh().ack(8), [0; 100]);
        assert_eq!(
            contents(&push),
            "10.0.0.1:4000 > 10.0.0.2:80 TCP [P.] seq 7 ack 8 win 1000 length 100"
        );
        let udp = built!(v4().udp(53, 5353), [0; 9]);
        assert_eq!(contents(&udp), "10.0.0.1:53 > 10.0.0.2:5353 UDP length 9");
        let v6 = PacketBuilder::ethernet2(A, B).ipv6([0xfe; 16], [0xfd; 16], 64);
        let udp = built!(v6.udp(53, 5353), [0; 9]);
        let (fe, fd) = (["fefe"; 8].join(":"), ["fdfd"; 8].join(":"));
        assert_eq!(contents(&udp), format!("[{fe}]:53 > [{fd}]:5353 UDP length 9"));
    }

    #[test]
    fn echoes_have_their_numbers() {
        let echo = built!(v4().icmpv4_echo_request(9, 2), [0; 56]);
        assert_eq!(contents(&echo), "10.0.0.1 > 10.0.0.2 ICMP echo request id 9 seq 2 length 64");
        let echo = built!(v4().icmpv4_echo_reply(9, 2), [0; 56]);
        assert!(contents(&echo).ends_with("ICMP echo reply id 9 seq 2 length 64"));
        let v6 = PacketBuilder::ethernet2(A, B).ipv6([0xfe; 16], [0xfd; 16], 64);
        let echo = built!(v6.icmpv6_echo_request(9, 2), [0; 56]);
        assert!(contents(&echo).ends_with("ICMPv6 echo request id 9 seq 2 length 64"));
        let other = built!(v4().icmpv4_raw(3, 1, [0; 4]), [0; 28]);
        assert!(contents(&other).ends_with("ICMP type 3 code 1 length 36"));
    }

    #[test]
    fn tags_fragments_and_other_protocols_are_named() {
        let tagged = PacketBuilder::ethernet2(A, B)
            .double_vlan(etherparse::VlanId::try_new(5).unwrap(), 77.try_into().unwrap())
            .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64);
        let tagged = built!(tagged.udp(1, 2), [0; 3]);
        assert_eq!(contents(&tagged), "vlan 5 vlan 77 10.0.0.1:1 > 10.0.0.2:2 UDP length 3");
        let mut fragment = built!(v4().udp(1, 2), [0; 40]);
        fragment[20..22].copy_from_slice(&185u16.to_be_bytes());
        assert_eq!(contents(&fragment), "10.0.0.1 > 10.0.0.2 UDP length 48 fragment at 1480");
        assert_eq!(contents(&ethernet(0x88cc, &[0; 40])), "ethertype 0x88cc");
        assert_eq!(contents(&ethernet(38, &[0; 46])), "802.3 length 38");
        let mut ospf = built!(v4().udp(1, 2), [0; 40]);
        ospf[23] = 89;
        assert_eq!(contents(&ospf), "10.0.0.1 > 10.0.0.2 OSPFIGP length 48");
    }

    #[test]
    fn what_was_cut_is_told_from_what_is_malformed() {
        let frame = built!(v4().tcp(4000, 80, 7, 1000).syn(), [0; 1000]);
        assert_eq!(
            line_of(&frame[..60], frame.len()),
            "3 > 52:54:00:00:00:01 > 52:54:00:00:00:02: \
             10.0.0.1:4000 > 10.0.0.2:80 TCP [S] seq 7 win 1000 length 1000, 1054 bytes"
        );
        assert!(
            line_of(&frame[..40], 1054)
                .ends_with("10.0.0.1 > 10.0.0.2 TCP length 1020 [cut], 1054 bytes")
        );
        assert!(line_of(&frame[..20], 1054).ends_with(": IPv4 [cut], 1054 bytes"));
        assert_eq!(line_of(&frame[..5], 1054), "3 > [cut], 1054 bytes");
        assert_eq!(contents(&ethernet(0x800, &[0x45; 8])), "IPv4 [malformed]");
        assert_eq!(contents(&ethernet(0x806, &[0xff; 28])), "ARP [malformed]");
    }

    proptest! {
        #[test]
        fn no_frame_puts_anything_but_plain_text_on_the_terminal(
            kind in prop::sample::select(vec![0x800u16, 0x806, 0x86dd, 0x8100, 0x88e5, 0x88cc]),
            noise in prop::collection::vec(any::<u8>(), 0..200),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut udp = built!(v4().udp(1, 2), noise);
            for (place, value) in changes {
                let place = place.index(udp.len());
                udp[place] = value;
            }
            for frame in [ethernet(kind, &noise), noise, udp] {
                let kept = cut.index(frame.len() + 1);
                for line in [line_of(&frame, frame.len()), line_of(&frame[..kept], frame.len())] {
                    prop_assert!(line.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{}", line);
                }
            }
        }
    }
}
