//! The page and the picture of made-up reports.

mod made_up;

use made_up::{delay, direction, report, spread, switch, tally};
use roxmltree::{Document, Node, ParsingOptions};

use super::super::model::{BarReport, Report};
use super::text::{Escaped, count, end_of, lines, percent, ratio, time};
use super::verdict::{Grade, Verdict, reservations};
use super::{Delays, axis, picture, write};
use crate::report::was_late;

/// The page of `report`, which is well-formed XML; all text on it, white space made one.
fn page_text(report: &Report) -> String {
    let mut page = Vec::new();
    write(report, &mut page).expect("memory takes all");
    words(&String::from_utf8(page).expect("the page is text"))
}

/// The same of the picture.
fn picture_text(report: &Report) -> String {
    let mut svg = Vec::new();
    picture(report, &mut svg).expect("memory takes all");
    words(&String::from_utf8(svg).expect("the picture is text"))
}

fn words(xml: &str) -> String {
    let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
    let document = Document::parse_with_options(xml, options).expect("well-formed XML");
    check_drawings(&document);
    let texts = document.descendants().filter(|node| node.is_text() && !is_style(*node));
    let words: Vec<&str> =
        texts.flat_map(|text| text.text().unwrap_or_default().split_whitespace()).collect();
    words.join(" ")
}

fn is_style(text: Node<'_, '_>) -> bool {
    text.parent().is_some_and(|parent| parent.has_tag_name("style"))
        || text.parent().is_some_and(|parent| parent.tag_name().name() == "style")
}

/// Each drawing has a title and a description, and nothing in it is drawn at "NaN".
fn check_drawings(document: &Document<'_>) {
    let drawings = document.descendants().filter(|node| node.tag_name().name() == "svg");
    for drawing in drawings {
        let child = |name: &str| drawing.children().any(|node| node.tag_name().name() == name);
        assert!(child("title") && child("desc"));
        for node in drawing.descendants() {
            for attribute in node.attributes().filter(|attribute| attribute.name() != "class") {
                let value = attribute.value();
                assert!(!value.contains("NaN") && !value.contains("inf"), "{value}");
            }
        }
    }
}

fn drawings(report: &Report) -> usize {
    let mut page = Vec::new();
    write(report, &mut page).expect("memory takes all");
    String::from_utf8(page).expect("the page is text").matches("<svg ").count()
}

#[test]
fn a_comparison_shows_the_figures_of_both_switches() {
    let mut report = report(vec![
        switch("/run/uml.ctl", vec![direction("to the server", 1000, 0, &spread(30.0, 2.0))]),
        switch("/run/old.ctl", vec![direction("to the server", 1000, 40, &spread(90.0, 4.0))]),
    ]);
    for (switch, p99) in report.switches.iter_mut().zip([217.0, 434.0]) {
        switch.directions[0].tally.delay.p99_us = p99;
    }
    let text = page_text(&report);
    for wanted in ["/run/uml.ctl", "/run/old.ctl", "0.22 ms", "0.43 ms", "0.50x", "40 (4.0 %)"] {
        assert!(text.contains(wanted), "{wanted} in {text}");
    }
    let slowest = report.switches[1].directions[0].tally.delay.max_us;
    assert!(text.contains(&time(slowest)));
    let picture = picture_text(&report);
    for wanted in ["/run/uml.ctl", "0.22 ms", "0.43 ms", "4.0 % lost", "Frames to the server"] {
        assert!(picture.contains(wanted), "{wanted} in {picture}");
    }
}

#[test]
fn every_direction_has_its_delays_and_its_time_and_there_are_bursts_and_lateness() {
    let names = ["to the server", "from the server", "others"];
    let directions = || names.iter().map(|name| direction(name, 200, 1, &spread(40.0, 3.0)));
    let both = vec![switch("a", directions().collect()), switch("b", directions().collect())];
    assert_eq!(drawings(&report(both)), 2 * names.len() + 2);
}

#[test]
fn flows_sizes_stations_notes_and_the_run_are_told() {
    let report = report(vec![switch("a", vec![direction("to the server", 9, 0, &[5.0])])]);
    let text = page_text(&report);
    for wanted in [
        "10.0.0.2:27015 > 10.0.0.9:27005",
        "65 to 128 bytes",
        "fe:fd:0a:00:00:01",
        "10.0.0.1",
        "port",
        "A gap of 4 s was shortened.",
        "through a",
        "as recorded",
        "uml_replay 0.1.0",
        "2 to 4 frames",
    ] {
        assert!(text.contains(wanted), "{wanted} in {text}");
    }
}

#[test]
fn a_table_has_all_its_columns_where_a_switch_lacks_a_flow() {
    let one = || vec![direction("to the server", 9, 0, &[5.0])];
    let mut report = report(vec![switch("a", one()), switch("b", one())]);
    report.switches[1].flows.clear();
    let mut page = Vec::new();
    write(&report, &mut page).expect("memory takes all");
    let page = String::from_utf8(page).expect("the page is text");
    let page = page.split_once("The busiest flows").expect("a table of flows").1;
    let table = page.split_once("</table>").expect("an end of the table").0;
    let cells = |row: &str| row.matches("</th>").count() + row.matches("</td>").count();
    let rows: Vec<usize> = table.split("</tr>").map(cells).filter(|cells| *cells > 0).collect();
    assert_eq!(rows, [10; 3]);
}

