//! The host's own part: its commands, what it needs, and a directory that only we see.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use tempfile::TempDir;

/// What is missing here to run guests, in words, if anything is.
pub fn missing() -> Option<String> {
    let commands = [
        ("linux.uml", "user-mode-linux"),
        ("iperf3", "iperf3"),
        ("fping", "fping"),
        ("ip", "iproute2"),
        ("setpriv", "util-linux"),
    ];
    if let Some((name, package)) = commands.into_iter().find(|(name, _)| !has(name)) {
        return Some(format!("no {name}: install {package}"));
    }
    let tun = fs::OpenOptions::new().read(true).write(true).open("/dev/net/tun");
    tun.err().map(|error| format!("no TAP devices here: {error}"))
}

/// Whether there is a command of this name.
pub fn has(name: &str) -> bool {
    PATH.split(':').any(|dir| Path::new(dir).join(name).exists())
}

/// A command of the system.
pub fn command(name: &str) -> Command {
    let mut command = Command::new(name);
    command.env("PATH", PATH);
    command
}

/// Runs `ip` with these arguments, separated by blanks.
pub fn ip(args: &str) -> Result<()> {
    let output = command("ip").args(args.split_whitespace()).output().context("cannot run ip")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ip {args}: {}", said.trim());
    Ok(())
}

/// A directory in memory, where guests find theirs: what would be written to a disk disturbs the
/// figures. Its path is short and without blanks, as kernels' command lines want it. Gone when
/// dropped.
#[derive(Debug)]
pub struct Stage(TempDir);

impl Stage {
    /// Takes this process into a mount namespace of its own, and makes the directory there.
    pub fn new() -> Result<Stage> {
        let none = None::<&str>;
        unshare(CloneFlags::CLONE_NEWNS).context("no mount namespace")?;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
        let directory = tempfile::Builder::new().prefix("uml-bench.").tempdir_in("/tmp")?;
        mount(none, directory.path(), Some("tmpfs"), MsFlags::empty(), Some("mode=755"))
            .context("cannot mount a tmpfs")?;
        Ok(Stage(directory))
    }

    /// Makes an empty directory in it.
    pub fn directory(&self) -> Result<TempDir> {
        Ok(TempDir::new_in(self.0.path())?)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = umount2(self.0.path(), MntFlags::MNT_DETACH);
    }
}

/// Lets the host say nothing by itself, as IPv6 does: it would be counted with what we send.
pub fn silence() -> Result<()> {
    for scope in ["all", "default"] {
        let path = PathBuf::from("/proc/sys/net/ipv6/conf").join(scope).join("disable_ipv6");
        if path.exists() {
            fs::write(path, "1")?;
        }
    }
    ip("link set lo up")
}

/// Where commands are looked for.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
