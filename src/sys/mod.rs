//! The few system calls that neither std, nix nor socket2 wrap safely. Everything here is safe to
//! call.
#![allow(unsafe_code)]

mod descriptors;
pub mod libpcap;

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, signal, sigprocmask};
use nix::unistd::ForkResult;

pub use descriptors::receive_descriptors;

mod ioctl {
    nix::ioctl_readwrite_bad!(
        /// `TUNSETIFF` of `linux/if_tun.h`.
        tun_set_iff,
        libc::TUNSETIFF,
        libc::ifreq
    );
}

/// Attaches `tun`, an open `/dev/net/tun`, to the interface `name` (created if there is none), in
/// the mode that `flags` (`IFF_TAP` and so on) name. Returns the interface's name, which differs if
/// `name` was a pattern such as `tap%d`.
///
/// # Errors
/// Those of `TUNSETIFF`; `InvalidInput` if the name is longer than an interface's can be.
pub fn attach_tun(tun: &File, name: &str, flags: libc::c_int) -> io::Result<String> {
    // SAFETY: `ifreq` is plain data for which all zeroes is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // One byte stays zero, so that the kernel finds the end.
    if name.len() >= request.ifr_name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = flags as libc::c_short;
    // SAFETY: the descriptor is open for as long as `tun` is borrowed, and `request` is a whole
    // `ifreq` on our stack, which TUNSETIFF reads and writes before it returns.
    unsafe { ioctl::tun_set_iff(tun.as_raw_fd(), &raw mut request) }?;
    let name = request.ifr_name.iter().take_while(|&&byte| byte != 0).map(|&byte| byte as u8);
    Ok(String::from_utf8_lossy(&name.collect::<Vec<_>>()).into_owned())
}

/// Ignores `signal` from now on.
///
/// # Errors
/// Those of `sigaction(2)`.
pub fn ignore_signal(which: Signal) -> io::Result<()> {
    // SAFETY: ignoring installs no handler, so no code of ours runs in signal context.
    unsafe { signal(which, SigHandler::SigIgn) }?;
    Ok(())
}

/// Gives `signal` its default effect and returns whether it was ignored before.
///
/// # Errors
/// Those of `sigaction(2)`.
pub fn default_signal(which: Signal) -> io::Result<bool> {
    // SAFETY: the default effect runs no code of ours.
    let before = unsafe { signal(which, SigHandler::SigDfl) }?;
    Ok(matches!(before, SigHandler::SigIgn))
}

/// Ends the process by `signal`, so that whoever waits for it sees what ended it.
pub fn die_by(which: Signal) -> ! {
    // The results do not matter: what is left when a step fails is the abort below.
    let _ = default_signal(which);
    let mut set = SigSet::empty();
    set.add(which);
    let _ = sigprocmask(SigmaskHow::SIG_UNBLOCK, Some(&set), None);
    let _ = nix::sys::signal::raise(which);
    std::process::abort();
}

/// Ends the process at once, without running destructors.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: `_exit` ends the process and touches nothing of it.
    unsafe { libc::_exit(code) }
}

/// Splits the process in two.
///
/// # Errors
/// Those of `fork(2)`, and `Unsupported` if the process has more than one thread: the child would
/// have only this one, with whatever locks the others held.
pub fn fork() -> io::Result<ForkResult> {
    let threads = std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    if threads > 1 {
        return Err(io::ErrorKind::Unsupported.into());
    }
    // SAFETY: there is one thread, as was just checked, so the child is a full copy and may go on
    // with any code.
    Ok(unsafe { nix::unistd::fork() }?)
}

