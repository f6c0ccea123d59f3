//! The tables of the page.

use std::fmt::Write;

use super::text::{Escaped, count, percent, ratio, sound, time};
use super::verdict::loss_is_felt;
use crate::report::model::{Delay, Report, SwitchReport, Tally};

/// All directions and the whole, a line for each switch and one for their ratio.
pub fn summary(report: &Report) -> String {
    let mut rows = String::new();
    for name in direction_names(report) {
        let of = |switch: &'_ SwitchReport| -> Option<usize> {
            switch.directions.iter().position(|direction| direction.tally.name == name)
        };
        let tallies = report.switches.iter().enumerate().filter_map(|(series, switch)| {
            Some((series, switch, &switch.directions.get(of(switch)?)?.tally))
        });
        rows += &block(name, &tallies.collect::<Vec<_>>());
    }
    let all = report.switches.iter().enumerate().map(|(n, switch)| (n, switch, &switch.total));
    rows += &block("all frames", &all.collect::<Vec<_>>());
    table(
        "",
        "<th>frames</th><th>due</th><th>lost</th><th>half</th><th>99 %</th><th>99.9 %</th><th>slowest</th>",
        &rows,
    )
}

/// Tallies by name, those of the switches side by side: flows, or sizes.
pub fn side_by_side(
    report: &Report,
    caption: &str,
    of: fn(&SwitchReport) -> &[Tally],
) -> Option<String> {
    let first = of(report.switches.first()?);
    if first.is_empty() {
        return None;
    }
    let several = report.switches.len() > 1;
    let mut head = String::from("<th></th><th>due</th>");
    for (what, columns) in [("lost", 0), ("99 %", 1), ("slowest", 2)] {
        for series in 0..report.switches.len() {
            let key = if several { key(series) } else { String::new() };
            let _ = write!(head, "<th>{key}{what}</th>");
        }
        if several && columns > 0 {
            head += "<th>ratio</th>";
        }
    }
    let mut rows = String::new();
    for tally in first {
        let same = |switch| of(switch).iter().find(|other| other.name == tally.name);
        let tallies: Vec<Option<&Tally>> = report.switches.iter().map(same).collect();
        let _ = write!(rows, "<tr><th>{}</th><td>{}</td>", Escaped(&tally.name), count(tally.due));
        rows.extend(tallies.iter().map(|tally| tally.map_or_else(missing, lost)));
        for of in [|delay: &Delay| delay.p99_us, |delay: &Delay| delay.max_us] {
            rows.extend(
                tallies.iter().map(|tally| tally.map_or_else(missing, |t| cell(&t.delay, of))),
            );
            if let [Some(ours), Some(theirs)] = tallies[..] {
                let _ = write!(rows, "<td>{}</td>", ratio_of(&ours.delay, &theirs.delay, of));
            }
        }
        rows += "</tr>\n";
    }
    Some(table(caption, &head, &rows))
}

/// Who sent and received.
pub fn stations(report: &Report) -> String {
    let mut rows = String::new();
    for station in &report.stations {
        let _ = writeln!(
            rows,
            "<tr><th>{}</th><td class='l'>{}</td><td class='l'>{}</td><td>{}</td></tr>",
            Escaped(&station.mac),
            Escaped(&station.address),
            Escaped(station.attached),
            count(station.frames)
        );
    }
    let head = "<th>station</th><th class='l'>address</th><th class='l'>attached as</th>\
                <th>frames sent in a pass</th>";
    table("", head, &rows)
}

/// The directions' names, in order of appearance.
pub fn direction_names(report: &Report) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for direction in report.switches.iter().flat_map(|switch| &switch.directions) {
        if !names.contains(&direction.tally.name.as_str()) {
            names.push(&direction.tally.name);
        }
    }
    names
}

/// A square in the colour of the switch numbered `series`, for the page's text.
pub fn key(series: usize) -> String {
    format!("<span class='key {}'></span>", super::chart::class(series))
}

fn block(name: &str, tallies: &[(usize, &SwitchReport, &Tally)]) -> String {
    let mut rows = format!("<tr><th colspan='8'>{}</th></tr>\n", Escaped(name));
    for (series, switch, tally) in tallies {
        let _ = write!(
            rows,
            "<tr><td>{}{}</td><td></td><td>{}</td>{}",
            key(*series),
            Escaped(&super::text::end_of(&switch.name, 40)),
            count(tally.due),
            lost(tally)
        );
        rows.extend(COLUMNS.map(|of| cell(&tally.delay, of)));
        rows += "</tr>\n";
    }
    if let [(_, _, ours), (_, _, theirs)] = tallies {
        rows += "<tr class='ratio'><td>first to second</td><td></td><td></td><td></td>";
        for of in COLUMNS {
            let _ = write!(rows, "<td>{}</td>", ratio_of(&ours.delay, &theirs.delay, of));
        }
        rows += "</tr>\n";
    }
    rows
}

fn table(caption: &str, head: &str, rows: &str) -> String {
    let caption = match caption {
        "" => String::new(),
        text => format!("<caption>{}</caption>\n", Escaped(text)),
    };
    format!(
        "<div class='wide'><table>{caption}<thead><tr>{head}</tr></thead>\n\
         <tbody>\n{rows}</tbody></table></div>\n"
    )
}

fn lost(tally: &Tally) -> String {
    let class = if loss_is_felt(tally.lost_percent) { " class='lost'" } else { "" };
    match tally.lost {
        0 => "<td>0</td>".to_owned(),
        lost => format!("<td{class}>{} ({})</td>", count(lost), percent(tally.lost_percent)),
    }
}

fn cell(delay: &Delay, of: fn(&Delay) -> f64) -> String {
    match delay.count {
        0 => missing(),
        _ => format!("<td>{}</td>", time(of(delay))),
    }
}

fn missing() -> String {
    "<td>–</td>".to_owned()
}

fn ratio_of(ours: &Delay, theirs: &Delay, of: fn(&Delay) -> f64) -> String {
    ratio(sound(of(ours)), sound(of(theirs))).unwrap_or_else(|| "–".to_owned())
}

const COLUMNS: [fn(&Delay) -> f64; 4] =
    [|delay| delay.p50_us, |delay| delay.p99_us, |delay| delay.p999_us, |delay| delay.max_us];
