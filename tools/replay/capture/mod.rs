//! Captures as something that can be replayed: who is in them, and which frame is due when.
//!
//! A file is read at least twice: [`Capture::open`] looks through all of it, [`Capture::play`] goes
//! through it once more and hands out frames. Neither keeps more than one packet of it, and every
//! table has a bound, so memory does not depend on the file's length. Whatever is wrong with a file
//! is a [`CaptureError`]; nothing that a file claims is believed before it was checked.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`input`], [`records`], [`classic`], [`pcapng`] | packets as they were recorded |
//! | [`link`] | Ethernet frames out of other links' packets |
//! | [`timeline`] | when frames are due |
//! | [`stream`] | all of these: the frames that can be replayed |
//! | [`packet`], [`flow`], [`checksum`], [`mod@tag`] | what is in a frame |
//! | [`survey`], [`stations`], [`conversations`] | the first pass: who is there, and who is the server |
//! | [`multiply`] | more players than were recorded |
//! | [`frames`] | the second pass |

mod checksum;
mod classic;
mod conversations;
mod error;
mod flow;
mod frames;
mod input;
mod link;
mod multiply;
mod packet;
mod pcapng;
mod records;
mod spoken;
mod stations;
mod stream;
mod survey;
mod tag;
#[cfg(test)]
mod tests;
mod timeline;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use frames::Plan;
use stream::Stream;
use survey::{Survey, Totals};

pub use error::CaptureError;
pub use flow::{FlowKey, ShownMac};
pub use frames::{Direction, Frame, Frames};
pub use stations::{Addresses, Destination, Station, StationId};
pub use tag::tag;

/// How a capture is to be replayed.
#[derive(Clone, Debug)]
pub struct Options {
    /// Longer gaps are shortened to this.
    pub max_gap: Duration,
    /// Replay what can be replayed of a broken file.
    pub repair: bool,
    /// The longest frame that is replayed, in bytes; at most 262,144.
    pub max_frame: usize,
    /// How often each player appears; 0 is 1.
    pub multiply: u32,
}

impl Default for Options {
    fn default() -> Self {
        // The longest frame is the switch's by default: an MTU of 9000 and 18 bytes.
        Options { max_gap: Duration::from_secs(1), repair: false, max_frame: 9018, multiply: 1 }
    }
}

/// A file that was looked through.
#[derive(Debug)]
pub struct Capture {
    file: PathBuf,
    options: Options,
    plan: Arc<Plan>,
    players: usize,
    skipped: u64,
    totals: Totals,
    notes: Vec<String>,
}

impl Capture {
    /// Looks through all of a file.
    ///
    /// # Errors
    /// When it cannot be read, is no capture or a broken one, has nothing that can be replayed or more
    /// stations than a switch has ports.
    pub fn open(path: &Path, options: Options) -> Result<Capture, CaptureError> {
        let mut survey = Survey::of(path, &options)?;
        let copies = survey.copies(options.multiply.max(1)).map_err(|problem| CaptureError {
            file: path.to_path_buf(),
            record: None,
            problem,
        })?;
        let times = copies.len();
        let notes = survey.notes(&options, &copies);
        let Survey { stations, server, players, counts, totals, .. } = survey;
        let mut capture = Capture {
            file: path.to_path_buf(),
            options,
            plan: Arc::new(Plan { stations, server, copies }),
            players: players * times,
            skipped: counts.skipped(),
            totals,
            notes,
        };
        if times > 1 {
            capture.count_copies()?;
        }
        Ok(capture)
    }

    /// Who sends, in the order in which they first do, then their copies. A [`StationId`] is an
    /// index.
    pub fn stations(&self) -> &[Station] {
        self.plan.stations.list()
    }

    /// The UDP endpoint with most players.
    pub fn server(&self) -> Option<SocketAddr> {
        self.plan.server
    }

    /// Peers of the server, copies included.
    pub fn players(&self) -> usize {
        self.players
    }

    /// Frames that one pass replays.
    pub fn frames(&self) -> u64 {
        self.totals.frames
    }

    /// Packets of the file that are not replayed.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Bytes of all frames that one pass replays.
    pub fn bytes(&self) -> u64 {
        self.totals.bytes
    }

    /// When the last frame is due.
    pub fn duration(&self) -> Duration {
        self.totals.duration
    }

    /// What was changed or left out, a sentence each.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Opens the file anew, to go through it once.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn play(&self) -> Result<Frames, CaptureError> {
        let streams = (0..self.plan.copies.len())
            .map(|_| Stream::open(&self.file, &self.options))
            .collect::<Result<_, _>>()?;
        Frames::new(Arc::clone(&self.plan), streams)
    }

    /// Goes through a multiplied capture to learn what is in it: not every frame is copied.
    fn count_copies(&mut self) -> Result<(), CaptureError> {
        let mut frames = self.play()?;
        let mut totals = Totals::default();
        let mut sent = vec![0; self.stations().len()];
        while let Some(frame) = frames.next()? {
            totals.count(frame.bytes.len(), frame.at);
            sent[frame.from.0 as usize] += 1;
        }
        self.totals = totals;
        drop(frames);
        let plan = Arc::get_mut(&mut self.plan).expect("the frames that had the other are gone");
        for (station, sent) in plan.stations.list_mut().iter_mut().zip(sent) {
            station.frames = sent;
        }
        Ok(())
    }
}
