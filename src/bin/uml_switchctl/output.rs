//! Where a capture goes.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal};
use std::os::fd::AsFd;
use std::path::Path;

use anyhow::{Result, bail};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};

use uml_switch::mirror::sink::{BUFFER, Files, Format, Lines, Sink};

use crate::args::CaptureArgs;

/// What the caller wants with the frames.
#[derive(Debug)]
pub(crate) enum Output<'a> {
    /// A line for each on standard output.
    Lines,
    /// A capture on standard output.
    Standard(Format),
    /// Files.
    Files(&'a Path),
}

impl<'a> Output<'a> {
    /// What `args` say, if that makes sense.
    ///
    /// # Errors
    /// It makes none.
    pub(crate) fn of(args: &'a CaptureArgs) -> Result<Self> {
        match args.write.as_deref() {
            None => Ok(Output::Lines),
            Some(path) if path != Path::new("-") => Ok(Output::Files(path)),
            Some(_) if args.ring.is_some() => bail!("a ring needs files: -w FILE, not -w -"),
            Some(_) if io::stdout().is_terminal() => bail!(
                "a capture is nothing for a terminal: leave out -w - for text, write -w FILE, or \
                 use a pipe: -w - | tcpdump -r -"
            ),
            Some(_) => Ok(Output::Standard(args.format)),
        }
    }

    /// The file that the switch may write by itself, if it is one: each frame then goes from the switch
    /// to the file, and not through us. A ring needs our rights whenever a file begins.
    pub(crate) fn file_for_switch(&self, args: &CaptureArgs) -> Option<&'a Path> {
        let Output::Files(path) = *self else { return None };
        let other = std::fs::symlink_metadata(path).is_ok_and(|there| !there.is_file());
        (args.ring.is_none() && !other && !files_are_bounded()).then_some(path)
    }

    /// Opens it.
    ///
    /// # Errors
    /// It cannot be opened or written.
    pub(crate) fn open(&self, args: &CaptureArgs, snaplen: u32) -> io::Result<Box<dyn Sink>> {
        Ok(match self {
            Output::Lines => Box::new(Lines::new(BufWriter::with_capacity(BUFFER, stdout()?))),
            Output::Standard(format) => format.begin(stdout()?, snaplen)?,
            Output::Files(path) => Box::new(Files::create(path, args.format, snaplen, args.ring)?),
        })
    }

    /// Whether nobody reads it any more, which is no fault of ours.
    pub(crate) fn is_closed(&self, error: &io::Error) -> bool {
        !matches!(self, Output::Files(_)) && error.kind() == io::ErrorKind::BrokenPipe
    }

    /// What is said of an error; those of files name the file.
    pub(crate) fn explain(&self, error: &io::Error) -> String {
        match self {
            Output::Files(_) => error.to_string(),
            _ => format!("cannot write to standard output: {error}"),
        }
    }
}

/// std's own standard output has a buffer by lines.
fn stdout() -> io::Result<File> {
    Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?))
}

/// Whether the user has bounded the size of files (`ulimit -f`), which binds us alone.
fn files_are_bounded() -> bool {
    getrlimit(Resource::RLIMIT_FSIZE).is_ok_and(|(bound, _)| bound != RLIM_INFINITY)
}
