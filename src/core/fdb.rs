//! The forwarding database: which station is behind which port.
//!
//! One index answers "where is this address"; every port has a least-recently-used list of its own
//! stations. The whole is bounded: when it is full, the port that holds most stations gives up its
//! oldest. A guest that invents a million source addresses therefore only ever pushes out its own.
//!
//! A station's time is written at most once per refresh interval (a sixteenth of the ageing time, a
//! second at the most), so that a busy station costs one look-up a frame and not a move in a list. It
//! is forgotten up to that much and a [`TICKS_PER_SECOND`]th early, never late.
//!
//! # Shape
//! Stations lie side by side, twenty bytes each, linked by their places; the index holds places alone.
//! 100,000 of them take 3 MiB. With the `lru` crate, a list for each port and an index beside it, they
//! took 14 MiB, in which each frame missed the cache more often.

use std::collections::BTreeSet;
use std::hash::BuildHasher;
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::frame::MacAddr;
use super::port_table::PortId;

/// Station to port, with age and a bound.
#[derive(Debug)]
pub struct Fdb {
    /// Known stations, and free places.
    stations: Vec<Station>,
    /// The first free place; the others follow by `older`.
    free: Place,
    /// Where in `stations` an address is.
    index: HashTable<Place>,
    /// Seeded per process: the addresses come from guests, who must not find collisions.
    hasher: RandomState,
    /// By port number.
    ports: Vec<Holder>,
    /// `(stations, port)` of each port that has any: its last is the port that gives first.
    loads: BTreeSet<(u32, u16)>,
    capacity: usize,
    /// In ticks, as all times here.
    ageing: u32,
    refresh: u32,
    /// Tick 0.
    epoch: Option<Instant>,
    /// When a full table is next searched for entries that have aged out.
    next_sweep: Option<u32>,
}

/// A place in the list of stations, or [`NOWHERE`].
type Place = u32;

const NOWHERE: Place = u32::MAX;

#[derive(Clone, Copy, Debug)]
struct Station {
    mac: MacAddr,
    /// The number of its port, which has no stations of its predecessors: see [`Fdb::forget_port`].
    port: u16,
    /// When it was last refreshed.
    seen: u32,
    /// Its neighbours in its port's list.
    older: Place,
    newer: Place,
}

const _: () = assert!(size_of::<Station>() == 20);

/// The stations of one port.
#[derive(Clone, Copy, Debug)]
struct Holder {
    id: PortId,
    stations: u32,
    oldest: Place,
    newest: Place,
}

impl Fdb {
    /// An empty table for `capacity` stations (at least one), each forgotten when it has sent
    /// nothing for `ageing`.
    pub fn new(capacity: usize, ageing: Duration) -> Self {
        let capacity = capacity.clamp(1, NOWHERE as usize);
        let ageing = ticks(ageing).max(1);
        Fdb {
            stations: Vec::with_capacity(capacity),
            free: NOWHERE,
            index: HashTable::with_capacity(capacity),
            hasher: RandomState::default(),
            ports: Vec::new(),
            loads: BTreeSet::new(),
            capacity,
            ageing,
            refresh: (ageing / 16).clamp(1, MAX_REFRESH),
            epoch: None,
            next_sweep: None,
        }
    }

    /// Notes that `station` sent a frame by `port`. An address that is no station's is not learnt.
    pub fn learn(&mut self, station: MacAddr, port: PortId, now: Instant) {
        let now = self.tick_of(now);
        if let Some(place) = self.find(station) {
            let known = &mut self.stations[place as usize];
            if u32::from(known.port) == port.number() {
                if now.wrapping_sub(known.seen) >= self.refresh {
                    known.seen = now;
                    self.unlink(place);
                    self.link(place);
                }
                return;
            }
            self.forget(place);
        }
        let Ok(number) = u16::try_from(port.number()) else { return };
        if station.is_station() {
            self.hold(port);
            self.make_room(number, now);
            let place = self.place(Station {
                mac: station,
                port: number,
                seen: now,
                older: NOWHERE,
                newer: NOWHERE,
            });
            let hash = self.hasher.hash_one(station);
            let (stations, hasher) = (&self.stations, &self.hasher);
            self.index.insert_unique(hash, place, |&at| hasher.hash_one(stations[at as usize].mac));
            self.link(place);
            self.change_load(number, 1);
        }
    }

    /// The port behind which `station` was seen within the ageing time.
    pub fn port_of(&self, station: MacAddr, now: Instant) -> Option<PortId> {
        let known = &self.stations[self.find(station)? as usize];
        let alive = self.is_alive(known, self.tick_of_known(now));
        alive.then(|| self.ports[usize::from(known.port)].id)
    }

