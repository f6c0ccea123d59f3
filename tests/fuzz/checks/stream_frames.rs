//! What must hold for any bytes on a stream of frames, wherever they are cut in pieces: the frames are
//! those that a plain reading of the whole finds.

use std::io::{self, IoSliceMut};

use uml_switch::port::stream_frames::{FrameReader, FrameWriter, Step};

/// The first bytes say how long the pieces are, the rest is the stream.
pub(crate) fn check(data: &[u8]) {
    let Some((pieces, stream)) = data.split_at_checked(PIECES) else { return };
    let (frames, end) = read_plainly(stream);
    assert_eq!(read_in_pieces(stream, pieces), (frames.clone(), end));
    let written = write_in_pieces(&frames, pieces);
    assert!(stream.starts_with(&written), "what was read is not what is written");
}

/// The frames of a stream, and what ends it.
fn read_plainly(mut stream: &[u8]) -> (Vec<Vec<u8>>, Step) {
    let mut frames = Vec::new();
    while let Some((length, rest)) = stream.split_first_chunk() {
        let len = u32::from_be_bytes(*length);
        if len == 0 || len as usize > LONGEST {
            return (frames, Step::BadLength(len));
        }
        let Some((frame, rest)) = rest.split_at_checked(len as usize) else { break };
        frames.push(frame.to_vec());
        stream = rest;
    }
    (frames, Step::End)
}

fn read_in_pieces(mut stream: &[u8], pieces: &[u8]) -> (Vec<Vec<u8>>, Step) {
    let mut reader = FrameReader::new(LONGEST);
    let mut buffer = [0; LONGEST + 1];
    let mut frames = Vec::new();
    let mut pieces = pieces.iter().chain(&[1]).cycle();
    loop {
        let piece = usize::from(*pieces.next().expect("without end"));
        let step = reader.next(&mut buffer, |slices| read(&mut stream, slices, piece));
        match step {
            Ok(Step::Frame(len)) => frames.push(buffer[..len].to_vec()),
            Ok(Step::More) => {}
            Ok(end) => return (frames, end),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
        }
    }
}

/// Moves up to `piece` bytes; none can be had if that is 0.
fn read(stream: &mut &[u8], slices: &mut [IoSliceMut<'_>], piece: usize) -> io::Result<usize> {
    if piece == 0 {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    let mut left = piece.min(stream.len());
    let before = stream.len();
    for slice in slices {
        let (now, later) = stream.split_at(slice.len().min(left));
        slice[..now.len()].copy_from_slice(now);
        left -= now.len();
        *stream = later;
    }
    Ok(before - stream.len())
}

fn write_in_pieces(frames: &[Vec<u8>], pieces: &[u8]) -> Vec<u8> {
    let mut written = Vec::new();
    let mut pieces = pieces.iter().chain(&[1]).cycle();
    let mut write = |slices: &[io::IoSlice<'_>]| match *pieces.next().expect("without end") {
        0 => Err(io::ErrorKind::WouldBlock.into()),
        room => {
            let bytes = slices.iter().flat_map(|slice| slice.iter()).take(room.into());
            let before = written.len();
            written.extend(bytes);
            Ok(written.len() - before)
        }
    };
    let mut writer = FrameWriter::default();
    for frame in frames {
        while writer.send(frame, &mut write).is_err() {}
    }
    while writer.flush(&mut write).is_err() {}
    assert!(!writer.has_rest());
    written
}

const PIECES: usize = 8;

/// Short, so that a fuzzer finds the bound.
const LONGEST: usize = 300;
