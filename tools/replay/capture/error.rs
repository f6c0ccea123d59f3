//! What can be wrong with a capture.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::spoken::spoken;

/// A capture that cannot be replayed. What it prints is one whole line: file, record, problem.
#[derive(Debug, thiserror::Error)]
#[error("{}: {}{problem}", .file.display(), Prefix(*.record))]
pub struct CaptureError {
    /// The capture.
    pub file: PathBuf,
    /// Which packet of the file, from 1, as Wireshark numbers them.
    pub record: Option<u64>,
    /// What is wrong there.
    pub problem: Problem,
}

impl CaptureError {
    /// The line without the file's name.
    pub(super) fn without_file(&self) -> String {
        format!("{}{}", Prefix(self.record), self.problem)
    }
}

/// What is wrong with a file or with one of its records.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    #[error("cannot be opened: {0}")]
    Open(io::Error),
    #[error("is no regular file, and a capture is read more than once")]
    NotAFile,
    #[error("cannot be read: {0}")]
    Read(io::Error),
    #[error("is neither a pcap nor a pcapng capture")]
    Magic,
    #[error("has no packets")]
    Empty,
    /// All were skipped: what notes say about it.
    #[error("has no packet that can be replayed: {0}")]
    NothingToReplay(String),
    #[error("the file ends inside its header")]
    CutHeader,
    #[error("the file ends inside it")]
    Cut,
    /// More than any program records.
    #[error("claims a length of {0} bytes")]
    Length(u64),
    #[error("{0}")]
    Block(&'static str),
    #[error("its time is {} before that of the record before", spoken(*.0))]
    TimeBack(Duration),
    #[error("is a simple packet block, which has no time")]
    NoTime,
    #[error("has link type {number} ({name}), which cannot become Ethernet")]
    LinkType { number: u32, name: String },
    #[error("belongs to interface {0}, which the file does not describe")]
    Interface(u32),
    #[error("one section describes more than {0} interfaces")]
    TooManyInterfaces(usize),
    /// The limit, and what `multiply` adds if that is the reason.
    #[error("more than {0} stations{1}")]
    TooManyStations(usize, &'static str),
    #[error("there are addresses for {0} copies only")]
    NoAddresses(usize),
    #[error("the file has changed since it was looked through")]
    Changed,
}

impl Problem {
    /// Whether the file is broken here and sound before: a repaired capture ends there.
    pub(super) fn is_damage(&self) -> bool {
        matches!(self, Problem::Cut | Problem::Length(_) | Problem::Block(_))
    }
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        Problem::Read(error)
    }
}

/// `record 7: `, or nothing.
struct Prefix(Option<u64>);

impl fmt::Display for Prefix {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(record) => write!(out, "record {record}: "),
            None => Ok(()),
        }
    }
}