    /// Forgets every station that was learnt on `port`, and nothing else.
    pub fn forget_port(&mut self, port: PortId) {
        while let Some(oldest) = self.oldest_of(port.number() as usize) {
            self.forget(oldest);
        }
    }

    /// How many stations are known, those included that have aged out but not been replaced yet.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// True if no station is known.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// How many stations are known on `port`.
    pub fn stations_on(&self, port: PortId) -> usize {
        self.ports.get(port.number() as usize).map_or(0, |holder| holder.stations as usize)
    }

    fn find(&self, station: MacAddr) -> Option<Place> {
        let hash = self.hasher.hash_one(station);
        self.index.find(hash, |&at| self.stations[at as usize].mac == station).copied()
    }

    fn is_alive(&self, station: &Station, now: u32) -> bool {
        now.wrapping_sub(station.seen) < self.ageing
    }

    fn oldest_of(&self, port: usize) -> Option<Place> {
        let oldest = self.ports.get(port)?.oldest;
        (oldest != NOWHERE).then_some(oldest)
    }

    /// Puts `station` into a free place.
    fn place(&mut self, station: Station) -> Place {
        if self.free == NOWHERE {
            self.stations.push(station);
            return self.stations.len() as Place - 1;
        }
        let place = self.free;
        self.free = self.stations[place as usize].older;
        self.stations[place as usize] = station;
        place
    }

    fn forget(&mut self, place: Place) {
        let Station { mac, port, .. } = self.stations[place as usize];
        if let Ok(entry) = self.index.find_entry(self.hasher.hash_one(mac), |&at| at == place) {
            entry.remove();
        }
        self.unlink(place);
        self.change_load(port, -1);
        self.stations[place as usize].older = self.free;
        self.free = place;
    }

    /// Makes the station at `place`, which is in no list, the newest of its port's.
    fn link(&mut self, place: Place) {
        let station = &mut self.stations[place as usize];
        let holder = &mut self.ports[usize::from(station.port)];
        let newest = std::mem::replace(&mut holder.newest, place);
        station.older = newest;
        station.newer = NOWHERE;
        match self.stations.get_mut(newest as usize) {
            Some(older) => older.newer = place,
            None => holder.oldest = place,
        }
    }

    fn unlink(&mut self, place: Place) {
        let Station { port, older, newer, .. } = self.stations[place as usize];
        let holder = &mut self.ports[usize::from(port)];
        match self.stations.get_mut(older as usize) {
            Some(older) => older.newer = newer,
            None => holder.oldest = newer,
        }
        match self.stations.get_mut(newer as usize) {
            Some(newer) => newer.older = older,
            None => holder.newest = older,
        }
    }

    /// Makes sure that `port` has a list of stations.
    fn hold(&mut self, port: PortId) {
        let number = port.number() as usize;
        while self.ports.len() <= number {
            self.ports.push(Holder { id: port, stations: 0, oldest: NOWHERE, newest: NOWHERE });
        }
        self.ports[number].id = port;
    }

    /// Makes sure that `port` can be given one more station.
    fn make_room(&mut self, port: u16, now: u32) {
        if self.len() < self.capacity {
            return;
        }
        let pause = self.next_sweep.map(|due| due.wrapping_sub(now));
        if pause.is_none_or(|pause| pause == 0 || pause > MAX_REFRESH) {
            self.next_sweep = self.sweep(now).then(|| now.wrapping_add(MAX_REFRESH));
            if self.len() < self.capacity {
                return;
            }
        }
        // The newcomer counts: of two ports that hold as much, the one that wants more gives.
        let own = self.ports[usize::from(port)].stations;
        let victim = match self.loads.last() {
            Some(&(most, heaviest)) if own == 0 || own + 1 < most => heaviest,
            _ => port,
        };
        if let Some(oldest) = self.oldest_of(victim.into()) {
            self.forget(oldest);
        }
    }

    /// Forgets what has aged out, up to [`MAX_SWEPT`] stations: it is one frame that waits for this.
    /// Returns true if that was all. Costs one look at each port beside what it forgets.
    fn sweep(&mut self, now: u32) -> bool {
        let mut left = MAX_SWEPT;
        for port in 0..self.ports.len() {
            while let Some(oldest) = self.oldest_of(port)
                && !self.is_alive(&self.stations[oldest as usize], now)
            {
                if left == 0 {
                    return false;
                }
                left -= 1;
                self.forget(oldest);
            }
        }
        true
    }

