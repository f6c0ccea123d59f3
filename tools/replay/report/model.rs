//! What a replay has found out: what `--json` prints as it stands, and what the table and the page
//! are drawn from.
//!
//! Times are microseconds from the moment a frame was due, not from when it could be sent.

use serde::Serialize;

/// A whole replay. The order of fields is the order in `--json`.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Changes when a field changes its meaning or goes away: [`SCHEMA`].
    pub schema: u32,
    /// Name and version of the program.
    pub program: String,
    /// What was replayed.
    pub capture: CaptureSummary,
    /// How it was replayed.
    pub run: RunSummary,
    /// Who sent and received.
    pub stations: Vec<StationSummary>,
    /// The switch, and the one that it is compared with.
    pub switches: Vec<SwitchReport>,
    /// Whether the bar for players is met, if there is one.
    pub bar: Option<BarReport>,
    /// What was changed about the capture or is to be known about the run, a sentence each.
    pub notes: Vec<String>,
}

/// The version of [`Report`].
pub const SCHEMA: u32 = 1;

/// What was replayed.
#[derive(Debug, Serialize)]
pub struct CaptureSummary {
    /// The file as it was named.
    pub file: String,
    /// Frames that are replayed in one pass.
    pub frames: u64,
    /// Records of the file that are not, with reasons in the notes.
    pub skipped: u64,
    /// Bytes of those frames.
    pub bytes: u64,
    /// How long one pass takes at recorded speed, gaps shortened, in seconds.
    pub seconds: f64,
    /// The server, as `address:port`, if one can be told.
    pub server: Option<String>,
    /// Peers of that server.
    pub players: usize,
}

/// How it was replayed.
#[derive(Debug, Serialize)]
pub struct RunSummary {
    /// Times the recorded speed; `None` for as fast as possible.
    pub speed: Option<f64>,
    /// How often each station was multiplied.
    pub multiply: u32,
    /// Whole or begun passes through the capture, for each switch.
    pub passes: u64,
    /// Turns that each switch had; with two switches they took turns.
    pub turns: u64,
    /// `net.unix.max_dgram_qlen` of the network namespace.
    pub max_dgram_qlen: Option<u32>,
}

/// One station.
#[derive(Debug, Serialize)]
pub struct StationSummary {
    /// Its MAC address.
    pub mac: String,
    /// Its IP address, or how many are behind it, as people read it.
    pub address: String,
    /// `port`, `tap`, or `answering`: how it was attached.
    pub attached: &'static str,
    /// Frames that it sends in one pass.
    pub frames: u64,
}

/// What one switch did.
#[derive(Debug, Serialize)]
pub struct SwitchReport {
    /// Its control socket, or the word that it was given.
    pub name: String,
    /// How long frames were due, all turns together, in seconds.
    pub seconds: f64,
    /// All frames.
    pub total: Tally,
    /// By direction: to the server, from the server, others. Those with frames only.
    pub directions: Vec<DirectionReport>,
    /// By size of the frame.
    pub sizes: Vec<Tally>,
    /// By flow, those with most frames first; the last one is the sum of all others if there are
    /// many.
    pub flows: Vec<Tally>,
    /// By how many frames were due at one port within a millisecond.
    pub bursts: Vec<BurstClass>,
    /// How late the replay itself was: from when a frame was due to its first attempt to send it.
    pub lateness: Delay,
    /// Frames that came and that nobody had sent, or not to there.
    pub unexpected: u64,
}

/// One direction.
#[derive(Debug, Serialize)]
pub struct DirectionReport {
    /// All frames of the direction.
    pub tally: Tally,
    /// The same by the time at which they were due.
    pub over_time: Vec<Interval>,
}

/// What became of some of the frames. A flooded frame counts once for each station it should reach.
#[derive(Debug, Serialize)]
pub struct Tally {
    /// Which frames.
    pub name: String,
    /// Frames that were due.
    pub due: u64,
    /// Of those, frames that the switch did not take within a second.
    pub refused: u64,
    /// Of those, frames that came.
    pub received: u64,
    /// Those that did not come, the refused ones included.
    pub lost: u64,
    /// The same in percent of those due.
    pub lost_percent: f64,
    /// Frames that came more than once.
    pub duplicated: u64,
    /// Frames that came after one of the same flow that had been due later.
    pub reordered: u64,
    /// Of those that came, when.
    pub delay: Delay,
}

/// How long something took.
#[derive(Debug, Default, Serialize)]
pub struct Delay {
    /// How many there were; all else is 0 if there were none.
    pub count: u64,
    /// The shortest.
    pub min_us: f64,
    /// The mean.
    pub mean_us: f64,
    /// Half are shorter.
    pub p50_us: f64,
    /// Nine in ten are shorter.
    pub p90_us: f64,
    /// 99 in 100 are shorter.
    pub p99_us: f64,
    /// 999 in 1000 are shorter.
    pub p999_us: f64,
    /// The longest.
    pub max_us: f64,
    /// Where they lie, shortest first, steps of some 10 %; empty steps are left out.
    pub distribution: Vec<Share>,
}

/// One step of a distribution.
#[derive(Debug, Serialize)]
pub struct Share {
    /// Longer than the step before, at most this.
    pub at_most_us: f64,
    /// How many.
    pub frames: u64,
}

/// A stretch of time, at most [`INTERVALS`] in a run.
#[derive(Debug, Serialize)]
pub struct Interval {
    /// When it began, in seconds from the start of the replay against this switch, turns of others
    /// left out.
    pub at_s: f64,
    /// Frames due in it.
    pub due: u64,
    /// Of those, lost.
    pub lost: u64,
    /// Half of those that came took less.
    pub p50_us: f64,
    /// 99 in 100 took less.
    pub p99_us: f64,
    /// None took longer.
    pub max_us: f64,
}

/// How many stretches a run is divided into at most.
pub const INTERVALS: usize = 240;

/// Frames that were due at one port within a millisecond of the first of them.
#[derive(Debug, Serialize)]
pub struct BurstClass {
    /// Such as `2 to 4 frames`.
    pub name: String,
    /// How many bursts of that size were due.
    pub bursts: u64,
    /// Frames lost of them.
    pub lost: u64,
    /// From when the burst's first frame was due until its last frame had come.
    pub last: Delay,
}

/// Whether the bar for players is met.
#[derive(Debug, Serialize)]
pub struct BarReport {
    /// The longest that 99 in 100 frames of each direction may take.
    pub max_p99_us: Option<u64>,
    /// The largest part of the frames of each direction that may be lost.
    pub max_loss_percent: Option<f64>,
    /// All is met. Only the first switch counts.
    pub met: bool,
    /// What is not, a sentence each.
    pub failures: Vec<String>,
}
