//! A port of QEMU's `-netdev stream,addr.type=unix,addr.path=PATH`, which passt, gvproxy, libkrun and
//! socket_vmnet speak too: a stream of frames, each behind its length (see
//! [`super::stream_frames`]).

use std::io::{self, IoSlice, Read};
use std::os::fd::{AsRawFd, RawFd};

use socket2::{Socket, Type};

use super::daemon::{send_once_more, sent};
use super::stream_frames::{FrameReader, FrameWriter, Step};
use super::{ConnectionKind, Endpoint, Received};
use crate::core::{PortTraits, TxOutcome};

pub(super) const KIND: ConnectionKind = ConnectionKind {
    name: "qemu",
    help: "Serve QEMU's -netdev stream,addr.type=unix,addr.path=PATH, and whoever else sends each \
        frame behind its length in four bytes",
    socket_type: Type::STREAM,
    open: |connection, max_frame| {
        let (reader, writer) = (FrameReader::new(max_frame), FrameWriter::default());
        Box::new(QemuPort { connection, reader, writer })
    },
};

/// One client that sends its frames on a stream.
#[derive(Debug)]
struct QemuPort {
    connection: Socket,
    reader: FrameReader,
    writer: FrameWriter,
}

impl Endpoint for QemuPort {
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
        match self.reader.next(buffer, |slices| self.connection.read_vectored(slices)) {
            Ok(Step::Frame(len)) => Received::Frame(len),
            Ok(Step::More) => Received::Again,
            Ok(Step::BadLength(len)) => Received::BadLength(len),
            Ok(Step::End) => Received::Gone(io::ErrorKind::UnexpectedEof.into()),
            Err(error) => Received::from_error(error),
        }
    }

    fn send(&mut self, frame: &[u8]) -> TxOutcome {
        let QemuPort { connection, writer, .. } = self;
        sent(writer.send(frame, |slices| write(connection, slices)).map(|()| frame.len()))
    }

    fn has_rest(&self) -> bool {
        self.writer.has_rest()
    }

    fn send_rest(&mut self) {
        let QemuPort { connection, writer, .. } = self;
        // No room, or nobody there: reading tells the second.
        let _ = writer.flush(|slices| write(connection, slices));
    }
}

fn write(connection: &Socket, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    send_once_more(|| connection.send_vectored_with_flags(slices, libc::MSG_NOSIGNAL))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_frame_that_finds_room_for_a_part_goes_out_whole() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let mut port = (KIND.open)(Socket::from(std::os::fd::OwnedFd::from(ours)), 60_000);
        let frame: Vec<u8> = (0..60_000).map(|at| (at % 251) as u8).collect();
        let mut sent = 0;
        while port.send(&frame) == TxOutcome::Sent {
            sent += 1;
        }
        assert!(port.has_rest(), "the last one is there in part");
        let mut received = vec![0; 60_004];
        for n in 1..=sent {
            if n == sent {
                port.send_rest();
            }
            theirs.read_exact(&mut received).unwrap();
            assert_eq!(received[..4], 60_000u32.to_be_bytes());
            assert!(received[4..] == frame);
        }
        assert!(!port.has_rest());
    }

    #[test]
    fn lengths_end_the_port_only_when_they_cannot_be() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let mut port = (KIND.open)(Socket::from(std::os::fd::OwnedFd::from(ours)), 100);
        let mut buffer = [0; 101];
        theirs.write_all(&[0, 0, 0, 5, 1, 2, 3, 4, 5, 0, 0, 0]).unwrap();
        assert!(matches!(port.receive(&mut buffer), Received::Frame(5)));
        assert!(matches!(port.receive(&mut buffer), Received::Nothing));
        theirs.write_all(&[101]).unwrap();
        let received = std::iter::repeat_with(|| port.receive(&mut buffer)).take(3);
        assert!(received.into_iter().any(|r| matches!(r, Received::BadLength(101))));
    }
}
