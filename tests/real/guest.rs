//! A guest that does what a test says: of User-Mode Linux, or of QEMU.
//!
//! The file system of a User-Mode Linux guest is the host's, read-only; one of QEMU has a little one
//! in memory (`tools/lab.d/qemu-guest`). It is told what to run over its console. All of its
//! processes are in one process group and end with it, also when a test fails, and when the whole
//! test program is killed.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::host::{command, show};
use crate::needs::PATH;
use crate::sandbox::STAGE;
use crate::support::mac;

/// A running guest. Station `n` has the MAC address `mac(n)` and the IP address `10.0.0.n`.
#[derive(Debug)]
pub struct Guest {
    pub n: u32,
    /// What it calls its network interface.
    pub interface: &'static str,
    child: Child,
    input: ChildStdin,
    console: Arc<Mutex<String>>,
    commands: u32,
}

/// What a guest's network is plugged into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plug<'a> {
    /// User-Mode Linux, `eth0=daemon`: a control socket.
    Daemon(&'a Path),
    /// User-Mode Linux, `vec0:transport=bess`: a socket, and options behind a comma.
    Bess(&'a Path, &'a str),
    /// User-Mode Linux, `eth0=vde`: a directory.
    Vde(&'a Path),
    /// The newest User-Mode Linux, `vec0:transport=bess`: a socket.
    NewBess(&'a Path),
    /// The newest User-Mode Linux, `vec0:transport=vde`: a directory.
    NewVde(&'a Path),
    /// QEMU, `-netdev stream`: a socket.
    QemuStream(&'a Path),
    /// QEMU, `-netdev dgram`: its path and the switch's.
    QemuDgram(&'a Path, &'a Path),
    /// QEMU, `-netdev vde`: a directory.
    QemuVde(&'a Path),
}

impl Plug<'_> {
    fn is_qemu(self) -> bool {
        matches!(self, Plug::QemuStream(_) | Plug::QemuDgram(..) | Plug::QemuVde(_))
    }

    fn interface(self) -> &'static str {
        match self {
            Plug::Bess(..) | Plug::NewBess(_) | Plug::NewVde(_) => "vec0",
            _ => "eth0",
        }
    }

    /// The kernel of User-Mode Linux that it takes.
    fn kernel(self) -> PathBuf {
        match self {
            Plug::NewBess(_) | Plug::NewVde(_) => new_linux(),
            _ => "linux.uml".into(),
        }
    }
}

/// A command that a guest runs.
#[derive(Clone, Copy, Debug)]
pub struct Job(u32);

/// What became of a command.
#[derive(Debug)]
pub struct Done {
    pub status: i32,
    pub output: String,
}

impl Guest {
    /// Starts guest `n` of the `daemon` transport on the switch that serves `control`.
    pub fn boot(n: u32, control: &Path) -> Guest {
        Guest::plug_in(n, Plug::Daemon(control))
    }

    /// Starts guest `n`, whose network is `plug`.
    pub fn plug_in(n: u32, plug: Plug<'_>) -> Guest {
        let mut command = if plug.is_qemu() { qemu(n, plug) } else { user_mode_linux(n, plug) };
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("the guest's program starts");
        let input = child.stdin.take().expect("it is a pipe");
        let console = Arc::default();
        listen(child.stdout.take().expect("it is a pipe"), &console);
        Guest { n, interface: plug.interface(), child, input, console, commands: 0 }
    }

    /// Starts guests 1 to `count` at once and waits until all are up.
    pub fn boot_several(count: u32, control: &Path) -> Vec<Guest> {
        let mut guests: Vec<Guest> = (1..=count).map(|n| Guest::boot(n, control)).collect();
        for guest in &mut guests {
            guest.wait_until_up();
        }
        guests
    }

    /// Waits until it runs commands and has its address.
    pub fn wait_until_up(&mut self) {
        let shown = self.finish(Job(0)).output;
        assert!(shown.contains(&format!("inet {}/24", self.address())), "{shown}");
    }

    pub fn address(&self) -> String {
        format!("10.0.0.{}", self.n)
    }

    /// Process id of the kernel, as the switch sees it.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }

    /// Starts a command line of the shell in the guest, which must be up.
    pub fn start(&mut self, command: &str) -> Job {
        self.commands += 1;
        writeln!(self.input, "{} {command}", self.commands).expect("the guest runs");
        Job(self.commands)
    }

    /// Waits for the end of a command.
    #[track_caller]
    pub fn finish(&mut self, Job(number): Job) -> Done {
        let deadline = Instant::now() + GUEST_DEADLINE;
        loop {
            if let Some(done) = answer(&self.console.lock().unwrap(), number) {
                return done;
            }
            let ended = self.child.try_wait().expect("a child to wait for");
            if ended.is_some() || Instant::now() > deadline {
                let console = self.console.lock().unwrap();
                panic!("guest {} ({ended:?}) does not answer command {number}: {console}", self.n);
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Runs a command and returns what it printed; panics unless it succeeds.
    #[track_caller]
    pub fn run(&mut self, command: &str) -> String {
        let job = self.start(command);
        let done = self.finish(job);
        assert_eq!(done.status, 0, "guest {}: {command}: {}", self.n, done.output);
        done.output
    }

    /// Stops the guest in the middle of what it does. Only the kernel's process: it traces those of
    /// its programs, and a stop of one of them would be its to handle.
    pub fn pause(&self) {
        kill(self.pid(), Signal::SIGSTOP).expect("the guest runs");
        crate::support::wait_for("the guest to stop", || {
            let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).expect("it exists");
            stat.rsplit(')').next().unwrap().trim_start().starts_with('T').then_some(())
        });
    }

    /// Lets a paused guest go on.
    pub fn resume(&self) {
        kill(self.pid(), Signal::SIGCONT).expect("the guest exists");
    }

    /// Ends it as the OOM killer would.
    pub fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let _ = killpg(self.pid(), Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.end();
    }
}

fn user_mode_linux(n: u32, plug: Plug<'_>) -> Command {
    let init = Path::new(STAGE).join("guest-init.sh");
    if !init.exists() {
        fs::write(&init, include_str!("../../tools/lab.d/guest-commands"))
            .expect("the stage is ours");
        fs::set_permissions(&init, PermissionsExt::from_mode(0o755)).unwrap();
    }
    let mac = show(mac(n));
    let network = match plug {
        Plug::Daemon(control) => format!("eth0=daemon,{mac},unix,{}", control.display()),
        Plug::Bess(socket, options) => {
            format!("vec0:transport=bess,dst={},mac={mac}{options}", socket.display())
        }
        Plug::NewBess(socket) => format!("vec0:transport=bess,dst={},mac={mac}", socket.display()),
        Plug::Vde(dir) => format!("eth0=vde,{},{mac}", dir.display()),
        Plug::NewVde(dir) => format!("vec0:transport=vde,vnl=vde://{},mac={mac}", dir.display()),
        _ => unreachable!("not of User-Mode Linux"),
    };
    let mut command = command(plug.kernel());
    command
        .arg("mem=64M")
        .args(["rootfstype=hostfs", "rootflags=/", "ro", "root=/dev/root", "loglevel=1"])
        .arg(format!("init={}", init.display()))
        .arg(network)
        .args([format!("interface={}", plug.interface()), format!("address=10.0.0.{n}/24")])
        .args(["con=null", "con0=fd:0,fd:1"])
        // These two measure how fast RAID could be, which is most of what a boot costs.
        .arg("initcall_blacklist=raid6_select_algo,calibrate_xor_blocks")
        .arg(format!("uml_dir={STAGE}/uml/"))
        .env("TMPDIR", STAGE);
    command
}

/// QEMU without KVM: it is not everywhere, and the switch is what is to be fast.
fn qemu(n: u32, plug: Plug<'_>) -> Command {
    let (dir, mac) = (qemu_guest(), show(mac(n)));
    let network = match plug {
        Plug::QemuStream(socket) => {
            format!("stream,id=net,server=off,addr.type=unix,addr.path={}", socket.display())
        }
        Plug::QemuDgram(local, remote) => format!(
            "dgram,id=net,local.type=unix,local.path={},remote.type=unix,remote.path={}",
            local.display(),
            remote.display()
        ),
        Plug::QemuVde(dir) => format!("vde,id=net,sock={}", dir.display()),
        _ => unreachable!("not of QEMU"),
    };
    // Nobody tells QEMU that its input has ended.
    let mut command = command("setpriv");
    command
        .args(["--pdeathsig", "KILL", "qemu-system-x86_64"])
        .args("-machine pc,accel=tcg -cpu max -m 128 -nodefaults -no-user-config".split(' '))
        .args("-no-reboot -display none -chardev stdio,id=console,signal=off".split(' '))
        .args(["-serial", "chardev:console"])
        .args([Path::new("-kernel"), &dir.join("kernel"), Path::new("-initrd")])
        .arg(dir.join("initramfs"))
        .arg("-append")
        .arg(format!(
            "console=ttyS0 quiet ipv6.disable=1 terminal=/dev/ttyS0 address=10.0.0.{n}/24"
        ))
        .args(["-netdev", &network])
        .args(["-device", &format!("virtio-net-pci,netdev=net,romfile=,mac={mac}")]);
    command
}

/// The newest User-Mode Linux kernel that Debian has, if `tools/lab.d/new-linux` has fetched it.
pub fn new_linux() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("new-linux/linux")
}

/// Where QEMU's kernel and its file system are: kept as long as what cargo has built.
pub fn qemu_directory() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("qemu-guest")
}

/// [`qemu_directory`], with what it lacks or has in an old version made at the first call.
fn qemu_guest() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tools/lab.d/qemu-guest");
        let made = Command::new(program).arg(qemu_directory()).env("PATH", PATH).output();
        let made = made.expect("tools/lab.d/qemu-guest runs");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        qemu_directory()
    })
}

/// Collects what the guest prints, until it ends.
fn listen(output: ChildStdout, console: &Arc<Mutex<String>>) {
    let console = Arc::clone(console);
    thread::spawn(move || {
        let mut output = BufReader::new(output);
        let mut line = Vec::new();
        while output.read_until(b'\n', &mut line).is_ok_and(|len| len > 0) {
            console.lock().unwrap().push_str(&String::from_utf8_lossy(&line));
            line.clear();
        }
    });
}

/// Finds the answer to command `number` in what a guest has printed.
fn answer(console: &str, number: u32) -> Option<Done> {
    let (_, from) = console.split_once(&format!("@@ {number} "))?;
    let (body, _) = from.split_once(&format!("\n@@end {number}\n"))?;
    let (status, output) = body.split_once('\n')?;
    Some(Done { status: status.parse().ok()?, output: output.to_owned() })
}

/// How long a guest may take for a command, its boot included.
const GUEST_DEADLINE: Duration = Duration::from_secs(60);
