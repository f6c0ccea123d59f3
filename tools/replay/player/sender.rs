//! The sender: one thread that sends each frame when it is due, and keeps what there is no room for.

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

use super::clock::{self, Moment, now};
use super::event::{Due, Event};
use super::port::{Port, Sent};
use super::tape::{Next, Position, Tape};

/// How long a frame waits for room before it counts as refused.
pub const PATIENCE: Duration = Duration::from_secs(1);

/// What is to be sent in a turn.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    pub start: Moment,
    /// Times the recorded speed; `None` is as fast as possible.
    pub speed: Option<f64>,
    /// The turn ends before the first frame that is due so long after its start, or later.
    pub most: Duration,
    /// The turn ends before this pass.
    pub until_pass: u64,
}

/// How a turn ended.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// From its start to the moment at which its last frame was due.
    pub played: Duration,
    /// The pass of the next frame: those before it are done.
    pub pass: u64,
    /// Passes of which something was played, in all turns so far.
    pub begun: u64,
}

/// Sends for all stations.
pub struct Sender<'a> {
    ports: &'a [Option<Port>],
    turn: Turn,
    events: SyncSender<Event>,
    stop: &'a AtomicBool,
    /// By station: frames that wait for room, in order.
    backlogs: Vec<VecDeque<Waiting>>,
    /// Stations whose backlog is not empty.
    waiting: Vec<u32>,
    /// Bytes in all backlogs.
    held: usize,
    played: Duration,
}

#[derive(Debug)]
struct Waiting {
    due: Due,
    /// The receiver knows of it. As fast as possible, a frame is due only when the one before it has
    /// gone.
    announced: bool,
    bytes: Vec<u8>,
}

/// Why no more frames are sent.
enum Halt {
    /// The turn is over for a reason that others know of.
    Stopped,
    Failed(anyhow::Error),
}

impl From<anyhow::Error> for Halt {
    fn from(error: anyhow::Error) -> Self {
        Halt::Failed(error)
    }
}

impl<'a> Sender<'a> {
    /// `ports` by station.
    pub fn new(
        ports: &'a [Option<Port>],
        turn: Turn,
        events: SyncSender<Event>,
        stop: &'a AtomicBool,
    ) -> Self {
        Sender {
            ports,
            turn,
            events,
            stop,
            backlogs: ports.iter().map(|_| VecDeque::new()).collect(),
            waiting: Vec::new(),
            held: 0,
            played: Duration::ZERO,
        }
    }

    /// Plays `tape` until the turn is over and nothing waits any longer. `None` if it was told to stop.
    ///
    /// # Errors
    /// When the capture cannot be read or a port cannot be sent to.
    pub fn play(mut self, tape: &mut Tape<'_>) -> Result<Option<Ended>> {
        // Without these frames are later, which the report shows. As fast as possible no frame is
        // late, and a thread that never sleeps would take the CPU from all others.
        let _ = clock::be_punctual();
        if self.turn.speed.is_some() {
            let _ = uml_switch::sys::run_first_in_first_out(PRIORITY);
        }
        match self.send_all(tape) {
            Ok(ended) => Ok(Some(ended)),
            Err(Halt::Stopped) => Ok(None),
            Err(Halt::Failed(error)) => Err(error),
        }
    }

    fn send_all(&mut self, tape: &mut Tape<'_>) -> Result<Ended, Halt> {
        let mut first: Option<Position> = None;
        let mut begun = 0;
        let pass = loop {
            let next = tape.next().map_err(anyhow::Error::from)?;
            let next = next.context("there is no frame to send")?;
            let begin = *first.get_or_insert(next.at);
            let after = self.due_after(next.at.saturating_sub(begin));
            if next.pass >= self.turn.until_pass || after >= self.turn.most {
                break next.pass;
            }
            self.send_next(next, after)?;
            begun = next.pass + 1;
            tape.taken();
        };
        while !self.waiting.is_empty() {
            self.wait(None)?;
        }
        Ok(Ended { played: self.played, pass, begun })
    }

    /// How long after the turn's start a frame is due.
    fn due_after(&self, position: Position) -> Duration {
        match self.turn.speed {
            Some(speed) => position.div_f64(speed),
            None => now().saturating_sub(self.turn.start),
        }
    }

    fn send_next(&mut self, next: &Next, after: Duration) -> Result<(), Halt> {
        let due = self.turn.start + after;
        let full_at_most = if self.turn.speed.is_some() { usize::MAX } else { MOST_AHEAD };
        loop {
            let early = now() < due;
            if !early && self.backlogs[next.from as usize].len() < full_at_most {
                break;
            }
            self.wait(early.then_some(due))?;
        }
        if self.stop.load(Ordering::Relaxed) {
            return Err(Halt::Stopped);
        }
        self.played = self.played.max(after);
        let now = now();
        let due = if self.turn.speed.is_some() { due } else { now };
        let due = Due {
            number: next.number,
            record: next.record,
            content: next.content,
            from: next.from,
            awaited: next.awaited,
            way: next.way,
            flow: next.flow,
            len: next.bytes.len(),
            due,
            lateness: now.saturating_sub(due),
        };
        self.offer(due, &next.bytes)
    }

