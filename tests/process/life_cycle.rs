//! From the start to the end: what is at the socket's path, what ends the switch, what it leaves.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use socket2::{Domain, SockAddr, Socket, Type};
use tempfile::TempDir;

use crate::support::{Client, Finished, Switch, Terminal, binary, run};

/// The program with `-unix ctl`, to be run in `dir`.
fn command(dir: &Path) -> Command {
    let mut command = Command::new(binary());
    command.current_dir(dir).args(["-unix", "ctl"]);
    command
}

/// Runs the program where it cannot serve `ctl`.
#[track_caller]
fn expect_refusal(dir: &TempDir, reason: &str) -> Finished {
    let finished = run(&mut command(dir.path()));
    assert_eq!(finished.status.code(), Some(1), "{}", finished.stderr);
    assert!(finished.stderr.starts_with("uml_switch: "), "{}", finished.stderr);
    assert!(finished.stderr.contains(reason), "{}", finished.stderr);
    assert_eq!(finished.stderr.lines().count(), 1, "{}", finished.stderr);
    assert_eq!(finished.stdout, "");
    finished
}

/// The same where something is at `ctl` that must stay as it is.
#[track_caller]
fn expect_left_alone(dir: &TempDir, reason: &str) {
    let identity = |path: PathBuf| {
        use std::os::unix::fs::MetadataExt;
        let meta = fs::symlink_metadata(path).expect("it is still there");
        (meta.dev(), meta.ino(), meta.mtime(), meta.mode())
    };
    let before = identity(dir.path().join("ctl"));
    expect_refusal(dir, reason);
    assert_eq!(identity(dir.path().join("ctl")), before);
}

/// It serves two guests.
#[track_caller]
fn check_service(switch: &Switch) {
    let guests = Client::several(switch, 2);
    Client::introduce(&guests);
    guests[0].reach(&guests[1]);
}

#[test]
fn a_stale_socket_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let control = dir.path().join("ctl");
    drop(UnixListener::bind(&control).unwrap());
    UnixStream::connect(&control).expect_err("it is stale");
    let command = command(dir.path());
    let switch = Switch::spawn(dir, control, command);
    check_service(&switch);
}

#[test]
fn the_socket_of_a_switch_that_was_killed_is_replaced() {
    let mut switch = Switch::start();
    switch.signal(Signal::SIGKILL);
    switch.wait();
    assert!(switch.control.exists());
    let mut command = Command::new(binary());
    command.arg("-unix").arg(&switch.control);
    let next = Switch::spawn(tempfile::tempdir().unwrap(), switch.control.clone(), command);
    check_service(&next);
}

#[test]
fn a_live_socket_is_left_alone() {
    let switch = Switch::start();
    let guests = Client::several(&switch, 2);
    Client::introduce(&guests);
    expect_left_alone(&switch.dir, "another program serves the socket ctl");
    guests[0].reach(&guests[1]);
    check_service(&switch);
}

#[test]
fn a_live_socket_with_a_full_accept_queue_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let at = SockAddr::unix(dir.path().join("ctl")).unwrap();
    let listener = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    listener.bind(&at).unwrap();
    listener.listen(0).unwrap();
    let mut waiting = Vec::new();
    let full = loop {
        let client = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None).unwrap();
        match client.connect(&at) {
            Ok(()) => waiting.push(client),
            Err(error) => break error,
        }
        assert!(waiting.len() < 100, "the queue has no end");
    };
    assert_eq!(full.kind(), std::io::ErrorKind::WouldBlock);
    expect_left_alone(&dir, "another program serves the socket ctl");
    listener.accept().expect("who waited still waits");
}

#[test]
fn a_live_socket_of_another_type_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let _datagram = UnixDatagram::bind(dir.path().join("ctl")).unwrap();
    expect_left_alone(&dir, "another program serves the socket ctl");
}

#[test]
fn a_file_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("ctl"), "precious").unwrap();
    expect_left_alone(&dir, "ctl is in the way: it is not a socket");
    assert_eq!(fs::read(dir.path().join("ctl")).unwrap(), b"precious");
}

#[test]
fn a_directory_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("ctl")).unwrap();
    expect_left_alone(&dir, "ctl is in the way: it is not a socket");
}

