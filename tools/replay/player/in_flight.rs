//! Frames that were due and what has come of them: who waits for what.
//!
//! An arrival is known by its whole content and by the station that it came to. Of frames that are
//! alike the oldest is taken. A frame stays here for a while after it has come, so that a second
//! arrival is known for what it is. What is kept is bounded: the oldest gives way.

use std::collections::VecDeque;

use foldhash::{HashMap, HashMapExt};

use super::clock::Moment;

/// What is expected where: a hash of the frame's content and the station.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// Of all bytes of the frame.
    pub content: u64,
    /// The station that should receive it.
    pub station: u32,
}

/// One frame at one station that should receive it, with whatever the tallies want to know again.
#[derive(Clone, Debug)]
pub struct Expected<T> {
    pub key: Key,
    /// The frame's own number.
    pub number: u64,
    /// When it was due.
    pub due: Moment,
    /// Whether it is awaited still.
    pub open: bool,
    pub about: T,
    /// The place of the next of the same content at the same station.
    next: Option<u64>,
}

/// All that is expected, oldest first.
#[derive(Debug)]
pub struct InFlight<T> {
    frames: VecDeque<Expected<T>>,
    /// The place of the first of `frames` among all that ever were.
    first: u64,
    chains: HashMap<Key, Chain>,
    open: usize,
}

/// Frames that are alike.
#[derive(Clone, Copy, Debug)]
struct Chain {
    /// The place of the oldest that may be open: all before it are not.
    oldest: u64,
    newest: u64,
}

/// What an arrival is.
#[derive(Debug)]
pub enum Match<'a, T> {
    /// The first of an expected frame.
    Expected(&'a Expected<T>),
    /// Another one of a frame that had come.
    Duplicate(&'a Expected<T>),
    /// Nobody's.
    Unexpected,
}

impl<T> InFlight<T> {
    pub fn new() -> Self {
        InFlight { frames: VecDeque::new(), first: 0, chains: HashMap::new(), open: 0 }
    }

    /// How many are awaited.
    pub fn open(&self) -> usize {
        self.open
    }

    /// One more is expected.
    pub fn push(&mut self, key: Key, number: u64, due: Moment, about: T) {
        let place = self.first + self.frames.len() as u64;
        let chain = self.chains.entry(key).or_insert(Chain { oldest: place, newest: place });
        if chain.newest != place {
            let before = (chain.newest - self.first) as usize;
            self.frames[before].next = Some(place);
            chain.newest = place;
        }
        self.frames.push_back(Expected { key, number, due, open: true, about, next: None });
        self.open += 1;
    }

    /// A frame has come.
    pub fn arrive(&mut self, key: Key) -> Match<'_, T> {
        match self.close_oldest(key) {
            Closed::Was(place) => Match::Expected(&self.frames[place]),
            Closed::NoneOpen(place) => Match::Duplicate(&self.frames[place]),
            Closed::Unknown => Match::Unexpected,
        }
    }

    /// The frame with this number is not to be expected any longer: it was never sent. `None` if it
    /// is not awaited, or no longer known.
    pub fn withdraw(&mut self, key: Key, number: u64) -> Option<&Expected<T>> {
        let mut at = Some(self.chains.get(&key)?.oldest);
        while let Some(place) = at {
            let place = (place - self.first) as usize;
            if self.frames[place].number == number {
                let frame = &mut self.frames[place];
                self.open -= usize::from(frame.open);
                return std::mem::take(&mut frame.open).then_some(frame);
            }
            at = self.frames[place].next;
        }
        None
    }

    /// Takes the oldest out if it was due before `moment`, or if there are more than `most`.
    pub fn pop_expired(&mut self, moment: Moment, most: usize) -> Option<Expected<T>> {
        let oldest = self.frames.front()?;
        (oldest.due < moment || self.frames.len() > most).then(|| self.pop()).flatten()
    }

    /// Takes the oldest out.
    pub fn pop(&mut self) -> Option<Expected<T>> {
        let oldest = self.frames.pop_front()?;
        let place = self.first;
        self.first += 1;
        self.open -= usize::from(oldest.open);
        match (self.chains.get_mut(&oldest.key), oldest.next) {
            (Some(chain), Some(next)) => chain.oldest = chain.oldest.max(next),
            (Some(chain), None) if chain.newest == place => {
                self.chains.remove(&oldest.key);
            }
            _ => {}
        }
        Some(oldest)
    }

    fn close_oldest(&mut self, key: Key) -> Closed {
        let Some(chain) = self.chains.get_mut(&key) else { return Closed::Unknown };
        loop {
            let place = (chain.oldest - self.first) as usize;
            let frame = &mut self.frames[place];
            if frame.open {
                frame.open = false;
                self.open -= 1;
                return Closed::Was(place);
            }
            match frame.next {
                Some(next) => chain.oldest = next,
                None => return Closed::NoneOpen(place),
            }
        }
    }
}

