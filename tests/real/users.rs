//! Other users than root.
#![allow(unsafe_code)]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::thread;

use crate::support::Switch;

/// Runs `act` as user `uid`, who has no rights beyond that. Panics if that does.
pub fn as_user<T: Send>(uid: u32, act: impl FnOnce() -> T + Send) -> T {
    let in_thread = || {
        // The C library's function would change all threads; the system call changes this one.
        // SAFETY: the call takes three numbers and touches no memory of ours. The thread that it
        // takes the rights from ends with this function.
        let result = unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) };
        assert_eq!(result, 0, "root may become anybody");
        act()
    };
    let joined = thread::scope(|scope| scope.spawn(in_thread).join());
    joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Lets other users connect to the control socket, whose directory is ours alone.
pub fn let_all_users_in(switch: &Switch) {
    fs::set_permissions(switch.dir.path(), Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&switch.control, Permissions::from_mode(0o777)).unwrap();
}
