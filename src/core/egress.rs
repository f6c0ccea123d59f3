//! The egress queue of one port: what it could not be sent yet.
//!
//! Frames leave by turns of two levels ([`Turns`]): first among the ports that they came from, then
//! among that port's flows ([`FlowId`]). So one guest's bulk does not hold up another's few small
//! frames, nor its own; and a guest gains nothing over others by making up many flows. Within a flow
//! the order of arrival is kept.
//!
//! The queue is bounded in frames and bytes. A frame that finds no room pushes out the oldest frame
//! of the longest flow of the port that holds most, of frames or of bytes, whichever has run out: bulk
//! pays, not the small flow. Nothing is dropped before that, as an active queue management such as CoDel
//! would do it: a sender that can wait is made to, which costs it no frame, and others pass it anyway.

use std::collections::HashMap;
use std::time::Instant;

use slab::Slab;

use super::fifo::{Fifo, Linked};
use super::flow::FlowId;
use super::frame_pool::FramePool;
use super::port_table::PortId;
use super::turns::{Member, Standing, Turns};

/// The bounds of a queue and the marks at which sources are held and released.
#[derive(Clone, Copy, Debug)]
pub struct EgressLimits {
    /// Frames that may wait. It bounds how long sources feel a receiver that was slow.
    pub frames: usize,
    /// Bytes that may wait.
    pub bytes: usize,
    /// Queued frames from which on a source that fills the queue is held; long frames count as
    /// several, see [`EgressLimits::weight`].
    pub park_at: usize,
    /// Queued frames at which held sources are released, counted likewise.
    pub release_at: usize,
}

impl EgressLimits {
    /// As how many frames `len` bytes of one frame count: one up to an even share of the queue's
    /// bytes, 1536 by default. The bytes of a queue of longer frames are used up before a mark that
    /// only counts them is reached, and nobody would ever be held for it.
    pub fn weight(&self, len: usize) -> usize {
        let share = len * self.frames;
        // Nearly all frames; a division costs more than the rest of what is counted for one.
        if share <= self.bytes { 1 } else { share.div_ceil(self.bytes.max(1)) }
    }
}

/// What was settled with prototypes against the C switch, at `max_dgram_qlen` 10 and 512.
impl Default for EgressLimits {
    fn default() -> Self {
        EgressLimits { frames: 512, bytes: 768 << 10, park_at: 128, release_at: 64 }
    }
}

/// Frames that wait for one port, and which of their sources are held for it.
#[derive(Debug)]
pub struct EgressQueue {
    limits: EgressLimits,
    frames: Slab<Waiting>,
    flows: Slab<Flow>,
    sources: Slab<Source>,
    /// Where a flow is in `flows`.
    flow_places: HashMap<FlowId, usize, foldhash::fast::RandomState>,
    /// Where a port is in `sources`.
    source_places: HashMap<PortId, usize, foldhash::fast::RandomState>,
    /// Of the sources; each has its own for its flows.
    turns: Turns,
    /// The flow that [`EgressQueue::front`] has named, until something changes.
    named: Option<usize>,
    load: Load,
    /// How many sources have frames.
    busy: usize,
    parked: usize,
}

/// What waits: in all, of one port, or of one flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Load {
    frames: usize,
    bytes: usize,
    /// What all frames count against the marks.
    weight: usize,
}

#[derive(Debug)]
struct Waiting {
    frame: Vec<u8>,
    since: Instant,
    next: Option<usize>,
}

#[derive(Debug)]
struct Flow {
    id: FlowId,
    /// Its place in `sources`.
    source: usize,
    frames: Fifo,
    load: Load,
    standing: Standing,
}

#[derive(Debug)]
struct Source {
    port: PortId,
    turns: Turns,
    load: Load,
    standing: Standing,
    /// It is not read until what is its own here, or the queue, has shrunk.
    parked: bool,
}

