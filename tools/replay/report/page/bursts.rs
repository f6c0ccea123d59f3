//! Delays as lines with marks, without hills: bursts by size, and the replay's own lateness.

use super::axis::Delays;
use super::chart::{AXIS, Chart, WIDTH, ZONE_WORDS, class};
use super::text::{count, end_of, several, time};
use crate::report::model::{BurstClass, Delay, Report};

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
            Some(Row { series, text: burst_text(&switch.name, class), delay: &class.last })
        });
        (name.to_owned(), rows.collect())
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
            text: row_text(&switch.name, &switch.lateness, String::new()),
            delay: &switch.lateness,
        })
        .collect();
    let axis = Delays::for_all(report.switches.iter().map(|switch| &switch.lateness));
    draw(&[("All frames".to_owned(), rows)], &axis, false)
}

struct Row<'a> {
    series: usize,
    text: [String; 2],
    delay: &'a Delay,
}

fn draw(groups: &[(String, Vec<Row<'_>>)], axis: &Delays, zones: bool) -> (Chart, String) {
    let mut chart = Chart::new(WIDTH);
    let top = if zones { ZONE_WORDS } else { 0.0 };
    let bottom = top + groups.iter().map(|(_, rows)| GROUP + ROW * rows.len() as f64).sum::<f64>();
    if zones {
        chart.zones(axis, 0.0, bottom);
    }
    chart.delay_axis(axis, top, bottom);
    let (left, right) = chart.sides();
    let mut y = top;
    let mut words = Vec::new();
    for (name, rows) in groups {
        chart.text(left, y + 15.0, "b", name);
        y += GROUP;
        for row in rows {
            chart.area(
                (left, y + 2.0),
                (left + 10.0, y + 12.0),
                &format!("{} f", class(row.series)),
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

fn burst_text(switch: &str, class: &BurstClass) -> [String; 2] {
    let lost = match class.lost {
        0 => String::new(),
        lost => format!(", {} lost", several(lost, "frame")),
    };
    row_text(&format!("{} · {}", end_of(switch, 22), count(class.bursts)), &class.last, lost)
}

fn row_text(name: &str, delay: &Delay, more: String) -> [String; 2] {
    let figures = match delay.count {
        0 => "nothing came".to_owned(),
        _ => format!("◆ {}  ▲ {}", time(delay.p99_us), time(delay.max_us)),
    };
    [end_of(name, 34), figures + &more]
}

const GROUP: f64 = 22.0;
const ROW: f64 = 32.0;