#[test]
fn names_are_never_taken_for_markup() {
    let evil = "</title><script>alert('&amp;')</script>\u{1b}\u{0}\"";
    let mut report = report(vec![switch(evil, vec![direction(evil, 5, 1, &[5.0, 7.0])])]);
    report.capture.file = evil.to_owned();
    report.capture.server = Some(evil.to_owned());
    report.program = evil.to_owned();
    report.notes = vec![evil.to_owned()];
    report.stations[0].mac = evil.to_owned();
    report.stations[0].address = evil.to_owned();
    report.bar = Some(bar(false, &[evil]));
    let switch = &mut report.switches[0];
    for name in [&mut switch.flows[0].name, &mut switch.sizes[0].name, &mut switch.bursts[0].name] {
        *name = evil.to_owned();
    }
    let mut page = Vec::new();
    write(&report, &mut page).expect("memory takes all");
    picture(&report, &mut page).expect("memory takes all");
    assert!(!String::from_utf8_lossy(&page).contains("<script"));
    let readable = "</title><script>alert('&amp;')</script>\u{fffd}\u{fffd}\"";
    assert!(page_text(&report).contains(readable));
    assert!(picture_text(&report).contains("script>"));
}

#[test]
fn an_empty_report_is_drawn_and_says_so() {
    let text = page_text(&report(Vec::new()));
    assert!(text.contains("No switch was measured."));
    assert!(picture_text(&report(Vec::new())).contains("No switch was measured."));

    let idle = report(vec![switch("a", Vec::new())]);
    assert!(page_text(&idle).contains("Nothing to judge: no frames were due."));
    assert!(picture_text(&idle).contains("Nothing to judge"));
}

#[test]
fn a_single_frame_and_no_frame_at_all_are_drawn() {
    for (due, lost, samples) in [(0, 0, &[][..]), (1, 0, &[12.0][..]), (1, 1, &[][..])] {
        let one = vec![direction("from the server", due, lost, samples)];
        let other = vec![direction("to the server", due, lost, samples)];
        let report = report(vec![switch("a", one), switch("b", other)]);
        let text = page_text(&report) + &picture_text(&report);
        assert_eq!(text.contains("none of the frames from the server came"), lost == 1, "{text}");
    }
}

#[test]
fn numbers_that_are_none_do_not_spoil_a_drawing() {
    let mut report = report(vec![switch("a", vec![direction("others", 8, 2, &spread(9.0, 2.0))])]);
    report.run.speed = Some(f64::NAN);
    report.capture.seconds = f64::INFINITY;
    let switch = &mut report.switches[0];
    switch.seconds = f64::NAN;
    let direction = &mut switch.directions[0];
    direction.over_time[0].at_s = f64::NAN;
    direction.over_time[0].max_us = f64::INFINITY;
    direction.tally.lost_percent = f64::NAN;
    for value in [&mut direction.tally.delay, &mut switch.lateness] {
        (value.min_us, value.p50_us, value.p99_us) = (-1.0, f64::NAN, f64::NEG_INFINITY);
        value.max_us = f64::INFINITY;
        value.distribution[0].at_most_us = f64::NAN;
    }
    assert!(!page_text(&report).contains("NaN"));
    assert!(!picture_text(&report).contains("NaN"));
}

#[test]
fn the_bar_is_told_with_what_is_not_met() {
    let mut report = report(vec![switch("a", vec![direction("others", 8, 2, &[7.0])])]);
    report.bar = Some(bar(true, &[]));
    let text = page_text(&report);
    assert!(text.contains("The bar is met: 99 % of the frames of each direction within 500 µs"));
    assert!(text.contains("at most 0.5 % of the frames"));
    report.bar = Some(bar(false, &["others: 2 of 8 frames are lost"]));
    let text = page_text(&report);
    assert!(text.contains("The bar is not met"));
    assert!(text.contains("others: 2 of 8 frames are lost"));
}

#[test]
fn verdicts_follow_the_rule() {
    let cases = [
        (0, 210.0, 400.0, Grade::Nothing),
        (10, 210.0, 400.0, Grade::Nothing),
        (11, 210.0, 400.0, Grade::Felt),
        (101, 210.0, 400.0, Grade::Bad),
        (0, 1_000.0, 10_000.0, Grade::Nothing),
        (0, 1_001.0, 2_000.0, Grade::Frame),
        (0, 900.0, 10_001.0, Grade::Frame),
        (0, 10_001.0, 12_000.0, Grade::Felt),
        (0, 50_001.0, 60_000.0, Grade::Bad),
    ];
    for (lost, p99, p999, wanted) in cases {
        let mut judged = direction("from the server", 10_000, lost, &spread(30.0, 1.5));
        (judged.tally.delay.p99_us, judged.tally.delay.p999_us) = (p99, p999);
        let good = direction("to the server", 10_000, 0, &spread(30.0, 1.5));
        let verdict = Verdict::of(&switch("a", vec![good, judged]));
        assert_eq!(verdict.grade, wanted, "{lost} lost, {p99}, {p999}: {}", verdict.sentence);
    }
}