impl EgressQueue {
    /// An empty queue. Nothing is allocated until a frame has to wait.
    pub fn new(limits: EgressLimits) -> Self {
        EgressQueue {
            limits,
            frames: Slab::new(),
            flows: Slab::new(),
            sources: Slab::new(),
            flow_places: HashMap::default(),
            source_places: HashMap::default(),
            turns: Turns::default(),
            named: None,
            load: Load::default(),
            busy: 0,
            parked: 0,
        }
    }

    /// How many frames wait.
    pub fn len(&self) -> usize {
        self.load.frames
    }

    /// True if no frame waits.
    pub fn is_empty(&self) -> bool {
        self.load.frames == 0
    }

    /// How many sources are held for this port.
    pub fn parked(&self) -> usize {
        self.parked
    }

    /// Queues a copy of `frame`, which came in at `source`, and returns how many frames that pushed
    /// out; sources that this released are added to `released`.
    pub fn push(
        &mut self,
        source: PortId,
        frame: &[u8],
        now: Instant,
        pool: &mut FramePool,
        released: &mut Vec<PortId>,
    ) -> u64 {
        self.named = None;
        let flow_at = self.flow_of(FlowId::of(source, frame));
        let waiting = Waiting { frame: pool.copy_of(frame), since: now, next: None };
        let frame_at = self.frames.insert(waiting);
        let weight = self.limits.weight(frame.len());
        let flow = &mut self.flows[flow_at];
        flow.frames.push(&mut self.frames, frame_at);
        flow.load.add(frame.len(), weight);
        let source = &mut self.sources[flow.source];
        if source.load.frames == 0 {
            self.busy += 1;
        }
        source.load.add(frame.len(), weight);
        self.load.add(frame.len(), weight);
        let mut pushed_out = 0;
        while self.load.frames > self.limits.frames || self.load.bytes > self.limits.bytes {
            let Some(longest) = self.longest_flow() else { break };
            self.take_from(longest, pool, released);
            pushed_out += 1;
        }
        pushed_out
    }

    /// The next frame to send, and since when it has been waiting. Asking again without
    /// [`EgressQueue::pop`] may name another one, if a new flow has come in between.
    pub fn front(&mut self) -> Option<(&[u8], Instant)> {
        self.named = self.next_flow();
        let waiting = &self.frames[self.flows[self.named?].frames.first()?];
        Some((&waiting.frame, waiting.since))
    }

    /// Takes the frame that [`EgressQueue::front`] names; sources that this released are added to
    /// `released`.
    pub fn pop(&mut self, pool: &mut FramePool, released: &mut Vec<PortId>) {
        if let Some(at) = self.named.take().or_else(|| self.next_flow()) {
            let source = self.flows[at].source;
            let taken = self.take_from(at, pool, released);
            Turns::charge(&mut self.flows, at, taken);
            Turns::charge(&mut self.sources, source, taken);
            if self.load.weight <= self.limits.release_at {
                self.release_all(released);
            }
            if self.is_empty() {
                self.forget_flows();
            }
        }
    }

    /// Holds `source` if it is one that fills this queue: the queue is over its mark and the source
    /// has at least an even share of that waiting here. One that sends a few frames to a receiver
    /// that others have filled is not held. Returns true if the source was not held before and now
    /// is.
    pub fn park(&mut self, source: PortId) -> bool {
        if self.load.weight < self.limits.park_at {
            return false;
        }
        let share = self.limits.park_at.div_ceil(self.busy.max(1));
        let Some(&at) = self.source_places.get(&source) else { return false };
        let source = &mut self.sources[at];
        if source.parked || source.load.weight < share {
            return false;
        }
        source.parked = true;
        self.parked += 1;
        true
    }

    /// The sources that are held here.
    pub fn parked_sources(&self) -> impl Iterator<Item = PortId> {
        // Mostly nobody is.
        let sources = (self.parked > 0).then(|| self.sources.iter()).into_iter().flatten();
        sources.filter(|(_, source)| source.parked).map(|(_, source)| source.port)
    }

