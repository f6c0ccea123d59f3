//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

use uml_switch::admin::{self, client::Client};
use uml_switch::mirror::sink::{Format, Ring};
use uml_switch::mirror::{Directions, MAX_SNAPLEN};

/// Looks into a running uml_switch.
#[derive(Debug, Parser)]
#[command(name = "uml_switchctl", version, after_help = EXIT_CODES)]
pub(crate) struct Args {
    /// The switch's admin socket [default: CTL.admin]
    #[arg(long, value_name = "PATH", global = true)]
    admin: Option<PathBuf>,

    /// The switch's control socket, if it has the admin socket that belongs to that
    #[arg(
        long,
        value_name = "CTL",
        global = true,
        default_value = "/tmp/uml.ctl",
        conflicts_with = "admin"
    )]
    unix: PathBuf,

    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_CODES: &str = "\
Exit codes: 0 if it is done, which for a capture includes an end by a signal or by who reads it; 1 \
for a wrong command line, no switch, a refusal, an output that cannot be written, and a switch that \
goes away.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show frames as the switch forwards them, or write them to files
    #[command(after_help = CAPTURE_HELP)]
    Capture(CaptureArgs),
    /// Show the open ports and what they have counted
    Ports(PortsArgs),
}

const CAPTURE_HELP: &str = "\
Without ports every frame is captured once, where it came in. With ports, the frames that their \
clients sent and those that are meant for them. EXPR is a filter as tcpdump has it.

Ends with --count, SIGINT, SIGTERM, or when nobody reads its output any more. Live, with Wireshark:

  uml_switchctl capture --port 3 -w - | wireshark -k -i -";

#[derive(Debug, clap::Args)]
pub(crate) struct CaptureArgs {
    /// Only frames at this port: a number, or `uplink`. More than one may be given
    #[arg(long = "port", value_name = "P", value_delimiter = ',')]
    pub(crate) ports: Vec<PortNumber>,

    /// Which frames at the ports [default: both]
    #[arg(long, value_name = "WAY", requires = "ports")]
    pub(crate) direction: Option<Way>,

    /// Only frames that this tcpdump expression accepts; it may also be the last words
    #[arg(long, value_name = "EXPR", conflicts_with = "expression")]
    pub(crate) filter: Option<String>,

    /// Keep so many bytes of each frame at most; 0 for all
    #[arg(long, value_name = "BYTES", default_value_t = 0,
        value_parser = clap::value_parser!(u32).range(0..=i64::from(MAX_SNAPLEN)))]
    pub(crate) snaplen: u32,

    /// End after so many frames
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,

    /// Write the frames to this file, or to standard output if it is `-`
    #[arg(short, long, value_name = "FILE")]
    pub(crate) write: Option<PathBuf>,

    /// Write a ring of files of so many MB or seconds each (10,100 or 24,3600s)
    #[arg(long, value_name = "FILES,MB|SECSs", requires = "write")]
    pub(crate) ring: Option<Ring>,

    /// What is written
    #[arg(long, value_name = "FORMAT", default_value = "pcapng", requires = "write")]
    pub(crate) format: Format,

    /// MiB in the switch for frames that were not read yet
    #[arg(long, value_name = "MIB", default_value_t = 4,
        value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) buffer: u16,

    /// Only frames that this tcpdump expression accepts
    #[arg(value_name = "EXPR", trailing_var_arg = true)]
    pub(crate) expression: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct PortsArgs {
    /// As one line of JSON, with all counters
    #[arg(long)]
    pub(crate) json: bool,
}

/// The number of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PortNumber(pub(crate) u32);

impl std::str::FromStr for PortNumber {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "uplink" => Ok(PortNumber(0)),
            _ => text.parse().map(PortNumber).map_err(|_| "neither a number nor `uplink`"),
        }
    }
}

/// Which way frames go at a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Way {
    /// Sent by the port's client.
    In,
    /// Meant for the port's client.
    Out,
    /// All.
    Both,
}

impl From<Way> for Directions {
    fn from(way: Way) -> Self {
        match way {
            Way::In => Directions::In,
            Way::Out => Directions::Out,
            Way::Both => Directions::Both,
        }
    }
}

impl Args {
    /// The switch that is meant.
    pub(crate) fn client(&self) -> Client {
        Client::new(self.admin.clone().unwrap_or_else(|| admin::default_path(&self.unix)))
    }
}

impl CaptureArgs {
    /// The filter's expression, if there is one.
    pub(crate) fn expression(&self) -> Option<String> {
        let words = (!self.expression.is_empty()).then(|| self.expression.join(" "));
        self.filter.clone().or(words)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn read(line: &str) -> Result<Args, clap::Error> {
        Args::try_parse_from(format!("uml_switchctl {line}").split_whitespace())
    }

    fn capture(line: &str) -> CaptureArgs {
        match read(&format!("capture {line}")).unwrap().command {
            Command::Capture(args) => args,
            Command::Ports(_) => panic!("not a capture"),
        }
    }

    #[test]
    fn the_switch_is_known_by_either_of_its_sockets() {
        for (line, path) in [
            ("ports", "/tmp/uml.ctl.admin"),
            ("ports --unix /run/a", "/run/a.admin"),
            ("--unix /run/a ports", "/run/a.admin"),
            ("--admin /run/b ports", "/run/b"),
            ("capture --admin /run/b", "/run/b"),
        ] {
            assert_eq!(read(line).unwrap().client().path(), Path::new(path), "{line}");
        }
    }

    #[test]
    fn a_filter_is_the_last_words_or_an_option() {
        assert_eq!(capture("").expression(), None);
        let words = capture("--port 3 -w - udp port 53 and not host 10.0.0.1");
        assert_eq!(words.expression().unwrap(), "udp port 53 and not host 10.0.0.1");
        assert_eq!(capture("--filter arp").expression().unwrap(), "arp");
        assert_eq!(capture("tcp[13] & 2 != 0").expression().unwrap(), "tcp[13] & 2 != 0");
    }

    #[test]
    fn a_count_is_given_as_tcpdump_has_it_too() {
        assert_eq!(capture("--count 7").count, Some(7));
        assert_eq!(capture("-c 7 arp").count, Some(7));
    }

    #[test]
    fn ports_are_numbers_and_the_uplink() {
        let ports = capture("--port 3,uplink --port 12").ports;
        assert_eq!(ports, [3, 0, 12].map(PortNumber));
    }

    #[test]
    fn wrong_lines_are_errors() {
        for line in [
            "",
            "captures",
            "ports 3",
            "ports --admin a --unix b",
            "capture --port tap0",
            "capture --port -1",
            "capture --direction in",
            "capture --port 1 --direction up",
            "capture --count 0",
            "capture --snaplen 262145",
            "capture --buffer 0",
            "capture --buffer 257",
            "capture --ring 3,1",
            "capture -w f --ring 0,1",
            "capture -w f --format text",
            "capture --filter arp icmp",
        ] {
            assert!(read(line).is_err(), "{line}");
        }
    }
}
