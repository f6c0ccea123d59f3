//! Copies of frames for captures.
//!
//! A capture has two halves. The loop's, a [`Session`], looks at each frame after it was forwarded and
//! puts what is wanted into a ring of bounded size; the other, a [`Tail`], is read on a thread of its
//! own by who writes it somewhere. The loop waits for nobody and wakes nobody for a frame: what finds no
//! room is dropped and counted, and every frame that a capture looked at is in its totals.

pub mod bpf;
pub mod filter;
mod record;
mod recorder;
mod ring;
mod session;
pub mod sink;
mod spec;
mod tail;

use crate::core::{PortId, RxDrop, Verdict};

pub use record::{Captured, Direction, PortTotals, Record};
pub use recorder::Recorder;
pub use session::{Forwarded, InvalidSpec, PortNames, Session, SessionId};
pub use spec::{BUFFERS, CaptureSpec, DEFAULT_BUFFER, Directions, MAX_SNAPLEN};
pub use tail::{LOOK_AGAIN, LOOK_SELDOM, State, Tail};

/// Captures that can run at a time.
pub const MAX_SESSIONS: usize = 16;

/// The captures that run.
#[derive(Debug)]
pub struct Mirror(Vec<Session>);

impl Default for Mirror {
    fn default() -> Self {
        Mirror(Vec::with_capacity(MAX_SESSIONS))
    }
}

impl Mirror {
    /// True while there is any.
    pub fn is_active(&self) -> bool {
        !self.0.is_empty()
    }

    /// Starts a capture.
    ///
    /// # Errors
    /// It is given back if there are [`MAX_SESSIONS`].
    #[expect(clippy::result_large_err, reason = "whoever made it has to get it back")]
    pub fn start(&mut self, session: Session) -> Result<(), Session> {
        if self.0.len() == MAX_SESSIONS {
            return Err(session);
        }
        self.0.push(session);
        Ok(())
    }

    /// Records a frame for who wants it; `ports` are the open ones. What is no frame of a client of ours
    /// is not recorded.
    pub fn record(&mut self, frame: Forwarded<'_>, ports: &[PortId], names: &impl PortNames) {
        use RxDrop::{Oversize, Runt, Stranger};
        if matches!(frame.verdict, Verdict::Drop(Runt | Oversize | Stranger)) {
            return;
        }
        let mut place = 0;
        while let Some(session) = self.0.get_mut(place) {
            if session.record(frame, ports, names) {
                place += 1;
            } else {
                self.0.remove(place).end(names);
            }
        }
    }

    /// Ends the capture `id`, if it has not ended yet.
    pub fn stop(&mut self, id: SessionId, names: &impl PortNames) {
        if let Some(place) = self.0.iter().position(|session| session.id() == id) {
            self.0.remove(place).end(names);
        }
    }

    /// Ends all.
    pub fn stop_all(&mut self, names: &impl PortNames) {
        for session in self.0.drain(..) {
            session.end(names);
        }
    }
}

#[cfg(test)]
mod tests;
