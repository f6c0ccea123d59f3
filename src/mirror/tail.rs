//! The other half of a capture: where its records are read, on any thread but the loop's.

use std::fmt;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use super::ring::Reader;
use super::session::{Bell, Ending};
use super::{PortTotals, Record};
use crate::handover::{Taken, Taker};

/// Reads the records of a capture. Dropped, it ends the capture.
///
/// To be read from one thread, the one that calls [`Tail::read`] first: the loop may wake it.
pub struct Tail {
    records: Reader,
    bell: Bell,
    ending: Taker<Ending>,
    stop: Box<dyn Fn() + Send>,
    /// When records were last found.
    last_found: Instant,
    /// Set once the loop has ended the capture.
    ended: Option<Ending>,
}

/// What to expect of a capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// More may come.
    Open,
    /// All was read. For each port of which a frame was looked at: what became of them, in the order in
    /// which the ports were first seen. Each was named by a [`Record::Port`].
    Ended(Vec<PortTotals>),
}

impl Tail {
    pub(super) fn new(
        records: Reader,
        bell: Bell,
        ending: Taker<Ending>,
        stop: Box<dyn Fn() + Send>,
    ) -> Self {
        Tail { records, bell, ending, stop, last_found: Instant::now(), ended: None }
    }

    /// Gives `each` all records that are there, in order, and returns; waits for up to `patience` for
    /// the first if there is none. Whoever buffers what it is given should flush when this returns.
    ///
    /// The loop wakes nobody for a frame, so this looks every [`LOOK_AGAIN`] while it waits, and every
    /// [`LOOK_SELDOM`] in a silence.
    ///
    /// # Errors
    /// Those of `each`; the record that it was called with will not come again.
    pub fn read(
        &mut self,
        patience: Duration,
        mut each: impl FnMut(Record<'_>) -> io::Result<()>,
    ) -> io::Result<State> {
        self.bell.is_mine();
        let until = Instant::now() + patience;
        loop {
            // Asked before the records are read, for what was recorded before the end must be.
            if self.has_ended() {
                return self.read_rest(&mut each);
            }
            let found = self.records.read(&mut each)? > 0;
            let now = Instant::now();
            let left = until.saturating_duration_since(now);
            if found {
                self.last_found = now;
            }
            if found || left.is_zero() {
                return Ok(State::Open);
            }
            let silence = now.saturating_duration_since(self.last_found);
            let pause = if silence < SILENCE { LOOK_AGAIN } else { LOOK_SELDOM };
            thread::park_timeout(left.min(pause));
        }
    }

    /// Asks for the end, and does not wait for it: [`Tail::read`] goes on until it says so.
    pub fn stop(&self) {
        (self.stop)();
    }

    fn has_ended(&mut self) -> bool {
        if self.ended.is_none() {
            self.ended = match self.ending.look() {
                Taken::Value(ending) => Some(ending),
                Taken::NotYet => None,
                // The loop has gone without a word.
                Taken::Never => Some(Ending::default()),
            };
        }
        self.ended.is_some()
    }

    fn read_rest(
        &mut self,
        mut each: impl FnMut(Record<'_>) -> io::Result<()>,
    ) -> io::Result<State> {
        while self.records.read(&mut each)? > 0 {}
        let Some(ending) = &mut self.ended else { return Ok(State::Open) };
        for (port, name) in ending.unannounced.drain(..) {
            each(Record::Port { port, name: &name })?;
        }
        Ok(State::Ended(ending.totals.clone()))
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        if !self.has_ended() {
            self.stop();
            // The ring's memory goes with whoever holds it last, which must not be the loop.
            let _ = self.ending.wait_for(LOOP_ANSWERS);
        }
    }
}

impl fmt::Debug for Tail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tail").field("ended", &self.ended).finish_non_exhaustive()
    }
}

/// How late a frame may be seen while others come.
pub const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// How late the first one may be seen: people notice no delay under a tenth of a second. A look that
/// finds nothing costs 50 us in a virtual machine, which at [`LOOK_AGAIN`] is 0.26 % of a CPU for each
/// capture, and at this 0.06 %.
pub const LOOK_SELDOM: Duration = Duration::from_millis(80);

/// How long nothing must have come before that.
const SILENCE: Duration = Duration::from_secs(1);

/// A loop that runs answers within a turn.
const LOOP_ANSWERS: Duration = Duration::from_secs(1);
