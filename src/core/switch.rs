//! The switch itself: where a frame goes, who must wait for whom, and what is counted.
//!
//! Pure: it owns no descriptor, reads no clock and does not log. Frames leave through a [`Wire`],
//! which the daemon implements with sockets and a test with a list.
//!
//! A frame is offered to its receiver at once. Only when that one is full is it copied into the
//! receiver's egress queue; who fills a queue may be made to wait, see [`super::backpressure`].

use std::time::{Duration, Instant};

use super::backpressure::{LEAST_DRAINED, TICK, Trust, Wait};
use super::counters::{PortCounters, RxDrop, TxDrop};
use super::egress::{EgressLimits, EgressQueue};
use super::fdb::Fdb;
use super::frame::Frame;
use super::frame_pool::FramePool;
use super::port_table::{NoPort, PortId, PortTable};

/// How long a frame may wait in a queue. A guest that was stopped for a few seconds finds what came
/// meanwhile; after a longer pause it gets nothing that its senders have long sent again, or forgotten.
/// TCP expects no segment to live for longer than two minutes (RFC 9293, section 3.4.1).
pub const MAX_AGE: Duration = Duration::from_secs(10);

/// What became of one copy of a frame that was offered to a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TxOutcome {
    /// The client has it, or its socket does.
    Sent,
    /// There is no room at the moment.
    Full,
    /// It cannot be delivered, now or later.
    Dropped(TxDrop),
}

/// The way out of the switch.
pub trait Wire {
    /// Gives one frame to the client of `to`. Must not block.
    fn transmit(&mut self, to: PortId, frame: &[u8]) -> TxOutcome;
}

/// Where a frame went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// To the port of its destination.
    Unicast(PortId),
    /// To every other port.
    Flood,
    /// Nowhere.
    Drop(RxDrop),
}

/// Whether the switch learns addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A frame to a known station goes to that station's port alone.
    Switch,
    /// Every frame goes to every other port; nothing is learnt.
    Hub,
}

/// The size and behaviour of a switch.
#[derive(Clone, Copy, Debug)]
pub struct SwitchConfig {
    /// Learning switch or hub.
    pub mode: Mode,
    /// Ports beside the uplink.
    pub max_ports: u32,
    /// Bytes of the longest frame that is carried.
    pub max_frame: usize,
    /// Stations that are remembered.
    pub fdb_size: usize,
    /// How long a silent station is remembered.
    pub ageing: Duration,
    /// Bounds of each port's egress queue.
    pub egress: EgressLimits,
}

/// What a port's kind means for forwarding.
#[derive(Clone, Copy, Debug)]
pub struct PortTraits {
    /// The port can be left unread for a while without anybody else being left unread with it.
    pub can_wait: bool,
}

/// Ports, stations, queues and counters.
#[derive(Debug)]
pub struct Switch {
    config: SwitchConfig,
    fdb: Fdb,
    ports: PortTable<Port>,
    pool: FramePool,
    /// Ports for which somebody is held, and those that were given up and have woken: how fast each
    /// drains is counted.
    watched: Vec<PortId>,
    /// Set while `watched` is not empty.
    next_tick: Option<Instant>,
    /// Sources that nobody holds any more and that the daemon has not been told of.
    released: Vec<PortId>,
    /// For [`Switch::spare`], empty between calls.
    overdue: Vec<PortId>,
    /// What the ports that have closed had counted, and what came from nobody's port.
    closed: PortCounters,
}

#[derive(Debug)]
struct Port {
    traits: PortTraits,
    counters: PortCounters,
    egress: EgressQueue,
    /// As a source.
    wait: Wait,
    /// As a receiver.
    trust: Trust,
}

impl Switch {
    /// A switch without ports.
    pub fn new(config: SwitchConfig) -> Self {
        Switch {
            fdb: Fdb::new(config.fdb_size, config.ageing),
            ports: PortTable::new(config.max_ports),
            pool: FramePool::new(config.max_frame),
            watched: Vec::new(),
            next_tick: None,
            released: Vec::new(),
            overdue: Vec::new(),
            closed: PortCounters::default(),
            config,
        }
    }

    /// The number that the next port would have, `wish` if that is given.
    ///
    /// # Errors
    /// [`NoPort`] when there is none to give.
    pub fn next_number(&self, wish: Option<u32>) -> Result<u32, NoPort> {
        self.ports.next_number(wish)
    }

