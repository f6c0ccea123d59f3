//! The command line.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;
use uml_switch::client::Mac;

use crate::player::{Length, Switch};

/// Replay a capture through a switch and measure every frame.
///
/// Each station of the capture (each source MAC address) becomes a port of the switch, and sends its
/// frames when they are due. A frame's delay counts from that moment, so that one that had to wait is
/// not made to look faster than it was. Captures are pcap or pcapng.
#[derive(Debug, Parser)]
#[command(
    name = "uml_replay",
    version,
    max_term_width = 100,
    override_usage = "uml_replay [OPTIONS] <CAPTURE>\n       uml_replay --answer <ADDRESS:PORT> [--tick <MS>]",
    after_help = "Exit code: 0; 1 for a wrong command line, a switch that cannot be reached or that \
        fails; 2 for a capture that cannot be replayed; 3 when --max-p99 or --max-loss is not met. \
        A signal stops a command that was started and ends the replay by that signal."
)]
pub struct Args {
    /// The capture to replay
    #[arg(required_unless_present = "answer")]
    capture: Option<PathBuf>,

    /// Control socket of the switch
    #[arg(long, value_name = "CTL", default_value = "/tmp/uml.ctl")]
    switch: PathBuf,

    /// Start a switch for the replay: words as in a shell, {ctl} for the control socket
    #[arg(long, value_name = "COMMAND", conflicts_with = "switch")]
    switch_command: Option<String>,

    /// Replay to a second switch too, in turns of at most 5 seconds, and show both
    #[arg(long, value_name = "CTL")]
    compare: Option<PathBuf>,

    /// Start that second switch: as --switch-command
    #[arg(long, value_name = "COMMAND", conflicts_with = "compare")]
    compare_command: Option<String>,

    /// What the report calls the switch, if not by its socket or command
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// What it calls the second switch
    #[arg(long, value_name = "NAME")]
    compare_name: Option<String>,

    /// Run this program before each turn, with the word first or second: whose turn it is. Turns go on
    /// when it has ended
    #[arg(long, value_name = "PROGRAM")]
    turn_command: Option<PathBuf>,

    /// Times the recorded speed, or max: each station sends as soon as its last frame is taken
    #[arg(long, value_name = "TIMES", default_value = "1", value_parser = speed)]
    pub speed: Speed,

    /// How often to replay the capture, to each switch
    #[arg(long, value_name = "N", default_value_t = 1,
        value_parser = clap::value_parser!(u64).range(1..))]
    passes: u64,

    /// Replay for so long to each switch, over and over, instead of --passes
    #[arg(long, value_name = "SECONDS", conflicts_with = "passes", value_parser = seconds)]
    duration: Option<Duration>,

    /// Let every player appear N times
    #[arg(long, value_name = "N", default_value_t = 1,
        value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub multiply: u32,

    /// Longer gaps between frames are shortened to this
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    pub max_gap: Duration,

    /// Replay what can be replayed of a broken capture
    #[arg(long)]
    pub repair: bool,

    /// Attach a station by the host's side of the switch's TAP interface DEV, not by a port: the one
    /// with most IP addresses behind it, or that with the address MAC
    #[arg(long, value_name = "DEV[=MAC]", value_parser = tap)]
    pub tap: Option<TapArg>,

    /// The same station's interface at the second switch
    #[arg(long, value_name = "DEV", requires = "tap")]
    pub compare_tap: Option<String>,

    /// The station with the address MAC is a guest that is on the switch already and runs uml_replay
    /// --answer with the address of the capture's server. Its frames are not replayed, and for UDP to
    /// it the time until its answer comes is measured. It must know the others' addresses (ip
    /// neighbour): nobody answers its ARP
    #[arg(long, value_name = "MAC", value_parser = mac)]
    pub answering: Option<Mac>,

    /// Replay nothing: send every UDP packet that comes to ADDRESS:PORT back, for --answering
    #[arg(long, value_name = "ADDRESS:PORT", conflicts_with = "capture")]
    pub answer: Option<SocketAddr>,

    /// Hold what comes, and answer it in one burst every so many milliseconds
    #[arg(long, value_name = "MS", requires = "answer", conflicts_with = "capture",
        value_parser = clap::value_parser!(u64).range(1..=10_000))]
    tick: Option<u64>,

    /// Print the report as JSON, or write it to FILE
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true,
        default_missing_value = "-")]
    pub json: Option<PathBuf>,

    /// Write the report to FILE as a page for a browser
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,

    /// Write the distribution of delays to FILE as a picture
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,

    /// The bar for players: 99 in 100 frames of each direction must come within USECS, or exit with 3
    #[arg(long, value_name = "USECS")]
    pub max_p99: Option<u64>,

    /// The bar for players: no more than PERCENT of each direction may be lost, or exit with 3
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    pub max_loss: Option<f64>,
}

