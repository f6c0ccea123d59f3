//! Which processors the switch and its clients run on.

use anyhow::Result;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// Where a scenario puts the switch and its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// All on one processor: steadies the figures, and nobody waits for an idle processor to wake.
    One,
    /// The switch on one, all clients on another.
    Two,
    /// As the system likes.
    Free,
}

/// A set of processors for one process or thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cpus {
    /// This one only.
    Only(usize),
    /// Those that we were started with.
    All,
}

impl Placement {
    /// Where the switch runs.
    pub fn of_switch(self) -> Cpus {
        match self {
            Placement::One | Placement::Two => Cpus::Only(SWITCH),
            Placement::Free => Cpus::All,
        }
    }

    /// Where its clients run.
    pub fn of_clients(self) -> Cpus {
        match self {
            Placement::One => Cpus::Only(SWITCH),
            Placement::Two => Cpus::Only(CLIENTS),
            Placement::Free => Cpus::All,
        }
    }
}

/// Runs `work` on `cpus`; threads and processes that it starts stay there.
pub fn on<T>(cpus: Cpus, work: impl FnOnce() -> T) -> Result<T> {
    let ourselves = Pid::from_raw(0);
    let before = sched_getaffinity(ourselves)?;
    if let Cpus::Only(cpu) = cpus {
        let mut set = CpuSet::new();
        set.set(cpu)?;
        sched_setaffinity(ourselves, &set)?;
    }
    let result = work();
    sched_setaffinity(ourselves, &before)?;
    Ok(result)
}

/// How many processors we may use.
pub fn available() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The first processor serves most interrupts, so the switch is not put there.
const SWITCH: usize = 1;
const CLIENTS: usize = 0;
