//! The command line.
//!
//! Scripts of twenty years write `uml_switch -unix CTL -tap tap0 -daemon`; the modern spelling of
//! each of these options has two dashes, and newer options have only that. The classic ones are
//! rewritten to the modern ones before clap sees them, left to right and value for value as the C
//! program reads them: `-unix` takes whatever comes next, and takes two values once `-compat-v0` has
//! been given.

mod connection_sockets;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue};
use clap::{CommandFactory, Parser};
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Group};
use tracing::level_filters::LevelFilter;

use crate::core::UPLINK_NUMBER;
use crate::mirror::MAX_SNAPLEN;
use crate::mirror::sink::Ring;
use crate::port::{CableEnd, DatagramPaths, TapName};

pub use connection_sockets::ConnectionSockets;

/// Joins User-Mode Linux guests and their host to one Ethernet.
#[derive(Debug, Parser)]
#[command(
    name = "uml_switch",
    version,
    args_override_self = true,
    override_usage = "uml_switch [-unix CTL] [-tap DEV] [-hub] [-daemon] [OPTIONS]\n       \
        uml_switch -compat-v0 [-unix CTL DATA] [-tap DEV] [-hub] [-daemon] [OPTIONS]",
    after_help = "The options -unix, -tap, -hub, -daemon and -compat-v0 may be written with one dash."
)]
pub struct Args {
    /// Control socket: where guests ask for a port
    #[arg(long, value_name = "CTL", default_value = "/tmp/uml.ctl")]
    pub unix: PathBuf,

    /// Data socket of --compat-v0: where all guests send their frames [default: /tmp/uml.data]
    #[arg(long, value_name = "DATA", requires = "compat_v0")]
    pub data: Option<PathBuf>,

    /// Directory for libvdeplug: UML eth0=vde,DIR, QEMU -netdev vde,sock=DIR, vde_plug DIR; made if
    /// there is none
    #[arg(long, value_name = "DIR")]
    pub vde: Option<PathBuf>,

    /// What else guests connect to.
    #[command(flatten)]
    pub connections: ConnectionSockets,

    /// Connect to this socket and keep that up: of a gateway such as slirp4netns, passt or gvproxy, or
    /// of another switch. KIND is what is spoken there, bess or qemu. May be repeated
    #[arg(long, value_name = "KIND:PATH")]
    pub connect: Vec<CableEnd>,

    /// Exchange datagrams with QEMU's -netdev dgram: LOCAL is its remote.path, REMOTE its local.path.
    /// May be repeated
    #[arg(long, value_name = "LOCAL,REMOTE")]
    pub qemu_dgram: Vec<DatagramPaths>,

    /// Mode of the sockets that guests connect to, all but CTL; of --vde's directory too, which can be
    /// searched by who has any right [default: 600 for --vde, else as the umask leaves it]
    #[arg(long, value_name = "OCTAL", value_parser = file_mode)]
    pub mode: Option<Mode>,

    /// Group of those sockets and of --vde's directory
    #[arg(long, value_name = "NAME|GID", value_parser = group)]
    pub group: Option<Gid>,

    /// Socket for whoever runs the switch, as uml_switchctl uses it [default: CTL.admin]
    #[arg(long, value_name = "PATH")]
    pub admin: Option<PathBuf>,

    /// Connect the switch to this TAP interface of the host, creating it if there is none
    #[arg(long, value_name = "DEV")]
    pub tap: Option<TapName>,

    /// Send every frame to every other port, as a hub does
    #[arg(long)]
    pub hub: bool,

    /// Go into the background once guests can connect
    #[arg(long)]
    pub daemon: bool,

    /// Serve the oldest guest kernels too: one data socket for all ports, at a path
    #[arg(long)]
    pub compat_v0: bool,

    /// Forget where a station is after so long a silence
    #[arg(long, value_name = "SECS", default_value_t = 100,
        value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub ageing: u64,

