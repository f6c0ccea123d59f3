//! What one frame costs the switch alone, without sockets: `cargo bench --bench core`.
//!
//! Varied is what users vary: frame size, how many stations are known, how many ports a flood
//! reaches, how many sources fill a queue. The figures are for the forwarding decision and the
//! queues; a system call costs several times as much.

use std::hint::black_box;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use uml_switch::control::handshake::{self, Dialect};
use uml_switch::core::{
    EgressLimits, EgressQueue, FramePool, Mode, PortId, PortTraits, Switch, SwitchConfig,
    TxOutcome, Verdict, Wire,
};
use uml_switch::mirror::bpf::{Instruction, Program};
use uml_switch::mirror::{
    CaptureSpec, Forwarded, Mirror, PortNames, Record, Session, SessionId, Tail,
};

/// Clients that take everything.
struct Takes;

impl Wire for Takes {
    fn transmit(&mut self, _to: PortId, frame: &[u8]) -> TxOutcome {
        black_box(frame);
        TxOutcome::Sent
    }
}

/// Clients that take nothing.
struct Stopped;

impl Wire for Stopped {
    fn transmit(&mut self, _to: PortId, frame: &[u8]) -> TxOutcome {
        black_box(frame);
        TxOutcome::Full
    }
}

struct Bench {
    switch: Switch,
    ports: Vec<PortId>,
    now: Instant,
}

impl Bench {
    /// A switch as the daemon makes it, each of whose ports is known to have one station.
    fn new(ports: u32) -> Self {
        Self::with_fdb(ports, FDB_SIZE)
    }

    fn with_fdb(ports: u32, fdb_size: usize) -> Self {
        let now = Instant::now();
        let mut switch = Switch::new(SwitchConfig {
            mode: Mode::Switch,
            max_ports: ports,
            max_frame: 9018,
            fdb_size,
            ageing: Duration::from_secs(100),
            egress: EgressLimits::default(),
        });
        let traits = PortTraits { can_wait: true };
        let ports: Vec<_> =
            (0..ports).map(|_| switch.open_port(None, traits, now).expect("a port")).collect();
        let mut bench = Bench { switch, ports, now };
        for port in 0..bench.ports.len() {
            bench.send(port, &frame(EVERYBODY, station(port as u32), 60));
        }
        bench
    }

    fn send(&mut self, from: usize, frame: &[u8]) {
        black_box(self.switch.forward(self.ports[from], frame, self.now, &mut Takes));
    }

    /// Makes `stations` known in all, the others behind the last port.
    fn fill(&mut self, stations: usize) {
        let last = self.ports.len() - 1;
        for n in 0..stations.saturating_sub(self.switch.stations()) as u32 {
            self.send(last, &frame(EVERYBODY, station(0x0100_0000 + n), 60));
        }
    }
}

fn unicast(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("unicast");
    group.throughput(Throughput::Elements(1));
    for len in [64, 1514, 9014] {
        let mut bench = Bench::new(2);
        let frame = frame(station(1), station(0), len);
        group.bench_function(BenchmarkId::new("bytes", len), |b| {
            b.iter(|| bench.send(0, black_box(&frame)));
        });
    }
    // Among many stations, and to all of them in turn: the table does not fit the nearest cache.
    for stations in [2, 1024, FDB_SIZE, 100_000] {
        let mut bench = Bench::with_fdb(2, stations.max(FDB_SIZE));
        bench.fill(stations);
        let frames: Vec<_> = (0..stations.saturating_sub(2).max(1) as u32)
            .map(|n| if stations == 2 { station(1) } else { station(0x0100_0000 + n) })
            .map(|destination| frame(destination, station(0), 64))
            .collect();
        let mut next = 0;
        group.bench_function(BenchmarkId::new("stations", stations), |b| {
            b.iter(|| {
                bench.send(0, &frames[next]);
                next = (next + 1) % frames.len();
            });
        });
    }
    group.finish();
}

