//! Frames that are due at one port together, as a game server's to all its players.

use std::time::Duration;

use slab::Slab;

use crate::report::model::BurstClass;

use super::clock::Moment;
use super::count::{self, Delays};

/// Counts bursts by their size.
#[derive(Debug)]
pub struct Bursts {
    /// Of each station the one that may grow still.
    growing: Vec<Option<usize>>,
    /// Those that grow or whose frames are awaited.
    bursts: Slab<Burst>,
    classes: [Class; CLASSES.len()],
}

/// Frames due at one port within [`SPAN`] of the first.
#[derive(Debug)]
struct Burst {
    first: Moment,
    frames: u32,
    /// Arrivals that are awaited; a flooded frame has many.
    awaited: u32,
    lost: u32,
    last: Option<Moment>,
    grows: bool,
}

#[derive(Debug)]
struct Class {
    bursts: u64,
    lost: u64,
    last: Delays,
}

impl Bursts {
    /// For so many stations.
    pub fn new(stations: usize) -> Self {
        let class = || Class { bursts: 0, lost: 0, last: count::no_delays() };
        Bursts {
            growing: vec![None; stations],
            bursts: Slab::new(),
            classes: std::array::from_fn(|_| class()),
        }
    }

    /// A frame from `station`, which is awaited in `awaited` places. Returns its burst.
    pub fn due(&mut self, station: u32, due: Moment, awaited: u32) -> usize {
        let station = station as usize;
        let growing = self.growing[station]
            .filter(|&burst| due.saturating_sub(self.bursts[burst].first) <= SPAN);
        let burst = growing.unwrap_or_else(|| {
            self.end_growth(station);
            let new = Burst { first: due, frames: 0, awaited: 0, lost: 0, last: None, grows: true };
            self.bursts.insert(new)
        });
        self.growing[station] = Some(burst);
        self.bursts[burst].frames += 1;
        self.bursts[burst].awaited += awaited;
        burst
    }

    /// One that was awaited has come, or will not.
    pub fn settle(&mut self, burst: usize, arrival: Option<Moment>) {
        let Some(settled) = self.bursts.get_mut(burst) else { return };
        settled.awaited = settled.awaited.saturating_sub(1);
        match arrival {
            Some(at) => settled.last = settled.last.max(Some(at)),
            None => settled.lost += 1,
        }
        self.count_if_done(burst);
    }

    /// No burst grows any longer: nothing more is sent.
    pub fn end_all(&mut self) {
        for station in 0..self.growing.len() {
            self.end_growth(station);
        }
    }

    /// By size; those that there were.
    pub fn report(&self) -> Vec<BurstClass> {
        let classes = CLASSES.iter().zip(&self.classes).filter(|(_, class)| class.bursts > 0);
        classes
            .map(|((_, name), class)| BurstClass {
                name: (*name).into(),
                bursts: class.bursts,
                lost: class.lost,
                last: count::delay(&class.last),
            })
            .collect()
    }

    fn end_growth(&mut self, station: usize) {
        if let Some(burst) = self.growing[station].take() {
            self.bursts[burst].grows = false;
            self.count_if_done(burst);
        }
    }

    fn count_if_done(&mut self, burst: usize) {
        if self.bursts[burst].grows || self.bursts[burst].awaited > 0 {
            return;
        }
        let done = self.bursts.remove(burst);
        let class = CLASSES.iter().position(|&(most, _)| done.frames <= most);
        let class = &mut self.classes[class.unwrap_or(CLASSES.len() - 1)];
        class.bursts += 1;
        class.lost += u64::from(done.lost);
        if let Some(last) = done.last {
            count::record(&mut class.last, last.saturating_sub(done.first));
        }
    }
}

/// From a burst's first frame to its last. A server's frame is 10 ms or longer, and it sends within
/// a fraction of one.
const SPAN: Duration = Duration::from_millis(1);

/// The most frames of each class, and its name.
const CLASSES: [(u32, &str); 6] = [
    (1, "1 frame"),
    (4, "2 to 4 frames"),
    (8, "5 to 8 frames"),
    (16, "9 to 16 frames"),
    (32, "17 to 32 frames"),
    (u32::MAX, "more than 32 frames"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn us(n: u64) -> Moment {
        Moment::from_micros(n)
    }

    #[test]
    fn a_burst_ends_a_millisecond_after_its_first_frame() {
        let mut bursts = Bursts::new(2);
        let first = bursts.due(0, us(0), 1);
        assert_eq!(bursts.due(0, us(1000), 1), first);
        assert_ne!(bursts.due(1, us(1000), 1), first, "each port has its own");
        assert_ne!(bursts.due(0, us(1001), 1), first);
    }

    #[test]
    fn a_burst_counts_when_all_of_it_is_settled() {
        let mut bursts = Bursts::new(1);
        let burst = bursts.due(0, us(0), 1);
        bursts.due(0, us(10), 2);
        bursts.settle(burst, Some(us(500)));
        bursts.settle(burst, Some(us(300)));
        bursts.end_all();
        assert!(bursts.report().is_empty());
        bursts.settle(burst, None);
        let report = bursts.report();
        assert_eq!((report.len(), report[0].name.as_str()), (1, "2 to 4 frames"));
        assert_eq!((report[0].bursts, report[0].lost, report[0].last.count), (1, 1, 1));
        assert!((report[0].last.max_us - 500.0).abs() < 5.0);
        assert!(bursts.bursts.is_empty());
    }
}
