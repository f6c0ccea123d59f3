//! Two guests that mind their own business while somebody else misbehaves.

use std::any::Any;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::{Client, SILENCE, Switch, mac, wait_for};

/// One asks, the other answers, without end. Nothing may be lost, come twice, out of order, changed,
/// or from anybody else. What they have on the way at a time is little, so that a receiver that is
/// not run for a while is no reason to lose anything.
#[derive(Debug)]
pub struct GoodPair {
    rounds: Arc<AtomicU64>,
    /// Held by the asker for the time of a round.
    turn: Arc<Mutex<()>>,
    asker: Side<Duration>,
    answerer: Side<()>,
    noise: Noise,
}

/// Which frames of others are to be expected.
#[derive(Clone, Copy, Debug)]
pub enum Noise {
    /// None at all.
    None,
    /// What the switch floods: frames of others to everybody, or to whom it does not know yet.
    Floods,
}

#[derive(Debug)]
struct Side<T> {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(Client, T)>,
}

/// Questions on the way at a time: a round is so many, and as many answers.
const WINDOW: u64 = 4;

/// Lengths of the frames, in turn.
const LENGTHS: [usize; 5] = [60, 1514, 22, 590, 1000];

/// How long a round may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

impl GoodPair {
    pub const ASKER: u32 = 0x00aa_0001;
    pub const ANSWERER: u32 = 0x00aa_0002;

    /// Opens two ports, lets the switch learn both, and starts to play.
    pub fn start(switch: &Switch) -> GoodPair {
        GoodPair::start_amid(switch, Noise::None)
    }

    /// The same where others are heard too.
    pub fn start_amid(switch: &Switch, noise: Noise) -> GoodPair {
        let asker = Client::new(switch, mac(GoodPair::ASKER));
        let answerer = Client::new(switch, mac(GoodPair::ANSWERER));
        asker.reach(&answerer);
        answerer.reach(&asker);
        let rounds = Arc::new(AtomicU64::new(0));
        let turn = Arc::new(Mutex::new(()));
        let (counter, its_turn) = (rounds.clone(), turn.clone());
        let pair = GoodPair {
            rounds,
            turn,
            asker: Side::start(asker, move |client, stop| {
                ask(client, stop, &counter, &its_turn, noise)
            }),
            answerer: Side::start(answerer, move |client, stop| answer(client, stop, noise)),
            noise,
        };
        pair.goes_on();
        pair
    }

    /// Waits until they have exchanged some more.
    #[track_caller]
    pub fn goes_on(&self) {
        let goal = self.rounds() + 20;
        wait_for("the good pair to go on", || {
            let ended = self.asker.thread.is_finished() || self.answerer.thread.is_finished();
            assert!(!ended, "the good pair has come to harm; see above");
            (self.rounds() >= goal).then_some(())
        });
    }

    /// Rounds so far.
    pub fn rounds(&self) -> u64 {
        self.rounds.load(Ordering::Relaxed)
    }

    /// Pauses the game and panics unless the switch rests: nothing that is going on keeps it busy.
    #[track_caller]
    pub fn expect_rest(&self, switch: &Switch) {
        let _turn = self.turn.lock().unwrap();
        let before = switch.cpu();
        thread::sleep(Duration::from_secs(1));
        let used = switch.cpu() - before;
        assert!(used < Duration::from_millis(100), "{used:?} of processor time in a silent second");
    }

    /// Ends the game: nothing may be left over. Reports how it went; speed is nothing to judge here.
    #[track_caller]
    pub fn finish(self) {
        self.goes_on();
        // The asker first, at the end of a round: nothing is on the way then.
        let (asker, worst) = self.asker.stop();
        let (answerer, ()) = self.answerer.stop();
        for client in [asker, answerer] {
            while let Some(frame) = client.receive_within(SILENCE) {
                assert!(self.noise.explains(&frame), "left over: {:x?}", &frame[..22]);
            }
        }
        let rounds = self.rounds.load(Ordering::Relaxed);
        println!("good pair: {rounds} rounds, the slowest took {worst:?}");
    }
}

impl Noise {
    fn explains(self, frame: &[u8]) -> bool {
        let own = [mac(GoodPair::ASKER), mac(GoodPair::ANSWERER)].concat();
        match self {
            Noise::None => false,
            // Neither of the two addresses is one of the pair's.
            Noise::Floods => {
                frame.len() >= 14 && frame[..12].chunks(6).all(|a| own.chunks(6).all(|b| a != b))
            }
        }
    }

    /// Receives the next frame that is no noise.
    fn receive_past(self, client: &Client, within: Duration) -> Option<Vec<u8>> {
        let deadline = Instant::now() + within;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let frame = client.receive_within(left)?;
            if !self.explains(&frame) {
                return Some(frame);
            }
        }
    }
}

impl<T: Any + Send> Side<T> {
    fn start(
        client: Client,
        play: impl FnOnce(&Client, &AtomicBool) -> T + Send + 'static,
    ) -> Side<T> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            let result = play(&client, &stopped);
            (client, result)
        });
        Side { stop, thread }
    }

    fn stop(self) -> (Client, T) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

/// The frame number `n` of one of the two.
fn numbered(to: u32, from: u32, n: u64) -> Vec<u8> {
    let len = LENGTHS[((n + u64::from(from)) % LENGTHS.len() as u64) as usize];
    let mut frame = super::frame(mac(to), mac(from), len);
    frame[14..22].copy_from_slice(&n.to_be_bytes());
    frame
}

fn ask(
    client: &Client,
    stop: &AtomicBool,
    rounds: &AtomicU64,
    turn: &Mutex<()>,
    noise: Noise,
) -> Duration {
    let (us, them) = (GoodPair::ASKER, GoodPair::ANSWERER);
    let mut worst = Duration::ZERO;
    for round in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let turn = turn.lock().unwrap();
        let started = Instant::now();
        let numbers = round * WINDOW..(round + 1) * WINDOW;
        for n in numbers.clone() {
            client.send(&numbered(them, us, n));
        }
        for n in numbers {
            let answer = noise.receive_past(client, PATIENCE);
            check(&answer.expect("an answer"), &numbered(us, them, n));
        }
        worst = worst.max(started.elapsed());
        rounds.fetch_add(1, Ordering::Relaxed);
        drop(turn);
        // Not to wait for anything, but to leave the machine to those who misbehave.
        thread::sleep(Duration::from_millis(1));
    }
    worst
}

fn answer(client: &Client, stop: &AtomicBool, noise: Noise) {
    let (us, them) = (GoodPair::ANSWERER, GoodPair::ASKER);
    let mut n = 0;
    while !stop.load(Ordering::Relaxed) {
        if let Some(question) = noise.receive_past(client, Duration::from_millis(50)) {
            check(&question, &numbered(us, them, n));
            client.send(&numbered(them, us, n));
            n += 1;
        }
    }
}

#[track_caller]
fn check(frame: &[u8], expected: &[u8]) {
    if frame != expected {
        let show =
            |frame: &[u8]| format!("{} bytes {:x?}", frame.len(), &frame[..frame.len().min(24)]);
        panic!("the good pair expected {} and got {}", show(expected), show(frame));
    }
}
