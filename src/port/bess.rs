//! A port of UML's `bess` transport (`vec0:transport=bess,dst=PATH`): a connection of records, one
//! record one frame, both ways, without a greeting or a header.
//!
//! A socket of this type waits for nobody's queue: what a client has not read lies in our send buffer,
//! and what we have not read in the client's. So a client that is not read waits, and a record that
//! was sent is never lost on the way.

use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, RawFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Socket, Type};

use super::daemon::{send_once_more, sent};
use super::{ConnectionKind, Endpoint, Received};
use crate::core::{PortTraits, TxOutcome};

pub(super) const KIND: ConnectionKind = ConnectionKind {
    name: "bess",
    help: "Serve guests with vec0:transport=bess,dst=PATH, and whoever else sends a frame a record",
    socket_type: Type::SEQPACKET,
    open: |connection, _| Box::new(BessPort { connection }),
};

/// One client of the `bess` transport.
#[derive(Debug)]
struct BessPort {
    connection: Socket,
}

impl Endpoint for BessPort {
    fn kind(&self) -> &'static str {
        KIND.name
    }

    fn traits(&self) -> PortTraits {
        PortTraits { can_wait: true }
    }

    fn descriptor(&self) -> Option<RawFd> {
        Some(self.connection.as_raw_fd())
    }

    fn receive(&mut self, buffer: &mut [u8]) -> Received {
        match self.connection.read(buffer) {
            // The end, or a record without a byte: a runt like others while the client is there.
            Ok(0) if self.has_hung_up() => Received::Gone(io::ErrorKind::UnexpectedEof.into()),
            Ok(len) => Received::Frame(len),
            Err(error) => Received::from_error(error),
        }
    }

    fn send(&mut self, frame: &[u8]) -> TxOutcome {
        sent(send_once_more(|| self.connection.send_with_flags(frame, libc::MSG_NOSIGNAL)))
    }
}

impl BessPort {
    fn has_hung_up(&self) -> bool {
        // nix has no name for it. POLLHUP would not tell of a client that only shut down its way out.
        let hung_up = PollFlags::from_bits_retain(libc::POLLRDHUP);
        let mut asked = [PollFd::new(self.connection.as_fd(), hung_up)];
        !matches!(poll(&mut asked, PollTimeout::ZERO), Ok(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Socket, Box<dyn Endpoint>) {
        let (ours, theirs) = Socket::pair(socket2::Domain::UNIX, Type::SEQPACKET, None).unwrap();
        ours.set_nonblocking(true).unwrap();
        (theirs, (KIND.open)(ours, 100))
    }

    fn receive(port: &mut dyn Endpoint) -> Received {
        port.receive(&mut [0; 101])
    }

    #[test]
    fn records_are_frames_until_the_end() {
        let (theirs, mut port) = pair();
        assert!(matches!(receive(&mut *port), Received::Nothing));
        for len in [60, 0, 101, 102, 14] {
            theirs.send(&vec![7; len]).unwrap();
            let Received::Frame(received) = receive(&mut *port) else { panic!("{len}") };
            assert_eq!(received, len.min(101));
        }
        theirs.send(&[7; 20]).unwrap();
        drop(theirs);
        assert!(matches!(receive(&mut *port), Received::Frame(20)), "sent before the end");
        assert!(matches!(receive(&mut *port), Received::Gone(_)));
    }

    #[test]
    fn what_a_client_does_not_read_waits_and_who_has_gone_gets_nothing() {
        let (theirs, mut port) = pair();
        let mut sent = 0;
        while port.send(&[1; 60]) == TxOutcome::Sent {
            sent += 1;
        }
        assert_eq!(port.send(&[1; 60]), TxOutcome::Full);
        let mut buffer = [0; 100];
        for _ in 0..sent {
            assert_eq!((&theirs).read(&mut buffer).unwrap(), 60);
        }
        drop(theirs);
        assert_eq!(port.send(&[1; 60]), TxOutcome::Dropped(crate::core::TxDrop::NoReceiver));
        assert!(matches!(receive(&mut *port), Received::Gone(_)));
    }
}
