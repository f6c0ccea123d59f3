//! QEMU: how a guest of it is started, and what that takes.
//!
//! It runs without KVM, on every machine alike: where there is a `/dev/kvm` that does not work, QEMU
//! ends instead of doing without.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::host;

/// Makes what the guests boot, as far as it is not there. An error says what is missing here.
pub fn prepare() -> Result<()> {
    ensure!(host::has("qemu-system-x86_64"), "no qemu-system-x86_64: install qemu-system-x86");
    ensure!(host::has("busybox"), "no busybox: install busybox-static");
    // The kernel is fetched, and we are in a network namespace from where nothing can be.
    ensure!(directory().join("kernel").exists(), "no kernel for it: tools/setup bench fetches one");
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/lab.d/qemu-guest");
    let made = host::command("bash").arg(program).arg(directory()).output().context("no bash")?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr).trim());
    Ok(())
}

/// What starts a guest. It ends with us: nobody tells QEMU that its input has ended.
pub fn command(netdev: &str, mac: &str, address: &str) -> Command {
    let directory = directory();
    let mut command = host::command("setpriv");
    command
        .args(["--pdeathsig", "KILL", "qemu-system-x86_64"])
        .args("-machine pc -accel tcg,thread=single -cpu max -m 128".split(' '))
        .args("-nodefaults -no-user-config -no-reboot -display none".split(' '))
        .args("-chardev stdio,id=console,signal=off -serial chardev:console".split(' '))
        .arg("-kernel")
        .arg(directory.join("kernel"))
        .arg("-initrd")
        .arg(directory.join("initramfs"))
        .args(["-append", &format!("{KERNEL} address={address}/24")])
        .args(["-netdev", &format!("{netdev},id=net")])
        .args(["-device", &format!("virtio-net-pci,netdev=net,romfile=,mac={mac}")]);
    command
}

/// Where the kernel and its file system are: kept as long as what cargo has built.
fn directory() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("qemu-guest")
}

const KERNEL: &str = "console=ttyS0 quiet ipv6.disable=1 terminal=/dev/ttyS0";
