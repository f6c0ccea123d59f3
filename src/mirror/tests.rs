//! Captures of what a switch forwards, against what the switch counts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::bpf::{Instruction, Program};
use super::*;
use crate::core::{
    EgressLimits, Mode, PortCounters, PortTraits, Switch, SwitchConfig, TxOutcome, Wire,
};

/// Clients, every so many of whose frames finds no room.
struct Clients {
    full_every: u32,
    sent: u32,
}

impl Wire for Clients {
    fn transmit(&mut self, _to: PortId, _frame: &[u8]) -> TxOutcome {
        self.sent += 1;
        if self.sent.is_multiple_of(self.full_every) { TxOutcome::Full } else { TxOutcome::Sent }
    }
}

struct Names;

impl PortNames for Names {
    fn write_name(&self, port: PortId, name: &mut String) {
        name.push_str(&format!("name of {port:?}"));
    }
}

/// A switch that is mirrored.
struct Scene {
    switch: Switch,
    clients: Clients,
    mirror: Mirror,
    now: Instant,
    /// Frames so far: the time of each frame is its number in seconds.
    forwarded: u64,
    next_session: u64,
    /// By number, what its ports have counted that have closed.
    closed: BTreeMap<u32, PortCounters>,
}

impl Scene {
    fn new(mode: Mode, full_every: u32) -> Self {
        let config = SwitchConfig {
            mode,
            max_ports: 4,
            max_frame: 1518,
            fdb_size: 16,
            ageing: Duration::from_secs(100),
            egress: EgressLimits::default(),
        };
        Scene {
            switch: Switch::new(config),
            clients: Clients { full_every, sent: 0 },
            mirror: Mirror::default(),
            now: Instant::now(),
            forwarded: 0,
            next_session: 0,
            closed: BTreeMap::new(),
        }
    }

    /// A switch with two ports that know each other's stations 1 and 2.
    fn pair() -> (Self, [PortId; 2]) {
        let mut scene = Scene::new(Mode::Switch, u32::MAX);
        let ports = [scene.open_port(), scene.open_port()];
        for station in [1, 2] {
            scene.forward(ports[usize::from(station) - 1], &frame(BROADCAST, station, 60));
        }
        (scene, ports)
    }

    fn open_port(&mut self) -> PortId {
        self.switch.open_port(None, PortTraits { can_wait: true }, self.now).unwrap()
    }

    fn close_port(&mut self, port: PortId) {
        if let Some(counters) = self.switch.close_port(port) {
            *self.closed.entry(port.number()).or_default() += counters;
        }
    }

    fn capture(&mut self, spec: CaptureSpec) -> Tail {
        let id = SessionId(self.next_session);
        self.next_session += 1;
        let (session, tail) = Session::open(id, spec, Box::new(|| ())).unwrap();
        self.mirror.start(session).unwrap();
        tail
    }

    /// As the loop does it.
    fn forward(&mut self, from: PortId, bytes: &[u8]) -> Verdict {
        let time = Duration::from_secs(self.forwarded);
        let verdict = self.switch.forward(from, bytes, self.now, &mut self.clients);
        let frame = Forwarded { from, verdict, bytes, time };
        self.mirror.record(frame, self.switch.ports(), &Names);
        self.forwarded += 1;
        verdict
    }

    /// What has been counted at the ports with this number.
    fn counters(&self, number: u32) -> PortCounters {
        let mut sum = self.closed.get(&number).copied().unwrap_or_default();
        for &id in self.switch.ports().iter().filter(|id| id.number() == number) {
            sum += *self.switch.counters(id).unwrap();
        }
        sum
    }
}

