//! Clients that have connected and not said yet what they want.
//!
//! Their number and their time are bounded: when there are too many, the one that has waited longest
//! goes, for a real guest's request is there as soon as its connection is.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::time::{Duration, Instant};

use super::handshake::{self, Dialect, MAX_REQUEST, Progress, Refusal, Request};
use crate::sys::Peer;

/// Identifies one connection whose request is not complete. Never used again for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PendingId(pub u64);

/// Connections whose request has not come yet, by age.
#[derive(Debug, Default)]
pub struct Handshakes {
    pending: BTreeMap<PendingId, Pending>,
    next: u64,
}

/// A client's connection and what was kept ready for it.
#[derive(Debug)]
pub struct Connection {
    /// The control connection. It does not block.
    pub stream: UnixStream,
    /// The data socket that its port will have. Made before the connection was accepted: a guest
    /// asks once in its life and must not be refused because descriptors have run out in between.
    pub data: UnixDatagram,
    /// Who connected.
    pub peer: Peer,
    /// Which socket it has come by.
    pub dialect: Dialect,
}

#[derive(Debug)]
struct Pending {
    connection: Connection,
    bytes: Vec<u8>,
    since: Instant,
}

/// What reading from one of them brought.
#[derive(Debug)]
pub enum Step {
    /// Not all of it is there; an event will tell of more.
    Waiting,
    /// A whole request, on its connection.
    Request(Connection, Request),
    /// It was none; the connection is closed.
    Refused(Peer, Refusal),
    /// The client has hung up, or the connection had gone before.
    Closed,
}

impl Handshakes {
    /// Takes a new connection and returns its id. If there are too many, the
    /// oldest is closed.
    pub fn add(&mut self, connection: Connection, now: Instant) -> PendingId {
        if self.pending.len() >= MAX_PENDING {
            self.pending.pop_first();
        }
        let id = PendingId(self.next);
        self.next += 1;
        self.pending.insert(id, Pending { connection, bytes: Vec::new(), since: now });
        id
    }

    /// The descriptor of connection `id`.
    pub fn descriptor(&self, id: PendingId) -> Option<RawFd> {
        self.pending.get(&id).map(|pending| pending.connection.stream.as_raw_fd())
    }

    /// Closes connection `id`.
    pub fn abandon(&mut self, id: PendingId) {
        self.pending.remove(&id);
    }

    /// Reads what has come on connection `id`.
    pub fn read(&mut self, id: PendingId) -> Step {
        let Some(pending) = self.pending.get_mut(&id) else { return Step::Closed };
        let progress = match pending.read() {
            Ok(progress) => progress,
            Err(_) => {
                self.pending.remove(&id);
                return Step::Closed;
            }
        };
        if progress == Progress::Incomplete {
            return Step::Waiting;
        }
        let Some(Pending { connection, .. }) = self.pending.remove(&id) else {
            return Step::Closed;
        };
        match progress {
            Progress::Complete(request) => Step::Request(connection, request),
            Progress::Refused(refusal) => Step::Refused(connection.peer, refusal),
            Progress::Incomplete => Step::Waiting,
        }
    }

    /// When the oldest connection will have waited too long.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.pending.first_key_value().map(|(_, pending)| pending.since + PATIENCE)
    }

    /// Closes connections that have waited too long and returns how many those were.
    pub fn expire(&mut self, now: Instant) -> usize {
        let before = self.pending.len();
        while self.next_deadline().is_some_and(|deadline| deadline <= now) {
            self.pending.pop_first();
        }
        before - self.pending.len()
    }

    /// How many connections wait.
    pub fn len(&self) -> usize {
        self.pending.len()
    }

    /// True if none waits.
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }
}

impl Pending {
    /// # Errors
    /// When the connection has ended before the request was complete.
    fn read(&mut self) -> io::Result<Progress> {
        let mut buffer = [0; MAX_REQUEST];
        // More than the longest request is never kept, so this ends.
        while self.bytes.len() < MAX_REQUEST {
            match self.connection.stream.read(&mut buffer[self.bytes.len()..]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(len) => {
                    let start = self.bytes.len();
                    self.bytes.extend_from_slice(&buffer[start..start + len]);
                    let progress = handshake::parse(&self.bytes, self.connection.dialect);
                    if progress != Progress::Incomplete {
                        return Ok(progress);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(handshake::parse(&self.bytes, self.connection.dialect))
    }
}

/// How long a client may take to say what it wants. A kernel says it in the call after `connect`.
const PATIENCE: Duration = Duration::from_secs(5);

/// Connections that may wait at a time.
const MAX_PENDING: usize = 512;

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const PEER: Peer = Peer { uid: 0, pid: 1 };

    fn pair() -> (Connection, UnixStream) {
        let (stream, theirs) = UnixStream::pair().unwrap();
        stream.set_nonblocking(true).unwrap();
        let data = UnixDatagram::unbound().unwrap();
        (Connection { stream, data, peer: PEER, dialect: Dialect::UmlSwitch }, theirs)
    }

    fn request() -> Vec<u8> {
        let mut bytes = Vec::new();
        for word in [0xfeed_face_u32, 3, 0] {
            bytes.extend_from_slice(&word.to_ne_bytes());
        }
        bytes.extend_from_slice(&1u16.to_ne_bytes());
        bytes.extend_from_slice(b"\0client");
        bytes.resize(124, 0);
        bytes
    }

    #[test]
    fn a_request_in_pieces_is_one_request() {
        let mut handshakes = Handshakes::default();
        let (ours, mut theirs) = pair();
        let id = handshakes.add(ours, Instant::now());
        let bytes = request();
        for piece in bytes[..121].chunks(7) {
            theirs.write_all(piece).unwrap();
            assert!(matches!(handshakes.read(id), Step::Waiting));
        }
        theirs.write_all(&bytes[121..]).unwrap();
        assert!(matches!(handshakes.read(id), Step::Request(..)));
        assert!(matches!(handshakes.read(id), Step::Closed));
        assert!(handshakes.is_empty());
    }

    #[test]
    fn half_requests_are_bounded_in_number_and_time() {
        let mut handshakes = Handshakes::default();
        let now = Instant::now();
        let mut clients = Vec::new();
        for _ in 0..MAX_PENDING + 3 {
            let (ours, theirs) = pair();
            handshakes.add(ours, now);
            clients.push(theirs);
        }
        assert_eq!(handshakes.len(), MAX_PENDING);
        let mut byte = [0];
        assert_eq!(clients[0].read(&mut byte).unwrap(), 0, "the oldest was closed");
        assert_eq!(handshakes.expire(now + PATIENCE - Duration::from_millis(1)), 0);
        assert_eq!(handshakes.expire(now + PATIENCE), MAX_PENDING);
        assert_eq!(handshakes.next_deadline(), None);
    }

    #[test]
    fn who_hangs_up_or_talks_rubbish_is_closed() {
        let mut handshakes = Handshakes::default();
        let (ours, theirs) = pair();
        let id = handshakes.add(ours, Instant::now());
        drop(theirs);
        assert!(matches!(handshakes.read(id), Step::Closed));
        let (ours, mut theirs) = pair();
        let id = handshakes.add(ours, Instant::now());
        theirs.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        assert!(matches!(handshakes.read(id), Step::Refused(_, Refusal::Magic(_))));
    }
}
