//! The egress queue of one port: what it could not be sent yet.
//!
//! Frames wait in one flow per source port and leave by deficit round robin, flows that have just
//! begun to wait first: one guest's bulk does not hold up another's few small frames. The order is
//! that of FQ-CoDel (RFC 8290, section 4.2), without its dropping law; an emptied flow goes once
//! more through the line before it counts as new again, or a trickle of frames could starve the
//! rest. Within a flow the order of arrival is kept.
//!
//! The queue is bounded in frames and bytes. A frame that finds no room pushes out the oldest frame
//! of the flow that holds most, of frames or of bytes, whichever has run out: bulk pays, not the
//! small flow.

use std::collections::VecDeque;

use super::frame_pool::FramePool;
use super::port_table::PortId;

/// The bounds of a queue and the marks at which sources are held and released.
#[derive(Clone, Copy, Debug)]
pub struct EgressLimits {
    /// Frames that may wait. It bounds how long sources feel a receiver that was slow.
    pub frames: usize,
    /// Bytes that may wait.
    pub bytes: usize,
    /// Queued frames from which on a source that fills the queue is held.
    pub park_at: usize,
    /// Queued frames at which held sources are released.
    pub release_at: usize,
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
    flows: Vec<Flow>,
    /// Flows that have just begun to wait, served before the others.
    fresh: VecDeque<usize>,
    /// The other flows that are in line, round robin.
    line: VecDeque<usize>,
    /// Flows that are not in line, for reuse.
    idle: Vec<usize>,
    /// How many flows have frames.
    busy: usize,
    frames: usize,
    bytes: usize,
    parked: usize,
}

#[derive(Debug)]
struct Flow {
    source: PortId,
    frames: VecDeque<Vec<u8>>,
    bytes: usize,
    /// Bytes that it may still send this round.
    deficit: isize,
    in_line: bool,
    /// Its source is not read until this flow, or the queue, has shrunk.
    parked: bool,
}

impl EgressQueue {
    /// An empty queue. Nothing is allocated until a frame has to wait.
    pub fn new(limits: EgressLimits) -> Self {
        EgressQueue {
            limits,
            flows: Vec::new(),
            fresh: VecDeque::new(),
            line: VecDeque::new(),
            idle: Vec::new(),
            busy: 0,
            frames: 0,
            bytes: 0,
            parked: 0,
        }
    }

    /// How many frames wait.
    pub fn len(&self) -> usize {
        self.frames
    }

    /// True if no frame waits.
    pub fn is_empty(&self) -> bool {
        self.frames == 0
    }

    /// How many sources are held for this port.
    pub fn parked(&self) -> usize {
        self.parked
    }

    /// Queues a copy of `frame` from `source` and returns how many frames that pushed out; sources
    /// that this released are added to `released`.
    pub fn push(
        &mut self,
        source: PortId,
        frame: &[u8],
        pool: &mut FramePool,
        released: &mut Vec<PortId>,
    ) -> u64 {
        let at = self.flow_of(source);
        let flow = &mut self.flows[at];
        if flow.frames.is_empty() {
            self.busy += 1;
            if !flow.in_line {
                flow.in_line = true;
                flow.deficit = QUANTUM;
                self.fresh.push_back(at);
            }
        }
        flow.frames.push_back(pool.copy_of(frame));
        flow.bytes += frame.len();
        self.frames += 1;
        self.bytes += frame.len();
        let mut pushed_out = 0;
        while self.frames > self.limits.frames || self.bytes > self.limits.bytes {
            // Measured by what has run out, or many tiny frames would push out a few long ones.
            let too_many = self.frames > self.limits.frames;
            let held = |flow: &Flow| if too_many { flow.frames.len() } else { flow.bytes };
            let Some(most) = (0..self.flows.len()).max_by_key(|&at| held(&self.flows[at])) else {
                break;
            };
            self.take_from(most, pool, released);
            pushed_out += 1;
        }
        pushed_out
    }

    /// The next frame to send. Asking again without [`EgressQueue::pop`] may name another one, if
    /// a new flow has come in between.
    pub fn front(&mut self) -> Option<&[u8]> {
        let at = self.next_flow()?;
        self.flows[at].frames.front().map(Vec::as_slice)
    }

    /// Takes the frame that [`EgressQueue::front`] names; sources that this released are added to
    /// `released`.
    pub fn pop(&mut self, pool: &mut FramePool, released: &mut Vec<PortId>) {
        if let Some(at) = self.next_flow() {
            let taken = self.take_from(at, pool, released);
            self.flows[at].deficit -= taken as isize;
            if self.frames <= self.limits.release_at {
                self.release_all(released);
            }
        }
    }

    /// Holds `source` if it is one that fills this queue: the queue is over its mark and the source
    /// has at least an even share of that waiting here. One that sends a few frames to a receiver
    /// that others have filled is not held. Returns true if the source was not held before and now
    /// is.
    pub fn park(&mut self, source: PortId) -> bool {
        if self.frames < self.limits.park_at {
            return false;
        }
        let share = self.limits.park_at.div_ceil(self.busy.max(1));
        let Some(flow) = self.flows.iter_mut().find(|flow| flow.in_line && flow.source == source)
        else {
            return false;
        };
        if flow.parked || flow.frames.len() < share {
            return false;
        }
        flow.parked = true;
        self.parked += 1;
        true
    }