    /// How many stations are remembered at most
    #[arg(long, value_name = "N", default_value_t = 16_384,
        value_parser = clap::value_parser!(u32).range(1..=MAX_FDB_SIZE))]
    pub fdb_size: u32,

    /// How many guests can be connected at a time
    #[arg(long, value_name = "N", default_value_t = 4096,
        value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_PORTS)))]
    pub max_ports: u32,

    /// Largest MTU of a guest; frames may be 18 bytes longer (header and VLAN tag)
    #[arg(long, value_name = "BYTES", default_value_t = 9000,
        value_parser = clap::value_parser!(u32).range(68..=65_531))]
    pub mtu: u32,

    /// Look for the next frame for so long (1 to 1000) before sleeping, where that has paid: shorter
    /// times, but a whole CPU is spent while frames come less than that apart. For hosts with CPUs
    /// to spare; no effect with one CPU or --realtime
    #[arg(long, value_name = "USECS", value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub busy_poll: Option<u64>,

    /// Run before all ordinary threads (SCHED_FIFO) and lock memory. For hosts where guests fight for
    /// the CPUs; guests that keep the switch busy all the time leave others 5 % of its CPU
    #[arg(long)]
    pub realtime: bool,

    /// Run on this CPU only; guests may still use it
    #[arg(long, value_name = "N")]
    pub cpu: Option<usize>,

    /// Record all frames in FILE, from the first one on, each once as it came in (pcapng)
    #[arg(long, value_name = "FILE", help_heading = MIRROR)]
    pub mirror: Option<PathBuf>,

    /// Record what this port sends and is sent only: its number, or uplink. May be repeated
    #[arg(long, value_name = "PORT", requires = "mirror", help_heading = MIRROR,
        value_parser = port_number)]
    pub mirror_port: Vec<u32>,

    /// Record only frames that this expression accepts, as tcpdump has them
    #[arg(long, value_name = "EXPR", requires = "mirror", help_heading = MIRROR)]
    pub mirror_filter: Option<String>,

    /// Bytes of each frame that are kept
    #[arg(long, value_name = "BYTES", requires = "mirror", help_heading = MIRROR,
        default_value_t = MAX_SNAPLEN, hide_default_value = true,
        value_parser = clap::value_parser!(u32).range(1..=MAX_SNAPLEN as i64))]
    pub mirror_snaplen: u32,

    /// Record in so many files of MB megabytes or SECS seconds (such as 10,60s) and keep the newest
    #[arg(long, value_name = "FILES,MB|SECSs", requires = "mirror", help_heading = MIRROR)]
    pub mirror_ring: Option<Ring>,

    /// What to report on standard error: off, error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", default_value = "info", value_parser = log_level)]
    pub log: LevelFilter,
}

impl Args {
    /// Reads a command line, the program's name first.
    ///
    /// # Errors
    /// What clap says, a request for help or the version included.
    pub fn read(command_line: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        Args::try_parse_from(modernise(command_line)?).map_err(with_usage)
    }
}

/// A port that closes takes all its stations with it while everybody waits: about a microsecond each.
const MAX_FDB_SIZE: i64 = 131_072;

const MIRROR: &str = "Capture";

/// A port's number, 0 for the uplink.
fn port_number(word: &str) -> Result<u32, String> {
    match word.parse() {
        Ok(number @ 0..=MAX_PORTS) => Ok(number),
        _ if word == "uplink" => Ok(UPLINK_NUMBER),
        _ => Err(format!("not uplink or 0 to {MAX_PORTS}")),
    }
}

/// A mode such as 660, for reading and writing.
fn file_mode(word: &str) -> Result<Mode, String> {
    let bits = u32::from_str_radix(word, 8).ok().filter(|bits| *bits <= 0o777);
    bits.and_then(Mode::from_bits).ok_or_else(|| "not an octal mode from 0 to 777".to_owned())
}

