//! The admin socket: how whoever runs the switch asks it things while it serves.
//!
//! It is for root and the switch's own user alone: the path has mode 0600 from the moment it exists,
//! and each connection is checked once more. Guests' users never reach it.
//!
//! All of this runs on ordinary threads that may block, none of it on the loop's: one thread
//! accepts, and each connection has one of its own. They ask the loop through a
//! [`Handle`](crate::event_loop::Handle), which never waits for them.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`protocol`] | what is said on the socket |
//! | [`client`] | the other side, for `uml_switchctl` and the like |

pub mod client;
mod connection;
mod copies;
mod crew;
mod file;
pub mod protocol;
mod service;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

pub use service::{AdminSocket, Desk, Service};

/// The path of the admin socket that belongs to the control socket `control`.
pub fn default_path(control: &Path) -> PathBuf {
    let mut path = control.as_os_str().to_owned();
    path.push(SUFFIX);
    path.into()
}

/// The control socket that the admin socket at `path` belongs to, if it is named after one.
fn control_of(path: &Path) -> Option<PathBuf> {
    let control = path.as_os_str().as_bytes().strip_suffix(SUFFIX.as_bytes())?;
    Some(OsStr::from_bytes(control).into())
}

/// What the path of an admin socket ends in, unless it was chosen.
pub const SUFFIX: &str = ".admin";
