//! The page: one HTML file that needs nothing else, neither scripts nor other files.

use std::fmt::Write;

use super::svg::{class, escape, style};
use super::{Judgement, Report, bars, format, part_of, summary, table};
use crate::measure::{Figure, Outcome};

/// The report as a page.
pub fn html(report: &Report) -> String {
    let body = [head(report), at_a_glance(report), families(report), full_table(report)].concat();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{TITLE}</title>\n<style>{}{STYLE}</style>\n</head>\n<body>\n{body}</body>\n</html>\n",
        style()
    )
}

fn head(report: &Report) -> String {
    let rounds =
        if report.rounds == 1 { "1 round".to_owned() } else { format!("{} rounds", report.rounds) };
    let versions: Vec<String> = report
        .competitors
        .iter()
        .map(|contender| match &contender.version {
            Some(version) => format!("{}: {version}", contender.name),
            None => contender.name.clone(),
        })
        .collect();
    let scale = if report.second == 1.0 {
        String::new()
    } else {
        format!(", {} s of measuring in place of each second", report.second)
    };
    format!(
        "<h1>{TITLE}</h1>\n<p class=\"quiet\">{}. {}; {rounds}{scale}.<br>{}</p>\n",
        escape(&report.date),
        escape(&report.machine.describe()),
        escape(&versions.join(" · "))
    )
}

fn at_a_glance(report: &Report) -> String {
    let all: Vec<Judgement<'_>> = report.judgements().collect();
    let Some(chart) = summary::element(report) else { return String::new() };
    let reached = all.iter().filter(|goal| goal.reached == Some(true)).count();
    let mut text = format!("<p class=\"verdict\">{reached} of {} goals reached</p>\n", all.len());
    let _ = writeln!(text, "<div class=\"wide\">{chart}</div>");
    for (heading, wanted) in [("Missed", Some(false)), ("Not judged, for want of figures", None)] {
        let such: Vec<String> = all
            .iter()
            .filter(|goal| goal.reached == wanted)
            .map(|goal| format!("<li>{}</li>\n", escape(&table::describe(report, goal))))
            .collect();
        if !such.is_empty() {
            let _ = write!(text, "<h3>{heading}</h3>\n<ul>\n{}</ul>\n", such.concat());
        }
    }
    text
}

fn families(report: &Report) -> String {
    let mut text = String::from("<h2>All scenarios</h2>\n");
    text += &key(report);
    for (name, outcomes) in report.families() {
        let _ = write!(text, "<h3>{}</h3>\n<div class=\"charts\">\n", escape(&name));
        for chart in bars::charts(report, &outcomes) {
            text += &chart;
        }
        text += "</div>\n";
    }
    text
}

/// Which colour is whose.
fn key(report: &Report) -> String {
    let entries = report.competitors.iter().enumerate().map(|(who, contender)| {
        format!(
            "<span><svg width=\"12\" height=\"12\" aria-hidden=\"true\">\
             <rect width=\"12\" height=\"12\" class=\"{}\"/></svg> {}</span>\n",
            class(who),
            escape(&contender.name)
        )
    });
    format!(
        "<p class=\"key\">{}</p>\n<p class=\"quiet\">Bars are medians, thin lines reach from the \
         least to the most of the rounds. Within a group the order is the same as here.</p>\n",
        entries.collect::<String>()
    )
}

fn full_table(report: &Report) -> String {
    let mut text = String::from(
        "<h2>All figures</h2>\n<p class=\"quiet\">Medians; behind them the ratio to the first in \
         the row, taken within each round, and its least and most over the rounds. Where a ratio says nothing, \
         these are of the value.</p>\n<div class=\"wide\"><table>\n<thead><tr><th></th>",
    );
    for contender in &report.competitors {
        let _ = write!(text, "<th>{}</th>", escape(&contender.name));
    }
    text += "<th>goal</th></tr></thead>\n";
    for outcome in &report.outcomes {
        text += &block(report, outcome);
    }
    text + "</table></div>\n"
}

fn block(report: &Report, outcome: &Outcome) -> String {
    let columns = report.competitors.len();
    let part = part_of(outcome, columns);
    let mut text = format!(
        "<tbody><tr><th colspan=\"{}\">{} <span class=\"quiet\">qlen {}</span></th></tr>\n",
        columns + 2,
        escape(&outcome.scenario),
        outcome.queue_length
    );
    for figure in &outcome.figures {
        let _ = write!(text, "<tr><td>{}</td>", escape(&format::metric(&figure.metric)));
        for who in 0..columns {
            let cell = if part.contains(&who) { cell(figure, who) } else { String::new() };
            let _ = write!(text, "<td>{cell}</td>");
        }
        let _ = writeln!(text, "<td>{}</td></tr>", goal(report, figure));
    }
    text + "</tbody>\n"
}

fn cell(figure: &Figure, who: usize) -> String {
    let Some(value) = figure.spread(who) else { return "-".to_owned() };
    let ratio = figure.ratio(who).filter(|_| figure.metric.unit.compares());
    let more = match ratio {
        Some(_) if who == figure.reference() => String::new(),
        Some(ratio) => {
            format!("<b>{}</b> {}", format::ratio(ratio.median), format::bounds(ratio))
        }
        None => format::bounds(value),
    };
    format!("{} <small>{more}</small>", format::number(value.median))
}

fn goal(report: &Report, figure: &Figure) -> String {
    let Some(goal) = figure.metric.goal else { return String::new() };
    let verdict = match report.reached(figure) {
        Some(true) => "<span class=\"yes\">✓ reached</span>",
        Some(false) => "<span class=\"no\">✗ missed</span>",
        None => "not judged",
    };
    format!("{} {verdict}", escape(&format::goal(goal)))
}

const TITLE: &str = "uml_switch compared";

const STYLE: &str = "\
:root{color-scheme:light dark}\
body{margin:0 auto;max-width:1060px;padding:16px 20px 60px;background:#fff;color:#1f2328;\
font:15px/1.5 system-ui,-apple-system,'Segoe UI','DejaVu Sans',sans-serif}\
h1{font-size:26px;margin:12px 0 4px}h2{font-size:20px;margin:44px 0 4px}h3{font-size:16px;margin:26px 0 8px}\
.quiet,small{color:#59636e;font-size:13px;font-weight:400}small b{color:#1f2328}\
.verdict{font-size:18px;font-weight:600;margin:18px 0 10px}\
.wide{overflow-x:auto}.wide svg{display:block}\
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(440px,1fr));gap:22px 40px;align-items:start}\
.charts svg{width:100%;height:auto}\
.key span{margin-right:18px;white-space:nowrap}.key svg{vertical-align:-1px}\
table{border-collapse:collapse;font-size:13px;white-space:nowrap;font-variant-numeric:tabular-nums}\
td,th{padding:3px 14px 3px 0;text-align:left;font-weight:400}thead th,tbody th{font-weight:600}\
tbody th{padding-top:16px}tbody td{border-top:1px solid #e1e5ea}\
.yes{color:#1a7f37}.no{color:#cf222e;font-weight:600}\
@media (prefers-color-scheme:dark){body{background:#0d1117;color:#e6edf3}\
.quiet,small{color:#9198a1}small b{color:#e6edf3}tbody td{border-color:#262c34}\
.yes{color:#3fb950}.no{color:#ff7b72}}\
@media (max-width:520px){.charts{grid-template-columns:1fr}}";
