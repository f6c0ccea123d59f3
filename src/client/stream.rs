//! Frames on a stream, each behind its length, as QEMU moves them: one call sends a length and a
//! frame, one call takes all that has come.

use std::io::{self, IoSlice, Read};
use std::sync::{Mutex, MutexGuard, PoisonError};

use socket2::Socket;

use super::uninterrupted;
use crate::port::stream_frames::FrameWriter;

/// What is kept of a stream between two frames. One thread may send while another receives.
#[derive(Debug, Default)]
pub(super) struct Stream {
    writer: Mutex<FrameWriter>,
    reader: Mutex<Reader>,
}

impl Stream {
    /// Sends one frame. One of which a part has gone out counts as sent; the rest goes first the next
    /// time, if there is no room for it in time.
    pub(super) fn send(&self, socket: &Socket, frame: &[u8]) -> io::Result<()> {
        let write = |slices: &[IoSlice<'_>]| uninterrupted(|| socket.send_vectored(slices));
        let mut writer = lock(&self.writer);
        writer.send(frame, write)?;
        match writer.flush(write) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            result => result,
        }
    }

    /// The next frame's length; what `buffer` has no room for is cut off, as from a datagram.
    pub(super) fn receive(&self, socket: &Socket, buffer: &mut [u8]) -> io::Result<usize> {
        let mut reader = lock(&self.reader);
        loop {
            if let Some(len) = reader.next(buffer)? {
                return Ok(len);
            }
            reader.fill(|room| uninterrupted(|| (&mut &*socket).read(room)))?;
        }
    }
}

/// Finds frames in what has come.
#[derive(Debug)]
struct Reader {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Reader {
    /// The next frame, if all of it is there.
    fn next(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let Some((length, rest)) = self.bytes[self.start..self.end].split_first_chunk() else {
            return Ok(None);
        };
        let len = u32::from_be_bytes(*length) as usize;
        if len > self.bytes.len() - LENGTH {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let Some(frame) = rest.get(..len) else { return Ok(None) };
        let kept = len.min(buffer.len());
        buffer[..kept].copy_from_slice(&frame[..kept]);
        self.start += LENGTH + len;
        Ok(Some(kept))
    }

    /// Takes what `read` brings, once [`Reader::next`] finds nothing more.
    fn fill(&mut self, read: impl FnOnce(&mut [u8]) -> io::Result<usize>) -> io::Result<()> {
        self.bytes.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        match read(&mut self.bytes[self.end..])? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            came => {
                self.end += came;
                Ok(())
            }
        }
    }
}

impl Default for Reader {
    fn default() -> Self {
        Reader { bytes: vec![0; READ_SIZE].into(), start: 0, end: 0 }
    }
}

/// A thread that failed with the lock has left whole frames behind.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `NET_BUFSIZE` of QEMU's `include/net/net.h`.
const READ_SIZE: usize = 4096 + 65536;

/// Bytes of a length.
const LENGTH: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives `bytes` to a reader in pieces of `piece` bytes; returns the frames that it finds.
    fn frames(bytes: &[u8], piece: usize) -> Vec<Vec<u8>> {
        let (mut reader, mut buffer, mut found) = (Reader::default(), [0; 2000], Vec::new());
        for piece in bytes.chunks(piece) {
            let mut left = piece;
            while !left.is_empty() {
                reader.fill(|room| left.read(room)).unwrap();
                while let Some(len) = reader.next(&mut buffer).unwrap() {
                    found.push(buffer[..len].to_vec());
                }
            }
        }
        found
    }

    #[test]
    fn frames_are_found_in_whatever_pieces_they_come() {
        let sent: Vec<Vec<u8>> = (0..200).map(|n| vec![n as u8; 1 + n * 7]).collect();
        let mut bytes = Vec::new();
        for frame in &sent {
            bytes.extend_from_slice(&(frame.len() as u32).to_be_bytes());
            bytes.extend_from_slice(frame);
        }
        for piece in [1, 3, 1000, READ_SIZE - 1, READ_SIZE, bytes.len()] {
            assert!(frames(&bytes, piece) == sent, "in pieces of {piece}");
        }
    }

    #[test]
    fn a_frame_too_long_for_the_buffer_is_cut_and_the_next_one_is_whole() {
        let mut reader = Reader::default();
        let mut bytes: &[u8] = &[0, 0, 0, 3, 1, 2, 3, 0, 0, 0, 1, 4];
        reader.fill(|room| bytes.read(room)).unwrap();
        let mut buffer = [0; 2];
        assert_eq!(reader.next(&mut buffer).unwrap(), Some(2));
        assert_eq!(buffer, [1, 2]);
        assert_eq!(reader.next(&mut buffer).unwrap(), Some(1));
        assert_eq!(buffer[0], 4);
        assert_eq!(reader.next(&mut buffer).unwrap(), None);
    }

    #[test]
    fn a_length_that_no_frame_has_and_the_end_are_errors() {
        let mut reader = Reader::default();
        let mut bytes: &[u8] = &[0xff; 8];
        reader.fill(|room| bytes.read(room)).unwrap();
        assert_eq!(reader.next(&mut [0; 8]).unwrap_err().kind(), io::ErrorKind::InvalidData);
        let end = Reader::default().fill(|_| Ok(0)).unwrap_err();
        assert_eq!(end.kind(), io::ErrorKind::UnexpectedEof);
    }
}
