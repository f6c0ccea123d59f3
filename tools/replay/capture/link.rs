//! Frames out of packets that were recorded without Ethernet headers.
//!
//! Such packets get made-up addresses, the same for the same IP address: `fe:fd` and the four bytes
//! of an IPv4 address, as UML makes them, or a hash of an IPv6 address. Packets to IP groups go to
//! the Ethernet groups of RFC 1112 and RFC 2464.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use pcap_file::DataLink;

use super::error::Problem;
use super::packet::{ARP, IPV4, IPV6, Mac, u16_at};

/// Writes the packet as a frame, and returns how long the whole frame was. `None` if the packet does
/// not say who sent it to whom.
///
/// # Errors
/// [`Problem::LinkType`] for other links than Ethernet, raw IP, cooked captures and loopback.
pub(super) fn to_ethernet(
    link: u32,
    data: &[u8],
    original: usize,
    frame: &mut Vec<u8>,
) -> Result<Option<usize>, Problem> {
    frame.clear();
    let Some(cooked) = Cooked::of(link, data)? else {
        frame.extend_from_slice(data);
        return Ok(Some(original));
    };
    let Some(packet) = data.get(cooked.header..) else { return Ok(None) };
    let Some(ether_type) = cooked.ether_type.or_else(|| ether_type_of_ip(packet)) else {
        return Ok(None);
    };
    let Some((source, mut destination)) = addresses(ether_type, packet) else { return Ok(None) };
    if cooked.broadcast {
        destination = BROADCAST;
    }
    frame.extend_from_slice(&destination);
    frame.extend_from_slice(&source);
    frame.extend_from_slice(&ether_type.to_be_bytes());
    frame.extend_from_slice(packet);
    Ok(Some(original - cooked.header + ETHERNET_HEADER))
}

/// What stands in the place of an Ethernet header.
struct Cooked {
    /// How long it is.
    header: usize,
    /// What follows, if it says.
    ether_type: Option<u16>,
    /// Whether the packet went to everybody on the link, if it says.
    broadcast: bool,
}

impl Cooked {
    /// `None` for Ethernet.
    fn of(link: u32, data: &[u8]) -> Result<Option<Self>, Problem> {
        let plain = |header| Cooked { header, ether_type: None, broadcast: false };
        Ok(Some(match link {
            LINK_ETHERNET => return Ok(None),
            // 12 and 14 are what some systems write for 101.
            12 | 14 | 101 | LINK_IPV4 | LINK_IPV6 => plain(0),
            LINK_NULL | LINK_LOOP => plain(4),
            LINK_LINUX_SLL => {
                let kind = u16_at(data, 0);
                Cooked { header: 16, ether_type: u16_at(data, 14), broadcast: kind == Some(1) }
            }
            LINK_LINUX_SLL2 => {
                let kind = data.get(10).copied();
                Cooked { header: 20, ether_type: u16_at(data, 0), broadcast: kind == Some(1) }
            }
            number => {
                let name = match DataLink::from(number) {
                    DataLink::Unknown(_) => "unknown".to_string(),
                    name => format!("{name:?}"),
                };
                return Err(Problem::LinkType { number, name });
            }
        }))
    }
}

fn ether_type_of_ip(packet: &[u8]) -> Option<u16> {
    match packet.first()? >> 4 {
        4 => Some(IPV4),
        6 => Some(IPV6),
        _ => None,
    }
}

/// Source and destination.
fn addresses(ether_type: u16, packet: &[u8]) -> Option<(Mac, Mac)> {
    let v4 = |at: usize| Some(IpAddr::from(<[u8; 4]>::try_from(packet.get(at..at + 4)?).ok()?));
    let v6 = |at: usize| Some(IpAddr::from(<[u8; 16]>::try_from(packet.get(at..at + 16)?).ok()?));
    let (source, destination) = match ether_type {
        IPV4 => (v4(12)?, v4(16)?),
        IPV6 => (v6(8)?, v6(24)?),
        ARP if u16_at(packet, 6)? == ARP_REQUEST => (v4(14)?, Ipv4Addr::BROADCAST.into()),
        ARP => (v4(14)?, v4(24)?),
        _ => return None,
    };
    Some((mac_of(source), mac_of(destination)))
}

/// The made-up address of whoever has this IP address, or the group's.
fn mac_of(address: IpAddr) -> Mac {
    match address {
        IpAddr::V4(Ipv4Addr::BROADCAST) => BROADCAST,
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            if ip.is_multicast() {
                [0x01, 0x00, 0x5e, b & 0x7f, c, d]
            } else {
                [0xfe, 0xfd, a, b, c, d]
            }
        }
        IpAddr::V6(ip) => {
            let (head, [a, b, c, d]) = if ip.is_multicast() {
                let [.., a, b, c, d] = ip.octets();
                ([0x33, 0x33], [a, b, c, d])
            } else {
                ([0xfe, 0xfd], hash(ip).to_be_bytes())
            };
            [head[0], head[1], a, b, c, d]
        }
    }
}

/// FNV-1a: the same in every run.
fn hash(ip: Ipv6Addr) -> u32 {
    ip.octets()
        .iter()
        .fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// To everybody.
const BROADCAST: Mac = [0xff; 6];
const ETHERNET_HEADER: usize = 14;
const ARP_REQUEST: u16 = 1;

// https://www.tcpdump.org/linktypes.html
const LINK_NULL: u32 = 0;
const LINK_ETHERNET: u32 = 1;
const LINK_LOOP: u32 = 108;
const LINK_LINUX_SLL: u32 = 113;
const LINK_IPV4: u32 = 228;
const LINK_IPV6: u32 = 229;
const LINK_LINUX_SLL2: u32 = 276;
