//! Forwarding a frame allocates nothing once buffers have grown to what the traffic needs: neither
//! when the receiver takes it, nor when it has to wait in a queue, nor when it is captured.
#![allow(unsafe_code)] // A global allocator cannot be written without.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket};

use uml_switch::core::{
    EgressLimits, Mode, PATIENCE, PortId, PortTraits, Switch, SwitchConfig, TICK, TxOutcome,
    Verdict, Wire,
};
use uml_switch::mirror::bpf::{Instruction, Program};
use uml_switch::mirror::{
    CaptureSpec, Directions, Forwarded, Mirror, PortNames, Session, SessionId, Tail,
};
use uml_switch::port::{CONNECTION_KINDS, Received};

/// The system's allocator, which counts what this thread asks of it.
struct Counting;

thread_local! {
    // No destructor and no lazy start, so that it can be used inside the allocator.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    ALLOCATIONS.set(ALLOCATIONS.get() + 1);
}

// SAFETY: each call is passed on unchanged to `System`, which keeps the contract; counting touches
// only a thread-local cell without a destructor, which neither allocates nor panics.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises for `layout` are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as in `alloc`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: `place` came from `System` with this layout, for all of ours do.
        unsafe { System.realloc(place, layout, size) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: as in `realloc`. Not counted: what is freed had been allocated.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often this thread allocates in `work`.
fn allocations(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

/// Clients of which each takes so many frames; by number, so that asking costs no allocation.
struct Clients(Vec<usize>);

impl Wire for Clients {
    fn transmit(&mut self, to: PortId, _frame: &[u8]) -> TxOutcome {
        let room = &mut self.0[to.number() as usize];
        if *room == 0 {
            return TxOutcome::Full;
        }
        *room -= 1;
        TxOutcome::Sent
    }
}

struct Bench {
    switch: Switch,
    clients: Clients,
    ports: Vec<PortId>,
    now: Instant,
}

impl Bench {
    /// A switch as the daemon makes it, each of whose ports is known to have one station.
    fn new(mode: Mode, ports: usize) -> Self {
        let now = Instant::now();
        let mut switch = Switch::new(SwitchConfig {
            mode,
            max_ports: 64,
            max_frame: 9018,
            fdb_size: 1024,
            ageing: Duration::from_secs(100),
            egress: EgressLimits::default(),
        });
        let traits = PortTraits { can_wait: true };
        let ports: Vec<_> =
            (0..ports).map(|_| switch.open_port(None, traits, now).unwrap()).collect();
        let clients = Clients(vec![usize::MAX; ports.len() + 1]);
        let mut bench = Bench { switch, clients, ports, now };
        for port in 0..bench.ports.len() {
            bench.send(port, &frame(EVERYBODY, port as u8, 60));
        }
        bench
    }

    fn send(&mut self, from: usize, frame: &[u8]) -> Verdict {
        self.switch.forward(self.ports[from], frame, self.now, &mut self.clients)
    }

    fn set_room(&mut self, port: usize, frames: usize) {
        self.clients.0[self.ports[port].number() as usize] = frames;
    }

    fn held(&self, port: usize) -> bool {
        self.switch.is_held(self.ports[port])
    }

    /// Sends until `from` is held.
    fn fill(&mut self, from: usize, frame: &[u8]) {
        while !self.held(from) {
            self.send(from, frame);
        }
    }

    /// Lets `port` read all that waits for it, a few frames a turn, and takes note of the released.
    fn drain(&mut self, port: usize) {
        self.set_room(port, usize::MAX);
        while self.switch.drain(self.ports[port], 8, self.now, &mut self.clients) {}
        while self.switch.next_released().is_some() {}
    }

    /// Lets time pass, with the ticks that the switch asks for.
    fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(due) = self.switch.next_tick().filter(|&due| due <= until) {
            self.now = due;
            self.switch.tick(due, &mut self.clients);
            while self.switch.next_released().is_some() {}
        }
        self.now = until;
    }
}

/// A frame from station `source` to station `destination`.
fn frame(destination: u8, source: u8, len: usize) -> Vec<u8> {
    let mut frame = vec![0; len];
    let destination =
        if destination == EVERYBODY { [0xff; 6] } else { [2, 0, 0, 0, 0, destination] };
    frame[..6].copy_from_slice(&destination);
    frame[6..12].copy_from_slice(&[2, 0, 0, 0, 0, source]);
    frame
}

const EVERYBODY: u8 = 0xff;

/// Rounds until every buffer has grown to what they need.
const WARM_UP: usize = 5;

const LENGTHS: [usize; 4] = [60, 300, 1514, 9014];

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(std::hint::black_box(vec![1; 100]))), 1);
    assert_eq!(allocations(|| ()), 0);
}