    /// Counts one station of `port` more or less, and keeps `loads` true to that.
    fn change_load(&mut self, port: u16, change: i32) {
        let stations = &mut self.ports[usize::from(port)].stations;
        self.loads.remove(&(*stations, port));
        *stations = stations.wrapping_add_signed(change);
        if *stations > 0 {
            self.loads.insert((*stations, port));
        }
    }

    /// The tick of `now`; the first that is asked for is 0.
    fn tick_of(&mut self, now: Instant) -> u32 {
        let epoch = *self.epoch.get_or_insert(now);
        ticks(now.saturating_duration_since(epoch))
    }

    /// The same, for a table that may have no tick 0 yet, and then no station either.
    fn tick_of_known(&self, now: Instant) -> u32 {
        self.epoch.map_or(0, |epoch| ticks(now.saturating_duration_since(epoch)))
    }
}

/// `time` in ticks. They wrap around after eight years; a station that is silent for all of that time
/// may count as alive.
fn ticks(time: Duration) -> u32 {
    let part = time.subsec_nanos() / (1_000_000_000 / TICKS_PER_SECOND);
    (time.as_secs() as u32).wrapping_mul(TICKS_PER_SECOND).wrapping_add(part)
}

const TICKS_PER_SECOND: u32 = 16;

/// The longest time for which a station's age may lag behind, and the shortest between two sweeps: a
/// second.
const MAX_REFRESH: u32 = TICKS_PER_SECOND;