/// Lets the calling thread run before all ordinary ones, and as long as it wants to (`SCHED_FIFO`,
/// `sched(7)`). Threads and processes that it starts later are ordinary ones.
///
/// # Errors
/// Those of `sched_setscheduler(2)`: `EPERM` without CAP_SYS_NICE if RLIMIT_RTPRIO is below
/// `priority` (1 to 99, more is more urgent).
pub fn run_first_in_first_out(priority: i32) -> io::Result<()> {
    const THIS_THREAD: libc::pid_t = 0;
    let policy = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
    // SAFETY: `sched_param` is plain data for which all zeroes is a value.
    let mut parameters: libc::sched_param = unsafe { std::mem::zeroed() };
    parameters.sched_priority = priority;
    // SAFETY: `parameters` is a whole `sched_param` on our stack, which is only read, and not after
    // the call has returned.
    let result = unsafe { libc::sched_setscheduler(THIS_THREAD, policy, &raw const parameters) };
    nix::errno::Errno::result(result)?;
    Ok(())
}

/// A time as the clock on the wall shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalTime {
    /// The year, such as 2026.
    pub year: i32,
    /// The month, from 1.
    pub month: i32,
    /// The day of the month, from 1.
    pub day: i32,
    /// The hour, 0 to 23.
    pub hour: i32,
    /// The minute, 0 to 59.
    pub minute: i32,
    /// The second, 0 to 60.
    pub second: i32,
}

/// What the clock shows here so many seconds after 1970 began in Greenwich, by `TZ` or
/// `/etc/localtime` as they were when this was asked first; 1970 for what is too large.
pub fn local_time(seconds: u64) -> LocalTime {
    let seconds = libc::time_t::try_from(seconds).unwrap_or(0);
    // SAFETY: `tm` is plain data for which all zeroes is a value.
    let mut tm: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both are whole and on our stack, and used only during the call, which any number of
    // threads may make at a time. It reads the environment, which nothing in this program changes.
    if unsafe { libc::localtime_r(&raw const seconds, &raw mut tm) }.is_null() {
        (tm.tm_year, tm.tm_mon, tm.tm_mday) = (70, 0, 1);
    }
    LocalTime {
        year: tm.tm_year.saturating_add(1900),
        month: tm.tm_mon + 1,
        day: tm.tm_mday,
        hour: tm.tm_hour,
        minute: tm.tm_min,
        second: tm.tm_sec,
    }
}

/// Lets large blocks of memory go back to the system when they are freed, always. Otherwise glibc
/// keeps those of captures that have ended: it learns from the first one that such blocks are freed,
/// and takes the next ones from heaps that it does not give back.
pub fn return_large_blocks() {
    #[cfg(target_env = "gnu")]
    {
        /// glibc's own first threshold, in bytes: to set it is to keep it.
        const LARGE: libc::c_int = 128 << 10;
        // SAFETY: the call takes two numbers. It fails only for a threshold beyond glibc's bound.
        unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE) };
    }
}

/// Who is at the other end of a connection, as `SO_PEERCRED` of `unix(7)` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Effective user id at the time of the connection, as our user namespace maps it.
    pub uid: u32,
    /// Process id at the time of the connection.
    pub pid: i32,
}

impl Peer {
    /// Whether it may see all frames and change what the switch does: root and the switch's own user
    /// may.
    pub fn may_administer(self) -> bool {
        self.uid == 0 || self.uid == nix::unistd::geteuid().as_raw()
    }
}

/// Binds a packet socket (`packet(7)`) to the interface numbered `interface`, for packets of
/// `protocol`, which is in network byte order.
///
/// # Errors
/// Those of `bind(2)`: `ENODEV` or `ENXIO` if there is no such interface, `ENETDOWN` if it is down.
pub fn bind_to_interface(
    socket: &socket2::Socket,
    interface: u32,
    protocol: u16,
) -> io::Result<()> {
    // SAFETY: `sockaddr_ll` is plain data for which all zeroes is a value.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = protocol;
    address.sll_ifindex = interface as libc::c_int;
    // SAFETY: `address` is a whole `sockaddr_ll` on our stack, the length is its own, and it is only
    // read before the call returns.
    let result = unsafe {
        libc::bind(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            size_of::<libc::sockaddr_ll>() as libc::socklen_t,
        )
    };
    nix::errno::Errno::result(result)?;
    Ok(())
}