    /// Opens a port, numbered `wish` if that is given.
    ///
    /// # Errors
    /// [`NoPort`] when there is none to give.
    pub fn open_port(
        &mut self,
        wish: Option<u32>,
        traits: PortTraits,
        now: Instant,
    ) -> Result<PortId, NoPort> {
        let port = Port {
            traits,
            counters: PortCounters::default(),
            egress: EgressQueue::new(self.config.egress),
            wait: Wait::new(now),
            trust: Trust::new(now),
        };
        self.ports.insert(wish, port)
    }

    /// Closes a port: what was learnt on it is forgotten, what waited for it is dropped, and whoever
    /// was held for it is released. Returns what it had counted, or `None` if it has gone already.
    pub fn close_port(&mut self, id: PortId) -> Option<PortCounters> {
        let mut port = self.ports.remove(id)?;
        let before = self.released.len();
        port.counters.tx_closed += port.egress.clear(&mut self.pool, &mut self.released);
        self.settle_released(before);
        self.fdb.forget_port(id);
        self.closed += port.counters;
        Some(port.counters)
    }

    /// Learns the sender of one frame that came in at `from`, and sends the frame on its way.
    ///
    /// A frame from a port that has gone goes nowhere and is not counted: it never came in.
    pub fn forward<W: Wire>(
        &mut self,
        from: PortId,
        bytes: &[u8],
        now: Instant,
        wire: &mut W,
    ) -> Verdict {
        let Some(port) = self.ports.get_mut(from) else {
            return Verdict::Drop(RxDrop::Stranger);
        };
        port.counters.rx_frames += 1;
        port.counters.rx_bytes += bytes.len() as u64;
        let verdict = match Frame::new(bytes) {
            None => Verdict::Drop(RxDrop::Runt),
            Some(_) if bytes.len() > self.config.max_frame => Verdict::Drop(RxDrop::Oversize),
            Some(frame) => self.decide(from, frame, now),
        };
        let Some(port) = self.ports.get_mut(from) else { return verdict };
        match verdict {
            Verdict::Unicast(to) => {
                port.counters.rx_unicast += 1;
                port.wait.note_destination(to, now);
                self.offer(from, to, bytes, now, wire);
            }
            Verdict::Flood => {
                port.counters.rx_flooded += 1;
                // Offering never opens or closes a port, so the places stay as they are.
                for place in 0..self.ports.len() {
                    let to = self.ports.ids()[place];
                    if to != from {
                        self.offer(from, to, bytes, now, wire);
                    }
                }
            }
            Verdict::Drop(reason) => port.counters.count_rx_drop(reason),
        }
        verdict
    }

    /// Counts `len` bytes that came in at `at` and are no frame, for this reason.
    pub fn refuse(&mut self, at: PortId, len: usize, reason: RxDrop) {
        if let Some(port) = self.ports.get_mut(at) {
            port.counters.rx_frames += 1;
            port.counters.rx_bytes += len as u64;
            port.counters.count_rx_drop(reason);
        }
    }

    /// Counts a datagram that came in by a socket which all ports share, from nobody who has a port.
    pub fn refuse_unknown(&mut self, len: usize) {
        self.closed.rx_frames += 1;
        self.closed.rx_bytes += len as u64;
        self.closed.count_rx_drop(RxDrop::Stranger);
    }

    /// Sends up to `budget` frames that wait for `id`, which is said to have room again. Returns
    /// true if it stopped at the budget and there is more.
    pub fn drain<W: Wire>(
        &mut self,
        id: PortId,
        budget: usize,
        now: Instant,
        wire: &mut W,
    ) -> bool {
        let Some(port) = self.ports.get_mut(id) else { return false };
        let before = self.released.len();
        let mut left = budget;
        while left > 0 {
            let Some((frame, since)) = port.egress.front() else { break };
            if now.saturating_duration_since(since) > MAX_AGE {
                port.counters.tx_stale += 1;
                port.egress.pop(&mut self.pool, &mut self.released);
                continue;
            }
            match wire.transmit(id, frame) {
                TxOutcome::Full => break,
                TxOutcome::Sent => {
                    port.counters.tx_frames += 1;
                    port.counters.tx_bytes += frame.len() as u64;
                    port.trust.note_drained(self.config.egress.weight(frame.len()));
                }
                TxOutcome::Dropped(reason) => port.counters.count_tx_drop(reason),
            }
            port.egress.pop(&mut self.pool, &mut self.released);
            left -= 1;
        }
        let more = left == 0 && !port.egress.is_empty();
        if port.egress.is_empty() {
            port.trust.note_empty();
        } else if port.trust.wake(now) {
            self.watch(id, now);
        }
        self.settle_released(before);
        more
    }

