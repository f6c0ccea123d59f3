//! What a station's kernel has counted.

use anyhow::{Context, Result};

/// The counters of one interface, and of the station's UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counters {
    pub received: u64,
    /// Received, and dropped before a socket had them, or by a socket that was full.
    pub dropped_at_receipt: u64,
    pub sent: u64,
    /// Not sent: what is to carry them had no room.
    pub dropped_at_sending: u64,
}

/// What prints them, in a shell.
pub const COMMAND: &str = "cat /proc/net/dev /proc/net/snmp";

impl Counters {
    /// Reads the counters of `interface` in what [`COMMAND`] prints.
    pub fn parse(printed: &str, interface: &str) -> Result<Counters> {
        let line = printed.lines().find_map(|line| {
            let (name, columns) = line.split_once(':')?;
            (name.trim() == interface).then_some(columns)
        });
        let columns: Vec<u64> = numbers(line.context("no such interface")?)?;
        let column = |at: usize| columns.get(at).copied().context("too few columns");
        // The first line that begins with "Udp:" has the names.
        let udp = printed.lines().filter_map(|line| line.strip_prefix("Udp:")).nth(1);
        let udp = numbers(udp.context("no UDP counters")?)?;
        let udp_errors = udp.get(2).context("too few UDP counters")?;
        Ok(Counters {
            received: column(1)?,
            dropped_at_receipt: column(3)? + udp_errors,
            sent: column(9)?,
            dropped_at_sending: column(11)?,
        })
    }

    /// What has been counted since `before`.
    pub fn since(self, before: Counters) -> Counters {
        Counters {
            received: self.received.saturating_sub(before.received),
            dropped_at_receipt: self.dropped_at_receipt.saturating_sub(before.dropped_at_receipt),
            sent: self.sent.saturating_sub(before.sent),
            dropped_at_sending: self.dropped_at_sending.saturating_sub(before.dropped_at_sending),
        }
    }
}

fn numbers(columns: &str) -> Result<Vec<u64>> {
    columns.split_whitespace().map(|number| Ok(number.parse()?)).collect()
}
