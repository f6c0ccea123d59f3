//! Where a capture goes.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal};
use std::os::fd::AsFd;
use std::path::Path;

use anyhow::{Result, bail};

use uml_switch::mirror::sink::{BUFFER, Files, Format, Lines, Pcap, PcapNg, Sink};

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

    /// Opens it.
    ///
    /// # Errors
    /// It cannot be opened or written.
    pub(crate) fn open(&self, args: &CaptureArgs, snaplen: u32) -> io::Result<Box<dyn Sink>> {
        Ok(match self {
            Output::Lines => Box::new(Lines::new(stdout()?)),
            Output::Standard(Format::Pcapng) => Box::new(PcapNg::new(stdout()?, snaplen)?),
            Output::Standard(Format::Pcap) => Box::new(Pcap::new(stdout()?, snaplen)?),
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
fn stdout() -> io::Result<BufWriter<File>> {
    let descriptor = io::stdout().as_fd().try_clone_to_owned()?;
    Ok(BufWriter::with_capacity(BUFFER, File::from(descriptor)))
}
