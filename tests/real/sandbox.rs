//! Namespaces: a test's own network, and its own view of the files that it must change.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use tempfile::TempDir;

use crate::host::ip;
use crate::support::{Switch, binary};

/// Takes the process into namespaces of its own. Must be called before any thread is started.
///
/// # Errors
/// Why that is not possible here.
pub fn enter() -> Result<(), String> {
    if !nix::unistd::geteuid().is_root() {
        return Err("not root".to_owned());
    }
    let entered = unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS)
        .and_then(|()| mount_private())
        .and_then(|()| make_tun());
    entered.map_err(|error| format!("no namespaces: {error}"))
}

/// Runs `test` on a thread in namespaces of its own and waits for it. Panics if it does.
pub fn run(name: &str, test: fn()) {
    let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).expect("namespaces");
        make_tun().expect("a directory /dev/net of our own");
        mount_tmpfs(Path::new(STAGE)).expect("a place for files");
        // The stack says nothing by itself then: whatever a guest receives, a test has sent.
        for scope in ["all", "default"] {
            let _ = fs::write(format!("/proc/sys/net/ipv6/conf/{scope}/disable_ipv6"), "1");
        }
        ip("link set lo up");
        test();
    });
    if let Err(panic) = thread.expect("a thread").join() {
        resume_unwind(panic);
    }
}

/// A directory that everybody can reach and that is gone after the test; mount points and guests'
/// files belong here.
pub const STAGE: &str = "/mnt";

/// Lets every user open `/dev/net/tun`, as Debian has it.
pub fn let_everybody_use_tun() {
    fs::set_permissions(TUN, Permissions::from_mode(0o666)).expect("the node is ours");
}

/// As on a machine whose kernel has no TAP devices.
pub fn remove_tun() {
    fs::remove_file(TUN).expect("the node is ours");
}

/// Lets `file` be seen in place of `over`.
pub fn bind(file: &Path, over: &Path) {
    mount(Some(file), over, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap_or_else(|error| {
        panic!("cannot mount {} over {}: {error}", file.display(), over.display())
    });
}

/// Hides what is in `dir` behind an empty directory.
pub fn mount_tmpfs(dir: &Path) -> nix::Result<()> {
    mount(Some("tmpfs"), dir, Some("tmpfs"), MsFlags::MS_NOSUID, Some("mode=755"))
}

/// A copy of the program that every user can run, wherever this source tree lies.
pub fn copy_of_binary() -> PathBuf {
    let copy = Path::new(STAGE).join("uml_switch");
    if !copy.exists() {
        fs::copy(binary(), &copy).expect("the binary can be copied");
    }
    copy
}

/// A directory that belongs to `uid`.
pub fn dir_of(uid: u32) -> TempDir {
    let dir = tempfile::tempdir_in(STAGE).expect("a directory");
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).expect("it is ours");
    chown(dir.path(), Some(uid), Some(uid)).expect("we are root");
    dir
}

/// A switch that runs as `uid`, with these options, separated by spaces.
pub fn switch_of(uid: u32, args: &str) -> Switch {
    let dir = dir_of(uid);
    let control = dir.path().join("ctl");
    let mut command = Command::new(copy_of_binary());
    command.uid(uid).gid(uid).arg("-unix").arg(&control).args(args.split_whitespace());
    Switch::spawn(dir, control, command)
}

fn mount_private() -> nix::Result<()> {
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
}

/// A `/dev/net` with a device node of our own, for root only.
fn make_tun() -> nix::Result<()> {
    let dir = Path::new(TUN).parent().expect("a path with a directory");
    // If it cannot be made, mounting says so.
    let _ = fs::create_dir_all(dir);
    mount_tmpfs(dir)?;
    mknod(TUN, SFlag::S_IFCHR, Mode::S_IRUSR | Mode::S_IWUSR, makedev(10, 200))
}

/// Sets `net.unix.max_dgram_qlen` of this network: how many frames a socket made from now on holds
/// unread.
pub fn set_max_dgram_qlen(frames: u32) {
    let path = "/proc/sys/net/unix/max_dgram_qlen";
    fs::write(path, frames.to_string()).expect("it can be set in a namespace");
    assert_eq!(fs::read_to_string(path).unwrap().trim(), frames.to_string());
}

const TUN: &str = "/dev/net/tun";
