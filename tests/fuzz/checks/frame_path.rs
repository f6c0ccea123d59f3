//! What must hold for the switch whatever guests, their receivers and the clock do.
//!
//! The first byte of an input sizes the switch; the rest are operations, each a byte whose lower
//! three bits say what and whose upper five say to which port, and its operands:
//!
//! | bits | operation | operands |
//! | --- | --- | --- |
//! | 0 | open a port; the upper bits are `can_wait` and a wish | |
//! | 1 | close a port | |
//! | 2 | send between stations of a small set | stations, length |
//! | 3 | the same, many times | stations, length, how often |
//! | 4 | send with any addresses | 12 bytes, length in 2 |
//! | 5 | the receiver reads | how many frames |
//! | 6 | the receiver is gone or back; a stranger sends | which |
//! | 7 | time passes | how much |
//!
//! Every frame carries its number where the type stands, which the switch does not read.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use uml_switch::core::{
    EgressLimits, HEADER_LEN, MacAddr, Mode, PortCounters, PortId, PortTraits, RxDrop, Switch,
    SwitchConfig, TICK, TxDrop, TxOutcome, Verdict, Wire,
};

/// Runs the operations in `data`.
pub(crate) fn check(data: &[u8]) {
    let mut bytes = data.iter().copied();
    let Some(setup) = bytes.next() else { return };
    let mut world = World::new(setup);
    while let Some(operation) = bytes.next() {
        if world.step(operation, &mut bytes).is_none() || world.is_long() {
            break;
        }
        world.check_between_steps();
    }
    world.finish();
}

struct World {
    config: SwitchConfig,
    switch: Switch,
    clients: Clients,
    /// All ports that there ever were.
    ports: Vec<PortId>,
    now: Instant,
    /// Where each station was last learnt, if the table had never had to forget one.
    stations: HashMap<MacAddr, Learnt>,
    /// All that were ever learnt.
    learnt: BTreeSet<MacAddr>,
    /// Ports that are not read.
    held: BTreeSet<PortId>,
    /// Counted once for each port that could get them.
    bytes_sent: usize,
}

#[derive(Clone, Copy)]
struct Learnt {
    port: PortId,
    seen: Instant,
}

/// The other ends of the ports.
#[derive(Default)]
struct Clients {
    open: BTreeMap<PortId, Client>,
    sent: Vec<Sent>,
    /// Copies delivered since this was last cleared: to whom, and which frame.
    delivered: Vec<(PortId, usize)>,
}

#[derive(Default)]
struct Client {
    room: usize,
    gone: Option<TxDrop>,
    /// Frames sent before the port was there.
    opened_at: usize,
    /// The last frame of each flow: of each port and each station behind it, for none is IP.
    last: HashMap<(PortId, [u8; 6]), usize>,
    /// What came in and what went out, as the client would count it.
    sent: u64,
    got: u64,
    got_bytes: u64,
}

/// A frame that was sent into the switch.
struct Sent {
    from: PortId,
    bytes: Vec<u8>,
    /// `None` while it is on its way.
    verdict: Option<Verdict>,
}

impl Wire for Clients {
    fn transmit(&mut self, to: PortId, frame: &[u8]) -> TxOutcome {
        let client = self.open.get_mut(&to).expect("nothing is sent to a closed port");
        assert!(frame.len() >= HEADER_LEN, "a runt is delivered");
        let number = usize::from(u16::from_be_bytes([frame[12], frame[13]]));
        let sent = &self.sent[number];
        assert_eq!(frame, sent.bytes, "frame {number} has changed");
        assert_ne!(sent.from, to, "frame {number} comes back to its sender");
        match sent.verdict {
            None => {}
            Some(Verdict::Unicast(port)) => assert_eq!(port, to, "frame {number} went astray"),
            Some(Verdict::Flood) => assert!(number >= client.opened_at, "frame {number} is older"),
            Some(Verdict::Drop(reason)) => panic!("frame {number} was dropped as {reason:?}"),
        }
        if let Some(reason) = client.gone {
            return TxOutcome::Dropped(reason);
        }
        if client.room == 0 {
            return TxOutcome::Full;
        }
        client.room -= 1;
        client.got += 1;
        client.got_bytes += frame.len() as u64;
        let flow = (sent.from, array(&mut frame[6..12].iter().copied()).expect("a source"));
        if let Some(last) = client.last.insert(flow, number) {
            assert!(last < number, "frame {number} comes after {last}");
        }
        self.delivered.push((to, number));
        TxOutcome::Sent
    }
}

