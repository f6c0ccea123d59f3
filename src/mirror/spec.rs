//! What a capture is to hold.

use serde::{Deserialize, Serialize};

use super::bpf::Program;

/// What is captured, and how much of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CaptureSpec {
    /// Numbers of the ports that are looked at, 0 for the uplink, whether or not they are open now;
    /// all if empty.
    pub ports: Vec<u32>,
    /// Which frames at those ports. `None`: with ports both directions, without any each frame once,
    /// as it came in.
    pub direction: Option<Directions>,
    /// Only frames that this program accepts.
    pub filter: Option<Program>,
    /// Bytes of each frame that are kept.
    pub snaplen: u32,
    /// End after so many frames.
    pub count: Option<u64>,
    /// Bytes of the buffer between the switch and who writes the capture: what does not fit while
    /// that one is slow is dropped and counted.
    pub buffer: usize,
}

/// Which frames at a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Directions {
    /// Those that its client sent.
    In,
    /// Those that are meant for its client: each is recorded where it is forwarded, whether or not
    /// it has to wait.
    Out,
    /// All.
    Both,
}

impl Default for CaptureSpec {
    fn default() -> Self {
        CaptureSpec {
            ports: Vec::new(),
            direction: None,
            filter: None,
            snaplen: MAX_SNAPLEN,
            count: None,
            buffer: DEFAULT_BUFFER,
        }
    }
}

/// The longest frame that is kept whole: tcpdump's own default, more than any frame has.
pub const MAX_SNAPLEN: u32 = 262_144;

/// 4 MiB: a fifth of a second of small frames at full load.
pub const DEFAULT_BUFFER: usize = 4 << 20;

/// The bounds of [`CaptureSpec::buffer`].
pub const BUFFERS: std::ops::RangeInclusive<usize> = (256 << 10)..=(256 << 20);
