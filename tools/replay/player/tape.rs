//! The capture as one side plays it: pass after pass, from where the last turn ended.

use std::time::Duration;

use crate::capture::{
    Capture, CaptureError, Destination, Direction, FlowKey, Frame, Frames, StationId, tag,
};

use super::event::{self, Awaited, Way};
use super::question;

/// A position on an endless tape of passes, at recorded speed.
pub type Position = Duration;

/// One side's tape.
pub struct Tape<'c> {
    capture: &'c Capture,
    frames: Frames,
    /// Where this pass began.
    base: Position,
    /// Whole passes behind us.
    passes: u64,
    /// Frames of all passes that were looked at.
    number: u64,
    /// The frame ahead, if it is `loaded`.
    next: Next,
    loaded: bool,
    /// The station that is a real server: its frames are left out, and those to it are questions.
    answering: Option<StationId>,
}

/// The frame that comes next.
#[derive(Debug)]
pub struct Next {
    pub at: Position,
    /// In which pass, from 0.
    pub pass: u64,
    /// Counts all frames of the tape, from 0.
    pub number: u64,
    /// Its packet in the file, from 1.
    pub record: u64,
    pub from: u32,
    pub awaited: Awaited,
    pub way: Way,
    pub flow: FlowKey,
    /// Of `bytes`, or of the answer that is awaited.
    pub content: u64,
    /// The frame, as unique as it can be made.
    pub bytes: Vec<u8>,
}

impl<'c> Tape<'c> {
    /// At its start. The station `answering` is a real server.
    ///
    /// # Errors
    /// When the file cannot be read any more.
    pub fn new(capture: &'c Capture, answering: Option<StationId>) -> Result<Self, CaptureError> {
        let next = Next {
            at: Position::ZERO,
            pass: 0,
            number: 0,
            record: 0,
            from: 0,
            awaited: Awaited::Nowhere,
            way: Way::Recorded(Direction::Other),
            flow: FlowKey::Ethernet { from: [0; 6], to: [0; 6], ether_type: 0 },
            content: 0,
            bytes: Vec::new(),
        };
        Ok(Tape {
            capture,
            frames: capture.play()?,
            base: Position::ZERO,
            passes: 0,
            number: 0,
            next,
            loaded: false,
            answering,
        })
    }

    /// The next frame, which stays the next one until it is [`Tape::taken`]. `None` if there is no
    /// frame in a whole pass.
    ///
    /// # Errors
    /// When the file cannot be read any more, or has changed.
    pub fn next(&mut self) -> Result<Option<&mut Next>, CaptureError> {
        let mut ends = 0;
        while !self.loaded {
            if !self.load()? {
                ends += 1;
                if ends > 1 {
                    return Ok(None);
                }
                self.rewind()?;
            }
        }
        Ok(Some(&mut self.next))
    }

    /// The next frame has been dealt with.
    pub fn taken(&mut self) {
        self.loaded = false;
    }

    /// False at the end of the pass.
    fn load(&mut self) -> Result<bool, CaptureError> {
        let Some(frame) = self.frames.next()? else { return Ok(false) };
        self.number += 1;
        if self.answering == Some(frame.from) {
            return Ok(true);
        }
        (self.next.pass, self.next.number) = (self.passes, self.number);
        self.next.fill(self.base, frame, self.answering);
        self.loaded = true;
        Ok(true)
    }

    /// The next pass begins a mean gap after the last frame.
    fn rewind(&mut self) -> Result<(), CaptureError> {
        let gaps = u32::try_from(self.capture.frames()).unwrap_or(u32::MAX).max(2) - 1;
        let gap = (self.capture.duration() / gaps).max(SHORTEST_GAP);
        self.base += self.capture.duration() + gap;
        self.passes += 1;
        self.frames = self.capture.play()?;
        Ok(())
    }
}

impl Next {
    fn fill(&mut self, base: Position, frame: Frame<'_>, answering: Option<StationId>) {
        let Frame { at, from, to, direction, flow, bytes, record } = frame;
        self.at = base.saturating_add(at);
        (self.record, self.from, self.flow) = (record, from.0, flow);
        self.bytes.clear();
        self.bytes.extend_from_slice(bytes);
        // What has no room for the number is known by its content alone, the oldest first.
        tag(&mut self.bytes, self.number);
        let is_question = answering.is_some_and(|server| to == Destination::Station(server));
        if is_question && question::ask(&mut self.bytes, self.number) {
            (self.awaited, self.way) = (Awaited::Answer, Way::ThereAndBack);
            self.content = question::key(self.number);
            return;
        }
        self.awaited = if is_question { Awaited::Nowhere } else { Awaited::Forwarded(to) };
        self.way = Way::Recorded(direction);
        self.content = event::content(&self.bytes);
    }
}

/// A capture of one frame would have none.
const SHORTEST_GAP: Duration = Duration::from_micros(10);
