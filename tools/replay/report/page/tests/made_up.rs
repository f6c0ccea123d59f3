//! Reports that nobody measured.

use crate::report::model::{
    BurstClass, CaptureSummary, Delay, DirectionReport, Interval, Report, RunSummary, SCHEMA,
    Share, StationSummary, SwitchReport, Tally,
};

/// A report of these switches, with one station, at recorded speed.
pub fn report(switches: Vec<SwitchReport>) -> Report {
    Report {
        schema: SCHEMA,
        program: "uml_replay 0.1.0".to_owned(),
        capture: CaptureSummary {
            file: "captures/game.pcap".to_owned(),
            frames: 27_600,
            skipped: 3,
            bytes: 4_100_000,
            seconds: 20.0,
            server: Some("10.0.0.2:27015".to_owned()),
            players: 32,
        },
        run: RunSummary {
            speed: Some(1.0),
            multiply: 1,
            passes: 3,
            turns: 3,
            max_dgram_qlen: Some(10),
        },
        stations: vec![StationSummary {
            mac: "fe:fd:0a:00:00:01".to_owned(),
            address: "10.0.0.1".to_owned(),
            attached: "port",
            frames: 12_800,
        }],
        switches,
        bar: None,
        notes: vec!["A gap of 4 s was shortened.".to_owned()],
    }
}

/// A switch with these directions; all else follows from the first of them.
pub fn switch(name: &str, directions: Vec<DirectionReport>) -> SwitchReport {
    let (due, lost) = directions
        .iter()
        .fold((0, 0), |(due, lost), one| (due + one.tally.due, lost + one.tally.lost));
    let samples = if due > lost { spread(40.0, 2.0) } else { Vec::new() };
    let some = |name: &str| tally(name, due, lost, &samples);
    SwitchReport {
        name: name.to_owned(),
        seconds: 20.0,
        total: some("all"),
        flows: vec![some("10.0.0.2:27015 > 10.0.0.9:27005"), some("the other 30 flows")],
        sizes: vec![some("65 to 128 bytes")],
        bursts: [("1 frame", 1.0), ("2 to 4 frames", 2.0), ("5 to 16 frames", 6.0)]
            .map(|(name, times)| BurstClass {
                name: name.to_owned(),
                bursts: due / 4,
                lost,
                last: delay(&samples.iter().map(|us| us * times).collect::<Vec<_>>()),
            })
            .into(),
        lateness: delay(&if due > 0 { spread(2.0, 1.3) } else { Vec::new() }),
        unexpected: 0,
        directions,
    }
}

/// A direction whose losses lie in every other interval.
pub fn direction(name: &str, due: u64, lost: u64, samples: &[f64]) -> DirectionReport {
    let tally = tally(name, due, lost, samples);
    let over_time = (0..if due > 0 { 100 } else { 0 })
        .map(|n| {
            let sway = 1.0 + 0.4 * (f64::from(n) * 0.7).sin();
            Interval {
                at_s: f64::from(n) * 0.2,
                due: due.div_ceil(100),
                lost: if n % 2 == 0 { lost.div_ceil(100) } else { 0 },
                p50_us: tally.delay.p50_us * sway,
                p99_us: tally.delay.p99_us * sway,
                max_us: tally.delay.max_us * sway,
            }
        })
        .collect();
    DirectionReport { tally, over_time }
}

/// Frames of which `lost` did not come, the others spread as `samples` are.
pub fn tally(name: &str, due: u64, lost: u64, samples: &[f64]) -> Tally {
    Tally {
        name: name.to_owned(),
        due,
        refused: 0,
        received: due - lost,
        lost,
        lost_percent: if due > 0 { lost as f64 * 100.0 / due as f64 } else { 0.0 },
        duplicated: 0,
        reordered: 0,
        delay: delay(samples),
    }
}

/// What a histogram would say of `samples`.
pub fn delay(samples: &[f64]) -> Delay {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (Some(&min), Some(&max)) = (sorted.first(), sorted.last()) else { return Delay::default() };
    let below = |part: f64| sorted[((sorted.len() - 1) as f64 * part) as usize];
    let mut distribution: Vec<Share> = Vec::new();
    for us in &sorted {
        let at_most_us = 1.1_f64.powf(us.log(1.1).ceil());
        match distribution.last_mut() {
            Some(last) if last.at_most_us == at_most_us => last.frames += 1,
            _ => distribution.push(Share { at_most_us, frames: 1 }),
        }
    }
    Delay {
        count: sorted.len() as u64,
        min_us: min,
        mean_us: sorted.iter().sum::<f64>() / sorted.len() as f64,
        p50_us: below(0.5),
        p90_us: below(0.9),
        p99_us: below(0.99),
        p999_us: below(0.999),
        max_us: max,
        distribution,
    }
}

/// A thousand delays about `middle`, one in 1000 of them `factor`⁶ longer or shorter.
pub fn spread(middle: f64, factor: f64) -> Vec<f64> {
    (0..1000_u32).map(|n| middle * factor.powf(bell((f64::from(n) + 0.5) / 1000.0))).collect()
}

/// Roughly where a part of a normal distribution lies, in standard deviations.
fn bell(part: f64) -> f64 {
    let odds = (part / (1.0 - part)).ln();
    odds / 1.7 * (1.0 + odds.abs() / 14.0)
}
