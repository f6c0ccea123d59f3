//! One value for another thread, given without ever waiting.
//!
//! The loop must not wait for anybody. The channels of std lock while they wake who waits, and a thread
//! that the kernel does not run may hold that lock; here giving is a store and an unpark.

use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use rtrb::{Consumer, Producer, RingBuffer};

/// A giver, and a taker which only the calling thread should wait with.
pub fn handover<T>() -> (Giver<T>, Taker<T>) {
    let (producer, consumer) = RingBuffer::new(1);
    (Giver { place: Some(producer), taker: thread::current() }, Taker(consumer))
}

/// Gives the value. Dropped without having given it, it tells the taker that none will come.
#[derive(Debug)]
pub struct Giver<T> {
    place: Option<Producer<T>>,
    taker: Thread,
}

/// Takes the value.
#[derive(Debug)]
pub struct Taker<T>(Consumer<T>);

/// What a look for the value has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken<T> {
    /// The value.
    Value(T),
    /// Not yet.
    NotYet,
    /// It has been taken, or the giver has gone without giving it.
    Never,
}

impl<T> Giver<T> {
    /// Gives `value`.
    pub fn give(mut self, value: T) {
        if let Some(place) = &mut self.place {
            // There is room for one, and nothing was given before.
            let _ = place.push(value);
        }
    }
}

impl<T> Drop for Giver<T> {
    fn drop(&mut self) {
        // Before the other is woken, so that it sees that nothing more will come.
        self.place = None;
        self.taker.unpark();
    }
}

impl<T> Taker<T> {
    /// Looks for the value.
    pub fn look(&mut self) -> Taken<T> {
        // Asked first: what was given before the giver went must not be missed.
        let gone = self.0.is_abandoned();
        match self.0.pop() {
            Ok(value) => Taken::Value(value),
            Err(_) if gone => Taken::Never,
            Err(_) => Taken::NotYet,
        }
    }

    /// Waits for the value; `None` if it will never come.
    pub fn wait(mut self) -> Option<T> {
        loop {
            match self.look() {
                Taken::Value(value) => return Some(value),
                Taken::Never => return None,
                Taken::NotYet => thread::park(),
            }
        }
    }

    /// Waits until there is nothing to wait for, or for `patience`.
    pub fn wait_for(&mut self, patience: Duration) -> Taken<T> {
        let until = Instant::now() + patience;
        loop {
            let taken = self.look();
            let left = until.saturating_duration_since(Instant::now());
            if !matches!(taken, Taken::NotYet) || left.is_zero() {
                return taken;
            }
            thread::park_timeout(left.min(LOOK_AGAIN));
        }
    }
}

/// The thread that waits need not be the one that is woken.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_taken_once() {
        let (giver, mut taker) = handover();
        assert_eq!(taker.look(), Taken::NotYet);
        giver.give(7);
        assert_eq!(taker.look(), Taken::Value(7));
        assert_eq!(taker.look(), Taken::Never);
    }

    #[test]
    fn who_waits_is_woken_by_the_value_and_by_its_loss() {
        for value in [Some(7), None] {
            let (giver, taker) = handover();
            let other = thread::spawn(move || match value {
                Some(value) => giver.give(value),
                None => drop(giver),
            });
            assert_eq!(taker.wait(), value);
            other.join().unwrap();
        }
    }

    #[test]
    fn patience_ends() {
        let (_giver, mut taker) = handover::<u8>();
        assert_eq!(taker.wait_for(Duration::from_millis(1)), Taken::NotYet);
    }
}
