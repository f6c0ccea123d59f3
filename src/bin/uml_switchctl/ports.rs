//! `uml_switchctl ports`.

use std::io::{self, Write};

use anyhow::{Context, Result};
use nix::unistd::{Uid, User};

use uml_switch::admin::client::Client;
use uml_switch::admin::protocol::{Port, Ports};

use crate::args::PortsArgs;

/// Shows the open ports.
///
/// # Errors
/// There is no switch, or nobody to show them to.
pub(crate) fn run(client: &Client, args: &PortsArgs) -> Result<()> {
    let ports = client.ports()?;
    let text =
        if args.json { serde_json::to_string(&Ports { ports })? + "\n" } else { table(&ports) };
    match io::stdout().write_all(text.as_bytes()) {
        // Whoever looks has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("cannot write to standard output"),
    }
}

/// A line for each port, in columns; numbers stand to the right.
fn table(ports: &[Port]) -> String {
    let mut rows = vec![HEADINGS.map(String::from)];
    rows.extend(ports.iter().map(row));
    let widths: [usize; COLUMNS] = std::array::from_fn(|column| {
        rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)
    });
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(widths).zip(IS_NUMBER).map(|((cell, width), is_number)| {
            if is_number { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
        text += cells.collect::<Vec<_>>().join("  ").trim_end();
        text += "\n";
    }
    text
}

fn row(port: &Port) -> [String; COLUMNS] {
    let counters = &port.counters;
    [
        port.number.to_string(),
        port.kind.clone(),
        port.owner.map_or_else(|| "-".to_owned(), owner),
        counters.rx_frames.to_string(),
        counters.rx_bytes.to_string(),
        counters.rx_dropped().to_string(),
        counters.tx_frames.to_string(),
        counters.tx_bytes.to_string(),
        counters.tx_dropped().to_string(),
        port.name.clone(),
    ]
    // A client may have had a part in its name.
    .map(|cell| cell.chars().map(|c| if c.is_control() { '?' } else { c }).collect())
}

fn owner(uid: u32) -> String {
    match User::from_uid(Uid::from_raw(uid)) {
        Ok(Some(user)) => user.name,
        _ => uid.to_string(),
    }
}

const COLUMNS: usize = 10;

const HEADINGS: [&str; COLUMNS] =
    ["PORT", "KIND", "OWNER", "RX", "RX-BYTES", "RX-DROP", "TX", "TX-BYTES", "TX-DROP", "NAME"];

const IS_NUMBER: [bool; COLUMNS] = [true, false, false, true, true, true, true, true, true, false];

#[cfg(test)]
mod tests {
    use uml_switch::core::PortCounters;

    use super::*;

    #[test]
    fn ports_stand_in_columns() {
        let uplink = Port { name: "uplink tap0".into(), kind: "tap".into(), ..Port::default() };
        let guest = Port {
            number: 12,
            name: "port 12 daemon uid 4294967294 (\u{1b}[31m)".into(),
            kind: "daemon".into(),
            owner: Some(4_294_967_294),
            counters: PortCounters { rx_frames: 1234, rx_hairpin: 2, ..PortCounters::default() },
            ..Port::default()
        };
        let expected = "\
PORT  KIND    OWNER         RX  RX-BYTES  RX-DROP  TX  TX-BYTES  TX-DROP  NAME
   0  tap     -              0         0        0   0         0        0  uplink tap0
  12  daemon  4294967294  1234         0        2   0         0        0  port 12 daemon uid 4294967294 (?[31m)
";
        assert_eq!(table(&[uplink, guest]), expected);
    }
}
