//! Where the delays of a direction lie: a hill for each switch, and below them how many frames took
//! longer.

use super::axis::Delays;
use super::chart::{AXIS, Chart, WIDTH, ZONE_WORDS, class};
use super::of_direction;
use super::text::{Escaped, end_of, percent, several, sound, time};
use super::verdict::loss_is_felt;
use crate::report::model::{Delay, Report, Share, Tally};

/// A drawing of the direction of this name, and what it shows in words.
pub fn chart(report: &Report, direction: &str, axis: &Delays) -> (Chart, String) {
    let tallies: Vec<(usize, &str, &Tally)> = of_direction(report, direction)
        .map(|(series, switch, found)| (series, switch.name.as_str(), &found.tally))
        .collect();
    let mut chart = Chart::new(WIDTH);
    let rows_end = ZONE_WORDS + ROW * tallies.len() as f64;
    let bottom = rows_end + TAIL_TITLE + TAIL;
    chart.zones(axis, 0.0, bottom);
    chart.delay_axis(axis, ZONE_WORDS, bottom);
    let highest = tallies.iter().map(|(_, _, tally)| highest(&tally.delay)).fold(0.0, f64::max);
    let mut words = Vec::new();
    for (row, (series, name, tally)) in tallies.iter().enumerate() {
        let top = ZONE_WORDS + ROW * row as f64;
        hill(&mut chart, axis, top, highest, (*series, name, tally));
        words.push(format!("{name}: {}, {}", figures(&tally.delay), loss(tally)));
    }
    tail(&mut chart, axis, rows_end, &tallies);
    chart.height = bottom + AXIS;
    (chart, words.join(". "))
}

/// "none lost", "0.40 % lost".
pub fn loss(tally: &Tally) -> String {
    match tally.lost {
        0 => "none lost".to_owned(),
        _ => format!("{} lost", percent(tally.lost_percent)),
    }
}

/// The figures of `delay` in a line, with the marks that stand for them.
pub fn figures(delay: &Delay) -> String {
    if delay.count == 0 {
        return "no frame came".to_owned();
    }
    let Delay { p50_us, p99_us, p999_us, max_us, .. } = *delay;
    format!(
        "● half {}{GAP}◆ 99 % {}{GAP}■ 99.9 % {}{GAP}▲ max {}",
        time(p50_us),
        time(p99_us),
        time(p999_us),
        time(max_us)
    )
}

/// One switch's delays: its name, its figures, a hill where they lie, marks below it.
fn hill(
    chart: &mut Chart,
    axis: &Delays,
    top: f64,
    highest: f64,
    (series, name, tally): (usize, &str, &Tally),
) {
    let (left, right) = chart.sides();
    heading(chart, top + 13.0, series, name, tally);
    chart.text(left, top + 28.0, "q", &figures(&tally.delay));
    let ground = top + 34.0 + HILL;
    let mut path = String::new();
    let mut before = 0.0;
    for share in &tally.delay.distribution {
        let from = axis.at(lower_end(share, before), left, right);
        let to = axis.at(share.at_most_us, left, right);
        // The square root keeps the few slow frames in sight; a single one is still a line.
        let height = match highest > 0.0 {
            true => (part(share, &tally.delay) / highest).sqrt() * HILL,
            false => 0.0,
        };
        path += &format!(
            "M{from:.1} {ground:.1}v{:.1}h{:.1}V{ground:.1}z",
            -height.max(1.5),
            (to - from).max(1.0)
        );
        before = share.at_most_us;
    }
    chart.path(&path, &format!("{} f hill", class(series)));
    chart.marks(axis, &tally.delay, ground + 7.0, series);
}

