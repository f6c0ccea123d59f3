//! Programs that run to their end.

use std::io::{Read, pipe};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;

use super::wait_for;

/// What a program has left.
#[derive(Debug)]
pub struct Finished {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

/// Runs `command` to its end with nothing to read, and until nobody can write to its standard output
/// and error any more: a program that it leaves in the background must have let them go.
#[track_caller]
pub fn run(command: &mut Command) -> Finished {
    let (mut stdout, to_stdout) = pipe().expect("a pipe");
    let (mut stderr, to_stderr) = pipe().expect("a pipe");
    command.stdin(Stdio::null()).stdout(to_stdout).stderr(to_stderr);
    let mut child = Killed(command.spawn().expect("the program starts"));
    // The command keeps the writing ends until it gets others.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let reader = thread::spawn(move || {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        // What is said is short enough for a pipe, so one after the other will do.
        stdout.read_to_end(&mut out).expect("a pipe can be read");
        stderr.read_to_end(&mut err).expect("a pipe can be read");
        [out, err].map(|bytes| String::from_utf8(bytes).expect("text"))
    });
    let status = child.wait();
    wait_for("its output to end", || reader.is_finished().then_some(()));
    let [stdout, stderr] = reader.join().expect("its output");
    Finished { status, stdout, stderr }
}

/// Runs `command` to its end, with its standard streams as they are.
#[track_caller]
pub fn finish(command: &mut Command) -> ExitStatus {
    Killed(command.spawn().expect("the program starts")).wait()
}

struct Killed(Child);

impl Killed {
    #[track_caller]
    fn wait(&mut self) -> ExitStatus {
        wait_for("a program to end", || self.0.try_wait().expect("a child to wait for"))
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
