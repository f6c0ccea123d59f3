//! The table on standard output: a block for each outcome, a line for each figure.

use std::fmt::Write;

use super::{Judgement, Report, Role, format, part_of};
use crate::measure::{Figure, Outcome};

/// One outcome.
pub fn block(report: &Report, outcome: &Outcome) -> String {
    let columns = part_of(outcome, report.competitors.len());
    let mut lines = vec![heading(report, &columns)];
    lines.extend(outcome.figures.iter().map(|figure| row(report, figure, &columns)));
    let mut text = format!("{} (qlen {})\n", outcome.scenario, outcome.queue_length);
    for line in lines {
        text.push_str("  ");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// How many goals were reached, and which were not.
pub fn verdict(report: &Report) -> String {
    let all: Vec<Judgement<'_>> = report.judgements().collect();
    let with = |wanted: Option<bool>| all.iter().filter(move |goal| goal.reached == wanted);
    let mut text = String::new();
    for (name, wanted) in [("MISSED", Some(false)), ("not judged", None)] {
        for goal in with(wanted) {
            let _ = writeln!(text, "{name}: {}", describe(report, goal));
        }
    }
    let reached = with(Some(true)).count();
    let _ = writeln!(text, "{reached} of {} goals reached", all.len());
    text
}

/// "flood to 32 (qlen 10): delivered 1.72x, wanted >= 1.8x"; behind the colon the column's name where
/// it is not the first of ours.
pub fn describe(report: &Report, goal: &Judgement<'_>) -> String {
    let &Judgement { outcome, figure, who, .. } = goal;
    let Some(wanted) = figure.metric.goal else { return String::new() };
    let middle = if wanted.is_ratio() {
        figure.times(who).map_or("-".to_owned(), format::ratio)
    } else {
        let unit = figure.metric.unit.symbol();
        let with_unit = |value: f64| format!("{} {unit}", format::number(value));
        let value = figure.spread(who);
        value.map_or("-".to_owned(), |value| with_unit(value.median).trim_end().to_owned())
    };
    let first = report.competitors.iter().position(|contender| contender.role == Role::Ours);
    let column = match first == Some(who) {
        true => String::new(),
        false => format!("{}: ", report.competitors[who].name),
    };
    let place = format!("{} (qlen {})", outcome.scenario, outcome.queue_length);
    format!("{place}: {column}{} {middle}, wanted {}", figure.metric.name, format::goal(wanted))
}

fn heading(report: &Report, columns: &[usize]) -> String {
    let mut line = " ".repeat(METRIC);
    for &who in columns {
        // It ends over the values' ends if there is room.
        let gap = if line.ends_with(' ') { "" } else { " " };
        let name = format!("{:>VALUE$}", format!("{gap}{}", report.competitors[who].name));
        let width = VALUE + rest_width(who, columns);
        let _ = write!(line, "{name:<width$}");
    }
    line + "  goal"
}

fn row(report: &Report, figure: &Figure, columns: &[usize]) -> String {
    let name = format::cut(&format::metric(&figure.metric), METRIC);
    let mut line = format!("{name:<METRIC$}");
    for &who in columns {
        let value = figure.spread(who);
        let text = value.map_or("-".to_owned(), |value| format::number(value.median));
        let _ = write!(line, "{text:>VALUE$}");
        let width = rest_width(who, columns);
        if width > 0 {
            let _ = write!(line, "{:<width$}", rest_of_cell(figure, who, width));
        }
    }
    if let Some(goal) = figure.metric.goal {
        let verdict = match report.reached(figure) {
            Some(true) => "reached",
            Some(false) => "MISSED",
            None => "-",
        };
        let _ = write!(line, "  {:<8} {verdict}", format::goal(goal));
    }
    line
}

/// What follows a value: the ratio and its bounds, or the value's where a ratio says nothing.
fn rest_of_cell(figure: &Figure, who: usize, width: usize) -> String {
    let ratio = figure.ratio(who).filter(|_| figure.metric.unit.compares());
    let text = ratio.map_or(String::new(), |ratio| format::ratio(ratio.median));
    let mut rest = format!("{text:>RATIO$}");
    if width > RATIO {
        let bounds = match ratio {
            Some(ratio) => format::bounds(ratio),
            None => figure.spread(who).map_or(String::new(), format::bounds),
        };
        let _ = write!(rest, "  {bounds}");
    }
    rest
}

/// How wide that is; the first column is what the others are compared with. With more than three, 120
/// characters have no room for bounds, and with more than four they do not do in any case.
fn rest_width(who: usize, columns: &[usize]) -> usize {
    match who {
        _ if columns.first() == Some(&who) => 0,
        _ if columns.len() <= 3 => RATIO + BOUNDS,
        _ => RATIO,
    }
}

const METRIC: usize = 26;
const VALUE: usize = 12;
const RATIO: usize = 7;
const BOUNDS: usize = 12;
