//! What anybody who may connect can do to the control socket, and two good ports that must not
//! notice.

use std::fs::File;
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};

use crate::support::{
    Client, GoodPair, Noise, Request, Switch, abstract_name, abstract_sockaddr, frame, mac,
    wait_for,
};

/// A request for a client that nobody will ever be.
fn request() -> Vec<u8> {
    Request::v3(&abstract_sockaddr(&abstract_name()))
}

/// A connection that has sent the first `len` bytes of a request.
fn half_request(switch: &Switch, len: usize) -> UnixStream {
    let mut stream = switch.connect();
    stream.write_all(&request()[..len]).unwrap();
    stream
}

/// Waits until the switch has no more descriptors than it had, then checks its memory and its log.
#[track_caller]
fn expect_no_growth(switch: &Switch, descriptors: usize, resident: u64) {
    wait_for("descriptors to be closed", || (switch.descriptors() <= descriptors).then_some(()));
    let grown = switch.resident().saturating_sub(resident);
    assert!(grown < 1 << 20, "{grown} bytes more than before");
    let lines = switch.log().lines().count();
    assert!(lines < 1000, "{lines} lines of log");
}

#[test]
fn five_thousand_connections_that_say_nothing_leave_no_trace() {
    let switch = Switch::start();
    let pair = GoodPair::start(&switch);
    let descriptors = switch.descriptors();
    let connect_and_close = |times| (0..times).for_each(|_| drop(switch.connect()));
    // What is allocated once and kept.
    connect_and_close(500);
    let resident = switch.resident();
    connect_and_close(5000);
    expect_no_growth(&switch, descriptors, resident);
    pair.finish();
    switch.stop().check_sums();
}

#[test]
fn five_thousand_ports_that_go_at_once_leave_no_trace() {
    let switch = Switch::start();
    let pair = GoodPair::start(&switch);
    let descriptors = switch.descriptors();
    let register_and_close =
        |times| (0..times).for_each(|n| drop(Client::new(&switch, mac(n + 1))));
    register_and_close(500);
    let resident = switch.resident();
    register_and_close(5000);
    expect_no_growth(&switch, descriptors, resident);
    pair.finish();
    switch.stop().check_sums();
}

#[test]
fn half_requests_are_cut_off_after_five_seconds_and_hold_up_nobody() {
    let switch = Switch::start();
    let pair = GoodPair::start_amid(&switch, Noise::Floods);
    let descriptors = switch.descriptors();
    let started = Instant::now();
    let mut halves: Vec<_> = (0..200).map(|n| half_request(&switch, n % 122)).collect();
    wait_for("them to be accepted", || {
        (switch.descriptors() >= descriptors + halves.len()).then_some(())
    });
    // New clients are served while those wait.
    let guests = Client::several(&switch, 2);
    guests[0].reach(&guests[1]);
    drop(guests);
    let mut byte = [0];
    for half in &mut halves {
        assert_eq!(half.read(&mut byte).unwrap(), 0, "the switch hangs up");
    }
    assert!(started.elapsed() >= Duration::from_secs(5), "not before their time");
    wait_for("descriptors to be closed", || (switch.descriptors() <= descriptors).then_some(()));
    pair.finish();
    switch.stop().check_sums();
}

#[test]
fn of_more_than_512_half_requests_the_oldest_go_first() {
    let switch = Switch::start();
    let pair = GoodPair::start(&switch);
    let mut halves: Vec<_> = (0..600).map(|_| half_request(&switch, 60)).collect();
    let mut kept = halves.split_off(600 - 512);
    let mut byte = [0];
    for half in &mut halves {
        assert_eq!(half.read(&mut byte).unwrap(), 0, "the switch hangs up on the oldest");
    }
    for half in &mut kept {
        half.set_nonblocking(true).unwrap();
        assert_eq!(half.read(&mut byte).unwrap_err().kind(), ErrorKind::WouldBlock);
    }
    // The oldest of those that are left still gets its port.
    let half = &mut kept[0];
    half.set_nonblocking(false).unwrap();
    half.write_all(&request()[60..]).unwrap();
    half.read_exact(&mut [0; 110]).unwrap();
    pair.finish();
    switch.stop().check_sums();
}

