//! When frames are due: recorded times, with long gaps shortened and, if wanted, steps back mended.

use std::time::Duration;

/// The clock of one pass.
pub(super) struct Timeline {
    max_gap: Duration,
    repair: bool,
    /// Of the record that was latest, in nanoseconds since 1970.
    latest: Option<i128>,
    /// Nanoseconds that have passed since the last frame that is replayed.
    since: i128,
    /// When the last frame that is replayed is due; `None` before the first.
    due: Option<Duration>,
    pub(super) mended: Mended,
}

/// What was changed about the times.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mended {
    /// Gaps that were shortened.
    pub(super) gaps: u64,
    /// How long the longest of them was.
    pub(super) longest: Duration,
    /// Steps back.
    pub(super) backwards: u64,
}

impl Timeline {
    pub(super) fn new(max_gap: Duration, repair: bool) -> Self {
        let mended = Mended::default();
        Timeline { max_gap, repair, latest: None, since: 0, due: None, mended }
    }

    /// Takes note of a record's time, whether it is replayed or not.
    ///
    /// Where times are mended, a time that goes back is taken for the latest one. Unless it goes back
    /// by more than a gap may be long: then another recording begins there.
    ///
    /// # Errors
    /// How far it goes back.
    pub(super) fn record(&mut self, time: i128) -> Result<(), Duration> {
        let step = time - *self.latest.get_or_insert(time);
        if step >= 0 {
            self.since += step;
            self.latest = Some(time);
            return Ok(());
        }
        if !self.repair {
            return Err(duration(-step));
        }
        self.mended.backwards += 1;
        if duration(-step) > self.max_gap {
            self.latest = Some(time);
        }
        Ok(())
    }

    /// When the record is due that was noted last: since the first frame of all.
    pub(super) fn due(&mut self) -> Duration {
        let gap = duration(std::mem::take(&mut self.since));
        let due = match self.due {
            None => Duration::ZERO,
            Some(last) if gap > self.max_gap => {
                self.mended.gaps += 1;
                self.mended.longest = self.mended.longest.max(gap);
                last.saturating_add(self.max_gap)
            }
            Some(last) => last.saturating_add(gap),
        };
        self.due = Some(due);
        due
    }
}

/// Nanoseconds, which are not negative.
fn duration(nanos: i128) -> Duration {
    let (seconds, nanos) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
    u64::try_from(seconds).map_or(Duration::MAX, |seconds| Duration::new(seconds, nanos as u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i128 = 1_000_000;

    fn dues(repair: bool, times: &[i128]) -> (Vec<u64>, Mended) {
        let mut timeline = Timeline::new(Duration::from_secs(1), repair);
        let due = |time: &i128| {
            timeline.record(*time * MS).unwrap();
            timeline.due().as_millis() as u64
        };
        (times.iter().map(due).collect(), timeline.mended)
    }

    #[test]
    fn long_gaps_are_shortened_and_the_longest_is_known() {
        let (due, mended) = dues(false, &[5_000, 5_010, 9_000, 10_000, 90_000]);
        assert_eq!(due, [0, 10, 1010, 2010, 3010]);
        assert_eq!((mended.gaps, mended.longest), (2, Duration::from_secs(80)));
    }

    #[test]
    fn gaps_are_between_frames_that_are_replayed() {
        let mut timeline = Timeline::new(Duration::from_secs(1), false);
        timeline.record(0).unwrap();
        timeline.due();
        for second in 1..10 {
            timeline.record(i128::from(second) * 900 * MS).unwrap();
        }
        assert_eq!(timeline.due(), Duration::from_secs(1));
    }

    #[test]
    fn a_small_step_back_waits_for_the_clock_and_a_large_one_begins_anew() {
        assert_eq!(dues(true, &[100, 200, 150, 190, 210]).0, [0, 100, 100, 100, 110]);
        let (due, mended) = dues(true, &[100_000, 100_100, 5_000, 5_050, 5_060]);
        assert_eq!(due, [0, 100, 100, 150, 160]);
        assert_eq!(mended.backwards, 1);
    }

    #[test]
    fn without_repair_a_step_back_is_refused() {
        let mut timeline = Timeline::new(Duration::from_secs(1), false);
        timeline.record(7 * MS).unwrap();
        assert_eq!(timeline.record(4 * MS), Err(Duration::from_millis(3)));
    }

    #[test]
    fn absurd_times_do_no_harm() {
        let (due, _) = dues(false, &[i64::MIN.into(), 0, i64::MAX.into()]);
        assert_eq!(due, [0, 1000, 2000]);
    }
}
