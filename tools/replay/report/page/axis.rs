//! Where on a drawing a delay or a time stands.

use super::text::sound;
use super::verdict::{SERVER_FRAME_US, UNNOTICED_US};
use crate::report::model::{Delay, Report};

/// Delays, each decade as long as the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delays {
    /// The power of ten of microseconds where it begins.
    least: i32,
    /// And where it ends.
    most: i32,
}

impl Delays {
    /// Wide enough for all of `delays`: from 100 µs or less to 100 ms or more, so that all zones are
    /// in sight, and within 1 µs and 10 s.
    pub fn for_all<'a>(delays: impl IntoIterator<Item = &'a Delay>) -> Self {
        let (mut least, mut most) = (2, 5);
        for delay in delays.into_iter().filter(|delay| delay.count > 0) {
            least = least.min(sound(delay.min_us).max(1.0).log10().floor() as i32);
            most = most.max(sound(delay.max_us).max(1.0).log10().ceil() as i32);
        }
        Delays { least: least.max(0), most: most.min(7) }
    }

    /// For all directions and bursts of `report`.
    pub fn of(report: &Report) -> Self {
        let directions = report.switches.iter().flat_map(|switch| &switch.directions);
        let bursts = report.switches.iter().flat_map(|switch| &switch.bursts);
        let delays = directions.map(|direction| &direction.tally.delay);
        Delays::for_all(delays.chain(bursts.map(|class| &class.last)))
    }

    /// Where between `from` and `to` a delay is drawn; what is beyond an end, at that end.
    pub fn at(&self, us: f64, from: f64, to: f64) -> f64 {
        let decades = sound(us).max(f64::MIN_POSITIVE).log10() - f64::from(self.least);
        let share = (decades / f64::from(self.most - self.least)).clamp(0.0, 1.0);
        from + share * (to - from)
    }

    /// Delays to mark, and what to write there.
    pub fn ticks(&self) -> impl Iterator<Item = (f64, &'static str)> {
        const NAMES: [&str; 8] =
            ["1 µs", "10 µs", "0.1 ms", "1 ms", "10 ms", "0.1 s", "1 s", "10 s"];
        (self.least..=self.most)
            .filter_map(|power| Some((10_f64.powi(power), *NAMES.get(power as usize)?)))
    }
}

/// What delays of some length mean to players.
pub struct Zone {
    /// Its class in the style sheet.
    pub class: &'static str,
    /// What it means, in two lines.
    pub words: [&'static str; 2],
    /// Where it begins, in microseconds.
    pub from_us: f64,
    /// Where it ends.
    pub to_us: f64,
}

/// All lengths of delays, as the verdict sees them.
pub const ZONES: [Zone; 3] = [
    Zone { class: "z0", words: ["nobody", "notices"], from_us: 0.0, to_us: UNNOTICED_US },
    Zone {
        class: "z1",
        words: ["may cost a", "server frame"],
        from_us: UNNOTICED_US,
        to_us: SERVER_FRAME_US,
    },
    Zone { class: "z2", words: ["players", "feel it"], from_us: SERVER_FRAME_US, to_us: f64::MAX },
];

/// Round times from 0 to `seconds`, some four to eight of them.
pub fn seconds(seconds: f64) -> Vec<f64> {
    let seconds = sound(seconds);
    if seconds <= 0.0 {
        return vec![0.0];
    }
    let rough = seconds / 4.0;
    let decade = 10_f64.powf(rough.log10().floor());
    let steps = [5.0, 2.0, 1.0].map(|step| step * decade);
    let step = steps.into_iter().find(|step| *step <= rough).unwrap_or(decade);
    (0..=20).map(|n| f64::from(n) * step).take_while(|at| *at <= seconds * 1.000_001).collect()
}
