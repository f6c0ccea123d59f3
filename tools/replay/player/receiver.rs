//! The receiver: takes what comes at all ports, knows it again, and counts.

use std::os::fd::{AsFd, AsRawFd};
use std::sync::mpsc::{Receiver as Channel, TryRecvError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use mio::unix::SourceFd;
use mio::{Interest, Poll, Token};

use uml_switch::client::Mac;

use crate::capture::Destination;

use super::clock::{Moment, now};
use super::event::{self, Awaited, Due, Event};
use super::in_flight::{InFlight, Key, Match};
use super::introduction;
use super::port::Port;
use super::progress::Progress;
use super::question::{self, Kind};
use super::signals::Signals;
use super::tallies::{About, Tallies};

/// Readiness of one side's ports, and of what may end the replay.
#[derive(Debug)]
pub struct Readiness {
    poll: Poll,
    events: mio::Events,
}

impl Readiness {
    /// Of all `ports`.
    ///
    /// # Errors
    /// Those of `epoll_ctl(2)`.
    pub fn of(ports: &[Option<Port>], signals: &Signals) -> Result<Self> {
        let poll = Poll::new()?;
        let add = |fd: i32, token| {
            poll.registry().register(&mut SourceFd(&fd), Token(token), Interest::READABLE)
        };
        add(signals.as_fd().as_raw_fd(), SIGNAL)?;
        for (station, port) in ports.iter().enumerate() {
            let Some(port) = port else { continue };
            add(port.descriptor().as_raw_fd(), station * 2)?;
            if let Some(control) = port.control() {
                add(control.as_raw_fd(), station * 2 + 1)?;
            }
        }
        Ok(Readiness { poll, events: mio::Events::with_capacity(1024) })
    }
}

/// Receives for all stations during a turn.
pub struct Receiver<'a> {
    pub ports: &'a [Option<Port>],
    pub readiness: &'a mut Readiness,
    pub tallies: &'a mut Tallies,
    pub events: Channel<Event>,
    /// A real server's address.
    pub answering: Option<Mac>,
    pub signals: &'a Signals,
    pub progress: &'a Progress,
    /// When the turn began, and what had been played before it.
    pub start: Moment,
    pub before: Duration,
}

/// What a turn leaves behind as it goes on.
struct State {
    in_flight: InFlight<About>,
    /// Stations whose port may have more.
    ready: Vec<usize>,
    /// When something came or was due last.
    last: Moment,
    sending: bool,
    buffer: Vec<u8>,
}

