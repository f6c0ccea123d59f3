//! The switches that are compared, and one of them running.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

use uml_switch::client::{Client, ClientError, Transport, mac};

use crate::place::{self, Cpus};
use crate::scenario::Options;

/// A column of the results: a program, and who its clients are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// What the results call it.
    pub name: &'static str,
    pub kind: Kind,
    /// What clients speak: the first one the first of these, and so on, round and round.
    pub clients: &'static [Transport],
}

/// Which program it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The C `uml_switch` of `uml-utilities`.
    Reference,
    /// `vde_switch`.
    Vde,
    /// This project's, or another build of it.
    Ours,
}

/// Where the programs are.
#[derive(Clone, Debug)]
pub struct Programs {
    reference: PathBuf,
    other_build: Option<PathBuf>,
}

/// A column with its program.
#[derive(Clone, Debug)]
pub struct Competitor {
    pub column: Column,
    pub program: PathBuf,
}

impl Column {
    const fn new(name: &'static str, kind: Kind, clients: &'static [Transport]) -> Self {
        Column { name, kind, clients }
    }

    /// What the client numbered `n` speaks, from 0 on.
    pub fn client(&self, n: usize) -> Transport {
        self.clients[n % self.clients.len()]
    }
}

impl Programs {
    /// Those of this machine, ours as built, and another build of ours if there is one.
    pub fn new(other_build: Option<PathBuf>) -> Self {
        // Where this switch is installed in the place of the C program, that lies aside.
        let aside = Path::new("/usr/bin/uml_switch.distrib");
        let reference = if aside.exists() { aside } else { Path::new("/usr/bin/uml_switch") };
        Programs { reference: reference.to_owned(), other_build }
    }

    /// The competitors of these columns. Another build follows ours where the clients are the usual.
    pub fn competitors(&self, columns: &[Column]) -> Vec<Competitor> {
        let mut competitors = Vec::new();
        for &column in columns {
            competitors.push(Competitor { column, program: self.of(column.kind).to_owned() });
            if let Some(program) = self.other_build.clone().filter(|_| column == OURS) {
                competitors.push(Competitor { column: OTHER_BUILD, program });
            }
        }
        competitors
    }

    /// Ours as built.
    pub fn ours() -> &'static Path {
        Path::new(env!("CARGO_BIN_EXE_uml_switch"))
    }

    fn of(&self, kind: Kind) -> &Path {
        match kind {
            Kind::Reference => &self.reference,
            Kind::Vde => Path::new("/usr/bin/vde_switch"),
            Kind::Ours => Programs::ours(),
        }
    }
}

impl Competitor {
    /// What the results call it.
    pub fn name(&self) -> String {
        self.column.name.to_owned()
    }

    fn command(&self, directory: &Path, options: Options) -> Command {
        let mut command = Command::new(&self.program);
        let socket = |transport| self.socket(directory, transport);
        match self.column.kind {
            Kind::Reference => {
                command.arg("-unix").arg(socket(Transport::Daemon)).args(options.reference)
            }
            Kind::Vde => {
                command.args(["-n", MOST_PORTS, "-s"]).arg(socket(Transport::Vde));
                command.arg("-M").arg(directory.join(VDE_CONSOLE))
            }
            Kind::Ours => {
                command.arg("-unix").arg(socket(Transport::Daemon));
                for &transport in self.column.clients {
                    let option = match transport {
                        Transport::Daemon => continue,
                        Transport::Bess => "--bess",
                        Transport::Vde => "--vde",
                        Transport::Qemu => "--qemu",
                    };
                    command.arg(option).arg(socket(transport));
                }
                command.args(["--log", "warn"]).args(options.ours)
            }
        };
        command
    }

    /// Where clients of this transport connect; `vde_switch` takes those of the daemon transport too.
    fn socket(&self, directory: &Path, transport: Transport) -> PathBuf {
        directory.join(match (self.column.kind, transport) {
            (Kind::Vde, Transport::Daemon) => "vde/ctl",
            (_, Transport::Daemon) => "ctl",
            (_, Transport::Bess) => "bess",
            (_, Transport::Vde) => "vde",
            (_, Transport::Qemu) => "qemu",
        })
    }
}