#[test]
fn a_frame_to_a_known_station_allocates_nothing() {
    for len in LENGTHS {
        let mut b = Bench::new(Mode::Switch, 2);
        let frame = frame(1, 0, len);
        let unicast = Verdict::Unicast(b.ports[1]);
        // The clock goes on, so that the station's age is written too.
        let count = allocations(|| {
            for _ in 0..1000 {
                assert_eq!(b.send(0, &frame), unicast);
                b.wait(Duration::from_millis(10));
            }
        });
        assert_eq!(count, 0, "{len} bytes");
    }
}

#[test]
fn a_flood_to_32_ports_allocates_nothing() {
    for mode in [Mode::Switch, Mode::Hub] {
        let mut b = Bench::new(mode, 33);
        let broadcast = frame(EVERYBODY, 0, 100);
        let unknown = frame(200, 1, 1514);
        let count = allocations(|| {
            for _ in 0..1000 {
                assert_eq!(b.send(0, &broadcast), Verdict::Flood);
                assert_eq!(b.send(1, &unknown), Verdict::Flood);
            }
        });
        assert_eq!(count, 0, "{mode:?}");
    }
}

#[test]
fn a_hub_allocates_nothing() {
    let mut b = Bench::new(Mode::Hub, 3);
    let frame = frame(1, 0, 1514);
    let count = allocations(|| {
        for _ in 0..1000 {
            assert_eq!(b.send(0, &frame), Verdict::Flood);
        }
    });
    assert_eq!(count, 0);
}

#[test]
fn frames_that_wait_and_leave_allocate_nothing() {
    for len in LENGTHS {
        let mut b = Bench::new(Mode::Switch, 3);
        let (bulk, small) = (frame(2, 0, len), frame(2, 1, 60));
        let cycle = |b: &mut Bench| {
            b.set_room(2, 0);
            for _ in 0..20 {
                b.send(0, &bulk);
                b.send(1, &small);
            }
            assert_eq!(b.switch.queued(), 40);
            b.drain(2);
            assert_eq!(b.switch.queued(), 0);
        };
        (0..WARM_UP).for_each(|_| cycle(&mut b));
        let count = allocations(|| (0..100).for_each(|_| cycle(&mut b)));
        assert_eq!(count, 0, "{len} bytes");
    }
}

/// A UDP packet from station `source` to station `destination` and the port `port`.
fn udp(destination: u8, source: u8, port: u16) -> Vec<u8> {
    let mut frame = Vec::new();
    etherparse::PacketBuilder::ethernet2([2, 0, 0, 0, 0, source], [2, 0, 0, 0, 0, destination])
        .ipv4([10, 0, 0, source], [10, 0, 0, destination], 64)
        .udp(27005, port)
        .write(&mut frame, &[0; 80])
        .unwrap();
    frame
}

#[test]
fn flows_that_come_and_go_allocate_nothing() {
    let mut b = Bench::new(Mode::Switch, 3);
    // Never the same ones twice.
    let frames: Vec<_> = (0..20_000).map(|n| udp(2, (n % 2) as u8, n)).collect();
    let mut cycles = frames.chunks(40);
    let mut cycle = |b: &mut Bench| {
        b.set_room(2, 0);
        for (n, frame) in cycles.next().expect("enough of them").iter().enumerate() {
            b.send(n % 2, frame);
        }
        assert_eq!(b.switch.queued(), 40);
        b.drain(2);
        assert_eq!(b.switch.queued(), 0);
    };
    // The tables of flows grow for longer than lists do: they move when they are full of gaps.
    (0..100).for_each(|_| cycle(&mut b));
    let count = allocations(|| (0..400).for_each(|_| cycle(&mut b)));
    assert_eq!(count, 0);
}

#[test]
fn a_source_that_is_held_and_released_allocates_nothing() {
    for len in LENGTHS {
        let mut b = Bench::new(Mode::Switch, 2);
        let frame = frame(1, 0, len);
        let cycle = |b: &mut Bench| {
            b.set_room(1, 0);
            b.fill(0, &frame);
            b.drain(1);
            assert!(!b.held(0));
            b.wait(TICK);
        };
        (0..WARM_UP).for_each(|_| cycle(&mut b));
        let count = allocations(|| (0..100).for_each(|_| cycle(&mut b)));
        assert_eq!(count, 0, "{len} bytes");
    }
}

