//! `-compat-v0`: the oldest kernels, which know the data socket by its path and get no reply.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc;

use nix::sys::signal::Signal;

use crate::support::{
    BROADCAST, Client, DEADLINE, Mac, Request, SILENCE, Switch, binary, expect_no_port, frame, mac,
    path_sockaddr, run, uninterrupted, wait_for,
};

/// A switch with both sockets in its directory.
#[track_caller]
fn start() -> Switch {
    let dir = tempfile::tempdir().unwrap();
    let control = dir.path().join("ctl");
    let mut command = Command::new(binary());
    command.arg("-compat-v0").arg("-unix").arg(&control).arg(dir.path().join("data"));
    Switch::spawn(dir, control, command)
}

fn data_path(switch: &Switch) -> PathBuf {
    switch.dir.path().join("data")
}

/// A guest that speaks version 0. Nothing tells it when it has its port, so the log does.
#[track_caller]
fn v0_guest(switch: &Switch, mac: Mac) -> Client {
    let (addr, data) = Client::socket();
    let opened = switch.log().matches("port opened").count();
    let mut control = switch.connect();
    control.write_all(&Request::v0(mac, &addr)).unwrap();
    wait_for("the port", || (switch.log().matches("port opened").count() > opened).then_some(()));
    let switch = SocketAddr::from_pathname(data_path(switch)).unwrap();
    Client { mac, data, control, switch }
}

#[track_caller]
fn expect_no_word(control: &mut UnixStream) {
    control.set_read_timeout(Some(SILENCE)).unwrap();
    let read = uninterrupted(|| control.read(&mut [0; 128]));
    let error = read.expect_err("neither a reply nor the end");
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn version_0_gets_no_reply_and_its_port_works() {
    let switch = start();
    let mut guests: Vec<Client> = (1..=3).map(|n| v0_guest(&switch, mac(n))).collect();
    Client::introduce(&guests);
    guests[0].reach(&guests[1]);
    guests[1].reach(&guests[2]);
    guests[2].reach(&guests[0]);
    for guest in &mut guests {
        guest.expect_silence();
        expect_no_word(&mut guest.control);
    }
    let totals = switch.stop();
    totals.check_sums();
    assert_eq!((totals.get("rx_flooded"), totals.get("rx_unicast")), (3, 3));
}

#[test]
fn later_versions_are_told_the_path_of_the_data_socket() {
    let switch = start();
    let (addr, data) = Client::socket();
    let v1 = Client::register(&switch, mac(1), data, &Request::v1(mac(1), &addr));
    let v3 = Client::new(&switch, mac(2));
    let at_path = Client::at_path(&switch, mac(3), &switch.dir.path().join("guest"));
    let v0 = v0_guest(&switch, mac(4));
    let guests = [v1, v3, at_path, v0];
    for guest in &guests {
        assert_eq!(guest.switch.as_pathname(), Some(data_path(&switch).as_path()));
    }
    Client::introduce(&guests);
    for from in &guests {
        for to in guests.iter().filter(|to| to.mac != from.mac) {
            from.reach(to);
        }
    }
    guests.iter().for_each(Client::expect_silence);
    switch.stop().check_sums();
}

#[test]
fn frames_come_from_the_named_data_socket() {
    let switch = start();
    let guests = [v0_guest(&switch, mac(1)), Client::new(&switch, mac(2))];
    Client::introduce(&guests);
    for (from, to) in [(0, 1), (1, 0)] {
        guests[from].send(&frame(guests[to].mac, guests[from].mac, 60));
        let (len, sender) = uninterrupted(|| guests[to].data.recv_from(&mut [0; 100])).unwrap();
        assert_eq!(len, 60);
        assert_eq!(sender.as_pathname(), Some(data_path(&switch).as_path()));
    }
}

#[test]
fn frames_of_who_never_asked_for_a_port_go_nowhere() {
    let switch = start();
    let guests = Client::several(&switch, 2);
    Client::introduce(&guests);
    let at = SocketAddr::from_pathname(data_path(&switch)).unwrap();
    let (_, abstract_stranger) = Client::socket();
    let path_stranger = UnixDatagram::bind(switch.dir.path().join("stranger")).unwrap();
    let nameless = UnixDatagram::unbound().unwrap();
    for stranger in [abstract_stranger, path_stranger, nameless] {
        for to in [BROADCAST, mac(1), mac(2), mac(3)] {
            stranger.send_to_addr(&frame(to, mac(2), 60), &at).unwrap();
        }
    }
    // Nor can they move a station: guest 2 is where it was.
    guests[0].reach(&guests[1]);
    guests.iter().for_each(Client::expect_silence);
    let totals = switch.stop();
    totals.check_sums();
    assert_eq!(totals.get("rx_stranger"), 12);
}

#[test]
fn a_guest_that_has_left_is_a_stranger() {
    let switch = start();
    let guests = Client::several(&switch, 3);
    Client::introduce(&guests);
    let [first, second, third] = guests.try_into().unwrap();
    let Client { control, data, switch: address, .. } = second;
    drop(control);
    switch.wait_for_log("port closed");
    data.send_to_addr(&frame(BROADCAST, mac(2), 60), &address).unwrap();
    // And what was known there is unknown again.
    let sent = frame(mac(2), mac(1), 70);
    first.send(&sent);
    assert_eq!(third.receive(), sent);
    for guest in [&first, &third] {
        guest.expect_silence();
    }
    switch.stop().check_sums();
}

#[test]
fn senders_do_not_get_their_own_broadcasts_back() {
    let switch = start();
    let at_path = Client::at_path(&switch, mac(1), &switch.dir.path().join("guest"));
    let other = Client::new(&switch, mac(2));
    let guests = [at_path, other];
    Client::introduce(&guests);
    guests.iter().for_each(Client::expect_silence);
}

#[test]
fn a_path_that_is_asked_for_again_is_the_newer_ports_alone() {
    let switch = start();
    let other = Client::new(&switch, mac(1));
    let path = switch.dir.path().join("guest");
    let mut old = Client::at_path(&switch, mac(2), &path);
    fs::remove_file(&path).unwrap();
    let new = Client::at_path(&switch, mac(3), &path);
    // What went to the older port would reach the newer one's socket.
    assert!(old.is_cut_off());
    let guests = [other, new];
    Client::introduce(&guests);
    guests[1].reach(&guests[0]);
    guests[0].reach(&guests[1]);
    guests.iter().for_each(Client::expect_silence);
}

#[test]
fn both_sockets_are_removed_at_the_end() {
    let mut switch = start();
    switch.signal(Signal::SIGINT);
    switch.wait();
    assert!(!switch.control.exists());
    assert!(!data_path(&switch).exists());
}

#[test]
fn nothing_stays_behind_when_the_data_socket_cannot_be_had() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("data"), "precious").unwrap();
    let mut command = Command::new(binary());
    command.current_dir(dir.path()).args(["-compat-v0", "-unix", "ctl", "data"]);
    let finished = run(&mut command);
    assert_eq!(finished.status.code(), Some(1));
    assert!(finished.stderr.contains("data is in the way"), "{}", finished.stderr);
    assert!(!dir.path().join("ctl").exists());
    assert_eq!(fs::read(dir.path().join("data")).unwrap(), b"precious");
}

