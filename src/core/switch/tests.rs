use std::collections::{HashMap, VecDeque};

use proptest::prelude::*;

use super::super::backpressure::{BRIEFLY, PATIENCE, TICK};
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
        assert_eq!(totals.rx_frames, totals.rx_unicast + totals.rx_flooded + totals.rx_dropped());
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
