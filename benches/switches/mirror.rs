//! Recording all frames of a running switch, by the means that each program's users have.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pcap_file::pcap::PcapReader;
use pcap_file::pcapng::{Block, PcapNgReader};
use tempfile::TempDir;

use crate::competitor::{Kind, Running, VDE_CONSOLE};
use crate::scenario::Options;

/// A recording that runs. Ends when dropped.
#[derive(Debug)]
pub struct Mirror<'a> {
    switch: &'a Running,
    /// Who writes it, if that is a program beside the switch.
    writer: Option<Child>,
    file: PathBuf,
    _directory: TempDir,
}

/// What the C program needs to be recorded at all: every frame goes to its TAP interface too.
pub const OPTIONS: Options = Options { ours: &[], reference: &["-hub", "-tap", INTERFACE] };

impl<'a> Mirror<'a> {
    /// Begins to record everything that goes through `switch`: our own by `uml_switchctl capture`, the
    /// C program by `tcpdump` at its TAP interface, `vde_switch` by its plug-in pdump.
    pub fn start(switch: &'a Running) -> Result<Self> {
        // In memory, for the disk is not what is compared.
        let directory = tempfile::tempdir_in(MEMORY).or_else(|_| tempfile::tempdir())?;
        let file = directory.path().join("frames");
        let writer = match switch.kind() {
            Kind::Ours => Some(start_ours(switch, &file)?),
            Kind::Reference => Some(start_tcpdump(&file)?),
            Kind::Vde => {
                let file = file.to_str().context("no name for pdump")?;
                let name = format!("pdump/filename {file}");
                // Its second time it is there already.
                command_vde(switch, &format!("plugin/add {PDUMP}")).ok();
                command_vde(switch, &name)?;
                command_vde(switch, "pdump/active 1")?;
                None
            }
        };
        Ok(Mirror { switch, writer, file, _directory: directory })
    }

    /// Ends it and returns how many frames for which `wanted` holds are in it.
    pub fn end(mut self, wanted: impl Fn(&[u8]) -> bool) -> Result<u64> {
        self.stop()?;
        let file = BufReader::new(File::open(&self.file).context("no recording")?);
        let mut frames = 0;
        let mut count = |frame: &[u8]| frames += u64::from(wanted(frame));
        if self.switch.kind() == Kind::Ours {
            let mut reader = PcapNgReader::new(file)?;
            while let Some(block) = reader.next_block() {
                if let Block::EnhancedPacket(packet) = block? {
                    count(&packet.data);
                }
            }
        } else {
            let mut reader = PcapReader::new(file)?;
            while let Some(packet) = reader.next_raw_packet() {
                count(&packet?.data);
            }
        }
        Ok(frames)
    }

    fn stop(&mut self) -> Result<()> {
        if let Some(mut writer) = self.writer.take() {
            kill(Pid::from_raw(writer.id() as i32), Signal::SIGINT)?;
            let before = Instant::now();
            while writer.try_wait()?.is_none() {
                if before.elapsed() > PATIENCE {
                    writer.kill()?;
                    writer.wait()?;
                    anyhow::bail!("the recording does not end");
                }
                thread::sleep(Duration::from_millis(1));
            }
        } else if self.switch.kind() == Kind::Vde {
            command_vde(self.switch, "pdump/active 0")?;
        }
        Ok(())
    }
}

impl Drop for Mirror<'_> {
    fn drop(&mut self) {
        // Where it fails the switch has gone, and the recording with it.
        let _ = self.stop();
    }
}

fn start_ours(switch: &Running, file: &Path) -> Result<Child> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_uml_switchctl"));
    command.arg("--unix").arg(switch.control()).args(["capture", "-w"]).arg(file);
    let mut child = quiet(&mut command).spawn().context("cannot start uml_switchctl")?;
    // Its file has a header once the switch has agreed.
    let before = Instant::now();
    while !fs::metadata(file).is_ok_and(|meta| meta.len() > 0) {
        ensure!(child.try_wait()?.is_none(), "uml_switchctl has ended");
        ensure!(before.elapsed() < PATIENCE, "uml_switchctl writes no file");
        thread::sleep(Duration::from_millis(1));
    }
    Ok(child)
}

fn start_tcpdump(file: &Path) -> Result<Child> {
    let up = Command::new("ip").args(["link", "set", INTERFACE, "up"]).status()?;
    ensure!(up.success(), "cannot set the TAP interface up");
    let mut command = Command::new("tcpdump");
    // As root it would become another user, who cannot write there.
    command.args(["-Z", "root", "-i", INTERFACE, "-w"]).arg(file);
    let mut child = quiet(&mut command).stderr(Stdio::piped()).spawn()?;
    let stderr = child.stderr.take().context("no standard error")?;
    // The line with which it says that it listens.
    let mut line = String::new();
    BufReader::new(stderr).read_line(&mut line)?;
    ensure!(line.contains("listening on"), "tcpdump: {line}");
    Ok(child)
}

fn quiet(command: &mut Command) -> &mut Command {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null())
}

/// Gives `vde_switch` a command and waits for its success.
fn command_vde(switch: &Running, command: &str) -> Result<()> {
    let mut console = UnixStream::connect(switch.directory().join(VDE_CONSOLE))?;
    console.set_read_timeout(Some(PATIENCE))?;
    let mut prompts = 0;
    let mut said = Vec::new();
    let mut byte = [0];
    while prompts < 2 {
        console.read_exact(&mut byte).context("vde_switch does not answer")?;
        said.push(byte[0]);
        if said.ends_with(b"vde$ ") {
            prompts += 1;
            if prompts == 1 {
                said.clear();
                console.write_all(format!("{command}\n").as_bytes())?;
            }
        }
    }
    let said = String::from_utf8_lossy(&said);
    ensure!(said.contains("1000 Success"), "vde_switch: {command}: {said}");
    Ok(())
}

const INTERFACE: &str = "bench0";
const MEMORY: &str = "/dev/shm";
const PDUMP: &str = "/usr/lib/vde2/plugins/pdump.so";
const PATIENCE: Duration = Duration::from_secs(5);
