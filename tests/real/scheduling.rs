//! What `--realtime` takes, and what an ordinary user gets of it.

use std::fs;
use std::process::Command;

use nix::unistd::Pid;

use crate::sandbox::{copy_of_binary, dir_of, switch_of};
use crate::support::{Client, Switch};
use crate::{Test, tests};

pub const TESTS: &[Test] = tests![
    [RealTime] a_right_is_enough_for_what_it_is_for,
    [RealTime] locked_memory_is_no_more_than_what_is_used,
    [RealTime] a_real_time_loop_does_not_poll_and_says_so,
    [] an_ordinary_user_is_told_what_is_missing_and_served,
];

/// An ordinary user.
const USER: u32 = 64_210;

const NO_REALTIME: &str = "no real-time scheduling, going on without it: needs CAP_SYS_NICE or an \
    RLIMIT_RTPRIO of 1";
const NO_LOCK: &str =
    "memory not locked, going on without it: needs CAP_IPC_LOCK or an unlimited RLIMIT_MEMLOCK";

/// The scheduling policy of process `pid`'s first thread: 0 for an ordinary one, 1 for `SCHED_FIFO`.
fn policy_of(pid: Pid) -> u32 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    // After the name in brackets: state is field 3, policy 41 (proc(5)).
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[38].parse().unwrap()
}

/// Bytes of memory that process `pid` has locked.
fn locked(pid: Pid) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find(|line| line.starts_with("VmLck:")).expect("a VmLck line");
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib * 1024
}

#[track_caller]
fn check_service(switch: &Switch) {
    let guests = Client::several(switch, 2);
    Client::introduce(&guests);
    guests[0].reach(&guests[1]);
}

fn a_right_is_enough_for_what_it_is_for() {
    for (right, policy, locks) in [("sys_nice", 1, false), ("ipc_lock", 0, true)] {
        let dir = dir_of(USER);
        let control = dir.path().join("ctl");
        let mut command = Command::new("setpriv");
        command.args([
            format!("--reuid={USER}"),
            format!("--regid={USER}"),
            "--clear-groups".into(),
        ]);
        command.args(["--inh-caps", "--ambient-caps"].map(|caps| format!("{caps}=+{right}")));
        command.arg(copy_of_binary()).arg("-unix").arg(&control).arg("--realtime");
        let switch = Switch::spawn(dir, control, command);
        check_service(&switch);
        assert_eq!(policy_of(switch.pid()), policy, "{right}");
        assert_eq!(locked(switch.pid()) > 0, locks, "{right}");
        let log = switch.log();
        assert_eq!(log.contains(NO_REALTIME), policy == 0, "{log}");
        assert_eq!(log.contains(NO_LOCK), !locks, "{log}");
    }
}

fn locked_memory_is_no_more_than_what_is_used() {
    let (plain, locking) = (Switch::start(), Switch::with("--realtime"));
    check_service(&plain);
    check_service(&locking);
    assert!(locked(locking.pid()) > locking.resident(), "{}", locking.log());
    let (with, without) = (locking.resident(), plain.resident());
    assert!(with < without + (1 << 20), "{with} bytes, {without} if not locked");
}

fn a_real_time_loop_does_not_poll_and_says_so() {
    let switch = Switch::with("--realtime --busy-poll 50");
    switch.wait_for_log("no busy polling: with real-time scheduling");
    check_service(&switch);
    assert_eq!(switch.stop().get("spins"), 0);
}

fn an_ordinary_user_is_told_what_is_missing_and_served() {
    let switch = switch_of(USER, "--realtime");
    check_service(&switch);
    let log = switch.log();
    assert_eq!(log.matches(NO_REALTIME).count(), 1, "{log}");
    assert_eq!(log.matches(NO_LOCK).count(), 1, "{log}");
    assert_eq!(policy_of(switch.pid()), 0);
    assert_eq!(locked(switch.pid()), 0);
}