#[test]
fn what_is_written_after_the_request_is_read_and_forgotten() {
    let switch = Switch::start();
    let pair = GoodPair::start_amid(&switch, Noise::Floods);
    let mut guests = Client::several(&switch, 2);
    let resident = switch.resident();
    let rounds = pair.rounds();
    let rubbish = vec![0xa5; 1 << 20];
    for _ in 0..16 {
        guests[0].control.write_all(&rubbish).expect("the writer is never stuck");
    }
    guests[0].reach(&guests[1]);
    guests[1].reach(&guests[0]);
    // A request among it is no request any more.
    guests[0].control.write_all(&request()).unwrap();
    guests[0].reach(&guests[1]);
    guests[0].control.set_nonblocking(true).unwrap();
    let mut byte = [0];
    assert_eq!(guests[0].control.read(&mut byte).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert!(switch.resident() < resident + (1 << 20), "it is not kept");
    pair.goes_on();
    assert!(pair.rounds() > rounds);
    pair.finish();
    switch.stop().check_sums();
}

#[test]
fn a_request_of_sixteen_mebibytes_of_rubbish_ends_the_connection() {
    let switch = Switch::start();
    let pair = GoodPair::start(&switch);
    let descriptors = switch.descriptors();
    let resident = switch.resident();
    let version = |version: u32| Request::versioned(version, 0, &[0xff; 110])[..12].to_vec();
    let beginnings = [vec![0xff; 4], vec![0; 4], b"GET / HT".to_vec(), version(2), version(3)];
    for beginning in beginnings {
        let mut rubbish = beginning;
        rubbish.resize(16 << 20, 0xff);
        let mut stream = switch.connect();
        let error = stream.write_all(&rubbish).unwrap_err();
        let cut_off = [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset];
        assert!(cut_off.contains(&error.kind()), "{error}");
        pair.goes_on();
    }
    expect_no_growth(&switch, descriptors, resident);
    pair.finish();
    switch.stop().check_sums();
}

#[test]
fn descriptors_that_are_passed_along_are_not_kept() {
    let switch = Switch::start();
    let pair = GoodPair::start_amid(&switch, Noise::Floods);
    let guests = Client::several(&switch, 3);
    guests[1].reach(&guests[0]);
    guests[0].reach(&guests[1]);
    guests[2].drain();
    let descriptors = switch.descriptors();
    let null = File::open("/dev/null").unwrap();
    // Its own ends among them: a cycle that only the kernel's collector could free.
    let passed = [&null.as_raw_fd(), &guests[0].control.as_raw_fd(), &guests[0].data.as_raw_fd()];
    let passed: Vec<_> = passed.into_iter().cycle().take(60).copied().collect();
    let rights = [ControlMessage::ScmRights(&passed)];
    let send = |descriptor, bytes: &[u8]| {
        let bytes = [IoSlice::new(bytes)];
        sendmsg::<UnixAddr>(descriptor, &bytes, &rights, MsgFlags::empty(), None).unwrap();
    };
    // With a request, on the connection, and with frames.
    let asking = switch.connect();
    send(asking.as_raw_fd(), &request()[..100]);
    guests[0].data.connect_addr(&guests[0].switch).unwrap();
    let sent = frame(mac(2), mac(1), 100);
    for _ in 0..100 {
        send(guests[0].control.as_raw_fd(), b"x");
        send(guests[0].data.as_raw_fd(), &sent);
        assert_eq!(guests[1].receive(), sent);
        assert!(switch.descriptors() <= descriptors + 2, "for the one that is asking");
    }
    drop(asking);
    wait_for("the last to be closed", || (switch.descriptors() <= descriptors).then_some(()));
    guests[2].expect_silence();
    pair.finish();
    switch.stop().check_sums();
}

#[test]
fn a_client_gone_before_its_reply_harms_nobody() {
    let switch = Switch::start();
    let pair = GoodPair::start_amid(&switch, Noise::Floods);
    let descriptors = switch.descriptors();
    for n in 0..300 {
        let mut stream = switch.connect();
        stream.write_all(&request()).unwrap();
        match n % 4 {
            0 => {}
            // It wants no answer any more.
            1 => stream.shutdown(Shutdown::Read).unwrap(),
            2 => stream.shutdown(Shutdown::Both).unwrap(),
            // Closed with the reply unread and more under way: the switch is told of a reset.
            _ => {
                stream.set_nonblocking(true).unwrap();
                while stream.write(&[0; 4096]).is_ok() {}
            }
        }
    }
    wait_for("descriptors to be closed", || (switch.descriptors() <= descriptors).then_some(()));
    let guests = Client::several(&switch, 2);
    guests[0].reach(&guests[1]);
    pair.finish();
    switch.stop().check_sums();
}