    /// Releases `source` if it is held here.
    pub fn release(&mut self, source: PortId, released: &mut Vec<PortId>) {
        let Some(&at) = self.source_places.get(&source) else { return };
        self.sources[at].release(&mut self.parked, released);
    }

    /// Releases every source that is held here.
    pub fn release_all(&mut self, released: &mut Vec<PortId>) {
        if self.parked > 0 {
            for (_, source) in &mut self.sources {
                source.release(&mut self.parked, released);
            }
        }
    }

    /// Throws all frames away and releases all sources; returns how many frames there were.
    pub fn clear(&mut self, pool: &mut FramePool, released: &mut Vec<PortId>) -> u64 {
        self.release_all(released);
        let thrown_away = self.load.frames as u64;
        for waiting in self.frames.drain() {
            pool.give_back(waiting.frame);
        }
        *self = EgressQueue::new(self.limits);
        thrown_away
    }

    /// The place of the flow `id`, which is made if need be.
    fn flow_of(&mut self, id: FlowId) -> usize {
        if let Some(&at) = self.flow_places.get(&id) {
            return at;
        }
        // Flows that were emptied by pushing out stay in line until their turn, which a receiver that
        // takes nothing never gives them. At most half of so many can have a frame.
        if self.flows.len() > 2 * self.limits.frames {
            self.dismiss_idle();
        }
        let source = self.source_of(id.source);
        let flow = Flow {
            id,
            source,
            frames: Fifo::default(),
            load: Load::default(),
            standing: Standing::default(),
        };
        let at = self.flows.insert(flow);
        self.flow_places.insert(id, at);
        self.sources[source].turns.join(&mut self.flows, at);
        at
    }

    fn source_of(&mut self, port: PortId) -> usize {
        if let Some(&at) = self.source_places.get(&port) {
            return at;
        }
        let at = self.sources.insert(Source {
            port,
            turns: Turns::default(),
            load: Load::default(),
            standing: Standing::default(),
            parked: false,
        });
        self.source_places.insert(port, at);
        self.turns.join(&mut self.sources, at);
        at
    }

    /// The flow whose turn it is; it has a frame and may send it.
    fn next_flow(&mut self) -> Option<usize> {
        let (flows, flow_places) = (&mut self.flows, &mut self.flow_places);
        let mut forget_flow = |flow: Flow| {
            flow_places.remove(&flow.id);
        };
        let source_at = self.turns.next(&mut self.sources, |mut source| {
            source.turns.dismiss_idle(flows, &mut forget_flow);
            self.source_places.remove(&source.port);
        })?;
        self.sources[source_at].turns.next(flows, &mut forget_flow)
    }

    /// Forgets all flows and sources of a queue that is empty: there is nobody left who could be starved
    /// by whoever comes next. The tables stay as large as they are, without gaps.
    fn forget_flows(&mut self) {
        self.flows.clear();
        self.sources.clear();
        self.flow_places.clear();
        self.source_places.clear();
        self.turns = Turns::default();
        self.named = None;
    }

    fn dismiss_idle(&mut self) {
        let (flows, flow_places) = (&mut self.flows, &mut self.flow_places);
        let mut forget_flow = |flow: Flow| {
            flow_places.remove(&flow.id);
        };
        for (_, source) in &mut self.sources {
            source.turns.dismiss_idle(flows, &mut forget_flow);
        }
        self.turns.dismiss_idle(&mut self.sources, |source| {
            self.source_places.remove(&source.port);
        });
    }

    /// The flow that is to lose a frame. What has run out decides, frames or bytes, or many tiny frames
    /// would push out a few long ones.
    fn longest_flow(&self) -> Option<usize> {
        let too_many = self.load.frames > self.limits.frames;
        let held = |load: &Load| if too_many { load.frames } else { load.bytes };
        let (most, _) = self.sources.iter().max_by_key(|(_, source)| held(&source.load))?;
        let of_it = self.flows.iter().filter(|(_, flow)| flow.source == most);
        of_it.max_by_key(|(_, flow)| held(&flow.load)).map(|(at, _)| at)
    }

