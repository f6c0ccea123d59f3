//! A bound for what guests can make us say.
//!
//! A message that a client can cause at will has a [`LogLimit`] of its own: for each user so many in
//! so long, and then one that says how many were left out. Users are counted apart, so that a guest
//! which makes noise cannot keep another's messages out of the log.

use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use lru::LruCache;

/// Counts one kind of message.
#[derive(Debug)]
pub struct LogLimit(Mutex<Option<Users>>);

/// What each user has lately caused. Who has been quiet for longest is forgotten first.
type Users = LruCache<Option<u32>, State, RandomState>;

#[derive(Debug)]
struct State {
    since: Instant,
    said: u32,
    suppressed: u64,
}

impl LogLimit {
    /// For a `static` beside the message.
    pub const fn new() -> Self {
        LogLimit(Mutex::new(None))
    }

    /// Whether to say now what user `uid` has caused, or nobody in particular. If so, `suppressed`
    /// tells how many like it have been left out since the last one; log it as a field.
    pub fn admit(&self, uid: Option<u32>) -> Option<Suppressed> {
        self.admit_at(uid, Instant::now())
    }

    fn admit_at(&self, uid: Option<u32>, now: Instant) -> Option<Suppressed> {
        let mut users = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let users =
            users.get_or_insert_with(|| LruCache::with_hasher(MOST_USERS, RandomState::default()));
        let state = users.get_or_insert_mut(uid, || State { since: now, said: 0, suppressed: 0 });
        if now.saturating_duration_since(state.since) >= PERIOD {
            state.since = now;
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

/// Enough for a whole host of one user's guests that boot at once.
const BURST: u32 = 64;

/// Twice the guests of a large host, each with a user of its own.
const MOST_USERS: NonZeroUsize = NonZeroUsize::new(64).unwrap();

const PERIOD: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    const NOISY: Option<u32> = Some(1000);

    #[test]
    fn what_is_left_out_is_counted_and_said_with_the_next() {
        let limit = LogLimit::new();
        let start = Instant::now();
        for _ in 0..BURST {
            assert_eq!(limit.admit_at(NOISY, start), Some(Suppressed(0)));
        }
        for _ in 0..1000 {
            assert_eq!(limit.admit_at(NOISY, start), None);
        }
        let next = limit.admit_at(NOISY, start + PERIOD).unwrap();
        assert_eq!(next.field(), Some(1000));
        assert_eq!(limit.admit_at(NOISY, start + PERIOD).unwrap().field(), None);
    }

    #[test]
    fn one_users_noise_leaves_the_others_their_own() {
        let limit = LogLimit::new();
        let now = Instant::now();
        while limit.admit_at(NOISY, now).is_some() {}
        assert_eq!(limit.admit_at(Some(1001), now), Some(Suppressed(0)));
        assert_eq!(limit.admit_at(None, now), Some(Suppressed(0)));
        assert_eq!(limit.admit_at(NOISY, now), None);
    }

    #[test]
    fn users_without_number_take_no_more_than_their_room() {
        let limit = LogLimit::new();
        let now = Instant::now();
        for uid in 0..10_000 {
            limit.admit_at(Some(uid), now);
        }
        assert_eq!(limit.0.lock().unwrap().as_ref().unwrap().len(), MOST_USERS.get());
    }
}
