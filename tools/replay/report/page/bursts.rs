//! Delays as lines with marks, without hills: bursts by size, and the replay's own lateness.

use super::axis::Delays;
use super::chart::{AXIS, Chart, WIDTH, ZONE_WORDS, class};
use super::text::{count, end_of, several, time};
use crate::report::model::{Delay, Report, SwitchReport};

/// A drawing of how long bursts of each size took, and what it shows in words.
pub fn chart(report: &Report, axis: &Delays) -> (Chart, String) {
    let mut names: Vec<&str> = Vec::new();
    for class in report.switches.iter().flat_map(|switch| &switch.bursts) {
        if !names.contains(&class.name.as_str()) {
            names.push(&class.name);
        }
    }
    let groups = names.into_iter().map(|name| {
        let rows = report.switches.iter().enumerate().filter_map(|(series, switch)| {
            let class = switch.bursts.iter().find(|class| class.name == name)?;
            Some(Row {
                series,
                text: row_text(&switch.name, &class.last, class.lost),
                delay: &class.last,
            })
        });
        Group { name: name.to_owned(), more: how_many(report, name), rows: rows.collect() }
    });
    draw(&groups.collect::<Vec<_>>(), axis, true)
}

/// A drawing of how late the replay itself was, and what it shows in words.
pub fn lateness(report: &Report) -> (Chart, String) {
    let rows: Vec<Row<'_>> = report
        .switches
        .iter()
        .enumerate()
        .map(|(series, switch)| Row {
            series,
            text: row_text(&switch.name, &switch.lateness, 0),
            delay: &switch.lateness,
        })
        .collect();
    let axis = Delays::for_all(report.switches.iter().map(|switch| &switch.lateness));
    let all = Group { name: "All frames".to_owned(), more: String::new(), rows };
    draw(&[all], &axis, false)
}

/// Rows that are compared.
struct Group<'a> {
    name: String,
    /// What is to be said beside the name.
    more: String,
    rows: Vec<Row<'a>>,
}

struct Row<'a> {
    series: usize,
    text: [String; 2],
    delay: &'a Delay,
}

fn draw(groups: &[Group<'_>], axis: &Delays, zones: bool) -> (Chart, String) {
    let mut chart = Chart::new(WIDTH);
    let top = if zones { ZONE_WORDS } else { 0.0 };
    let bottom =
        top + groups.iter().map(|group| GROUP + ROW * group.rows.len() as f64).sum::<f64>();
    if zones {
        chart.zones(axis, 0.0, bottom);
    }
    chart.delay_axis(axis, top, bottom);
    let (left, right) = chart.sides();
    let mut y = top;
    let mut words = Vec::new();
    for Group { name, more, rows } in groups {
        chart.text(left, y + 15.0, "b", name);
        chart.text(right, y + 15.0, "q e", more);
        y += GROUP;
        for row in rows {
            chart.area(
                (left, y + 2.0),
                (left + 10.0, y + 12.0),
                &format!("{} f k", class(row.series)),
            );
            chart.text(left + 15.0, y + 11.0, "q", &row.text[0]);
            chart.text(right, y + 11.0, "q e", &row.text[1]);
            chart.marks(axis, row.delay, y + 21.0, row.series);
            words.push(format!("{name}, {}, {}", row.text[0], row.text[1]));
            y += ROW;
        }
    }
    chart.height = bottom + AXIS;
    (chart, words.join(". "))
}

/// "5,312 bursts", or the numbers of each switch where they differ.
fn how_many(report: &Report, class: &str) -> String {
    let found = |switch: &SwitchReport| {
        switch.bursts.iter().find(|burst| burst.name == class).map(|burst| burst.bursts)
    };
    let mut numbers: Vec<u64> = report.switches.iter().filter_map(found).collect();
    numbers.dedup();
    let texts: Vec<String> = numbers.into_iter().map(|number| several(number, "burst")).collect();
    texts.join(" and ")
}

fn row_text(name: &str, delay: &Delay, lost: u64) -> [String; 2] {
    let mut figures = match delay.count {
        0 => "nothing came".to_owned(),
        _ => format!("◆ {}, ▲ {}", time(delay.p99_us), time(delay.max_us)),
    };
    if lost > 0 {
        figures += &format!(", {} lost", count(lost));
    }
    [end_of(name, 32), figures]
}

const GROUP: f64 = 22.0;
const ROW: f64 = 32.0;