/// How fast, times the recorded speed; `None` is as fast as possible.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Speed(pub Option<f64>);

/// What `--tap` was given.
#[derive(Clone, Debug, PartialEq)]
pub struct TapArg {
    pub device: String,
    pub mac: Option<Mac>,
}

impl Args {
    /// The switch, and the one to compare it with.
    pub fn switches(&self) -> Vec<Switch> {
        let first = match &self.switch_command {
            Some(command) => Switch::Command(command.clone()),
            None => Switch::Serving(self.switch.clone()),
        };
        let second = match (&self.compare_command, &self.compare) {
            (Some(command), _) => Some(Switch::Command(command.clone())),
            (None, Some(control)) => Some(Switch::Serving(control.clone())),
            (None, None) => None,
        };
        std::iter::once(first).chain(second).collect()
    }

    /// What the report calls them.
    pub fn names(&self) -> [Option<String>; 2] {
        [self.name.clone(), self.compare_name.clone()]
    }

    /// What is run before each turn.
    pub fn turn_command(&self) -> Option<&Path> {
        self.turn_command.as_deref()
    }

    /// The capture; there is one, or [`Args::answer`].
    pub fn capture(&self) -> &Path {
        self.capture.as_deref().unwrap_or(Path::new(""))
    }

    /// Time between two bursts of answers.
    pub fn tick(&self) -> Option<Duration> {
        self.tick.map(Duration::from_millis)
    }

    /// How much to play.
    pub fn length(&self) -> Length {
        self.duration.map_or(Length::Passes(self.passes), Length::Time)
    }
}

fn speed(word: &str) -> Result<Speed, String> {
    if word == "max" {
        return Ok(Speed(None));
    }
    let wrong = "not a number from 0.001 to 1000, and not max";
    number(word, 1e-3, 1e3).map(|times| Speed(Some(times))).ok_or_else(|| wrong.into())
}

fn seconds(word: &str) -> Result<Duration, String> {
    let seconds = number(word, 1e-3, 1e7).ok_or("not a number of seconds, 0.001 or more")?;
    Ok(Duration::from_secs_f64(seconds))
}

fn percent(word: &str) -> Result<f64, String> {
    number(word, 0.0, 100.0).ok_or_else(|| "not a number from 0 to 100".into())
}

fn number(word: &str, least: f64, most: f64) -> Option<f64> {
    word.parse().ok().filter(|number| (least..=most).contains(number))
}

fn tap(word: &str) -> Result<TapArg, String> {
    let (device, mac) = match word.split_once('=') {
        None => (word, None),
        Some((device, mac)) => (device, Some(self::mac(mac)?)),
    };
    Ok(TapArg { device: device.into(), mac })
}

fn mac(word: &str) -> Result<Mac, String> {
    let bytes: Option<Vec<u8>> =
        word.split(':').map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
    let bytes = bytes.and_then(|bytes| Mac::try_from(bytes).ok());
    bytes.ok_or_else(|| format!("{word:?} is not an address such as 02:00:c0:00:02:01"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn read(line: &str) -> Result<Args, clap::Error> {
        Args::try_parse_from(format!("uml_replay {line}").split_whitespace())
    }

    #[test]
    fn the_definition_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn options_mean_what_help_says() {
        let args = read("--json a.pcap --speed max --tap tap0=02:00:c0:00:02:01").unwrap();
        assert_eq!(args.capture(), Path::new("a.pcap"));
        assert_eq!((args.json, args.speed), (Some(PathBuf::from("-")), Speed(None)));
        let tap = TapArg { device: "tap0".into(), mac: Some([2, 0, 0xc0, 0, 2, 1]) };
        assert_eq!(args.tap, Some(tap));
        let args = read("a.pcap --json=b.json --speed 4 --duration 2.5").unwrap();
        assert_eq!((args.json.clone(), args.speed), (Some("b.json".into()), Speed(Some(4.0))));
        assert!(matches!(args.length(), Length::Time(time) if time.as_millis() == 2500));
    }

    #[test]
    fn wrong_options_are_refused() {
        for line in [
            "",
            "a b",
            "a --speed 0",
            "a --speed fast",
            "a --speed NaN",
            "a --passes 0",
            "a --passes 2 --duration 3",
            "a --duration 0",
            "a --multiply 0",
            "a --tap tap0=1:2",
            "a --answer 127.0.0.1:1",
            "--answer 127.0.0.1",
            "a --tick 5",
            "a --answering 1:2",
            "a --compare-tap tap1",
            "a --switch x --switch-command y",
            "a --compare x --compare-command y",
            "a --max-loss 101",
            "a --max-p99 -1",
        ] {
            assert!(read(line).is_err(), "{line}");
        }
    }
}
