//! What became of frames by the time at which they were due, however long that goes on.

use std::time::Duration;

use crate::report::model::{INTERVALS, Interval};

use super::clock::Moment;
use super::count::{self, Delays};

/// Stretches of equal length, at most [`INTERVALS`] of them: when there would be more, two become one.
#[derive(Debug)]
pub struct OverTime {
    width: Duration,
    stretches: Vec<Stretch>,
}

#[derive(Debug)]
struct Stretch {
    due: u64,
    lost: u64,
    delays: Delays,
}

impl OverTime {
    pub fn new() -> Self {
        OverTime { width: FINEST, stretches: Vec::new() }
    }

    /// A frame was due `at` after the start.
    pub fn due(&mut self, at: Moment) {
        self.stretch(at).due += 1;
    }

    /// It came.
    pub fn received(&mut self, at: Moment, delay: Duration) {
        count::record(&mut self.stretch(at).delays, delay);
    }

    /// It did not.
    pub fn lost(&mut self, at: Moment) {
        self.stretch(at).lost += 1;
    }

    /// Those in which frames were due.
    pub fn report(&self) -> Vec<Interval> {
        let stretches = self.stretches.iter().enumerate().filter(|(_, stretch)| stretch.due > 0);
        stretches
            .map(|(n, stretch)| {
                let quantile = |at| count::microseconds(stretch.delays.value_at_quantile(at));
                Interval {
                    at_s: (self.width * n as u32).as_secs_f64(),
                    due: stretch.due,
                    lost: stretch.lost,
                    p50_us: quantile(0.5),
                    p99_us: quantile(0.99),
                    max_us: count::microseconds(stretch.delays.max()),
                }
            })
            .collect()
    }

    fn stretch(&mut self, at: Moment) -> &mut Stretch {
        while at.as_nanos() / self.width.as_nanos() >= INTERVALS as u128 {
            self.halve();
        }
        let place = (at.as_nanos() / self.width.as_nanos()) as usize;
        if self.stretches.len() <= place {
            self.stretches.resize_with(place + 1, Stretch::new);
        }
        &mut self.stretches[place]
    }

    fn halve(&mut self) {
        self.width *= 2;
        let mut halved: Vec<Stretch> = Vec::with_capacity(INTERVALS);
        for (n, stretch) in std::mem::take(&mut self.stretches).into_iter().enumerate() {
            match halved.last_mut().filter(|_| n % 2 == 1) {
                Some(before) => before.add(&stretch),
                None => halved.push(stretch),
            }
        }
        self.stretches = halved;
    }
}

impl Stretch {
    fn new() -> Self {
        Stretch { due: 0, lost: 0, delays: count::no_delays() }
    }

    fn add(&mut self, other: &Stretch) {
        self.due += other.due;
        self.lost += other.lost;
        // Both have the same bounds.
        let _ = self.delays.add(&other.delays);
    }
}

/// Short enough to show each update of a game, long enough to have some frames.
const FINEST: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_run_has_no_more_stretches_than_a_short_one() {
        let mut over_time = OverTime::new();
        for n in 0..100_000 {
            let at = Moment::from_millis(10) * n;
            over_time.due(at);
            over_time.received(at, Duration::from_micros(50));
        }
        over_time.lost(Moment::ZERO);
        let report = over_time.report();
        assert!(report.len() <= INTERVALS && report.len() > INTERVALS / 3);
        assert_eq!(report.iter().map(|stretch| stretch.due).sum::<u64>(), 100_000);
        assert_eq!((report[0].lost, report[1].lost), (1, 0));
        assert!(report.windows(2).all(|two| two[0].at_s < two[1].at_s));
    }
}
