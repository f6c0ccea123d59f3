//! Standard input, output and error that are closed, broken, or that nobody reads.

use std::io::{PipeReader, PipeWriter, Read, pipe};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use nix::fcntl::{FcntlArg, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::signal::Signal;

use crate::support::{Client, SILENCE, Switch, binary, finish, mac, wait_for};

/// A switch whose standard streams are as `set` makes them.
#[track_caller]
fn start(set: impl FnOnce(&mut Command)) -> Switch {
    let dir = tempfile::tempdir().unwrap();
    let control = dir.path().join("ctl");
    let mut command = Command::new(binary());
    command.arg("-unix").arg(&control).args(["--log", "debug"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    set(&mut command);
    Switch::launch(dir, control, command)
}

/// It serves, it does not spin, and a signal ends it and takes its socket along.
#[track_caller]
fn check_life(mut switch: Switch) {
    let guests = Client::several(&switch, 2);
    Client::introduce(&guests);
    guests[0].reach(&guests[1]);
    let before = switch.cpu();
    for _ in 0..3 {
        guests[1].expect_silence();
    }
    let spent = switch.cpu() - before;
    assert!(spent < SILENCE, "{spent:?} of processor time while nothing happened");
    guests[1].reach(&guests[0]);
    switch.signal(Signal::SIGTERM);
    assert_eq!(switch.wait().signal(), Some(Signal::SIGTERM as i32));
    assert!(!switch.control.exists());
}

#[test]
fn the_end_of_input_ends_nothing_when_it_is_no_terminal() {
    let (reader, writer) = pipe().unwrap();
    drop(writer);
    check_life(start(|command| {
        command.stdin(reader);
    }));
    let (reader, writer) = pipe().unwrap();
    let switch = start(|command| {
        command.stdin(reader);
    });
    drop(writer);
    check_life(switch);
    check_life(start(|command| {
        command.stdin(Stdio::null());
    }));
}

#[test]
fn any_of_the_first_three_descriptors_may_be_closed() {
    for closed in ["<&-", ">&-", "2>&-", "<&- >&-", ">&- 2>&-", "<&- >&- 2>&-"] {
        let dir = tempfile::tempdir().unwrap();
        let control = dir.path().join("ctl");
        let mut command = Command::new("sh");
        command.args(["-c", &format!("exec \"$0\" -unix \"$1\" {closed}")]);
        command.arg(binary()).arg(&control);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        check_life(Switch::launch(dir, control, command));
    }
}

/// Connects guests until what is logged has filled `pipe`.
#[track_caller]
fn fill(switch: &Switch, pipe: &PipeWriter) {
    let mut n = 10;
    wait_for("the pipe to be full", || {
        n += 1;
        drop(Client::new(switch, mac(n)));
        let mut asked = [PollFd::new(pipe.as_fd(), PollFlags::POLLOUT)];
        (nix::poll::poll(&mut asked, PollTimeout::ZERO) == Ok(0)).then_some(())
    });
    // The writer is stuck; now its queue fills, and overflows when there is more than it holds.
    for n in 0..200 {
        drop(Client::new(switch, mac(n)));
    }
}

fn tiny_pipe() -> (PipeReader, PipeWriter) {
    let (reader, writer) = pipe().unwrap();
    fcntl(&writer, FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
    (reader, writer)
}

#[test]
fn a_log_that_nobody_reads_stops_neither_service_nor_the_end() {
    let (mut reader, writer) = tiny_pipe();
    let ours = writer.try_clone().unwrap();
    let switch = start(|command| {
        command.stdout(writer.try_clone().unwrap()).stderr(writer);
    });
    fill(&switch, &ours);
    check_life(switch);
    drop(ours);
    let mut log = String::new();
    reader.read_to_string(&mut log).unwrap();
    assert!(log.contains(" serving "), "{log}");
}

#[test]
fn a_log_pipe_may_break_while_it_is_full() {
    let (reader, writer) = tiny_pipe();
    let ours = writer.try_clone().unwrap();
    let switch = start(|command| {
        command.stderr(writer);
    });
    fill(&switch, &ours);
    drop(reader);
    check_life(switch);
}

#[test]
fn output_and_log_may_be_broken_from_the_start() {
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    check_life(start(|command| {
        command.stdout(writer.try_clone().unwrap()).stderr(writer);
    }));
}

#[test]
fn a_full_disk_stops_nothing() {
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    check_life(start(|command| {
        command.stdout(full.try_clone().unwrap()).stderr(full);
    }));
}

#[test]
fn an_error_with_nobody_to_tell_still_has_its_exit_code() {
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    for line in ["-nonsense", "-unix /nonexistent/ctl", "--help"] {
        let mut command = Command::new(binary());
        command.args(line.split(' ')).stdin(Stdio::null());
        let out = writer.try_clone().unwrap();
        command.stdout(out).stderr(writer.try_clone().unwrap());
        assert_eq!(finish(&mut command).code(), Some(i32::from(line != "--help")), "{line}");
    }
}

#[test]
fn sigpipe_ends_nothing() {
    let switch = start(|_| ());
    let guests = Client::several(&switch, 2);
    for _ in 0..10 {
        switch.signal(Signal::SIGPIPE);
    }
    Client::introduce(&guests);
    drop(guests);
    check_life(switch);
}
