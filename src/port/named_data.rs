//! Ports of `-compat-v0`: all of them share the one data socket that has a path.
//!
//! Kernels that speak version 0 of the protocol get no reply and send to a path that they were told
//! on their command line, so a frame's port is known by its sender's address alone. What is shared
//! cannot be held for one of its senders, and its send buffer can be filled by one receiver that does
//! not read: a frame that finds no room there goes out by a socket of the port's own, connected to
//! the client, which also tells when the client has room again.

use std::collections::HashMap;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::rc::Rc;

use super::daemon::{send, send_once_more, sent};
use super::data_address::{PREFIX, to_sockaddr};
use super::peer_socket::{Claim, NotYours, PeerClaims};
use super::{Endpoint, OpenError, Received};
use crate::control::{ClientAddr, SOCKADDR_LEN};
use crate::core::{PortId, PortTraits, TxDrop, TxOutcome};

/// The named socket, and whose frames come in by it.
#[derive(Debug)]
pub struct NamedDataSocket {
    socket: Rc<UnixDatagram>,
    ports: HashMap<ClientAddr, Client>,
}

/// Whose frames are one port's.
#[derive(Debug)]
struct Client {
    port: PortId,
    uid: u32,
}

/// A frame that came in by the named socket.
#[derive(Debug)]
pub enum NamedFrame {
    /// From a client that has a port; this many bytes.
    From(PortId, usize),
    /// From anybody else; this many bytes.
    Stranger(usize),
    /// None, for now or for good: see [`Received`].
    None(Received),
}

impl NamedDataSocket {
    /// For `socket`, bound to its path and not blocking.
    pub fn new(socket: UnixDatagram) -> Self {
        NamedDataSocket { socket: Rc::new(socket), ports: HashMap::new() }
    }

    /// The descriptor whose readiness says that frames have come.
    pub fn descriptor(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    /// Frames from `client` are those of `port`, which `uid` asked for, from now on. A name that is
    /// used anew belongs to the newer port: nothing else tells the two apart. Returns the older one,
    /// which has to be closed: its frames would go to the newer port's client.
    #[must_use]
    pub fn admit(&mut self, client: ClientAddr, port: PortId, uid: u32) -> Option<PortId> {
        self.ports.insert(client, Client { port, uid }).map(|older| older.port)
    }

    /// Frames from the client of `port` are a stranger's from now on.
    pub fn dismiss(&mut self, port: PortId) {
        self.ports.retain(|_, client| client.port != port);
    }

    /// Receives one frame into `buffer`.
    pub fn receive(&self, buffer: &mut [u8]) -> NamedFrame {
        match self.socket.recv_from(buffer) {
            Ok((len, sender)) => {
                match ClientAddr::of_sender(&sender).and_then(|client| self.ports.get(&client)) {
                    Some(client) => NamedFrame::From(client.port, len),
                    None => NamedFrame::Stranger(len),
                }
            }
            Err(error) => NamedFrame::None(Received::from_error(error)),
        }
    }
}

/// One client of the named socket.
#[derive(Debug)]
pub struct NamedDataPort {
    shared: Rc<UnixDatagram>,
    own: UnixDatagram,
    client: SocketAddr,
    _claim: Option<Claim>,
}

impl NamedDataPort {
    /// Makes the port of `client`, which `uid` asked for, with `own` as its second way out. Returns
    /// the port and the address that the client is to be told if its protocol has a reply.
    ///
    /// # Errors
    /// [`OpenError`]. A client whose address nobody is bound to yet is none.
    pub fn open(
        own: UnixDatagram,
        named: &NamedDataSocket,
        client: ClientAddr,
        uid: u32,
        claims: &PeerClaims,
    ) -> Result<(Self, [u8; SOCKADDR_LEN]), OpenError> {
        let ours = named.socket.local_addr().map_err(OpenError::Socket)?;
        if client.abstract_name().is_some_and(|name| name.starts_with(PREFIX)) {
            return Err(OpenError::Ourselves(client));
        }
        // The kernel cannot be asked about a client that has connected its socket to ours or removed
        // its path, as libvdeplug does; but its frames are known by its name, so that is taken.
        if let Some(other) = named.ports.get(&client)
            && uid != 0
            && other.uid != uid
        {
            return Err(OpenError::NotYours { client, source: NotYours::Owner(other.uid) });
        }
        let addr = client.to_socket_addr().map_err(OpenError::Socket)?;
        let claim = match own.connect_addr(&addr) {
            Ok(()) => {
                let reaches_us = own.peer_addr().is_ok_and(|peer| {
                    peer.as_pathname().is_some() && peer.as_pathname() == ours.as_pathname()
                });
                if reaches_us {
                    return Err(OpenError::Ourselves(client));
                }
                Some(
                    claims
                        .claim(&own, client.path(), uid)
                        .map_err(|source| OpenError::NotYours { client, source })?,
                )
            }
            Err(_) => None,
        };
        let reply = to_sockaddr(&ours);
        let shared = named.socket.clone();
        Ok((NamedDataPort { shared, own, client: addr, _claim: claim }, reply))
    }
}

impl Endpoint for NamedDataPort {
    fn kind(&self) -> &'static str {
        "daemon-v0"
    }

    fn traits(&self) -> PortTraits {
        PortTraits { can_wait: false }
    }

    fn descriptor(&self) -> Option<RawFd> {
        Some(self.own.as_raw_fd())
    }

    /// Frames come in by the named socket. A stranger cannot know a socket that has no name.
    fn receive(&mut self, _buffer: &mut [u8]) -> Received {
        Received::Nothing
    }

    fn send(&mut self, frame: &[u8]) -> TxOutcome {
        let outcome = sent(send_once_more(|| self.shared.send_to_addr(frame, &self.client)));
        if outcome != TxOutcome::Full {
            return outcome;
        }
        match sent(send_once_more(|| send(&self.own, frame))) {
            // A client that is connected to the named socket hears nothing else, and one that was
            // not there yet when it asked cannot be waited for.
            TxOutcome::Dropped(_) => TxOutcome::Dropped(TxDrop::Refused),
            outcome => outcome,
        }
    }
}
