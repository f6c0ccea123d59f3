//! The chart that shows at a glance who wins where: a row for each figure that has a goal, in it a
//! lane for each queue length, in that a mark for each competitor. Better is always to the right.

use super::axis::Axis;
use super::svg::{Anchor, Svg, class};
use super::{Report, Role, format, gain};
use crate::measure::{Better, Figure, Goal, Metric, Outcome, Spread};

/// The chart as a file of its own; `None` if no figure has a goal.
pub fn picture(report: &Report) -> Option<String> {
    chart(report).map(|svg| svg.file(LABEL))
}

/// The chart as part of the page.
pub fn element(report: &Report) -> Option<String> {
    chart(report).map(|svg| svg.element(LABEL))
}

fn chart(report: &Report) -> Option<Svg> {
    let panels = [Panel::Ratios, Panel::Shares, Panel::Limits];
    let filled: Vec<(Panel, Vec<Row<'_>>)> = panels
        .into_iter()
        .map(|panel| (panel, rows(report, panel)))
        .filter(|(_, rows)| !rows.is_empty())
        .collect();
    if filled.is_empty() {
        return None;
    }
    let heights =
        filled.iter().map(|(_, rows)| PANEL_HEAD + rows.iter().map(Row::height).sum::<f64>());
    let (.., legend_end) = legend_places(report);
    let mut svg = Svg::new(WIDTH, legend_end + heights.map(|height| height + GAP).sum::<f64>());
    let mut top = legend(&mut svg, report);
    for (panel, rows) in &filled {
        top = draw_panel(&mut svg, report, *panel, rows, top) + GAP;
    }
    Some(svg)
}

/// What the places of an axis mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Panel {
    /// How many times better than the reference.
    Ratios,
    /// Percent that are lost, or missing.
    Shares,
    /// How many times better than a limit that does not depend on the reference.
    Limits,
}

/// A figure, with each queue length that it was measured with.
#[derive(Clone, Debug)]
struct Row<'a> {
    scenario: &'a str,
    metric: &'a Metric,
    lanes: Vec<(u32, &'a Figure)>,
}

impl Row<'_> {
    fn height(&self) -> f64 {
        LANE * self.lanes.len() as f64 + ROW_GAP
    }
}

impl Panel {
    fn of(metric: &Metric) -> Option<Panel> {
        Some(match metric.goal? {
            Goal::RatioAtMost(_) | Goal::RatioAtLeast(_) => Panel::Ratios,
            Goal::AtMost(_) | Goal::AtLeast(_) if metric.unit.symbol() == "%" => Panel::Shares,
            Goal::AtMost(_) | Goal::AtLeast(_) => Panel::Limits,
        })
    }

    fn title(self) -> (&'static str, &'static str) {
        match self {
            Panel::Ratios => (
                "Against the C uml_switch",
                "2x: twice as good, so twice the frames or half the time. Right is better.",
            ),
            Panel::Shares => (
                "Frames lost or missing, %",
                "The axis goes by square roots, so that a small loss shows. Right is better.",
            ),
            Panel::Limits => (
                "Against fixed limits",
                "2x: twice as good as the limit, so half the memory or time. Right is better.",
            ),
        }
    }

    /// Where a competitor's figure stands on the panel's axis, from the worse bound to the better.
    fn place(self, figure: &Figure, who: usize) -> Option<Spread> {
        let metric = &figure.metric;
        let spread = match self {
            Panel::Ratios => figure.ratio(who).or_else(|| {
                let times = figure.times(who)?;
                Some(Spread { median: times, least: times, most: times })
            })?,
            Panel::Shares | Panel::Limits => figure.spread(who)?,
        };
        let place = |value| self.value_to_place(metric, value);
        let (a, b) = (place(spread.least), place(spread.most));
        Some(Spread { median: place(spread.median), least: a.min(b), most: a.max(b) })
    }

    fn value_to_place(self, metric: &Metric, value: f64) -> f64 {
        match self {
            Panel::Ratios => gain(metric, value),
            Panel::Shares if metric.better == Better::Lower => value,
            Panel::Shares => 100.0 - value,
            Panel::Limits if value == 0.0 && metric.better == Better::Lower => f64::INFINITY,
            Panel::Limits => gain(metric, value / number_of(metric.goal)),
        }
    }

    /// Where the goal stands.
    fn goal(self, metric: &Metric) -> f64 {
        match self {
            Panel::Ratios => gain(metric, number_of(metric.goal)),
            Panel::Shares => self.value_to_place(metric, number_of(metric.goal)),
            Panel::Limits => 1.0,
        }
    }
}

