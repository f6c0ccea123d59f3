//! The second pass: frames in the order in which they are due.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::error::{CaptureError, Problem};
use super::flow::FlowKey;
use super::multiply::Copies;
use super::packet::{Layout, destination, source};
use super::stations::{Destination, StationId, Stations};
use super::stream::Stream;

/// One frame to be replayed.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// When it is due, since the first frame. Long gaps are shortened.
    pub at: Duration,
    pub from: StationId,
    pub to: Destination,
    pub direction: Direction,
    pub flow: FlowKey,
    /// From the destination address on, without a frame check sequence.
    pub bytes: &'a [u8],
    /// Its packet in the file, from 1. Copies have the same.
    pub record: u64,
}

/// Which way a frame goes, seen from the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    ToServer,
    FromServer,
    Other,
}

/// One pass through a capture. Each copy of a multiplied one reads the file for itself, so memory
/// does not depend on how far they are apart.
pub struct Frames {
    plan: Arc<Plan>,
    voices: Vec<Voice>,
    /// Who had the last frame, and has to go on.
    last: Option<usize>,
}

/// What the first pass has found out.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) stations: Stations,
    pub(super) server: Option<SocketAddr>,
    pub(super) copies: Copies,
}

/// One copy.
struct Voice {
    copy: usize,
    stream: Stream,
    /// When its next frame is due; `None` at its end.
    due: Option<Duration>,
}

impl Frames {
    /// `streams` are at their starts, one for each copy.
    pub(super) fn new(plan: Arc<Plan>, streams: Vec<Stream>) -> Result<Self, CaptureError> {
        let voices = streams.into_iter().enumerate();
        let mut voices: Vec<_> =
            voices.map(|(copy, stream)| Voice { copy, stream, due: None }).collect();
        for voice in &mut voices {
            voice.advance(&plan.copies)?;
        }
        Ok(Frames { plan, voices, last: None })
    }

    /// The next frame; `None` at the end.
    ///
    /// # Errors
    /// When the file cannot be read, or is not as it was in the first pass.
    pub fn next(&mut self) -> Result<Option<Frame<'_>>, CaptureError> {
        if let Some(last) = self.last.take() {
            self.voices[last].advance(&self.plan.copies)?;
        }
        // There are few, so looking at all of them is cheaper than to keep them in order.
        let due = self.voices.iter().filter_map(|voice| Some((voice.due?, voice.copy)));
        let Some((at, first)) = due.min() else { return Ok(None) };
        self.last = Some(first);
        let voice = &mut self.voices[first];
        let Some(from) = self.plan.stations.station(source(voice.stream.frame())) else {
            return Err(voice.stream.error(Problem::Changed));
        };
        let record = voice.stream.record();
        let bytes = &*voice.stream.frame();
        let layout = Layout::of(bytes);
        Ok(Some(Frame {
            at,
            from,
            to: self.plan.stations.destination(destination(bytes)),
            direction: self.plan.direction(bytes, &layout),
            flow: FlowKey::of(bytes, &layout),
            bytes,
            record,
        }))
    }
}

impl Plan {
    fn direction(&self, frame: &[u8], layout: &Layout) -> Direction {
        match (self.server, layout.udp(frame)) {
            (Some(server), Some((_, to))) if to == server => Direction::ToServer,
            (Some(server), Some((from, _))) if from == server => Direction::FromServer,
            _ => Direction::Other,
        }
    }
}

impl Voice {
    /// Goes on to the next frame that this copy has.
    fn advance(&mut self, copies: &Copies) -> Result<(), CaptureError> {
        self.due = None;
        while self.stream.advance()? {
            if self.copy == 0 || copies.change(self.copy, self.stream.frame()) {
                let delay = copies.delay(self.copy);
                self.due = Some(self.stream.due().saturating_add(delay));
                break;
            }
        }
        Ok(())
    }
}
