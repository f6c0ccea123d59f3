//! The data sockets of different kinds of clients, and the address that the switch has for each.

use std::fs;
use std::io::Write;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::process::Command;

use crate::support::{
    BROADCAST, Client, Mac, Request, Switch, abstract_name, abstract_sockaddr, binary, frame, mac,
    path_sockaddr, read_reply, uninterrupted,
};

/// A port asked for in the name of a socket that does not exist yet.
fn early(switch: &Switch, addr: &[u8; 110]) -> (std::os::unix::net::UnixStream, SocketAddr) {
    let mut control = switch.connect();
    control.write_all(&Request::v3(addr)).unwrap();
    let address = read_reply(&mut control);
    (control, address)
}

/// What Click does: it binds its data socket when it has read the reply.
#[track_caller]
fn check_late_bind(addr: &[u8; 110], bind: impl FnOnce() -> UnixDatagram, speaks_first: bool) {
    let switch = Switch::start();
    let other = Client::new(&switch, mac(1));
    let (control, address) = early(&switch, addr);
    // The later port is served after the early one, so when it has the frame the other has lost it.
    let witness = Client::new(&switch, mac(3));
    let lost = frame(BROADCAST, mac(1), 60);
    other.send(&lost);
    assert_eq!(witness.receive(), lost);
    let late = Client { mac: mac(2), data: bind(), control, switch: address };
    if speaks_first {
        late.reach(&other);
        other.reach(&late);
    } else {
        other.reach(&late);
        late.reach(&other);
    }
    late.expect_silence();
    switch.stop().check_sums();
}

#[test]
fn a_client_may_bind_its_abstract_name_after_the_reply() {
    for speaks_first in [true, false] {
        let name = abstract_name();
        let bind =
            || UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name).unwrap()).unwrap();
        check_late_bind(&abstract_sockaddr(&name), bind, speaks_first);
    }
}

#[test]
fn a_client_may_bind_its_path_after_the_reply() {
    for speaks_first in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("late");
        let bind = || UnixDatagram::bind(&path).unwrap();
        check_late_bind(&path_sockaddr(&path), bind, speaks_first);
    }
}

/// What libvdeplug does: a socket at a path that is gone as soon as the reply is there.
fn libvdeplug(switch: &Switch, mac: Mac, path: &Path) -> Client {
    let data = UnixDatagram::bind(path).unwrap();
    let request = Request::versioned(3, 0, &path_sockaddr(path));
    let described = [request.as_slice(), b"vde_plug: user=guest PID=77"].concat();
    let client = Client::register(switch, mac, data, &described);
    client.data.connect_addr(&client.switch).expect("the address can be connected to");
    fs::remove_file(path).unwrap();
    client
}

/// Sends a frame by the connected socket and panics unless `to` gets it.
#[track_caller]
fn reach_connected(from: &Client, to: &Client) {
    let sent = frame(to.mac, from.mac, 90);
    from.data.send(&sent).expect("the switch takes a frame");
    assert_eq!(to.receive(), sent);
}

#[test]
fn a_path_may_go_right_after_the_reply_and_be_used_for_another_port() {
    let switch = Switch::start();
    let path = switch.dir.path().join("client");
    let first = libvdeplug(&switch, mac(1), &path);
    let second = libvdeplug(&switch, mac(2), &path);
    let third = libvdeplug(&switch, mac(3), &path);
    let kernel = Client::new(&switch, mac(4));
    for client in [&first, &second, &third] {
        let hello = frame(BROADCAST, client.mac, 60);
        client.data.send(&hello).unwrap();
        for other in [&first, &second, &third, &kernel] {
            if other.mac != client.mac {
                assert_eq!(other.receive(), hello);
            }
        }
    }
    reach_connected(&first, &second);
    reach_connected(&second, &third);
    reach_connected(&third, &first);
    kernel.reach(&second);
    reach_connected(&second, &kernel);
    for client in [&first, &second, &third, &kernel] {
        client.expect_silence();
    }
    // One of them leaves; the others of its name stay.
    drop(first);
    switch.wait_for_log("port closed");
    reach_connected(&third, &second);
    reach_connected(&second, &third);
    switch.stop().check_sums();
}

#[test]
fn a_path_that_is_used_again_by_a_later_client_is_that_clients() {
    let switch = Switch::start();
    let path = switch.dir.path().join("client");
    let other = Client::new(&switch, mac(1));
    for n in 2..20 {
        let client = libvdeplug(&switch, mac(n), &path);
        reach_connected(&client, &other);
        other.reach(&client);
    }
}

