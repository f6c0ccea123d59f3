//! A terminal of a test's own.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;

use nix::fcntl::OFlag;
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};

/// The side of a terminal at which a user sits. It hangs up when this is dropped.
#[derive(Debug)]
pub struct Terminal(File);

impl Terminal {
    /// A new one, and the side that a program gets. Neither is inherited by programs of other tests.
    pub fn open() -> (Terminal, File) {
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let master = posix_openpt(flags).expect("a terminal");
        grantpt(&master).expect("a terminal");
        unlockpt(&master).expect("a terminal");
        let name = ptsname_r(&master).expect("a terminal's name");
        let mut options = File::options();
        options.read(true).write(true).custom_flags(OFlag::O_NOCTTY.bits());
        let slave = options.open(name).expect("the terminal's other side");
        (Terminal(File::from(OwnedFd::from(master))), slave)
    }

    /// Types `keys`.
    pub fn type_in(&mut self, keys: &[u8]) {
        self.0.write_all(keys).expect("a terminal takes what is typed");
    }
}