    /// When [`Switch::tick`] wants to be called; `None` while nobody is held and no receiver that was
    /// given up has woken.
    pub fn next_tick(&self) -> Option<Instant> {
        self.next_tick
    }

    /// Gives up receivers that are too slow for the sources held for them; but tries them first, for
    /// the kernel says that a socket has room only when it is down to a quarter.
    pub fn tick<W: Wire>(&mut self, now: Instant, wire: &mut W) {
        // While the switch itself was not run, no receiver could be given anything.
        let late = self.next_tick.map_or(Duration::ZERO, |due| now.saturating_duration_since(due));
        let mut place = 0;
        while let Some(&id) = self.watched.get(place) {
            if let Some(port) = self.ports.get_mut(id)
                && late > TICK
            {
                port.trust.excuse(late);
            }
            if self.look_at(id, now, wire) {
                place += 1;
            } else {
                self.watched.swap_remove(place);
            }
        }
        self.next_tick = (!self.watched.is_empty()).then(|| now + TICK);
    }

    /// True while `id` must not be read because a queue that it fills holds it.
    pub fn is_held(&self, id: PortId) -> bool {
        self.ports.get(id).is_some_and(|port| port.wait.is_held())
    }

    /// Takes one source that may be read again.
    pub fn next_released(&mut self) -> Option<PortId> {
        self.released.pop()
    }

    /// True if frames wait for `id`.
    pub fn has_queued(&self, id: PortId) -> bool {
        self.ports.get(id).is_some_and(|port| !port.egress.is_empty())
    }

    /// What `id` has counted.
    pub fn counters(&self, id: PortId) -> Option<&PortCounters> {
        self.ports.get(id).map(|port| &port.counters)
    }

    /// What all ports have counted, those included that have closed.
    pub fn totals(&self) -> PortCounters {
        let mut totals = self.closed;
        for &id in self.ports.ids() {
            if let Some(port) = self.ports.get(id) {
                totals += port.counters;
            }
        }
        totals
    }

    /// How many frames wait in all egress queues.
    pub fn queued(&self) -> usize {
        self.ports.ids().iter().filter_map(|&id| self.ports.get(id)).map(|p| p.egress.len()).sum()
    }

    /// The open ports, in no particular order.
    pub fn ports(&self) -> &[PortId] {
        self.ports.ids()
    }

    /// How many stations are known.
    pub fn stations(&self) -> usize {
        self.fdb.len()
    }

    fn decide(&mut self, from: PortId, frame: Frame<'_>, now: Instant) -> Verdict {
        if self.config.mode == Mode::Hub {
            return Verdict::Flood;
        }
        self.fdb.learn(frame.source(), from, now);
        let destination = frame.destination();
        if destination.is_group() {
            return Verdict::Flood;
        }
        match self.fdb.port_of(destination, now) {
            None => Verdict::Flood,
            Some(to) if to == from => Verdict::Drop(RxDrop::Hairpin),
            Some(to) => Verdict::Unicast(to),
        }
    }

    fn offer<W: Wire>(
        &mut self,
        from: PortId,
        to: PortId,
        frame: &[u8],
        now: Instant,
        wire: &mut W,
    ) {
        let Some(port) = self.ports.get_mut(to) else { return };
        port.counters.tx_offered += 1;
        if port.egress.is_empty() {
            match wire.transmit(to, frame) {
                TxOutcome::Sent => {
                    port.counters.tx_frames += 1;
                    port.counters.tx_bytes += frame.len() as u64;
                    return;
                }
                TxOutcome::Dropped(reason) => {
                    port.counters.count_tx_drop(reason);
                    return;
                }
                TxOutcome::Full => {}
            }
        }
        self.enqueue(from, to, frame, now);
    }

    fn enqueue(&mut self, from: PortId, to: PortId, frame: &[u8], now: Instant) {
        let source = self.ports.get(from);
        let can_wait = source.is_some_and(|source| source.traits.can_wait);
        let has_others = source.is_some_and(|source| source.wait.sends_to_others(now));
        let Some(port) = self.ports.get_mut(to) else { return };
        let before = self.released.len();
        port.counters.tx_queue_full +=
            port.egress.push(from, frame, now, &mut self.pool, &mut self.released);
        let wait = can_wait && port.trust.is_given() && !(has_others && port.trust.is_late(now));
        if wait && port.egress.park(from) {
            if port.trust.wait_for(now) {
                self.watch(to, now);
            }
            if let Some(source) = self.ports.get_mut(from) {
                source.wait.hold(now);
            }
        }
        self.settle_released(before);
    }

