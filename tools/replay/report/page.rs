//! The page: one HTML file that needs nothing else, neither scripts nor other files, and a picture
//! of its essential part.
//!
//! It is HTML and well-formed XML at once, so that it can be checked.

mod axis;
mod bursts;
mod chart;
mod distribution;
mod over_time;
mod picture;
mod style;
mod tables;
#[cfg(test)]
mod tests;
mod text;
mod verdict;

use std::fmt::Write as _;
use std::io;

use axis::Delays;
use chart::{Chart, MARKS};
use tables::key;
use text::{Escaped, count, several, sound, time};
use verdict::Verdict;

use super::model::{BarReport, DirectionReport, Report, SwitchReport};

/// Writes `report` as a page.
///
/// # Errors
///
/// Those of `out`.
pub fn write(report: &Report, out: &mut impl io::Write) -> io::Result<()> {
    let parts = [head, bar, summary, delays, over_time, bursts, flows, stations, run];
    let body: String = parts.iter().map(|part| part(report)).collect();
    write!(
        out,
        "<!DOCTYPE html>\n<html xmlns='http://www.w3.org/1999/xhtml' lang='en'>\n<head>\n\
         <meta charset='utf-8'/>\n\
         <meta name='viewport' content='width=device-width, initial-scale=1'/>\n\
         <title>{}</title>\n<style>{}{}</style>\n</head>\n<body>\n{body}</body>\n</html>\n",
        Escaped(&title(report)),
        style::of_drawings(),
        style::PAGE
    )
}

/// Writes the verdicts and the delays of each direction as an SVG file of its own.
///
/// # Errors
///
/// Those of `out`.
pub fn picture(report: &Report, out: &mut impl io::Write) -> io::Result<()> {
    out.write_all(picture::svg(report).as_bytes())
}

fn title(report: &Report) -> String {
    let switches: Vec<&str> = report.switches.iter().map(|switch| switch.name.as_str()).collect();
    let file = report.capture.file.rsplit('/').next().unwrap_or_default();
    match switches.is_empty() {
        true => file.to_owned(),
        false => format!("{file} through {}", switches.join(" and ")),
    }
}

fn head(report: &Report) -> String {
    let capture = &report.capture;
    let mut text = format!("<h1>{}</h1>\n<p class='quiet'>", Escaped(&title(report)));
    let _ = write!(
        text,
        "{}, {:.1} s of traffic",
        several(capture.frames, "frame"),
        sound(capture.seconds)
    );
    if let Some(server) = &capture.server {
        let players = several(capture.players as u64, "player");
        let _ = write!(text, ": {players} on the game server {}", Escaped(server));
    }
    text += ".</p>\n<div class='cards'>\n";
    for (series, switch) in report.switches.iter().enumerate() {
        text += &card(series, switch);
    }
    text += "</div>\n";
    if report.switches.is_empty() {
        text += "<p>No switch was measured.</p>\n";
    }
    for known in verdict::reservations(report) {
        let _ = writeln!(
            text,
            "<div class='card fair'><p><span class='sign' aria-hidden='true'>!</span> \
             <b>Mind:</b> {}</p></div>",
            Escaped(&known)
        );
    }
    text
}

fn card(series: usize, switch: &SwitchReport) -> String {
    let verdict = Verdict::of(switch);
    let mut text = format!(
        "<div class='card {}'><p class='name'>{}{}</p>\n\
         <p class='says'><span class='sign' aria-hidden='true'>{}</span> {}</p>\n",
        verdict.grade.class(),
        key(series),
        Escaped(&switch.name),
        verdict.grade.sign(),
        Escaped(&verdict.sentence)
    );
    let total = &switch.total;
    let also: Vec<String> = [
        (total.refused, "not taken by the switch (counted as lost)"),
        (total.duplicated, "that came more than once"),
        (total.reordered, "overtaken by a later one of their flow"),
        (switch.unexpected, "that nobody had sent, or not to there"),
    ]
    .into_iter()
    .filter(|(frames, _)| *frames > 0)
    .map(|(frames, what)| format!("{} {what}", several(frames, "frame")))
    .collect();
    if !also.is_empty() {
        let _ = writeln!(text, "<p class='quiet'>Also seen: {}.</p>", also.join("; "));
    }
    text + "</div>\n"
}

