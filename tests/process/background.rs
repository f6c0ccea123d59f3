//! `-daemon`: into the background, and what it must be there.

use std::fs::{self, File};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};

use crate::support::{Background, Client, Terminal, binary, finish, frame, mac, run, wait_for};

/// A switch that has left for the background.
#[track_caller]
fn start(args: &str) -> Background {
    let background = Background::new();
    let finished = background.run(args);
    assert_eq!(finished.status.code(), Some(0), "{}", finished.stderr);
    background
}

#[track_caller]
fn guests(background: &Background, count: u32) -> Vec<Client> {
    let guests: Vec<Client> =
        (1..=count).map(|n| Client::dial(&background.control(), mac(n))).collect();
    Client::introduce(&guests);
    guests
}

#[track_caller]
fn check_service(background: &Background) {
    let guests = guests(background, 2);
    guests[0].reach(&guests[1]);
}

#[test]
fn guests_can_connect_when_the_parent_has_exited() {
    for _ in 0..20 {
        let background = start("");
        UnixStream::connect(background.control()).expect("the switch listens");
        check_service(&background);
    }
}

#[test]
fn either_spelling_sends_it_to_the_background() {
    for option in ["-daemon", "--daemon"] {
        let background = Background::new();
        let mut command = Command::new(binary());
        command.current_dir(background.dir.path()).args(["-unix", &background.name, option]);
        let finished = run(&mut command);
        assert_eq!(finished.status.code(), Some(0));
        check_service(&background);
    }
}

#[test]
fn the_parent_says_nothing_and_lets_go_of_its_pipes() {
    let background = Background::new();
    // This comes back when nobody holds the pipes any more.
    let finished = background.run("");
    assert_eq!((finished.stdout.as_str(), finished.stderr.as_str()), ("", ""));
    background.pid();
}

#[test]
fn what_goes_wrong_before_is_said_in_the_foreground() {
    let background = start("");
    let taken = background.run("");
    assert_eq!(taken.status.code(), Some(1));
    assert!(taken.stderr.contains("another program serves"), "{}", taken.stderr);
    background.pid();
    check_service(&background);

    let nowhere = Background::new();
    fs::write(nowhere.control(), "precious").unwrap();
    let in_the_way = nowhere.run("");
    assert_eq!(in_the_way.status.code(), Some(1));
    assert!(in_the_way.stderr.contains("not a socket"), "{}", in_the_way.stderr);
    fs::remove_file(nowhere.control()).unwrap();
    let no_data = nowhere.run("-compat-v0 -unix ctl missing/data");
    assert_eq!(no_data.status.code(), Some(1));
    assert!(no_data.stderr.contains("cannot bind to missing/data"), "{}", no_data.stderr);
    assert_eq!(nowhere.pids(), []);
    assert_eq!(fs::read_dir(nowhere.dir.path()).unwrap().count(), 0);
}

#[test]
fn a_missing_uplink_is_said_in_the_foreground_and_the_switch_goes_on() {
    let background = Background::new();
    let finished = background.run("-tap lo");
    assert_eq!(finished.status.code(), Some(0));
    assert!(finished.stderr.contains("no uplink, going on without it"), "{}", finished.stderr);
    check_service(&background);
}

#[test]
fn it_has_a_session_of_its_own_in_the_root_directory() {
    let background = start("");
    let pid = background.pid();
    let proc = format!("/proc/{pid}");
    let stat = fs::read_to_string(format!("{proc}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    // Parent, group, session and terminal follow the state (proc(5)).
    let [_, _parent, group, session, terminal] = fields[..5] else { panic!("{stat}") };
    assert_eq!((group, session), (pid.to_string().as_str(), pid.to_string().as_str()));
    assert_eq!(terminal, "0");
    assert_eq!(fs::read_link(format!("{proc}/cwd")).unwrap(), Path::new("/"));
    for descriptor in 0..=2 {
        let leads_to = fs::read_link(format!("{proc}/fd/{descriptor}")).unwrap();
        assert_eq!(leads_to, Path::new("/dev/null"), "descriptor {descriptor}");
    }
}

#[test]
fn a_log_file_stays_its_log() {
    let background = Background::new();
    let log = background.dir.path().join("log");
    let mut command = background.command();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log).unwrap());
    assert_eq!(finish(&mut command).code(), Some(0));
    check_service(&background);
    background.end(Signal::SIGTERM);
    let log = fs::read_to_string(log).unwrap();
    for text in [" serving ", "port opened", " stopped "] {
        assert!(log.contains(text), "{log}");
    }
}

#[test]
fn a_relative_path_is_removed_at_the_end_although_it_works_elsewhere() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let background = start("");
        check_service(&background);
        background.end(signal);
        assert!(!background.control().exists());
    }
    let compat = start("--compat-v0 --data=data");
    assert!(compat.dir.path().join("data").exists());
    compat.end(Signal::SIGTERM);
    assert_eq!(fs::read_dir(compat.dir.path()).unwrap().count(), 0);
}

#[test]
fn it_forgets_silent_stations_as_always() {
    let background = start("--ageing 1");
    let guests = guests(&background, 3);
    wait_for("the station to age", || {
        let sent = frame(mac(2), mac(1), 60);
        guests[0].send(&sent);
        assert_eq!(guests[1].receive(), sent);
        guests[2].receive_within(Duration::from_millis(20))
    });
}

#[test]
fn a_terminal_that_hangs_up_does_not_end_it() {
    let background = start("");
    let guests = guests(&background, 2);
    for _ in 0..3 {
        kill(background.pid(), Signal::SIGHUP).unwrap();
        guests[0].reach(&guests[1]);
    }
}

#[test]
fn it_survives_the_terminal_and_the_session_that_it_was_started_in() {
    let background = Background::new();
    let (mut terminal, stdin) = Terminal::open();
    let mut command = Command::new("setsid");
    command.arg("--ctty").arg(binary()).args(["-daemon", "-unix", &background.name]);
    command.current_dir(background.dir.path());
    command.stdin(stdin.try_clone().unwrap()).stdout(stdin.try_clone().unwrap()).stderr(stdin);
    assert_eq!(finish(&mut command).code(), Some(0));
    // It keeps the terminal's other side until it gets other streams.
    drop(command);
    let guests = guests(&background, 2);
    // The end of input is nothing to a daemon, nor are its keys.
    terminal.type_in(&[4, 3]);
    guests[0].reach(&guests[1]);
    drop(terminal);
    guests[1].expect_silence();
    guests[1].reach(&guests[0]);
    background.pid();
}

#[test]
fn it_goes_to_the_background_with_its_first_three_descriptors_closed() {
    let background = Background::new();
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$0\" -daemon -unix \"$1\" <&- >&- 2>&-", binary()]);
    command.arg(&background.name).current_dir(background.dir.path());
    assert_eq!(finish(&mut command).code(), Some(0));
    check_service(&background);
    background.end(Signal::SIGTERM);
    assert!(!background.control().exists());
}
