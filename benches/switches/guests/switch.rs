//! A switch that serves guests and, by a TAP interface, the host.

use std::fs::{self, File};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::host;
use super::transport::Outlet;
use crate::competitor::Kind;

/// A switch that serves. Ends when dropped.
#[derive(Debug)]
pub struct Switch {
    child: Child,
    log: PathBuf,
}

/// Its control socket, if its files are in `directory`.
pub fn control(kind: Kind, directory: &Path) -> PathBuf {
    match kind {
        Kind::Vde => vde(directory).join("ctl"),
        Kind::Reference | Kind::Ours => directory.join("ctl"),
    }
}

/// The directory where libvdeplug finds it.
pub fn vde(directory: &Path) -> PathBuf {
    directory.join("vde")
}

impl Switch {
    /// Starts `program` with the host at the TAP interface `uplink`, and waits until it serves.
    pub fn start(
        kind: Kind,
        program: &Path,
        directory: &Path,
        uplink: &str,
        outlet: &Outlet,
    ) -> Result<Switch> {
        let control = control(kind, directory);
        let log = directory.join("log");
        // It ends with us, also when we are killed.
        let mut command = host::command("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(program);
        match kind {
            Kind::Vde => command.arg("-s").arg(vde(directory)),
            Kind::Reference | Kind::Ours => command.arg("-unix").arg(&control),
        };
        command.args(["-tap", uplink]);
        if kind == Kind::Ours {
            command.args(["--log", "info"]).args(outlet.options());
        }
        // The C program and vde_switch end, or spin, without an open input.
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(File::create(&log)?);
        let child = command.spawn().context("cannot run setpriv")?;
        let mut switch = Switch { child, log };
        let deadline = Instant::now() + PATIENCE;
        while UnixStream::connect(&control).is_err() {
            ensure!(Instant::now() < deadline, "{} does not serve", program.display());
            ensure!(switch.child.try_wait()?.is_none(), "{} has ended", program.display());
            thread::sleep(MOMENT);
        }
        Ok(switch)
    }

    /// Ends it in its own way. Returns the last line of its log, if it is one with its counters.
    pub fn end(mut self) -> Option<String> {
        kill(self.pid(), Signal::SIGTERM).ok()?;
        let deadline = Instant::now() + PATIENCE;
        while self.child.try_wait().ok()?.is_none() && Instant::now() < deadline {
            thread::sleep(MOMENT);
        }
        let log = fs::read(&self.log).ok()?;
        let log = String::from_utf8_lossy(&log);
        let (_, totals) = log.lines().last()?.split_once("totals=")?;
        Some(totals.to_owned())
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        // Once it has been waited for, its number may be another's.
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// How long a switch may take to start, and to end.
const PATIENCE: Duration = Duration::from_secs(10);

const MOMENT: Duration = Duration::from_millis(1);