/// The switch's name on the left, what is lost on the right.
pub fn heading(chart: &mut Chart, y: f64, series: usize, name: &str, tally: &Tally) {
    let (left, right) = chart.sides();
    chart.area((left, y - 9.0), (left + 10.0, y + 1.0), &format!("{} f k", class(series)));
    chart.add(format_args!(
        "<text x='{:.1}' y='{y:.1}' class='b'>{}<title>{}</title></text>",
        left + 15.0,
        Escaped(&end_of(name, 34)),
        Escaped(name)
    ));
    chart.text(
        right,
        y,
        loss_class(tally),
        &format!("{}, {}", several(tally.due, "frame"), loss(tally)),
    );
}

fn loss_class(tally: &Tally) -> &'static str {
    if loss_is_felt(tally.lost_percent) { "lost b e" } else { "q e" }
}

/// Lines that fall from all frames to those that took longest; they end at what never came.
fn tail(chart: &mut Chart, axis: &Delays, top: f64, tallies: &[(usize, &str, &Tally)]) {
    let (left, right) = chart.sides();
    chart.line((left, top + 2.0), (right, top + 2.0), "grid");
    chart.text(left, top + 16.0, "b", "How many took longer");
    let (top, bottom) = (top + TAIL_TITLE, top + TAIL_TITLE + TAIL);
    let most = tallies.iter().map(|(_, _, tally)| all(tally)).max().unwrap_or(0);
    let decades = (most.max(10) as f64).log10().ceil().clamp(2.0, 6.0);
    for decade in 0..=(decades as i32) {
        let y = top + f64::from(decade) / decades * TAIL;
        chart.line((left, y), (right, y), "grid");
        if decade > 0 && f64::from(decade) < decades {
            chart.text(left + 2.0, y - 3.0, "q", ONE_IN[decade as usize]);
        }
    }
    let height = |part: f64| {
        let down = if part > 0.0 { (-part.log10() / decades).clamp(0.0, 1.0) } else { 1.0 };
        top + down * (bottom - top)
    };
    for (series, _, tally) in tallies {
        let due = all(tally).max(1) as f64;
        let mut left_over = all(tally);
        let mut path = format!("M{left:.1} {:.1}", height(1.0));
        for share in &tally.delay.distribution {
            left_over = left_over.saturating_sub(share.frames);
            let x = axis.at(share.at_most_us.min(tally.delay.max_us), left, right);
            path += &format!("H{x:.1}V{:.1}", height(left_over as f64 / due));
        }
        if left_over > 0 {
            path += &format!("H{right:.1}");
            // One switch's above its line, the other's below, lest they meet.
            let beside = if *series == 0 { -4.0 } else { 13.0 };
            let y = (height(left_over as f64 / due) + beside).clamp(top + 10.0, bottom - 3.0);
            chart.text(right - 2.0, y, loss_class(tally), &loss(tally));
        }
        chart.path(&path, &format!("{} tail", class(*series)));
    }
}

/// The frames of `tally` whose fate is drawn.
fn all(tally: &Tally) -> u64 {
    tally.delay.count.saturating_add(tally.lost)
}

fn highest(delay: &Delay) -> f64 {
    delay.distribution.iter().map(|share| part(share, delay)).fold(0.0, f64::max)
}

fn part(share: &Share, delay: &Delay) -> f64 {
    share.frames as f64 / delay.count.max(1) as f64
}

/// Where the step begins: where the one before ended, unless steps were left out between them.
fn lower_end(share: &Share, before: f64) -> f64 {
    let end = sound(share.at_most_us);
    if end <= sound(before) * 1.25 { sound(before) } else { end / 1.1 }
}

const ONE_IN: [&str; 7] =
    ["all", "1 in 10", "1 in 100", "1 in 1,000", "1 in 10,000", "1 in 100,000", "1 in a million"];
/// Between figures: spaces that a drawing keeps.
const GAP: &str = "\u{a0}\u{a0} ";
const HILL: f64 = 40.0;
const ROW: f64 = 34.0 + HILL + 16.0;
const TAIL_TITLE: f64 = 24.0;
const TAIL: f64 = 130.0;
