//! Signals that end the replay: they are held back and asked for, so that what was started is stopped
//! first.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::Signal;
use nix::sys::signalfd::SignalFd;
use uml_switch::runtime;

/// The signals, as a descriptor.
#[derive(Debug)]
pub struct Signals(SignalFd);

/// The replay was ended by a signal.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("ended by {0}")]
pub struct Interrupted(pub Signal);

impl Signals {
    /// From here on they wait to be asked for.
    ///
    /// # Errors
    /// Those of `signalfd(2)`.
    pub fn hold() -> io::Result<Self> {
        Ok(Signals(runtime::ending_signals(false)?))
    }

    /// # Errors
    /// [`Interrupted`] if one has come.
    pub fn check(&self) -> Result<(), Interrupted> {
        match self.0.read_signal() {
            Ok(Some(info)) => match Signal::try_from(info.ssi_signo as i32) {
                Ok(signal) => Err(Interrupted(signal)),
                Err(_) => Ok(()),
            },
            // None came, or it cannot be told.
            _ => Ok(()),
        }
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
