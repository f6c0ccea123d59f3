//! The file that a client has opened with its own rights, and hands over for its capture.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use super::connection::{Patience, Unread};
use crate::mirror::sink::{Format, Sink};
use crate::sys;

/// Waits for the file and begins a capture in it.
pub(super) fn receive(
    stream: &UnixStream,
    patience: &Patience<'_>,
    format: Format,
    snaplen: u32,
) -> Result<Box<dyn Sink>, Unread> {
    let mut byte = [0];
    let (len, descriptors) =
        patience.read("file", || sys::receive_descriptors(stream, &mut byte))?;
    if len == 0 {
        return Err(Unread::Io(io::ErrorKind::UnexpectedEof.into()));
    }
    let begin = |file| format.begin(file, snaplen);
    file_of(descriptors).and_then(begin).map_err(|error| Unread::Wrong(error.to_string()))
}

/// The one file that is to be written. Nothing else is: a pipe or a socket might be read by somebody
/// who waits for us, and a terminal or a disk does not want a capture.
fn file_of(descriptors: Vec<OwnedFd>) -> io::Result<File> {
    let wrong = |why| Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    let file = match <[OwnedFd; 1]>::try_from(descriptors) {
        Ok([descriptor]) => File::from(descriptor),
        Err(none) if none.is_empty() => return wrong("no descriptor has come"),
        Err(_) => return wrong("more than one descriptor has come"),
    };
    if !file.metadata()?.is_file() {
        return wrong("is no regular file");
    }
    let flags = OFlag::from_bits_retain(fcntl(&file, FcntlArg::F_GETFL)?);
    let written = [OFlag::O_WRONLY, OFlag::O_RDWR].contains(&(flags & OFlag::O_ACCMODE));
    // What is open for its path alone has no access, which is how reading is spelled.
    if !written {
        return wrong("is not open for writing");
    }
    Ok(file)
}
