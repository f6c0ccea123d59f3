//! Copies of all frames for a client that asks for them on the control socket, as Netkit's `uml_dump`
//! does.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixDatagram;

use nix::sys::signal::Signal;

use crate::support::{
    BROADCAST, Client, GoodPair, Noise, Request, Switch, expect_no_port, frame, mac, ports,
    wait_for, with_shared_data_socket,
};

/// What `uml_dump` asks for: 124 bytes, type 1.
fn request(addr: &[u8; 110]) -> Vec<u8> {
    [Request::versioned(3, 1, addr).as_slice(), &[0, 0]].concat()
}

/// A client with copies. Its data socket is what takes them.
fn dump(switch: &Switch) -> Client {
    let (addr, data) = Client::socket();
    Client::register(switch, mac(0xd), data, &request(&addr))
}

#[test]
fn every_frame_comes_once_and_in_order() {
    let switch = Switch::start();
    let guests = Client::several(&switch, 2);
    let mut dump = dump(&switch);
    for n in 0..100_usize {
        let (from, to) = (&guests[n % 2], &guests[(n + 1) % 2]);
        let destination = if n % 3 == 0 { BROADCAST } else { to.mac };
        let sent = frame(destination, from.mac, 60 + 14 * n);
        from.send(&sent);
        assert_eq!(to.receive(), sent);
        assert_eq!(dump.receive(), sent);
    }
    // It is no port: nothing is flooded to it, and its own frames go nowhere.
    assert_eq!(ports(&switch).as_array().unwrap().len(), 2);
    for _ in 0..1000 {
        dump.send(&frame(BROADCAST, dump.mac, 60));
    }
    guests.iter().for_each(Client::expect_silence);
    dump.expect_silence();
    // Nothing but the reply comes on its connection.
    dump.control.set_nonblocking(true).unwrap();
    assert_eq!(dump.control.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    guests[0].reach(&guests[1]);
    assert_eq!(dump.receive().len(), 100);
}

#[test]
fn where_all_share_a_data_socket_copies_come_by_their_own() {
    let switch = with_shared_data_socket();
    let guests = Client::several(&switch, 2);
    let dump = dump(&switch);
    assert_ne!(dump.switch.as_pathname(), guests[0].switch.as_pathname());
    for guest in &guests {
        let sent = frame(BROADCAST, guest.mac, 60);
        guest.send(&sent);
        assert_eq!(dump.receive(), sent);
    }
}

#[test]
fn it_ends_with_its_connection() {
    let switch = Switch::start();
    let guests = Client::several(&switch, 2);
    Client::introduce(&guests);
    let descriptors = switch.descriptors();
    for _ in 0..40 {
        let dump = dump(&switch);
        guests[0].reach(&guests[1]);
        assert_eq!(dump.receive().len(), 100);
        let Client { data, control, .. } = dump;
        drop(control);
        // The data socket is left open on purpose.
        wait_for("the switch to have let go", || {
            (switch.descriptors() <= descriptors).then_some(())
        });
        drop(data);
    }
    guests[0].reach(&guests[1]);
}

#[test]
fn it_ends_with_the_switch() {
    let mut switch = Switch::start();
    let mut dump = dump(&switch);
    switch.signal(Signal::SIGTERM);
    switch.wait();
    assert!(dump.is_cut_off());
}

#[test]
fn one_that_does_not_read_loses_its_own_copies_only() {
    const FRAMES: u32 = 60_000;
    let switch = Switch::start();
    let guests = Client::several(&switch, 2);
    Client::introduce(&guests);
    let dump = dump(&switch);
    let sent = frame(guests[1].mac, guests[0].mac, 100);
    // So few at a time that a receiver which the machine does not run loses nothing.
    for _ in 0..FRAMES / 100 {
        (0..100).for_each(|_| guests[0].send(&sent));
        (0..100).for_each(|_| assert_eq!(guests[1].receive(), sent));
    }
    // What the buffer of 4 MiB holds is still there, and what came later is counted as dropped.
    for _ in 0..20_000 {
        assert_eq!(dump.receive(), sent);
    }
    drop(dump);
    let line = switch.wait_for_log("capture ended");
    let line = if line.contains("dropped=") { line } else { panic!("{line}") };
    assert!(!line.contains(" dropped=0"), "{line}");
    switch.stop().check_sums();
}

#[test]
fn an_address_that_nobody_has_harms_nobody() {
    let switch = Switch::start();
    let pair = GoodPair::start_amid(&switch, Noise::Floods);
    let descriptors = switch.descriptors();
    for _ in 0..50 {
        let (addr, data) = Client::socket();
        drop::<UnixDatagram>(data);
        expect_no_port(&switch, &request(&addr));
        // A client that hangs up at once.
        let (addr, _data) = Client::socket();
        switch.connect().write_all(&request(&addr)).unwrap();
    }
    wait_for("the switch to have let go", || (switch.descriptors() <= descriptors).then_some(()));
    pair.finish();
    switch.stop().check_sums();
}
