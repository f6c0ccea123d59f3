//! `uml_gamegen`: makes captures of game traffic, to replay through the switch.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`args`] | the command line |
//! | [`model`] | every number of the traffic, with its source |
//! | [`laws`], [`random`] | sizes and intervals: drawing them, and what to expect |
//! | [`goldsrc`], [`wire`] | packets as the game makes them, and the frames around them |
//! | [`world`] | clients, server and the rest, on one clock |
//! | [`capture`] | the file |
//! | [`report`] | a capture beside the model's targets |

// The modules of a program are reached by nobody else.
#![allow(unreachable_pub)]

mod args;
mod capture;
mod goldsrc;
mod laws;
mod model;
mod random;
mod report;
mod wire;
mod world;

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{CommandFactory, Parser};

use args::Args;
use model::Model;
use world::World;

fn main() -> ExitCode {
    let args = Args::parse();
    let model = args.model().unwrap_or_else(|error| {
        Args::command().error(clap::error::ErrorKind::ValueValidation, error).exit()
    });
    match run(&args, model).with_context(|| args.file.display().to_string()) {
        Ok(code) => code,
        Err(error) => {
            _ = writeln!(io::stderr(), "uml_gamegen: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(args: &Args, model: Model) -> Result<ExitCode> {
    if !args.report {
        let frames = capture::write(&args.file, World::new(model))?;
        writeln!(io::stdout(), "{}: {frames} frames", args.file.display())?;
        return Ok(ExitCode::SUCCESS);
    }
    let report = report::report(&args.file, &model)?;
    write!(io::stdout(), "{}\n{}", args.file.display(), report.text)?;
    Ok(if report.passes { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
