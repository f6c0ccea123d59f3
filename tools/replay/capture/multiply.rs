//! More players than were recorded.
//!
//! The capture is played N times over each other, and only the server stays one. In copy k
//!
//! - every station but the server's and the uplink has another MAC address, locally administered;
//! - every IP address but the server's and those of groups has another second octet, or another
//!   eighth byte if it is IPv6; the steps are such that no two addresses become one;
//! - everything is later by k/N of the time that usually lies between two packets of a player and
//!   the server, so that copies do not coincide but what answers what stays so;
//! - a frame in which all this changes nothing, such as a broadcast of the server, is left out.
//!
//! Addresses are changed in the headers of Ethernet and IP and in ARP packets, with all checksums;
//! what a packet says about addresses in its data stays.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::time::Duration;

use super::checksum;
use super::error::Problem;
use super::packet::{
    ARP, ICMPV6, IPV4, Ip, Layout, Mac, TCP, UDP, destination, is_group, is_host, u16_at,
};
use super::stations::{Addresses, Station, StationId, Stations};

/// How the copies differ from what was recorded.
#[derive(Clone, Debug)]
pub(super) struct Copies {
    server: Option<IpAddr>,
    /// By how much copy k is later than copy k - 1.
    delay: Duration,
    /// What copy k adds to a byte of each IP address; copy 0 is what was recorded.
    steps: Vec<u8>,
    /// The stations of copy k, for the stations of copy 0 that are multiplied.
    macs: Vec<HashMap<Mac, Mac>>,
}

impl Copies {
    /// A capture as it was recorded.
    pub(super) fn none() -> Self {
        Copies { server: None, delay: Duration::ZERO, steps: vec![0], macs: vec![HashMap::new()] }
    }

    /// Adds the stations of the copies to `stations`. `behind` says which addresses are behind which
    /// of them, `gap` what lies between two packets of a player and the server.
    ///
    /// # Errors
    /// When there would be too many stations, or no address is left for a copy.
    pub(super) fn new(
        multiply: u32,
        stations: &mut Stations,
        server: Option<IpAddr>,
        behind: &HashSet<(StationId, IpAddr)>,
        gap: Duration,
    ) -> Result<Self, Problem> {
        let addresses = behind.iter().map(|(_, ip)| *ip).chain(server);
        let steps = steps(multiply, addresses)?;
        let has_server = |id| server.is_some_and(|server| behind.contains(&(id, server)));
        let originals: Vec<Station> = (0..)
            .zip(stations.list())
            .filter(|(id, station)| !has_server(StationId(*id)) && !station.is_uplink)
            .map(|(_, station)| station.clone())
            .collect();
        let mut copies =
            Copies { server, delay: gap / multiply, steps, macs: vec![HashMap::new()] };
        for copy in 1..copies.steps.len() {
            let mut macs = HashMap::new();
            for original in &originals {
                let mac = copied_mac(original.mac, copy as u32, stations);
                let addresses = match original.addresses {
                    Addresses::One(ip) => Addresses::One(copies.address(copy, ip)),
                    other => other,
                };
                stations.add(Station { mac, addresses, ..*original }, WHY)?;
                macs.insert(original.mac, mac);
            }
            copies.macs.push(macs);
        }
        for station in stations.list_mut() {
            if let (true, Addresses::Many(number)) = (station.is_uplink, &mut station.addresses) {
                *number *= copies.steps.len();
            }
        }
        Ok(copies)
    }

    /// How many there are of everything, what was recorded included.
    pub(super) fn len(&self) -> usize {
        self.steps.len()
    }

    /// By how much a copy is later than what was recorded.
    pub(super) fn delay(&self, copy: usize) -> Duration {
        self.delay * copy as u32
    }

    /// Makes a frame what it is in a copy. `false` if it stays the same, so that it is not to be
    /// sent once more.
    pub(super) fn change(&self, copy: usize, frame: &mut [u8]) -> bool {
        let layout = Layout::of(frame);
        let to_group = is_group(destination(frame));
        let mut changed = self.change_mac(copy, frame, 0);
        changed |= self.change_mac(copy, frame, 6);
        let at = layout.payload;
        if let Some(ip) = layout.ip {
            let new = self.address(copy, ip.source);
            changed |= change_ip(frame, at, &ip, (ip.source, new), true);
            if !to_group {
                let new = self.address(copy, ip.destination);
                changed |= change_ip(frame, at, &ip, (ip.destination, new), false);
            }
        } else if layout.ether_type == ARP && is_arp_for_ipv4(frame, at) {
            for mac in [at + 8, at + 18] {
                changed |= self.change_mac(copy, frame, mac);
            }
            for ip in [at + 14, at + 24] {
                changed |= self.change_arp_ip(copy, &mut frame[ip..ip + 4]);
            }
        }
        changed
    }

