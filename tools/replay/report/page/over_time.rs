//! How the delays of a direction went over time: a panel for each switch, on the same scales.

use super::axis::{Delays, ZONES, seconds};
use super::chart::{AXIS, Chart, WIDTH, class};
use super::distribution::heading;
use super::of_direction;
use super::text::{several, sound, time};
use crate::report::model::{DirectionReport, Interval, Report};

/// A drawing of the direction of this name, and what it shows in words.
pub fn chart(report: &Report, direction: &str, axis: &Delays) -> (Chart, String) {
    let mut chart = Chart::new(WIDTH);
    let longest = report.switches.iter().map(|switch| sound(switch.seconds)).fold(0.0, f64::max);
    let mut words = Vec::new();
    for (series, switch, found) in of_direction(report, direction) {
        let top = chart.height;
        heading(&mut chart, top + 13.0, series, &switch.name, &found.tally);
        Panel { axis: *axis, longest, top: top + 20.0 }.draw(&mut chart, found, series);
        words.push(format!("{}: {}", switch.name, in_words(&found.over_time)));
        chart.height = top + 20.0 + LANE + PLOT + AXIS + 4.0;
    }
    (chart, words.join(". "))
}

struct Panel {
    axis: Delays,
    longest: f64,
    top: f64,
}

impl Panel {
    fn draw(&self, chart: &mut Chart, direction: &DirectionReport, series: usize) {
        self.ground(chart);
        let width = self.width_of(&direction.over_time);
        let (mut all, mut most, mut half, mut lost) = Default::default();
        for interval in &direction.over_time {
            self.interval(interval, width, (&mut all, &mut most, &mut half, &mut lost));
        }
        chart.path(&all, &format!("{} f faint", class(series)));
        chart.path(&most, &format!("{} f pale", class(series)));
        chart.path(&half, &format!("{} w2", class(series)));
        if lost.is_empty() {
            chart.text(LEFT + 3.0, self.top + MARK - 2.0, "q", "none");
        }
        chart.path(&lost, "lost");
    }

    /// Zones, scales and the lane of the lost.
    fn ground(&self, chart: &mut Chart) {
        let (_, right) = chart.sides();
        let bottom = self.top + LANE + PLOT;
        for zone in &ZONES {
            let (low, high) = (self.y(zone.from_us), self.y(zone.to_us));
            chart.area((LEFT, high), (right, low), zone.class);
            chart.text(right - 3.0, high + 11.0, "q e", &zone.words.join(" "));
        }
        for (us, name) in self.axis.ticks() {
            let y = self.y(us);
            chart.line((LEFT, y), (right, y), "grid");
            chart.text(LEFT - 4.0, y + 3.5, "q e", name);
        }
        chart.text(LEFT - 4.0, self.top + MARK - 2.0, "q e", "lost");
        for at in seconds(self.longest) {
            let x = self.x(at);
            chart.line((x, bottom), (x, bottom + 3.0), "axis");
            let class = if at == 0.0 {
                "q"
            } else if x > right - 12.0 {
                "q e"
            } else {
                "q c"
            };
            chart.text(x, bottom + 14.0, class, &format!("{} s", round(at)));
        }
    }

    fn interval(
        &self,
        interval: &Interval,
        width: f64,
        (all, most, half, lost): (&mut String, &mut String, &mut String, &mut String),
    ) {
        let Interval { at_s, due, p50_us, p99_us, max_us, .. } = *interval;
        let (from, to) = (self.x(at_s), self.x(sound(at_s) + width));
        let wide = (to - from).max(0.8);
        let bar = |path: &mut String, low: f64, high: f64| {
            let (low, high) = (self.y(low), self.y(high));
            *path += &format!("M{from:.1} {high:.1}h{wide:.1}V{low:.1}h-{wide:.1}z");
        };
        if due > interval.lost {
            bar(all, p99_us, max_us);
            bar(most, p50_us, p99_us);
            *half += &format!("M{from:.1} {:.1}h{wide:.1}", self.y(p50_us));
        }
        if interval.lost > 0 {
            let top = self.top;
            *lost += &format!("M{from:.1} {top:.1}h{:.1}v{:.1}H{from:.1}z", wide.max(2.0), MARK);
        }
    }

    /// How long the intervals are: as far apart as the nearest two of them.
    fn width_of(&self, intervals: &[Interval]) -> f64 {
        let gaps = intervals.windows(2).map(|two| sound(two[1].at_s - two[0].at_s));
        gaps.filter(|gap| *gap > 0.0).fold(self.longest, f64::min)
    }

    fn x(&self, at_s: f64) -> f64 {
        let share = if self.longest > 0.0 { sound(at_s) / self.longest } else { 0.0 };
        LEFT + share.min(1.0) * (WIDTH - 8.0 - LEFT)
    }

    fn y(&self, us: f64) -> f64 {
        self.axis.at(us, self.top + LANE + PLOT, self.top + LANE)
    }
}

fn in_words(intervals: &[Interval]) -> String {
    let worst = intervals.iter().max_by(|a, b| sound(a.max_us).total_cmp(&sound(b.max_us)));
    let with_loss = intervals.iter().filter(|interval| interval.lost > 0).count();
    match worst {
        None => "nothing was due".to_owned(),
        Some(worst) => format!(
            "slowest with {} at {} s, {} with losses",
            time(worst.max_us),
            round(worst.at_s),
            several(with_loss as u64, "interval")
        ),
    }
}

/// Seconds without digits that say nothing.
fn round(seconds: f64) -> f64 {
    (sound(seconds) * 1_000.0).round() / 1_000.0
}

const LEFT: f64 = 48.0;
/// Where losses are marked, the gap below it included.
const LANE: f64 = 20.0;
const MARK: f64 = 12.0;
const PLOT: f64 = 130.0;