impl World {
    fn new(setup: u8) -> Self {
        let limits = |frames, bytes, park_at, release_at| EgressLimits {
            frames,
            bytes,
            park_at,
            release_at,
        };
        let pick = |shift: u8| usize::from(setup >> shift) & 3;
        let config = SwitchConfig {
            mode: if setup & 1 == 1 { Mode::Hub } else { Mode::Switch },
            egress: [
                EgressLimits::default(),
                limits(32, 4000, 8, 4),
                limits(512, 16_384, 16, 8),
                limits(1, 1518, 1, 0),
            ][pick(1)],
            max_frame: [86, 1518, 9018, 65_549][pick(3)],
            fdb_size: [1, 4, 16, 1000][pick(5)],
            max_ports: if setup & 0x80 == 0 { 64 } else { 3 },
            ageing: AGEING,
        };
        World {
            config,
            switch: Switch::new(config),
            clients: Clients::default(),
            ports: Vec::new(),
            now: Instant::now(),
            stations: HashMap::new(),
            learnt: BTreeSet::new(),
            held: BTreeSet::new(),
            bytes_sent: 0,
        }
    }

    /// True when enough has been sent to know.
    fn is_long(&self) -> bool {
        self.clients.sent.len() > MAX_FRAMES || self.bytes_sent > MAX_BYTES
    }

    /// Carries out one operation; `None` if its operands are missing.
    fn step(&mut self, operation: u8, bytes: &mut impl Iterator<Item = u8>) -> Option<()> {
        let port = operation >> 3;
        match operation & 7 {
            0 => self.open(port & 1 == 0, port >> 1),
            1 => self.close(self.port(port)),
            kind @ (2 | 3) => {
                let (stations, len) = (bytes.next()?, bytes.next()?);
                let times = if kind == 2 { 1 } else { bytes.next()? };
                let (to, source) = (station(stations & 15), station(stations >> 4));
                for _ in 0..times {
                    if self.is_long() {
                        break;
                    }
                    self.send(self.port(port), to, source, self.length(len));
                }
            }
            4 => {
                let mut mac = || Some(MacAddr(array(bytes)?));
                let (to, source) = (mac()?, mac()?);
                let len = usize::from(u16::from_be_bytes(array(bytes)?));
                self.send(self.port(port), to, source, len.min(self.config.max_frame + 1));
            }
            5 => self.read(self.port(port), bytes.next()?),
            6 => self.change_receiver(self.port(port), bytes.next()?),
            _ => self.wait(match bytes.next()? {
                millis @ 0..200 => Duration::from_millis(millis.into()),
                more => Duration::from_millis(10) * (u32::from(more) - 180),
            }),
        }
        Some(())
    }

    /// One of the last ports that were opened; they may have closed since.
    fn port(&self, choice: u8) -> PortId {
        let back = usize::from(choice) % self.ports.len().clamp(1, 32);
        let nobody = PortId::from_parts(1, u32::MAX);
        self.ports.iter().rev().nth(back).copied().unwrap_or(nobody)
    }

    /// A length that has an edge near it.
    fn length(&self, choice: u8) -> usize {
        let max = self.config.max_frame;
        match choice {
            0..=31 => choice.into(),
            32 => max - 1,
            33 => max,
            34 => max + 1,
            35.. => (usize::from(choice) * 41).min(max),
        }
    }

    fn open(&mut self, can_wait: bool, wish: u8) {
        // 0 is no wish, 1 the uplink.
        let wish = u32::from(wish).checked_sub(1);
        let next = self.switch.next_number(wish);
        let opened = self.switch.open_port(wish, PortTraits { can_wait }, self.now);
        assert_eq!(opened.map(PortId::number), next);
        if let Ok(id) = opened {
            assert!(!self.ports.contains(&id), "{id:?} is used again");
            self.ports.push(id);
            let opened_at = self.clients.sent.len();
            self.clients.open.insert(id, Client { room: ROOM, opened_at, ..Client::default() });
        }
    }

    fn close(&mut self, id: PortId) {
        let counters = self.switch.close_port(id);
        let client = self.clients.open.remove(&id);
        assert_eq!(counters.is_some(), client.is_some());
        self.held.remove(&id);
        self.stations.retain(|_, learnt| learnt.port != id);
        if let Some((counters, client)) = counters.zip(client) {
            assert_eq!(waiting(&counters, &client), 0, "{counters}");
        }
    }