fn number_of(goal: Option<Goal>) -> f64 {
    match goal {
        Some(Goal::RatioAtMost(x) | Goal::RatioAtLeast(x) | Goal::AtMost(x) | Goal::AtLeast(x)) => {
            x
        }
        None => f64::NAN,
    }
}

fn rows(report: &Report, panel: Panel) -> Vec<Row<'_>> {
    let mut rows: Vec<Row<'_>> = Vec::new();
    let all = report
        .outcomes
        .iter()
        .flat_map(|outcome: &Outcome| outcome.figures.iter().map(move |figure| (outcome, figure)));
    for (outcome, figure) in all.filter(|(_, figure)| Panel::of(&figure.metric) == Some(panel)) {
        let lane = (outcome.queue_length, figure);
        let same = |row: &&mut Row<'_>| {
            row.scenario == outcome.scenario && row.metric.name == figure.metric.name
        };
        match rows.iter_mut().find(same) {
            Some(row) => row.lanes.push(lane),
            None => rows.push(Row {
                scenario: &outcome.scenario,
                metric: &figure.metric,
                lanes: vec![lane],
            }),
        }
    }
    rows
}

/// Draws a panel from `top` on and returns where it ends.
fn draw_panel(svg: &mut Svg, report: &Report, panel: Panel, rows: &[Row<'_>], top: f64) -> f64 {
    let (title, explanation) = panel.title();
    svg.text((MARGIN, top + 14.0), "h", Anchor::Start, title);
    svg.text((MARGIN, top + 32.0), "m", Anchor::Start, explanation);
    let axis = axis(report, panel, rows);
    let first = top + PANEL_HEAD;
    let end = first + rows.iter().map(Row::height).sum::<f64>();
    let mut y = first;
    for (n, row) in rows.iter().enumerate() {
        if n % 2 == 0 {
            svg.rect((0.0, y), (WIDTH, row.height()), "stripe");
        }
        y += row.height();
    }
    for (place, name) in axis.ticks() {
        let x = axis.at(place);
        let is_reference = panel != Panel::Shares && place == 1.0;
        svg.line((x, first - 4.0), (x, end), if is_reference { "one" } else { "grid" });
        svg.text((x, first - 8.0), "m", Anchor::Middle, &name);
    }
    let mut y = first;
    let mut above = "";
    for row in rows {
        draw_row(svg, report, panel, row, &axis, y, row.scenario != above);
        above = row.scenario;
        y += row.height();
    }
    end
}

fn axis(report: &Report, panel: Panel, rows: &[Row<'_>]) -> Axis {
    if panel == Panel::Shares {
        return Axis::percent(PLOT_LEFT, PLOT_RIGHT);
    }
    let figures = || rows.iter().flat_map(|row| row.lanes.iter().map(|&(_, figure)| figure));
    let marks = figures().flat_map(|figure| {
        let place = move |who| panel.place(figure, who);
        (0..report.competitors.len()).filter_map(place).map(|place| place.median)
    });
    let goals = figures().map(|figure| panel.goal(&figure.metric));
    Axis::log(marks.chain(goals), PLOT_LEFT, PLOT_RIGHT)
}

fn draw_row(
    svg: &mut Svg,
    report: &Report,
    panel: Panel,
    row: &Row<'_>,
    axis: &Axis,
    top: f64,
    named: bool,
) {
    let base = top + ROW_GAP / 2.0 + LANE - 4.0;
    if named {
        svg.text((MARGIN, base), "t", Anchor::Start, &format::cut(row.scenario, 52));
    }
    svg.text((METRIC_LEFT, base), "t", Anchor::Start, &format::cut(&metric(report, row), 24));
    for (n, &(queue_length, figure)) in row.lanes.iter().enumerate() {
        let base = base + n as f64 * LANE;
        let middle = base - 4.0;
        svg.text((QLEN_RIGHT, base), "m", Anchor::End, &queue_length.to_string());
        let goal = axis.at(panel.goal(&figure.metric));
        svg.line((goal, middle - 6.0), (goal, middle + 6.0), "goal");
        draw_marks(svg, report, panel, figure, axis, middle);
        draw_values(svg, report, panel, figure, base);
    }
}

/// What is measured, and against whom where that is not who it is in other rows.
fn metric(report: &Report, row: &Row<'_>) -> String {
    let reference = row.lanes.first().and_then(|(_, figure)| {
        let reference = report.competitors.get(figure.reference())?;
        (Panel::of(row.metric) == Some(Panel::Ratios) && reference.role != Role::Reference)
            .then_some(reference)
    });
    match reference {
        Some(reference) => format!("{} to {}", row.metric.name, reference.name),
        None => row.metric.name.to_owned(),
    }
}

/// The marks of all competitors; ours last and the first of ours behind those, so that none hides it.
fn draw_marks(
    svg: &mut Svg,
    report: &Report,
    panel: Panel,
    figure: &Figure,
    axis: &Axis,
    middle: f64,
) {
    let all = 0..report.competitors.len();
    let (ours, others): (Vec<usize>, Vec<usize>) =
        all.partition(|&who| report.competitors[who].role == Role::Ours);
    for who in others.into_iter().chain(ours.into_iter().rev()) {
        // The line at 1x is the reference.
        if panel == Panel::Ratios && who == figure.reference() {
            continue;
        }
        let Some(place) = panel.place(figure, who) else { continue };
        let ends = (axis.at(place.least), axis.at(place.most));
        svg.line((ends.0, middle), (ends.1, middle), &format!("{} whisker", class(who)));
        let value = value_of(figure, who) + " " + figure.metric.unit.symbol();
        let title = format!("{}: {value}", report.competitors[who].name);
        svg.mark((axis.at(place.median), middle), who, &title);
    }
}

/// In words what the row shows of the reference and of ours: of the one that misses the goal, if one
/// does.
fn draw_values(svg: &mut Svg, report: &Report, panel: Panel, figure: &Figure, base: f64) {
    let judged = report.judged(figure);
    let missing = judged.iter().find(|&&who| figure.reached(who) != Some(true));
    let shown = missing.or(judged.first()).copied();
    let ours = shown.map_or("-".to_owned(), |who| value_of(figure, who));
    let unit = figure.metric.unit.symbol();
    let text = match panel {
        Panel::Limits => {
            format!("{ours} of {} {unit}", number_of(figure.metric.goal))
        }
        _ if shown == Some(figure.reference()) => format!("{ours} {unit}"),
        _ => format!("{} → {ours} {unit}", value_of(figure, figure.reference())),
    };
    svg.text((VALUES_LEFT, base), "m", Anchor::Start, &text);
    let verdict = match report.reached(figure) {
        Some(true) => ("good", "✓"),
        Some(false) => ("bad", "✗"),
        None => ("m", "?"),
    };
    svg.text((WIDTH - MARGIN, base), verdict.0, Anchor::End, verdict.1);
}

fn value_of(figure: &Figure, who: usize) -> String {
    figure.spread(who).map_or("-".to_owned(), |spread| format::number(spread.median))
}

/// Draws the legend and returns where it ends.
fn legend(svg: &mut Svg, report: &Report) -> f64 {
    let (names, goal, end) = legend_places(report);
    for (who, (contender, (x, y))) in report.competitors.iter().zip(names).enumerate() {
        svg.mark((x, y), who, &contender.name);
        svg.text((x + 11.0, y + 4.0), "t", Anchor::Start, &contender.name);
    }
    let (x, y) = goal;
    svg.line((x, y - 6.0), (x, y + 6.0), "goal");
    svg.text((x + 9.0, y + 4.0), "t", Anchor::Start, GOAL);
    let note = "Medians of the rounds; bars reach from the least to the most. Numbers: the C program's \
                value, or the named one's → ours, ✓ goal reached. Second column: max_dgram_qlen.";
    svg.text((MARGIN, y + 26.0), "m", Anchor::Start, note);
    end
}

/// Where the competitors' marks and the goal's stand, in as many lines as it takes, and where the
/// legend ends.
fn legend_places(report: &Report) -> (Vec<(f64, f64)>, (f64, f64), f64) {
    let (mut x, mut y) = (MARGIN + 6.0, 16.0);
    let names = report.competitors.iter().map(|contender| contender.name.as_str());
    let mut places: Vec<(f64, f64)> = Vec::new();
    for name in names.chain([GOAL]) {
        let width = 30.0 + 7.0 * name.chars().count() as f64;
        if x + width > WIDTH - MARGIN {
            (x, y) = (MARGIN + 6.0, y + 20.0);
        }
        places.push((x, y));
        x += width;
    }
    let goal = places.pop().unwrap_or_default();
    (places, goal, y + 50.0)
}

const LABEL: &str = "How uml_switch compares with other switches";

const GOAL: &str = "goal of uml_switch";

const WIDTH: f64 = 1040.0;
const MARGIN: f64 = 12.0;
const METRIC_LEFT: f64 = 318.0;
const QLEN_RIGHT: f64 = 498.0;
const PLOT_LEFT: f64 = 530.0;
const PLOT_RIGHT: f64 = 860.0;
const VALUES_LEFT: f64 = 890.0;
const PANEL_HEAD: f64 = 60.0;
const LANE: f64 = 15.0;
const ROW_GAP: f64 = 6.0;
const GAP: f64 = 22.0;