#[test]
fn verdicts_say_what_was_measured() {
    let mut good = direction("from the server", 1000, 0, &spread(30.0, 1.5));
    (good.tally.delay.p99_us, good.tally.delay.max_us) = (210.0, 1_230.0);
    let says = Verdict::of(&switch("a", vec![good])).sentence;
    assert_eq!(
        says,
        "Players feel nothing: 99 % of the frames to and from the server come within 0.21 ms, the \
         slowest within 1.23 ms, none is lost."
    );
    let mut bad = direction("from the server", 1000, 40, &spread(30.0, 1.5));
    bad.tally.delay.p99_us = 23_400.0;
    let says = Verdict::of(&switch("a", vec![bad])).sentence;
    assert_eq!(
        says,
        "Players feel it badly: 4.0 % of the frames from the server are lost, 1 in 100 frames from \
         the server takes more than 23.4 ms."
    );
}

#[test]
fn other_traffic_is_not_held_against_the_game() {
    let game = direction("to the server", 1000, 0, &spread(30.0, 1.5));
    let bulk = direction("others", 1000, 500, &spread(90_000.0, 1.5));
    let mixed = switch("a", vec![game, bulk]);
    assert_eq!(Verdict::of(&mixed).grade, Grade::Nothing);
    let bulk = direction("others", 1000, 500, &spread(90_000.0, 1.5));
    assert_eq!(Verdict::of(&switch("a", vec![bulk])).grade, Grade::Bad);
}

#[test]
fn a_late_replay_and_another_speed_are_not_hidden() {
    let mut report =
        report(vec![switch("a", vec![direction("others", 50, 0, &spread(80.0, 1.2))])]);
    assert!(reservations(&report).is_empty());
    assert!(!was_late(&report.switches[0]));
    report.switches[0].lateness = delay(&spread(70.0, 1.2));
    report.run.speed = None;
    report.capture.server = None;
    let text = page_text(&report);
    for wanted in
        ["The replay itself was late", "as fast as possible", "No game server could be told"]
    {
        assert!(text.contains(wanted), "{wanted} in {text}");
    }
}

#[test]
fn numbers_read_well() {
    let times = [0.0, 0.84, 31.2, 99.4, 210.0, 1_234.0, 12_340.0, 123_400.0, 1_500_000.0];
    let wanted =
        ["0 µs", "0.8 µs", "31 µs", "99 µs", "0.21 ms", "1.23 ms", "12.3 ms", "123 ms", "1.50 s"];
    assert_eq!(times.map(time), wanted);
    assert_eq!([0, 999, 1_000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
    assert_eq!(
        [0.0, 0.001, 0.4, 4.0, 40.0, 99.99, 100.0].map(percent),
        ["0 %", "under 0.01 %", "0.40 %", "4.0 %", "40 %", "over 99 %", "100 %"]
    );
    assert_eq!(ratio(47.0, 100.0).as_deref(), Some("0.47x"));
    assert_eq!(ratio(1.0, 0.0), None);
    assert_eq!(ratio(0.0, 0.0), None);
    assert_eq!(end_of("/run/very/long/uml.ctl", 8), "…uml.ctl");
    assert_eq!(lines("one two three", 8), ["one two", "three"]);
    assert_eq!(Escaped("a<b>&'\"").to_string(), "a&#60;b&#62;&#38;&#39;&#34;");
}

#[test]
fn an_axis_holds_its_delays_and_all_zones() {
    let axis = Delays::for_all([&delay(&[3.0, 90.0])]);
    assert_eq!(axis.at(1.0, 0.0, 100.0), 0.0);
    assert_eq!(axis.at(100_000.0, 0.0, 100.0), 100.0);
    assert_eq!(axis.at(0.0, 0.0, 100.0), 0.0);
    assert_eq!(axis.at(f64::INFINITY, 0.0, 100.0), 0.0, "no measurement gives that");
    let names: Vec<&str> = axis.ticks().map(|(_, name)| name).collect();
    assert_eq!(names, ["1 µs", "10 µs", "0.1 ms", "1 ms", "10 ms", "0.1 s"]);
    assert_eq!(Delays::for_all([&delay(&[300.0, 9e6])]).ticks().count(), 6);
    assert_eq!(axis::seconds(10.0), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
    assert_eq!(axis::seconds(0.0), [0.0]);
}

fn bar(met: bool, failures: &[&str]) -> BarReport {
    BarReport {
        max_p99_us: Some(500),
        max_loss_percent: Some(0.5),
        met,
        failures: failures.iter().map(|&failure| failure.to_owned()).collect(),
    }
}

#[test]
fn tallies_are_made_up_soundly() {
    let made_up = tally("x", 10, 4, &spread(30.0, 2.0));
    assert_eq!((made_up.received, made_up.lost_percent), (6, 40.0));
    let delay = made_up.delay;
    assert_eq!(delay.distribution.iter().map(|share| share.frames).sum::<u64>(), delay.count);
}
