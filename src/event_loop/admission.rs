//! From a knock at the control socket to a port.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use mio::Interest;
use mio::unix::SourceFd;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use tracing::{debug, info, warn};

use super::EventLoop;
use super::port_info::Party;
use super::token::Subject;
use crate::control::handshake::{Refusal, Request, Version, Wanted};
use crate::control::{ClientAddr, Connection, CopyRequest, PendingId, Step};
use crate::log_limit::{LogLimit, Suppressed};
use crate::port::{DaemonPort, Endpoint, NamedDataPort, OpenError, data_socket, to_sockaddr};
use crate::sys::Peer;

impl EventLoop {
    /// Accepts some of the connections that wait.
    pub(super) fn accept(&mut self, now: Instant) {
        for _ in 0..ACCEPTS_PER_TURN {
            if !self.accepting || self.accept_again.is_some() {
                return;
            }
            match self.accept_one() {
                Ok(connection) => {
                    self.said_exhausted = false;
                    self.admit(connection, now);
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => self.accepting = false,
                    io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted => {}
                    // Out of descriptors or memory: who waits goes on waiting.
                    _ => {
                        if !std::mem::replace(&mut self.said_exhausted, true) {
                            warn!(%error, "cannot accept a guest now: it waits until others leave");
                        }
                        self.accepting = false;
                        self.accept_again = Some(now + ACCEPT_AGAIN);
                    }
                },
            }
        }
    }

    fn accept_one(&self) -> io::Result<Connection> {
        // First what the port will need, so that nobody is let in who then gets none.
        let data = data_socket(self.send_buffer).map_err(|error| {
            let mut asked = [PollFd::new(self.listener.as_fd(), PollFlags::POLLIN)];
            let nobody_waits = matches!(nix::poll::poll(&mut asked, PollTimeout::ZERO), Ok(0));
            if nobody_waits { io::ErrorKind::WouldBlock.into() } else { error }
        })?;
        let (stream, _) = self.listener.accept()?;
        stream.set_nonblocking(true)?;
        let credentials = getsockopt(&stream.as_fd(), PeerCredentials)?;
        let peer = Peer { uid: credentials.uid(), pid: credentials.pid() };
        Ok(Connection { stream, data, peer })
    }

    fn admit(&mut self, connection: Connection, now: Instant) {
        let id = self.handshakes.add(connection, now);
        let Some(descriptor) = self.handshakes.descriptor(id) else { return };
        let token = Subject::Pending(id).token();
        let registry = self.poll.registry();
        if registry.register(&mut SourceFd(&descriptor), token, Interest::READABLE).is_ok() {
            // The request of a real guest is mostly there already.
            self.read_request(id, now);
        } else {
            self.handshakes.abandon(id);
        }
    }

    pub(super) fn read_request(&mut self, id: PendingId, now: Instant) {
        match self.handshakes.read(id) {
            Step::Waiting | Step::Closed => {}
            Step::Request(connection, request) => match request.wanted {
                Wanted::Port => self.open_port(connection, request, now),
                Wanted::Copies => self.give_copies(connection, request.client),
            },
            Step::Refused(peer, refusal) => refuse(peer, refusal),
        }
    }

    /// Copies of all frames are for the switch's own people; others do the work.
    fn give_copies(&mut self, connection: Connection, client: ClientAddr) {
        let peer = connection.peer;
        let Some(desk) = self.copies.as_ref().filter(|_| peer.may_administer()) else {
            return refuse(peer, Refusal::NotForYou);
        };
        match self.addresses.bind_for_copies(&connection.data) {
            Ok(address) => {
                desk.leave(CopyRequest { connection, address: to_sockaddr(&address), client });
            }
            Err(error) => refuse(peer, OpenError::Socket(error)),
        }
    }

    fn open_port(&mut self, connection: Connection, request: Request, now: Instant) {
        let Connection { stream, data, peer } = connection;
        let Request { version, wish, client, description, .. } = request;
        let number = match self.switch.next_number(wish) {
            Ok(number) => number,
            Err(error) => return refuse(peer, error),
        };
        let opened: Result<(Box<dyn Endpoint>, _), OpenError> = match &self.named_data {
            None if version == Version::V0 => {
                return refuse(peer, Refusal::NeedsCompatV0);
            }
            None => {
                let addresses = &self.addresses;
                DaemonPort::open(data, number, client.clone(), peer.uid, addresses, &self.claims)
                    .map(|(port, reply)| (Box::new(port) as Box<dyn Endpoint>, reply))
            }
            Some(named) => NamedDataPort::open(data, named, client.clone(), peer.uid, &self.claims)
                .map(|(port, reply)| (Box::new(port) as Box<dyn Endpoint>, reply)),
        };
        let (endpoint, reply) = match opened {
            Ok(opened) => opened,
            Err(error) => return refuse(peer, error),
        };
        let (kind, traits) = (endpoint.kind(), endpoint.traits());
        let id = match self.switch.open_port(Some(number), traits, now) {
            Ok(id) => id,
            Err(error) => return refuse(peer, error),
        };
        // The port is complete before the client hears of it: its first frame may come at once.
        let older =
            self.named_data.as_mut().and_then(|named| named.admit(client.clone(), id, peer.uid));
        if let Some(older) = older {
            self.close_port(older);
        }
        let replied = match version {
            Version::V0 => Ok(()),
            // It always fits: the buffer of a new connection is empty.
            Version::V1 | Version::V3 => (&stream).write_all(&reply),
        };
        let said = (!description.is_empty()).then(|| description.as_str().into());
        let party = Party::Client { uid: peer.uid, description: said };
        if let Err(error) =
            replied.and_then(|()| self.links.attach(id, endpoint, party, Some(stream)))
        {
            debug!(port = %id, %error, "client gone before it had its port");
            self.forget_port(id);
            return;
        }
        static LIMIT: LogLimit = LogLimit::new();
        if let Some(suppressed) = LIMIT.admit(Some(peer.uid)).map(Suppressed::field) {
            let Peer { uid, pid } = peer;
            let description = (!description.is_empty()).then_some(description);
            info!(port = %id, kind, uid, pid, %client, description, suppressed, "port opened");
        }
    }
}

/// Says that a client gets nothing, and why.
fn refuse(peer: Peer, reason: impl Into<anyhow::Error>) {
    static LIMIT: LogLimit = LogLimit::new();
    if let Some(suppressed) = LIMIT.admit(Some(peer.uid)).map(Suppressed::field) {
        let Peer { uid, pid } = peer;
        let reason = format!("{:#}", reason.into());
        warn!(uid, pid, %reason, suppressed, "client refused");
    }
}

/// Guests let in before the others are served again.
const ACCEPTS_PER_TURN: usize = 32;

/// How long to wait after descriptors have run out, unless one is freed before.
const ACCEPT_AGAIN: Duration = Duration::from_millis(200);
