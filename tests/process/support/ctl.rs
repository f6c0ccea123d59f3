//! `uml_switchctl` beside a switch.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pcap_file::pcapng::{Block, PcapNgReader};
use serde_json::Value;
use tempfile::TempDir;

use super::process::connect;
use super::{Finished, Switch, run, wait_for};

/// The command `uml_switchctl` for `switch`, with words separated by spaces.
pub fn ctl(switch: &Switch, line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_uml_switchctl"));
    command.arg("--unix").arg(&switch.control).args(line.split_whitespace());
    command
}

/// The counters of the open ports, by number, as `uml_switchctl ports --json` shows them.
#[track_caller]
pub fn ports(switch: &Switch) -> Value {
    let Finished { status, stdout, stderr } = run(&mut ctl(switch, "ports --json"));
    assert!(status.success(), "{stderr}");
    serde_json::from_str::<Value>(&stdout).expect("JSON")["ports"].take()
}

/// Writes `request` to the admin socket and returns all that is answered before the switch hangs up.
#[track_caller]
pub fn ask(switch: &Switch, request: &[u8]) -> String {
    let mut stream = connect(&admin_path(switch));
    // It may hang up on what is too long.
    let _ = std::io::Write::write_all(&mut stream, request);
    reply_on(&stream)
}

/// Reads all that is answered on a connection to the admin socket, to its end.
#[track_caller]
pub fn reply_on(mut stream: &UnixStream) -> String {
    let mut reply = Vec::new();
    match stream.read_to_end(&mut reply) {
        // The switch has hung up on what it had not read.
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        result => drop(result.expect("a reply and its end")),
    }
    String::from_utf8(reply).expect("a reply in UTF-8")
}

fn admin_path(switch: &Switch) -> PathBuf {
    let mut path = switch.control.clone().into_os_string();
    path.push(".admin");
    path.into()
}

/// A running `uml_switchctl capture`. Killed when dropped.
#[derive(Debug)]
pub struct Capture {
    pub dir: TempDir,
    pub child: Child,
}

impl Capture {
    /// Starts one with its standard output in the file `out`, and waits until it captures.
    #[track_caller]
    pub fn start(switch: &Switch, args: &str) -> Capture {
        let dir = tempfile::tempdir().expect("a directory for the capture");
        let out = File::create(dir.path().join("out")).expect("a file");
        Capture::start_in(dir, ctl(switch, &format!("capture {args}")), out)
    }

    /// Runs `command` in `dir` with this standard output, and waits until it captures.
    #[track_caller]
    pub fn start_in(dir: TempDir, mut command: Command, out: impl Into<Stdio>) -> Capture {
        let errors = File::create(dir.path().join("errors")).expect("a file");
        command.current_dir(dir.path()).stdin(Stdio::null()).stdout(out).stderr(errors);
        let child = command.spawn().expect("it starts");
        let mut capture = Capture { dir, child };
        wait_for("the capture to begin", || {
            let ended = capture.child.try_wait().expect("a child to wait for");
            assert_eq!(ended, None, "{}", capture.errors());
            capture.errors().contains("capturing from").then_some(())
        });
        capture
    }

    /// What it has said so far.
    pub fn errors(&self) -> String {
        fs::read_to_string(self.dir.path().join("errors")).expect("its messages")
    }

    /// What it has printed so far.
    pub fn printed(&self) -> Vec<u8> {
        self.file("out")
    }

    /// The contents of a file in its directory.
    pub fn file(&self, name: &str) -> Vec<u8> {
        fs::read(self.dir.path().join(name)).expect("its output")
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).expect("it runs");
    }

    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        wait_for("the capture to end", || self.child.try_wait().expect("a child to wait for"))
    }

    /// Ends it as ctrl-C does, which is no failure, and returns its last line without the name.
    #[track_caller]
    pub fn stop(&mut self) -> String {
        self.signal(Signal::SIGINT);
        self.ended_well()
    }

    /// Waits for its end, which is no failure, and returns its last line without the name.
    #[track_caller]
    pub fn ended_well(&mut self) -> String {
        let status = self.wait();
        assert_eq!(status.code(), Some(0), "{}", self.errors());
        let errors = self.errors();
        let last = errors.lines().last().expect("a summary");
        last.strip_prefix("uml_switchctl: ").expect("its name").to_owned()
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A frame in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Captured {
    /// Which of the file's interfaces it was captured at.
    pub interface: u32,
    pub original_len: u32,
    pub bytes: Vec<u8>,
}

/// The frames of a whole pcapng file, read by somebody else's code.
#[track_caller]
pub fn frames_of(file: &[u8]) -> Vec<Captured> {
    let mut reader = PcapNgReader::new(file).expect("a pcapng file");
    let mut frames = Vec::new();
    while let Some(block) = reader.next_block() {
        if let Block::EnhancedPacket(packet) = block.expect("a whole block") {
            frames.push(Captured {
                interface: packet.interface_id,
                original_len: packet.original_len,
                bytes: packet.data.into_owned(),
            });
        }
    }
    frames
}