    fn send(&mut self, from: PortId, to: MacAddr, source: MacAddr, len: usize) {
        // As the loop does. A port that has to be read with all others is never held.
        if self.switch.is_held(from) {
            return;
        }
        let number = self.clients.sent.len();
        let mut bytes = vec![number as u8; len.max(HEADER_LEN)];
        bytes[..6].copy_from_slice(&to.0);
        bytes[6..12].copy_from_slice(&source.0);
        bytes[12..HEADER_LEN].copy_from_slice(&(number as u16).to_be_bytes());
        bytes.truncate(len);
        self.bytes_sent += len * self.clients.open.len();
        self.clients.sent.push(Sent { from, bytes: bytes.clone(), verdict: None });
        self.clients.delivered.clear();
        let verdict = self.switch.forward(from, &bytes, self.now, &mut self.clients);
        self.clients.sent[number].verdict = Some(verdict);

        let open = self.clients.open.contains_key(&from);
        if let Some(client) = self.clients.open.get_mut(&from) {
            client.sent += 1;
        }
        let carried = (HEADER_LEN..=self.config.max_frame).contains(&len);
        if open && carried {
            self.learn(source, from);
        }
        self.check_verdict(verdict, from, to, len);
        let mut receivers = BTreeSet::new();
        for &(receiver, delivered) in &self.clients.delivered {
            assert_eq!(delivered, number, "another frame left meanwhile");
            assert!(receivers.insert(receiver), "{receiver:?} got frame {number} twice");
            match verdict {
                Verdict::Unicast(port) => assert_eq!(receiver, port),
                Verdict::Flood => assert_ne!(receiver, from),
                Verdict::Drop(reason) => panic!("delivered, and dropped as {reason:?}"),
            }
        }
    }

    fn learn(&mut self, station: MacAddr, port: PortId) {
        if self.config.mode == Mode::Switch && station.is_station() {
            self.learnt.insert(station);
            self.stations.insert(station, Learnt { port, seen: self.now });
        }
    }

    fn check_verdict(&self, verdict: Verdict, from: PortId, to: MacAddr, len: usize) {
        if !self.clients.open.contains_key(&from) {
            assert_eq!(verdict, Verdict::Drop(RxDrop::Stranger));
            return;
        }
        if len < HEADER_LEN {
            assert_eq!(verdict, Verdict::Drop(RxDrop::Runt));
            return;
        }
        if len > self.config.max_frame {
            assert_eq!(verdict, Verdict::Drop(RxDrop::Oversize));
            return;
        }
        let known = self.stations.get(&to);
        let age = known.map(|learnt| self.now - learnt.seen);
        let expected = match known {
            None => Verdict::Flood,
            Some(learnt) if learnt.port == from => Verdict::Drop(RxDrop::Hairpin),
            Some(learnt) => Verdict::Unicast(learnt.port),
        };
        if verdict == Verdict::Flood && expected != Verdict::Flood {
            // It may have been forgotten: by age, which is known a little too high, or for room.
            let old = age.is_some_and(|age| age >= AGEING - AGEING / 16);
            assert!(old || self.learnt.len() > self.config.fdb_size, "{to} was forgotten");
        } else {
            assert_eq!(verdict, expected, "to {to}");
            assert!(age.is_none_or(|age| age < AGEING), "{to} should have aged out");
        }
    }

    fn read(&mut self, id: PortId, choice: u8) {
        let Some(client) = self.clients.open.get_mut(&id) else { return };
        client.room += usize::from(choice >> 1);
        // Otherwise the next tick has to find out that there is room.
        if choice & 1 == 0 {
            self.drain(id);
        }
    }

    fn drain(&mut self, id: PortId) {
        self.clients.delivered.clear();
        while self.switch.drain(id, 8, self.now, &mut self.clients) {}
        let lengths = self.clients.delivered.iter().map(|&(_, n)| self.clients.sent[n].bytes.len());
        assert!(lengths.sum::<usize>() <= self.config.egress.bytes, "too much was queued");
    }

    fn change_receiver(&mut self, id: PortId, choice: u8) {
        if choice & 7 == 4 {
            self.switch.refuse(id, choice.into(), RxDrop::Stranger);
        }
        if let Some(client) = self.clients.open.get_mut(&id) {
            match choice & 7 {
                1 => client.gone = Some(TxDrop::NoReceiver),
                2 => client.gone = Some(TxDrop::LinkDown),
                3 => client.gone = Some(TxDrop::Refused),
                4 => client.sent += 1,
                _ => client.gone = None,
            }
        }
    }