#[test]
fn names_that_differ_only_in_their_last_byte_are_different() {
    let switch = Switch::start();
    let name = abstract_name();
    let clients: Vec<Client> = (1..=3)
        .map(|n| {
            let mut name = name;
            name[106] = n as u8;
            let addr = SocketAddr::from_abstract_name(name).unwrap();
            let data = UnixDatagram::bind_addr(&addr).unwrap();
            Client::register(&switch, mac(n), data, &Request::v3(&abstract_sockaddr(&name)))
        })
        .collect();
    Client::introduce(&clients);
    for (from, to) in [(0, 1), (1, 2), (2, 0), (1, 0)] {
        clients[from].reach(&clients[to]);
    }
    clients.iter().for_each(Client::expect_silence);
}

#[test]
fn a_name_of_zeroes_in_the_middle_and_at_the_end_is_kept_whole() {
    let switch = Switch::start();
    let other = Client::new(&switch, mac(1));
    let mut name = abstract_name();
    name[16..].fill(0);
    let addr = SocketAddr::from_abstract_name(name).unwrap();
    let data = UnixDatagram::bind_addr(&addr).unwrap();
    let request = Request::v3(&abstract_sockaddr(&name));
    let client = Client::register(&switch, mac(2), data, &request);
    client.reach(&other);
    other.reach(&client);
}

#[test]
fn the_reply_is_an_address_of_110_bytes_that_frames_come_from_too() {
    let switch = Switch::start();
    let guests = Client::several(&switch, 2);
    Client::introduce(&guests);
    // Guests send to all of the 110 bytes, zeroes at the end included.
    assert_eq!(guests[1].switch.as_abstract_name().unwrap().len(), 107);
    guests[0].send(&frame(mac(2), mac(1), 60));
    let mut buffer = [0; 100];
    let (len, from) = uninterrupted(|| guests[1].data.recv_from(&mut buffer)).unwrap();
    assert_eq!(len, 60);
    assert_eq!(from.as_abstract_name(), guests[1].switch.as_abstract_name());
}

#[test]
fn a_stranger_cannot_send_to_a_ports_data_socket() {
    let switch = Switch::start();
    let guests = Client::several(&switch, 2);
    let (_, stranger) = Client::socket();
    let error = stranger.send_to_addr(&frame(mac(2), mac(9), 60), &guests[0].switch).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied);
    let other_guest = guests[1].data.send_to_addr(&frame(mac(1), mac(2), 61), &guests[0].switch);
    assert_eq!(other_guest.unwrap_err().kind(), std::io::ErrorKind::PermissionDenied);
    guests.iter().for_each(Client::expect_silence);
}

/// A switch that serves `control`, which outlives it.
fn serving(control: &Path) -> Switch {
    let mut command = Command::new(binary());
    command.arg("-unix").arg(control);
    Switch::spawn(tempfile::tempdir().unwrap(), control.to_owned(), command)
}

#[test]
fn a_port_has_the_same_data_address_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let control = dir.path().join("ctl");
    let start = || serving(&control);
    let addresses = |guests: &[Client]| -> Vec<Vec<u8>> {
        guests.iter().map(|guest| guest.switch.as_abstract_name().unwrap().to_vec()).collect()
    };
    let switch = start();
    let before = addresses(&Client::several(&switch, 3));
    drop(switch);
    let switch = start();
    let guests = Client::several(&switch, 3);
    assert_eq!(addresses(&guests), before);
    Client::introduce(&guests);
    // Another control path, other addresses.
    let elsewhere = Switch::start();
    for address in addresses(&Client::several(&elsewhere, 3)) {
        assert!(!before.contains(&address));
    }
}

#[test]
fn a_data_address_that_somebody_holds_is_replaced_and_said() {
    let dir = tempfile::tempdir().unwrap();
    let control = dir.path().join("ctl");
    let start = || serving(&control);
    let switch = start();
    let address = Client::new(&switch, mac(1)).switch;
    drop(switch);
    let _squatter = UnixDatagram::bind_addr(&address).unwrap();
    let switch = start();
    let guests = Client::several(&switch, 2);
    assert_ne!(guests[0].switch.as_abstract_name(), address.as_abstract_name());
    switch.wait_for_log("data address held by somebody else");
    Client::introduce(&guests);
}
