//! The switch itself: where a frame goes, who must wait for whom, and what is counted.
//!
//! Pure: it owns no descriptor, reads no clock and does not log. Frames leave through a [`Wire`],
//! which the daemon implements with sockets and a test with a list.
//!
//! A frame is offered to its receiver at once. Only when that one is full is it copied into the
//! receiver's egress queue; who fills a queue may be made to wait, see [`holding`].

mod holding;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use super::backpressure::{Trust, Wait};
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
}
