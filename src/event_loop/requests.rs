//! What other threads ask of the loop.
//!
//! A [`Handle`] puts a request into a list, wakes the loop and waits for the answer. The loop never
//! waits for them: if somebody is just writing to the list it goes on, for whoever holds the list wakes
//! the loop once it is free; and answers are given as [`crate::handover`] does it.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use mio::{Registry, Waker};

use super::EventLoop;
use super::port_info::{OpenPort, PortInfo};
use super::token::Subject;
use crate::core::PortId;
use crate::handover::{Giver, handover};
use crate::mirror::{CaptureSpec, InvalidSpec, MAX_SESSIONS, Session, SessionId, Tail};

/// Asks the loop from another thread.
#[derive(Clone, Debug)]
pub struct Handle(Arc<Shared>);

/// Why the loop does not do what it is asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// It serves no longer.
    #[error("the switch is ending")]
    Ended,
    /// What is asked for cannot be had.
    #[error("cannot capture")]
    Invalid(#[from] InvalidSpec),
    /// As many captures run as can.
    #[error("{MAX_SESSIONS} captures run already")]
    TooMany,
}

#[derive(Debug)]
struct Shared {
    /// `None` once the loop has ended.
    waiting: Mutex<Option<Vec<Request>>>,
    waker: Waker,
    next_session: AtomicU64,
}

#[derive(Debug)]
enum Request {
    /// A capture, boxed so that the list is short; it comes back if it cannot be.
    Capture(Box<Session>, Giver<Result<(), Box<Session>>>),
    Stop(SessionId),
    Ports(Giver<Vec<OpenPort>>),
    #[cfg(test)]
    End,
}

impl Handle {
    /// Starts a capture.
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn capture(&self, spec: CaptureSpec) -> Result<Tail, RequestError> {
        let (session, tail) = self.open(spec)?;
        let (giver, taker) = handover();
        self.ask(Request::Capture(Box::new(session), giver))?;
        match taker.wait() {
            Some(Ok(())) => Ok(tail),
            Some(Err(_)) => Err(RequestError::TooMany),
            None => Err(RequestError::Ended),
        }
    }

    /// The open ports by number.
    ///
    /// # Errors
    /// [`RequestError::Ended`].
    pub fn ports(&self) -> Result<Vec<PortInfo>, RequestError> {
        let (giver, taker) = handover();
        self.ask(Request::Ports(giver))?;
        let ports = taker.wait().ok_or(RequestError::Ended)?;
        let mut ports: Vec<_> = ports.into_iter().map(PortInfo::from).collect();
        ports.sort_by_key(|port| port.number);
        Ok(ports)
    }

    fn open(&self, spec: CaptureSpec) -> Result<(Session, Tail), InvalidSpec> {
        let id = SessionId(self.0.next_session.fetch_add(1, Ordering::Relaxed));
        let handle = self.clone();
        // A loop that has ended has ended the capture too.
        let stop = Box::new(move || drop(handle.ask(Request::Stop(id))));
        Session::open(id, spec, stop)
    }

