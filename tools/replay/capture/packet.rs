//! Where in a frame its headers are, as far as they are there.

use std::net::{IpAddr, SocketAddr};

/// An Ethernet address.
pub type Mac = [u8; 6];

/// Who a frame is for. The caller has checked that it has a header.
pub(super) fn destination(frame: &[u8]) -> Mac {
    mac_at(frame, 0)
}

/// Who sent a frame. The caller has checked that it has a header.
pub(super) fn source(frame: &[u8]) -> Mac {
    mac_at(frame, 6)
}

/// Whether it is a group's address: no station's.
pub(super) fn is_group(mac: Mac) -> bool {
    mac[0] & 1 != 0
}

/// Not a group's, not everybody's, not nobody's.
pub(super) fn is_host(ip: IpAddr) -> bool {
    !ip.is_multicast() && !ip.is_unspecified() && ip != IpAddr::from([255; 4])
}

/// Whether a packet is from one host to another.
pub(super) fn is_between_hosts(frame: &[u8], ip: &Ip) -> bool {
    !is_group(destination(frame))
        && !is_group(source(frame))
        && is_host(ip.source)
        && is_host(ip.destination)
}

/// What a frame carries.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    /// Behind VLAN tags, if there are any.
    pub(super) ether_type: u16,
    /// Where what it carries begins.
    pub(super) payload: usize,
    /// If that is an IP packet whose header is whole.
    pub(super) ip: Option<Ip>,
}

/// An IP packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ip {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    /// What it carries, as numbered by IANA; behind extension headers.
    pub(super) protocol: u8,
    /// Where that begins. `None` for all fragments but a packet's first.
    pub(super) transport: Option<usize>,
    /// It is the first of several fragments.
    fragmented: bool,
}

impl Layout {
    /// Looks through up to two VLAN tags, and whatever extension headers IPv6 has.
    pub(super) fn of(frame: &[u8]) -> Layout {
        let mut payload = 14;
        let mut ether_type = u16_at(frame, 12).unwrap_or_default();
        for _ in 0..2 {
            let Some(tagged) = u16_at(frame, payload + 2).filter(|_| is_vlan(ether_type)) else {
                break;
            };
            ether_type = tagged;
            payload += 4;
        }
        let ip = match ether_type {
            IPV4 => ipv4(frame, payload),
            IPV6 => ipv6(frame, payload),
            _ => None,
        };
        Layout { ether_type, payload, ip }
    }

    /// The two ends of a UDP packet that is not in fragments.
    pub(super) fn udp(&self, frame: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
        let ip = self.ip.filter(|ip| ip.protocol == UDP)?;
        let (source, destination) = ip.ports(frame)?;
        Some((SocketAddr::new(ip.source, source), SocketAddr::new(ip.destination, destination)))
    }
}

impl Ip {
    /// Source and destination port of UDP or TCP, unless the packet is in fragments.
    pub(super) fn ports(&self, frame: &[u8]) -> Option<(u16, u16)> {
        let at = self.transport.filter(|_| !self.fragmented)?;
        let has_ports = matches!(self.protocol, TCP | UDP);
        has_ports.then_some((u16_at(frame, at)?, u16_at(frame, at + 2)?))
    }
}

fn ipv4(frame: &[u8], at: usize) -> Option<Ip> {
    let header = frame.get(at..at + 20)?;
    let length = usize::from(header[0] & 0xf) * 4;
    if header[0] >> 4 != 4 || length < 20 || frame.len() < at + length {
        return None;
    }
    let fragment = u16_at(header, 6)?;
    let is_first = fragment & 0x1fff == 0;
    Some(Ip {
        source: IpAddr::from(<[u8; 4]>::try_from(&header[12..16]).ok()?),
        destination: IpAddr::from(<[u8; 4]>::try_from(&header[16..20]).ok()?),
        protocol: header[9],
        transport: is_first.then_some(at + length),
        fragmented: fragment & 0x2000 != 0,
    })
}

fn ipv6(frame: &[u8], at: usize) -> Option<Ip> {
    let header = frame.get(at..at + 40)?;
    if header[0] >> 4 != 6 {
        return None;
    }
    let mut ip = Ip {
        source: IpAddr::from(<[u8; 16]>::try_from(&header[8..24]).ok()?),
        destination: IpAddr::from(<[u8; 16]>::try_from(&header[24..40]).ok()?),
        protocol: header[6],
        transport: None,
        fragmented: false,
    };
    let mut next = at + 40;
    for _ in 0..MAX_EXTENSIONS {
        match (ip.protocol, frame.get(next..next + 8)) {
            (HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS, Some(extension)) => {
                ip.protocol = extension[0];
                next += 8 + usize::from(extension[1]) * 8;
            }
            (FRAGMENT, Some(extension)) => {
                ip.protocol = extension[0];
                next += 8;
                let fragment = u16_at(extension, 2)?;
                if fragment & 0xfff8 != 0 {
                    return Some(ip);
                }
                ip.fragmented = fragment & 1 != 0;
            }
            _ => break,
        }
    }
    ip.transport = Some(next);
    Some(ip)
}

/// The number at `at` in network byte order, if it is inside.
pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn mac_at(frame: &[u8], at: usize) -> Mac {
    let mut mac = [0; 6];
    mac.copy_from_slice(&frame[at..at + 6]);
    mac
}

fn is_vlan(ether_type: u16) -> bool {
    matches!(ether_type, 0x8100 | 0x88a8 | 0x9100)
}

pub(super) const IPV4: u16 = 0x0800;
pub(super) const ARP: u16 = 0x0806;
pub(super) const IPV6: u16 = 0x86dd;

pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;
pub(super) const ICMPV6: u8 = 58;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;

/// More than any sound packet has.
const MAX_EXTENSIONS: usize = 8;
