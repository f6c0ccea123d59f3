//! The switch in the background.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::{Finished, binary, run, wait_for};

/// A directory, and a name that no other process on the machine has on its command line: by that a
/// switch that has left for the background is found, and killed when this is dropped.
#[derive(Debug)]
pub struct Background {
    pub dir: TempDir,
    pub name: String,
}

impl Background {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory for the switch");
        let name = dir.path().file_name().expect("a name").to_string_lossy().into_owned();
        Background { dir, name: format!("{name}.ctl") }
    }

    /// The program with `-daemon` and a relative control path, to be run in the directory.
    pub fn command(&self) -> Command {
        let mut command = Command::new(binary());
        command.current_dir(self.dir.path()).args(["-daemon", "-unix", &self.name]);
        command
    }

    /// Runs the program until it has left for the background or failed.
    #[track_caller]
    pub fn run(&self, args: &str) -> Finished {
        run(self.command().args(args.split_whitespace()))
    }

    pub fn control(&self) -> PathBuf {
        self.dir.path().join(&self.name)
    }

    /// The processes that have the name on their command line. One that has ended, but has not been
    /// waited for, has none.
    pub fn pids(&self) -> Vec<Pid> {
        let ours = |entry: &Path| {
            let line = fs::read(entry.join("cmdline")).unwrap_or_default();
            line.split(|&byte| byte == 0).any(|word| word == self.name.as_bytes())
        };
        let entries = fs::read_dir("/proc").expect("/proc").flatten().map(|entry| entry.path());
        let numbered = entries.filter_map(|entry| {
            let pid = entry.file_name()?.to_str()?.parse().ok()?;
            ours(&entry).then_some(Pid::from_raw(pid))
        });
        numbered.collect()
    }

    /// The one process in the background.
    #[track_caller]
    pub fn pid(&self) -> Pid {
        let pids = self.pids();
        assert_eq!(pids.len(), 1, "one process is left: {pids:?}");
        pids[0]
    }

    /// Ends it by `signal`.
    #[track_caller]
    pub fn end(&self, signal: Signal) {
        kill(self.pid(), signal).expect("it runs");
        wait_for("the daemon to end", || self.pids().is_empty().then_some(()));
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        for pid in self.pids() {
            // It may have ended in between.
            let _ = kill(pid, Signal::SIGKILL);
        }
    }
}
