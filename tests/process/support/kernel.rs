//! What a test changes in the kernel for itself alone: the length of receive queues, and who it is.
#![allow(unsafe_code)]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::thread;

use nix::sched::{CloneFlags, unshare};
use nix::unistd::geteuid;

use super::Switch;

/// How many datagrams may lie unread at a socket that is made now.
fn queue_length() -> u32 {
    let len = fs::read_to_string(QUEUE_LENGTH).expect("a kernel with unix sockets");
    len.trim().parse().expect("a number")
}

/// Runs `test` where sockets take 10 datagrams (the kernel's default) and where they take 512 (most
/// distributions'), which needs the right to make network namespaces. Without it `test` runs once,
/// with what the machine has. `test` is told the length.
pub fn at_queue_lengths(test: impl Fn(u32) + Sync) {
    for len in [10, 512] {
        if !with_queue_length(len, || test(len)) {
            let len = queue_length();
            println!("not root: only with max_dgram_qlen {len}");
            test(len);
            return;
        }
    }
}

/// Runs `test` in a network namespace of its own, whose sockets take `len` datagrams. False if that
/// is not allowed. A namespace belongs to a thread and to the threads and processes that it starts.
fn with_queue_length(len: u32, test: impl FnOnce() + Send) -> bool {
    in_thread(|| {
        if unshare(CloneFlags::CLONE_NEWNET).is_err() {
            return false;
        }
        if fs::write(QUEUE_LENGTH, len.to_string()).is_err() {
            return false;
        }
        assert_eq!(queue_length(), len);
        println!("with max_dgram_qlen {len}");
        test();
        true
    })
}

/// Runs `act` as user `uid`, who has no rights beyond that. `None` if we are not root.
pub fn as_user<T: Send>(uid: u32, act: impl FnOnce() -> T + Send) -> Option<T> {
    if !geteuid().is_root() {
        println!("not root: cannot act as another user");
        return None;
    }
    Some(in_thread(|| {
        // The C library's function would change all threads; the system call changes this one.
        // SAFETY: the call takes three numbers and touches no memory of ours. The thread that it
        // takes the rights from ends with this function.
        let result = unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) };
        assert_eq!(result, 0, "root may become anybody");
        act()
    }))
}

/// Lets other users connect to the control socket, whose directory is ours alone.
pub fn let_all_users_in(switch: &Switch) {
    fs::set_permissions(switch.dir.path(), Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&switch.control, Permissions::from_mode(0o777)).unwrap();
}

fn in_thread<T: Send>(act: impl FnOnce() -> T + Send) -> T {
    let joined = thread::scope(|scope| scope.spawn(act).join());
    joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

const QUEUE_LENGTH: &str = "/proc/sys/net/unix/max_dgram_qlen";
