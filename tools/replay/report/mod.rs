//! What a replay has found out, and the ways to show it.

pub mod model;
pub mod page;
mod table;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result};

use model::{Report, SwitchReport};

pub use table::table;

/// Writes the report as JSON to `file`, or to standard output if that is `-`.
///
/// # Errors
/// Those of the file.
pub fn write_json(report: &Report, file: &Path) -> Result<()> {
    let write = |to: &mut dyn Write| -> Result<()> {
        serde_json::to_writer_pretty(&mut *to, report)?;
        Ok(writeln!(to)?)
    };
    if file == Path::new("-") {
        return write(&mut io::stdout().lock());
    }
    write_file(file, |to| write(to))
}

/// Makes `file`, and lets `write` fill it.
///
/// # Errors
/// Those of the file.
pub fn write_file(file: &Path, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    let make = || -> Result<()> {
        let mut to = BufWriter::new(File::create(file)?);
        write(&mut to)?;
        Ok(to.flush()?)
    };
    make().with_context(|| format!("cannot write {}", file.display()))
}

/// Whether the replay's own lateness spoils what it has measured.
pub fn was_late(switch: &SwitchReport) -> bool {
    let (late, delay) = (switch.lateness.p99_us, switch.total.delay.p99_us);
    late > MOST_LATE_US || late > MOST_OF_DELAY * delay
}

/// A fiftieth of a server's frame at 100 a second: nobody would care about more precise figures.
const MOST_LATE_US: f64 = 200.0;

/// What part of the delay may be the replay's own: with more, the figures say little about the switch.
const MOST_OF_DELAY: f64 = 0.25;
