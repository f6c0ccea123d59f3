//! A cable: a port whose connection the switch makes itself, to the socket of a gateway (slirp4netns,
//! passt, gvproxy) or of another switch. What goes over it is what goes over a connection that a client
//! makes, so every kind of [`CONNECTION_KINDS`] can be a cable.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket};

use super::attach::{Attach, AttachError, Pauses, Sizes};
use super::{CONNECTION_KINDS, ConnectionKind, Endpoint};

/// Where a cable leads: `KIND:PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CableEnd {
    /// What is spoken on it.
    pub kind: &'static ConnectionKind,
    /// The socket to connect to.
    pub path: PathBuf,
}

/// Why a text says of no cable where it leads.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not KIND:PATH, KIND one of {}", kinds())]
pub struct InvalidCableEnd;

fn kinds() -> String {
    CONNECTION_KINDS.iter().map(|kind| kind.name).collect::<Vec<_>>().join(", ")
}

impl FromStr for CableEnd {
    type Err = InvalidCableEnd;

    fn from_str(text: &str) -> Result<Self, InvalidCableEnd> {
        let (kind, path) = text.split_once(':').ok_or(InvalidCableEnd)?;
        let kind = CONNECTION_KINDS.iter().find(|known| known.name == kind);
        let kind = kind.filter(|_| !path.is_empty()).ok_or(InvalidCableEnd)?;
        Ok(CableEnd { kind, path: path.into() })
    }
}

impl fmt::Display for CableEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind.name, self.path.display())
    }
}

/// A cable, connected or not.
#[derive(Debug)]
pub struct Cable(CableEnd);

impl Cable {
    /// One that leads to `end`.
    pub fn new(end: CableEnd) -> Self {
        Cable(end)
    }
}

impl Attach for Cable {
    fn kind(&self) -> &'static str {
        self.0.kind.name
    }

    fn name(&self) -> String {
        self.0.to_string()
    }

    fn pauses(&self) -> Pauses {
        Pauses { first: Duration::from_millis(100), longest: Duration::from_secs(5) }
    }

    fn open(&mut self, sizes: Sizes) -> Result<Option<Box<dyn Endpoint>>, AttachError> {
        let CableEnd { kind, path } = &self.0;
        let connection = connect(kind, path, sizes.send_buffer)
            .map_err(|source| AttachError::Connect { path: path.clone(), source })?;
        Ok(Some((kind.open)(connection, sizes.max_frame)))
    }
}

/// A unix socket is connected at once or not at all: who cannot be waited for says `WouldBlock`.
fn connect(kind: &ConnectionKind, path: &Path, send_buffer: usize) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, kind.socket_type.cloexec().nonblocking(), None)?;
    socket.set_send_buffer_size(send_buffer)?;
    socket.connect(&SockAddr::unix(path)?)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_cable_leads_is_a_kind_and_a_path() {
        for kind in CONNECTION_KINDS {
            let text = format!("{}:/tmp/a:b,c", kind.name);
            let end: CableEnd = text.parse().unwrap();
            assert_eq!((end.kind, end.path.to_str()), (kind, Some("/tmp/a:b,c")));
            assert_eq!(end.to_string(), text);
        }
        for bad in ["", "bess", "bess:", ":/tmp/a", "/tmp/a", "daemon:/tmp/a", "BESS:/tmp/a"] {
            assert!(bad.parse::<CableEnd>().is_err(), "{bad}");
        }
    }
}