    /// Looks at `id` at every tick from now on.
    fn watch(&mut self, id: PortId, now: Instant) {
        self.watched.push(id);
        self.next_tick.get_or_insert(now + TICK);
    }

    /// Looks at a watched port; returns whether to go on watching.
    fn look_at<W: Wire>(&mut self, id: PortId, now: Instant, wire: &mut W) -> bool {
        self.spare(id, now);
        let Some(port) = self.ports.get(id) else { return false };
        if !port.trust.is_due(now) {
            return true;
        }
        if port.trust.is_given() {
            self.drain(id, LEAST_DRAINED as usize, now, wire);
        }
        let Some(port) = self.ports.get_mut(id) else { return false };
        let before = self.released.len();
        let go_on = port.trust.judge(now, port.egress.parked(), port.egress.is_empty());
        if !port.trust.is_given() {
            port.egress.release_all(&mut self.released);
        }
        self.settle_released(before);
        go_on
    }

    /// Releases the sources held for `id` that have waited for long enough.
    fn spare(&mut self, id: PortId, now: Instant) {
        let Some(port) = self.ports.get(id) else { return };
        let overdue = port.egress.parked_sources().filter(|&source| {
            self.ports.get(source).is_some_and(|source| source.wait.is_overdue(now))
        });
        self.overdue.extend(overdue);
        let Some(port) = self.ports.get_mut(id) else { return };
        let before = self.released.len();
        for source in self.overdue.drain(..) {
            port.egress.release(source, &mut self.released);
            port.trust.note_late(now);
        }
        self.settle_released(before);
    }

