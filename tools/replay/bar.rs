//! The bar for players: how late frames may be, and how many may be lost.

use crate::player::Count;
use crate::report::model::BarReport;

/// What is asked for, if anything is.
#[derive(Clone, Copy, Debug)]
pub struct Bar {
    pub max_p99: Option<u64>,
    pub max_loss: Option<f64>,
}

impl Bar {
    /// Whether each direction meets it. `None` if nothing is asked for.
    pub fn judge<'a>(
        self,
        directions: impl Iterator<Item = (&'static str, &'a Count)>,
    ) -> Option<BarReport> {
        if self.max_p99.is_none() && self.max_loss.is_none() {
            return None;
        }
        let failures: Vec<_> =
            directions.flat_map(|(name, count)| self.failures(name, count)).collect();
        Some(BarReport {
            max_p99_us: self.max_p99,
            max_loss_percent: self.max_loss,
            met: failures.is_empty(),
            failures,
        })
    }

    fn failures(self, name: &str, count: &Count) -> Vec<String> {
        let lost = count.lost_percent();
        let too_many = self.max_loss.filter(|&most| lost > most);
        let too_many =
            too_many.map(|most| format!("{name}: {lost:.3} % lost, {most} % are allowed"));
        let too_late = self.max_p99.and_then(|most| match count.p99_of_due() {
            Some(p99) if p99 <= most as f64 => None,
            Some(p99) => {
                Some(format!("{name}: 99 in 100 came within {p99:.0} us, {most} us are allowed"))
            }
            None => Some(format!("{name}: not even 99 in 100 came, within {most} us they should")),
        });
        too_many.into_iter().chain(too_late).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn count(came: u64, lost: u64) -> Count {
        let mut count = Count::new();
        (count.due, count.received, count.lost) = (came + lost, came, lost);
        for _ in 0..came {
            count.add_delay(Duration::from_micros(100));
        }
        count
    }

    fn failures(bar: Bar, count: &Count) -> usize {
        bar.judge([("here", count)].into_iter()).unwrap().failures.len()
    }

    #[test]
    fn lost_frames_are_late_ones() {
        let bar = Bar { max_p99: Some(150), max_loss: None };
        assert_eq!(failures(bar, &count(100, 0)), 0);
        assert_eq!(failures(bar, &count(99, 1)), 0);
        assert_eq!(failures(bar, &count(98, 2)), 1);
        assert_eq!(failures(bar, &count(0, 5)), 1);
        assert_eq!(failures(Bar { max_p99: Some(50), ..bar }, &count(100, 0)), 1);
    }

    #[test]
    fn losing_no_more_than_allowed_is_met() {
        let bar = Bar { max_p99: None, max_loss: Some(1.0) };
        assert_eq!(failures(bar, &count(99, 1)), 0);
        assert_eq!(failures(bar, &count(98, 2)), 1);
        assert!(Bar { max_p99: None, max_loss: None }.judge([].into_iter()).is_none());
    }
}