    /// Sends a frame, or puts it behind those of its station that wait.
    fn offer(&mut self, due: Due, bytes: &[u8]) -> Result<(), Halt> {
        let queued = !self.backlogs[due.from as usize].is_empty();
        let announced = !queued || self.turn.speed.is_some();
        if announced {
            self.tell(Event::Due(due))?;
        }
        let sent = if queued { Sent::Full } else { self.send(&due, bytes)? };
        let room = self.held + bytes.len() <= MOST_HELD;
        match sent {
            Sent::Taken => {}
            Sent::Full if room => self.hold(due, announced, bytes.to_vec()),
            Sent::Full | Sent::Refused => return self.tell(Event::Refused(due)),
        }
        Ok(())
    }

    fn hold(&mut self, due: Due, announced: bool, bytes: Vec<u8>) {
        let backlog = &mut self.backlogs[due.from as usize];
        if backlog.is_empty() {
            self.waiting.push(due.from);
        }
        self.held += bytes.len();
        backlog.push_back(Waiting { due, announced, bytes });
    }

    /// Waits until a moment, sending meanwhile what there is room for; for a while if there is no
    /// such moment.
    fn wait(&mut self, until: Option<Moment>) -> Result<(), Halt> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(Halt::Stopped);
        }
        let longest = if self.waiting.is_empty() { LOOK_UP } else { RETRY };
        let end = until.map_or(now() + longest, |until| until.min(now() + longest));
        if self.waiting.is_empty() {
            clock::sleep_until(end);
            return Ok(());
        }
        self.wait_for_room(end.saturating_sub(now()))?;
        self.send_waiting()
    }

    fn wait_for_room(&self, time: Duration) -> Result<()> {
        let descriptors = self.waiting.iter().filter_map(|&station| self.descriptor(station));
        let mut polled: Vec<_> =
            descriptors.map(|fd| PollFd::new(fd, PollFlags::POLLOUT)).collect();
        match ppoll(&mut polled, Some(TimeSpec::from_duration(time)), None) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(error) => Err(error).context("cannot wait for room"),
        }
    }

    /// Tries every station that waits: the kernel tells of room only when there is plenty.
    fn send_waiting(&mut self) -> Result<(), Halt> {
        let mut place = 0;
        while let Some(&station) = self.waiting.get(place) {
            self.send_backlog(station)?;
            if self.backlogs[station as usize].is_empty() {
                self.waiting.swap_remove(place);
            } else {
                place += 1;
            }
        }
        Ok(())
    }

    fn send_backlog(&mut self, station: u32) -> Result<(), Halt> {
        while let Some(mut first) = self.backlogs[station as usize].pop_front() {
            if !first.announced {
                first.due.due = now();
                first.announced = true;
                self.tell(Event::Due(first.due))?;
            }
            let sent = self.send(&first.due, &first.bytes)?;
            let waited = now().saturating_sub(first.due.due);
            if sent == Sent::Full && waited < PATIENCE {
                self.backlogs[station as usize].push_front(first);
                break;
            }
            self.held -= first.bytes.len();
            if sent != Sent::Taken {
                self.tell(Event::Refused(first.due))?;
            }
        }
        Ok(())
    }

    /// The receiver may have gone, and knows why.
    fn tell(&self, event: Event) -> Result<(), Halt> {
        self.events.send(event).map_err(|_| Halt::Stopped)
    }

    fn send(&self, due: &Due, bytes: &[u8]) -> Result<Sent> {
        // A station without a port sends nothing: the tape leaves its frames out.
        let Some(port) = &self.ports[due.from as usize] else { return Ok(Sent::Refused) };
        port.send(bytes)
            .with_context(|| format!("the switch does not take the frame of record {}", due.record))
    }

    fn descriptor(&self, station: u32) -> Option<BorrowedFd<'_>> {
        self.ports[station as usize].as_ref().map(Port::descriptor)
    }
}

/// The least that goes before ordinary threads.
const PRIORITY: i32 = 1;

/// How often the sender looks whether it is to stop.
const LOOK_UP: Duration = Duration::from_millis(50);

/// How often it tries to send what waits for room.
const RETRY: Duration = Duration::from_millis(1);

/// Frames of one station that wait when they are sent as fast as possible.
const MOST_AHEAD: usize = 64;

/// Bytes that wait, of all stations. What is more is refused.
const MOST_HELD: usize = 8 << 20;
