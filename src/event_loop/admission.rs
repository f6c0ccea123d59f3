//! From a knock at a socket to a port.

use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::time::Instant;

use mio::Interest;
use mio::unix::SourceFd;
use socket2::Socket;
use tracing::{debug, info, warn};

use super::EventLoop;
use super::attachments::Attachment;
use super::entrances::LeadsTo;
use super::port_info::Party;
use super::token::Subject;
use crate::control::handshake::{Dialect, Refusal, Request, Version, Wanted};
use crate::control::{ClientAddr, Connection, CopyRequest, PendingId, Step};
use crate::core::{PortId, UPLINK_NUMBER};
use crate::log_limit::{LogLimit, Suppressed};
use crate::port::{
    ConnectionKind, DaemonPort, Endpoint, NamedDataPort, OpenError, Recipient, data_socket,
    to_sockaddr,
};
use crate::sys::Peer;

impl EventLoop {
    /// Accepts some of the connections that wait.
    pub(super) fn accept(&mut self, now: Instant) {
        for _ in 0..ACCEPTS_PER_TURN {
            let Some((at, leads_to)) = self.entrances.next() else { return };
            let accepted = match leads_to {
                LeadsTo::Handshake(dialect) => self.accept_request(at, dialect, now),
                LeadsTo::Port(kind) => self
                    .entrances
                    .accept(at)
                    .map(|(socket, peer)| self.open_connection(kind, socket, peer, now)),
            };
            if let Err(error) = accepted {
                self.entrances.failed(at, &error, now);
            }
        }
    }

    fn accept_request(&mut self, at: usize, dialect: Dialect, now: Instant) -> io::Result<()> {
        // First what the port will need, so that nobody is let in who then gets none.
        let data = data_socket(self.send_buffer)?;
        let (socket, peer) = self.entrances.accept(at)?;
        self.admit(Connection { stream: OwnedFd::from(socket).into(), data, peer, dialect }, now);
        Ok(())
    }

    /// Makes `socket` a port of this kind.
    fn open_connection(
        &mut self,
        kind: &'static ConnectionKind,
        socket: Socket,
        peer: Peer,
        now: Instant,
    ) {
        if let Err(error) = socket.set_send_buffer_size(self.send_buffer) {
            return refuse(peer, error);
        }
        let max_frame = self.buffer.len() - 1;
        let endpoint = (kind.open)(socket, max_frame);
        let id = match self.switch.open_port(None, endpoint.traits(), now) {
            Ok(id) => id,
            Err(error) => return refuse(peer, error),
        };
        let party = Party::Client { uid: peer.uid, description: None };
        match self.links.attach(id, endpoint, party, None) {
            Ok(()) => say_opened(id, kind.name, peer, None),
            Err(error) => {
                self.forget_port(id);
                refuse(peer, error);
            }
        }
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
        let Connection { stream, data, peer, dialect } = connection;
        let Request { version, wish, client, description, .. } = request;
        if wish == Some(UPLINK_NUMBER) && self.attachments.iter().any(Attachment::is_uplink) {
            return refuse(peer, Refusal::Uplink);
        }
        let number = match self.switch.next_number(wish) {
            Ok(number) => number,
            Err(error) => return refuse(peer, error),
        };
        // Only the C program's clients can know the shared data socket.
        let named = self.named_data.as_ref().filter(|_| dialect == Dialect::UmlSwitch);
        let opened: Result<(Box<dyn Endpoint>, _), OpenError> = match named {
            None if version == Version::V0 => {
                return refuse(peer, Refusal::NeedsCompatV0);
            }
            None => {
                let (addresses, claims) = (&self.addresses, &self.claims);
                let recipient = Recipient::new(client.clone(), peer.uid, claims);
                recipient
                    .and_then(|to| DaemonPort::open(dialect.kind(), data, number, to, addresses))
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
        let older = self
            .named_data
            .as_mut()
            .filter(|_| dialect == Dialect::UmlSwitch)
            .and_then(|named| named.admit(client.clone(), id, peer.uid));
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
        say_opened(id, kind, peer, Some((&client, &description)));
    }
}

/// Says that a client has a port; one that has asked for it has an address and a description.
fn say_opened(id: PortId, kind: &str, peer: Peer, asked: Option<(&ClientAddr, &str)>) {
    static LIMIT: LogLimit = LogLimit::new();
    if let Some(suppressed) = LIMIT.admit(Some(peer.uid)).map(Suppressed::field) {
        let Peer { uid, pid } = peer;
        let client = asked.map(|(client, _)| tracing::field::display(client));
        let description = asked.map(|(_, text)| text).filter(|text| !text.is_empty());
        info!(port = %id, kind, uid, pid, client, description, suppressed, "port opened");
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
