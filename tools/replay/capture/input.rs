//! The bytes of a file, in order.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read};
use std::path::Path;

use super::error::Problem;

/// A file that is read from its start to its end.
pub(super) struct Input(BufReader<File>);

/// How much of what was wanted the file still had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Got {
    All,
    /// The file ends before.
    Nothing,
    /// The file ends inside.
    Part,
}

impl Input {
    /// Opens a regular file: it will be read more than once, which a pipe is not.
    pub(super) fn open(path: &Path) -> Result<Self, Problem> {
        let is_file = path.metadata().map_err(Problem::Open)?.is_file();
        if !is_file {
            return Err(Problem::NotAFile);
        }
        Ok(Input(BufReader::with_capacity(BUFFER, File::open(path).map_err(Problem::Open)?)))
    }

    /// Fills `into`, or as much of it as there is.
    pub(super) fn read(&mut self, into: &mut [u8]) -> io::Result<Got> {
        let mut filled = 0;
        while filled < into.len() {
            match self.0.read(&mut into[filled..]) {
                Ok(0) if filled == 0 => return Ok(Got::Nothing),
                Ok(0) => return Ok(Got::Part),
                Ok(bytes) => filled += bytes,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Got::All)
    }

    /// Fills `into`.
    ///
    /// # Errors
    /// [`Problem::Cut`] where the file ends.
    pub(super) fn read_all(&mut self, into: &mut [u8]) -> Result<(), Problem> {
        if self.read(into)? == Got::All { Ok(()) } else { Err(Problem::Cut) }
    }

    /// Fills `into` with the next `length` bytes, which the caller has found to be no absurd number.
    pub(super) fn read_data(&mut self, into: &mut Vec<u8>, length: usize) -> Result<(), Problem> {
        into.resize(length, 0);
        self.read_all(into)
    }

    /// Leaves bytes out. They are read all the same, so that the end of the file is noticed.
    pub(super) fn skip(&mut self, bytes: u64) -> Result<(), Problem> {
        let skipped = io::copy(&mut (&mut self.0).take(bytes), &mut io::sink())?;
        if skipped == bytes { Ok(()) } else { Err(Problem::Cut) }
    }
}

/// Each of the copies of a multiplied capture reads the file with such a buffer of its own.
const BUFFER: usize = 64 * 1024;
