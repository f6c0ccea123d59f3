//! User-Mode Linux: how a guest of it is started.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::host;

/// What starts a guest whose network is `interface`, as the kernel's command line wants it. Its file
/// system is the host's, read-only; its own files are in `directory`, a path without blanks.
pub fn command(directory: &Path, interface: &str) -> Result<Command> {
    let init = directory.join("init.sh");
    if !init.exists() {
        fs::write(&init, include_str!("init.sh"))?;
        fs::set_permissions(&init, Permissions::from_mode(0o755))?;
    }
    let mut command = host::command("linux.uml");
    command
        .arg("mem=96M")
        .args(["rootfstype=hostfs", "rootflags=/", "ro", "root=/dev/root", "loglevel=1"])
        .arg(format!("init={}", init.display()))
        .arg(interface)
        .args(["con=null", "con0=fd:0,fd:1"])
        // These two measure how fast RAID could be, which is most of what a boot costs.
        .arg("initcall_blacklist=raid6_select_algo,calibrate_xor_blocks")
        .arg(format!("uml_dir={}/uml/", directory.display()))
        .env("TMPDIR", directory);
    Ok(command)
}