#[test]
fn a_receiver_that_was_given_up_costs_no_allocation() {
    for len in LENGTHS {
        let mut b = Bench::new(Mode::Switch, 2);
        let frame = frame(1, 0, len);
        b.set_room(1, 0);
        let full = |b: &mut Bench| {
            while b.switch.totals().tx_queue_full < 2000 {
                while !b.held(0) && b.switch.totals().tx_queue_full < 2000 {
                    b.send(0, &frame);
                }
                b.wait(PATIENCE);
            }
        };
        full(&mut b);
        let before = b.switch.totals().tx_queue_full;
        let count = allocations(|| {
            for _ in 0..1000 {
                b.send(0, &frame);
            }
            b.wait(PATIENCE * 10);
        });
        assert_eq!(count, 0, "{len} bytes");
        assert_eq!(b.switch.totals().tx_queue_full, before + 1000);
    }
}

/// Each of 32 receivers has fallen behind and catches up, again and again.
#[test]
fn a_flood_that_waits_for_32_ports_allocates_nothing() {
    for (mode, len) in [(Mode::Switch, 100), (Mode::Switch, 1514), (Mode::Hub, 1514)] {
        let mut b = Bench::new(mode, 33);
        let frame = frame(EVERYBODY, 0, len);
        let cycle = |b: &mut Bench| {
            for port in 1..33 {
                b.set_room(port, 0);
            }
            b.fill(0, &frame);
            for port in 1..33 {
                b.drain(port);
            }
            assert!(!b.held(0));
            b.wait(TICK);
        };
        (0..WARM_UP).for_each(|_| cycle(&mut b));
        let count = allocations(|| (0..20).for_each(|_| cycle(&mut b)));
        assert_eq!(count, 0, "{mode:?}, {len} bytes");
    }
}

struct Names;

impl PortNames for Names {
    fn write_name(&self, port: PortId, name: &mut String) {
        use std::fmt::Write;
        write!(name, "port {port} daemon uid 1001").unwrap();
    }
}

/// Starts captures of all kinds.
fn captures(mirror: &mut Mirror) -> Vec<Tail> {
    let filter = [(0x80, 0, 0, 0), (0x35, 0, 1, 100), (0x06, 0, 0, 80), (0x06, 0, 0, 0)]
        .map(|(code, jt, jf, k)| Instruction(code, jt, jf, k));
    let filter = Program::try_from(filter.to_vec()).unwrap();
    let specs = [
        CaptureSpec::default(),
        CaptureSpec { filter: Some(filter), ..CaptureSpec::default() },
        CaptureSpec { ports: vec![1, 2, 3], ..CaptureSpec::default() },
        CaptureSpec { direction: Some(Directions::Both), ..CaptureSpec::default() },
    ];
    let tails = specs.into_iter().zip(0..).map(|(spec, id)| {
        let (session, tail) = Session::open(SessionId(id), spec, Box::new(|| ())).unwrap();
        mirror.start(session).unwrap();
        tail
    });
    tails.collect()
}

/// While there is room in their buffers, and when there is none.
#[test]
fn captures_allocate_nothing() {
    for len in LENGTHS {
        let mut b = Bench::new(Mode::Switch, 5);
        let mut mirror = Mirror::default();
        let _tails = captures(&mut mirror);
        let frames = [(0, frame(1, 0, len)), (1, frame(0, 1, len)), (2, frame(EVERYBODY, 2, len))];
        let mut round = |b: &mut Bench| {
            for (from, bytes) in &frames {
                let (from, time) = (b.ports[*from], Duration::from_secs(1));
                let verdict = b.switch.forward(from, bytes, b.now, &mut b.clients);
                let frame = Forwarded { from, verdict, bytes, time };
                mirror.record(frame, b.switch.ports(), &Names);
            }
        };
        // The names of the ports are told.
        round(&mut b);
        let count = allocations(|| (0..20_000).for_each(|_| round(&mut b)));
        assert_eq!(count, 0, "{len} bytes");
        mirror.stop_all(&Names);
    }
}

#[test]
fn ports_that_are_connections_allocate_nothing() {
    for kind in CONNECTION_KINDS {
        let ends: [_; 2] = Socket::pair(Domain::UNIX, kind.socket_type, None).unwrap().into();
        let [mut here, mut there] = ends.map(|end| {
            end.set_nonblocking(true).unwrap();
            (kind.open)(end, 1518)
        });
        let long = frame(EVERYBODY, 1, 1514);
        let mut buffer = [0; 1519];
        let mut bulk = || {
            // Until there is no room, or for a part of a frame only; then all is received.
            let mut sent = 0;
            while here.send(&long) == TxOutcome::Sent {
                sent += 1;
            }
            let mut received = 0;
            while received < sent {
                here.send_rest();
                match there.receive(&mut buffer) {
                    Received::Frame(1514) => received += 1,
                    Received::Again | Received::Nothing => {}
                    other => panic!("{other:?}"),
                }
            }
            sent
        };
        assert!(bulk() > 10, "{}", kind.name);
        let count = allocations(|| {
            for _ in 0..20 {
                bulk();
            }
        });
        assert_eq!(count, 0, "{}", kind.name);
    }
}
