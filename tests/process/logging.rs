//! What is said on standard error, and how little.

use std::fs::{self, File};
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Instant;

use nix::sys::signal::Signal;

use crate::support::{
    BROADCAST, Client, Request, Switch, binary, expect_no_port, frame, mac, read_reply, run,
    wait_for,
};

/// A switch that need not say that it serves.
#[track_caller]
fn start(level: &str) -> Switch {
    let dir = tempfile::tempdir().unwrap();
    let control = dir.path().join("ctl");
    let log = File::create(dir.path().join("log")).unwrap();
    let mut command = Command::new(binary());
    command.arg("-unix").arg(&control).args(["--log", level]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    Switch::launch(dir, control, command)
}

/// All that is said in a life with a good guest and a bad one.
#[track_caller]
fn log_of_a_life(level: &str) -> String {
    let mut switch = start(level);
    let guests = Client::several(&switch, 2);
    Client::introduce(&guests);
    expect_no_port(&switch, b"GET / HTTP/1.0\r\n\r\n");
    drop(guests);
    switch.signal(Signal::SIGTERM);
    switch.wait();
    switch.log()
}

#[test]
fn each_level_says_what_is_at_least_so_severe() {
    for (level, said, not_said) in [
        ("off", &[] as &[&str], &["E", "W", "I", "2"] as &[&str]),
        ("error", &[], &["client refused", "port opened", "serving"]),
        ("warn", &["client refused"], &["port opened", "serving", "stopped"]),
        ("info", &["client refused", "port opened", "serving", "stopped"], &["DEBUG"]),
        ("debug", &["client refused", "port opened", "serving", "stopped"], &["TRACE"]),
        ("trace", &["client refused", "port opened", "serving", "stopped"], &[]),
    ] {
        let log = log_of_a_life(level);
        for text in said {
            assert!(log.contains(text), "{level}: no {text:?} in\n{log}");
        }
        for text in not_said {
            assert!(!log.contains(text), "{level}: {text:?} in\n{log}");
        }
    }
}

#[test]
fn an_error_at_the_start_is_said_at_any_level() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("ctl")).unwrap();
    let mut command = Command::new(binary());
    command.current_dir(dir.path()).args(["-unix", "ctl", "--log", "off"]);
    let finished = run(&mut command);
    assert_eq!(finished.status.code(), Some(1));
    assert_eq!(finished.stderr, "uml_switch: ctl is in the way: it is not a socket\n");
    assert_eq!(finished.stdout, "");
}

#[test]
fn a_port_is_said_with_its_owner_when_it_opens_and_with_its_counters_when_it_closes() {
    let switch = Switch::start();
    let guests = Client::several(&switch, 2);
    let opened = switch.wait_for_log("port opened port=2");
    let uid = nix::unistd::geteuid();
    assert!(opened.contains(&format!(" uid={uid} pid={} ", std::process::id())), "{opened}");
    assert!(opened.contains(" client=@"), "{opened}");
    Client::introduce(&guests);
    drop(guests.into_iter().nth(1));
    let closed = switch.wait_for_log("port closed port=2");
    assert!(closed.contains("rx_frames=1 rx_bytes=60 rx_flooded=1 "), "{closed}");
}

#[test]
fn nothing_is_said_for_a_frame() {
    let switch = start("trace");
    let guests = Client::several(&switch, 3);
    Client::introduce(&guests);
    switch.wait_for_log("port opened port=3");
    let before = switch.log();
    for n in 0..20_000 {
        // To addresses that nobody has, from ever new ones, to ourselves, too short, too long.
        let [to, from, own] = [mac(1_000_000 + n), mac(10_000 + n), mac(1)];
        match n % 8 {
            0 => guests[0].send(&frame(to, from, 60)),
            1 => guests[0].send(&frame(own, own, 60)),
            2 => guests[0].send(&[0xff; 13]),
            3 => guests[0].send(&[]),
            4 if n % 64 == 4 => guests[0].send(&frame(to, own, 9019)),
            5 => guests[0].send(&frame(BROADCAST, own, 60)),
            _ => guests[0].send(&frame(to, own, 60)),
        }
    }
    let mut switch = switch;
    switch.signal(Signal::SIGTERM);
    switch.wait();
    let log = switch.log();
    let more: Vec<_> = log.strip_prefix(before.as_str()).unwrap().lines().collect();
    assert!(more.len() == 1 && more[0].contains(" stopped "), "{more:?}");
}

#[test]
fn guests_that_come_and_go_at_will_fill_no_disk() {
    let switch = Switch::with("--log debug");
    let start = Instant::now();
    for n in 0..2000 {
        drop(Client::new(&switch, mac(n)));
    }
    for _ in 0..500 {
        expect_no_port(&switch, b"rubbish.");
        drop(switch.connect());
    }
    let good = Client::several(&switch, 2);
    Client::introduce(&good);
    // Three kinds of message, 64 of each in 10 seconds, and what else is said once.
    let periods = start.elapsed().as_secs() as usize / 10 + 1;
    let lines = switch.log().lines().count();
    assert!(lines <= 3 * 64 * periods + 10, "{lines} lines in {periods} periods");
}

#[test]
fn a_client_that_hangs_up_before_its_reply_is_said_for_developers_only() {
    let switch = Switch::with("--log debug");
    wait_for("a client that is gone in time", || {
        let (addr, _data) = Client::socket();
        let mut control = switch.connect();
        control.write_all(&Request::v3(&addr)).unwrap();
        drop(control);
        switch.log().contains("client gone before it had its port").then_some(())
    });
    let good = Client::several(&switch, 2);
    good[0].drain();
    good[0].reach(&good[1]);
}

#[test]
fn control_characters_of_clients_do_not_reach_the_log() {
    let switch = Switch::start();
    let evil = "\u{1b}[2Jowned\u{7}\nfaked line\r\u{9b}1m";
    let path = switch.dir.path().join(evil);
    let by_path = Client::at_path(&switch, mac(1), &path);
    let mut abstract_name = [0x1b; 110];
    abstract_name[..3].copy_from_slice(&[1, 0, 0]);
    abstract_name[3..14].copy_from_slice(b"\nfaked line");
    let (addr, _data) = Client::socket();
    let described = [Request::versioned(3, 0, &addr).as_slice(), evil.as_bytes()].concat();
    let requests = [Request::v3(&abstract_name), described];
    let _controls = requests.map(|request| {
        let mut control = switch.connect();
        control.write_all(&request).unwrap();
        read_reply(&mut control);
        control
    });
    switch.wait_for_log("port opened port=3");
    // A name that cannot be sent to is said too.
    drop(by_path);
    switch.wait_for_log("port closed");
    let log = switch.log();
    assert!(log.contains("owned"), "{log}");
    for c in log.chars() {
        assert!(c == '\n' || !c.is_control(), "{c:?} in {log:?}");
    }
    assert!(log.lines().all(|line| line.starts_with("20")), "every line has a time: {log}");
}