fn flood(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("flood");
    for others in [2, 32, 256, 1000] {
        let mut bench = Bench::new(others + 1);
        let frame = frame(EVERYBODY, station(0), 64);
        group.throughput(Throughput::Elements(others.into()));
        group.bench_function(BenchmarkId::new("ports", others), |b| {
            b.iter(|| bench.send(0, black_box(&frame)));
        });
    }
    group.finish();
}

/// A guest that gives each frame another sender, the table being full.
fn flood_of_stations(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("flood_of_stations");
    group.throughput(Throughput::Elements(1));
    for size in [1024, FDB_SIZE, 131_072] {
        let mut bench = Bench::with_fdb(2, size);
        bench.fill(size);
        let mut frame = frame(station(0), station(1), 64);
        let mut n = 0x0200_0000;
        group.bench_function(BenchmarkId::new("stations", size), |b| {
            b.iter(|| {
                n += 1;
                frame[6..12].copy_from_slice(&station(n));
                bench.send(1, &frame);
            });
        });
    }
    group.finish();
}

fn egress(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("egress");
    group.throughput(Throughput::Elements(1));
    for flows in [1, 8, 32] {
        let sources: Vec<_> = (0..flows).map(|n| PortId::from_parts(n, 0)).collect();
        let mut pool = FramePool::new(9018);
        let mut released = Vec::new();
        let now = Instant::now();
        let mut queue = EgressQueue::new(EgressLimits::default());
        let frame = [0; 1514];
        let mut next = 0;
        let mut push = |queue: &mut EgressQueue, pool: &mut FramePool| {
            let pushed_out = queue.push(sources[next], &frame, now, pool, &mut released);
            next = (next + 1) % sources.len();
            pushed_out
        };
        for _ in 0..64 {
            push(&mut queue, &mut pool);
        }
        group.bench_function(BenchmarkId::new("push_pop/flows", flows), |b| {
            b.iter(|| {
                push(&mut queue, &mut pool);
                black_box(queue.front());
                queue.pop(&mut pool, &mut Vec::new());
            });
        });
        // Nobody takes anything: each frame pushes one out.
        while push(&mut queue, &mut pool) == 0 {}
        group.bench_function(BenchmarkId::new("push_out/flows", flows), |b| {
            b.iter(|| black_box(push(&mut queue, &mut pool)));
        });
    }
    group.finish();
}

/// A frame for a receiver that has been given up.
fn stopped_receiver(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("stopped_receiver");
    group.throughput(Throughput::Elements(1));
    for len in [64, 1514] {
        let mut bench = Bench::new(2);
        let frame = frame(station(1), station(0), len);
        while !bench.switch.is_held(bench.ports[0]) {
            bench.switch.forward(bench.ports[0], &frame, bench.now, &mut Stopped);
        }
        while let Some(due) = bench.switch.next_tick() {
            bench.now = due;
            bench.switch.tick(bench.now, &mut Stopped);
        }
        assert!(!bench.switch.is_held(bench.ports[0]));
        group.bench_function(BenchmarkId::new("bytes", len), |b| {
            b.iter(|| bench.switch.forward(bench.ports[0], &frame, bench.now, &mut Stopped));
        });
    }
    group.finish();
}

struct Names;

impl PortNames for Names {
    fn write_name(&self, port: PortId, name: &mut String) {
        name.push_str(if port.number() == 1 { "one" } else { "other" });
    }
}

/// A capture of everything and who reads it.
fn capture(filter: Option<Program>) -> (Mirror, Tail) {
    let mut mirror = Mirror::default();
    let spec = CaptureSpec { filter, ..CaptureSpec::default() };
    let opened = Session::open(SessionId(0), spec, Box::new(|| ()));
    let (session, tail) = opened.expect("a capture");
    mirror.start(session).expect("room for a capture");
    (mirror, tail)
}

