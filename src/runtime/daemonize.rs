//! Going into the background.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::AsFd;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::{SFlag, fstat};
use nix::unistd::{ForkResult, chdir, dup2_stderr, dup2_stdin, dup2_stdout, setsid};

use crate::sys;

/// Leaves the caller's terminal and session; the caller's process ends with exit code 0.
///
/// Called when the sockets are bound and listen: a script that goes on after `uml_switch -daemon` can
/// start its guests at once, and whatever went wrong was said in the foreground. Must be called
/// before any thread is started. Standard output and error are let go too, so that a pipe that the
/// caller reads ends, unless standard error is a file or a socket (a log, the journal).
///
/// # Errors
/// Those of `fork(2)` and of opening `/dev/null`.
pub fn become_daemon() -> io::Result<()> {
    let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    if let ForkResult::Parent { .. } = sys::fork()? {
        // Destructors are the child's: they would remove its sockets.
        sys::exit_now(0);
    }
    setsid()?;
    chdir("/")?;
    dup2_stdin(&null)?;
    dup2_stdout(&null)?;
    if !is_log(&io::stderr()) {
        dup2_stderr(&null)?;
    }
    Ok(())
}

fn is_log(stderr: &impl AsFd) -> bool {
    let kept = [SFlag::S_IFREG, SFlag::S_IFSOCK];
    fstat(stderr)
        .is_ok_and(|stat| kept.contains(&(SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT)))
}

/// Lets the process have as many descriptors as it may: each guest needs two.
pub fn raise_descriptor_limit() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        // If it cannot be raised, guests beyond the limit wait until others leave.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}
