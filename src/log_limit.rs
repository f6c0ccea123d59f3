//! A bound for what a guest can make us say.
//!
//! A message that a client can cause at will has a [`LogLimit`] of its own: so many in so long, and
//! then one that says how many were left out.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Counts one kind of message.
#[derive(Debug)]
pub struct LogLimit(Mutex<State>);

#[derive(Debug)]
struct State {
    since: Option<Instant>,
    said: u32,
    suppressed: u64,
}

impl LogLimit {
    /// For a `static` beside the message.
    pub const fn new() -> Self {
        LogLimit(Mutex::new(State { since: None, said: 0, suppressed: 0 }))
    }

    /// Whether to say it now. If so, `suppressed` tells how many like it have been left out since
    /// the last one; log it as a field.
    pub fn admit(&self) -> Option<Suppressed> {
        self.admit_at(Instant::now())
    }

    fn admit_at(&self, now: Instant) -> Option<Suppressed> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.since.is_none_or(|since| now.saturating_duration_since(since) >= PERIOD) {
            state.since = Some(now);
            state.said = 0;
        }
        if state.said == BURST {
            state.suppressed += 1;
            return None;
        }
        state.said += 1;
        Some(Suppressed(std::mem::take(&mut state.suppressed)))
    }
}

impl Default for LogLimit {
    fn default() -> Self {
        LogLimit::new()
    }
}

/// How many messages were left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suppressed(u64);

impl Suppressed {
    /// The value of the field `suppressed`: nothing if none was left out.
    pub fn field(self) -> Option<u64> {
        (self.0 > 0).then_some(self.0)
    }
}

/// Enough for a whole host of guests that boot at once.
const BURST: u32 = 64;

const PERIOD: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_counted_and_said_with_the_next() {
        let limit = LogLimit::new();
        let start = Instant::now();
        for _ in 0..BURST {
            assert_eq!(limit.admit_at(start), Some(Suppressed(0)));
        }
        for _ in 0..1000 {
            assert_eq!(limit.admit_at(start), None);
        }
        let next = limit.admit_at(start + PERIOD).unwrap();
        assert_eq!(next.field(), Some(1000));
        assert_eq!(limit.admit_at(start + PERIOD).unwrap().field(), None);
    }
}