    /// Removes the oldest frame of the flow at `at` and returns its length.
    fn take_from(&mut self, at: usize, pool: &mut FramePool, released: &mut Vec<PortId>) -> usize {
        let flow = &mut self.flows[at];
        let Some(frame_at) = flow.frames.pop(&mut self.frames) else { return 0 };
        let frame = self.frames.remove(frame_at).frame;
        let len = frame.len();
        pool.give_back(frame);
        let weight = self.limits.weight(len);
        flow.load.take(len, weight);
        let source = &mut self.sources[flow.source];
        source.load.take(len, weight);
        self.load.take(len, weight);
        let share = self.limits.release_at / self.busy.max(1);
        if source.load.weight <= share {
            source.release(&mut self.parked, released);
        }
        if source.load.frames == 0 {
            self.busy -= 1;
        }
        len
    }
}

impl Source {
    fn release(&mut self, parked: &mut usize, released: &mut Vec<PortId>) {
        if std::mem::take(&mut self.parked) {
            *parked -= 1;
            released.push(self.port);
        }
    }
}

impl Load {
    fn add(&mut self, len: usize, weight: usize) {
        self.frames += 1;
        self.bytes += len;
        self.weight += weight;
    }

    fn take(&mut self, len: usize, weight: usize) {
        self.frames -= 1;
        self.bytes -= len;
        self.weight -= weight;
    }
}

impl Linked for Waiting {
    fn next(&mut self) -> &mut Option<usize> {
        &mut self.next
    }
}

impl Member for Flow {
    fn standing(&mut self) -> &mut Standing {
        &mut self.standing
    }

    fn is_waiting(&self) -> bool {
        self.load.frames > 0
    }
}

impl Member for Source {
    fn standing(&mut self) -> &mut Standing {
        &mut self.standing
    }

