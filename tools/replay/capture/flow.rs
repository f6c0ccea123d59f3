//! Which frames belong together and stay in order.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::packet::{ARP, ICMPV6, IPV4, IPV6, Layout, Mac, TCP, UDP, destination, source};

/// One direction of a conversation. Its name is what it prints:
/// `198.51.100.7:27005 > 192.0.2.2:27015 udp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FlowKey {
    /// UDP or TCP. Fragments have no ports and are [`FlowKey::Ip`].
    Ports { from: SocketAddr, to: SocketAddr, protocol: u8 },
    /// Other IP packets.
    Ip { from: IpAddr, to: IpAddr, protocol: u8 },
    /// Other frames.
    Ethernet { from: Mac, to: Mac, ether_type: u16 },
}

impl FlowKey {
    pub(super) fn of(frame: &[u8], layout: &Layout) -> Self {
        let Some(ip) = layout.ip else {
            let (from, to) = (source(frame), destination(frame));
            return FlowKey::Ethernet { from, to, ether_type: layout.ether_type };
        };
        let (from, to, protocol) = (ip.source, ip.destination, ip.protocol);
        match ip.ports(frame) {
            Some((source, destination)) => FlowKey::Ports {
                from: SocketAddr::new(from, source),
                to: SocketAddr::new(to, destination),
                protocol,
            },
            None => FlowKey::Ip { from, to, protocol },
        }
    }
}

impl fmt::Display for FlowKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FlowKey::Ports { from, to, protocol } => {
                write!(out, "{from} > {to} {}", Protocol(*protocol))
            }
            FlowKey::Ip { from, to, protocol } => {
                write!(out, "{from} > {to} {}", Protocol(*protocol))
            }
            FlowKey::Ethernet { from, to, ether_type } => {
                write!(out, "{} > {} ", ShownMac(*from), ShownMac(*to))?;
                match *ether_type {
                    ARP => write!(out, "arp"),
                    IPV4 => write!(out, "ipv4"),
                    IPV6 => write!(out, "ipv6"),
                    // IEEE 802.3: up to here it is a length, and LLC follows.
                    ..=1500 => write!(out, "llc"),
                    number => write!(out, "{number:#06x}"),
                }
            }
        }
    }
}

/// An Ethernet address as it is written.
#[derive(Clone, Copy, Debug)]
pub struct ShownMac(pub Mac);

impl fmt::Display for ShownMac {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, f] = self.0;
        write!(out, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
    }
}

struct Protocol(u8);

impl fmt::Display for Protocol {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            1 => write!(out, "icmp"),
            2 => write!(out, "igmp"),
            TCP => write!(out, "tcp"),
            UDP => write!(out, "udp"),
            ICMPV6 => write!(out, "icmp6"),
            number => write!(out, "protocol {number}"),
        }
    }
}
