//! A port of UML's `bess` transport (`vec0:transport=bess,dst=PATH`): a connection of records, one
//! record one frame, both ways, without a greeting or a header.
//!
//! A socket of this type waits for nobody's queue: what a client has not read lies in our send buffer,
//! and what we have not read in the client's. So a client that is not read waits, and a record that
//! was sent is never lost on the way.
//!
//! How much lies in our send buffer is little for ordinary frames, for it is out of our order. Of jumbo
//! frames that would be three or four, and the switch would stop for each few: so a port that is sent
//! longer frames gets a buffer for about as many of those (TCP between two guests with an MTU of 9000:
//! 2.2 in place of 1.5 Gbit/s). A port with ordinary frames only keeps the little one.

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
    open: |connection, _| Box::new(BessPort { connection, roomy_for: ORDINARY }),
};

/// One client of the `bess` transport.
#[derive(Debug)]
struct BessPort {
    connection: Socket,
    /// Bytes of the longest frames of which the send buffer holds several.
    roomy_for: usize,
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
        if frame.len() > self.roomy_for {
            self.make_room_for(frame.len());
        }
        sent(send_once_more(|| self.connection.send_with_flags(frame, libc::MSG_NOSIGNAL)))
    }
}

impl BessPort {
    /// At most five times in a port's life.
    fn make_room_for(&mut self, len: usize) {
        // The kernel keeps a record in memory of the next power of two.
        self.roomy_for = len.next_power_of_two();
        // Beyond `net.core.wmem_max` we get that; the kernel doubles what is asked for.
        let _ = self.connection.set_send_buffer_size(FRAMES_IN_KERNEL * self.roomy_for / 2);
    }

    fn has_hung_up(&self) -> bool {
        // nix has no name for it. POLLHUP would not tell of a client that only shut down its way out.
        let hung_up = PollFlags::from_bits_retain(libc::POLLRDHUP);
        let mut asked = [PollFd::new(self.connection.as_fd(), hung_up)];
        !matches!(poll(&mut asked, PollTimeout::ZERO), Ok(0))
    }
}

/// What the loop's buffer size is made for: an Ethernet frame with tags.
const ORDINARY: usize = 2048;

/// As many frames as the loop's buffer size holds of ordinary ones, each of which takes 2.3 KiB.
const FRAMES_IN_KERNEL: usize = 28;

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
    fn longer_frames_find_room_for_several() {
        let fitting = |len: usize| {
            let (ours, theirs) =
                Socket::pair(socket2::Domain::UNIX, Type::SEQPACKET, None).unwrap();
            ours.set_nonblocking(true).unwrap();
            ours.set_send_buffer_size(32_768).unwrap();
            let mut port = (KIND.open)(ours, 9018);
            let sent = std::iter::repeat_with(|| port.send(&vec![1; len]));
            let count = sent.take_while(|outcome| *outcome == TxOutcome::Sent).count();
            drop(theirs);
            count
        };
        let (ordinary, long) = (fitting(1514), fitting(9014));
        assert!(ordinary < 40, "{ordinary} ordinary frames");
        // wmem_max may allow for fewer than of ordinary ones.
        assert!(long >= 12, "{long} long frames");
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
