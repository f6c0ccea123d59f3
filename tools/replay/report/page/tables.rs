//! The tables of the page.

use std::fmt::Write;

use super::text::{Escaped, count, end_of, percent, ratio, sound, time};
use super::verdict::loss_is_felt;
use super::{direction_names, of_direction};
use crate::report::model::{Delay, Report, SwitchReport, Tally};

/// All directions and the whole, a line for each switch and one for their ratio.
pub fn summary(report: &Report) -> String {
    let mut rows = String::new();
    for name in direction_names(report) {
        let found = of_direction(report, name);
        let tallies: Vec<_> = found.map(|(n, switch, one)| (n, switch, &one.tally)).collect();
        rows += &block(name, &tallies);
    }
    let all = report.switches.iter().enumerate().map(|(n, switch)| (n, switch, &switch.total));
    rows += &block("all frames", &all.collect::<Vec<_>>());
    let columns = ["", "due", "lost", "half within", "99 %", "99.9 %", "slowest"];
    table("", &columns.map(|column| format!("<th>{column}</th>")).concat(), &rows)
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
    let mut rows = String::new();
    for tally in first {
        let same = |switch| of(switch).iter().find(|other| other.name == tally.name);
        let tallies: Vec<Option<&Tally>> = report.switches.iter().map(same).collect();
        let _ = write!(rows, "<tr><th>{}</th><td>{}</td>", Escaped(&tally.name), count(tally.due));
        rows.extend(tallies.iter().map(|tally| tally.map_or_else(missing, lost)));
        rows += &compared(&tallies, |delay| delay.p99_us);
        rows += &compared(&tallies, |delay| delay.max_us);
        rows += "</tr>\n";
    }
    Some(table(caption, &head_side_by_side(report), &rows))
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

/// A square or a disc in the colour of the switch numbered `series`, for the page's text.
pub fn key(series: usize) -> String {
    format!("<span class='key {}'></span>", super::chart::class(series))
}

fn head_side_by_side(report: &Report) -> String {
    let several = report.switches.len() > 1;
    let mut head = String::from("<th></th><th>due</th>");
    for (what, compared) in [("lost", false), ("99 %", true), ("slowest", true)] {
        for (series, switch) in report.switches.iter().enumerate() {
            let key = if several { key(series) } else { String::new() };
            let _ = write!(head, "<th title='{}'>{key}{what}</th>", Escaped(&switch.name));
        }
        if several && compared {
            head += "<th>ratio</th>";
        }
    }
    head
}

/// The cells of one figure: that of each switch, and the ratio of two.
fn compared(tallies: &[Option<&Tally>], of: fn(&Delay) -> f64) -> String {
    let each = tallies.iter().map(|tally| tally.map_or_else(missing, |t| cell(&t.delay, of)));
    let ratio = match tallies {
        [Some(ours), Some(theirs)] => {
            format!("<td>{}</td>", ratio_of(&ours.delay, &theirs.delay, of))
        }
        [_, _] => missing(),
        _ => String::new(),
    };
    each.chain([ratio]).collect()
}

fn block(name: &str, tallies: &[(usize, &SwitchReport, &Tally)]) -> String {
    let mut rows = format!("<tr><th colspan='7'>{}</th></tr>\n", Escaped(name));
    for (series, switch, tally) in tallies {
        let _ = write!(
            rows,
            "<tr><td>{}{}</td><td>{}</td>{}",
            key(*series),
            Escaped(&end_of(&switch.name, 40)),
            count(tally.due),
            lost(tally)
        );
        rows.extend(COLUMNS.map(|of| cell(&tally.delay, of)));
        rows += "</tr>\n";
    }
    if let [(_, _, ours), (_, _, theirs)] = tallies {
        rows += "<tr class='ratio'><td>first / second</td><td></td><td></td>";
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
