//! What happens when: a queue by time, first come first served among equals.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::Wake;

/// What the timeline holds.
#[derive(Debug)]
pub enum Item {
    Frame(Vec<u8>),
    Wake(Wake),
}

/// Items by time, in nanoseconds from the start of the capture.
#[derive(Debug, Default)]
pub struct Timeline {
    entries: BinaryHeap<Entry>,
    /// Entries so far: equal times keep the order in which they were given.
    number: u64,
}

impl Timeline {
    pub fn send(&mut self, time: u64, frame: Vec<u8>) {
        self.push(time, Item::Frame(frame));
    }

    pub fn wake(&mut self, time: u64, who: Wake) {
        self.push(time, Item::Wake(who));
    }

    /// Takes out what comes first.
    pub fn next(&mut self) -> Option<(u64, Item)> {
        self.entries.pop().map(|entry| (entry.time, entry.item))
    }

    fn push(&mut self, time: u64, item: Item) {
        self.entries.push(Entry { time, number: self.number, item });
        self.number += 1;
    }
}

#[derive(Debug)]
struct Entry {
    time: u64,
    number: u64,
    item: Item,
}

impl Ord for Entry {
    /// Backwards: the heap gives the greatest first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.time, other.number).cmp(&(self.time, self.number))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Entry {}
