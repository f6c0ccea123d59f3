//! `--connect KIND:PATH`: the switch is the client of a gateway or of another switch, and stays it.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Instant;

use nix::poll::{PollFd, PollFlags, poll};
use socket2::{Domain, SockAddr, Socket, Type};
use tempfile::TempDir;

use crate::support::{
    BROADCAST, Background, BessClient, Client, GoodPair, Guest, Noise, QemuClient, Switch,
    SwitchBuilder, binary, frame, mac, on_stream, ports, reach, run, wait_for,
};

/// A kind of cable: its name, its type of socket, and what a connection is to its far end.
type Kind = (&'static str, Type, fn(Socket) -> Box<dyn Guest>);

const KINDS: [Kind; 2] = [
    ("bess", Type::SEQPACKET, |socket| Box::new(BessClient(socket))),
    ("qemu", Type::STREAM, |socket| Box::new(qemu(socket))),
];

fn qemu(socket: Socket) -> QemuClient {
    QemuClient::on(UnixStream::from(OwnedFd::from(socket)))
}

/// The far end of a cable: a socket that somebody serves. Its path goes with it.
#[derive(Debug)]
struct FarEnd {
    listener: Socket,
    path: PathBuf,
}

impl FarEnd {
    fn new(path: &Path, kind: Type) -> FarEnd {
        FarEnd::with_backlog(path, kind, 8)
    }

    fn with_backlog(path: &Path, kind: Type, backlog: i32) -> FarEnd {
        let listener = Socket::new(Domain::UNIX, kind, None).unwrap();
        listener.bind(&SockAddr::unix(path).unwrap()).unwrap();
        listener.listen(backlog).unwrap();
        listener.set_nonblocking(true).unwrap();
        FarEnd { listener, path: path.to_owned() }
    }

    /// The next connection that is made.
    #[track_caller]
    fn accept(&self) -> Socket {
        let (socket, _) = wait_for("a connection", || self.listener.accept().ok());
        socket.set_nonblocking(false).unwrap();
        socket
    }
}

impl Drop for FarEnd {
    fn drop(&mut self) {
        // Its directory may have gone before.
        let _ = fs::remove_file(&self.path);
    }
}

/// A far end that hangs up on whoever connects, until this is dropped.
#[derive(Debug)]
struct HangingUp(Arc<(AtomicU32, AtomicBool)>);

impl HangingUp {
    fn start(far: FarEnd) -> HangingUp {
        let shared: Arc<(AtomicU32, AtomicBool)> = Arc::default();
        let ours = Arc::clone(&shared);
        thread::spawn(move || {
            while !ours.1.load(Ordering::Relaxed) {
                let mut asked = [PollFd::new(far.listener.as_fd(), PollFlags::POLLIN)];
                poll(&mut asked, 50u8).unwrap();
                if far.listener.accept().is_ok() {
                    ours.0.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        HangingUp(shared)
    }

    fn accepted(&self) -> u32 {
        self.0.0.load(Ordering::Relaxed)
    }
}

impl Drop for HangingUp {
    fn drop(&mut self) {
        self.0.1.store(true, Ordering::Relaxed);
    }
}

/// A directory for the far end, and the path of its socket there.
fn place() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("far");
    (dir, path)
}

fn connected_to(kind: &str, path: &Path) -> Switch {
    SwitchBuilder::default().arg("--connect").arg(format!("{kind}:{}", path.display())).start()
}

/// Waits until the log has `text` `count` times.
#[track_caller]
fn wait_for_times(switch: &Switch, text: &str, count: usize) {
    wait_for(&format!("{count} times {text:?}"), || {
        (switch.log().matches(text).count() == count).then_some(())
    });
}

#[test]
fn frames_go_both_ways_and_the_port_is_shown_as_a_cable() {
    for (kind, socket_type, far_guest) in KINDS {
        let (_dir, path) = place();
        let far = FarEnd::new(&path, socket_type);
        let switch = connected_to(kind, &path);
        let gateway = far_guest(far.accept());
        let name = format!("{kind}:{}", path.display());
        let said = switch.wait_for_log("cable attached");
        assert!(said.contains(&format!("cable={name} port=1")), "{said}");
        let guest = Client::new(&switch, mac(2));
        let hello = frame(BROADCAST, mac(2), 60);
        guest.send(&hello);
        assert_eq!(gateway.receive(), hello);
        for len in [14, 60, 1514, 9018] {
            reach((&*gateway, mac(1)), (&guest, mac(2)), len);
            reach((&guest, mac(2)), (&*gateway, mac(1)), len);
        }
        let ports = ports(&switch);
        let cable = ports.as_array().unwrap().iter().find(|port| port["number"] == 1).unwrap();
        assert_eq!(cable["kind"], kind);
        assert_eq!(cable["name"], format!("port 1 cable {name}"));
        switch.stop().check_sums();
    }
}

#[test]
fn a_cable_that_leads_nowhere_is_said_once_and_tried_again() {
    for (kind, socket_type, far_guest) in KINDS {
        let (_dir, path) = place();
        let switch = connected_to(kind, &path);
        let said = switch.wait_for_log("no cable for now");
        assert!(said.contains("WARN") && said.contains("No such file or directory"), "{said}");
        let pair = GoodPair::start_amid(&switch, Noise::Floods);
        pair.expect_rest(&switch);
        let guest = Client::new(&switch, mac(2));
        guest.send(&frame(BROADCAST, mac(2), 60));
        let far = FarEnd::new(&path, socket_type);
        let gateway = far_guest(far.accept());
        switch.wait_for_log("cable attached");
        reach((&*gateway, mac(1)), (&guest, mac(2)), 500);
        pair.finish();
        assert_eq!(switch.log().matches("no cable").count(), 1, "{}", switch.log());
        let totals = switch.stop();
        totals.check_sums();
        assert!(totals.get("tx_no_receiver") > 0);
    }
}

#[test]
fn a_gateway_that_starts_again_is_back_on_the_same_port() {
    for (kind, socket_type, far_guest) in KINDS {
        let (_dir, path) = place();
        let switch = connected_to(kind, &path);
        let guests = Client::several(&switch, 2);
        assert!(switch.wait_for_log("port opened").contains("port=2"));
        for round in 1..=3 {
            let far = FarEnd::new(&path, socket_type);
            let gateway = far_guest(far.accept());
            wait_for_times(&switch, " port=1\n", round);
            let hello = frame(BROADCAST, mac(9), 60);
            gateway.send(&hello);
            guests.iter().for_each(|guest| assert_eq!(guest.receive(), hello));
            reach((&guests[0], mac(1)), (&*gateway, mac(9)), 200);
            // What is sent before the end still comes.
            gateway.send(&frame(mac(1), mac(9), 300));
            drop((gateway, far));
            assert_eq!(guests[0].receive().len(), 300);
            wait_for_times(&switch, "cable lost", round);
            // Where its station is has been forgotten: it may be behind another port now.
            reach((&guests[0], mac(1)), (&guests[1], mac(9)), 100);
        }
        let totals = switch.stop();
        totals.check_sums();
        assert_eq!(totals.get("tx_no_receiver"), 3);
    }
}

#[test]
fn a_peer_that_hangs_up_at_once_is_not_tried_without_end() {
    for (kind, socket_type, _) in KINDS {
        let (_dir, path) = place();
        let far = FarEnd::new(&path, socket_type);
        let started = Instant::now();
        let switch = connected_to(kind, &path);
        let door = HangingUp::start(far);
        wait_for("three attempts", || (door.accepted() >= 3).then_some(()));
        let pair = GoodPair::start_amid(&switch, Noise::Floods);
        pair.expect_rest(&switch);
        pair.finish();
        // At 0, then 0.1 s later, 0.2 s after that, and so on to 5 s: never more in so long a time.
        let mut most = 1;
        let (mut at, mut pause) = (0.1, 0.2);
        while at < started.elapsed().as_secs_f64() {
            most += 1;
            at += pause;
            pause = f64::min(pause * 2.0, 5.0);
        }
        let accepted = door.accepted();
        assert!(accepted <= most, "{accepted} attempts, {most} expected at most");
        switch.stop().check_sums();
    }
}

#[test]
fn a_peer_that_never_reads_or_never_accepts_costs_others_nothing() {
    for (kind, socket_type, far_guest) in KINDS {
        let (_dir, path) = place();
        let far = FarEnd::with_backlog(&path, socket_type, 0);
        // The only place in its queue is taken.
        let first = Socket::new(Domain::UNIX, socket_type, None).unwrap();
        first.connect(&SockAddr::unix(&path).unwrap()).unwrap();
        let switch = connected_to(kind, &path);
        let said = switch.wait_for_log("no cable for now");
        assert!(said.contains("does not accept connections at the moment"), "{said}");
        let pair = GoodPair::start_amid(&switch, Noise::Floods);
        pair.expect_rest(&switch);
        far.accept();
        // Connected now, but not accepted yet, nor read.
        switch.wait_for_log("cable attached");
        let guest = Client::new(&switch, mac(2));
        let gateway = far_guest(far.accept());
        reach((&*gateway, mac(1)), (&guest, mac(2)), 60);
        let unread = frame(mac(1), mac(2), 1000);
        for _ in 0..2000 {
            guest.send(&unread);
        }
        pair.goes_on();
        pair.expect_rest(&switch);
        assert!(gateway.receive() == unread, "what has found room is there");
        pair.finish();
        switch.stop().check_sums();
    }
}

#[test]
fn half_a_frame_or_a_bad_length_ends_only_that_connection() {
    let (_dir, path) = place();
    let far = FarEnd::new(&path, Type::STREAM);
    let switch = connected_to("qemu", &path);
    let guest = Client::new(&switch, mac(2));
    let whole = on_stream(&frame(BROADCAST, mac(1), 200));
    for (round, end) in [&whole[..2], &whole[..100], &[0; 4], b"HTTP"].into_iter().enumerate() {
        let gateway = qemu(far.accept());
        gateway.write(&whole);
        assert_eq!(on_stream(&guest.receive()), whole);
        gateway.write(end);
        drop(gateway);
        wait_for_times(&switch, "cable lost", round + 1);
    }
    let gateway = qemu(far.accept());
    gateway.write(&whole);
    assert_eq!(on_stream(&guest.receive()), whole);
    guest.expect_silence();
    let totals = switch.stop();
    totals.check_sums();
    assert_eq!(totals.get("rx_bad_length"), 2);
}

#[test]
fn a_socket_of_another_type_is_told() {
    for (kind, other) in [("bess", Type::STREAM), ("qemu", Type::SEQPACKET)] {
        let (_dir, path) = place();
        let _far = FarEnd::new(&path, other);
        let switch = connected_to(kind, &path);
        let said = switch.wait_for_log("no cable for now");
        assert!(said.contains("the socket there is of another type"), "{said}");
        let guests = Client::several(&switch, 2);
        guests[0].reach(&guests[1]);
    }
}

#[test]
fn a_relative_path_is_where_the_switch_was_started() {
    let background = Background::new();
    let finished = background.run("--connect bess:far");
    assert!(finished.status.success(), "{finished:?}");
    let far = FarEnd::new(&background.dir.path().join("far"), Type::SEQPACKET);
    let gateway = BessClient(far.accept());
    let guest = Client::dial(&background.control(), mac(2));
    reach((&gateway, mac(1)), (&guest, mac(2)), 60);
}

#[test]
fn two_switches_are_one_network() {
    for (kind, ..) in KINDS {
        let (_dir, path) = place();
        let serving =
            || SwitchBuilder::default().arg(format!("--{kind}")).arg(path.to_str().unwrap());
        let far = serving().start();
        let near = connected_to(kind, &path);
        far.wait_for_log("port opened");
        let there = Client::several(&far, 2);
        let here = Client::new(&near, mac(3));
        let hello = frame(BROADCAST, mac(3), 60);
        here.send(&hello);
        there.iter().for_each(|guest| assert_eq!(guest.receive(), hello));
        for len in [60, 1514, 9018] {
            reach((&there[0], mac(1)), (&here, mac(3)), len);
            reach((&here, mac(3)), (&there[0], mac(1)), len);
        }
        there[1].expect_silence();
        far.stop().check_sums();
        // Its guests have to be started again, but the cable need not.
        let far = serving().start();
        near.wait_for_log("cable lost");
        wait_for_times(&near, "cable attached", 2);
        far.wait_for_log("port opened");
        let there = Client::new(&far, mac(1));
        reach((&there, mac(1)), (&here, mac(3)), 800);
        reach((&here, mac(3)), (&there, mac(1)), 800);
        near.stop().check_sums();
        far.stop().check_sums();
    }
}

#[test]
fn a_cable_to_ourselves_or_to_nothing_known_is_a_wrong_command_line() {
    let (_dir, path) = place();
    let path = path.display();
    for line in [
        format!("--bess {path} --connect bess:{path}"),
        format!("--connect bess:{path} --connect bess:{path}"),
        format!("--connect vde:{path}"),
        "--connect qemu:".to_owned(),
    ] {
        let words = line.split_whitespace();
        let finished = run(std::process::Command::new(binary()).args(words));
        assert_eq!(finished.status.code(), Some(1), "{line}: {finished:?}");
        assert!(finished.stderr.contains("Usage"), "{}", finished.stderr);
    }
}