    fn change_mac(&self, copy: usize, frame: &mut [u8], at: usize) -> bool {
        let field = &mut frame[at..at + 6];
        let Ok(old) = Mac::try_from(&*field) else { return false };
        let Some(new) = self.macs[copy].get(&old) else { return false };
        field.copy_from_slice(new);
        true
    }

    fn change_arp_ip(&self, copy: usize, field: &mut [u8]) -> bool {
        let Ok(old) = <[u8; 4]>::try_from(&*field) else { return false };
        let IpAddr::V4(new) = self.address(copy, IpAddr::from(old)) else { return false };
        field.copy_from_slice(&new.octets());
        new.octets() != old
    }

    /// An address as it is in a copy.
    fn address(&self, copy: usize, ip: IpAddr) -> IpAddr {
        if Some(ip) == self.server || !is_host(ip) { ip } else { stepped(ip, self.steps[copy]) }
    }
}

/// Writes the other address into an IP header, and mends the checksums that cover it.
fn change_ip(
    frame: &mut [u8],
    at: usize,
    ip: &Ip,
    (old, new): (IpAddr, IpAddr),
    is_source: bool,
) -> bool {
    if old == new {
        return false;
    }
    // The one word of the address that differs.
    let word = match (new, is_source) {
        (IpAddr::V4(_), true) => at + 12,
        (IpAddr::V4(_), false) => at + 16,
        (IpAddr::V6(_), true) => at + 8 + 6,
        (IpAddr::V6(_), false) => at + 24 + 6,
    };
    let before = u16_at(frame, word).unwrap_or_default();
    frame[word + 1] = stepping_byte(new);
    let after = u16_at(frame, word).unwrap_or_default();
    if new.is_ipv4() {
        checksum::update(frame, at + 10, before, after);
    }
    match (ip.transport, ip.protocol) {
        (Some(tcp), TCP) => checksum::update(frame, tcp + 16, before, after),
        (Some(udp), UDP) => checksum::update_udp(frame, udp + 6, before, after),
        (Some(icmp), ICMPV6) => checksum::update(frame, icmp + 2, before, after),
        _ => {}
    }
    true
}

fn is_arp_for_ipv4(frame: &[u8], at: usize) -> bool {
    frame.len() >= at + 28 && u16_at(frame, at + 2) == Some(IPV4) && frame[at + 4..at + 6] == [6, 4]
}

/// Another address for a station, which nobody has.
fn copied_mac(mac: Mac, copy: u32, stations: &Stations) -> Mac {
    let [first, second, rest @ ..] = mac;
    let mut number = u32::from_be_bytes(rest);
    loop {
        let [a, b, c, d] = number.to_be_bytes();
        let other = [(first | 2) & !1, second.wrapping_add(copy as u8), a, b, c, d];
        if other != mac && stations.station(other).is_none() {
            return other;
        }
        number = number.wrapping_add(1);
    }
}

/// What each copy adds to the addresses, such that no two become one.
fn steps(multiply: u32, addresses: impl Iterator<Item = IpAddr>) -> Result<Vec<u8>, Problem> {
    let taken = differences(addresses);
    let mut steps = vec![0_u8];
    for step in 1..=u8::MAX {
        if steps.len() as u32 >= multiply {
            break;
        }
        let is_free = |other: &u8| {
            !taken[usize::from(step.wrapping_sub(*other))]
                && !taken[usize::from(other.wrapping_sub(step))]
        };
        if steps.iter().all(is_free) {
            steps.push(step);
        }
    }
    if steps.len() as u32 == multiply { Ok(steps) } else { Err(Problem::NoAddresses(steps.len())) }
}

/// Which differences there are between the bytes of two addresses that are otherwise the same.
fn differences(addresses: impl Iterator<Item = IpAddr>) -> [bool; 256] {
    let mut alike: HashMap<IpAddr, Vec<u8>> = HashMap::new();
    for ip in addresses {
        let byte = stepping_byte(ip);
        let bytes = alike.entry(stepped(ip, byte.wrapping_neg())).or_default();
        if !bytes.contains(&byte) {
            bytes.push(byte);
        }
    }
    let mut taken = [false; 256];
    for bytes in alike.values() {
        for one in bytes {
            for other in bytes.iter().filter(|other| *other != one) {
                taken[usize::from(one.wrapping_sub(*other))] = true;
            }
        }
    }
    taken
}

/// The address with so much added to the byte in which copies differ.
fn stepped(ip: IpAddr, step: u8) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => {
            let mut octets = ip.octets();
            octets[1] = octets[1].wrapping_add(step);
            octets.into()
        }
        IpAddr::V6(ip) => {
            let mut octets = ip.octets();
            octets[7] = octets[7].wrapping_add(step);
            octets.into()
        }
    }
}

/// The byte in which copies differ.
fn stepping_byte(ip: IpAddr) -> u8 {
    match ip {
        IpAddr::V4(ip) => ip.octets()[1],
        IpAddr::V6(ip) => ip.octets()[7],
    }
}

const WHY: &str = ", each multiplied";