#[test]
fn a_stale_data_socket_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let control = dir.path().join("ctl");
    let data = dir.path().join("data");
    drop(UnixDatagram::bind(&data).unwrap());
    let mut command = Command::new(binary());
    command.arg("-compat-v0").arg("-unix").arg(&control).arg(&data);
    let switch = Switch::spawn(dir, control, command);
    Client::introduce(&[v0_guest(&switch, mac(1)), Client::new(&switch, mac(2))]);
}

#[test]
fn the_switchs_own_data_socket_is_no_client() {
    let switch = start();
    let guests = Client::several(&switch, 2);
    expect_no_port(&switch, &Request::v3(&path_sockaddr(&data_path(&switch))));
    switch.wait_for_log("is the switch's own");
    Client::introduce(&guests);
}

#[test]
fn a_guest_that_does_not_read_does_not_take_the_others_network() {
    let switch = start();
    let guests =
        [v0_guest(&switch, mac(1)), Client::new(&switch, mac(2)), Client::new(&switch, mac(3))];
    Client::introduce(&guests);
    let [stopped, sender, receiver] = &guests;
    // Far more than any queue on its way holds.
    let unread = frame(stopped.mac, sender.mac, 1514);
    for _ in 0..3000 {
        sender.send(&unread);
    }
    // No more on their way than a queue holds, so that every one has to arrive.
    let (taken, credit) = mpsc::sync_channel(IN_FLIGHT);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for number in 0..FRAMES {
                taken.send(()).unwrap();
                sender.send(&numbered(receiver.mac, sender.mac, number));
                if number % 10 == 0 {
                    sender.send(&unread);
                }
            }
        });
        for number in 0..FRAMES {
            assert_eq!(receiver.receive(), numbered(receiver.mac, sender.mac, number));
            credit.recv_timeout(DEADLINE).unwrap();
        }
    });
    receiver.reach(sender);
    // The stopped one wakes: it gets some of what was sent to it, and what comes from now on.
    let woken = frame(stopped.mac, receiver.mac, 200);
    receiver.send(&woken);
    while stopped.receive() != woken {}
    let totals = switch.stop();
    totals.check_sums();
    assert!(totals.get("tx_queue_full") + totals.get("tx_refused") > 0);
}

fn numbered(to: Mac, from: Mac, number: u32) -> Vec<u8> {
    let mut bytes = frame(to, from, 100);
    bytes[14..18].copy_from_slice(&number.to_be_bytes());
    bytes
}

const FRAMES: u32 = 5000;

/// Frames between a sender and its receiver at a time; the egress queue takes 512.
const IN_FLIGHT: usize = 300;
