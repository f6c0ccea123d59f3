//! The sockets that clients connect to, and who waits there.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use socket2::Socket;
use tracing::warn;

use crate::control::handshake::Dialect;
use crate::port::ConnectionKind;
use crate::sys::Peer;

/// A socket that clients connect to.
#[derive(Debug)]
pub struct Entrance {
    /// It listens and does not block.
    pub socket: Socket,
    /// What becomes of who connects.
    pub leads_to: LeadsTo,
}

/// What a connection is for.
#[derive(Clone, Copy, Debug)]
pub enum LeadsTo {
    /// A client says on it what it wants.
    Handshake(Dialect),
    /// It is a port of this kind.
    Port(&'static ConnectionKind),
}

/// All of them. They take turns, so that a crowd at one keeps nobody out at another.
#[derive(Debug)]
pub(super) struct Entrances {
    places: Vec<Place>,
    /// Where to look next.
    turn: usize,
    /// When to try again after descriptors had run out.
    again: Option<Instant>,
    /// It has been said that clients wait because descriptors have run out.
    said_exhausted: bool,
}

#[derive(Debug)]
struct Place {
    entrance: Entrance,
    /// Connections may wait to be accepted.
    knocked: bool,
}

impl Entrances {
    pub(super) fn new(entrances: Vec<Entrance>) -> Self {
        let places =
            entrances.into_iter().map(|entrance| Place { entrance, knocked: false }).collect();
        Entrances { places, turn: 0, again: None, said_exhausted: false }
    }

    /// The descriptors whose readiness says that somebody knocks, by place.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = RawFd> {
        self.places.iter().map(|place| place.entrance.socket.as_raw_fd())
    }

    /// Notes that somebody knocks at `at`.
    pub(super) fn knock(&mut self, at: usize) {
        if let Some(place) = self.places.get_mut(at) {
            place.knocked = true;
        }
    }

    /// True if somebody may be let in now.
    pub(super) fn has_guests(&self) -> bool {
        // Who knocks while there are no descriptors is not worked on before the timer.
        self.again.is_none() && self.places.iter().any(|place| place.knocked)
    }

    /// When [`Entrances::look_again`] wants to be called.
    pub(super) fn next_attempt(&self) -> Option<Instant> {
        self.again
    }

    /// Looks again if that is due after descriptors had run out.
    pub(super) fn look_again(&mut self, now: Instant) {
        if self.again.is_some_and(|due| due <= now) {
            self.descriptors_freed();
        }
    }

    /// What has been freed may be what somebody waits for.
    pub(super) fn descriptors_freed(&mut self) {
        if self.again.take().is_some() {
            for place in &mut self.places {
                place.knocked = true;
            }
        }
    }

    /// The next place where somebody may be let in, and what that leads to.
    pub(super) fn next(&mut self) -> Option<(usize, LeadsTo)> {
        if self.again.is_some() {
            return None;
        }
        let count = self.places.len();
        let at = (self.turn..self.turn + count).map(|at| at % count);
        let at = at.into_iter().find(|&at| self.places[at].knocked)?;
        self.turn = at + 1;
        Some((at, self.places[at].entrance.leads_to))
    }

    /// Lets somebody in.
    ///
    /// # Errors
    /// `WouldBlock` if nobody is there; [`Entrances::failed`] knows what any means.
    pub(super) fn accept(&mut self, at: usize) -> io::Result<(Socket, Peer)> {
        let Some(place) = self.places.get(at) else { return Err(io::ErrorKind::NotFound.into()) };
        let (socket, _) = place.entrance.socket.accept()?;
        socket.set_nonblocking(true)?;
        let credentials = getsockopt(&socket, PeerCredentials)?;
        self.said_exhausted = false;
        Ok((socket, Peer { uid: credentials.uid(), pid: credentials.pid() }))
    }

    /// Notes that nobody could be let in at `at`.
    pub(super) fn failed(&mut self, at: usize, error: &io::Error, now: Instant) {
        let Some(place) = self.places.get_mut(at) else { return };
        match error.kind() {
            io::ErrorKind::WouldBlock => place.knocked = false,
            io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted => {}
            // The system says that descriptors have run out before it looks whether somebody waits.
            _ if place.is_quiet() => place.knocked = false,
            // Out of descriptors or memory: who waits goes on waiting.
            _ => {
                if !std::mem::replace(&mut self.said_exhausted, true) {
                    warn!(%error, "cannot accept a guest now: it waits until others leave");
                }
                self.again = Some(now + AGAIN);
            }
        }
    }
}

impl Place {
    fn is_quiet(&self) -> bool {
        let mut asked = [PollFd::new(self.entrance.socket.as_fd(), PollFlags::POLLIN)];
        matches!(nix::poll::poll(&mut asked, PollTimeout::ZERO), Ok(0))
    }
}

/// How long to wait after descriptors have run out, unless one is freed before.
const AGAIN: Duration = Duration::from_millis(200);
