//! The forwarding database: which station is behind which port.
//!
//! One index answers "where is this address"; beside it every port has a least-recently-used list of
//! its own stations. The whole is bounded: when it is full, the port that holds most stations gives
//! up its oldest. A guest that invents a million source addresses therefore only ever pushes out its
//! own.
//!
//! A station's time is written at most once per [`Fdb::refresh`] interval (a sixteenth of the ageing
//! time, a second at the most), so that a busy station costs one look-up a frame and not a move in
//! a list. It is forgotten up to that much early, never late.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use lru::LruCache;

use super::frame::MacAddr;
use super::port_table::PortId;

/// Station to port, with age and a bound.
#[derive(Debug)]
pub struct Fdb {
    index: HashMap<MacAddr, Entry, RandomState>,
    /// The stations of each port that has any, least recently refreshed last.
    by_port: HashMap<PortId, LruCache<MacAddr, (), RandomState>, RandomState>,
    /// `(stations, port)` of each port in `by_port`: its last is the port that gives first.
    loads: BTreeSet<(usize, PortId)>,
    capacity: usize,
    ageing: Duration,
    refresh: Duration,
    /// When a full table is next searched for entries that have aged out.
    next_sweep: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    port: PortId,
    seen: Instant,
}

impl Fdb {
    /// An empty table for `capacity` stations (at least one), each forgotten when it has sent
    /// nothing for `ageing`.
    pub fn new(capacity: usize, ageing: Duration) -> Self {
        let capacity = capacity.max(1);
        Fdb {
            // Seeded per process: the addresses come from guests, who must not find collisions.
            index: HashMap::with_capacity_and_hasher(capacity, RandomState::default()),
            by_port: HashMap::default(),
            loads: BTreeSet::new(),
            capacity,
            ageing,
            refresh: (ageing / 16).min(MAX_REFRESH),
            next_sweep: None,
        }
    }

    /// Notes that `station` sent a frame by `port`. An address that is no station's is not learnt.
    pub fn learn(&mut self, station: MacAddr, port: PortId, now: Instant) {
        if let Some(entry) = self.index.get_mut(&station) {
            if entry.port == port {
                if now.saturating_duration_since(entry.seen) < self.refresh {
                    return;
                }
                entry.seen = now;
                if let Some(stations) = self.by_port.get_mut(&port) {
                    stations.promote(&station);
                }
                return;
            }
            self.forget(station);
        }
        if station.is_station() {
            self.make_room(port, now);
            self.index.insert(station, Entry { port, seen: now });
            self.change_load(port, |stations| {
                stations.put(station, ());
            });
        }
    }

    /// The port behind which `station` was seen within the ageing time.
    pub fn port_of(&self, station: MacAddr, now: Instant) -> Option<PortId> {
        let entry = self.index.get(&station)?;
        (now.saturating_duration_since(entry.seen) < self.ageing).then_some(entry.port)
    }

    /// Forgets every station that was learnt on `port`, and nothing else.
    pub fn forget_port(&mut self, port: PortId) {
        if let Some(stations) = self.by_port.remove(&port) {
            self.loads.remove(&(stations.len(), port));
            for (station, ()) in &stations {
                self.index.remove(station);
            }
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
        self.by_port.get(&port).map_or(0, |stations| stations.len())
    }

    fn forget(&mut self, station: MacAddr) {
        if let Some(entry) = self.index.remove(&station) {
            self.change_load(entry.port, |stations| {
                stations.pop(&station);
            });
        }
    }

    /// Makes sure that `port` can be given one more station.
    fn make_room(&mut self, port: PortId, now: Instant) {
        if self.index.len() < self.capacity {
            return;
        }
        if self.next_sweep.is_none_or(|due| now >= due) {
            self.next_sweep = self.sweep(now).then(|| now + MAX_REFRESH);
            if self.index.len() < self.capacity {
                return;
            }
        }
        // The newcomer counts: of two ports that hold as much, the one that wants more gives.
        let own = self.stations_on(port);
        let victim = match self.loads.last() {
            Some(&(most, heaviest)) if own == 0 || own + 1 < most => heaviest,
            _ => port,
        };
        let oldest = self.by_port.get(&victim).and_then(|stations| stations.peek_lru());
        if let Some((&station, ())) = oldest {
            self.forget(station);
        }
    }

    /// Forgets what has aged out, up to [`MAX_SWEPT`] stations: it is one frame that waits for this.
    /// Returns true if that was all. Costs one look at each port beside what it forgets.
    fn sweep(&mut self, now: Instant) -> bool {
        let mut left = MAX_SWEPT;
        let ports: Vec<PortId> = self.by_port.keys().copied().collect();
        for port in ports {
            while let Some((&station, ())) = self.by_port.get(&port).and_then(|s| s.peek_lru())
                && self.port_of(station, now).is_none()
            {
                if left == 0 {
                    return false;
                }
                left -= 1;
                self.forget(station);
            }
        }
        true
    }

    /// Changes the stations of `port` and keeps `loads` true to them.
    fn change_load(
        &mut self,
        port: PortId,
        change: impl FnOnce(&mut LruCache<MacAddr, (), RandomState>),
    ) {
        let stations = self
            .by_port
            .entry(port)
            .or_insert_with(|| LruCache::unbounded_with_hasher(RandomState::default()));
        let before = stations.len();
        change(stations);
        let after = stations.len();
        self.loads.remove(&(before, port));
        if after == 0 {
            self.by_port.remove(&port);
        } else {
            self.loads.insert((after, port));
        }
    }
}

/// The longest time for which a station's age may lag behind, and the shortest between two sweeps.
const MAX_REFRESH: Duration = Duration::from_secs(1);

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
        /// Station, port, time of the last refresh; the latest refresh last.
        entries: Vec<(MacAddr, PortId, Instant)>,
    }

    impl Model {
        fn on(&self, port: PortId) -> usize {
            self.entries.iter().filter(|entry| entry.1 == port).count()
        }

        fn learn(&mut self, station: MacAddr, port: PortId, now: Instant, size: usize) {
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
                prop_assert_eq!(fdb.loads.len(), fdb.by_port.len());
            }
        }
    }
}
