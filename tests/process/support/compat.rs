//! The switch as the oldest guests want it.

use std::process::Command;

use super::{Switch, binary};

/// A switch with one data socket for all ports, in its own directory.
pub fn with_shared_data_socket() -> Switch {
    let dir = tempfile::tempdir().expect("a directory for the switch");
    let control = dir.path().join("ctl");
    let mut command = Command::new(binary());
    command.arg("-compat-v0").arg("-unix").arg(&control).arg(dir.path().join("data"));
    Switch::spawn(dir, control, command)
}
