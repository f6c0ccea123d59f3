//! Ports that the switch opens by itself, at the start and whenever they have been lost: nobody comes
//! to ask for them. Each is one implementation of [`Attach`].

use std::fmt;
use std::io;
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::time::Duration;

use super::{Endpoint, Received, TapError};
use crate::core::{PortTraits, TxDrop, TxOutcome};

/// Something to be attached.
pub trait Attach: fmt::Debug {
    /// The kind of port, as it is shown to people.
    fn kind(&self) -> &'static str;

    /// What people call it: an interface's name, or where a cable leads.
    fn name(&self) -> String;

    /// How long to wait before it is tried again.
    fn pauses(&self) -> Pauses;

    /// Attaches it. Nothing if it is not there, which is no error to be told of. Must not block.
    ///
    /// # Errors
    /// [`AttachError`].
    fn open(&mut self, sizes: Sizes) -> Result<Option<Box<dyn Endpoint>>, AttachError>;

    /// How often [`Attach::look_after`] wants to be called while it is attached.
    fn care(&self) -> Option<Duration> {
        None
    }

    /// Sees to it that who is at the other end can be reached.
    ///
    /// # Errors
    /// Why that is not so. It stays attached.
    fn look_after(&mut self) -> Result<(), AttachError> {
        Ok(())
    }
}

/// Times between attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pauses {
    /// After the first attempt; each later one is twice as long.
    pub first: Duration,
    /// The longest. What has been attached for so long starts anew.
    pub longest: Duration,
}

/// What a port has to be made for, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// The longest frame.
    pub max_frame: usize,
    /// `SO_SNDBUF` of a socket.
    pub send_buffer: usize,
}

/// Why something cannot be attached.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// An interface.
    #[error(transparent)]
    Tap(#[from] TapError),
    /// A socket.
    #[error("cannot connect to {}{}", .path.display(), hint(.source))]
    Connect {
        /// Its path.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// What an error means, where the system's word does not say it.
fn hint(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EAGAIN) => " (it does not accept connections at the moment)",
        Some(libc::EPROTOTYPE) => " (the socket there is of another type)",
        Some(libc::ECONNREFUSED) => " (no program serves the socket there)",
        Some(libc::EPERM) => " (the socket there is connected to another)",
        _ => "",
    }
}

/// The port of what is not attached: frames for it are dropped and counted.
#[derive(Debug)]
pub struct Missing(pub &'static str);

impl Endpoint for Missing {
    fn kind(&self) -> &'static str {
        self.0
    }

    fn traits(&self) -> PortTraits {
        PortTraits { can_wait: true }
    }

    fn descriptor(&self) -> Option<RawFd> {
        None
    }

    fn receive(&mut self, _: &mut [u8]) -> Received {
        Received::Nothing
    }

    fn send(&mut self, _: &[u8]) -> TxOutcome {
        TxOutcome::Dropped(TxDrop::NoReceiver)
    }
}
