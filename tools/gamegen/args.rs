//! The command line, and the model that it asks for.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use crate::laws::Shape;
use crate::model::{self, Model, SECOND};
use crate::wire::MOST_PLAYERS;

/// Make a capture of a Half-Life, Team Fortress or Counter-Strike server's traffic.
///
/// The same options make the same file, byte for byte, on every machine. The server is a guest;
/// frames are as its switch sees them. The file is a classic pcap with nanoseconds.
#[derive(Debug, Parser)]
#[command(
    name = "uml_gamegen",
    version,
    after_help = "Exit code: 0; 1 if --report finds the capture not to be as the model wants it; \
        2 for a wrong command line or a file that cannot be read or written."
)]
pub struct Args {
    /// The capture to make
    pub file: PathBuf,

    /// Compare FILE, made with these same options, with the model, instead of making it
    #[arg(long)]
    pub report: bool,

    /// How many clients are connected
    #[arg(long, value_name = "N", default_value_t = 32,
        value_parser = clap::value_parser!(u16).range(1..=MOST_PLAYERS as i64))]
    clients: u16,

    /// Length of the capture
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0,
        value_parser = |word: &str| number(word, 0.1..=86_400.0))]
    seconds: f64,

    /// Another number makes another game of the same kind
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u32,

    /// Packets a second that a client sends; by default 23.98, as measured
    #[arg(long, value_name = "RATE", value_parser = |word: &str| number(word, 1.0..=1000.0))]
    client_rate: Option<f64>,

    /// Packets a second that the server sends to each client (cl_updaterate); the next whole number
    /// of the server's frames decides
    #[arg(long, value_name = "RATE", default_value_t = 20.0,
        value_parser = |word: &str| number(word, 1.0..=1000.0))]
    updaterate: f64,

    /// Frames a second that the server computes (sys_ticrate); packets leave in frames only
    #[arg(long, value_name = "N", default_value_t = 100,
        value_parser = clap::value_parser!(u32).range(10..=1000))]
    fps: u32,

    /// Bytes a second that a client takes (rate): after a large packet the next one waits. Engines
    /// take 1000 to 100000
    #[arg(long, value_name = "BYTES", default_value_t = 7500.0,
        value_parser = |word: &str| number(word, 1000.0..=1e9))]
    rate: f64,

    /// Sizes of the server's packets: lev:A:B (largest extreme value) or ln:MEAN:SIGMA (log-normal)
    #[arg(long, value_name = "LAW", default_value = model::DEFAULT_S2C)]
    s2c: Shape,

    /// Send to all clients in the same frame, as after a change of map
    #[arg(long)]
    sync: bool,

    /// Where the clients are: behind the uplink, as players on the Internet, or each a station of its
    /// own, as on a LAN
    #[arg(long, value_name = "WHERE", default_value = "uplink")]
    stations: Stations,

    /// A download between two other guests, in Mbit/s
    #[arg(long, value_name = "MBITS", default_value_t = 0.0,
        value_parser = |word: &str| number(word, 0.0..=MOST_BULK))]
    bulk: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Stations {
    Uplink,
    Clients,
}

impl Args {
    /// The model that the options describe.
    ///
    /// # Errors
    /// When options do not go together, with what is wrong.
    pub fn model(&self) -> Result<Model, String> {
        let update_frames = frames_of_update(self.fps, self.updaterate);
        let model = Model {
            clients: usize::from(self.clients),
            length: (self.seconds * SECOND as f64) as u64,
            seed: self.seed,
            client_rate: self.client_rate,
            fps: self.fps,
            update_frames,
            rate: self.rate,
            s2c: model::s2c_sizes(self.s2c.clone()),
            in_phase: self.sync,
            clients_are_stations: self.stations == Stations::Clients,
            bulk: self.bulk * 1e6,
        };
        let burst = model.clients as f64 * model::BURST_SPACING.1;
        if burst > model.frame_length() as f64 / 2.0 {
            return Err(format!(
                "a packet to each of {} clients takes {:.0} us, more than half of a frame at --fps {}",
                model.clients,
                burst / 1e3,
                self.fps
            ));
        }
        Ok(model)
    }
}

/// The frames from one update to the next. What exceeds a whole number by a rounding error, as in
/// 16.667 updates a second at 100 frames, is none.
fn frames_of_update(fps: u32, updaterate: f64) -> u64 {
    libm::ceil(f64::from(fps) / updaterate - 1e-3).max(1.0) as u64
}

fn number(word: &str, range: RangeInclusive<f64>) -> Result<f64, String> {
    let wrong = || format!("not a number from {} to {}", range.start(), range.end());
    word.parse().ok().filter(|n| range.contains(n)).ok_or_else(wrong)
}

/// Mbit/s: beyond that, windows would overlap at the speed of a gigabit.
const MOST_BULK: f64 = 900.0;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Model, String> {
        let words = format!("uml_gamegen {line} out.pcap");
        Args::try_parse_from(words.split_whitespace()).map_err(|e| e.to_string())?.model()
    }

    #[test]
    fn updates_come_in_whole_frames() {
        for (options, frames) in [
            ("", 5),
            ("--updaterate 16.667", 6),
            ("--fps 50", 3),
            ("--updaterate 100", 1),
            ("--updaterate 101", 1),
            ("--updaterate 30", 4),
            ("--updaterate 10 --fps 30", 3),
        ] {
            assert_eq!(read(options).unwrap().update_frames, frames, "{options}");
        }
    }

    #[test]
    fn wrong_options_are_refused() {
        for line in [
            "--clients 0",
            "--clients 129",
            "--seconds 0",
            "--seconds x",
            "--seconds 1e10",
            "--client-rate NaN",
            "--client-rate 1001",
            "--updaterate 0.9",
            "--rate 999",
            "--bulk=-1",
            "--bulk 1000",
            "--s2c gauss:1:2",
            "--stations moon",
            "--fps 1000",
            "--fps 1000 --clients 32",
            "--seed -1",
            "more",
        ] {
            assert!(read(line).is_err(), "{line}");
        }
        assert!(read("--fps 1000 --clients 27").is_ok());
    }
}
