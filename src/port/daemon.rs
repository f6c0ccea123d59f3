//! A port of the `daemon` transport: one datagram is one frame, both ways, without a header.
//!
//! Each port has a data socket of its own, connected to the client's. The kernel then refuses
//! frames from strangers, needs no look-up per frame, and counts what one guest leaves unread
//! against that guest alone.
//!
//! Not every client can be connected to at once: Click binds its socket only after it has read our
//! reply. Until that works the sender of each frame is compared with the client's address, and the
//! switch tries to connect whenever a frame is to be sent or has come. Once connected, a port never
//! looks for its client by name again: libvdeplug unlinks its path at once and gives the same name to
//! its next port. A port whose client has closed its socket is mute until the control connection ends.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use nix::sys::socket::MsgFlags;
use tracing::warn;

use super::data_address::{DataAddresses, PREFIX, to_sockaddr};
use super::peer_socket::{Claim, NotYours, PeerClaims};
use super::{Endpoint, Received};
use crate::control::{ClientAddr, SOCKADDR_LEN};
use crate::core::{PortTraits, TxDrop, TxOutcome};
use crate::log_limit::{LogLimit, Suppressed};

/// Why a client gets no port.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Its frames would come back to the switch.
    #[error("the client's address {0} is the switch's own")]
    Ourselves(ClientAddr),
    /// It names a socket that it may not name.
    #[error("cannot send to {client}")]
    NotYours {
        /// The address that was named.
        client: ClientAddr,
        /// Who it belongs to.
        #[source]
        source: NotYours,
    },
    /// The system does not let the port's data socket have a name.
    #[error("cannot name a data socket")]
    Socket(#[source] io::Error),
}

/// One client of the `daemon` transport.
#[derive(Debug)]
pub struct DaemonPort {
    kind: &'static str,
    socket: UnixDatagram,
    link: Link,
    recipient: Recipient,
}

/// The client's address and what is needed to check that it is the client's.
#[derive(Debug)]
pub struct Recipient {
    client: ClientAddr,
    addr: SocketAddr,
    uid: u32,
    claims: PeerClaims,
}

#[derive(Debug)]
enum Link {
    /// Nobody was bound to the client's address yet.
    Waiting,
    /// Frames go out. `checked` if all that can ever be received is from the client, because the
    /// socket was connected before it had a name.
    Up { checked: bool, _claim: Claim },
    /// The client's socket has closed, or somebody else's is bound to the client's address. Whoever
    /// has that name now is not who was let in: frames neither go out nor come in.
    Lost,
}

impl DaemonPort {
    /// Makes `socket`, as [`data_socket`] gives it, the data socket of port `number` for `recipient`,
    /// and calls that a port of this kind. Returns it and the address that the client is to be told.
    ///
    /// # Errors
    /// [`OpenError`]. A client that cannot be connected to yet is none.
    pub fn open(
        kind: &'static str,
        socket: UnixDatagram,
        number: u32,
        recipient: Recipient,
        addresses: &DataAddresses,
    ) -> Result<(Self, [u8; SOCKADDR_LEN]), OpenError> {
        let link = match recipient.connect(&socket) {
            Ok(claim) => Link::Up { checked: true, _claim: claim },
            Err(Unconnected::NotYours(source)) => {
                return Err(OpenError::NotYours { client: recipient.client, source });
            }
            Err(Unconnected::Io(error)) => {
                recipient.explain(&error);
                Link::Waiting
            }
        };
        let address = addresses.bind(&socket, number).map_err(OpenError::Socket)?;
        Ok((DaemonPort { kind, socket, link, recipient }, to_sockaddr(&address)))
    }

    fn receive_checked(&mut self, buffer: &mut [u8]) -> Received {
        match self.socket.recv_from(buffer) {
            Ok((len, sender)) => {
                let named = self.recipient.client.is(&sender);
                if named {
                    self.try_connect();
                }
                if named && !matches!(self.link, Link::Lost) {
                    Received::Frame(len)
                } else {
                    Received::Stranger(len)
                }
            }
            Err(error) => Received::from_error(error),
        }
    }

    fn try_connect(&mut self) {
        if matches!(self.link, Link::Waiting) {
            match self.recipient.connect(&self.socket) {
                Ok(claim) => self.link = Link::Up { checked: false, _claim: claim },
                Err(Unconnected::NotYours(_)) => self.link = Link::Lost,
                Err(Unconnected::Io(_)) => {}
            }
        }
    }
}