fn bar(report: &Report) -> String {
    let Some(BarReport { max_p99_us, max_loss_percent, met, failures }) = &report.bar else {
        return String::new();
    };
    let p99 = max_p99_us.map(|us| format!("99 % of the frames of each direction within {us} µs"));
    let loss = max_loss_percent
        .map(|percent| format!("at most {percent} % of the frames of each direction lost"));
    let asked: Vec<String> = p99.into_iter().chain(loss).collect();
    let (class, sign, word) =
        if *met { ("good", "✓", "is met") } else { ("bad", "✗", "is not met") };
    let mut text = format!(
        "<div class='card {class}'><p><span class='sign' aria-hidden='true'>{sign}</span> \
         <b>The bar {word}:</b> {}.</p>\n",
        Escaped(&asked.join(", "))
    );
    if !failures.is_empty() {
        text += "<ul>\n";
        for failure in failures {
            let _ = writeln!(text, "<li>{}</li>", Escaped(failure));
        }
        text += "</ul>\n";
    }
    text + "</div>\n"
}

fn summary(report: &Report) -> String {
    if report.switches.is_empty() {
        return String::new();
    }
    let ratio = match report.switches.len() {
        1 => "",
        _ => " A ratio under 1x speaks for the first switch.",
    };
    format!(
        "<h2>In figures</h2>\n<p class='quiet'>How long frames took, from when they were due to when \
         they came: a frame that had to wait to be sent is not let off. Lost frames have no \
         delay.{ratio}</p>\n{}",
        tables::summary(report)
    )
}

fn delays(report: &Report) -> String {
    section(
        "How long frames take",
        &format!(
            "The hills show where the delays lie (heights as square roots, so that the few slow \
             frames are in sight too): {MARKS}. The lines below show how many frames took longer \
             than that; where a line ends above the ground, the rest never came. Further left is \
             better."
        ),
        by_direction(report, distribution::chart),
    )
}

fn over_time(report: &Report) -> String {
    section(
        "Delay over time",
        "Line: half of the frames took less. Darker band: up to 99 %. Light band: up to the slowest. \
         A mark in the lane on top: frames that were due then are lost.",
        by_direction(report, over_time::chart),
    )
}

fn bursts(report: &Report) -> String {
    let axis = Delays::of(report);
    let mut charts = Vec::new();
    if report.switches.iter().any(|switch| !switch.bursts.is_empty()) {
        charts
            .push(figure("Until the last frame of a burst has come", bursts::chart(report, &axis)));
    }
    if report.switches.iter().any(|switch| switch.lateness.count > 0) {
        charts.push(figure("How late the replay itself was", bursts::lateness(report)));
    }
    let late = match report.switches.iter().any(super::was_late) {
        true => "The replay's own lateness is a good part of what was measured here.",
        false => "The replay's own lateness is contained in all delays, and small beside them.",
    };
    section(
        "Bursts, and the replay itself",
        &format!(
            "A burst is all frames due at one port within a millisecond, as when a server sends to \
             all its players at once; the player served last waits for the whole of it. {MARKS}. \
             {late}"
        ),
        charts,
    )
}

fn flows(report: &Report) -> String {
    let flows = tables::side_by_side(report, "The busiest flows", |switch| &switch.flows);
    let sizes = tables::side_by_side(report, "By size of the frame", |switch| &switch.sizes);
    if flows.is_none() && sizes.is_none() {
        return String::new();
    }
    format!("<h2>Flows and sizes</h2>\n{}{}", flows.unwrap_or_default(), sizes.unwrap_or_default())
}