    fn ask(&self, request: Request) -> Result<(), RequestError> {
        match &mut *self.0.lock() {
            Some(waiting) => waiting.push(request),
            None => return Err(RequestError::Ended),
        }
        // It fails only if the loop's poller has gone; then the list is dropped with all who wait.
        let _ = self.0.waker.wake();
        Ok(())
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Option<Vec<Request>>> {
        // Nothing that is done while it is held can leave the list half changed.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The loop's end.
#[derive(Debug)]
pub(super) struct Requests(Handle);

impl Requests {
    pub(super) fn new(registry: &Registry) -> io::Result<Self> {
        Ok(Requests(Handle(Arc::new(Shared {
            waiting: Mutex::new(Some(Vec::new())),
            waker: Waker::new(registry, Subject::Requests.token())?,
            next_session: AtomicU64::new(0),
        }))))
    }

    /// All that wait.
    fn take(&self) -> Vec<Request> {
        match self.0.0.waiting.try_lock() {
            Ok(mut waiting) => waiting.as_mut().map(std::mem::take),
            Err(TryLockError::Poisoned(poisoned)) => {
                poisoned.into_inner().as_mut().map(std::mem::take)
            }
            Err(TryLockError::WouldBlock) => None,
        }
        .unwrap_or_default()
    }
}

impl Drop for Requests {
    fn drop(&mut self) {
        // Who waits for an answer learns that there will be none.
        let waiting = self.0.0.lock().take();
        drop(waiting);
    }
}

impl EventLoop {
    /// For other threads to ask with.
    pub fn handle(&self) -> Handle {
        self.requests.0.clone()
    }

    /// Starts a capture before the loop runs: it has the very first frame.
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn capture(&mut self, spec: CaptureSpec) -> Result<Tail, RequestError> {
        let (session, tail) = self.requests.0.open(spec)?;
        self.mirror.start(session).map_err(|_| RequestError::TooMany)?;
        Ok(tail)
    }

    pub(super) fn serve_requests(&mut self) {
        for request in self.requests.take() {
            match request {
                Request::Capture(session, reply) => {
                    reply.give(self.mirror.start(*session).map_err(Box::new));
                }
                Request::Stop(id) => self.mirror.stop(id, &self.links),
                Request::Ports(reply) => {
                    let ports = self.switch.ports().iter();
                    reply.give(ports.filter_map(|&id| self.open_port_of(id)).collect());
                }
                #[cfg(test)]
                Request::End => self.ended = Some(super::Ended::AtTerminal),
            }
        }
    }

    fn open_port_of(&self, id: PortId) -> Option<OpenPort> {
        let (kind, party) = self.links.look_up(id)?;
        Some(OpenPort { id, kind, party: party.clone(), counters: *self.switch.counters(id)? })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread::{self, JoinHandle};
    use std::time::Duration;

    use nix::sys::signal::SigSet;
    use nix::sys::signalfd::{SfdFlags, SignalFd};

    use super::*;
    use crate::core::{EgressLimits, Mode, SwitchConfig};
    use crate::event_loop::Sockets;
    use crate::mirror::{BUFFERS, State};
    use crate::port::DataAddresses;

    /// A loop on a thread of its own, without clients.
    fn start() -> (Handle, JoinHandle<()>) {
        let (sender, receiver) = mpsc::channel();
        let thread = thread::spawn(move || {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("ctl");
            let sockets = Sockets {
                entrances: Vec::new(),
                named_data: None,
                addresses: DataAddresses::new(&path),
                uplink: None,
                cables: Vec::new(),
                signals: SignalFd::with_flags(&SigSet::empty(), SfdFlags::SFD_NONBLOCK).unwrap(),
                watch_terminal: false,
            };
            let config = SwitchConfig {
                mode: Mode::Switch,
                max_ports: 4,
                max_frame: 1518,
                fdb_size: 16,
                ageing: Duration::from_secs(100),
                egress: EgressLimits::default(),
            };
            let event_loop = EventLoop::new(config, sockets).unwrap();
            sender.send(event_loop.handle()).unwrap();
            event_loop.run().unwrap();
        });
        (receiver.recv().unwrap(), thread)
    }

    fn end(handle: &Handle, thread: JoinHandle<()>) {
        handle.ask(Request::End).unwrap();
        thread.join().unwrap();
    }

    fn spec() -> CaptureSpec {
        CaptureSpec { buffer: *BUFFERS.start(), ..CaptureSpec::default() }
    }

    const PATIENCE: Duration = Duration::from_secs(10);

    fn read(tail: &mut Tail, patience: Duration) -> State {
        tail.read(patience, |_| Ok(())).unwrap()
    }

    #[test]
    fn a_loop_that_sleeps_answers() {
        let (handle, thread) = start();
        assert_eq!(handle.ports(), Ok(Vec::new()));
        let mut tail = handle.capture(spec()).unwrap();
        assert_eq!(read(&mut tail, Duration::ZERO), State::Open);
        tail.stop();
        assert_eq!(read(&mut tail, PATIENCE), State::Ended(Vec::new()));
        assert_eq!(read(&mut tail, PATIENCE), State::Ended(Vec::new()));
        end(&handle, thread);
    }

    #[test]
    fn the_end_of_the_loop_ends_captures_and_answers_who_asks() {
        let (handle, thread) = start();
        let mut tail = handle.capture(spec()).unwrap();
        end(&handle, thread);
        assert_eq!(read(&mut tail, PATIENCE), State::Ended(Vec::new()));
        assert_eq!(handle.ports(), Err(RequestError::Ended));
        assert_eq!(handle.capture(spec()).unwrap_err(), RequestError::Ended);
        tail.stop();
    }

    #[test]
    fn a_tail_that_is_dropped_makes_room_for_another() {
        let (handle, thread) = start();
        let mut tails: Vec<_> =
            (0..MAX_SESSIONS).map(|_| handle.capture(spec()).unwrap()).collect();
        assert_eq!(handle.capture(spec()).unwrap_err(), RequestError::TooMany);
        tails.pop();
        tails.push(handle.capture(spec()).unwrap());
        end(&handle, thread);
    }

    #[test]
    fn what_cannot_be_captured_is_refused_with_the_reason() {
        let (handle, thread) = start();
        let refused = handle.capture(CaptureSpec { snaplen: 0, ..spec() }).unwrap_err();
        assert_eq!(refused, RequestError::Invalid(InvalidSpec::Snaplen(0)));
        end(&handle, thread);
    }

    #[test]
    fn many_who_ask_at_a_time_all_get_their_answer() {
        let (handle, thread) = start();
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        assert_eq!(handle.ports(), Ok(Vec::new()));
                    }
                });
            }
        });
        end(&handle, thread);
    }
}