    /// Calls the switch whenever it has asked for it.
    fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(due) = self.switch.next_tick().filter(|&due| due <= until) {
            self.now = self.now.max(due);
            self.switch.tick(self.now, &mut self.clients);
            let next = self.switch.next_tick();
            assert!(next.is_none_or(|next| next > self.now), "a tick that asks for itself spins");
        }
        self.now = until;
    }

    /// A port that is let go must be named, or nobody would ever read it again.
    fn notice_released(&mut self) {
        let mut named = BTreeSet::new();
        while let Some(id) = self.switch.next_released() {
            named.insert(id);
        }
        for &id in self.clients.open.keys() {
            if self.switch.is_held(id) {
                self.held.insert(id);
            } else if self.held.remove(&id) {
                assert!(named.contains(&id), "{id:?} was let go in silence");
            }
        }
    }

    fn check_between_steps(&mut self) {
        self.notice_released();
        let mut queued = 0;
        for (&id, client) in &self.clients.open {
            let counters = self.switch.counters(id).expect("the port is open");
            let waiting = waiting(counters, client);
            assert!(waiting <= self.config.egress.frames as u64, "{waiting} frames are queued");
            assert_eq!(waiting > 0, self.switch.has_queued(id));
            queued += waiting;
        }
        let totals = self.switch.totals();
        assert_eq!(self.switch.queued() as u64, queued);
        assert_eq!(totals.rx_frames, totals.rx_unicast + totals.rx_flooded + totals.rx_dropped());
        assert_eq!(totals.tx_offered, totals.tx_frames + totals.tx_dropped() + queued);
        assert!(self.switch.stations() <= self.config.fdb_size.min(self.learnt.len()));
        let open: BTreeSet<_> = self.switch.ports().iter().collect();
        assert!(open.iter().copied().eq(self.clients.open.keys()));
        assert!(self.held.is_empty() || self.switch.next_tick().is_some(), "nobody will look");
    }

    /// Nobody reads any more, then everybody does, then all leave.
    fn finish(&mut self) {
        self.wait(TICK * 20);
        self.check_between_steps();
        assert!(self.held.is_empty(), "{:?} are held for ever", self.held);
        for id in self.switch.ports().to_vec() {
            if let Some(client) = self.clients.open.get_mut(&id) {
                client.room = usize::MAX;
            }
            self.drain(id);
        }
        self.check_between_steps();
        assert_eq!(self.switch.queued(), 0);
        for id in self.switch.ports().to_vec() {
            self.close(id);
        }
        self.wait(TICK * 2);
        self.check_between_steps();
        assert_eq!((self.switch.stations(), self.switch.next_tick()), (0, None));
    }
}

/// How many frames wait for a port by its counters, whose sums are checked against what its client
/// has sent and received.
fn waiting(counters: &PortCounters, client: &Client) -> u64 {
    let settled = counters.rx_unicast + counters.rx_flooded + counters.rx_dropped();
    assert_eq!((counters.rx_frames, settled), (client.sent, client.sent), "{counters}");
    assert_eq!((counters.tx_frames, counters.tx_bytes), (client.got, client.got_bytes));
    let waiting = counters.tx_offered.checked_sub(counters.tx_frames + counters.tx_dropped());
    waiting.expect("more copies left than were offered")
}

/// One of a few stations, everybody, or nobody.
fn station(choice: u8) -> MacAddr {
    match choice {
        15 => MacAddr([0xff; 6]),
        14 => MacAddr([0; 6]),
        13 => MacAddr([1, 0, 0x5e, 0, 0, 1]),
        n => MacAddr([2, 0, 0, 0, 0, n]),
    }
}

fn array<const N: usize>(bytes: &mut impl Iterator<Item = u8>) -> Option<[u8; N]> {
    let mut array = [0; N];
    for byte in &mut array {
        *byte = bytes.next()?;
    }
    Some(array)
}

const AGEING: Duration = Duration::from_millis(400);

/// What a client takes before it has read anything.
const ROOM: usize = 10;

/// An input that sends more than this finds nothing more.
const MAX_FRAMES: usize = 4096;
const MAX_BYTES: usize = 1 << 20;
