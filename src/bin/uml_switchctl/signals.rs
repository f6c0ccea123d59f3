//! What ends a capture from outside, while the main thread waits for frames.

use std::io;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::signalfd::SignalFd;

use uml_switch::runtime;
use uml_switch::sys;

/// The signals that end a capture; kept from now on until somebody looks.
///
/// # Errors
/// Those of the system calls.
pub(crate) fn ending() -> io::Result<SignalFd> {
    runtime::ending_signals(false)
}

/// Lets the first of `signals`, or the end of who reads standard output, end the capture on
/// `stream`, which then gives its rest. Another signal ends the process at once, but not within
/// [`ONE_WISH`] of the first: `timeout(1)` sends each one twice, to the process and to its group.
/// Returns what tells whether the end was asked for.
///
/// # Errors
/// Those of the system calls.
pub(crate) fn end_capture(signals: SignalFd, stream: &UnixStream) -> io::Result<Arc<AtomicBool>> {
    let asked = Arc::new(AtomicBool::new(false));
    let (stream, told) = (stream.try_clone()?, asked.clone());
    thread::Builder::new().name("signals".into()).spawn(move || {
        let end = || {
            told.store(true, Ordering::Relaxed);
            // It may have ended already.
            let _ = stream.shutdown(Shutdown::Write);
        };
        if wait(&signals, true).is_none() {
            // The reader has gone: nothing of what follows is ever read.
            end();
            let _ = wait(&signals, false);
        }
        end();
        let first = Instant::now();
        while let Some(signal) = wait(&signals, false) {
            if first.elapsed() >= ONE_WISH {
                sys::die_by(signal);
            }
        }
    })?;
    Ok(asked)
}

/// Nobody asks twice in so short a time.
const ONE_WISH: Duration = Duration::from_millis(100);

/// Waits for a signal; `None` if the reader of standard output has gone and that matters.
fn wait(signals: &SignalFd, watch_reader: bool) -> Option<Signal> {
    let stdout = io::stdout();
    loop {
        if let Ok(Some(info)) = signals.read_signal() {
            return Signal::try_from(info.ssi_signo as i32).ok();
        }
        let mut asked = [
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
            // Nothing is asked for: an error is always told, and a pipe has one without a reader.
            PollFd::new(stdout.as_fd(), PollFlags::empty()),
        ];
        let asked = if watch_reader { &mut asked[..] } else { &mut asked[..1] };
        let told = poll(asked, PollTimeout::NONE);
        let gone = |reader: &PollFd<'_>| {
            reader.revents().is_some_and(|events| events.contains(PollFlags::POLLERR))
        };
        if told.is_ok() && asked.get(1).is_some_and(gone) {
            return None;
        }
    }
}