/// `tcpdump -ddd udp port 27015`.
fn udp_port_27015() -> Program {
    let instructions = [
        (40, 0, 0, 12),
        (21, 0, 6, 34525),
        (48, 0, 0, 20),
        (21, 0, 15, 17),
        (40, 0, 0, 54),
        (21, 12, 0, 27015),
        (40, 0, 0, 56),
        (21, 10, 11, 27015),
        (21, 0, 10, 2048),
        (48, 0, 0, 23),
        (21, 0, 8, 17),
        (40, 0, 0, 20),
        (69, 6, 0, 8191),
        (177, 0, 0, 14),
        (72, 0, 0, 14),
        (21, 2, 0, 27015),
        (72, 0, 0, 16),
        (21, 0, 1, 27015),
        (6, 0, 0, 262_144),
        (6, 0, 0, 0),
    ];
    let instructions = instructions.map(|(code, jt, jf, k)| Instruction(code, jt, jf, k));
    Program::try_from(instructions.to_vec()).expect("a program")
}

/// What a capture adds to a frame, its reader's part included: it runs on the same thread here.
fn mirror(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("mirror");
    group.throughput(Throughput::Elements(1));
    for (name, filter) in [("record", None), ("filter_and_record", Some(udp_port_27015()))] {
        for len in [64, 1514] {
            let (mut mirror, mut tail) = capture(filter.clone());
            let mut bytes = frame(station(1), station(0), len);
            bytes[12..24].copy_from_slice(&[8, 0, 0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17]);
            bytes[36..38].copy_from_slice(&27015u16.to_be_bytes());
            let (from, to) = (PortId::from_parts(1, 0), PortId::from_parts(2, 0));
            let verdict = Verdict::Unicast(to);
            let mut n = 0;
            let mut read = 0;
            group.bench_function(BenchmarkId::new(name, len), |b| {
                b.iter(|| {
                    let time = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later");
                    let frame = Forwarded { from, verdict, bytes: black_box(&bytes), time };
                    mirror.record(frame, &[from, to], &Names);
                    n += 1;
                    if n % 1024 == 0 {
                        let read = tail.read(Duration::ZERO, |record| {
                            read += u64::from(matches!(record, Record::Frame(_)));
                            Ok(())
                        });
                        read.expect("records");
                    }
                });
            });
            assert!(read > 0, "nothing was captured");
            mirror.stop_all(&Names);
        }
    }
    // What a frame costs while nobody captures.
    let mirror = Mirror::default();
    group.bench_function("nobody", |b| b.iter(|| black_box(&mirror).is_active()));
    group.finish();
}

fn handshake(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("handshake");
    let mut request: Vec<u8> =
        [0xfeed_face_u32, 3, 0].iter().flat_map(|word| word.to_ne_bytes()).collect();
    request.extend(1u16.to_ne_bytes());
    request.extend([0; 108]);
    for (name, description) in [("kernel", &[0; 2][..]), ("description", &[b'd'; 128])] {
        let bytes = [&request, description].concat();
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(name, |b| {
            b.iter(|| handshake::parse(black_box(&bytes), Dialect::UmlSwitch));
        });
    }
    group.finish();
}

fn frame(destination: [u8; 6], source: [u8; 6], len: usize) -> Vec<u8> {
    let mut frame = vec![0; len];
    frame[..6].copy_from_slice(&destination);
    frame[6..12].copy_from_slice(&source);
    frame
}

fn station(n: u32) -> [u8; 6] {
    let [a, b, c, d] = n.to_be_bytes();
    [2, 0, a, b, c, d]
}

const EVERYBODY: [u8; 6] = [0xff; 6];

/// As the command line has it.
const FDB_SIZE: usize = 16_384;

/// Short: these runs are for seeing a change of a third, not of a hundredth.
fn quick() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(600))
        .without_plots()
}

criterion_group! {
    name = core;
    config = quick();
    targets = unicast, flood, flood_of_stations, egress, stopped_receiver, mirror, handshake
}
criterion_main!(core);