impl Receiver<'_> {
    /// Receives until the sender has ended and nothing more is to be expected.
    ///
    /// # Errors
    /// A signal, or a switch that ends a port.
    pub fn receive(mut self) -> Result<()> {
        let mut state = State {
            in_flight: InFlight::new(),
            ready: (0..self.ports.len()).collect(),
            last: self.start,
            sending: true,
            buffer: vec![0; LONGEST],
        };
        // Whoever was not run for a while has to look once more before something is lost.
        while !self.is_over(&state) || self.takes_more(&mut state)? {
            let patience = if state.sending { WHILE_SENDING } else { AFTER_SENDING };
            if state.ready.is_empty() {
                self.wait(&mut state, patience)?;
            }
            self.take_frames(&mut state)?;
            self.take_events(&mut state);
            let expired = now().saturating_sub(GIVEN_UP);
            while let Some(frame) = state.in_flight.pop_expired(expired, MOST_IN_FLIGHT) {
                if frame.open {
                    self.tallies.lost(&frame.about);
                }
            }
            self.show_progress();
        }
        while let Some(frame) = state.in_flight.pop() {
            if frame.open {
                self.tallies.lost(&frame.about);
            }
        }
        self.tallies.end_turn();
        self.show_progress();
        Ok(())
    }

    fn is_over(&self, state: &State) -> bool {
        let quiet = if state.in_flight.open() == 0 { FOR_DUPLICATES } else { SILENCE };
        !state.sending && now().saturating_sub(state.last) > quiet
    }

    /// Whether something came at any port.
    fn takes_more(&mut self, state: &mut State) -> Result<bool> {
        let before = state.last;
        state.ready = (0..self.ports.len()).collect();
        self.take_frames(state)?;
        Ok(state.last != before)
    }

    fn wait(&mut self, state: &mut State, patience: Duration) -> Result<()> {
        let Readiness { poll, events } = &mut *self.readiness;
        match poll.poll(events, Some(patience)) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => return Ok(()),
            result => result.context("cannot wait for frames")?,
        }
        for event in &*events {
            match event.token().0 {
                SIGNAL => self.signals.check()?,
                token if token % 2 == 0 => state.ready.push(token / 2),
                _ if event.is_read_closed() => bail!("the switch has ended a port"),
                // A switch has nothing to say there after its reply, and may say it.
                _ => {}
            }
        }
        Ok(())
    }

    /// Takes a few frames from each port that may have some, in turn.
    fn take_frames(&mut self, state: &mut State) -> Result<()> {
        let mut place = 0;
        while let Some(&station) = state.ready.get(place) {
            if self.take_from(state, station)? {
                place += 1;
            } else {
                state.ready.swap_remove(place);
            }
        }
        Ok(())
    }

    /// Takes frames that came to `station`; false when there are no more.
    fn take_from(&mut self, state: &mut State, station: usize) -> Result<bool> {
        let Some(port) = &self.ports[station] else { return Ok(false) };
        for _ in 0..AT_A_TIME {
            let received = port.receive(&mut state.buffer).context("cannot receive frames")?;
            let Some(len) = received else { return Ok(false) };
            let now = now();
            state.last = now;
            // What was sent was announced before.
            self.take_events(state);
            let frame = &state.buffer[..len];
            let kind = self.answering.and_then(|mac| question::kind(frame, mac));
            let (content, held) = match kind {
                Some(Kind::Question) => continue,
                Some(Kind::Answer { key, held }) => (key, held),
                None => (event::content(frame), Duration::ZERO),
            };
            let key = Key { content, station: station as u32 };
            match state.in_flight.arrive(key) {
                Match::Expected(frame) => {
                    let delay = now.saturating_sub(frame.due).saturating_sub(held);
                    self.tallies.received(&frame.about, (frame.number, key.station), now, delay);
                }
                Match::Duplicate(frame) => self.tallies.duplicated(&frame.about),
                Match::Unexpected if introduction::is_hello(&state.buffer[..len]) => {}
                Match::Unexpected => self.tallies.unexpected(),
            }
        }
        Ok(true)
    }

    fn take_events(&mut self, state: &mut State) {
        while state.sending {
            match self.events.try_recv() {
                Ok(Event::Due(due)) => self.expect(state, &due),
                Ok(Event::Refused(due)) => self.refuse(state, &due),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => {
                    state.sending = false;
                    state.last = state.last.max(now());
                }
            }
        }
    }

    fn expect(&mut self, state: &mut State, frame: &Due) {
        let at = self.before + frame.due.saturating_sub(self.start);
        let awaited = receivers(self.ports, frame).count() as u32;
        let about = self.tallies.due(frame, at, awaited);
        for station in receivers(self.ports, frame) {
            let key = Key { content: frame.content, station };
            state.in_flight.push(key, frame.number, frame.due, about);
        }
    }

    fn refuse(&mut self, state: &mut State, frame: &Due) {
        for station in receivers(self.ports, frame) {
            let key = Key { content: frame.content, station };
            if let Some(frame) = state.in_flight.withdraw(key, frame.number) {
                self.tallies.refused(&frame.about);
            }
        }
    }

    fn show_progress(&self) {
        let (due, lost) = self.tallies.so_far();
        self.progress.set(self.before + now().saturating_sub(self.start), due, lost);
    }
}

/// The stations that should receive a frame, or its answer.
fn receivers<'a>(ports: &'a [Option<Port>], frame: &Due) -> impl Iterator<Item = u32> + use<'a> {
    let all = ports.len() as u32;
    let range = match frame.awaited {
        Awaited::Answer => frame.from..frame.from + 1,
        Awaited::Forwarded(Destination::Station(station)) => station.0..station.0 + 1,
        Awaited::Forwarded(Destination::Everybody | Destination::Unknown) => 0..all,
        Awaited::Nowhere => 0..0,
    };
    let not_back = (frame.awaited != Awaited::Answer).then_some(frame.from);
    range.filter(move |&station| not_back != Some(station) && ports[station as usize].is_some())
}

/// After so long without an arrival nothing more comes.
const SILENCE: Duration = Duration::from_secs(1);

/// When all has come: how long a second arrival of something may take.
const FOR_DUPLICATES: Duration = Duration::from_millis(20);

/// A frame that has not come after so long is lost: it waited for [`super::sender::PATIENCE`] at most, and this
/// project's switch, which keeps frames for longest, does so for ten seconds.
const GIVEN_UP: Duration = Duration::from_secs(12);

/// Frames that are known at a time, those that have come included: more than queues hold. With what the
/// sender may announce at once it stays below a power of two, at which tables would double.
const MOST_IN_FLIGHT: usize = 49152;

/// Often enough that the sender never waits to be heard.
const WHILE_SENDING: Duration = Duration::from_millis(5);

/// Often enough to end in time.
const AFTER_SENDING: Duration = Duration::from_millis(5);

/// Frames from one port before others are looked at.
const AT_A_TIME: usize = 64;

/// No frame is longer.
const LONGEST: usize = 1 << 18;

const SIGNAL: usize = usize::MAX - 1;
