//! A switch that is started for the replay and stopped after it.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, mkdtemp};

use super::signals::Signals;

/// A switch of ours. Stopped, with whatever it has started, when dropped.
#[derive(Debug)]
pub struct Started {
    child: Child,
    /// Its terminal: the C program ends when it reads the end of its input.
    _stdin: Option<ChildStdin>,
    directory: PathBuf,
}

impl Started {
    /// Runs `line`, words as a shell splits and unquotes them, with a control socket's path for
    /// `{ctl}`, and waits until that socket is there.
    ///
    /// # Errors
    /// When it cannot be started, ends at once, or makes no socket in time.
    pub fn run(line: &str, signals: &Signals) -> Result<Self> {
        ensure!(
            line.contains(CONTROL),
            "{line:?}: no {CONTROL} for the control socket's path in it"
        );
        let directory = mkdtemp(&std::env::temp_dir().join("uml_replay.XXXXXX"))
            .context("cannot make a directory for the switch")?;
        let child = spawn(line, &directory);
        let mut child = child.inspect_err(|_| {
            // There may be nothing in it, or a log.
            let _ = fs::remove_dir_all(&directory);
        })?;
        let stdin = child.stdin.take();
        let mut started = Started { child, _stdin: stdin, directory };
        started.wait_until_it_serves(signals).with_context(|| format!("{line:?}"))?;
        Ok(started)
    }

    /// Its control socket.
    pub fn control(&self) -> PathBuf {
        self.directory.join("ctl")
    }

    /// No connection is tried: the C program may not survive one that says nothing.
    fn wait_until_it_serves(&mut self, signals: &Signals) -> Result<()> {
        let begin = Instant::now();
        while !self.control().exists() {
            signals.check()?;
            if let Some(status) = self.child.try_wait()? {
                bail!("ended with {status}{}", self.last_words());
            }
            ensure!(begin.elapsed() < START_LIMIT, "makes no control socket");
            thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    fn last_words(&self) -> String {
        let log = fs::read(log(&self.directory)).unwrap_or_default();
        let log = String::from_utf8_lossy(&log[log.len().saturating_sub(1024)..]).into_owned();
        log.lines().last().map(|line| format!(": {line}")).unwrap_or_default()
    }

    fn ended_within(&mut self, time: Duration) -> Option<ExitStatus> {
        let begin = Instant::now();
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(status);
            }
            if begin.elapsed() > time {
                return None;
            }
            thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // Its group is its own; whether it still runs is what the wait tells.
        let group = Pid::from_raw(self.child.id() as i32);
        if self.ended_within(Duration::ZERO).is_none() {
            let _ = killpg(group, Signal::SIGTERM);
            let _ = killpg(group, Signal::SIGCONT);
            if self.ended_within(STOP_LIMIT).is_none() {
                let _ = killpg(group, Signal::SIGKILL);
                let _ = self.child.wait();
            }
        }
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn spawn(line: &str, directory: &Path) -> Result<Child> {
    let control = directory.join("ctl");
    let control = control.to_str().context("a temporary directory with a strange name")?;
    let words = shell_words::split(line).context("a quote that does not end")?;
    let mut words = words.into_iter().map(|word| word.replace(CONTROL, control));
    let program = words.next().context("an empty command")?;
    let log = File::create(log(directory)).context("cannot make a file for its messages")?;
    Command::new(&program)
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(log)
        // A signal from the terminal is for us, and we end it in our own time.
        .process_group(0)
        .spawn()
        .with_context(|| format!("cannot start {program}"))
}

fn log(directory: &Path) -> PathBuf {
    directory.join("messages")
}

/// What stands for the control socket in a command.
const CONTROL: &str = "{ctl}";

const START_LIMIT: Duration = Duration::from_secs(10);

/// How long it may take to remove its sockets.
const STOP_LIMIT: Duration = Duration::from_secs(2);
