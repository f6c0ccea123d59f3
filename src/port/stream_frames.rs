//! Frames on a stream: the length in four bytes, the highest first, then the frame.
//!
//! Pure: the reader and the writer are given the functions that move bytes. In the long run of bulk a
//! call brings one frame, straight into the caller's buffer, together with the next one's length. Only
//! when no length is known is more taken than one frame, so that a lone small frame costs one call as
//! well; what came too early is kept here, and so is the beginning of a frame that is not all there.

use std::io::{self, IoSlice, IoSliceMut};

/// Takes frames from a stream.
#[derive(Debug)]
pub struct FrameReader {
    longest: usize,
    /// From `start` on: what has come and was not given out, a length first.
    ahead: Vec<u8>,
    start: usize,
}

/// What an attempt to take a frame brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A frame of so many bytes is in the buffer.
    Frame(usize),
    /// More has come, but no whole frame.
    More,
    /// What ought to be a length cannot be one. Where the next frame starts is not known any more.
    BadLength(u32),
    /// The stream has ended.
    End,
}

impl FrameReader {
    /// For frames of 1 to `longest` bytes.
    pub fn new(longest: usize) -> Self {
        FrameReader { longest, ahead: Vec::new(), start: 0 }
    }

    /// Takes the next frame into `buffer`, which has room for the longest one, with at most one call
    /// of `read`: it fills slices in turn and returns how many bytes those were, 0 at the end.
    ///
    /// # Errors
    /// Those of `read`, after which everything is as before.
    pub fn next(
        &mut self,
        buffer: &mut [u8],
        read: impl FnOnce(&mut [IoSliceMut<'_>]) -> io::Result<usize>,
    ) -> io::Result<Step> {
        let ahead = &self.ahead[self.start..];
        let Some((length, body)) = ahead.split_first_chunk() else {
            return self.read_length(buffer, read);
        };
        let Some(len) = self.check(*length) else {
            return Ok(Step::BadLength(u32::from_be_bytes(*length)));
        };
        if let Some(frame) = body.get(..len) {
            buffer[..len].copy_from_slice(frame);
            self.start += LENGTH + len;
            return Ok(Step::Frame(len));
        }
        self.read_rest(len, buffer, read)
    }

    /// Reads what may be a length and a frame.
    fn read_length(
        &mut self,
        buffer: &mut [u8],
        read: impl FnOnce(&mut [IoSliceMut<'_>]) -> io::Result<usize>,
    ) -> io::Result<Step> {
        let ahead = &self.ahead[self.start..];
        let known = ahead.len();
        let mut length = [0; LENGTH];
        length[..known].copy_from_slice(ahead);
        let slices = &mut [IoSliceMut::new(&mut length[known..]), IoSliceMut::new(buffer)];
        let came = read(slices)?;
        if came == 0 {
            return Ok(Step::End);
        }
        let Some(body) = (known + came).checked_sub(LENGTH) else {
            self.keep([&length[..known + came], &[]]);
            return Ok(Step::More);
        };
        let Some(len) = self.check(length) else {
            return Ok(Step::BadLength(u32::from_be_bytes(length)));
        };
        if body < len {
            self.keep([&length, &buffer[..body]]);
            return Ok(Step::More);
        }
        self.keep([&buffer[len..body], &[]]);
        Ok(Step::Frame(len))
    }

    /// Reads what is missing of a frame of `len` bytes, and the length of the next one.
    fn read_rest(
        &mut self,
        len: usize,
        buffer: &mut [u8],
        read: impl FnOnce(&mut [IoSliceMut<'_>]) -> io::Result<usize>,
    ) -> io::Result<Step> {
        let start = &self.ahead[self.start + LENGTH..];
        let known = start.len();
        buffer[..known].copy_from_slice(start);
        let mut next = [0; LENGTH];
        let missing = &mut buffer[known..len];
        let came = read(&mut [IoSliceMut::new(missing), IoSliceMut::new(&mut next)])?;
        if came == 0 {
            return Ok(Step::End);
        }
        if let Some(of_next) = (known + came).checked_sub(len) {
            self.keep([&next[..of_next], &[]]);
            return Ok(Step::Frame(len));
        }
        self.ahead.extend_from_slice(&buffer[known..known + came]);
        Ok(Step::More)
    }

    fn keep(&mut self, parts: [&[u8]; 2]) {
        self.ahead.clear();
        self.start = 0;
        for part in parts {
            self.ahead.extend_from_slice(part);
        }
    }

    fn check(&self, length: [u8; LENGTH]) -> Option<usize> {
        let len = u32::from_be_bytes(length) as usize;
        (1..=self.longest).contains(&len).then_some(len)
    }
}

/// Puts frames on a stream. A frame of which a part has gone out counts as sent; the rest goes out
/// before anything else.
#[derive(Debug, Default)]
pub struct FrameWriter {
    /// From `start` on: the rest of the last frame.
    rest: Vec<u8>,
    start: usize,
}

impl FrameWriter {
    /// Puts `frame` on the stream by `write`, which takes bytes from slices in turn and returns how
    /// many those were.
    ///
    /// # Errors
    /// Those of `write`. Nothing of the frame has gone out then.
    pub fn send(
        &mut self,
        frame: &[u8],
        mut write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> io::Result<()> {
        self.flush(&mut write)?;
        // No frame is longer than the switch's largest, which is far below.
        let length = (frame.len() as u32).to_be_bytes();
        let gone = write(&[IoSlice::new(&length), IoSlice::new(frame)])?;
        match gone.checked_sub(LENGTH) {
            None => {
                self.rest.extend_from_slice(&length[gone..]);
                self.rest.extend_from_slice(frame);
            }
            Some(gone) => self.rest.extend_from_slice(frame.get(gone..).unwrap_or_default()),
        }
        Ok(())
    }

    /// Puts the rest of the last frame on the stream.
    ///
    /// # Errors
    /// Those of `write`; what is still left is kept.
    pub fn flush(
        &mut self,
        mut write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> io::Result<()> {
        while self.has_rest() {
            match write(&[IoSlice::new(&self.rest[self.start..])])? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                gone => self.start += gone,
            }
        }
        self.rest.clear();
        self.start = 0;
        Ok(())
    }

    /// True while a part of the last frame has not gone out.
    pub fn has_rest(&self) -> bool {
        self.start < self.rest.len()
    }
}

/// Bytes of a length.
const LENGTH: usize = 4;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LONGEST: usize = 300;

    /// Moves what fits of `bytes` into `slices`.
    fn fill(slices: &mut [IoSliceMut<'_>], mut bytes: &[u8]) -> usize {
        let all = bytes.len();
        for slice in slices {
            let len = slice.len().min(bytes.len());
            slice[..len].copy_from_slice(&bytes[..len]);
            bytes = &bytes[len..];
        }
        all - bytes.len()
    }

    /// What comes out when `stream` is to be had in pieces of these lengths, in turn.
    fn read_in_pieces(mut stream: &[u8], pieces: &[usize]) -> (Vec<Vec<u8>>, Step) {
        let mut reader = FrameReader::new(LONGEST);
        let mut buffer = [0; LONGEST + 1];
        let mut frames = Vec::new();
        let mut pieces = pieces.iter().cycle();
        loop {
            let step = reader.next(&mut buffer, |slices| {
                let piece = (*pieces.next().unwrap()).min(stream.len());
                let len = fill(slices, &stream[..piece]);
                stream = &stream[len..];
                Ok(len)
            });
            match step.unwrap() {
                Step::Frame(len) => frames.push(buffer[..len].to_vec()),
                Step::More => {}
                end => return (frames, end),
            }
        }
    }

    fn stream_of(frames: &[Vec<u8>]) -> Vec<u8> {
        let mut stream = Vec::new();
        for frame in frames {
            stream.extend((frame.len() as u32).to_be_bytes());
            stream.extend(frame);
        }
        stream
    }

    #[test]
    fn a_stream_cut_anywhere_is_the_same_frames() {
        let frames: Vec<Vec<u8>> = [60, 1, 300, 14].map(|len| vec![len as u8; len]).to_vec();
        let stream = stream_of(&frames);
        for cut in 1..stream.len() {
            let pieces = [cut, stream.len()];
            assert_eq!(read_in_pieces(&stream, &pieces), (frames.clone(), Step::End), "{cut}");
            assert_eq!(read_in_pieces(&stream, &[cut]), (frames.clone(), Step::End), "by {cut}");
        }
    }

    #[test]
    fn bulk_costs_one_call_a_frame_and_a_lone_frame_one() {
        let frames = vec![vec![7; 200]; 50];
        let stream = stream_of(&frames);
        let mut rest = stream.as_slice();
        let mut reader = FrameReader::new(LONGEST);
        let (mut calls, mut received) = (0, 0);
        while !rest.is_empty() || received < frames.len() {
            let step = reader.next(&mut [0; LONGEST + 1], |slices| {
                calls += 1;
                let len = fill(slices, rest);
                rest = &rest[len..];
                Ok(len)
            });
            received += usize::from(step.unwrap() == Step::Frame(200));
        }
        assert!(calls <= frames.len(), "{calls} calls");
        let lone = reader.next(&mut [0; LONGEST + 1], |slices| Ok(fill(slices, &stream[..204])));
        assert_eq!(lone.unwrap(), Step::Frame(200));
    }

    #[test]
    fn a_failed_read_changes_nothing() {
        let stream = stream_of(&[vec![9; 100]]);
        let mut reader = FrameReader::new(LONGEST);
        let mut buffer = [0; LONGEST + 1];
        for byte in &stream[..103] {
            let blocked = reader.next(&mut buffer, |_| Err(io::ErrorKind::WouldBlock.into()));
            assert_eq!(blocked.unwrap_err().kind(), io::ErrorKind::WouldBlock);
            let one = reader.next(&mut buffer, |slices| Ok(fill(slices, &[*byte])));
            assert_eq!(one.unwrap(), Step::More);
            buffer.fill(0);
        }
        let last = reader.next(&mut buffer, |slices| Ok(fill(slices, &stream[103..])));
        assert_eq!(last.unwrap(), Step::Frame(100));
        assert_eq!(buffer[..100], [9; 100]);
    }

    #[test]
    fn lengths_that_cannot_be_end_it_after_what_came_before() {
        for length in [0, LONGEST as u32 + 1, u32::MAX] {
            let frames = vec![vec![1; 20]];
            let stream = [stream_of(&frames), length.to_be_bytes().to_vec(), vec![0; 9]].concat();
            for pieces in [[1], [7], [24], [1000]] {
                let expected = (frames.clone(), Step::BadLength(length));
                assert_eq!(read_in_pieces(&stream, &pieces), expected);
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_in_pieces_is_read_in_pieces(
            frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..LONGEST), 0..20),
            room in prop::collection::vec(0..500usize, 1..30),
            pieces in prop::collection::vec(1..700usize, 1..30),
        ) {
            let mut stream = Vec::new();
            let mut room = room.iter().chain([&1]).cycle();
            let mut write = |slices: &[IoSlice<'_>]| {
                let room = *room.next().unwrap();
                if room == 0 {
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                let bytes: Vec<u8> = slices.iter().flat_map(|s| s.iter().copied()).collect();
                let len = room.min(bytes.len());
                stream.extend_from_slice(&bytes[..len]);
                Ok(len)
            };
            let mut writer = FrameWriter::default();
            for frame in &frames {
                while writer.send(frame, &mut write).is_err() {}
            }
            while writer.flush(&mut write).is_err() {}
            prop_assert_eq!(&stream, &stream_of(&frames));
            prop_assert_eq!(read_in_pieces(&stream, &pieces), (frames, Step::End));
        }
    }
}
