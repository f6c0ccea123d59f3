//! A port of QEMU's `-netdev dgram,local.type=unix,local.path=REMOTE,remote.type=unix,remote.path=LOCAL`:
//! two datagram sockets that are told of each other, without a handshake; one datagram is one frame.
//!
//! Either side may start first, and start again on the same path. So, unlike a port of the `daemon`
//! transport, this one looks for its peer by path, again and again: the path is the configuration, and
//! whoever may put a socket there may have its frames. While our socket is connected, the kernel refuses
//! everybody else; a QEMU that has been started again too, until we have connected to its new socket.
//! While nobody is at the path, frames come in only from a socket that was bound by that very name.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::rc::Rc;
use std::str::FromStr;
use std::time::Duration;

use socket2::{SockRef, Socket};

use super::attach::{Attach, AttachError, Pauses, Sizes};
use super::daemon::{send, send_once_more, sent};
use super::{Endpoint, Received};
use crate::core::{PortTraits, TxDrop, TxOutcome};

/// The paths of both sockets: `LOCAL,REMOTE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatagramPaths {
    /// Ours, which QEMU knows as its `remote.path`.
    pub local: PathBuf,
    /// QEMU's, its `local.path`.
    pub remote: PathBuf,
}

/// Why a text is no two paths.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not LOCAL,REMOTE: the switch's path and QEMU's")]
pub struct InvalidDatagramPaths;

impl FromStr for DatagramPaths {
    type Err = InvalidDatagramPaths;

    fn from_str(text: &str) -> Result<Self, InvalidDatagramPaths> {
        match text.split_once(',') {
            Some((local, remote)) if !local.is_empty() && !remote.is_empty() => {
                Ok(DatagramPaths { local: local.into(), remote: remote.into() })
            }
            _ => Err(InvalidDatagramPaths),
        }
    }
}

/// Our socket of such a pair.
#[derive(Debug)]
pub struct DatagramPair(Rc<Pair>);

#[derive(Debug)]
struct Pair {
    socket: UnixDatagram,
    remote: PathBuf,
    link: Cell<Link>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    /// Nobody is at the path.
    Down,
    /// We are connected; what is received may have come before.
    Fresh,
    /// We are connected, and all that is received is the peer's.
    Up,
}

impl DatagramPair {
    /// Of `socket`, which is bound and does not block, and whoever is at the path `remote`.
    pub fn new(socket: Socket, remote: PathBuf) -> Self {
        let socket = UnixDatagram::from(OwnedFd::from(socket));
        DatagramPair(Rc::new(Pair { socket, remote, link: Cell::new(Link::Down) }))
    }
}

impl Attach for DatagramPair {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn name(&self) -> String {
        format!("{KIND}:{}", self.0.remote.display())
    }

    fn pauses(&self) -> Pauses {
        Pauses { first: CARE, longest: CARE }
    }

    fn open(&mut self, sizes: Sizes) -> Result<Option<Box<dyn Endpoint>>, AttachError> {
        SockRef::from(&self.0.socket)
            .set_send_buffer_size(sizes.send_buffer)
            .map_err(|error| self.0.error(error))?;
        Ok(Some(Box::new(DatagramPort(Rc::clone(&self.0)))))
    }

    fn care(&self) -> Option<Duration> {
        Some(CARE)
    }

    fn look_after(&mut self) -> Result<(), AttachError> {
        self.0.connect().map_err(|error| self.0.error(error))
    }
}

impl Pair {
    /// Connects to whoever is at the path now. That changes nothing if we are connected to that socket;
    /// if we are to another, what that one has sent and we have not read is lost.
    fn connect(&self) -> io::Result<()> {
        match self.socket.connect(&self.remote) {
            Ok(()) => {
                if self.link.get() == Link::Down {
                    self.link.set(Link::Fresh);
                }
                Ok(())
            }
            // A path may be removed and its socket live on: whether it does, sending tells.
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.is_connected() => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn is_connected(&self) -> bool {
        self.link.get() != Link::Down
    }

    /// Receives where not everything needs be the peer's.
    fn receive_checked(&self, buffer: &mut [u8]) -> Received {
        match self.socket.recv_from(buffer) {
            Ok((len, sender)) if sender.as_pathname() == Some(&self.remote) => {
                if !self.is_connected() {
                    // If it has gone already, what it has sent still goes on its way.
                    let _ = self.connect();
                }
                Received::Frame(len)
            }
            Ok((len, _)) => Received::Stranger(len),
            Err(error) => {
                let received = Received::from_error(error);
                if matches!(received, Received::Nothing) && self.link.get() == Link::Fresh {
                    self.link.set(Link::Up);
                }
                received
            }
        }
    }

    fn error(&self, source: io::Error) -> AttachError {
        AttachError::Connect { path: self.remote.clone(), source }
    }
}

/// The port of such a pair.
#[derive(Debug)]
struct DatagramPort(Rc<Pair>);

impl Endpoint for DatagramPort {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn traits(&self) -> PortTraits {
        PortTraits { can_wait: true }
    }

    fn descriptor(&self) -> Option<RawFd> {
        Some(self.0.socket.as_raw_fd())
    }

    fn receive(&mut self, buffer: &mut [u8]) -> Received {
        if self.0.link.get() != Link::Up {
            return self.0.receive_checked(buffer);
        }
        match self.0.socket.recv(buffer) {
            Ok(len) => Received::Frame(len),
            Err(error) => Received::from_error(error),
        }
    }

    fn send(&mut self, frame: &[u8]) -> TxOutcome {
        let pair = &self.0;
        if !pair.is_connected() {
            return TxOutcome::Dropped(TxDrop::NoReceiver);
        }
        let attempt = || sent(send_once_more(|| send(&pair.socket, frame)));
        match attempt() {
            // The peer's socket has closed, but there may be a new one.
            TxOutcome::Dropped(TxDrop::NoReceiver) => {
                pair.link.set(Link::Down);
                match pair.connect() {
                    Ok(()) => attempt(),
                    Err(_) => TxOutcome::Dropped(TxDrop::NoReceiver),
                }
            }
            outcome => outcome,
        }
    }
}

/// Shown as this, and the name of its option.
const KIND: &str = "qemu-dgram";

/// How long a QEMU that has been started may be refused.
const CARE: Duration = Duration::from_millis(250);
