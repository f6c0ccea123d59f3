//! What a capture holds, one thing after the other.

use std::time::Duration;

use crate::core::PortId;

/// One thing in a capture, in the order of forwarding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// A port that is in a capture for the first time; before any frame of it.
    Port {
        /// Which.
        port: PortId,
        /// What people call it, such as `uplink tap0` or `port 3 daemon uid 1001`.
        name: &'a str,
    },
    /// A frame.
    Frame(Captured<'a>),
}

/// A frame in a capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Captured<'a> {
    /// At which port.
    pub port: PortId,
    /// Which way there.
    pub direction: Direction,
    /// When the switch received it, by CLOCK_REALTIME, since 1970.
    pub time: Duration,
    /// How long it is.
    pub original: u32,
    /// What was kept of it.
    pub bytes: &'a [u8],
}

/// Which way a frame went at a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From its client into the switch.
    In,
    /// To its client.
    Out,
}

/// What became of the frames at one port that a capture looked at.
///
/// `seen == captured + filtered + dropped`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortTotals {
    /// Which.
    pub port: PortId,
    /// Frames that went the capture's way at this port.
    pub seen: u64,
    /// Given to the capture.
    pub captured: u64,
    /// Not accepted by the filter.
    pub filtered: u64,
    /// Not given, for the capture's buffer was full.
    pub dropped: u64,
}
