//! `--qemu-dgram LOCAL,REMOTE`: QEMU's `-netdev dgram` with two paths.

use std::fs;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::Duration;

use crate::support::{
    BROADCAST, Client, DEADLINE, GoodPair, Guest, Noise, Switch, frame, mac, ports, reach, run,
    uninterrupted, wait_for,
};

/// A switch with its end of such a pair, in whose directory QEMU's is.
fn switch() -> Switch {
    let dir = tempfile::tempdir().unwrap();
    start_in(dir)
}

fn start_in(dir: tempfile::TempDir) -> Switch {
    let control = dir.path().join("ctl");
    let mut command = std::process::Command::new(crate::support::binary());
    command.current_dir(dir.path()).args(["-unix", "ctl", "--qemu-dgram", "ours,qemu"]);
    Switch::spawn(dir, control, command)
}

/// QEMU's end: bound to its path, it sends each frame to ours by name.
#[derive(Debug)]
struct Qemu {
    socket: UnixDatagram,
    ours: PathBuf,
    theirs: PathBuf,
}

impl Qemu {
    fn start(switch: &Switch) -> Qemu {
        Qemu::start_in(switch.dir.path())
    }

    fn start_in(dir: &std::path::Path) -> Qemu {
        let (ours, theirs) = (dir.join("ours"), dir.join("qemu"));
        // As QEMU does.
        let _ = fs::remove_file(&theirs);
        let socket = UnixDatagram::bind(&theirs).unwrap();
        socket.set_write_timeout(Some(DEADLINE)).unwrap();
        Qemu { socket, ours, theirs }
    }

    fn try_send(&self, frame: &[u8]) -> io::Result<usize> {
        uninterrupted(|| self.socket.send_to(frame, &self.ours))
    }
}

impl Guest for Qemu {
    fn send(&self, frame: &[u8]) {
        self.try_send(frame).expect("the switch takes a frame");
    }

    fn receive_within(&self, time: Duration) -> Option<Vec<u8>> {
        let mut buffer = vec![0; 1 << 17];
        self.socket.set_read_timeout(Some(time.max(Duration::from_millis(1)))).unwrap();
        let len = uninterrupted(|| self.socket.recv(&mut buffer)).ok()?;
        buffer.truncate(len);
        Some(buffer)
    }
}

#[test]
fn the_switch_may_start_first() {
    let switch = switch();
    let said = switch.wait_for_log("no cable for now");
    assert!(said.contains("cable=qemu-dgram:") && said.contains("No such file"), "{said}");
    let guest = Client::new(&switch, mac(2));
    let hello = frame(BROADCAST, mac(2), 60);
    guest.send(&hello);
    let qemu = Qemu::start(&switch);
    switch.wait_for_log("cable attached");
    for len in [14, 1514, 9018] {
        reach((&qemu, mac(1)), (&guest, mac(2)), len);
        reach((&guest, mac(2)), (&qemu, mac(1)), len);
    }
    let ports = ports(&switch);
    let port = ports.as_array().unwrap().iter().find(|port| port["number"] == 1).unwrap();
    assert_eq!(port["kind"], "qemu-dgram");
    let name = format!("port 1 cable qemu-dgram:{}", qemu.theirs.display());
    assert_eq!(port["name"], name);
    let totals = switch.stop();
    totals.check_sums();
    assert_eq!(totals.get("tx_no_receiver"), 1);
}

#[test]
fn qemu_may_start_first() {
    let dir = tempfile::tempdir().unwrap();
    let qemu = Qemu::start_in(dir.path());
    let switch = start_in(dir);
    switch.wait_for_log("cable attached");
    let guest = Client::new(&switch, mac(2));
    reach((&qemu, mac(1)), (&guest, mac(2)), 60);
    reach((&guest, mac(2)), (&qemu, mac(1)), 60);
    assert!(!switch.log().contains("no cable"));
    switch.stop().check_sums();
}

#[test]
fn a_qemu_that_starts_again_is_found_whoever_speaks_first() {
    let switch = switch();
    let guest = Client::new(&switch, mac(2));
    let mut qemu = Qemu::start(&switch);
    switch.wait_for_log("cable attached");
    for _ in 0..3 {
        reach((&qemu, mac(1)), (&guest, mac(2)), 60);
        // The old one's path is replaced, and the new one speaks first.
        qemu = Qemu::start(&switch);
        let hello = frame(BROADCAST, mac(1), 100);
        wait_for("the switch to hear it", || qemu.try_send(&hello).ok());
        assert_eq!(guest.receive(), hello);
        reach((&guest, mac(2)), (&qemu, mac(1)), 200);
        // A frame for it comes first.
        drop(qemu);
        qemu = Qemu::start(&switch);
        reach((&guest, mac(2)), (&qemu, mac(1)), 300);
    }
    switch.stop().check_sums();
}