impl Endpoint for DaemonPort {
    fn kind(&self) -> &'static str {
        self.kind
    }

    fn traits(&self) -> PortTraits {
        PortTraits { can_wait: true }
    }

    fn descriptor(&self) -> Option<RawFd> {
        Some(self.socket.as_raw_fd())
    }

    fn receive(&mut self, buffer: &mut [u8]) -> Received {
        if !matches!(self.link, Link::Up { checked: true, .. }) {
            return self.receive_checked(buffer);
        }
        match self.socket.recv(buffer) {
            Ok(len) => Received::Frame(len),
            Err(error) => Received::from_error(error),
        }
    }

    fn send(&mut self, frame: &[u8]) -> TxOutcome {
        self.try_connect();
        if !matches!(self.link, Link::Up { .. }) {
            return TxOutcome::Dropped(TxDrop::NoReceiver);
        }
        let outcome = sent(send_once_more(|| send(&self.socket, frame)));
        if outcome == TxOutcome::Dropped(TxDrop::NoReceiver) {
            self.link = Link::Lost;
        }
        outcome
    }
}

enum Unconnected {
    NotYours(NotYours),
    Io(io::Error),
}

impl Recipient {
    /// For `client`, which `uid` asked for.
    ///
    /// # Errors
    /// [`OpenError`] for addresses that no client can have.
    pub fn new(client: ClientAddr, uid: u32, claims: &PeerClaims) -> Result<Self, OpenError> {
        if client.abstract_name().is_some_and(|name| name.starts_with(PREFIX)) {
            return Err(OpenError::Ourselves(client));
        }
        let addr = client.to_socket_addr().map_err(OpenError::Socket)?;
        Ok(Recipient { client, addr, uid, claims: claims.clone() })
    }

    fn connect(&self, socket: &UnixDatagram) -> Result<Claim, Unconnected> {
        socket.connect_addr(&self.addr).map_err(Unconnected::Io)?;
        self.claims.claim(socket, self.client.path(), self.uid).map_err(Unconnected::NotYours)
    }

    /// Says why a client that asks for a port cannot be sent frames, if that is not just early.
    fn explain(&self, error: &io::Error) {
        let early = [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused];
        if early.contains(&error.kind()) {
            return;
        }
        static LIMIT: LogLimit = LogLimit::new();
        let Some(suppressed) = LIMIT.admit(Some(self.uid)).map(Suppressed::field) else { return };
        let client = &self.client;
        match self.client.path().map(|path| path.symlink_metadata()) {
            Some(Ok(meta)) => {
                let mode = format!("{:04o}", meta.mode() & 0o7777);
                let (owner, uid) = (meta.uid(), nix::unistd::geteuid().as_raw());
                warn!(path = %client, owner, %mode, switch_uid = uid, %error, suppressed,
                    "cannot send frames to this client: its socket does not let us");
            }
            _ => warn!(%client, %error, suppressed, "cannot send frames to this client"),
        }
    }
}

/// A data socket without a name yet, that does not block. `send_buffer` is its `SO_SNDBUF` in bytes:
/// what may lie unread at the client, beyond the reach of the egress queue.
///
/// # Errors
/// Those of `socket(2)`: mostly that there are no descriptors left.
pub fn data_socket(send_buffer: usize) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket2::SockRef::from(&socket).set_send_buffer_size(send_buffer)?;
    Ok(socket)
}

/// `send(2)`: std's own way is `write(2)`, which costs the kernel more.
pub(super) fn send(socket: &UnixDatagram, frame: &[u8]) -> io::Result<usize> {
    Ok(nix::sys::socket::send(socket.as_raw_fd(), frame, MsgFlags::MSG_NOSIGNAL)?)
}

/// A socket keeps one error of its past for the next call, whatever that call is: a signal that
/// came, or that the client connected elsewhere. Asked again, it answers for itself.
pub(super) fn send_once_more(mut send: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    match send() {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::Interrupted | io::ErrorKind::ConnectionReset
            ) =>
        {
            send()
        }
        result => result,
    }
}

/// The one rule for what a failed send to a client's socket means.
pub(super) fn sent(result: io::Result<usize>) -> TxOutcome {
    let Err(error) = result else { return TxOutcome::Sent };
    match error.kind() {
        io::ErrorKind::WouldBlock => TxOutcome::Full,
        // Nobody is bound to the address, or the socket that was has closed.
        io::ErrorKind::ConnectionRefused
        | io::ErrorKind::NotFound
        | io::ErrorKind::NotConnected
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::BrokenPipe => TxOutcome::Dropped(TxDrop::NoReceiver),
        _ => TxOutcome::Dropped(TxDrop::Refused),
    }
}
