//! How the kernel runs the loop's thread: on which CPU, before whom, and whether it may spin.
//!
//! Two steps, for the process may go into the background between them. [`Scheduling::request`] finds
//! out what can be had while there is still somebody in the foreground to tell; [`Granted::apply`]
//! is for the thread that serves, after the logging thread has been started: that one is to stay as
//! ordinary as it is, and to go on using all CPUs.

use std::fmt;
use std::io;
use std::time::Duration;

use nix::errno::Errno;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::mman::{MlockAllFlags, mlockall};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};
use nix::unistd::{Pid, SysconfVar, sysconf};
use tracing::{info, warn};

use crate::sys;

/// What is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scheduling {
    /// Run before all ordinary threads, with memory that is not swapped out.
    pub realtime: bool,
    /// Run on this CPU only.
    pub cpu: Option<usize>,
    /// Look for the next frame for so long before sleeping.
    pub busy_poll: Option<Duration>,
}

/// What of it can be had.
#[derive(Clone, Copy, Debug)]
pub struct Granted {
    realtime: bool,
    lock_memory: bool,
    cpu: Option<usize>,
    busy_poll: Option<Duration>,
}

/// Why the loop cannot run as it has to.
#[derive(Debug, thiserror::Error)]
pub enum SchedulingError {
    /// The system does not tell.
    #[error("cannot tell which CPUs the switch may use")]
    UnknownCpus(#[source] io::Error),
    /// There is no such CPU, or it is not for us.
    #[error("cannot run on CPU {cpu}: the CPUs that the switch may use are {allowed}")]
    NotAllowed {
        /// The CPU asked for.
        cpu: usize,
        /// The ones that could be had.
        allowed: String,
    },
    /// It could have been had a moment ago.
    #[error("cannot run on CPU {cpu}")]
    Pin {
        /// The CPU asked for.
        cpu: usize,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

/// What can be done without, and what it takes.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(
        "no real-time scheduling, going on without it: needs CAP_SYS_NICE or an RLIMIT_RTPRIO of 1: {0}"
    )]
    RealTime(io::Error),
    #[error(
        "memory not locked, going on without it: needs CAP_IPC_LOCK or an unlimited RLIMIT_MEMLOCK: {0}"
    )]
    Memory(io::Error),
    #[error("no busy polling: with one CPU nobody could send while the switch looks for frames")]
    OneCpu,
    #[error("no busy polling: with real-time scheduling it would take its CPU from everybody else")]
    Starving,
}

impl Scheduling {
    /// Finds out what can be had. What cannot, and can be done without, is told to `complain`.
    ///
    /// # Errors
    /// The CPU cannot be had.
    pub fn request(
        self,
        mut complain: impl FnMut(fmt::Arguments<'_>),
    ) -> Result<Granted, SchedulingError> {
        let Scheduling { realtime, cpu, busy_poll } = self;
        if let Some(cpu) = cpu {
            let allowed = allowed_cpus().map_err(|e| SchedulingError::UnknownCpus(e.into()))?;
            check_cpu(cpu, &allowed)?;
        }
        let mut or_complain = |result: Result<(), Refusal>| match result {
            Ok(()) => true,
            Err(refusal) => {
                complain(format_args!("{refusal}"));
                false
            }
        };
        // What is set here is gone after a fork, as is intended.
        let realtime = realtime && or_complain(become_realtime());
        let lock_memory = self.realtime && or_complain(lock_memory());
        let busy_poll = busy_poll.filter(|_| or_complain(check_spin(online_cpus(), realtime)));
        Ok(Granted { realtime, lock_memory, cpu, busy_poll })
    }
}

impl Granted {
    /// Makes it so for the calling thread.
    ///
    /// # Errors
    /// The CPU cannot be had any more.
    pub fn apply(&self) -> Result<(), SchedulingError> {
        let Granted { realtime, lock_memory, cpu, busy_poll } = *self;
        if let Some(cpu) = cpu {
            pin_to(cpu).map_err(|source| SchedulingError::Pin { cpu, source })?;
        }
        let set = [(realtime, become_realtime as fn() -> _), (lock_memory, self::lock_memory)];
        for refusal in set.iter().filter(|(wanted, _)| *wanted).filter_map(|(_, set)| set().err()) {
            warn!("{refusal}");
        }
        if realtime || lock_memory || cpu.is_some() || busy_poll.is_some() {
            let busy_poll_us = busy_poll.map(|window| window.as_micros() as u64);
            info!(cpu, realtime, lock_memory, busy_poll_us, "scheduling");
        }
        Ok(())
    }