#[test]
fn a_symbolic_link_is_left_alone_wherever_it_leads() {
    let dir = tempfile::tempdir().unwrap();
    drop(UnixListener::bind(dir.path().join("stale")).unwrap());
    let _live = UnixListener::bind(dir.path().join("live")).unwrap();
    fs::write(dir.path().join("file"), "precious").unwrap();
    for target in ["nowhere", "stale", "live", "file", "ctl"] {
        let link = dir.path().join("ctl");
        symlink(target, &link).unwrap();
        expect_left_alone(&dir, "ctl is in the way: it is not a socket");
        assert_eq!(fs::read_link(&link).unwrap(), Path::new(target));
        fs::remove_file(link).unwrap();
    }
    assert!(dir.path().join("stale").exists() && !dir.path().join("nowhere").exists());
}

#[test]
fn a_directory_that_does_not_exist_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new(binary());
    command.current_dir(dir.path()).args(["-unix", "missing/ctl"]);
    let finished = run(&mut command);
    assert_eq!(finished.status.code(), Some(1));
    assert!(finished.stderr.contains("cannot bind to missing/ctl: No such file"), "{finished:?}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_directory_that_may_not_be_written_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    // Root may write anywhere: it becomes somebody else, who can reach the program in this copy.
    let program = dir.path().join("program");
    fs::copy(binary(), &program).unwrap();
    let locked = dir.path().join("locked");
    fs::create_dir(&locked).unwrap();
    for path in [dir.path(), &locked] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o555)).unwrap();
    }
    let mut command = Command::new(program);
    command.current_dir(dir.path()).args(["-unix", "locked/ctl"]);
    if nix::unistd::geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    let finished = run(&mut command);
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(finished.status.code(), Some(1));
    assert!(
        finished.stderr.contains("cannot bind to locked/ctl: Permission denied"),
        "{finished:?}"
    );
    assert_eq!(fs::read_dir(locked).unwrap().count(), 0);
}

#[test]
fn a_signal_to_end_removes_the_socket_and_is_what_the_process_dies_of() {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let mut switch = Switch::start();
        let guests = Client::several(&switch, 2);
        Client::introduce(&guests);
        switch.signal(signal);
        let status = switch.wait();
        assert_eq!((status.code(), status.signal()), (None, Some(signal as i32)));
        assert!(!switch.control.exists());
        assert!(switch.log().contains(" stopped "), "{}", switch.log());
        for mut guest in guests {
            assert!(guest.is_cut_off());
        }
    }
}

/// A switch that was started with signals ignored.
#[track_caller]
fn start_ignoring(signals: &str) -> Switch {
    let dir = tempfile::tempdir().unwrap();
    let control = dir.path().join("ctl");
    let mut command = Command::new("sh");
    command.args(["-c", &format!("trap '' {signals}; exec \"$0\" -unix \"$1\"")]);
    command.arg(binary()).arg(&control);
    Switch::spawn(dir, control, command)
}

#[test]
fn signals_that_a_shell_ignores_for_its_background_end_it_all_the_same() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let mut switch = start_ignoring("INT QUIT TERM");
        switch.signal(signal);
        assert_eq!(switch.wait().signal(), Some(signal as i32));
        assert!(!switch.control.exists());
    }
}

#[test]
fn nohup_lets_it_outlive_its_terminal() {
    let switch = start_ignoring("HUP");
    for _ in 0..3 {
        switch.signal(Signal::SIGHUP);
    }
    check_service(&switch);
}