#[test]
fn a_qemu_that_ends_is_missed_and_found_again() {
    let switch = switch();
    let guest = Client::new(&switch, mac(2));
    let qemu = Qemu::start(&switch);
    switch.wait_for_log("cable attached");
    reach((&qemu, mac(1)), (&guest, mac(2)), 60);
    drop(qemu);
    guest.send(&frame(mac(1), mac(2), 60));
    let said = switch.wait_for_log("no program serves the socket there");
    assert!(said.contains("WARN no cable for now"), "{said}");
    let pair = GoodPair::start_amid(&switch, Noise::Floods);
    pair.expect_rest(&switch);
    pair.finish();
    let qemu = Qemu::start(&switch);
    wait_for("the cable to be back", || {
        (switch.log().matches("cable attached").count() == 2).then_some(())
    });
    guest.drain();
    reach((&qemu, mac(1)), (&guest, mac(2)), 60);
    let totals = switch.stop();
    totals.check_sums();
    assert!(totals.get("tx_no_receiver") >= 1);
}

#[test]
fn strangers_are_refused() {
    let switch = switch();
    let guest = Client::new(&switch, mac(2));
    let stranger = UnixDatagram::bind(switch.dir.path().join("stranger")).unwrap();
    let nobody = UnixDatagram::unbound().unwrap();
    let ours = switch.dir.path().join("ours");
    let bad = frame(BROADCAST, mac(3), 60);
    // Nobody else is there yet: it is taken, and dropped.
    for socket in [&stranger, &nobody] {
        socket.send_to(&bad, &ours).unwrap();
    }
    guest.expect_silence();
    let qemu = Qemu::start(&switch);
    switch.wait_for_log("cable attached");
    reach((&qemu, mac(1)), (&guest, mac(2)), 60);
    for socket in [&stranger, &nobody] {
        let refused = socket.send_to(&bad, &ours).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
    }
    reach((&qemu, mac(1)), (&guest, mac(2)), 60);
    guest.expect_silence();
    let totals = switch.stop();
    totals.check_sums();
    assert_eq!(totals.get("rx_stranger"), 2);
}

#[test]
fn a_qemu_that_does_not_read_costs_others_nothing_and_one_that_sends_fast_waits() {
    let switch = switch();
    let qemu = Qemu::start(&switch);
    switch.wait_for_log("cable attached");
    let pair = GoodPair::start_amid(&switch, Noise::Floods);
    let guest = Client::new(&switch, mac(2));
    reach((&qemu, mac(1)), (&guest, mac(2)), 60);
    for _ in 0..2000 {
        guest.send(&frame(mac(1), mac(2), 1514));
    }
    pair.goes_on();
    const COUNT: usize = 3000;
    std::thread::scope(|scope| {
        scope.spawn(|| (0..COUNT).for_each(|n| qemu.send(&frame(mac(2), mac(1), 14 + n % 1500))));
        for n in 0..COUNT {
            assert!(guest.receive() == frame(mac(2), mac(1), 14 + n % 1500), "frame {n}");
        }
    });
    pair.finish();
    switch.stop().check_sums();
}

#[test]
fn frames_that_are_too_short_or_too_long_are_counted() {
    let switch = switch();
    let qemu = Qemu::start(&switch);
    switch.wait_for_log("cable attached");
    let guest = Client::new(&switch, mac(2));
    for len in [0, 13, 9019, 60_000] {
        qemu.send(&vec![0xff; len]);
    }
    reach((&qemu, mac(1)), (&guest, mac(2)), 9018);
    let totals = switch.stop();
    totals.check_sums();
    assert_eq!((totals.get("rx_runt"), totals.get("rx_oversize")), (2, 2));
}

#[test]
fn two_switches_are_one_network() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let (a, b) = (path("a"), path("b"));
    let first = Switch::with(&format!("--qemu-dgram {a},{b}"));
    let second = Switch::with(&format!("--qemu-dgram {b},{a}"));
    let guests = [Client::new(&first, mac(1)), Client::new(&second, mac(2))];
    first.wait_for_log("cable attached");
    second.wait_for_log("cable attached");
    for len in [60, 9018] {
        reach((&guests[0], mac(1)), (&guests[1], mac(2)), len);
        reach((&guests[1], mac(2)), (&guests[0], mac(1)), len);
    }
    first.stop().check_sums();
    second.stop().check_sums();
}

#[test]
fn our_path_is_taken_and_given_back_as_others_are() {
    let switch = switch();
    let ours = switch.dir.path().join("ours");
    let line = ["-unix", "other", "--qemu-dgram", "ours,another"];
    let mut command = std::process::Command::new(crate::support::binary());
    let second = run(command.current_dir(switch.dir.path()).args(line));
    assert_eq!(second.status.code(), Some(1));
    assert!(second.stderr.contains("another program serves the socket"), "{}", second.stderr);
    let theirs = Qemu::start(&switch).theirs;
    let dir = switch.dir.path().to_owned();
    let mut switch = switch;
    switch.signal(nix::sys::signal::Signal::SIGTERM);
    switch.wait();
    assert!(!ours.exists() && theirs.exists(), "{:?}", fs::read_dir(dir).unwrap());
}