enum Closed {
    Was(usize),
    NoneOpen(usize),
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(content: u64) -> Key {
        Key { content, station: 1 }
    }

    fn at(n: u64) -> Moment {
        Moment::from_millis(n)
    }

    fn name<T: Copy>(found: Match<'_, T>) -> (&'static str, Option<T>) {
        match found {
            Match::Expected(frame) => ("expected", Some(frame.about)),
            Match::Duplicate(frame) => ("duplicate", Some(frame.about)),
            Match::Unexpected => ("unexpected", None),
        }
    }

    #[test]
    fn of_frames_that_are_alike_the_oldest_is_taken_first() {
        let mut frames = InFlight::new();
        for (n, content) in [7, 8, 7, 7].into_iter().enumerate() {
            frames.push(key(content), n as u64, at(n as u64), n);
        }
        assert_eq!(frames.open(), 4);
        assert_eq!(name(frames.arrive(key(7))), ("expected", Some(0)));
        assert_eq!(name(frames.arrive(key(7))), ("expected", Some(2)));
        assert_eq!(name(frames.arrive(key(7))), ("expected", Some(3)));
        assert_eq!(name(frames.arrive(key(7))), ("duplicate", Some(3)));
        assert_eq!(name(frames.arrive(key(8))), ("expected", Some(1)));
        assert_eq!(name(frames.arrive(key(9))), ("unexpected", None));
        assert_eq!(name(frames.arrive(Key { content: 8, station: 2 })), ("unexpected", None));
        assert_eq!(frames.open(), 0);
    }

    #[test]
    fn what_is_withdrawn_does_not_come() {
        let mut frames = InFlight::new();
        for n in 0..3 {
            frames.push(key(7), n, at(n), n);
        }
        assert_eq!(frames.withdraw(key(7), 1).unwrap().about, 1);
        assert!(frames.withdraw(key(7), 1).is_none() && frames.withdraw(key(8), 0).is_none());
        assert_eq!(name(frames.arrive(key(7))), ("expected", Some(0)));
        assert_eq!(name(frames.arrive(key(7))), ("expected", Some(2)));
        assert_eq!(name(frames.arrive(key(7))), ("duplicate", Some(2)));
        assert_eq!(frames.open(), 0);
    }

    #[test]
    fn the_oldest_gives_way_and_is_forgotten() {
        let mut frames = InFlight::new();
        for n in 0..4 {
            frames.push(key(n % 2), n, at(n), n);
        }
        name(frames.arrive(key(1)));
        assert!(frames.pop_expired(at(0), 4).is_none());
        let first = frames.pop_expired(at(1), 4).unwrap();
        assert!(first.open && first.about == 0);
        let second = frames.pop_expired(at(1), 2).unwrap();
        assert!(!second.open && second.about == 1);
        assert_eq!(name(frames.arrive(key(0))), ("expected", Some(2)));
        frames.pop();
        assert_eq!(name(frames.arrive(key(0))), ("unexpected", None));
        assert!(frames.pop().unwrap().open);
        assert!(frames.pop().is_none() && frames.open() == 0 && frames.chains.is_empty());
    }
}