fn stations(report: &Report) -> String {
    if report.stations.is_empty() {
        return String::new();
    }
    format!(
        "<h2>Stations</h2>\n<details{}><summary>{}</summary>\n{}</details>\n",
        if report.stations.len() > 12 { "" } else { " open=''" },
        several(report.stations.len() as u64, "station"),
        tables::stations(report)
    )
}

fn run(report: &Report) -> String {
    let (capture, run) = (&report.capture, &report.run);
    let speed = match run.speed {
        None => "as fast as possible".to_owned(),
        Some(1.0) => "as recorded".to_owned(),
        Some(speed) => format!("{} times as fast as recorded", sound(speed)),
    };
    let seconds: Vec<String> =
        report.switches.iter().map(|switch| time(sound(switch.seconds) * 1e6)).collect();
    let facts = [
        ("capture", capture.file.clone()),
        (
            "replayed of it",
            format!("{}, {} bytes", several(capture.frames, "frame"), count(capture.bytes)),
        ),
        ("left out of it", several(capture.skipped, "record")),
        ("speed", speed),
        ("stations multiplied by", run.multiply.to_string()),
        ("passes for each switch", count(run.passes)),
        ("turns of each switch", count(run.turns)),
        ("frames were due for", seconds.join(", ")),
        (
            "net.unix.max_dgram_qlen",
            run.max_dgram_qlen.map_or("unknown".to_owned(), |n| n.to_string()),
        ),
        ("program", report.program.clone()),
    ];
    let mut text = String::from("<h2>How it was run</h2>\n<dl>\n");
    for (what, value) in facts {
        let _ = writeln!(text, "<dt>{what}</dt><dd>{}</dd>", Escaped(&value));
    }
    text += "</dl>\n";
    if !report.notes.is_empty() {
        text += "<h3>Notes</h3>\n<ul>\n";
        for note in &report.notes {
            let _ = writeln!(text, "<li>{}</li>", Escaped(note));
        }
        text += "</ul>\n";
    }
    text
}

/// A figure for each direction, all on one axis of delays.
fn by_direction(
    report: &Report,
    chart: fn(&Report, &str, &Delays) -> (Chart, String),
) -> Vec<String> {
    let axis = Delays::of(report);
    let names = direction_names(report).into_iter();
    names.map(|name| figure(&titled(name), chart(report, name, &axis))).collect()
}

/// The directions' names, in order of appearance.
fn direction_names(report: &Report) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for direction in report.switches.iter().flat_map(|switch| &switch.directions) {
        if !names.contains(&direction.tally.name.as_str()) {
            names.push(&direction.tally.name);
        }
    }
    names
}

/// The direction of this name, of each switch that has it, with the switch and its number.
fn of_direction<'a>(
    report: &'a Report,
    name: &str,
) -> impl Iterator<Item = (usize, &'a SwitchReport, &'a DirectionReport)> {
    report.switches.iter().enumerate().filter_map(move |(series, switch)| {
        let found = switch.directions.iter().find(|direction| direction.tally.name == name)?;
        Some((series, switch, found))
    })
}

/// "Frames to the server", "Other frames".
fn titled(direction: &str) -> String {
    match direction {
        name if name.starts_with("to ") || name.starts_with("from ") => format!("Frames {name}"),
        "others" => "Other frames".to_owned(),
        name => name.to_owned(),
    }
}

fn section(title: &str, explanation: &str, charts: Vec<String>) -> String {
    if charts.is_empty() {
        return String::new();
    }
    format!(
        "<h2>{title}</h2>\n<p class='quiet'>{explanation}</p>\n<div class='charts'>\n{}</div>\n",
        charts.concat()
    )
}

fn figure(title: &str, (chart, words): (Chart, String)) -> String {
    format!("<figure><h3>{}</h3>\n{}</figure>\n", Escaped(title), chart.element(title, &words, ""))
}
