//! Which signals end the switch, and which must not.

use std::io;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::sys;

/// Ignores the signals that a terminal, a pipe, a file's bound or a shell's job control would stop or
/// end us with.
///
/// # Errors
/// Those of `sigaction(2)`.
pub fn settle_signals() -> io::Result<()> {
    // SIGTTIN and SIGTTOU stop a background process that touches its terminal, SIGXFSZ ends one whose
    // capture or log reaches `ulimit -f`. SIGPIPE is ignored by Rust's start-up already; it is listed
    // for the reader.
    for signal in [Signal::SIGPIPE, Signal::SIGTTIN, Signal::SIGTTOU, Signal::SIGXFSZ] {
        sys::ignore_signal(signal)?;
    }
    Ok(())
}

/// The signals after which the process removes its sockets and dies by that same signal, as a
/// descriptor to read them from. They stay blocked from here on, in every thread started later.
///
/// SIGINT and SIGTERM do so even if the process was started with them ignored, as a shell starts
/// what it puts into the background. SIGHUP does so too, unless it was ignored (`nohup`) or
/// `in_background`: a daemon has no terminal that could hang up.
///
/// # Errors
/// Those of `sigaction(2)`, `sigprocmask(2)` and `signalfd(2)`.
pub fn ending_signals(in_background: bool) -> io::Result<SignalFd> {
    let mut set = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        sys::default_signal(signal)?;
        set.add(signal);
    }
    if in_background || sys::default_signal(Signal::SIGHUP)? {
        sys::ignore_signal(Signal::SIGHUP)?;
    } else {
        set.add(Signal::SIGHUP);
    }
    set.thread_block()?;
    Ok(SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?)
}