/// Stations that one sweep forgets at most, a few tens of microseconds.
const MAX_SWEPT: usize = 128;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AGEING: Duration = Duration::from_secs(100);

    fn port(number: u32) -> PortId {
        PortId::from_parts(number, 0)
    }

    fn mac(n: u32) -> MacAddr {
        let [a, b, c, d] = n.to_be_bytes();
        MacAddr([2, 0, a, b, c, d])
    }

    #[test]
    fn stations_are_found_until_they_age_out() {
        let start = Instant::now();
        let mut fdb = Fdb::new(8, AGEING);
        fdb.learn(mac(1), port(1), start);
        assert_eq!(fdb.port_of(mac(1), start + AGEING - Duration::from_millis(1)), Some(port(1)));
        assert_eq!(fdb.port_of(mac(1), start + AGEING), None);
        fdb.learn(mac(1), port(1), start + AGEING);
        assert_eq!(fdb.port_of(mac(1), start + AGEING), Some(port(1)));
    }

    #[test]
    fn stations_that_move_are_relearned() {
        let now = Instant::now();
        let mut fdb = Fdb::new(8, AGEING);
        fdb.learn(mac(1), port(1), now);
        fdb.learn(mac(1), port(2), now);
        assert_eq!(fdb.port_of(mac(1), now), Some(port(2)));
        assert_eq!((fdb.stations_on(port(1)), fdb.stations_on(port(2))), (0, 1));
    }

    #[test]
    fn a_closing_port_takes_only_what_is_still_its_own() {
        let now = Instant::now();
        let mut fdb = Fdb::new(8, AGEING);
        fdb.learn(mac(1), port(1), now);
        fdb.learn(mac(2), port(1), now);
        fdb.learn(mac(2), port(2), now);
        fdb.forget_port(port(1));
        assert_eq!(fdb.port_of(mac(1), now), None);
        assert_eq!(fdb.port_of(mac(2), now), Some(port(2)));
        fdb.forget_port(port(1));
        assert_eq!(fdb.len(), 1);
    }

    #[test]
    fn group_addresses_are_never_learnt() {
        let now = Instant::now();
        let mut fdb = Fdb::new(8, AGEING);
        fdb.learn(MacAddr([0xff; 6]), port(1), now);
        fdb.learn(MacAddr([1, 0, 0x5e, 0, 0, 1]), port(1), now);
        fdb.learn(MacAddr([0; 6]), port(1), now);
        assert!(fdb.is_empty());
    }

    #[test]
    fn one_ports_flood_of_addresses_pushes_out_its_own() {
        let now = Instant::now();
        let mut fdb = Fdb::new(100, AGEING);
        for n in 0..10 {
            fdb.learn(mac(n), port(1), now);
        }
        for n in 1000..11_000 {
            fdb.learn(mac(n), port(2), now);
        }
        assert_eq!(fdb.len(), 100);
        for n in 0..10 {
            assert_eq!(fdb.port_of(mac(n), now), Some(port(1)), "station {n}");
        }
        assert_eq!(fdb.port_of(mac(10_999), now), Some(port(2)));
    }

    #[test]
    fn a_newcomer_takes_its_place_from_the_fullest_port() {
        let now = Instant::now();
        let mut fdb = Fdb::new(10, AGEING);
        for n in 0..10 {
            fdb.learn(mac(n), port(1), now);
        }
        fdb.learn(mac(50), port(2), now);
        assert_eq!(fdb.port_of(mac(50), now), Some(port(2)));
        assert_eq!(fdb.port_of(mac(0), now), None, "the oldest station of the fullest port");
        assert_eq!(fdb.port_of(mac(9), now), Some(port(1)));
    }

    #[test]
    fn what_has_aged_out_gives_before_anything_alive() {
        let start = Instant::now();
        let mut fdb = Fdb::new(4, AGEING);
        fdb.learn(mac(1), port(1), start);
        let later = start + AGEING;
        for n in 2..6 {
            fdb.learn(mac(n), port(2), later);
        }
        for n in 2..6 {
            assert_eq!(fdb.port_of(mac(n), later), Some(port(2)), "station {n}");
        }
    }

    #[test]
    fn one_frame_never_waits_for_a_whole_table_to_age_out() {
        let start = Instant::now();
        let mut fdb = Fdb::new(1000, AGEING);
        for n in 0..1000 {
            fdb.learn(mac(n), port(1), start);
        }
        let later = start + AGEING;
        fdb.learn(mac(5000), port(2), later);
        assert_eq!(fdb.len(), 1000 - MAX_SWEPT + 1);
        // The rest goes before anything alive all the same, and without waiting for a time.
        for n in 5001..6000 {
            fdb.learn(mac(n), port(2), later);
        }
        assert_eq!((fdb.stations_on(port(1)), fdb.stations_on(port(2))), (0, 1000));
    }

    /// The obvious table: a list of stations in order of their last refresh.
    #[derive(Default)]
    struct Model {
        /// Station, port, tick of the last refresh; the latest refresh last.
        entries: Vec<(MacAddr, PortId, u32)>,
        epoch: Option<Instant>,
    }

    impl Model {
        fn on(&self, port: PortId) -> usize {
            self.entries.iter().filter(|entry| entry.1 == port).count()
        }

        fn learn(&mut self, station: MacAddr, port: PortId, now: Instant, size: usize) {
            let now = ticks(now - *self.epoch.get_or_insert(now));
            if let Some(at) = self.entries.iter().position(|entry| entry.0 == station) {
                let entry = self.entries[at];
                let fresh = now - entry.2 < MAX_REFRESH;
                if entry.1 == port && fresh {
                    return;
                }
                self.entries.remove(at);
            }
            if self.entries.len() >= size {
                let fullest = self.entries.iter().map(|e| (self.on(e.1), e.1)).max().unwrap();
                let own = self.on(port);
                let victim = if own > 0 && own + 1 >= fullest.0 { port } else { fullest.1 };
                let oldest = self.entries.iter().position(|entry| entry.1 == victim).unwrap();
                self.entries.remove(oldest);
            }
            self.entries.push((station, port, now));
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Learn(u32, u32),
        Close(u32),
        Wait(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            20 => (0..40u32, 1..6u32).prop_map(|(station, port)| Step::Learn(station, port)),
            1 => (1..6u32).prop_map(Step::Close),
            4 => (0..400u64).prop_map(Step::Wait),
        ]
    }

    proptest! {
        #[test]
        fn it_agrees_with_the_obvious_table(
            steps in prop::collection::vec(step(), 1..300),
            size in 1..20usize,
        ) {
            // Never long enough to age out: what leaves, leaves by the rule for a full table.
            let ageing = Duration::from_secs(100_000);
            let mut now = Instant::now();
            let mut fdb = Fdb::new(size, ageing);
            let mut model = Model::default();
            for step in steps {
                match step {
                    Step::Learn(station, on) => {
                        fdb.learn(mac(station), port(on), now);
                        model.learn(mac(station), port(on), now, size);
                    }
                    Step::Close(on) => {
                        fdb.forget_port(port(on));
                        model.entries.retain(|entry| entry.1 != port(on));
                    }
                    Step::Wait(millis) => now += Duration::from_millis(millis),
                }
                prop_assert!(fdb.len() <= size);
                prop_assert_eq!(fdb.len(), model.entries.len());
                for n in 0..40 {
                    let expected = model.entries.iter().find(|e| e.0 == mac(n)).map(|e| e.1);
                    prop_assert_eq!(fdb.port_of(mac(n), now), expected, "station {}", n);
                }
                let loads: usize = (1..6).map(|n| fdb.stations_on(port(n))).sum();
                prop_assert_eq!(loads, fdb.len());
                let holding = fdb.ports.iter().filter(|holder| holder.stations > 0).count();
                prop_assert_eq!(fdb.loads.len(), holding);
            }
        }
    }
}