/// A group of this machine, or any number.
fn group(word: &str) -> Result<Gid, String> {
    match Group::from_name(word) {
        Ok(Some(group)) => Ok(group.gid),
        _ => word.parse().map(Gid::from_raw).map_err(|_| "there is no such group".to_owned()),
    }
}

/// What [`Args::max_ports`] can be: more than descriptors can be had for.
const MAX_PORTS: u32 = 65_535;

/// Only these words: the crate's own parser also takes numbers.
fn log_level(word: &str) -> Result<LevelFilter, String> {
    let known = ["off", "error", "warn", "info", "debug", "trace"];
    match word.parse() {
        Ok(level) if known.contains(&word) => Ok(level),
        _ => Err(format!("not one of {}", known.join(", "))),
    }
}

/// Rewrites classic options to modern ones.
fn modernise(
    command_line: impl IntoIterator<Item = OsString>,
) -> Result<Vec<OsString>, clap::Error> {
    let mut words = command_line.into_iter();
    let mut modern: Vec<OsString> = words.next().into_iter().collect();
    let mut words = words.peekable();
    let mut compat_v0 = false;
    while let Some(word) = words.next() {
        match word.to_str() {
            Some("-hub") => modern.push("--hub".into()),
            Some("-daemon") => modern.push("--daemon".into()),
            Some("-compat-v0" | "--compat-v0") => {
                compat_v0 = true;
                modern.push("--compat-v0".into());
            }
            Some("-tap") => modern.push(with_value("--tap", words.next(), "-tap wants DEV")?),
            Some("-unix") => {
                let wanted = if compat_v0 {
                    "-unix wants CTL and, after -compat-v0, DATA"
                } else {
                    "-unix wants CTL"
                };
                modern.push(with_value("--unix", words.next(), wanted)?);
                if compat_v0 {
                    modern.push(with_value("--data", words.next(), wanted)?);
                }
            }
            Some("--unix") => {
                modern.push(word);
                modern.extend(words.next());
                let is_data = |word: &OsString| !word.as_encoded_bytes().starts_with(b"-");
                if compat_v0 && let Some(data) = words.next_if(is_data) {
                    modern.push("--data".into());
                    modern.push(data);
                }
            }
            // Clap would read a word such as -help as -h and more.
            Some(single) if single.len() > 2 && is_single_dash(single) => {
                return Err(usage_error(&format!("unexpected argument '{single}'")));
            }
            _ => modern.push(word),
        }
    }
    Ok(modern)
}

fn is_single_dash(word: &str) -> bool {
    word.starts_with('-') && !word.starts_with("--")
}

/// `--option=value`, so that a value may look like an option, as it always could. Without a value the
/// error says what is `wanted`.
fn with_value(
    option: &str,
    value: Option<OsString>,
    wanted: &str,
) -> Result<OsString, clap::Error> {
    let value = value.ok_or_else(|| usage_error(wanted))?;
    let mut word = OsString::from(option);
    word.push("=");
    word.push(value);
    Ok(word)
}

/// Adds the usage where clap leaves it out: to errors about values.
fn with_usage(mut error: clap::Error) -> clap::Error {
    if error.use_stderr() && error.get(ContextKind::Usage).is_none() {
        let usage = Args::command().render_usage();
        error.insert(ContextKind::Usage, ContextValue::StyledStr(usage));
    }
    error
}

