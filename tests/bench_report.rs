//! The report of `benches/switches`: a bench without a harness runs no tests of its own.
#![allow(unreachable_pub, dead_code, missing_docs)] // The modules are a bench's, which uses them all.

#[path = "../benches/switches/measure.rs"]
mod measure;
#[path = "../benches/switches/report/mod.rs"]
mod report;

use measure::{Better, Figure, Goal, Metric, Outcome, Spread, Unit};
use report::axis::Axis;
use report::machine::{Machine, model};
use report::{Contender, Report, Role, family, format, json, page, picture, svg, table};

const NONE: Option<f64> = None;

/// "delivered", of which more is better.
fn delivered(goal: Option<Goal>, values: &[&[Option<f64>]]) -> Figure {
    figure("delivered", Unit::PerSecond, Better::Higher, goal, values)
}

/// "lost", of which less is better.
fn lost(goal: Option<Goal>, values: &[&[Option<f64>]]) -> Figure {
    figure("lost", Unit::Percent, Better::Lower, goal, values)
}

fn figure(
    name: &'static str,
    unit: Unit,
    better: Better,
    goal: Option<Goal>,
    values: &[&[Option<f64>]],
) -> Figure {
    let metric = Metric { name, unit, better, goal };
    Figure { metric, values: values.iter().map(|rounds| rounds.to_vec()).collect() }
}

