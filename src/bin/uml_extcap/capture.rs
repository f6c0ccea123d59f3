//! The capture itself: what the switch sends goes to Wireshark as it is.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::SigSet;
use nix::sys::signalfd::SignalFd;

use uml_switch::admin::client::Client;
use uml_switch::mirror::CaptureSpec;
use uml_switch::mirror::sink::BUFFER;
use uml_switch::runtime;

use super::interface::Interface;

/// Captures into `fifo` until its reader goes, or a signal comes, or the switch ends the capture.
pub(crate) fn run(interface: &Interface, spec: &CaptureSpec, fifo: &Path) -> Result<()> {
    let signals = runtime::ending_signals(false).context("cannot set signals")?;
    let opened = OpenOptions::new().write(true).open(fifo);
    let fifo = opened.with_context(|| format!("cannot open {}", fifo.display()))?;
    let mut capture = Client::new(&interface.admin).capture(spec)?;
    let watched = (capture.try_clone()?, fifo.try_clone()?);
    thread::spawn(move || end_when_told(&signals, &watched.0, &watched.1));
    match copy(&mut capture, &fifo) {
        // The reader has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        copied => copied.context("the capture was cut off"),
    }
}

/// Copies until the end. std's own `io::copy` would use splice(2), which locks the pipe while it
/// waits for the socket: a reader of the pipe could then not even be killed.
fn copy(mut from: impl Read, mut to: impl Write) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(len) => to.write_all(&buffer[..len])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Asks the switch to end the capture when there is a signal or no reader any more: it then sends
/// the statistics and closes. A second signal ends the program at once.
fn end_when_told(signals: &SignalFd, capture: &UnixStream, fifo: &File) {
    let mut either = [
        PollFd::new(signals.as_fd(), PollFlags::POLLIN),
        // An error needs no asking, and is what a pipe without a reader has.
        PollFd::new(fifo.as_fd(), PollFlags::empty()),
    ];
    while poll(&mut either, PollTimeout::NONE) == Err(Errno::EINTR) {}
    let _ = signals.read_signal();
    let _ = capture.shutdown(Shutdown::Write);
    // The thread stays, for it is the only one that lets the second signal in.
    let _ = SigSet::all().thread_unblock();
    loop {
        thread::park();
    }
}