/// A switch that serves. Ends when dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    /// Its terminal: the C program ends, or spins, without one.
    _stdin: Option<ChildStdin>,
    competitor: Competitor,
    started_in: Duration,
    directory: tempfile::TempDir,
}

impl Running {
    /// Starts `competitor` on `cpus`, and waits until guests can connect.
    pub fn start(competitor: &Competitor, options: Options, cpus: Cpus) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let mut command = competitor.command(directory.path(), options);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let before = Instant::now();
        let mut child = place::on(cpus, || command.spawn())?
            .with_context(|| format!("cannot start {}", competitor.program.display()))?;
        let stdin = child.stdin.take();
        let mut running = Running {
            child,
            _stdin: stdin,
            competitor: competitor.clone(),
            started_in: Duration::ZERO,
            directory,
        };
        let control = running.control();
        while UnixStream::connect(&control).is_err() {
            let name = competitor.column.name;
            ensure!(before.elapsed() < START_LIMIT, "{name} does not serve");
            ensure!(running.child.try_wait()?.is_none(), "{name} has ended");
            std::thread::sleep(Duration::from_micros(100));
        }
        running.started_in = before.elapsed();
        Ok(running)
    }

    /// Attaches the client numbered `n`, from 1 on, whose address is `mac(n)`.
    pub fn client(&self, n: u32) -> Result<Client, ClientError> {
        let transport = self.competitor.column.client(n as usize - 1);
        let socket = self.competitor.socket(self.directory(), transport);
        Client::connect_by(transport, &socket, mac(n))
    }

    /// The socket where guests of the `daemon` transport ask for a port.
    pub fn control(&self) -> PathBuf {
        self.competitor.socket(self.directory(), Transport::Daemon)
    }

    /// Which program it is.
    pub fn kind(&self) -> Kind {
        self.competitor.column.kind
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

/// What most scenarios compare. All clients speak as a UML kernel does.
pub const USUAL: &[Column] = &[REFERENCE, VDE_SWITCH, OURS];

/// The same, and ours with clients of each other transport.
pub const BY_TRANSPORT: &[Column] = &[REFERENCE, VDE_SWITCH, OURS, OURS_BESS, OURS_VDE, OURS_QEMU];

/// The same, and ours with clients of all transports side by side.
pub const WITH_MIXED: &[Column] = &[REFERENCE, VDE_SWITCH, OURS, OURS_MIXED];

/// Ours alone.
pub const ONLY_OURS: &[Column] = &[OURS, OURS_MIXED];

/// `vde_switch` and ours with the clients that `vde_switch` is made for.
pub const LIBVDEPLUG: &[Column] =
    &[Column::new("vde_switch", Kind::Vde, &[Transport::Vde]), OURS_VDE];

const REFERENCE: Column = Column::new("C uml_switch", Kind::Reference, &[Transport::Daemon]);
const VDE_SWITCH: Column = Column::new("vde_switch", Kind::Vde, &[Transport::Daemon]);
const OURS: Column = Column::new("uml_switch", Kind::Ours, &[Transport::Daemon]);
const OTHER_BUILD: Column = Column::new("other build", Kind::Ours, &[Transport::Daemon]);
const OURS_BESS: Column = Column::new("uml_switch bess", Kind::Ours, &[Transport::Bess]);
const OURS_VDE: Column = Column::new("uml_switch vde", Kind::Ours, &[Transport::Vde]);
const OURS_QEMU: Column = Column::new("uml_switch qemu", Kind::Ours, &[Transport::Qemu]);
const OURS_MIXED: Column = Column::new(
    "uml_switch mixed",
    Kind::Ours,
    &[Transport::Daemon, Transport::Bess, Transport::Vde, Transport::Qemu],
);

/// Where `vde_switch` takes commands, in [`Running::directory`].
pub const VDE_CONSOLE: &str = "console";

/// For `vde_switch`, which has 32 ports unless told otherwise.
const MOST_PORTS: &str = "4096";

const START_LIMIT: Duration = Duration::from_secs(10);
