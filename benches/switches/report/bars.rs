//! The small charts of the page: one metric of one family of scenarios, as bars from zero.

use super::svg::{Anchor, Svg, class};
use super::{Report, format, part_of};
use crate::measure::{Figure, Outcome};

/// A chart for each metric of `family`, in order of appearance.
pub fn charts(report: &Report, family: &[&Outcome]) -> Vec<String> {
    let mut names: Vec<&str> = Vec::new();
    for figure in family.iter().flat_map(|outcome| &outcome.figures) {
        if !names.contains(&figure.metric.name) {
            names.push(figure.metric.name);
        }
    }
    names.into_iter().map(|name| chart(report, family, name)).collect()
}

fn chart(report: &Report, family: &[&Outcome], name: &str) -> String {
    let groups: Vec<(&Outcome, &Figure)> = family
        .iter()
        .filter_map(|outcome| {
            let figure = outcome.figures.iter().find(|figure| figure.metric.name == name)?;
            Some((*outcome, figure))
        })
        .collect();
    let Some(&(_, first)) = groups.first() else { return String::new() };
    let bars = |outcome: &Outcome| part_of(outcome, report.competitors.len());
    let height: f64 = groups.iter().map(|(outcome, _)| height(bars(outcome).len())).sum();
    let longest = groups
        .iter()
        .flat_map(|(_, figure)| (0..report.competitors.len()).filter_map(|who| figure.spread(who)))
        .fold(0.0, |longest: f64, spread| longest.max(spread.most));
    let mut svg = Svg::new(WIDTH, HEAD + height);
    let title = format::metric(&first.metric);
    svg.text((0.0, 14.0), "h", Anchor::Start, &title);
    let direction = format::direction(first.metric.better);
    svg.text((WIDTH, 14.0), "m", Anchor::End, direction);
    let mut y = HEAD;
    for (outcome, figure) in groups {
        let label = format!("{} · qlen {}", outcome.scenario, outcome.queue_length);
        svg.text((0.0, y + 11.0), "m", Anchor::Start, &format::cut(&label, 72));
        y += LABEL;
        for who in bars(outcome) {
            bar(&mut svg, figure, who, y, longest);
            y += BAR;
        }
        y += GROUP_GAP;
    }
    svg.element(&format!("{title}: {direction}"))
}

fn bar(svg: &mut Svg, figure: &Figure, who: usize, top: f64, longest: f64) {
    let scale = |value: f64| if longest > 0.0 { value / longest * LENGTH } else { 0.0 };
    let Some(spread) = figure.spread(who) else {
        svg.text((4.0, top + BAR - 2.5), "m", Anchor::Start, "-");
        return;
    };
    let series = class(who);
    // Zero shows as a line, not as nothing.
    svg.rect((0.0, top + 1.0), (scale(spread.median).max(1.0), BAR - 3.0), &series);
    let middle = top + BAR / 2.0 - 0.5;
    let ends = (scale(spread.least), scale(spread.most));
    if ends.1 - ends.0 >= 1.0 {
        svg.line((ends.0, middle), (ends.1, middle), "goal thin");
    }
    let after = scale(spread.most.max(spread.median)) + 5.0;
    svg.text((after, top + BAR - 2.5), "m", Anchor::Start, &format::number(spread.median));
}

fn height(bars: usize) -> f64 {
    LABEL + BAR * bars as f64 + GROUP_GAP
}

const WIDTH: f64 = 480.0;
/// Of the longest bar; its value follows it.
const LENGTH: f64 = 430.0;
const HEAD: f64 = 24.0;
const LABEL: f64 = 15.0;
const BAR: f64 = 13.0;
const GROUP_GAP: f64 = 7.0;
