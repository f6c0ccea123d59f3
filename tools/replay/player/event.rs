//! What the sender tells the receiver, which counts everything.

use std::time::Duration;

use crate::capture::{Destination, Direction, FlowKey};

use super::clock::Moment;

/// Said before a frame is sent, or after it could not be.
#[derive(Debug)]
pub enum Event {
    /// A frame was due, and is about to be sent.
    Due(Due),
    /// The switch did not take it in time.
    Refused(Due),
}

/// A frame that was due.
#[derive(Clone, Copy, Debug)]
pub struct Due {
    /// Counts the frames to one switch, from 0.
    pub number: u64,
    /// [`content`] of all its bytes, or of the answer that is awaited: [`super::question::key`].
    pub content: u64,
    /// Its packet in the file.
    pub record: u64,
    pub from: u32,
    pub awaited: Awaited,
    pub way: Way,
    pub flow: FlowKey,
    /// Bytes of the frame.
    pub len: usize,
    /// When it was due.
    pub due: Moment,
    /// From then to the first attempt to send it.
    pub lateness: Duration,
}

/// Where a frame is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// At one station, or at all others.
    Forwarded(Destination),
    /// The answer to it, at the station that sent it.
    Answer,
    /// Nowhere that we see.
    Nowhere,
}

/// Which way frames go, for the tallies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Recorded(Direction),
    /// To a real server, and its answer.
    ThereAndBack,
}

/// A hash of a whole frame. Who sends frames to collide harms his own measurement only.
pub fn content(frame: &[u8]) -> u64 {
    use std::hash::{BuildHasher, Hasher};
    let mut hasher = foldhash::fast::FixedState::with_seed(0).build_hasher();
    hasher.write(frame);
    hasher.finish()
}
