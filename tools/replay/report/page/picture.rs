//! The essential part as a picture of its own: the verdicts, and where the delays of each direction
//! lie.

use super::axis::Delays;
use super::chart::{Chart, MARKS, WIDTH};
use super::text::{end_of, lines};
use super::verdict::{Verdict, is_with_server};
use super::{direction_names, distribution};
use crate::report::model::Report;

/// The picture of `report`.
pub fn svg(report: &Report) -> String {
    let mut chart = Chart::new(WIDE);
    chart.height = 12.0;
    let mut spoken = Vec::new();
    for switch in &report.switches {
        let verdict = Verdict::of(switch);
        let says =
            format!("{} {}: {}", verdict.grade.sign(), end_of(&switch.name, 40), verdict.sentence);
        for (n, line) in lines(&says, 118).into_iter().enumerate() {
            chart.height += 18.0;
            let class = format!("b {}", verdict.grade.class());
            let indent = if n == 0 { EDGE } else { EDGE + 16.0 };
            chart.text(indent, chart.height, &class, &line);
        }
        spoken.push(says);
    }
    if report.switches.is_empty() {
        chart.height += 18.0;
        chart.text(EDGE, chart.height, "b", "No switch was measured.");
    }
    chart.height += 14.0;
    let axis = Delays::of(report);
    let mut directions = direction_names(report);
    if directions.iter().any(|name| is_with_server(name)) {
        directions.retain(|name| is_with_server(name));
    }
    for row in directions.chunks(2) {
        let top = chart.height;
        for (column, direction) in row.iter().enumerate() {
            let (part, words) = distribution::chart(report, direction, &axis);
            let x = EDGE + (WIDTH + GAP) * column as f64;
            chart.text(x + 8.0, top + 16.0, "h", &super::titled(direction));
            chart.place(x, top + 26.0, &part);
            chart.height = chart.height.max(top + 26.0 + part.height + 10.0);
            spoken.push(format!("{direction}: {words}"));
        }
    }
    chart.text(EDGE + 8.0, chart.height + 8.0, "q", EXPLANATION);
    chart.text(WIDE - EDGE - 8.0, chart.height + 8.0, "q e", MARKS);
    chart.height += 20.0;
    let ground = format!(
        "<style>{}</style>\n<rect width='100%' height='100%' rx='6' class='ground'/>\n",
        super::style::of_drawings()
    );
    chart.element(&super::title(report), &spoken.join(" "), &ground)
}

const EXPLANATION: &str =
    "Delay from when a frame was due to when it came. Further left is better.";
const EDGE: f64 = 12.0;
const GAP: f64 = 20.0;
const WIDE: f64 = 2.0 * (WIDTH + EDGE) + GAP;
