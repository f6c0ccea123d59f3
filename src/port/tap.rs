//! The uplink: a TAP interface of the host.
//!
//! The interface is created if it does not exist, or attached to if somebody else made it, also by
//! an ordinary user who was named its owner. An interface that is down or gone never disturbs the
//! other ports.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::str::FromStr;
use std::time::Duration;

use super::attach::{Attach, AttachError, Pauses, Sizes};
use super::{Endpoint, Received};
use crate::core::{PortTraits, TxDrop, TxOutcome};
use crate::sys;

/// A name that an interface can have: 1 to 15 bytes, none of them white space, `/` or `:`
/// (`dev_valid_name` of the kernel's `net/core/dev.c`). It may be a pattern such as `tap%d`, of
/// which the kernel makes the first free name.
#[derive(Clone, PartialEq, Eq)]
pub struct TapName(String);

/// Why a text is no interface name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an interface name (1 to 15 characters without space, '/' and ':')")]
pub struct InvalidTapName;

impl FromStr for TapName {
    type Err = InvalidTapName;

    fn from_str(name: &str) -> Result<Self, InvalidTapName> {
        let fits = (1..libc::IFNAMSIZ).contains(&name.len()) && name != "." && name != "..";
        let clean = name.chars().all(|c| c.is_ascii_graphic() && c != '/' && c != ':');
        if fits && clean { Ok(TapName(name.to_owned())) } else { Err(InvalidTapName) }
    }
}

impl TapName {
    /// True if there is an interface of this name now.
    fn exists(&self) -> bool {
        nix::net::if_::if_nametoindex(self.0.as_str()).is_ok()
    }
}

impl fmt::Display for TapName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for TapName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why there is no uplink.
#[derive(Debug, thiserror::Error)]
pub enum TapError {
    /// The device that all TAP interfaces are made with.
    #[error("cannot open {TUN_DEVICE}")]
    Open(#[source] io::Error),
    /// The interface itself.
    #[error("cannot attach to interface {name}{}", hint(.source))]
    Attach {
        /// Which one.
        name: TapName,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// What people mostly have to do about an error, where the system's word does not say it.
fn hint(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EBUSY) => " (another program has it open)",
        Some(libc::EPERM) => {
            " (it is not ours: creating one needs CAP_NET_ADMIN, attaching to one its owner)"
        }
        Some(libc::EINVAL) => " (there is an interface of this name that is no TAP)",
        _ => "",
    }
}

/// An attached TAP interface.
#[derive(Debug)]
pub struct TapPort {
    device: File,
    name: TapName,
}

impl TapPort {
    /// Creates the interface or attaches to it.
    ///
    /// # Errors
    /// [`TapError`], with what to do about it where that is known.
    pub fn open(name: &TapName) -> Result<Self, TapError> {
        let open = || {
            OpenOptions::new()
                .read(true)
                .write(true)
                .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
                .open(TUN_DEVICE)
                .map_err(TapError::Open)
        };
        let flags = libc::IFF_TAP | libc::IFF_NO_PI;
        let mut device = open()?;
        let mut attached = sys::attach_tun(&device, &name.0, flags);
        if matches!(&attached, Err(error) if error.raw_os_error() == Some(libc::EINVAL)) {
            // An interface made with several queues takes none without that flag.
            device = open()?;
            attached = sys::attach_tun(&device, &name.0, flags | libc::IFF_MULTI_QUEUE);
        }
        match attached {
            Ok(actual) => Ok(TapPort { device, name: TapName(actual) }),
            Err(source) => Err(TapError::Attach { name: name.clone(), source }),
        }
    }
}

/// The configured interface, attached or not.
#[derive(Debug)]
pub struct Tap {
    name: TapName,
    /// Opened already.
    device: Option<TapPort>,
}

impl Tap {
    /// The interface `name`, or `device`, which is what was opened by that name.
    pub fn new(name: TapName, device: Option<TapPort>) -> Self {
        let name = device.as_ref().map_or(name, |device| device.name.clone());
        Tap { name, device }
    }
}

impl Attach for Tap {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn name(&self) -> String {
        self.name.to_string()
    }

    fn pauses(&self) -> Pauses {
        Pauses { first: RETRY, longest: RETRY }
    }

    /// Opens the interface if there is one. It is not created here: whoever deleted it meant it.
    fn open(&mut self, _: Sizes) -> Result<Option<Box<dyn Endpoint>>, AttachError> {
        let device = match self.device.take() {
            Some(device) => device,
            None if !self.name.exists() => return Ok(None),
            None => TapPort::open(&self.name)?,
        };
        self.name = device.name.clone();
        Ok(Some(Box::new(device)))
    }
}

impl Endpoint for TapPort {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn traits(&self) -> PortTraits {
        PortTraits { can_wait: true }
    }

    fn descriptor(&self) -> Option<RawFd> {
        Some(self.device.as_raw_fd())
    }

    fn receive(&mut self, buffer: &mut [u8]) -> Received {
        match self.device.read(buffer) {
            Ok(len) => Received::Frame(len),
            Err(error) => Received::from_error(error),
        }
    }

    fn send(&mut self, frame: &[u8]) -> TxOutcome {
        let Err(error) = self.device.write(frame) else { return TxOutcome::Sent };
        match error.raw_os_error() {
            Some(libc::EAGAIN) => TxOutcome::Full,
            // EIO: the interface is down. EBADFD: it has been deleted, which reading shows too.
            Some(libc::EIO | libc::EBADFD) => TxOutcome::Dropped(TxDrop::LinkDown),
            _ => TxOutcome::Dropped(TxDrop::Refused),
        }
    }
}

const KIND: &str = "tap";

/// How long an interface that has come back may stay unnoticed.
const RETRY: Duration = Duration::from_secs(1);

const TUN_DEVICE: &str = "/dev/net/tun";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_an_interface_can_have_are_taken() {
        for good in ["tap0", "t", "tap%d", "fifteen-letters"] {
            assert_eq!(good.parse::<TapName>().unwrap().to_string(), good);
        }
        for bad in ["", "sixteen-letters-", "a b", "a/b", "a:b", "..", "tap\u{e9}", "a\0"] {
            assert!(bad.parse::<TapName>().is_err(), "{bad:?}");
        }
    }
}