    /// How long the loop may look for the next frame before it sleeps.
    pub fn busy_poll(&self) -> Option<Duration> {
        self.busy_poll
    }
}

/// The CPUs that the calling thread may use, in order.
fn allowed_cpus() -> Result<Vec<usize>, Errno> {
    let set = sched_getaffinity(THIS_THREAD)?;
    Ok((0..CpuSet::count()).filter(|&cpu| set.is_set(cpu) == Ok(true)).collect())
}

/// The CPUs of the machine: guests may run where we do not.
fn online_cpus() -> usize {
    let online = sysconf(SysconfVar::_NPROCESSORS_ONLN).ok().flatten();
    online.and_then(|cpus| cpus.try_into().ok()).unwrap_or(usize::MAX)
}

fn check_cpu(cpu: usize, allowed: &[usize]) -> Result<(), SchedulingError> {
    if allowed.contains(&cpu) {
        return Ok(());
    }
    Err(SchedulingError::NotAllowed { cpu, allowed: ranges(allowed) })
}

/// Spinning takes the CPU from ordinary threads only as far as they let it, for the scheduler is
/// fair; from a real-time thread they get it back when that sleeps, and one that always finds another
/// frame in time never would. The kernel's bound for real-time threads is no answer: it stops the
/// thread for 50 ms a second, frames and all.
fn check_spin(cpus: usize, realtime: bool) -> Result<(), Refusal> {
    if realtime {
        Err(Refusal::Starving)
    } else if cpus < 2 {
        Err(Refusal::OneCpu)
    } else {
        Ok(())
    }
}

fn become_realtime() -> Result<(), Refusal> {
    raise_soft_limit(Resource::RLIMIT_RTPRIO);
    sys::run_first_in_first_out(PRIORITY).map_err(Refusal::RealTime)
}

/// Keeps what the process uses in memory, from when it is first used on: mappings that are never
/// touched stay without memory.
///
/// Only where there is no limit: the lock is for future mappings too, and under a limit those would
/// fail one day, and with them the switch.
fn lock_memory() -> Result<(), Refusal> {
    let refused = |errno: Errno| Refusal::Memory(errno.into());
    raise_soft_limit(Resource::RLIMIT_MEMLOCK);
    let (soft, hard) = getrlimit(Resource::RLIMIT_MEMLOCK).map_err(refused)?;
    if soft == RLIM_INFINITY {
        return lock_all().map_err(refused);
    }
    // With a limit of nothing it works for those alone to whom no limit applies.
    setrlimit(Resource::RLIMIT_MEMLOCK, 0, hard).map_err(refused)?;
    let locked = lock_all();
    setrlimit(Resource::RLIMIT_MEMLOCK, soft, hard).map_err(refused)?;
    locked.map_err(refused)
}

fn lock_all() -> Result<(), Errno> {
    let on_fault = MlockAllFlags::from_bits_retain(libc::MCL_ONFAULT);
    mlockall(MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE | on_fault)
}

fn raise_soft_limit(resource: Resource) {
    if let Ok((soft, hard)) = getrlimit(resource)
        && soft < hard
    {
        // If it cannot be raised, what it is for will fail and say so.
        let _ = setrlimit(resource, hard, hard);
    }
}

fn pin_to(cpu: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    Ok(sched_setaffinity(THIS_THREAD, &set)?)
}

/// As `taskset` writes CPUs: `0-3,6`. `cpus` are in order.
fn ranges(cpus: &[usize]) -> String {
    let runs = cpus.chunk_by(|left, right| left + 1 == *right);
    let words = runs.map(|run| match run {
        [only] => only.to_string(),
        _ => format!("{}-{}", run[0], run[run.len() - 1]),
    });
    words.collect::<Vec<_>>().join(",")
}

/// The lowest there is (`sched(7)`), which is before every ordinary thread. Interrupts that the kernel
/// serves in threads come first: they have 50 (`sched_set_fifo` in `kernel/sched/syscalls.c`).
const PRIORITY: i32 = 1;

const THIS_THREAD: Pid = Pid::from_raw(0);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_are_written_as_taskset_writes_them() {
        for (cpus, expected) in [
            (&[] as &[usize], ""),
            (&[5], "5"),
            (&[0, 1], "0-1"),
            (&[0, 1, 2, 3, 6], "0-3,6"),
            (&[1, 3, 5, 6], "1,3,5-6"),
        ] {
            assert_eq!(ranges(cpus), expected);
        }
    }

    #[test]
    fn a_cpu_that_is_not_ours_is_refused_with_those_that_are() {
        assert!(check_cpu(3, &[1, 2, 3]).is_ok());
        let error = check_cpu(0, &[1, 2, 3]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot run on CPU 0: the CPUs that the switch may use are 1-3"
        );
    }

    #[test]
    fn nobody_spins_where_that_starves_others() {
        assert!(check_spin(2, false).is_ok());
        assert!(matches!(check_spin(1, false), Err(Refusal::OneCpu)));
        assert!(matches!(check_spin(2, true), Err(Refusal::Starving)));
    }
}
