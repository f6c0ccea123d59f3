//! The switches that are compared, and one of them running.

use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

use crate::place::{self, Cpus};
use crate::scenario::Options;

/// One of the programs that are compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Competitor {
    /// What the results call it.
    pub name: String,
    pub kind: Kind,
    pub program: PathBuf,
}

/// How a program wants to be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The C `uml_switch` of `uml-utilities`: what all others are measured against.
    Reference,
    /// `vde_switch`.
    Vde,
    /// This project's, or another build of it.
    Ours,
}

impl Competitor {
    fn command(&self, directory: &Path, options: Options) -> (Command, PathBuf) {
        let mut command = Command::new(&self.program);
        let control = match self.kind {
            Kind::Reference | Kind::Ours => {
                let control = directory.join("ctl");
                command.arg("-unix").arg(&control);
                control
            }
            Kind::Vde => {
                command.args(["-n", MOST_PORTS, "-s"]).arg(directory.join("vde"));
                command.arg("-M").arg(directory.join(VDE_CONSOLE));
                directory.join("vde/ctl")
            }
        };
        match self.kind {
            Kind::Ours => command.args(["--log", "warn"]).args(options.ours),
            Kind::Reference => command.args(options.reference),
            Kind::Vde => &mut command,
        };
        (command, control)
    }
}

/// A switch that serves. Ends when dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    /// Its terminal: the C program ends, or spins, without one.
    _stdin: Option<ChildStdin>,
    kind: Kind,
    control: PathBuf,
    started_in: Duration,
    directory: tempfile::TempDir,
}

impl Running {
    /// Starts `competitor` on `cpus`, and waits until guests can connect.
    pub fn start(competitor: &Competitor, options: Options, cpus: Cpus) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let (mut command, control) = competitor.command(directory.path(), options);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let before = Instant::now();
        let mut child = place::on(cpus, || command.spawn())?
            .with_context(|| format!("cannot start {}", competitor.program.display()))?;
        let stdin = child.stdin.take();
        let mut running = Running {
            child,
            _stdin: stdin,
            kind: competitor.kind,
            control,
            started_in: Duration::ZERO,
            directory,
        };
        while std::os::unix::net::UnixStream::connect(&running.control).is_err() {
            ensure!(before.elapsed() < START_LIMIT, "{} does not serve", competitor.name);
            ensure!(running.child.try_wait()?.is_none(), "{} has ended", competitor.name);
            std::thread::sleep(Duration::from_micros(100));
        }
        running.started_in = before.elapsed();
        Ok(running)
    }

    /// The socket where guests ask for a port.
    pub fn control(&self) -> &Path {
        &self.control
    }

    /// Which program it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// A directory of its own, that goes with it.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Time from its start to the first connection that it took.
    pub fn started_in(&self) -> Duration {
        self.started_in
    }

    /// Processor time that it has used.
    pub fn cpu(&self) -> Result<Duration> {
        let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(self.child.id() as i32))?;
        Ok(clock_gettime(clock)?.into())
    }

    /// Resident memory in KiB, as /proc tells.
    pub fn resident_kib(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().next());
        number.context("no VmRSS")?.parse().context("VmRSS")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.child.id() as i32), Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

/// Where `vde_switch` takes commands, in [`Running::directory`].
pub const VDE_CONSOLE: &str = "console";

/// For `vde_switch`, which has 32 ports unless told otherwise.
const MOST_PORTS: &str = "4096";

const START_LIMIT: Duration = Duration::from_secs(10);
