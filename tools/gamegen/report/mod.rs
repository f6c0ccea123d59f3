//! A capture's statistics beside the model's targets.

mod checks;
mod measure;
mod table;

use std::fmt::Write;
use std::path::Path;

use anyhow::Result;

use crate::model::Model;
use measure::Measured;

/// What `--report` prints, and whether all is as it should be.
#[derive(Debug)]
pub struct Report {
    pub text: String,
    pub passes: bool,
}

/// Compares a capture with the model that it was made from.
///
/// # Errors
/// When the file cannot be read, or is no capture of the kind that this program makes.
pub fn report(path: &Path, model: &Model) -> Result<Report> {
    let measured = Measured::read(path, model)?;
    let rows = checks::rows(&measured, model);
    let mut failed = rows.iter().filter(|row| !row.passes()).count();
    let mut text = String::new();
    for row in rows {
        text += &row.to_string();
    }

    text += CLIENTS;
    for (slot, client) in measured.clients.iter().enumerate() {
        let cells = checks::client_cells(slot, client, model);
        let passes = cells.iter().all(table::Cell::passes);
        failed += usize::from(!passes);
        let state = if model.is_alive(slot) { "alive" } else { "dead" };
        _ = write!(text, "  {slot:>4}  {state:<6}");
        for cell in cells {
            _ = write!(text, "{cell}");
        }
        text += if passes { " pass\n" } else { " FAIL\n" };
    }
    _ = match failed {
        0 => writeln!(text, "\nall as the model wants it"),
        n => writeln!(text, "\n{n} not as the model wants it"),
    };
    Ok(Report { text, passes: failed == 0 })
}

/// The heading of the clients' lines; `!` marks a number that is not as it should be.
const CLIENTS: &str = "
client          sends/s    p50 ms     bytes     gets/s     bytes
";
