//! The report as people read it in a terminal.

use std::fmt::Write;

use super::model::{Delay, Report, SwitchReport, Tally};
use super::was_late;

/// All of it, no line longer than 100 characters unless a name is.
pub fn table(report: &Report) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write_table(&mut text, report);
    text
}

fn write_table(out: &mut String, report: &Report) -> std::fmt::Result {
    write_head(out, report)?;
    match report.switches.as_slice() {
        [one] => write_one(out, one)?,
        [one, other] => write_both(out, one, other)?,
        _ => {}
    }
    for switch in &report.switches {
        write_warnings(out, switch)?;
    }
    for note in &report.notes {
        writeln!(out, "note: {note}")?;
    }
    if let Some(bar) = &report.bar {
        writeln!(out, "\nThe bar for players is {}.", if bar.met { "met" } else { "not met" })?;
        for failure in &bar.failures {
            writeln!(out, "  {failure}")?;
        }
    }
    Ok(())
}

fn write_head(out: &mut String, report: &Report) -> std::fmt::Result {
    let (capture, run) = (&report.capture, &report.run);
    write!(out, "{}: {} frames in {:.1} s", capture.file, capture.frames, capture.seconds)?;
    write!(out, ", {} stations", report.stations.len())?;
    if let Some(server) = &capture.server {
        write!(out, ", {} players of {server}", capture.players)?;
    }
    let speed = match run.speed {
        None => "as fast as possible".into(),
        Some(1.0) => "at recorded speed".into(),
        Some(speed) => format!("at {speed} times the recorded speed"),
    };
    write!(out, "\nreplayed {speed}, {}", counted(run.passes, "pass", "passes"))?;
    if report.switches.len() > 1 {
        write!(out, " to each switch in {}", counted(run.turns, "turn", "turns"))?;
    }
    if let Some(length) = run.max_dgram_qlen {
        write!(out, "; max_dgram_qlen {length}")?;
    }
    writeln!(out, "\n")
}

fn write_one(out: &mut String, switch: &SwitchReport) -> std::fmt::Result {
    writeln!(out, "{}", switch.name)?;
    writeln!(
        out,
        "{:NAME$} {:>8} {:>8} {:>6} {:>7} | {:>8} {:>8} {:>8} {:>8}",
        "", "frames", "lost", "twice", "behind*", "p50 us", "p99 us", "p99.9 us", "max us"
    )?;
    for tally in rows(switch) {
        let Tally { due, lost, duplicated, reordered, .. } = tally;
        let Delay { p50_us, p99_us, p999_us, max_us, .. } = tally.delay;
        writeln!(
            out,
            "{:NAME$} {due:>8} {lost:>8} {duplicated:>6} {reordered:>7} | {:>8} {:>8} {:>8} {:>8}",
            tally.name,
            time(p50_us),
            time(p99_us),
            time(p999_us),
            time(max_us)
        )?;
    }
    writeln!(out, "* came after one of the same flow that was due later\n")?;
    write_bursts(out, switch)
}

fn write_bursts(out: &mut String, switch: &SwitchReport) -> std::fmt::Result {
    if !switch.bursts.iter().any(|class| class.last.count > 0) {
        return Ok(());
    }
    writeln!(
        out,
        "{:NAME$} {:>8} {:>8} {:>14} | {:>8} {:>8} {:>8} {:>8}",
        "due together at one port",
        "bursts",
        "lost",
        "last frame:",
        "p50 us",
        "p99 us",
        "p99.9 us",
        "max us"
    )?;
    for class in &switch.bursts {
        writeln!(
            out,
            "{:NAME$} {:>8} {:>8} {:>14} | {:>8} {:>8} {:>8} {:>8}",
            class.name,
            class.bursts,
            class.lost,
            "",
            time(class.last.p50_us),
            time(class.last.p99_us),
            time(class.last.p999_us),
            time(class.last.max_us)
        )?;
    }
    writeln!(out)
}

fn write_both(out: &mut String, one: &SwitchReport, other: &SwitchReport) -> std::fmt::Result {
    writeln!(out, "A: {}\nB: {}", one.name, other.name)?;
    let group =
        |letter| format!("{:>8} {:>8} {:>8}", format!("{letter} lost %"), "p50 us", "p99 us");
    writeln!(
        out,
        "{:NAME$} {:>8} | {} | {} | {:>6} {:>6}",
        "",
        "frames",
        group('A'),
        group('B'),
        "p50",
        "p99"
    )?;
    writeln!(out, "{:NAME$} {:>8} | {:26} | {:26} | {:>13}", "", "of A", "", "", "A to B")?;
    for a in rows(one) {
        let Some(b) = rows(other).find(|b| b.name == a.name) else { continue };
        let cells = |tally: &Tally| {
            let Delay { p50_us, p99_us, .. } = tally.delay;
            let lost = format!("{:.3}", tally.lost_percent);
            format!("{lost:>8} {:>8} {:>8}", time(p50_us), time(p99_us))
        };
        writeln!(
            out,
            "{:NAME$} {:>8} | {} | {} | {:>6} {:>6}",
            a.name,
            a.due,
            cells(a),
            cells(b),
            ratio(b.delay.p50_us, a.delay.p50_us),
            ratio(b.delay.p99_us, a.delay.p99_us)
        )?;
    }
    writeln!(out)
}

/// All frames, then by direction, then by size, where that says more.
fn rows(switch: &SwitchReport) -> impl Iterator<Item = &Tally> {
    let directions = switch.directions.iter().map(|direction| &direction.tally);
    std::iter::once(&switch.total).chain(directions).chain(&switch.sizes)
}

fn write_warnings(out: &mut String, switch: &SwitchReport) -> std::fmt::Result {
    let late = &switch.lateness;
    writeln!(
        out,
        "{}: the replay itself was late by {} us at p50, {} at p99, {} at most.",
        switch.name,
        time(late.p50_us),
        time(late.p99_us),
        time(late.max_us)
    )?;
    if was_late(switch) {
        writeln!(
            out,
            "WARNING: that is much of the delay that was measured: is this machine too busy?"
        )?;
    }
    if switch.total.refused > 0 {
        let refused = counted(switch.total.refused, "lost frame was", "lost frames were");
        writeln!(out, "{refused} never taken by the switch: there was no room for a second.")?;
    }
    if switch.unexpected > 0 {
        let came = counted(switch.unexpected, "frame", "frames");
        writeln!(out, "{came} came that nobody had sent, or not to there, or that were changed.")?;
    }
    Ok(())
}

/// Microseconds, as precisely as they are known.
fn time(us: f64) -> String {
    match us {
        ..100.0 => format!("{us:.1}"),
        ..1e7 => format!("{us:.0}"),
        _ => format!("{:.0} s", us / 1e6),
    }
}

fn ratio(a: f64, b: f64) -> String {
    if a > 0.0 && b > 0.0 { format!("{:.2}", b / a) } else { "-".into() }
}

fn counted(number: u64, one: &str, more: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { more })
}

/// Characters of a row's name.
const NAME: usize = 24;
