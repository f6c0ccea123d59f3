//! Compares this switch with the C `uml_switch` and with `vde_switch`: `tools/bench-switches`.
//!
//! Each scenario starts its competitors in turn, in several rounds, and drives them with clients that
//! speak as a UML kernel does; some scenarios drive ours once more with clients of its other transports.
//! What counts is the ratio to the first competitor, the C program in nearly all of them, within a
//! round, and its median over the rounds. [`report`] shows the results.

// The modules of a program are reached by nobody else.
#![allow(unreachable_pub)]

mod competitor;
mod exchange;
mod guests;
mod measure;
mod mirror;
mod place;
mod progress;
mod report;
mod runner;
mod scenario;
mod scenarios;
mod traffic;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use competitor::{Competitor, Kind, Programs, USUAL};
use measure::Outcome;
use progress::Progress;
use report::machine::{Machine, first_line};
use report::{Contender, Report, Role, table};
use runner::Effort;
use scenario::{BOTH, Scenario};

/// Compare this switch with the C uml_switch and with vde_switch
#[derive(Debug, Parser)]
struct Args {
    /// Rounds of each scenario [default: 5]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,

    /// Measure for so long where a second is meant [default: 1]
    #[arg(long, value_name = "S", value_parser = seconds)]
    second: Option<f64>,

    /// A first look: --rounds 2 --second 0.25
    #[arg(long)]
    quick: bool,

    /// See that every scenario works, with one queue length and --rounds 1 --second 0.05; judge nothing
    #[arg(long, conflicts_with = "quick")]
    smoke: bool,

    /// Write the results as JSON to FILE
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Write a page with charts to FILE
    #[arg(long, value_name = "FILE")]
    page: Option<PathBuf>,

    /// Write the chart with all goals to FILE, as SVG
    #[arg(long, value_name = "FILE")]
    picture: Option<PathBuf>,

    /// Another build of this switch, as one more competitor
    #[arg(long, value_name = "PROGRAM")]
    also: Option<PathBuf>,

    /// Say which scenarios there are
    #[arg(long)]
    list: bool,

    /// Only scenarios whose name contains one of these
    #[arg(value_name = "NAME")]
    only: Vec<String>,

    /// Cargo gives this to every bench
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    compare(&Args::parse()).unwrap_or_else(|error| {
        eprintln!("bench-switches: {error:#}");
        ExitCode::FAILURE
    })
}

