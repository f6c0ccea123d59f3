//! The frames of a file that can be replayed, one after the other: what both passes have in common.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Options;
use super::error::{CaptureError, Problem};
use super::link;
use super::packet::{destination, is_group, source};
use super::records::{MAX_DATA, Records};
use super::timeline::{Mended, Timeline};

/// One pass through a file.
pub(super) struct Stream {
    file: PathBuf,
    records: Records,
    timeline: Timeline,
    repair: bool,
    max_frame: usize,
    due: Duration,
    frame: Vec<u8>,
    counts: Counts,
    /// What ended the file early, where it was repaired.
    damage: Option<String>,
}

/// What became of the records, as far as they are no frames as they were sent.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    /// Frames that are replayed.
    pub(super) frames: u64,
    /// Of those, such that end in zeroes because they were recorded in part.
    pub(super) snapped: u64,
    /// Not replayed: longer than the longest.
    pub(super) long: u64,
    /// Not replayed: no whole Ethernet header.
    pub(super) short: u64,
    /// Not replayed: neither Ethernet nor IP.
    pub(super) unaddressed: u64,
    /// Not replayed: sent by a group.
    pub(super) from_group: u64,
    /// Not replayed: sent by a station to itself.
    pub(super) to_itself: u64,
}

impl Stream {
    pub(super) fn open(file: &Path, options: &Options) -> Result<Self, CaptureError> {
        let records = Records::open(file).map_err(|problem| CaptureError {
            file: file.to_path_buf(),
            record: None,
            problem,
        })?;
        Ok(Stream {
            file: file.to_path_buf(),
            records,
            timeline: Timeline::new(options.max_gap, options.repair),
            repair: options.repair,
            max_frame: options.max_frame.min(MAX_DATA),
            due: Duration::ZERO,
            frame: Vec::new(),
            counts: Counts::default(),
            damage: None,
        })
    }

    /// Goes on to the next frame; `false` at the end.
    pub(super) fn advance(&mut self) -> Result<bool, CaptureError> {
        if self.damage.is_some() {
            return Ok(false);
        }
        match self.try_advance() {
            Err(problem) if self.repair && problem.is_damage() => {
                self.damage = Some(self.error(problem).without_file());
                Ok(false)
            }
            other => other.map_err(|problem| self.error(problem)),
        }
    }

    /// The frame that was gone on to. It has at least an Ethernet header.
    pub(super) fn frame(&mut self) -> &mut Vec<u8> {
        &mut self.frame
    }

    /// When it is due, since the first.
    pub(super) fn due(&self) -> Duration {
        self.due
    }

    /// Its record's number, from 1.
    pub(super) fn record(&self) -> u64 {
        self.records.number()
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    pub(super) fn mended(&self) -> Mended {
        self.timeline.mended
    }

    /// Where a repaired file ends early, and why.
    pub(super) fn damage(&self) -> Option<&str> {
        self.damage.as_deref()
    }

    /// An error at the present record.
    pub(super) fn error(&self, problem: Problem) -> CaptureError {
        CaptureError { file: self.file.clone(), record: Some(self.record()), problem }
    }

    fn try_advance(&mut self) -> Result<bool, Problem> {
        while let Some(record) = self.records.next()? {
            self.timeline.record(record.head.time).map_err(Problem::TimeBack)?;
            let (link, original) = (record.head.link, record.head.original);
            let length = link::to_ethernet(link, record.data, original, &mut self.frame)?;
            if let Some(skipped) = self.finish(length) {
                *skipped += 1;
                continue;
            }
            self.counts.frames += 1;
            self.due = self.timeline.due();
            return Ok(true);
        }
        Ok(false)
    }

    /// Makes the frame as long as it was, or names the counter of those that are left out like it.
    fn finish(&mut self, length: Option<usize>) -> Option<&mut u64> {
        let counts = &mut self.counts;
        let Some(length) = length else { return Some(&mut counts.unaddressed) };
        if length > self.max_frame {
            return Some(&mut counts.long);
        }
        if self.frame.len() < ETHERNET_HEADER {
            return Some(&mut counts.short);
        }
        if is_group(source(&self.frame)) {
            return Some(&mut counts.from_group);
        }
        if source(&self.frame) == destination(&self.frame) {
            return Some(&mut counts.to_itself);
        }
        if self.frame.len() < length {
            counts.snapped += 1;
            self.frame.resize(length, 0);
        }
        None
    }
}

impl Counts {
    /// Records that are not replayed.
    pub(super) fn skipped(&self) -> u64 {
        let Counts { frames: _, snapped: _, long, short, unaddressed, from_group, to_itself } =
            self;
        long + short + unaddressed + from_group + to_itself
    }
}

/// A shorter frame has no addresses: the switch would drop it.
const ETHERNET_HEADER: usize = 14;
