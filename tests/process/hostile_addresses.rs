//! Clients that name an address which is not theirs: nobody's, another guest's, or the switch's own.

use std::fs;
use std::io::{Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixStream};
use std::path::Path;

use crate::support::{
    BROADCAST, Client, GoodPair, Noise, Request, Switch, abstract_name, abstract_sockaddr, frame,
    mac, path_sockaddr, wait_for, with_shared_data_socket,
};

/// Asks for a port for the client at `addr`. `None` if the switch hangs up instead of replying.
fn ask(control: &Path, addr: &[u8; 110]) -> Option<UnixStream> {
    let mut stream = UnixStream::connect(control).unwrap();
    stream.set_read_timeout(Some(crate::support::DEADLINE)).unwrap();
    stream.write_all(&Request::v3(addr)).unwrap();
    let mut reply = [0; 110];
    match stream.read(&mut reply).expect("a reply or the end") {
        0 => None,
        len => {
            assert_eq!(len, 110);
            Some(stream)
        }
    }
}

/// The 110 bytes of an address that the switch gave out.
fn sockaddr_of(addr: &SocketAddr) -> [u8; 110] {
    match addr.as_abstract_name() {
        Some(name) => abstract_sockaddr(name.try_into().unwrap()),
        None => path_sockaddr(addr.as_pathname().unwrap()),
    }
}

/// A guest whose data socket has a path.
fn client_at(switch: &Switch, path: &Path, n: u32) -> Client {
    let data = UnixDatagram::bind(path).unwrap();
    Client::register(switch, mac(n), data, &Request::v3(&path_sockaddr(path)))
}

#[test]
fn a_client_that_nobody_is_gets_a_port_and_no_frames() {
    let switch = Switch::start();
    let pair = GoodPair::start_amid(&switch, Noise::Floods);
    let dir = switch.dir.path();
    let mut all = [0; 110];
    all[0] = 1;
    let no_socket = |name: &str| path_sockaddr(&dir.join(name));
    fs::create_dir(dir.join("directory")).unwrap();
    fs::write(dir.join("file"), "").unwrap();
    symlink("/nonexistent", dir.join("dangling")).unwrap();
    symlink("loop", dir.join("loop")).unwrap();
    let nobody = [
        abstract_sockaddr(&abstract_name()),
        all,
        no_socket("nothing"),
        no_socket("directory"),
        no_socket("file"),
        no_socket("file/below"),
        no_socket("dangling"),
        no_socket("loop"),
        path_sockaddr(Path::new("/dev/null")),
        path_sockaddr(Path::new("/")),
        path_sockaddr(Path::new("relative")),
        path_sockaddr(Path::new(&format!("/{}", "x".repeat(106)))),
    ];
    let ports: Vec<_> = nobody.map(|addr| ask(&switch.control, &addr).expect("a reply")).into();
    let guests = Client::several(&switch, 2);
    let sent = frame(BROADCAST, mac(1), 60);
    for _ in 0..100 {
        guests[0].send(&sent);
        assert_eq!(guests[1].receive(), sent);
    }
    guests[1].expect_silence();
    pair.expect_rest(&switch);
    pair.finish();
    let totals = switch.stop();
    totals.check_sums();
    assert_eq!(totals.get("tx_no_receiver"), 100 * ports.len() as u64);
}

#[test]
fn what_is_no_address_of_a_unix_socket_is_refused() {
    let switch = Switch::start();
    let pair = GoodPair::start(&switch);
    let descriptors = switch.descriptors();
    for family in [0u16, 2, 10, 16, 0x0100, 0xffff] {
        let mut addr = abstract_sockaddr(&abstract_name());
        addr[..2].copy_from_slice(&family.to_ne_bytes());
        assert!(ask(&switch.control, &addr).is_none(), "family {family}");
    }
    let mut endless = [b'a'; 110];
    endless[..2].copy_from_slice(&1u16.to_ne_bytes());
    assert!(ask(&switch.control, &endless).is_none(), "a path without an end");
    wait_for("descriptors to be closed", || (switch.descriptors() <= descriptors).then_some(()));
    pair.finish();
    switch.stop().check_sums();
}

#[test]
fn another_ports_client_cannot_be_named() {
    for start in [Switch::start, with_shared_data_socket] {
        let switch = start();
        let pair = GoodPair::start_amid(&switch, Noise::Floods);
        let path = switch.dir.path().join("guest");
        let name = abstract_name();
        let data = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name).unwrap()).unwrap();
        let abstract_one =
            Client::register(&switch, mac(1), data, &Request::v3(&abstract_sockaddr(&name)));
        let one_at_path = client_at(&switch, &path, 2);
        let link = switch.dir.path().join("link");
        symlink(&path, &link).unwrap();
        let detour = switch.dir.path().join("..").join(switch.dir.path()).join("guest");
        let theirs = [
            abstract_sockaddr(&name),
            path_sockaddr(&path),
            path_sockaddr(&link),
            path_sockaddr(&detour),
        ];
        for addr in &theirs {
            assert!(ask(&switch.control, addr).is_none(), "another port has it");
        }
        let other = Client::new(&switch, mac(3));
        let sent = frame(BROADCAST, mac(3), 60);
        other.send(&sent);
        for guest in [&abstract_one, &one_at_path] {
            assert_eq!(guest.receive(), sent);
            guest.expect_silence();
        }
        // Nor are its own frames taken for somebody else's.
        for guest in [&abstract_one, &one_at_path] {
            guest.reach(&other);
            other.reach(guest);
        }
        pair.finish();
        switch.stop().check_sums();
    }
}

#[test]
fn the_switchs_own_sockets_cannot_be_named() {
    for start in [Switch::start, with_shared_data_socket] {
        let switch = start();
        let pair = GoodPair::start_amid(&switch, Noise::Floods);
        let guests = Client::several(&switch, 2);
        let mut own = vec![sockaddr_of(&guests[0].switch), sockaddr_of(&guests[1].switch)];
        let mut next = [0; 107];
        let rest = [b"uml_switch/9", switch.control.as_os_str().as_encoded_bytes()].concat();
        next[..rest.len()].copy_from_slice(&rest);
        own.push(abstract_sockaddr(&next));
        if let Some(path) = guests[0].switch.as_pathname() {
            let link = switch.dir.path().join("link");
            symlink(path, &link).unwrap();
            own.push(path_sockaddr(&link));
        }
        for addr in &own {
            assert!(ask(&switch.control, addr).is_none(), "it is the switch's own");
        }
        // A stream socket takes no frames: a port without a receiver, as with any other rubbish.
        let useless = ask(&switch.control, &path_sockaddr(&switch.control));
        let sent = frame(BROADCAST, mac(1), 60);
        guests[0].send(&sent);
        assert_eq!(guests[1].receive(), sent);
        for guest in &guests {
            guest.expect_silence();
        }
        pair.expect_rest(&switch);
        pair.finish();
        drop(useless);
        let totals = switch.stop();
        totals.check_sums();
        // The pair's first frame and the broadcast: nothing went round.
        assert_eq!(totals.get("rx_flooded"), 2);
    }
}
