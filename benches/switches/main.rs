//! Compares this switch with the C `uml_switch` and with `vde_switch`: `tools/bench-switches`.
//!
//! Each scenario starts the competitors in turn, in several rounds, and drives them with clients that
//! speak as a UML kernel does. What counts is the ratio to the C program within a round, and its
//! median over the rounds.

// The modules of a program are reached by nobody else.
#![allow(unreachable_pub)]

mod client;
mod competitor;
mod exchange;
mod measure;
mod place;
mod runner;
mod scenario;
mod scenarios;
mod traffic;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use nix::sched::{CloneFlags, unshare};

use competitor::{Competitor, Kind};
use runner::Effort;

/// Compare this switch with the C uml_switch and with vde_switch
#[derive(Debug, Parser)]
struct Args {
    /// Rounds of each scenario
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,

    /// Seconds of measuring in place of each second: 0.05 is enough to see that all works
    #[arg(long, default_value_t = 1.0)]
    second: f64,

    /// Only scenarios whose name contains one of these
    #[arg(value_name = "NAME")]
    only: Vec<String>,

    /// Another build of this switch, as one more competitor
    #[arg(long, value_name = "PROGRAM")]
    also: Option<PathBuf>,

    /// Cargo gives this to every bench
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<()> {
    let args = Args::parse();
    // The queue length belongs to the namespace; the machine's own is left alone.
    unshare(CloneFlags::CLONE_NEWNET).context("a network namespace of its own needs root")?;
    let competitors = competitors(args.also);
    let effort = Effort { rounds: args.rounds, second: Duration::from_secs_f64(args.second) };
    let wanted =
        |name: &str| args.only.is_empty() || args.only.iter().any(|part| name.contains(part));
    for scenario in scenarios::all().iter().filter(|scenario| wanted(&scenario.name)) {
        let outcomes = runner::run(scenario, &competitors, effort, &|line| eprintln!("{line}"))?;
        for outcome in outcomes {
            println!("{} (qlen {})", outcome.scenario, outcome.queue_length);
            for figure in &outcome.figures {
                print!("  {:<24}", figure.metric.name);
                for who in 0..competitors.len() {
                    let median = figure.spread(who).map_or(f64::NAN, |spread| spread.median);
                    let ratio = figure.ratio(who, 0).map_or(f64::NAN, |spread| spread.median);
                    print!("  {median:>12.2} ({ratio:.2}x)");
                }
                println!("  {:?}", figure.reached(2, 0));
            }
        }
    }
    Ok(())
}

fn competitors(also: Option<PathBuf>) -> Vec<Competitor> {
    let ours = env!("CARGO_BIN_EXE_uml_switch");
    let mut all = vec![
        Competitor {
            name: "C uml_switch".into(),
            kind: Kind::Reference,
            program: "/usr/bin/uml_switch".into(),
        },
        Competitor {
            name: "vde_switch".into(),
            kind: Kind::Vde,
            program: "/usr/bin/vde_switch".into(),
        },
        Competitor { name: "uml_switch".into(), kind: Kind::Ours, program: ours.into() },
    ];
    all.extend(also.map(|program| Competitor {
        name: "other build".into(),
        kind: Kind::Ours,
        program,
    }));
    all
}
