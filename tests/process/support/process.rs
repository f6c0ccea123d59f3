//! The switch as a process.

use std::fs::{self, File};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::DEADLINE;

/// The program under test.
pub fn binary() -> &'static str {
    env!("CARGO_BIN_EXE_uml_switch")
}

/// Asks `condition` until it gives something; panics with `what` when that takes too long.
#[track_caller]
pub fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited too long for {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// How to start a switch.
#[derive(Debug, Default)]
pub struct SwitchBuilder {
    args: Vec<String>,
}

impl SwitchBuilder {
    /// One more word of its command line.
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Words of its command line, separated by spaces.
    pub fn args(mut self, line: &str) -> Self {
        self.args.extend(line.split_whitespace().map(String::from));
        self
    }

    /// Starts it on a control socket in a directory of its own, and waits until it serves.
    #[track_caller]
    pub fn start(self) -> Switch {
        let dir = tempfile::tempdir().expect("a directory for the switch");
        let control = dir.path().join("ctl");
        let mut command = Command::new(binary());
        command.args(&self.args);
        if !self.args.iter().any(|arg| arg == "-unix" || arg == "--unix") {
            command.arg("-unix").arg(&control);
        }
        Switch::spawn(dir, control, command)
    }
}

/// A running switch. Killed when dropped.
#[derive(Debug)]
pub struct Switch {
    pub dir: TempDir,
    pub control: PathBuf,
    pub child: Child,
}

impl Switch {
    /// A switch with defaults.
    pub fn start() -> Switch {
        SwitchBuilder::default().start()
    }

    /// A switch with these options, separated by spaces.
    pub fn with(args: &str) -> Switch {
        SwitchBuilder::default().args(args).start()
    }

    /// Runs `command`, which must serve `control`, with its log in a file in `dir`; waits until it
    /// serves.
    #[track_caller]
    pub fn spawn(dir: TempDir, control: PathBuf, command: Command) -> Switch {
        Switch::spawn_reading(dir, control, command, Stdio::null())
    }

    /// As [`Switch::spawn`], with this standard input.
    #[track_caller]
    pub fn spawn_reading(
        dir: TempDir,
        control: PathBuf,
        mut command: Command,
        stdin: impl Into<Stdio>,
    ) -> Switch {
        let log = File::create(dir.path().join("log")).expect("a log file");
        command.stdin(stdin).stdout(Stdio::null()).stderr(log);
        let mut switch = Switch::launch(dir, control, command);
        wait_for("the switch to serve", || {
            switch.expect_alive();
            switch.log().contains(" serving ").then_some(())
        });
        switch
    }

    /// Runs `command`, which must serve `control`, with its standard streams as they are; waits until
    /// clients can connect.
    #[track_caller]
    pub fn launch(dir: TempDir, control: PathBuf, mut command: Command) -> Switch {
        let child = command.spawn().expect("the switch starts");
        let mut switch = Switch { dir, control, child };
        wait_for("the switch to listen", || {
            switch.expect_alive();
            UnixStream::connect(&switch.control).ok()
        });
        switch
    }

    #[track_caller]
    fn expect_alive(&mut self) {
        if let Some(status) = self.child.try_wait().expect("a child to wait for") {
            panic!("the switch ended with {status}: {}", self.log());
        }
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Waits until its log has `text`, and returns the line.
    #[track_caller]
    pub fn wait_for_log(&self, text: &str) -> String {
        wait_for(&format!("{text:?} in the log"), || {
            self.log().lines().find(|line| line.contains(text)).map(String::from)
        })
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("the switch runs");
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        wait_for("the switch to end", || self.child.try_wait().expect("a child to wait for"))
    }

    /// Ends it with SIGTERM and returns what it has counted in all, by name.
    pub fn stop(mut self) -> Totals {
        self.signal(Signal::SIGTERM);
        self.wait();
        Totals::of(&self.log())
    }

    /// Processor time that it has used.
    pub fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).expect("it runs");
        // After the name in brackets: state is field 3, utime 14, stime 15 (proc(5)).
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        let ticks: u64 = fields[11..=12].iter().map(|field| field.parse::<u64>().unwrap()).sum();
        let per_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).unwrap().unwrap();
        Duration::from_millis(ticks * 1000 / per_second as u64)
    }

    /// Memory that it holds, in bytes.
    pub fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a VmRSS line");
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }

    /// How many descriptors it has open.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("it runs").count()
    }

    /// A new control connection.
    pub fn connect(&self) -> UnixStream {
        connect(&self.control)
    }
}

pub(super) fn connect(control: &Path) -> UnixStream {
    let stream = UnixStream::connect(control).expect("the switch listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout can be set");
    stream.set_write_timeout(Some(DEADLINE)).expect("a timeout can be set");
    stream
}

impl Drop for Switch {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The counters of the line that the switch logs at its end.
#[derive(Debug)]
pub struct Totals(String);

impl Totals {
    #[track_caller]
    fn of(log: &str) -> Totals {
        let line = log.lines().find(|line| line.contains(" stopped ")).expect("a line at its end");
        Totals(line.to_owned())
    }

    /// The value of `counter`; 0 if it has counted nothing.
    pub fn get(&self, counter: &str) -> u64 {
        let value = self.0.split([' ', '=']).skip_while(|word| *word != counter).nth(1);
        value.map_or(0, |value| value.parse().expect("a number"))
    }

    /// Panics unless every frame is accounted for.
    #[track_caller]
    pub fn check_sums(&self) {
        let sum = |counters: &[&str]| counters.iter().map(|name| self.get(name)).sum::<u64>();
        let rx =
            ["rx_unicast", "rx_flooded", "rx_runt", "rx_oversize", "rx_hairpin", "rx_stranger"];
        assert_eq!(self.get("rx_frames"), sum(&rx) + self.get("rx_bad_length"), "{}", self.0);
        let tx =
            ["tx_frames", "queued", "tx_queue_full", "tx_stale", "tx_closed", "tx_no_receiver"];
        let refused = ["tx_link_down", "tx_refused"];
        assert_eq!(self.get("tx_offered"), sum(&tx) + sum(&refused), "{}", self.0);
    }
}
