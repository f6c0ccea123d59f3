//! Clients that are no kernel and do not use libvdeplug, call by call as their sources have them.

use std::io::Write;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use crate::support::{
    BROADCAST, Client, Request, Switch, abstract_sockaddr, frame, mac, read_reply,
};

/// Click's `UMLSwitch` names its socket by a structure with three bytes of padding in front of its
/// process id and the time, and leaves the rest as its memory was. It binds that name when it has
/// read the reply, and connects to what it was told there.
#[test]
fn click_binds_and_connects_after_the_reply() {
    let switch = Switch::start();
    let guest = Client::new(&switch, mac(1));
    let mut name = [0xc1; 107];
    name[3..7].copy_from_slice(&std::process::id().to_ne_bytes());
    name[7..11].copy_from_slice(&777_777u32.to_ne_bytes());
    let mut control = switch.connect();
    control.write_all(&Request::v3(&abstract_sockaddr(&name))).unwrap();
    let address = read_reply(&mut control);

    let data = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name).unwrap()).unwrap();
    data.connect_addr(&address).unwrap();
    let click = Client { mac: mac(2), data, control, switch: address };
    for round in 0..10 {
        let question = frame(BROADCAST, guest.mac, 60 + round);
        guest.send(&question);
        assert!(click.receive() == question);
        let answer = frame(guest.mac, click.mac, 1514 - round);
        assert_eq!(click.data.send(&answer).unwrap(), answer.len());
        assert!(guest.receive() == answer);
    }
    click.expect_silence();
    drop(click);
    switch.wait_for_log("port closed");
    switch.stop().check_sums();
}

/// Bochs' `vde` network module takes a plain socket. Its name is its process id in five places of
/// text, and zeroes up to the end; it is bound before the request. Every frame is sent to the
/// address of the reply.
#[test]
fn bochs_is_known_by_a_name_that_ends_in_zeroes() {
    let switch = Switch::start();
    let guest = Client::new(&switch, mac(1));
    let mut name = [0; 107];
    let pid = format!("{:5}", std::process::id());
    name[..pid.len()].copy_from_slice(pid.as_bytes());
    let data = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name).unwrap()).unwrap();
    let bochs = Client::register(&switch, mac(2), data, &Request::v3(&abstract_sockaddr(&name)));
    for _ in 0..10 {
        bochs.reach(&guest);
        guest.reach(&bochs);
    }
    bochs.expect_silence();
    drop(bochs);
    switch.wait_for_log("port closed");
    switch.stop().check_sums();
}
