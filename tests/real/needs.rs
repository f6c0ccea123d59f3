//! What a test needs of the machine, and whether it is there.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};

/// Something that not every machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// TAP devices, and `ip` to handle them.
    Tap,
    /// User-Mode Linux, and what its guests run.
    Guests,
    /// The newest User-Mode Linux of Debian, which has no `daemon` transport any more, and `vde_plug`,
    /// which it starts.
    NewLinux,
    /// QEMU, and the kernel that its guests run.
    Qemu,
    /// slirp4netns.
    Slirp,
    /// passt.
    Passt,
    /// `vde_plug`.
    VdePlug,
    /// `vdens`.
    Vdens,
    /// A C compiler, and what programs of libvdeplug's are built with.
    Libvdeplug,
    /// `vde_switch`.
    VdeSwitch,
    /// Real-time scheduling and locked memory, for root at least.
    RealTime,
    /// The init script of Debian's `uml-utilities` with its user.
    InitScript,
}

impl Need {
    /// What is missing, in words for the list of tests.
    pub fn missing(self) -> Option<String> {
        let command = |name: &str, package: &str| match find(name) {
            Some(_) => None,
            None => Some(format!("no {name}: install {package}")),
        };
        match self {
            Need::Tap => command("ip", "iproute2").or_else(|| {
                let opened = OpenOptions::new().read(true).write(true).open("/dev/net/tun");
                opened.err().map(|error| format!("no TAP devices here: {error}"))
            }),
            Need::Guests => command("linux.uml", "user-mode-linux")
                .or_else(|| command("ping", "iputils-ping"))
                .or_else(|| command("ip", "iproute2")),
            Need::NewLinux => command("vde_plug", "vdeplug").or_else(|| {
                let missing = "no newest User-Mode Linux: tools/lab.d/new-linux fetches it";
                (!crate::guest::new_linux().exists()).then(|| missing.to_owned())
            }),
            Need::Qemu => command("qemu-system-x86_64", "qemu-system-x86")
                .or_else(|| command("busybox", "busybox-static"))
                .or_else(|| command("fping", "fping"))
                .or_else(|| command("iperf3", "iperf3"))
                .or_else(|| command("setpriv", "util-linux"))
                .or_else(|| {
                    let there = crate::guest::qemu_directory().join("kernel").exists();
                    (!there).then(|| "no kernel for QEMU: tools/setup test fetches one".to_owned())
                }),
            Need::Slirp => command("slirp4netns", "slirp4netns"),
            Need::Passt => command("passt", "passt"),
            Need::VdePlug => command("vde_plug", "vdeplug"),
            Need::Vdens => command("vdens", "vdens"),
            Need::Libvdeplug => command("cc", "gcc").or_else(|| {
                let there = Path::new("/usr/include/libvdeplug.h").exists();
                (!there).then(|| "no libvdeplug.h: install libvdeplug-dev".to_owned())
            }),
            Need::VdeSwitch => command("vde_switch", "vde2"),
            Need::RealTime => {
                let first = std::process::Command::new("chrt").args(["-f", "1", "true"]).output();
                let allowed = first.is_ok_and(|output| output.status.success());
                (!allowed).then(|| "no real-time scheduling here: needs CAP_SYS_NICE".to_owned())
            }
            Need::InitScript => {
                let there = Path::new(crate::init_script::SCRIPT).exists()
                    && nix::unistd::User::from_name("uml-net").is_ok_and(|user| user.is_some())
                    && find("start-stop-daemon").is_some();
                (!there).then(|| "no init script: install uml-utilities".to_owned())
            }
        }
    }
}

/// Where commands are looked for, by the tests and by what they start.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

fn find(command: &str) -> Option<PathBuf> {
    PATH.split(':').map(|dir| Path::new(dir).join(command)).find(|path| path.exists())
}