    fn is_waiting(&self) -> bool {
        self.load.frames > 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: EgressLimits =
        EgressLimits { frames: 32, bytes: 4000, park_at: 8, release_at: 4 };

    fn port(number: u32) -> PortId {
        PortId::from_parts(number, 0)
    }

    /// A queue with what a test needs beside it.
    struct Bench {
        queue: EgressQueue,
        pool: FramePool,
        released: Vec<PortId>,
        now: Instant,
    }

    impl Bench {
        fn new(limits: EgressLimits) -> Self {
            let pool = FramePool::new(9018);
            Bench {
                queue: EgressQueue::new(limits),
                pool,
                released: Vec::new(),
                now: Instant::now(),
            }
        }

        fn push(&mut self, source: u32, frame: &[u8]) -> u64 {
            let (pool, released) = (&mut self.pool, &mut self.released);
            self.queue.push(port(source), frame, self.now, pool, released)
        }

        fn pop(&mut self) -> Option<Vec<u8>> {
            let frame = self.queue.front()?.0.to_vec();
            self.queue.pop(&mut self.pool, &mut self.released);
            Some(frame)
        }

        /// Panics unless nothing at all is left.
        fn check_empty(&self) {
            let queue = &self.queue;
            assert_eq!((queue.load, queue.busy, queue.parked()), (Load::default(), 0, 0));
            assert!(queue.frames.is_empty() && queue.flows.is_empty() && queue.sources.is_empty());
            assert!(queue.flow_places.is_empty() && queue.source_places.is_empty());
        }
    }

    /// A UDP packet's frame: of the first station's port `port`, `len` bytes in all.
    fn udp(port: u16, len: usize) -> Vec<u8> {
        let mut frame = Vec::new();
        etherparse::PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
            .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
            .udp(port, 1)
            .write(&mut frame, &vec![0; len - 42])
            .unwrap();
        frame
    }

    #[test]
    fn a_small_flow_passes_another_sources_bulk() {
        let mut b = Bench::new(EgressLimits::default());
        for _ in 0..100 {
            b.push(1, &[1; 1514]);
        }
        b.pop();
        b.pop();
        b.push(2, &[2; 60]);
        assert_eq!(b.pop().unwrap()[0], 2);
    }

    #[test]
    fn a_small_flow_passes_its_own_sources_bulk() {
        let mut b = Bench::new(EgressLimits::default());
        for _ in 0..100 {
            b.push(1, &udp(5001, 1514));
        }
        b.pop();
        b.pop();
        b.push(1, &udp(27015, 80));
        assert_eq!(b.pop().unwrap(), udp(27015, 80));
    }

    #[test]
    fn a_source_of_many_flows_gets_no_more_than_one_of_a_single_flow() {
        let mut b = Bench::new(EgressLimits::default());
        for n in 0..200 {
            b.push(1, &udp(n, 1000));
            b.push(2, &[2; 1000]);
        }
        let of_two = (0..200).filter(|_| b.pop().unwrap() == [2; 1000]).count();
        assert!(of_two.abs_diff(100) <= 4, "{of_two} of 200");
    }

    #[test]
    fn a_full_queue_drops_the_longest_flow_of_the_fullest_source() {
        let mut b = Bench::new(LIMITS);
        b.push(1, &udp(27015, 80));
        for n in 0..8 {
            b.push(2, &udp(n, 60));
        }
        for _ in 0..LIMITS.frames {
            b.push(1, &udp(5001, 60));
        }
        assert_eq!(b.queue.len(), LIMITS.frames);
        let left: Vec<_> = std::iter::from_fn(|| b.pop()).collect();
        assert_eq!(left.iter().filter(|frame| **frame == udp(27015, 80)).count(), 1);
        assert_eq!(left.iter().filter(|frame| **frame == udp(5001, 60)).count(), 23);
        b.check_empty();
    }

    #[test]
    fn two_bulk_flows_share_evenly_by_bytes() {
        let mut b = Bench::new(EgressLimits::default());
        for _ in 0..200 {
            b.push(1, &[1; 1514]);
            b.push(2, &[2; 757]);
        }
        let mut bytes = [0usize; 3];
        for _ in 0..150 {
            let frame = b.pop().unwrap();
            bytes[frame[0] as usize] += frame.len();
        }
        assert!(bytes[1].abs_diff(bytes[2]) <= 2 * 1514, "{bytes:?}");
    }

    #[test]
    fn a_full_queue_drops_bulk_and_keeps_the_small_flow() {
        let mut b = Bench::new(LIMITS);
        b.push(2, &[2; 60]);
        let mut dropped = 0;
        for _ in 0..20 {
            dropped += b.push(1, &[1; 1000]);
        }
        assert_eq!(dropped, 17, "3940 of 4000 bytes are left for bulk");
        assert_eq!(b.queue.len(), 4);
        assert_eq!(b.pop().unwrap(), vec![2; 60]);
    }

    #[test]
    fn many_tiny_frames_do_not_push_out_a_few_long_ones() {
        let mut b = Bench::new(LIMITS);
        b.push(2, &[2; 400]);
        b.push(2, &[2; 400]);
        let dropped: u64 = (0..60).map(|_| b.push(1, &[1; 14])).sum();
        assert_eq!(dropped, 30, "there is room for 30 beside the two");
        let kept = std::iter::from_fn(|| b.pop()).filter(|frame| frame.len() == 400).count();
        assert_eq!(kept, 2);
    }

    #[test]
    fn a_frame_over_the_bound_alone_is_dropped() {
        let mut b = Bench::new(LIMITS);
        assert_eq!(b.push(1, &[0; 4001]), 1);
        assert!(b.queue.is_empty());
        assert_eq!(b.pop(), None);
    }

    #[test]
    fn sources_that_come_and_go_leave_nothing_behind() {
        let mut b = Bench::new(LIMITS);
        for source in 0..10_000 {
            b.push(source, &[1; 60]);
            b.queue.park(port(source));
        }
        assert_eq!(b.queue.len(), LIMITS.frames);
        assert!(b.queue.flows.len() <= 2 * LIMITS.frames + 1, "{} flows", b.queue.flows.len());
        while b.pop().is_some() {}
        b.check_empty();
    }

    #[test]
    fn only_the_source_that_fills_the_queue_is_held() {
        let mut b = Bench::new(LIMITS);
        b.push(2, &[2; 60]);
        for _ in 0..7 {
            b.push(1, &[1; 60]);
        }
        assert!(!b.queue.park(port(2)));
        assert!(b.queue.park(port(1)));
        assert!(!b.queue.park(port(1)), "it is held already");
        while b.queue.parked() > 0 {
            b.pop().unwrap();
        }
        assert_eq!(b.released, [port(1)]);
        assert!(b.queue.len() >= 2 && b.queue.len() <= 4, "{} left", b.queue.len());
    }

    #[test]
    fn a_source_of_long_frames_is_held_before_any_is_lost() {
        for len in [60, 1514, 1537, 6200, 9018, 65_549] {
            let mut b = Bench::new(EgressLimits::default());
            while !b.queue.park(port(1)) {
                assert_eq!(b.push(1, &vec![1; len]), 0, "{len} bytes");
            }
            let filled = b.queue.load.bytes;
            while b.released.is_empty() {
                b.pop().unwrap();
            }
            assert!(b.queue.load.bytes <= filled / 2, "{len} bytes");
        }
    }

    #[test]
    fn clearing_releases_everybody() {
        let mut b = Bench::new(LIMITS);
        for _ in 0..9 {
            b.push(1, &[1; 60]);
        }
        b.queue.park(port(1));
        assert_eq!(b.queue.clear(&mut b.pool, &mut b.released), 9);
        assert_eq!(b.released, [port(1)]);
        assert_eq!((b.queue.len(), b.queue.parked()), (0, 0));
    }

    proptest! {
        /// Whatever comes and goes: bounds hold, each flow stays in order, every frame is either
        /// delivered or counted as pushed out, and nobody is held by a queue that has emptied.
        #[test]
        fn frames_are_kept_in_order_within_bounds(
            steps in prop::collection::vec((0..5u32, 0..4u16, 60..1500usize, 0..3usize), 1..400),
        ) {
            let mut b = Bench::new(LIMITS);
            let mut sent = 0u64;
            let mut dropped = 0u64;
            let mut delivered = 0u64;
            let mut last = [0u64; 20];
            let mut held = std::collections::BTreeSet::new();
            let check = |frame: Vec<u8>, last: &mut [u64; 20]| {
                let number = u64::from_le_bytes(frame[52..60].try_into().unwrap());
                assert!(number > last[frame[51] as usize]);
                last[frame[51] as usize] = number;
            };
            for (source, flow, len, pops) in steps {
                sent += 1;
                let mut frame = udp(flow, len);
                frame[51] = source as u8 * 4 + flow as u8;
                frame[52..60].copy_from_slice(&sent.to_le_bytes());
                dropped += b.push(source, &frame);
                if b.queue.park(port(source)) {
                    prop_assert!(held.insert(port(source)));
                }
                for _ in 0..pops {
                    if let Some(frame) = b.pop() {
                        delivered += 1;
                        check(frame, &mut last);
                    }
                }
                for source in b.released.drain(..) {
                    prop_assert!(held.remove(&source));
                }
                prop_assert!(b.queue.len() <= LIMITS.frames && b.queue.load.bytes <= LIMITS.bytes);
                prop_assert_eq!(b.queue.parked(), held.len());
            }
            while let Some(frame) = b.pop() {
                delivered += 1;
                check(frame, &mut last);
            }
            prop_assert_eq!(sent, delivered + dropped);
            b.check_empty();
        }
    }
}