/// What a capture has brought.
#[derive(Debug, Default)]
struct Read {
    names: Vec<(PortId, String)>,
    frames: Vec<Copied>,
    totals: Option<Vec<PortTotals>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Copied {
    port: PortId,
    direction: Direction,
    time: u64,
    original: u32,
    bytes: Vec<u8>,
}

/// Reads what is there.
fn read(tail: &mut Tail) -> Read {
    let mut read = Read::default();
    let state = tail.read(Duration::ZERO, |record| {
        match record {
            Record::Port { port, name } => read.names.push((port, name.to_owned())),
            Record::Frame(Captured { port, direction, time, original, bytes }) => {
                let (time, bytes) = (time.as_secs(), bytes.to_vec());
                read.frames.push(Copied { port, direction, time, original, bytes });
            }
        }
        Ok(())
    });
    if let State::Ended(totals) = state.unwrap() {
        read.totals = Some(totals);
    }
    read
}

/// Ends all captures and reads the rest of this one, which must add up.
fn read_rest(scene: &mut Scene, tail: &mut Tail) -> Read {
    scene.mirror.stop_all(&Names);
    let read = read(tail);
    let totals = read.totals.as_ref().expect("the end");
    let named: BTreeSet<_> = read.names.iter().map(|(port, _)| *port).collect();
    assert_eq!(named.len(), read.names.len(), "each port is named once");
    for port in totals {
        assert_eq!(port.seen, port.captured + port.filtered + port.dropped, "{port:?}");
        assert!(named.contains(&port.port), "{port:?} has a name");
    }
    read
}

fn frame(to: u8, from: u8, len: usize) -> Vec<u8> {
    let to = if to == BROADCAST { [0xff; 6] } else { [2, 0, 0, 0, 0, to] };
    let mut bytes = [to, [2, 0, 0, 0, 0, from]].concat();
    bytes.resize(len, 0x55);
    bytes
}

const BROADCAST: u8 = 0xff;

/// Frames of 100 bytes and more, of which 80 are kept.
fn long_frames() -> Program {
    let instructions = [(0x80, 0, 0, 0), (0x35, 0, 1, 100), (0x06, 0, 0, 80), (0x06, 0, 0, 0)];
    instructions.map(|(code, jt, jf, k)| Instruction(code, jt, jf, k)).to_vec().try_into().unwrap()
}

fn spec(ports: &[u32], direction: Option<Directions>) -> CaptureSpec {
    CaptureSpec { ports: ports.to_vec(), direction, buffer: *BUFFERS.start(), ..Default::default() }
}

#[test]
fn without_ports_each_frame_is_there_once_as_it_came_in() {
    let (mut scene, [one, two]) = Scene::pair();
    let mut tail = scene.capture(spec(&[], None));
    let frames = [(one, frame(2, 1, 60)), (two, frame(BROADCAST, 2, 14)), (one, frame(1, 1, 1518))];
    for (from, bytes) in &frames {
        scene.forward(*from, bytes);
    }
    let read = read_rest(&mut scene, &mut tail);
    let expected = frames.iter().zip(2..).map(|((port, bytes), time)| Copied {
        port: *port,
        direction: Direction::In,
        time,
        original: bytes.len() as u32,
        bytes: bytes.clone(),
    });
    assert_eq!(read.frames, expected.collect::<Vec<_>>());
    assert_eq!(read.names[0], (one, format!("name of {one:?}")));
}

#[test]
fn a_frame_between_two_captured_ports_is_there_twice() {
    let (mut scene, [one, two]) = Scene::pair();
    let mut tail = scene.capture(spec(&[1, 2, 2], None));
    scene.forward(one, &frame(2, 1, 60));
    let read = read_rest(&mut scene, &mut tail);
    let places: Vec<_> = read.frames.iter().map(|frame| (frame.port, frame.direction)).collect();
    assert_eq!(places, [(one, Direction::In), (two, Direction::Out)]);
}

#[test]
fn what_is_no_frame_of_a_client_is_not_captured() {
    let (mut scene, [one, _]) = Scene::pair();
    let mut tail = scene.capture(spec(&[], Some(Directions::Both)));
    scene.forward(one, &[0; 13]);
    scene.forward(one, &frame(2, 1, 1519));
    scene.forward(PortId::from_parts(3, 0), &frame(2, 1, 60));
    let read = read_rest(&mut scene, &mut tail);
    assert_eq!(read.frames, []);
    assert_eq!(read.totals, Some(Vec::new()));
}

#[test]
fn the_shorter_of_snaplen_and_filter_is_kept() {
    for (snaplen, kept) in [(60, 60), (1000, 80)] {
        let (mut scene, [one, _]) = Scene::pair();
        let filter = Some(long_frames());
        let mut tail = scene.capture(CaptureSpec { snaplen, filter, ..CaptureSpec::default() });
        scene.forward(one, &frame(2, 1, 99));
        scene.forward(one, &frame(2, 1, 100));
        let read = read_rest(&mut scene, &mut tail);
        let [copied] = &read.frames[..] else { panic!("one frame") };
        assert_eq!((copied.bytes.len(), copied.original), (kept, 100));
        let totals = PortTotals { port: one, seen: 2, captured: 1, filtered: 1, dropped: 0 };
        assert_eq!(read.totals, Some(vec![totals]));
    }
}

#[test]
fn a_capture_ends_after_its_last_frame() {
    let (mut scene, [one, two]) = Scene::pair();
    let third = scene.open_port();
    let everything = spec(&[], Some(Directions::Both));
    let mut tail = scene.capture(CaptureSpec { count: Some(2), ..everything });
    let mut others = scene.capture(spec(&[], None));
    // In at one port, out at two: the third copy is one too many.
    scene.forward(one, &frame(BROADCAST, 1, 60));
    let ended = read(&mut tail);
    assert_eq!(ended.frames.len(), 2);
    assert_eq!(ended.totals.expect("the end").iter().map(|port| port.captured).sum::<u64>(), 2);
    // Others go on.
    assert!(scene.mirror.is_active());
    scene.forward(two, &frame(BROADCAST, 2, 60));
    assert_eq!(read(&mut tail).frames, []);
    assert_eq!(read_rest(&mut scene, &mut others).frames.len(), 2);
    assert!(!scene.mirror.is_active());
    scene.close_port(third);
}

#[test]
fn what_finds_no_room_is_counted_and_what_has_found_it_stays() {
    let (mut scene, [one, two]) = Scene::pair();
    let buffer = *BUFFERS.start();
    let mut tail = scene.capture(CaptureSpec { buffer, ..CaptureSpec::default() });
    for _ in 0..1000 {
        scene.forward(one, &frame(2, 1, 1000));
    }
    // Of this one the name does not fit either.
    scene.forward(two, &frame(1, 2, 1500));
    let read = read_rest(&mut scene, &mut tail);
    let captured = read.frames.len() as u64;
    assert!((200..300).contains(&captured), "{captured}");
    assert!(read.frames.iter().zip(2..).all(|(frame, time)| frame.time == time));
    let ones =
        PortTotals { port: one, seen: 1000, captured, filtered: 0, dropped: 1000 - captured };
    let twos = PortTotals { port: two, seen: 1, captured: 0, filtered: 0, dropped: 1 };
    assert_eq!(read.totals, Some(vec![ones, twos]));
}

#[test]
fn there_are_so_many_captures_and_no_more() {
    let (mut scene, [one, _]) = Scene::pair();
    let buffer = *BUFFERS.start();
    let spec = CaptureSpec { buffer, ..CaptureSpec::default() };
    let mut tails: Vec<_> = (0..MAX_SESSIONS).map(|_| scene.capture(spec.clone())).collect();
    let (session, _tail) = Session::open(SessionId(99), spec, Box::new(|| ())).unwrap();
    let refused = scene.mirror.start(session).expect_err("one too many");
    scene.mirror.stop(SessionId(3), &Names);
    assert!(read(&mut tails[3]).totals.is_some());
    scene.mirror.start(refused).expect("room for one");
    scene.forward(one, &frame(2, 1, 60));
    assert_eq!(read(&mut tails[3]).frames, []);
    assert_eq!(read(&mut tails[4]).frames.len(), 1);
}

#[test]
fn captures_that_cannot_be_are_refused() {
    let low = *BUFFERS.start() - 1;
    let high = *BUFFERS.end() + 1;
    let rows = [
        (CaptureSpec { buffer: low, ..CaptureSpec::default() }, InvalidSpec::Buffer(low)),
        (CaptureSpec { buffer: high, ..CaptureSpec::default() }, InvalidSpec::Buffer(high)),
        (CaptureSpec { snaplen: 0, ..CaptureSpec::default() }, InvalidSpec::Snaplen(0)),
        (CaptureSpec { snaplen: 262_145, ..CaptureSpec::default() }, InvalidSpec::Snaplen(262_145)),
        (CaptureSpec { count: Some(0), ..CaptureSpec::default() }, InvalidSpec::NoFrames),
        (spec(&[1, 65_536], None), InvalidSpec::Port(65_536)),
    ];
    for (spec, expected) in rows {
        let refused = Session::open(SessionId(0), spec, Box::new(|| ())).expect_err("refused");
        assert_eq!(refused, expected);
    }
}

#[test]
fn a_tail_whose_loop_has_gone_ends() {
    let (session, mut tail) =
        Session::open(SessionId(0), CaptureSpec::default(), Box::new(|| ())).unwrap();
    assert_eq!(read(&mut tail).totals, None);
    drop(session);
    assert_eq!(read(&mut tail).totals, Some(Vec::new()));
}

#[derive(Clone, Debug)]
enum Step {
    /// From port (by place), to station, from station, length.
    Forward(usize, u8, u8, usize),
    Open,
    Close(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let station = || prop_oneof![1..6u8, Just(BROADCAST)];
    let len = prop_oneof![Just(13), 14..200usize, Just(1518), Just(1519)];
    let step = prop_oneof![
        20 => (0..4usize, station(), 1..6u8, len).prop_map(|(p, t, f, l)| Step::Forward(p, t, f, l)),
        2 => Just(Step::Open),
        1 => (0..4usize).prop_map(Step::Close),
    ];
    prop::collection::vec(step, 0..150)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// A capture of each direction at each port agrees with the port's counters, whatever comes and goes.
    #[test]
    fn captures_agree_with_the_counters(
        steps in steps(),
        hub in any::<bool>(),
        full_every in 1..6u32,
        filtered in any::<bool>(),
    ) {
        let mut scene = Scene::new(if hub { Mode::Hub } else { Mode::Switch }, full_every);
        let mut tails = Vec::new();
        for number in 1..=4 {
            for direction in [Directions::In, Directions::Out, Directions::Both] {
                let filter = filtered.then(long_frames);
                let spec = CaptureSpec { filter, ..spec(&[number], Some(direction)) };
                tails.push((number, direction, scene.capture(spec)));
            }
        }
        let mut everything = scene.capture(spec(&[], None));
        let mut expected = Vec::new();
        let mut ports: Vec<PortId> = (0..2).map(|_| scene.open_port()).collect();
        for step in steps {
            match step {
                Step::Open if ports.len() < 4 => ports.push(scene.open_port()),
                Step::Open => {}
                Step::Close(place) if place < ports.len() => {
                    let port = ports.swap_remove(place);
                    scene.close_port(port);
                }
                Step::Close(_) => {}
                Step::Forward(place, to, from, len) => {
                    let Some(&port) = ports.get(place) else { continue };
                    let bytes = frame(to, from, len);
                    let verdict = scene.forward(port, &bytes);
                    if (14..=1518).contains(&len) {
                        prop_assert!(!matches!(verdict, Verdict::Drop(RxDrop::Runt)));
                        expected.push((port, bytes));
                    }
                }
            }
        }
        scene.mirror.stop_all(&Names);
        for (number, direction, mut tail) in tails {
            let counters = scene.counters(number);
            let read = read_rest(&mut scene, &mut tail);
            let totals = read.totals.unwrap();
            prop_assert!(totals.iter().all(|port| port.port.number() == number));
            let rx = counters.rx_unicast + counters.rx_flooded + counters.rx_hairpin;
            let seen: u64 = totals.iter().map(|port| port.seen).sum();
            let wanted = match direction {
                Directions::In => rx,
                Directions::Out => counters.tx_offered,
                Directions::Both => rx + counters.tx_offered,
            };
            prop_assert_eq!(seen, wanted, "{} {:?}", number, direction);
            let captured: u64 = totals.iter().map(|port| port.captured).sum();
            prop_assert_eq!(captured, read.frames.len() as u64);
            prop_assert!(filtered || captured == seen);
            let long = |copied: &Copied| copied.original >= 100 && copied.bytes.len() == 80;
            prop_assert!(!filtered || read.frames.iter().all(long));
        }
        let all = read_rest(&mut scene, &mut everything);
        let all: Vec<_> = all.frames.into_iter().map(|copied| (copied.port, copied.bytes)).collect();
        prop_assert_eq!(all, expected);
    }
}