fn usage_error(message: &str) -> clap::Error {
    Args::command().error(clap::error::ErrorKind::UnknownArgument, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modern(line: &str) -> String {
        let words = format!("uml_switch {line}");
        match modernise(words.split_whitespace().map(OsString::from)) {
            Ok(words) => {
                let words: Vec<_> = words[1..].iter().map(|w| w.to_str().unwrap()).collect();
                words.join(" ")
            }
            Err(_) => "usage".to_owned(),
        }
    }

    /// Each left side was tried with the C program, which did what the right side says.
    #[test]
    fn classic_options_are_read_as_the_c_program_reads_them() {
        let rows = [
            ("", ""),
            ("-unix A", "--unix=A"),
            ("-unix A -hub", "--unix=A --hub"),
            ("-unix A -compat-v0", "--unix=A --compat-v0"),
            ("-compat-v0", "--compat-v0"),
            ("-compat-v0 -unix A B", "--compat-v0 --unix=A --data=B"),
            ("-compat-v0 -unix A -hub", "--compat-v0 --unix=A --data=-hub"),
            ("-compat-v0 -unix A", "usage"),
            ("-unix -hub", "--unix=-hub"),
            ("-unix", "usage"),
            ("-tap", "usage"),
            ("-tap t -tap u -daemon", "--tap=t --tap=u --daemon"),
            ("-help", "usage"),
            ("-nonsense", "usage"),
        ];
        for (classic, expected) in rows {
            assert_eq!(modern(classic), expected, "{classic}");
        }
    }

    #[test]
    fn modern_spelling_is_passed_on() {
        assert_eq!(modern("--unix A --tap t --hub"), "--unix A --tap t --hub");
        assert_eq!(modern("--compat-v0 --unix A B"), "--compat-v0 --unix A --data B");
        assert_eq!(modern("--compat-v0 --unix A --hub"), "--compat-v0 --unix A --hub");
        assert_eq!(modern("-h"), "-h");
    }

    fn read(line: &str) -> Result<Args, clap::Error> {
        Args::read(format!("uml_switch {line}").split_whitespace().map(OsString::from))
    }

    #[test]
    fn the_last_of_repeated_options_wins() {
        let args = read("-unix A -unix B -tap t -tap u -hub -hub --ageing 1 --ageing 2").unwrap();
        assert_eq!(args.unix.to_str(), Some("B"));
        assert_eq!(args.tap.unwrap().to_string(), "u");
        assert_eq!(args.ageing, 2);
    }

    #[test]
    fn a_capture_can_have_several_ports() {
        let args = read("--mirror f --mirror-port 3 --mirror-port uplink --mirror-port 65535");
        assert_eq!(args.unwrap().mirror_port, [3, 0, 65_535]);
    }

    #[test]
    fn wrong_lines_are_errors() {
        for line in [
            "-unix A B",
            "-unix A B -compat-v0",
            "extra",
            "--ageing 0",
            "--ageing x",
            "--fdb-size 0",
            "--max-ports 70000",
            "--mtu 10",
            "--mtu 65532",
            "--vde",
            "--vde V --mode 888",
            "--vde V --mode 1777",
            "--vde V --group no-such-group-here",
            "--bess",
            "--qemu",
            "--connect",
            "--connect /tmp/a",
            "--connect daemon:/tmp/a",
            "--qemu-dgram a",
            "--qemu-dgram a,",
            "--busy-poll 0",
            "--busy-poll 1001",
            "--busy-poll",
            "--realtime 1",
            "--cpu -1",
            "--cpu x",
            "--mirror",
            "--mirror-port 1",
            "--mirror f --mirror-port tap0",
            "--mirror f --mirror-port -1",
            "--mirror f --mirror-port 65536",
            "--mirror-filter arp",
            "--mirror-snaplen 60",
            "--mirror f --mirror-snaplen 0",
            "--mirror f --mirror-snaplen 262145",
            "--mirror-ring 1,1",
            "--mirror f --mirror-ring 10",
            "--mirror f --mirror-ring 0,1",
            "--log loud",
            "--log 3",
            "--data D",
            "-tap sixteen-letters-",
        ] {
            let error = read(line).expect_err(line);
            assert!(error.use_stderr(), "{line}");
            assert!(error.to_string().contains("Usage: uml_switch "), "{line}: {error}");
        }
    }

    #[test]
    fn help_and_version_are_answers_not_errors() {
        for line in ["--help", "-h", "--version", "-V"] {
            assert!(!read(line).unwrap_err().use_stderr(), "{line}");
        }
    }
}