#[test]
fn a_signal_that_comes_at_once_removes_the_socket_too() {
    for _ in 0..20 {
        let dir = tempfile::tempdir().unwrap();
        let control = dir.path().join("ctl");
        let mut command = command(dir.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // It listens, and may not have said so yet.
        let mut switch = Switch::launch(dir, control, command);
        switch.signal(Signal::SIGTERM);
        assert_eq!(switch.wait().signal(), Some(Signal::SIGTERM as i32));
        assert!(!switch.control.exists());
    }
}

#[test]
fn what_somebody_else_has_put_in_its_place_is_not_removed() {
    let mut switch = Switch::start();
    fs::rename(&switch.control, switch.dir.path().join("moved")).unwrap();
    fs::write(&switch.control, "somebody else's").unwrap();
    switch.signal(Signal::SIGTERM);
    switch.wait();
    assert_eq!(fs::read(&switch.control).unwrap(), b"somebody else's");
}

#[test]
fn another_switchs_socket_in_its_place_is_not_removed() {
    let mut switch = Switch::start();
    fs::remove_file(&switch.control).unwrap();
    let mut command = Command::new(binary());
    command.arg("-unix").arg(&switch.control);
    let other = Switch::spawn(tempfile::tempdir().unwrap(), switch.control.clone(), command);
    switch.signal(Signal::SIGTERM);
    switch.wait();
    check_service(&other);
}

#[test]
fn a_socket_that_somebody_has_removed_is_no_reason_to_fail() {
    let mut switch = Switch::start();
    let guests = Client::several(&switch, 2);
    fs::remove_file(&switch.control).unwrap();
    guests[0].reach(&guests[1]);
    switch.signal(Signal::SIGTERM);
    assert_eq!(switch.wait().signal(), Some(Signal::SIGTERM as i32));
}

#[test]
fn a_relative_path_is_removed_at_the_end() {
    for path in ["ctl", "./ctl", "sub/ctl", "sub/../ctl"] {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("sub")).unwrap();
        let control = dir.path().join(path);
        let mut command = Command::new(binary());
        command.current_dir(dir.path()).args(["-unix", path]);
        let mut switch = Switch::spawn(dir, control, command);
        check_service(&switch);
        switch.signal(Signal::SIGINT);
        assert_eq!(switch.wait().signal(), Some(Signal::SIGINT as i32));
        assert!(!switch.control.exists(), "{path}");
    }
}

/// A switch that reads a terminal.
#[track_caller]
fn at_terminal() -> (Terminal, Switch) {
    let (terminal, stdin) = Terminal::open();
    let dir = tempfile::tempdir().unwrap();
    let control = dir.path().join("ctl");
    let command = command(dir.path());
    (terminal, Switch::spawn_reading(dir, control, command, stdin))
}

/// As [`at_terminal`], and the terminal is the one that signals it: setsid(1) makes its standard input
/// the controlling terminal and becomes the program.
fn at_its_own_terminal() -> (Terminal, Switch) {
    let (terminal, stdin) = Terminal::open();
    let dir = tempfile::tempdir().unwrap();
    let control = dir.path().join("ctl");
    let mut command = Command::new("setsid");
    command.args(["--ctty", binary(), "-unix"]).arg(&control);
    (terminal, Switch::spawn_reading(dir, control, command, stdin))
}

#[test]
fn the_end_of_input_at_a_terminal_ends_it_well() {
    let (mut terminal, mut switch) = at_terminal();
    let guests = Client::several(&switch, 2);
    terminal.type_in(b"hello\n\nquit\nexit\n");
    guests[0].reach(&guests[1]);
    terminal.type_in(&b"many lines\n".repeat(300));
    guests[1].reach(&guests[0]);
    terminal.type_in(&[END_OF_INPUT]);
    assert_eq!(switch.wait().code(), Some(0));
    assert!(!switch.control.exists());
    assert!(switch.log().contains(" stopped "));
}

#[test]
fn a_terminal_that_goes_away_ends_it_well() {
    let (terminal, mut switch) = at_terminal();
    check_service(&switch);
    drop(terminal);
    assert_eq!(switch.wait().code(), Some(0));
    assert!(!switch.control.exists());
}

#[test]
fn the_end_of_input_ends_it_at_its_own_terminal_too() {
    let (mut terminal, mut switch) = at_its_own_terminal();
    terminal.type_in(b"hello\n");
    check_service(&switch);
    terminal.type_in(&[END_OF_INPUT]);
    assert_eq!(switch.wait().code(), Some(0));
    assert!(!switch.control.exists());
}

#[test]
fn the_interrupt_key_of_its_terminal_ends_it_by_signal() {
    let (mut terminal, mut switch) = at_its_own_terminal();
    terminal.type_in(&[INTERRUPT]);
    assert_eq!(switch.wait().signal(), Some(Signal::SIGINT as i32));
    assert!(!switch.control.exists());
}

/// Ctrl-D and Ctrl-C.
const END_OF_INPUT: u8 = 4;
const INTERRUPT: u8 = 3;

/// Of no account on any system.
const NOBODY: u32 = 65_534;
