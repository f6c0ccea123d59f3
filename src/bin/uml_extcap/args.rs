//! What Wireshark types.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use uml_switch::mirror::{Directions, MAX_SNAPLEN};

/// Shows the ports of running switches in Wireshark. It is started by Wireshark: put a symbolic
/// link to it into the extcap directory, which `tshark -G folders` names.
///
/// The switches are found by their admin sockets. UML_SWITCH_ADMIN=PATH names the only one to ask.
#[derive(Debug, Parser)]
#[command(name = "uml_extcap", version)]
pub(crate) struct Args {
    /// List the interfaces.
    #[arg(long)]
    pub(crate) extcap_interfaces: bool,

    /// The interface that is meant.
    #[arg(long, value_name = "NAME")]
    pub(crate) extcap_interface: Option<String>,

    /// List its link types.
    #[arg(long)]
    pub(crate) extcap_dlts: bool,

    /// List its options.
    #[arg(long)]
    pub(crate) extcap_config: bool,

    /// Capture only these frames; without --capture: say what is wrong with the expression.
    #[arg(long, value_name = "EXPRESSION", allow_hyphen_values = true)]
    pub(crate) extcap_capture_filter: Option<String>,

    /// Wireshark's version; any will do.
    #[arg(long, value_name = "VERSION", num_args = 0..=1)]
    pub(crate) extcap_version: Option<String>,

    /// Capture until the reader or a signal ends it.
    #[arg(long)]
    pub(crate) capture: bool,

    /// Where to write the capture to.
    #[arg(long, value_name = "PATH")]
    pub(crate) fifo: Option<PathBuf>,

    /// Bytes of each frame that are kept.
    #[arg(long, value_name = "BYTES", default_value_t = MAX_SNAPLEN,
        value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_SNAPLEN)))]
    pub(crate) snaplen: u32,

    /// Which frames at a port.
    #[arg(long)]
    pub(crate) direction: Option<Direction>,
}

/// Which frames at a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Direction {
    /// Those that its client sent.
    In,
    /// Those for its client.
    Out,
    /// All.
    Both,
}

impl Direction {
    pub(crate) fn directions(self) -> Directions {
        match self {
            Direction::In => Directions::In,
            Direction::Out => Directions::Out,
            Direction::Both => Directions::Both,
        }
    }
}
