//! `uml_switchctl`: looks into a switch that runs.
//!
//! It asks over the switch's admin socket, which is for root and the switch's own user, and runs with
//! nobody's rights but the caller's.
//!
//! Exit codes: 0 if what was asked for was done, which for a capture includes that a signal or its
//! reader ended it; 1 for a wrong command line, no switch, a refusal, an output that cannot be
//! written, and a switch that went away.

mod args;
mod capture;
mod output;
mod ports;
mod signals;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use args::{Args, Command};

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Where it cannot be printed there is nobody to tell.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    match run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(format_args!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> Result<()> {
    let client = args.client();
    match args.command {
        Command::Capture(args) => capture::run(&client, args),
        Command::Ports(args) => ports::run(&client, &args),
    }
}

/// One line on standard error; never fails, for there may be nobody to read it.
fn say(message: std::fmt::Arguments<'_>) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "uml_switchctl: {message}");
}
