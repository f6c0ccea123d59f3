//! `uml_replay`: replays a capture through a switch and measures what becomes of every frame.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`answer`] | the server that answers a replay, in a guest |
//! | [`args`] | the command line |
//! | [`capture`] | who is in a capture, and its frames in order |
//! | [`player`] | sends frames when they are due, and counts what comes |
//! | [`mod@report`], [`bar`] | what was found out, as table, JSON and page, and whether it will do |

// The modules of a program are reached by nobody else.
#![allow(unreachable_pub)]

mod answer;
mod args;
mod bar;
mod capture;
mod player;
mod report;

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use uml_switch::client::Mac;

use args::{Args, TapArg};
use bar::Bar;
use capture::{Addresses, Capture, CaptureError, Options, ShownMac, Station, StationId};
use player::{Interrupted, Plan, Reach, Side, Signals};
use report::model::{CaptureSummary, Report, RunSummary, SCHEMA, StationSummary};

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Where it cannot be printed there is nobody to tell.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    let error = match run(&args) {
        Ok(true) => return ExitCode::SUCCESS,
        Ok(false) => return ExitCode::from(BAR_NOT_MET),
        Err(error) => error,
    };
    if let Some(&Interrupted(signal)) = error.downcast_ref() {
        uml_switch::sys::die_by(signal);
    }
    let _ = writeln!(io::stderr(), "uml_replay: {error:#}");
    let is_capture = error.downcast_ref::<CaptureError>().is_some();
    if is_capture { ExitCode::from(BAD_CAPTURE) } else { ExitCode::FAILURE }
}

/// False if the bar is not met.
fn run(args: &Args) -> Result<bool> {
    if let Some(address) = args.answer {
        return answer::serve(address, args.tick()).map(|()| true);
    }
    let options = Options {
        max_gap: args.max_gap,
        repair: args.repair,
        multiply: args.multiply,
        ..Options::default()
    };
    let capture = Capture::open(args.capture(), options)?;
    let tap = args.tap.as_ref().map(|tap| tap_station(tap, capture.stations())).transpose()?;
    let answering = args.answering.map(|mac| station_of(mac, capture.stations())).transpose()?;
    anyhow::ensure!(
        answering.is_none() || tap != answering,
        "the same station cannot be the uplink and answer"
    );
    let signals = Signals::hold().context("cannot hold signals back")?;
    uml_switch::runtime::raise_descriptor_limit();

    let mut sides = Vec::new();
    let switches = args.switches().into_iter().zip(args.names()).zip(taps(args, tap));
    for ((switch, name), tap) in switches {
        let reach = Reach { switch, name, tap, answering };
        sides.push(Side::attach(&capture, &reach, &signals)?);
    }
    let plan =
        Plan { speed: args.speed.0, length: args.length(), before_turns: args.turn_command() };
    player::play(plan, capture.duration(), &mut sides, &signals)?;

    let report = summarise(args, &capture, (tap, answering), &sides);
    drop(sides);
    show(args, &report)?;
    Ok(report.bar.is_none_or(|bar| bar.met))
}

/// The station that `--tap` means.
fn tap_station(tap: &TapArg, stations: &[Station]) -> Result<StationId> {
    let Some(mac) = tap.mac else {
        let uplink = stations.iter().position(|station| station.is_uplink);
        return uplink
            .map(|place| StationId(place as u32))
            .context("no station of the capture looks like an uplink: name one, --tap DEV=MAC");
    };
    station_of(mac, stations)
}

/// The station with the address `mac`.
fn station_of(mac: Mac, stations: &[Station]) -> Result<StationId> {
    let found = stations.iter().position(|station| station.mac == mac);
    found
        .map(|place| StationId(place as u32))
        .with_context(|| format!("no station of the capture has the address {}", ShownMac(mac)))
}

/// The uplinks of both switches.
fn taps(args: &Args, station: Option<StationId>) -> [Option<(String, StationId)>; 2] {
    let first = args.tap.as_ref().map(|tap| tap.device.clone());
    [first, args.compare_tap.clone()].map(|device| Some((device?, station?)))
}

fn summarise(
    args: &Args,
    capture: &Capture,
    (tap, answering): (Option<StationId>, Option<StationId>),
    sides: &[Side<'_>],
) -> Report {
    let (passes, turns) = sides[0].passes_and_turns();
    let bar = Bar { max_p99: args.max_p99, max_loss: args.max_loss };
    let stations = capture.stations().iter().zip(0..);
    Report {
        schema: SCHEMA,
        program: concat!("uml_replay ", env!("CARGO_PKG_VERSION")).into(),
        capture: CaptureSummary {
            file: args.capture().display().to_string(),
            frames: capture.frames(),
            skipped: capture.skipped(),
            bytes: capture.bytes(),
            seconds: capture.duration().as_secs_f64(),
            server: capture.server().map(|server| server.to_string()),
            players: capture.players(),
        },
        run: RunSummary {
            speed: args.speed.0,
            multiply: args.multiply,
            passes,
            turns,
            max_dgram_qlen: max_dgram_qlen(),
        },
        stations: stations
            .map(|(station, number)| StationSummary {
                mac: ShownMac(station.mac).to_string(),
                address: address(station.addresses),
                attached: match Some(StationId(number)) {
                    station if station == tap => "tap",
                    station if station == answering => "answering",
                    _ => "port",
                },
                frames: station.frames,
            })
            .collect(),
        switches: sides.iter().map(Side::report).collect(),
        bar: bar.judge(sides[0].directions()),
        notes: notes(capture, answering),
    }
}

fn notes(capture: &Capture, answering: Option<StationId>) -> Vec<String> {
    let mut notes = capture.notes().to_vec();
    if let Some(server) = answering.map(|server| &capture.stations()[server.0 as usize]) {
        let (mac, frames) = (ShownMac(server.mac), server.frames);
        notes.push(format!("{mac} is a real machine: its {frames} frames were not replayed"));
    }
    notes
}

fn address(addresses: Addresses) -> String {
    match addresses {
        Addresses::None => "no IP address".into(),
        Addresses::One(address) => address.to_string(),
        Addresses::Many(count) => format!("{count} IP addresses"),
    }
}

fn max_dgram_qlen() -> Option<u32> {
    fs::read_to_string("/proc/sys/net/unix/max_dgram_qlen").ok()?.trim().parse().ok()
}

fn show(args: &Args, report: &Report) -> Result<()> {
    let mut stdout = io::stdout().lock();
    match args.json.as_deref() {
        Some(file) if file == Path::new("-") => report::write_json(report, file)?,
        other => {
            write!(stdout, "{}", report::table(report)).context("cannot print the report")?;
            if let Some(file) = other {
                report::write_json(report, file)?;
            }
        }
    }
    if let Some(file) = &args.html {
        report::write_file(file, |mut to| Ok(report::page::write(report, &mut to)?))?;
    }
    if let Some(file) = &args.svg {
        report::write_file(file, |mut to| Ok(report::page::picture(report, &mut to)?))?;
    }
    Ok(())
}

/// Exit code for a capture that cannot be replayed.
const BAD_CAPTURE: u8 = 2;

/// Exit code when players would feel it.
const BAR_NOT_MET: u8 = 3;
