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
            }
        }
    }

    fn open_port_of(&self, id: PortId) -> Option<OpenPort> {
        let (kind, party) = self.links.look_up(id)?;
        Some(OpenPort { id, kind, party: party.clone(), counters: *self.switch.counters(id)? })
    }
}