    /// Goes through the releases from `released[from..]` on: each is of one queue, and the source is
    /// free only when no other queue holds it.
    fn settle_released(&mut self, from: usize) {
        let mut place = from;
        while let Some(&source) = self.released.get(place) {
            let free = match self.ports.get_mut(source) {
                None => false,
                Some(port) => port.wait.release(),
            };
            if free {
                place += 1;
            } else {
                self.released.swap_remove(place);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, VecDeque};

    use proptest::prelude::*;

    use super::super::backpressure::{BRIEFLY, PATIENCE};
    use super::*;

    /// Clients of which each takes frames until it has as many as it has room for.
    #[derive(Default)]
    struct Clients {
        room: HashMap<u32, usize>,
        got: HashMap<u32, VecDeque<Vec<u8>>>,
        gone: Vec<u32>,
    }

    impl Clients {
        fn got(&self, port: PortId) -> usize {
            self.got.get(&port.number()).map_or(0, VecDeque::len)
        }

        fn give_room(&mut self, port: PortId, frames: usize) {
            *self.room.entry(port.number()).or_default() += frames;
        }
    }

    impl Wire for Clients {
        fn transmit(&mut self, to: PortId, frame: &[u8]) -> TxOutcome {
            if self.gone.contains(&to.number()) {
                return TxOutcome::Dropped(TxDrop::NoReceiver);
            }
            let room = self.room.entry(to.number()).or_default();
            if *room == 0 {
                return TxOutcome::Full;
            }
            *room -= 1;
            self.got.entry(to.number()).or_default().push_back(frame.to_vec());
            TxOutcome::Sent
        }
    }

    const UNLIMITED: usize = usize::MAX / 2;

    struct Bench {
        switch: Switch,
        clients: Clients,
        ports: Vec<PortId>,
        now: Instant,
    }

    impl Bench {
        fn new(mode: Mode, ports: usize) -> Self {
            Self::with_max_frame(mode, ports, 1518)
        }

        fn with_max_frame(mode: Mode, ports: usize, max_frame: usize) -> Self {
            let config = SwitchConfig {
                mode,
                max_ports: 64,
                max_frame,
                fdb_size: 16,
                ageing: Duration::from_secs(100),
                egress: EgressLimits::default(),
            };
            let now = Instant::now();
            let mut bench = Bench {
                switch: Switch::new(config),
                clients: Clients::default(),
                ports: Vec::new(),
                now,
            };
            for _ in 0..ports {
                let id = bench.switch.open_port(None, PortTraits { can_wait: true }, now).unwrap();
                bench.clients.give_room(id, UNLIMITED);
                bench.ports.push(id);
            }
            bench
        }

        fn send(&mut self, from: usize, frame: &[u8]) -> Verdict {
            self.switch.forward(self.ports[from], frame, self.now, &mut self.clients)
        }

        /// Lets every station be known where it is.
        fn introduce_all(&mut self) {
            for n in 0..self.ports.len() {
                self.send(n, &frame(0xff, n as u8, 60));
            }
            self.clients.got.clear();
        }

        fn stop(&mut self, port: usize) {
            self.clients.room.insert(self.ports[port].number(), 0);
        }

        fn held(&self, port: usize) -> bool {
            self.switch.is_held(self.ports[port])
        }

        fn wait(&mut self, time: Duration) {
            let until = self.now + time;
            while self.now < until {
                self.now += TICK;
                self.switch.tick(self.now, &mut self.clients);
            }
        }

        fn check_sums(&self) {
            let totals = self.switch.totals();
            assert_eq!(
                totals.rx_frames,
                totals.rx_unicast + totals.rx_flooded + totals.rx_dropped()
            );
            let queued = self.switch.queued() as u64;
            assert_eq!(totals.tx_offered, totals.tx_frames + totals.tx_dropped() + queued);
        }
    }

    /// A frame from station `source` to station `destination`; station 0xff is everybody.
    fn frame(destination: u8, source: u8, len: usize) -> Vec<u8> {
        let mut frame = vec![0; len];
        frame[..6].copy_from_slice(&[2, 0, 0, 0, 0, destination]);
        if destination == 0xff {
            frame[..6].fill(0xff);
        }
        frame[6..12].copy_from_slice(&[2, 0, 0, 0, 0, source]);
        frame
    }

    #[test]
    fn unknown_destinations_are_flooded_and_known_ones_are_not() {
        let mut b = Bench::new(Mode::Switch, 3);
        assert_eq!(b.send(0, &frame(1, 0, 60)), Verdict::Flood);
        assert_eq!(b.send(1, &frame(0, 1, 60)), Verdict::Unicast(b.ports[0]));
        assert_eq!(b.send(0, &frame(1, 0, 60)), Verdict::Unicast(b.ports[1]));
        let got: Vec<_> = b.ports.iter().map(|&port| b.clients.got(port)).collect();
        assert_eq!(got, [1, 2, 1]);
        b.check_sums();
    }

    #[test]
    fn a_hub_sends_every_frame_to_every_other_port() {
        let mut b = Bench::new(Mode::Hub, 3);
        b.send(0, &frame(1, 0, 60));
        b.send(1, &frame(0, 1, 60));
        b.send(1, &frame(1, 1, 60));
        let got: Vec<_> = b.ports.iter().map(|&port| b.clients.got(port)).collect();
        assert_eq!(got, [2, 1, 3]);
        assert_eq!(b.switch.stations(), 0);
    }

    #[test]
    fn hairpins_runts_and_giants_are_dropped_by_name() {
        let mut b = Bench::new(Mode::Switch, 2);
        b.introduce_all();
        assert_eq!(b.send(0, &frame(0, 0, 60)), Verdict::Drop(RxDrop::Hairpin));
        assert_eq!(b.send(0, &frame(1, 0, 60)[..13]), Verdict::Drop(RxDrop::Runt));
        assert_eq!(b.send(0, &[]), Verdict::Drop(RxDrop::Runt));
        assert_eq!(b.send(0, &frame(1, 0, 1519)), Verdict::Drop(RxDrop::Oversize));
        assert_eq!(b.send(0, &frame(1, 0, 1518)), Verdict::Unicast(b.ports[1]));
        assert_eq!(b.send(0, &frame(1, 0, 14)), Verdict::Unicast(b.ports[1]));
        let totals = b.switch.totals();
        assert_eq!((totals.rx_hairpin, totals.rx_runt, totals.rx_oversize), (1, 2, 1));
        assert_eq!(b.clients.got(b.ports[0]), 0, "nothing comes back to the sender");
        b.check_sums();
    }

    #[test]
    fn a_closed_port_neither_sends_nor_receives() {
        let mut b = Bench::new(Mode::Switch, 3);
        b.introduce_all();
        b.switch.close_port(b.ports[1]);
        assert_eq!(b.send(0, &frame(1, 0, 60)), Verdict::Flood);
        assert_eq!(b.clients.got(b.ports[1]), 0);
        assert_eq!(b.send(1, &frame(0, 1, 60)), Verdict::Drop(RxDrop::Stranger));
        assert!(b.switch.close_port(b.ports[1]).is_none());
        b.check_sums();
    }

    #[test]
    fn a_gone_receiver_is_a_counter() {
        let mut b = Bench::new(Mode::Switch, 2);
        b.introduce_all();
        b.clients.gone.push(b.ports[1].number());
        b.send(0, &frame(1, 0, 60));
        assert_eq!(b.switch.counters(b.ports[1]).unwrap().tx_no_receiver, 1);
        b.check_sums();
    }

    #[test]
    fn a_source_is_held_while_its_receiver_catches_up_and_loses_nothing() {
        let mut b = Bench::new(Mode::Switch, 2);
        b.introduce_all();
        b.stop(1);
        let mut sent = 0;
        while !b.held(0) {
            b.send(0, &frame(1, 0, 100));
            sent += 1;
        }
        assert_eq!(sent, 128);
        b.clients.give_room(b.ports[1], 63);
        b.switch.drain(b.ports[1], 1000, b.now, &mut b.clients);
        assert!(b.held(0));
        b.clients.give_room(b.ports[1], 1);
        b.switch.drain(b.ports[1], 1000, b.now, &mut b.clients);
        assert!(!b.held(0));
        assert_eq!(b.switch.next_released(), Some(b.ports[0]));
        b.clients.give_room(b.ports[1], UNLIMITED);
        b.switch.drain(b.ports[1], 1000, b.now, &mut b.clients);
        assert_eq!(b.clients.got(b.ports[1]), sent);
        b.check_sums();
    }

    #[test]
    fn a_stopped_receiver_holds_its_source_for_a_bounded_time_and_then_nobody() {
        let mut b = Bench::new(Mode::Switch, 3);
        b.introduce_all();
        b.stop(1);
        while !b.held(0) {
            b.send(0, &frame(1, 0, 100));
        }
        b.wait(PATIENCE + TICK);
        assert!(!b.held(0));
        for _ in 0..10_000 {
            b.send(0, &frame(1, 0, 100));
            assert!(!b.held(0));
        }
        assert_eq!(b.switch.queued(), EgressLimits::default().frames);
        assert_eq!(b.switch.next_tick(), None, "there is nothing to look at until it wakes");
        b.check_sums();
        // It wakes: it gets the newest of what came, in order, and is trusted again.
        b.clients.give_room(b.ports[1], UNLIMITED);
        while b.switch.drain(b.ports[1], 8, b.now, &mut b.clients) {}
        assert_eq!(b.clients.got(b.ports[1]), EgressLimits::default().frames);
        b.stop(1);
        while !b.held(0) {
            b.send(0, &frame(1, 0, 100));
        }
        b.check_sums();
    }

    #[test]
    fn a_receiver_that_was_given_up_is_trusted_again_when_it_drains_fast_enough() {
        let mut b = Bench::new(Mode::Switch, 2);
        b.introduce_all();
        b.stop(1);
        let fill = |b: &mut Bench| {
            while b.switch.queued() < EgressLimits::default().frames && !b.held(0) {
                b.send(0, &frame(1, 0, 100));
            }
        };
        fill(&mut b);
        b.wait(PATIENCE + TICK);
        // One frame a tick is too slow, however long it goes on and however full the queue is kept.
        for frames in [1; 20].into_iter().chain([60; 10]) {
            fill(&mut b);
            assert!(!b.held(0) || frames == 60);
            b.clients.give_room(b.ports[1], frames);
            b.switch.drain(b.ports[1], 1000, b.now, &mut b.clients);
            assert!(b.switch.next_tick().is_some(), "it has woken");
            b.wait(TICK);
        }
        // A tick more or less, a whole window has been fast.
        fill(&mut b);
        assert!(b.held(0), "60 frames a tick are fast enough");
        b.check_sums();
    }

    #[test]
    fn a_pause_of_the_switch_is_not_held_against_a_receiver() {
        let mut b = Bench::new(Mode::Switch, 2);
        b.introduce_all();
        b.stop(1);
        while !b.held(0) {
            b.send(0, &frame(1, 0, 100));
        }
        b.clients.give_room(b.ports[1], 11);
        b.now += 10 * PATIENCE;
        b.switch.tick(b.now, &mut b.clients);
        assert!(b.held(0), "it has had no chance yet");
        b.wait(PATIENCE);
        assert!(!b.held(0), "it has had one");
        b.check_sums();
    }

    #[test]
    fn a_receiver_of_long_frames_is_trusted_by_what_it_drains() {
        let mut b = Bench::with_max_frame(Mode::Switch, 2, 9018);
        b.introduce_all();
        b.stop(1);
        for _ in 0..100 {
            while !b.held(0) {
                b.send(0, &frame(1, 0, 9014));
                assert_eq!(b.switch.totals().tx_queue_full, 0);
            }
            // 11 frames that count as 6 each are fast enough, 12 lie between the marks.
            b.clients.give_room(b.ports[1], 11);
            b.wait(PATIENCE);
            assert!(b.held(0));
            b.clients.give_room(b.ports[1], 1);
            b.switch.drain(b.ports[1], 1, b.now, &mut b.clients);
            assert!(!b.held(0));
        }
        b.check_sums();
    }

    #[test]
    fn a_crawling_receiver_is_given_up_too() {
        let mut b = Bench::new(Mode::Switch, 2);
        b.introduce_all();
        b.stop(1);
        let mut held_for = Duration::ZERO;
        for _ in 0..1000 {
            while !b.held(0) && b.clients.got(b.ports[1]) < 1000 && held_for < PATIENCE * 3 {
                b.send(0, &frame(1, 0, 100));
                if b.switch.queued() == EgressLimits::default().frames {
                    break;
                }
            }
            if b.held(0) {
                held_for += TICK;
            }
            b.clients.give_room(b.ports[1], 1);
            b.switch.drain(b.ports[1], 8, b.now, &mut b.clients);
            b.wait(TICK);
        }
        assert!(held_for <= PATIENCE + TICK, "held for {held_for:?} by one frame every {TICK:?}");
    }

    #[test]
    fn a_source_of_a_few_frames_is_not_held_for_a_receiver_that_others_fill() {
        let mut b = Bench::new(Mode::Switch, 3);
        b.introduce_all();
        b.stop(2);
        while !b.held(0) {
            b.send(0, &frame(2, 0, 1000));
        }
        for _ in 0..10 {
            b.send(1, &frame(2, 1, 80));
        }
        assert!(!b.held(1));
    }

    #[test]
    fn a_source_that_also_sends_to_others_waits_briefly() {
        let mut b = Bench::new(Mode::Switch, 3);
        b.introduce_all();
        b.stop(1);
        for to in [1, 2] {
            b.send(0, &frame(to, 0, 80));
        }
        while !b.held(0) {
            b.send(0, &frame(1, 0, 100));
        }
        b.wait(BRIEFLY);
        assert!(!b.held(0));
        // Once more at the most, until the receiver has been given up.
        let mut held = BRIEFLY;
        while b.switch.next_tick().is_some() {
            b.send(0, &frame(1, 0, 100));
            held += if b.held(0) { TICK } else { Duration::ZERO };
            b.wait(TICK);
        }
        assert!(held <= 2 * BRIEFLY, "{held:?}");
        for _ in 0..1000 {
            b.send(0, &frame(1, 0, 100));
            assert!(!b.held(0));
        }
        b.check_sums();
    }

    #[test]
    fn who_is_not_held_for_a_late_receiver_still_waits_for_others() {
        let mut b = Bench::new(Mode::Switch, 3);
        b.introduce_all();
        b.stop(1);
        b.stop(2);
        for to in [1, 2] {
            b.send(0, &frame(to, 0, 80));
        }
        while !b.held(0) {
            b.send(0, &frame(1, 0, 100));
        }
        b.wait(BRIEFLY);
        assert!(!b.held(0), "the one has had its time");
        for _ in 0..128 {
            b.send(0, &frame(1, 0, 100));
        }
        assert!(!b.held(0), "and does not hold it again");
        while !b.held(0) {
            b.send(0, &frame(2, 0, 100));
        }
        assert_eq!(b.switch.totals().tx_queue_full, 0, "the other loses nothing");
    }

    #[test]
    fn a_receiver_that_reads_just_fast_enough_holds_who_sends_to_others_ever_more_rarely() {
        let mut b = Bench::new(Mode::Switch, 3);
        b.introduce_all();
        b.stop(1);
        let mut held = 0;
        for tick in 0..1000 {
            b.send(0, &frame(2, 0, 80));
            for _ in 0..200 {
                if b.held(0) {
                    break;
                }
                b.send(0, &frame(1, 0, 100));
            }
            held += usize::from(b.held(0));
            if tick % 4 == 0 {
                b.clients.give_room(b.ports[1], 64);
                b.switch.drain(b.ports[1], 1000, b.now, &mut b.clients);
            }
            b.wait(TICK);
        }
        assert!((2..=30).contains(&held), "held in {held} of 1000 ticks");
    }

    #[test]
    fn a_frame_that_has_waited_for_too_long_is_not_delivered() {
        let mut b = Bench::new(Mode::Switch, 2);
        b.introduce_all();
        b.stop(1);
        for _ in 0..20 {
            b.send(0, &frame(1, 0, 100));
        }
        b.now += MAX_AGE / 2;
        for _ in 0..30 {
            b.send(0, &frame(1, 0, 200));
        }
        b.now += MAX_AGE / 2 + TICK;
        b.clients.give_room(b.ports[1], UNLIMITED);
        while b.switch.drain(b.ports[1], 8, b.now, &mut b.clients) {}
        let got = &b.clients.got[&b.ports[1].number()];
        assert!(got.len() == 30 && got.iter().all(|frame| frame.len() == 200));
        assert_eq!(b.switch.counters(b.ports[1]).unwrap().tx_stale, 20);
        b.check_sums();
    }

    #[test]
    fn a_source_held_by_two_waits_for_both() {
        let mut b = Bench::new(Mode::Switch, 3);
        b.introduce_all();
        b.stop(1);
        b.stop(2);
        while !b.held(0) {
            b.send(0, &frame(0xff, 0, 100));
        }
        b.clients.give_room(b.ports[1], UNLIMITED);
        b.switch.drain(b.ports[1], 1000, b.now, &mut b.clients);
        assert!(b.held(0));
        b.switch.close_port(b.ports[2]);
        assert!(!b.held(0));
        assert_eq!(b.switch.next_released(), Some(b.ports[0]));
        assert_eq!(b.switch.next_released(), None);
        b.check_sums();
    }

    #[derive(Clone, Debug)]
    enum Step {
        Send { from: usize, to: u8, source: u8, len: usize },
        Room { port: usize, frames: usize },
        Gone { port: usize },
        Reopen { port: usize },
        Wait { millis: u64 },
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            60 => (0..5usize, prop_oneof![0..8u8, Just(0xff)], 0..8u8, 0..1600usize)
                .prop_map(|(from, to, source, len)| Step::Send { from, to, source, len }),
            10 => (0..5usize, 0..100usize).prop_map(|(port, frames)| Step::Room { port, frames }),
            1 => (0..5usize).prop_map(|port| Step::Gone { port }),
            3 => (0..5usize).prop_map(|port| Step::Reopen { port }),
            5 => (0..40u64).prop_map(|millis| Step::Wait { millis }),
        ]
    }

    proptest! {
        /// Whatever guests do: every frame is accounted for, nobody gets its own frame back, and
        /// nobody is held for longer than the bound.
        #[test]
        fn every_frame_is_accounted_for(steps in prop::collection::vec(step(), 1..600)) {
            let mut b = Bench::new(Mode::Switch, 5);
            for port in 0..5 {
                b.clients.room.insert(b.ports[port].number(), 20);
            }
            for step in steps {
                match step {
                    Step::Send { from, to, source, len } => {
                        if b.held(from) {
                            continue;
                        }
                        let before = b.clients.got(b.ports[from]);
                        let mut bytes = frame(to, source, len.max(14));
                        bytes.truncate(len);
                        let verdict = b.send(from, &bytes);
                        prop_assert_ne!(verdict, Verdict::Unicast(b.ports[from]));
                        prop_assert_eq!(b.clients.got(b.ports[from]), before);
                    }
                    Step::Room { port, frames } => {
                        b.clients.give_room(b.ports[port], frames);
                        b.switch.drain(b.ports[port], 8, b.now, &mut b.clients);
                    }
                    Step::Gone { port } => b.clients.gone.push(b.ports[port].number()),
                    Step::Reopen { port } => {
                        b.switch.close_port(b.ports[port]);
                        let traits = PortTraits { can_wait: port != 4 };
                        b.ports[port] = b.switch.open_port(None, traits, b.now).unwrap();
                        b.clients.gone.retain(|&gone| gone != b.ports[port].number());
                    }
                    Step::Wait { millis } => b.wait(Duration::from_millis(millis)),
                }
                b.check_sums();
                prop_assert!(b.switch.stations() <= 16);
            }
            // Nobody reads any more: by and by all are let go.
            b.wait((PATIENCE + TICK) * 2);
            for port in 0..5 {
                prop_assert!(!b.held(port));
            }
        }
    }
}