    /// Releases every source that is held here.
    pub fn release_all(&mut self, released: &mut Vec<PortId>) {
        if self.parked == 0 {
            return;
        }
        for flow in self.flows.iter_mut().filter(|flow| flow.parked) {
            flow.parked = false;
            released.push(flow.source);
        }
        self.parked = 0;
    }

    /// Throws all frames away and releases all sources; returns how many frames there were.
    pub fn clear(&mut self, pool: &mut FramePool, released: &mut Vec<PortId>) -> u64 {
        self.release_all(released);
        let thrown_away = self.frames as u64;
        for frame in self.flows.drain(..).flat_map(|flow| flow.frames) {
            pool.give_back(frame);
        }
        *self = EgressQueue::new(self.limits);
        thrown_away
    }

    /// The flow of `source` that is in line, or an idle one made ready for it.
    fn flow_of(&mut self, source: PortId) -> usize {
        let known = self.flows.iter().position(|flow| flow.in_line && flow.source == source);
        if let Some(at) = known {
            return at;
        }
        if let Some(at) = self.idle.pop() {
            self.flows[at].source = source;
            return at;
        }
        self.flows.push(Flow {
            source,
            frames: VecDeque::new(),
            bytes: 0,
            deficit: 0,
            in_line: false,
            parked: false,
        });
        self.flows.len() - 1
    }

    /// The flow whose turn it is; it has a frame and may send it.
    fn next_flow(&mut self) -> Option<usize> {
        loop {
            let (from_fresh, at) = match self.fresh.front() {
                Some(&at) => (true, at),
                None => (false, *self.line.front()?),
            };
            let flow = &mut self.flows[at];
            if flow.deficit > 0 && !flow.frames.is_empty() {
                return Some(at);
            }
            if from_fresh {
                self.fresh.pop_front()
            } else {
                self.line.pop_front()
            };
            if !flow.frames.is_empty() {
                flow.deficit += QUANTUM;
                self.line.push_back(at);
            } else if from_fresh && !self.line.is_empty() {
                self.line.push_back(at);
            } else {
                flow.in_line = false;
                self.idle.push(at);
            }
        }
    }

    /// Removes the oldest frame of the flow at `at` and returns its length.
    fn take_from(&mut self, at: usize, pool: &mut FramePool, released: &mut Vec<PortId>) -> usize {
        let flow = &mut self.flows[at];
        let Some(frame) = flow.frames.pop_front() else { return 0 };
        let len = frame.len();
        pool.give_back(frame);
        flow.bytes -= len;
        self.frames -= 1;
        self.bytes -= len;
        let share = self.limits.release_at / self.busy.max(1);
        if flow.parked && flow.frames.len() <= share {
            flow.parked = false;
            self.parked -= 1;
            released.push(flow.source);
        }
        if flow.frames.is_empty() {
            self.busy -= 1;
        }
        len
    }
}

/// Bytes that a flow may send in its turn: one full Ethernet frame, as RFC 8290 section 5.1 has it.
const QUANTUM: isize = 1514;

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
    }

    impl Bench {
        fn new(limits: EgressLimits) -> Self {
            let pool = FramePool::new(9018);
            Bench { queue: EgressQueue::new(limits), pool, released: Vec::new() }
        }

        fn push(&mut self, source: u32, frame: &[u8]) -> u64 {
            self.queue.push(port(source), frame, &mut self.pool, &mut self.released)
        }

        fn pop(&mut self) -> Option<Vec<u8>> {
            let frame = self.queue.front()?.to_vec();
            self.queue.pop(&mut self.pool, &mut self.released);
            Some(frame)
        }
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
            steps in prop::collection::vec((0..5u32, 14..1500usize, 0..3usize), 1..400),
        ) {
            let mut b = Bench::new(LIMITS);
            let mut sent = 0u64;
            let mut dropped = 0u64;
            let mut delivered = 0u64;
            let mut last = [0u64; 5];
            let mut held = std::collections::BTreeSet::new();
            let check = |frame: Vec<u8>, last: &mut [u64; 5]| {
                let number = u64::from_le_bytes(frame[1..9].try_into().unwrap());
                assert!(number > last[frame[0] as usize]);
                last[frame[0] as usize] = number;
            };
            for (source, len, pops) in steps {
                sent += 1;
                let mut frame = vec![0; len];
                frame[0] = source as u8;
                frame[1..9].copy_from_slice(&sent.to_le_bytes());
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
                prop_assert!(b.queue.len() <= LIMITS.frames && b.queue.bytes <= LIMITS.bytes);
                prop_assert_eq!(b.queue.parked(), held.len());
            }
            while let Some(frame) = b.pop() {
                delivered += 1;
                check(frame, &mut last);
            }
            prop_assert_eq!(sent, delivered + dropped);
            prop_assert_eq!((b.queue.parked(), b.queue.busy, b.queue.bytes), (0, 0, 0));
        }
    }
}
