//! What became of some of the frames, as it is counted.

use std::time::Duration;

use hdrhistogram::{Counter, Histogram};

use crate::report::model::{Delay, Share, Tally};

use super::clock::nanoseconds;

/// How often, and how long, for some of the frames.
#[derive(Debug)]
pub struct Count {
    pub due: u64,
    pub refused: u64,
    pub received: u64,
    /// The refused ones included.
    pub lost: u64,
    pub duplicated: u64,
    pub reordered: u64,
    pub delays: Delays,
}

/// Nanoseconds from when a frame was due until it came, with a resolution of 1 %.
pub type Delays = Histogram<u32>;

/// A histogram without entries: from a microsecond, of which it knows halves, to a minute.
pub fn no_delays() -> Delays {
    // The bounds are right: 2 * low <= high, and 2 digits of 5.
    Histogram::new_with_bounds(1_000, 60_000_000_000, 2).expect("bounds that are allowed")
}

/// Adds one entry; what is longer than a minute counts as a minute.
pub fn record(delays: &mut Delays, delay: Duration) {
    delays.saturating_record(nanoseconds(delay));
}

impl Count {
    pub fn new() -> Self {
        Count {
            due: 0,
            refused: 0,
            received: 0,
            lost: 0,
            duplicated: 0,
            reordered: 0,
            delays: no_delays(),
        }
    }

    /// One more came, so long after it was due.
    pub fn add_delay(&mut self, delay: Duration) {
        record(&mut self.delays, delay);
    }

    /// What part was lost.
    pub fn lost_percent(&self) -> f64 {
        percent(self.lost, self.due)
    }

    /// Microseconds within which 99 in 100 of all that were due came. `None` if fewer came at all.
    pub fn p99_of_due(&self) -> Option<f64> {
        let wanted = 0.99 * self.due as f64;
        let received = self.received as f64;
        (self.received > 0 && received >= wanted)
            .then(|| microseconds(self.delays.value_at_quantile(wanted / received)))
    }

    /// Adds what `other` has counted.
    pub fn add(&mut self, other: &Count) {
        let Count { due, refused, received, lost, duplicated, reordered, delays } = other;
        self.due += due;
        self.refused += refused;
        self.received += received;
        self.lost += lost;
        self.duplicated += duplicated;
        self.reordered += reordered;
        // Both have the same bounds.
        let _ = self.delays.add(delays);
    }

    /// For the report.
    pub fn tally(&self, name: impl Into<String>) -> Tally {
        Tally {
            name: name.into(),
            due: self.due,
            refused: self.refused,
            received: self.received,
            lost: self.lost,
            lost_percent: self.lost_percent(),
            duplicated: self.duplicated,
            reordered: self.reordered,
            delay: delay(&self.delays),
        }
    }
}

/// What a histogram of nanoseconds says.
pub fn delay<T: Counter>(delays: &Histogram<T>) -> Delay {
    if delays.is_empty() {
        return Delay::default();
    }
    // A quantile is the end of its step, which may be beyond the longest there was.
    let at = |quantile| microseconds(delays.value_at_quantile(quantile).min(delays.max()));
    let steps =
        delays.iter_log(FIRST_STEP, STEP).filter(|step| step.count_since_last_iteration() > 0);
    Delay {
        count: delays.len(),
        min_us: microseconds(delays.min()),
        mean_us: delays.mean() / 1e3,
        p50_us: at(0.5),
        p90_us: at(0.9),
        p99_us: at(0.99),
        p999_us: at(0.999),
        max_us: microseconds(delays.max()),
        distribution: steps
            .map(|step| Share {
                at_most_us: microseconds(step.value_iterated_to()),
                frames: step.count_since_last_iteration(),
            })
            .collect(),
    }
}

/// Microseconds, of nanoseconds.
pub fn microseconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e3
}

/// What part of `of` is `part`, in percent; 0 of nothing.
pub fn percent(part: u64, of: u64) -> f64 {
    100.0 * part as f64 / of.max(1) as f64
}

/// Nanoseconds of the shortest step of a distribution, and how much longer each one is.
const FIRST_STEP: u64 = 1_000;
const STEP: f64 = 1.1;