/// Does what the command line asks for; it failed if our switch did in a scenario.
fn compare(args: &Args) -> Result<ExitCode> {
    let scenarios = args.scenarios();
    if args.list {
        let with_guests = guests::names().filter(|name| args.wants(name));
        for name in scenarios.iter().map(|scenario| scenario.name.clone()).chain(with_guests) {
            println!("{name}");
        }
        return Ok(ExitCode::SUCCESS);
    }
    // The queue length belongs to the namespace; the machine's own is left alone.
    unshare(CloneFlags::CLONE_NEWNET).context("a network namespace of its own needs root")?;
    allow_descriptors(MOST_DESCRIPTORS)?;
    let report = run(args, &scenarios)?;
    ensure!(!report.outcomes.is_empty(), "nothing has a name like that; --list says what there is");
    if !args.smoke {
        print!("{}", table::verdict(&report));
    }
    args.write(&report)?;
    let failed: Vec<_> = report.outcomes.iter().filter(|outcome| report.failed(outcome)).collect();
    for outcome in &failed {
        eprintln!("FAILED: {} (qlen {})", outcome.scenario, outcome.queue_length);
    }
    Ok(if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs the scenarios and prints what each brings.
fn run(args: &Args, scenarios: &[Scenario]) -> Result<Report> {
    let effort = args.effort();
    let programs = Programs::new(args.also.clone());
    let mut report = Report {
        competitors: contenders(&programs, scenarios),
        outcomes: Vec::new(),
        machine: Machine::here(place::available()),
        date: OffsetDateTime::now_utc().replace_nanosecond(0)?.format(&Rfc3339)?,
        rounds: effort.rounds,
        second: effort.second.as_secs_f64(),
    };
    let progress = Progress::new(scenarios.len());
    for (n, scenario) in scenarios.iter().enumerate() {
        progress.begin(n + 1, &scenario.name);
        let competitors = programs.competitors(scenario.columns);
        let names: Vec<String> = competitors.iter().map(Competitor::name).collect();
        let outcomes = runner::run(scenario, &competitors, effort, &progress)?;
        progress.clear();
        args.take(&mut report, &names, outcomes);
    }
    let ours = Programs::ours();
    let lengths = args.queue_lengths(BOTH);
    let say = |line: &str| progress.say(line);
    let (names, outcomes) = guests::run(&|name| args.wants(name), lengths, effort, ours, &say)?;
    args.take(&mut report, &names, outcomes);
    Ok(report)
}

impl Args {
    /// Whether what has this name is to be run.
    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|part| name.contains(part))
    }

    /// What is to be run.
    fn scenarios(&self) -> Vec<Scenario> {
        let mut scenarios = scenarios::all();
        scenarios.retain(|scenario| self.wants(&scenario.name));
        for scenario in &mut scenarios {
            scenario.queue_lengths = self.queue_lengths(scenario.queue_lengths);
        }
        scenarios
    }

    /// Which of a scenario's queue lengths are run: to see that it works, one is enough.
    fn queue_lengths(&self, all: &'static [u32]) -> &'static [u32] {
        if self.smoke { &all[..1] } else { all }
    }

    fn effort(&self) -> Effort {
        let (rounds, second) = match (self.smoke, self.quick) {
            (true, _) => (1, 0.05),
            (_, true) => (2, 0.25),
            _ => (5, 1.0),
        };
        Effort {
            rounds: self.rounds.unwrap_or(rounds),
            second: Duration::from_secs_f64(self.second.unwrap_or(second)),
        }
    }

    /// Puts what has come out into the report, and on the screen.
    fn take(&self, report: &mut Report, names: &[String], outcomes: Vec<Outcome>) {
        let before = report.outcomes.len();
        report.add(names, outcomes);
        if !self.smoke {
            for outcome in &report.outcomes[before..] {
                println!("{}", table::block(report, outcome));
            }
        }
    }

    /// Writes the files that are asked for, or, unless this only was to see that all works, those
    /// that are written else. All are made in any case, to see that that works.
    fn write(&self, report: &Report) -> Result<()> {
        let usual = |name: &str| (!self.smoke).then(|| target_directory().join(name));
        let files = [
            (self.json.clone().or(usual("bench-switches.json")), Some(report::json::text(report)?)),
            (self.page.clone().or(usual("bench-switches.html")), Some(report::page::html(report))),
            (self.picture.clone(), report::picture(report)),
        ];
        for (file, text) in files {
            let Some(file) = file else { continue };
            let text = text.with_context(|| format!("{}: no goal, no chart", file.display()))?;
            fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
            eprintln!("written: {}", file.display());
        }
        Ok(())
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.001..=1000.0).contains(seconds));
    seconds.ok_or_else(|| "not a number from 0.001 to 1000".to_owned())
}

/// Where cargo builds: that of the tests' and benches' own files is in it.
fn target_directory() -> &'static Path {
    let own = Path::new(env!("CARGO_TARGET_TMPDIR"));
    own.parent().unwrap_or(own)
}

/// Who takes part in the scenarios, each once; the usual ones in any case.
fn contenders(programs: &Programs, scenarios: &[Scenario]) -> Vec<Contender> {
    let columns = scenarios.iter().map(|scenario| scenario.columns);
    let mut contenders: Vec<Contender> = Vec::new();
    for competitor in [USUAL].into_iter().chain(columns).flat_map(|c| programs.competitors(c)) {
        if contenders.iter().all(|known| known.name != competitor.name()) {
            contenders.push(contender(&competitor));
        }
    }
    contenders
}

/// Lets us and the switches that we start have `most` open files, or as many as we may.
fn allow_descriptors(most: u64) -> Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < most {
        setrlimit(Resource::RLIMIT_NOFILE, most.min(hard), hard)?;
    }
    Ok(())
}

/// What the report says of a competitor.
fn contender(competitor: &Competitor) -> Contender {
    let own_word = || first_line(&competitor.program, &["--version"]);
    let (role, version) = match competitor.column.kind {
        // It tells no version itself.
        Kind::Reference => {
            let query = ["-W", "-f", "${Package} ${Version}", "uml-utilities"];
            (Role::Reference, first_line(Path::new("dpkg-query"), &query))
        }
        Kind::Ours if competitor.program == Programs::ours() => (Role::Ours, own_word()),
        Kind::Ours | Kind::Vde => (Role::Other, own_word()),
    };
    Contender { name: competitor.name(), role, version }
}

/// Two for each of 1000 guests, and some.
const MOST_DESCRIPTORS: u64 = 4096;
