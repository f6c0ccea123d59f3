//! Who is on the Ethernet.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use super::error::Problem;
use super::packet::{Layout, Mac, is_group};

/// A station's place in [`super::Capture::stations`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StationId(pub u32);

/// Whoever sends with one MAC address.
#[derive(Clone, Debug)]
pub struct Station {
    pub mac: Mac,
    /// From where its IP packets come.
    pub addresses: Addresses,
    /// How many it sends.
    pub frames: u64,
    /// It is a router: of all stations with several IP addresses behind them, the one with most.
    pub is_uplink: bool,
}

/// The IP addresses of a station and of those behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addresses {
    /// It sends no IP packets.
    None,
    One(IpAddr),
    /// So many, or more where nobody could count them all.
    Many(usize),
}

/// For whom a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    Station(StationId),
    /// A group address: all but the sender get it.
    Everybody,
    /// An address that nobody in the capture sends with: the switch floods it.
    Unknown,
}

/// All stations, and who has which address.
#[derive(Clone, Debug, Default)]
pub(super) struct Stations {
    list: Vec<Station>,
    by_mac: HashMap<Mac, StationId>,
}

impl Stations {
    pub(super) fn list(&self) -> &[Station] {
        &self.list
    }

    pub(super) fn list_mut(&mut self) -> &mut [Station] {
        &mut self.list
    }

    pub(super) fn station(&self, mac: Mac) -> Option<StationId> {
        self.by_mac.get(&mac).copied()
    }

    pub(super) fn destination(&self, mac: Mac) -> Destination {
        match self.station(mac) {
            _ if is_group(mac) => Destination::Everybody,
            Some(station) => Destination::Station(station),
            None => Destination::Unknown,
        }
    }

    /// Adds a station with an address that is new.
    ///
    /// # Errors
    /// [`Problem::TooManyStations`].
    pub(super) fn add(&mut self, station: Station, why: &'static str) -> Result<(), Problem> {
        if self.list.len() == MAX_STATIONS {
            return Err(Problem::TooManyStations(MAX_STATIONS, why));
        }
        self.by_mac.insert(station.mac, StationId(self.list.len() as u32));
        self.list.push(station);
        Ok(())
    }
}

/// Counts stations and their IP addresses in a first pass.
#[derive(Default)]
pub(super) struct Census {
    stations: Stations,
    /// Which addresses were seen behind which stations.
    pairs: HashSet<(StationId, IpAddr)>,
}

impl Census {
    /// Takes note of a frame and its sender.
    pub(super) fn count(&mut self, from: Mac, layout: &Layout) -> Result<(), Problem> {
        let id = match self.stations.station(from) {
            Some(id) => id,
            None => {
                let (addresses, is_uplink) = (Addresses::None, false);
                self.stations.add(Station { mac: from, addresses, frames: 0, is_uplink }, "")?;
                StationId(self.stations.list.len() as u32 - 1)
            }
        };
        let station = &mut self.stations.list[id.0 as usize];
        station.frames += 1;
        let Some(ip) = layout.ip.map(|ip| ip.source).filter(|ip| !is_local(*ip)) else {
            return Ok(());
        };
        let is_known = station.addresses == Addresses::One(ip)
            || self.pairs.len() == MAX_ADDRESSES
            || !self.pairs.insert((id, ip));
        if !is_known {
            station.addresses = match station.addresses {
                Addresses::None => Addresses::One(ip),
                Addresses::One(_) => Addresses::Many(2),
                Addresses::Many(number) => Addresses::Many(number + 1),
            };
        }
        Ok(())
    }

    /// The stations, and which addresses are behind them.
    pub(super) fn finish(self) -> (Stations, HashSet<(StationId, IpAddr)>) {
        let Census { mut stations, pairs } = self;
        let behind = |station: &Station| match station.addresses {
            Addresses::Many(number) => number,
            _ => 0,
        };
        let most = stations.list.iter().map(behind).max().unwrap_or_default();
        if most >= UPLINK_ADDRESSES
            && let Some(uplink) = stations.list.iter_mut().find(|station| behind(station) == most)
        {
            uplink.is_uplink = true;
        }
        (stations, pairs)
    }
}

/// Not an address that would tell a router from a host: none, or one for this link only.
fn is_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_unspecified() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unspecified() || ip.is_unicast_link_local(),
    }
}

/// A port each is as many as a switch has by default.
pub(super) const MAX_STATIONS: usize = 4096;

/// Remembered at most, all stations together: some 4 MiB. Spoofed ones could be millions.
const MAX_ADDRESSES: usize = 65_536;

/// From how many addresses on a station counts as a router: hosts have one, or one of each IP.
const UPLINK_ADDRESSES: usize = 3;