fn outcome(scenario: &str, figures: Vec<Figure>) -> Outcome {
    Outcome { scenario: scenario.to_owned(), queue_length: 10, figures }
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

const THREE: &[&str] = &["C uml_switch", "vde_switch", "uml_switch"];

fn report(outcomes: Vec<Outcome>) -> Report {
    let roles = [Role::Reference, Role::Other, Role::Ours];
    let contenders = THREE.iter().zip(roles);
    let mut report = Report {
        competitors: contenders
            .map(|(&name, role)| Contender { name: name.to_owned(), role, version: None })
            .collect(),
        outcomes: Vec::new(),
        machine: Machine { cpu: Some("Some <CPU>".to_owned()), processors: 2, kernel: None },
        date: "2026-11-22T02:03:04Z".to_owned(),
        rounds: 3,
        second: 1.0,
    };
    report.add(&names(THREE), outcomes);
    report
}

/// One scenario in which a goal is reached, one is missed, and one cannot be judged.
fn sample() -> Report {
    report(vec![outcome(
        "flood to 32 & \"more\"",
        vec![
            delivered(
                Some(Goal::RatioAtLeast(1.8)),
                &[
                    &[Some(98_000.0), Some(102_000.0), Some(100_000.0)],
                    &[Some(50_000.0), NONE, Some(60_000.0)],
                    &[Some(196_000.0), Some(214_200.0), Some(205_000.0)],
                ],
            ),
            lost(Some(Goal::AtMost(0.0)), &[&[Some(8.0)], &[Some(61.0)], &[Some(0.5)]]),
            figure(
                "p50",
                Unit::Microseconds,
                Better::Lower,
                Some(Goal::RatioAtMost(0.9)),
                &[&[NONE], &[Some(20.0)], &[Some(15.0)]],
            ),
        ],
    )])
}

/// The usual three, and ours twice more with clients of other transports, which lose what it does not; and
/// those of one transport beside `vde_switch`.
fn with_transports() -> Report {
    let mut report = sample();
    for name in ["uml_switch bess", "uml_switch vde"] {
        report.competitors.push(Contender {
            name: name.to_owned(),
            role: Role::Ours,
            version: None,
        });
    }
    let goals = [Goal::RatioAtLeast(2.0), Goal::AtMost(0.0)].map(Some);
    let all = outcome(
        "overload, 64 bytes",
        vec![
            delivered(goals[0], &[&[Some(2.0)], &[Some(1.0)], &[Some(4.0)], &[Some(3.0)], &[NONE]]),
            lost(goals[1], &[&[Some(8.0)], &[Some(9.0)], &[Some(0.0)], &[Some(0.5)], &[NONE]]),
        ],
    );
    report.outcomes.clear();
    let names_of_all: Vec<String> = report.competitors.iter().map(|c| c.name.clone()).collect();
    report.add(&names_of_all, vec![all]);
    let p50 = figure(
        "p50",
        Unit::Microseconds,
        Better::Lower,
        Some(Goal::RatioAtMost(0.9)),
        &[&[Some(20.0)], &[Some(19.0)]],
    );
    let lone = outcome("lone round trip of libvdeplug clients", vec![p50]);
    report.add(&names(&["vde_switch", "uml_switch vde"]), vec![lone]);
    report
}

#[test]
fn a_ratio_is_asked_of_the_first_column_of_ours_and_the_rest_of_all() {
    let report = with_transports();
    let judged: Vec<(&str, &str, Option<bool>)> = report
        .judgements()
        .map(|goal| {
            let name = &report.competitors[goal.who].name;
            (goal.figure.metric.name, name.as_str(), goal.reached)
        })
        .collect();
    assert_eq!(
        judged,
        [
            ("delivered", "uml_switch", Some(true)),
            ("lost", "uml_switch", Some(true)),
            ("lost", "uml_switch bess", Some(false)),
            ("lost", "uml_switch vde", None),
            ("p50", "uml_switch vde", Some(false)),
        ]
    );
    let expected = "\
MISSED: overload, 64 bytes (qlen 10): uml_switch bess: lost 0.500 %, wanted <= 0
MISSED: lone round trip of libvdeplug clients (qlen 10): uml_switch vde: p50 0.950x, wanted <= 0.9x
not judged: overload, 64 bytes (qlen 10): uml_switch vde: lost -, wanted <= 0
2 of 5 goals reached
";
    assert_eq!(table::verdict(&report), expected);
    assert_eq!([0, 1].map(|n| report.failed(&report.outcomes[n])), [true, false]);
}

#[test]
fn a_table_has_the_columns_that_took_part_and_ratios_to_the_first() {
    let report = with_transports();
    let expected = "\
overload, 64 bytes (qlen 10)
                            C uml_switch  vde_switch         uml_switch       uml_switch bess    uml_switch vde       goal
  delivered, /s                     2.00        1.00 0.500x        4.00  2.00x        3.00  1.50x           -         >= 2x    reached
  lost, %                           8.00        9.00                  0              0.500                  -         <= 0     MISSED
";
    assert_eq!(table::block(&report, &report.outcomes[0]), expected);
    let expected = "\
lone round trip of libvdeplug clients (qlen 10)
                              vde_switch uml_switch vde                  goal
  p50, us                           20.0        19.0 0.950x              <= 0.9x  MISSED
";
    assert_eq!(table::block(&report, &report.outcomes[1]), expected);
}

#[test]
fn json_and_picture_name_the_reference_and_who_is_judged() {
    let report = with_transports();
    let document: serde_json::Value = serde_json::from_str(&json::text(&report).unwrap()).unwrap();
    let counts = serde_json::json!({ "reached": 2, "missed": 2, "not_judged": 1 });
    assert_eq!(document["goals"], counts);
    let references = [0, 1].map(|n| document["outcomes"][n]["reference"].as_str());
    assert_eq!(references, [Some("C uml_switch"), Some("vde_switch")]);
    let lost = &document["outcomes"][0]["figures"][1];
    assert_eq!(lost["reached"], false);
    let of_vde_switch = lost["results"][1].as_object().unwrap();
    assert!(!of_vde_switch.contains_key("reached"), "it is not judged");
    assert_eq!(lost["results"][3]["reached"], false);
    assert_eq!(lost["results"][4].get("reached"), Some(&serde_json::Value::Null));
    let picture = picture(&report).unwrap();
    assert!(picture.contains(">p50 to vde_switch<"));
    assert!(picture.contains(">8.00 → 0.500 %<"), "the value that misses the goal");
    page::html(&report);
}

#[test]
fn a_long_legend_has_more_lines_and_the_charts_move_down() {
    let marks = |report: &Report| picture(report).unwrap();
    let height = |svg: &str| {
        let after = svg.split_once("height=\"").unwrap().1;
        after.split_once('"').unwrap().0.parse::<u32>().unwrap()
    };
    let mut report = sample();
    let before = height(&marks(&report));
    for n in 0..6 {
        let name = format!("one more switch {n}");
        report.competitors.push(Contender { name, role: Role::Other, version: None });
    }
    assert_eq!(height(&marks(&report)), before + 20);
}

#[test]
fn a_spread_is_the_middle_value_and_the_bounds() {
    assert_eq!(Spread::of([]), None);
    let one = Spread { median: 3.0, least: 3.0, most: 3.0 };
    assert_eq!(Spread::of([3.0]), Some(one));
    let odd = Spread { median: 3.0, least: 1.0, most: 50.0 };
    assert_eq!(Spread::of([50.0, 1.0, 3.0]), Some(odd));
    let even = Spread { median: 2.5, least: 1.0, most: 50.0 };
    assert_eq!(Spread::of([50.0, 1.0, 3.0, 2.0]), Some(even));
}

#[test]
fn ratios_are_taken_within_a_round_that_both_have() {
    let values: &[&[Option<f64>]] = &[
        &[Some(10.0), Some(100.0), NONE, Some(0.0)],
        &[Some(20.0), Some(50.0), Some(7.0), Some(7.0)],
    ];
    let ratio = delivered(None, values).ratio(1);
    assert_eq!(ratio, Some(Spread { median: 1.25, least: 0.5, most: 2.0 }));
    assert_eq!(delivered(None, values).ratio(2), None);
}

#[test]
fn goals_are_judged_by_the_median() {
    let values: &[&[Option<f64>]] = &[&[Some(10.0); 3], &[Some(1.0), Some(20.0), Some(30.0)]];
    for (goal, reached) in [
        (Goal::RatioAtLeast(2.0), true),
        (Goal::RatioAtLeast(2.1), false),
        (Goal::RatioAtMost(2.0), true),
        (Goal::RatioAtMost(1.9), false),
        (Goal::AtLeast(20.0), true),
        (Goal::AtLeast(21.0), false),
        (Goal::AtMost(20.0), true),
        (Goal::AtMost(19.0), false),
    ] {
        assert_eq!(delivered(Some(goal), values).reached(1), Some(reached), "{goal:?}");
    }
    assert_eq!(delivered(None, values).reached(1), None);
}

#[test]
fn a_goal_is_not_judged_without_figures() {
    let ours_failed: &[&[Option<f64>]] = &[&[Some(10.0)], &[NONE]];
    assert_eq!(delivered(Some(Goal::AtLeast(1.0)), ours_failed).reached(1), None);
    let reference_failed: &[&[Option<f64>]] = &[&[NONE], &[Some(10.0)]];
    assert_eq!(delivered(Some(Goal::RatioAtLeast(1.0)), reference_failed).reached(1), None);
    assert_eq!(delivered(Some(Goal::AtLeast(1.0)), reference_failed).reached(1), Some(true));
}

#[test]
fn where_the_reference_delivers_nothing_something_is_any_number_of_times_that() {
    let values: &[&[Option<f64>]] =
        &[&[Some(0.0), Some(0.0)], &[Some(5.0), Some(6.0)], &[Some(0.0)]];
    let figure = delivered(Some(Goal::RatioAtLeast(17.0)), values);
    assert_eq!((figure.reached(1), figure.reached(2)), (Some(true), Some(false)));
    let figure = delivered(Some(Goal::RatioAtMost(0.9)), values);
    assert_eq!((figure.reached(1), figure.reached(2)), (Some(false), Some(true)));
}

#[test]
fn who_brought_nothing_failed_unless_not_part_of_it() {
    let values: &[&[Option<f64>]] = &[&[Some(1.0), NONE], &[NONE, NONE], &[]];
    let outcome = outcome("any", vec![delivered(None, values), lost(None, values)]);
    let failed: Vec<usize> = (0..4).filter(|&who| outcome.failed(who)).collect();
    assert_eq!(failed, [1]);
}

#[test]
fn outcomes_with_other_competitors_are_put_in_the_reports_order() {
    let mut report = sample();
    let guests = delivered(None, &[&[Some(4.0)], &[Some(3.0)], &[Some(1.0)]]);
    let with_bridge = names(&["Linux bridge", "uml_switch", "C uml_switch"]);
    report.add(&with_bridge, vec![outcome("guests", vec![guests])]);
    let all: Vec<&str> = report.competitors.iter().map(|known| known.name.as_str()).collect();
    assert_eq!(all, ["C uml_switch", "vde_switch", "uml_switch", "Linux bridge"]);
    let expected = vec![vec![Some(1.0)], vec![], vec![Some(3.0)], vec![Some(4.0)]];
    assert_eq!(report.outcomes[1].figures[0].values, expected);
    // Each table has those who took part.
    let (before, after) = (&report.outcomes[0], &report.outcomes[1]);
    assert!(!table::block(&report, before).contains("bridge"));
    let block = table::block(&report, after);
    assert!(block.contains("Linux bridge") && !block.contains("vde_switch"), "{block}");
    page::html(&report);
}

#[test]
fn numbers_have_three_digits_that_count() {
    for (value, text) in [
        (0.0, "0"),
        (1.0, "1.00"),
        (9.996, "10.0"),
        (99.96, "100"),
        (9_999.0, "9999"),
        (9_999.9, "10.0k"),
        (98_312.0, "98.3k"),
        (999_700.0, "1.00M"),
        (0.4712, "0.471"),
        (0.9999, "1.00"),
        (0.0471, "0.047"),
        (0.002, "0.0020"),
        (0.000_02, "2e-5"),
        (f64::NAN, "-"),
        (f64::INFINITY, "-"),
    ] {
        assert_eq!(format::number(value), text, "{value}");
    }
    assert_eq!(format::ratio(0.4712), "0.471x");
    assert_eq!(format::ratio(0.0089), "0.009x");
    assert_eq!(format::ratio(0.0004), "<.001x");
    assert_eq!(format::goal(Goal::RatioAtMost(0.47)), "<= 0.47x");
    assert_eq!(format::goal(Goal::AtMost(12_000.0)), "<= 12000");
}

#[test]
fn the_table_has_a_line_for_each_figure() {
    let report = sample();
    let expected = "\
flood to 32 & \"more\" (qlen 10)
                            C uml_switch  vde_switch                     uml_switch                     goal
  delivered, /s                     100k       55.0k 0.555x  0.51..0.60        205k  2.05x  2.00..2.10  >= 1.8x  reached
  lost, %                           8.00        61.0                          0.500                     <= 0     MISSED
  p50, us                              -        20.0                           15.0                     <= 0.9x  -
";
    assert_eq!(table::block(&report, &report.outcomes[0]), expected);
    assert!(expected.lines().all(|line| line.chars().count() <= 120));
}

#[test]
fn the_verdict_counts_the_goals_and_names_the_missed() {
    let expected = "\
MISSED: flood to 32 & \"more\" (qlen 10): lost 0.500 %, wanted <= 0
not judged: flood to 32 & \"more\" (qlen 10): p50 -, wanted <= 0.9x
1 of 3 goals reached
";
    assert_eq!(table::verdict(&sample()), expected);
}

#[test]
fn json_keeps_every_value_and_what_came_of_it() {
    let text = json::text(&sample()).unwrap();
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(document["schema"], 1);
    assert_eq!(document["goals"]["missed"], 1);
    assert_eq!(document["machine"]["processors"], 2);
    let figure = &document["outcomes"][0]["figures"][0];
    assert_eq!((&figure["unit"], &figure["reached"]), (&"per_second".into(), &true.into()));
    assert_eq!(figure["goal"]["ratio_at_least"], 1.8);
    let vde = &figure["results"][1];
    assert_eq!(vde["competitor"], "vde_switch");
    assert_eq!(vde["values"], serde_json::json!([50_000.0, null, 60_000.0]));
    assert_eq!(vde["value"]["median"], 55_000.0);
    assert_eq!(figure["results"][2]["ratio"]["most"], 2.1);
}

#[test]
fn scenarios_that_differ_in_numbers_or_details_are_a_family() {
    for (scenario, name) in [
        ("burst of 64 to a reader that pauses", "burst to a reader that pauses"),
        ("lone round trip, two CPUs", "lone round trip"),
        ("flood to 32", "flood"),
        ("1000 ports: all of them", "ports"),
        ("64", "64"),
    ] {
        assert_eq!(family(scenario), name);
    }
}

#[test]
fn text_of_others_is_no_markup() {
    let text = "<b> & \"x\" 'y'\u{1b}\n";
    assert_eq!(svg::escape(text), "&lt;b&gt; &amp; &quot;x&quot; &#39;y&#39;\u{fffd}\n");
    let report = sample();
    for document in [page::html(&report), picture(&report).unwrap()] {
        assert!(document.contains("flood to 32 &amp; &quot;more&quot;"));
        assert!(!document.contains("32 & \"more\""));
    }
    assert!(page::html(&report).contains("Some &lt;CPU&gt;"));
}

#[test]
fn page_and_picture_need_no_other_file() {
    let report = sample();
    let without_namespace = |text: String| text.replace("http://www.w3.org/2000/svg", "");
    for document in [page::html(&report), picture(&report).unwrap()].map(without_namespace) {
        for word in ["http", "<script", "url(", "@import", "src="] {
            assert!(!document.contains(word), "{word}");
        }
        assert!(!document.contains("NaN") && !document.contains("inf"));
        assert!(document.contains("prefers-color-scheme:dark"));
    }
}

#[test]
fn without_goals_there_is_a_page_and_no_picture() {
    let values: &[&[Option<f64>]] = &[&[NONE], &[NONE], &[NONE]];
    let report = report(vec![outcome("any", vec![delivered(None, values)])]);
    assert_eq!(picture(&report), None);
    assert!(page::html(&report).contains("<h3>any</h3>"));
}

#[test]
fn each_doubling_is_as_long_as_the_next() {
    let axis = Axis::log([0.3, 3.0, f64::INFINITY], 100.0, 500.0);
    let places = [0.25, 0.5, 1.0, 2.0, 4.0].map(|ratio| axis.at(ratio));
    assert_eq!(places, [100.0, 200.0, 300.0, 400.0, 500.0]);
    let names: Vec<String> = axis.ticks().into_iter().map(|(_, name)| name).collect();
    assert_eq!(names, ["1/4x", "1/2x", "1x", "2x", "4x"]);
}

#[test]
fn what_is_beyond_an_axis_is_drawn_at_its_end() {
    let axis = Axis::log([1e-9, 1e9], 0.0, 100.0);
    assert_eq!(axis.at(1.0), 50.0);
    for (ratio, place) in [(0.0, 0.0), (1e-9, 0.0), (1e9, 100.0), (f64::INFINITY, 100.0)] {
        assert_eq!(axis.at(ratio), place, "{ratio}");
    }
    let small = Axis::log([], 0.0, 100.0);
    assert_eq!((small.at(0.5), small.at(2.0)), (0.0, 100.0));
}

#[test]
fn no_loss_is_at_the_right_end_and_one_percent_a_tenth_before() {
    let axis = Axis::percent(0.0, 100.0);
    for (percent, place) in [(0.0, 100.0), (1.0, 90.0), (25.0, 50.0), (100.0, 0.0), (200.0, 0.0)] {
        assert_eq!(axis.at(percent), place, "{percent} %");
    }
}

#[test]
fn the_cpus_model_is_read_where_there_is_one() {
    let text = "processor\t: 0\nmodel name\t: Some  CPU @ 2 GHz\nmodel name\t: Another\n";
    assert_eq!(model(text).as_deref(), Some("Some CPU @ 2 GHz"));
    assert_eq!(model("processor\t: 0\nBogoMIPS\t: 50\n"), None);
}
