//! A guest that does what the bench says, of User-Mode Linux or of QEMU.
//!
//! It is told what to run over its console. All of its processes are in one process group and end
//! with it, also when the bench is killed.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::transport::Plug;
use super::{qemu, uml};

/// A running guest.
#[derive(Debug)]
pub struct Guest {
    child: Child,
    input: ChildStdin,
    console: Arc<Console>,
    commands: u32,
}

/// A command that a guest runs.
#[derive(Clone, Copy, Debug)]
pub struct Job(u32);

impl Guest {
    /// Starts a guest whose network is `plug`, and whose files are in `directory`, a path without
    /// blanks.
    pub fn boot(directory: &Path, plug: &Plug) -> Result<Guest> {
        let mut command = match plug {
            Plug::Uml(interface) => uml::command(directory, interface)?,
            Plug::Qemu { netdev, mac, address } => qemu::command(netdev, mac, address),
        };
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .context("cannot start a guest")?;
        let input = child.stdin.take().context("no pipe")?;
        let output = child.stdout.take().context("no pipe")?;
        let console = Arc::new(Console::default());
        let listener = Arc::clone(&console);
        thread::spawn(move || listener.listen(output));
        Ok(Guest { child, input, console, commands: 0 })
    }

    /// Waits until it runs commands.
    pub fn wait_until_up(&self) -> Result<()> {
        self.finish(Job(0)).context("a guest does not boot").map(|_| ())
    }

    /// Starts a command line of the shell in the guest, which must be up.
    pub fn start(&mut self, command: &str) -> Result<Job> {
        self.commands += 1;
        writeln!(self.input, "{} {command}", self.commands).context("a guest has ended")?;
        Ok(Job(self.commands))
    }

    /// Waits for the end of a command, for a minute at most, and returns what it printed. It must
    /// succeed.
    pub fn finish(&self, Job(number): Job) -> Result<String> {
        let (status, output) = self.console.wait_for(number)?;
        ensure!(status == "0", "a command in a guest fails ({status}): {}", output.trim());
        Ok(output)
    }

    /// Runs a command line and returns what it printed.
    pub fn run(&mut self, command: &str) -> Result<String> {
        let job = self.start(command)?;
        self.finish(job)
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = killpg(Pid::from_raw(self.child.id() as i32), Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

/// What a guest has printed.
#[derive(Debug, Default)]
struct Console {
    printed: Mutex<Printed>,
    more: Condvar,
}

#[derive(Debug, Default)]
struct Printed {
    text: String,
    ended: bool,
}

impl Console {
    /// Collects what the guest prints, until it ends.
    fn listen(&self, output: ChildStdout) {
        let mut output = BufReader::new(output);
        let mut line = Vec::new();
        while output.read_until(b'\n', &mut line).is_ok_and(|len| len > 0) {
            self.printed().text.push_str(&String::from_utf8_lossy(&line));
            self.more.notify_all();
            line.clear();
        }
        self.printed().ended = true;
        self.more.notify_all();
    }

    /// The status of command `number` and what it printed, when it is done.
    fn wait_for(&self, number: u32) -> Result<(String, String)> {
        let waiting = |printed: &mut Printed| !printed.ended && printed.answer(number).is_none();
        let (printed, _) = self
            .more
            .wait_timeout_while(self.printed(), PATIENCE, waiting)
            .unwrap_or_else(PoisonError::into_inner);
        match printed.answer(number) {
            Some((status, output)) => Ok((status.to_owned(), output.to_owned())),
            None if printed.ended => bail!("a guest has ended"),
            None => bail!("a guest does not answer"),
        }
    }

    fn printed(&self) -> MutexGuard<'_, Printed> {
        self.printed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Printed {
    fn answer(&self, number: u32) -> Option<(&str, &str)> {
        let (_, from) = self.text.split_once(&format!("@@ {number} "))?;
        let (body, _) = from.split_once(&format!("\n@@end {number}\n"))?;
        body.split_once('\n')
    }
}

/// How long a guest may take for a command, its boot included.
const PATIENCE: Duration = Duration::from_secs(60);
