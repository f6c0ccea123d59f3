//! What a client says to get a port, and how it gives it back.

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::SocketAddr;

use crate::support::{
    Client, DEADLINE, Request, Switch, expect_no_port, frame, mac, path_sockaddr, read_reply,
    uninterrupted,
};

/// The number of the port whose data address this is.
#[track_caller]
fn number(addr: &SocketAddr) -> u32 {
    let name = addr.as_abstract_name().expect("an abstract name").strip_prefix(b"uml_switch/");
    let digits: Vec<u8> = name.unwrap().iter().copied().take_while(u8::is_ascii_digit).collect();
    String::from_utf8(digits).unwrap().parse().unwrap()
}

/// Two guests that must notice nothing, and a check that they have not.
struct Bystanders([Client; 2]);

impl Bystanders {
    fn new(switch: &Switch) -> Self {
        let guests = [1001, 1002].map(|n| Client::new(switch, mac(n)));
        Client::introduce(&guests);
        Bystanders(guests)
    }

    #[track_caller]
    fn check(&self) {
        let [one, other] = &self.0;
        one.reach(other);
        other.reach(one);
    }
}

/// A port asked for with what `request` makes of the address of its data socket.
#[track_caller]
fn port(switch: &Switch, n: u32, request: impl FnOnce(&[u8; 110]) -> Vec<u8>) -> Client {
    let (addr, data) = Client::socket();
    Client::register(switch, mac(n), data, &request(&addr))
}

#[test]
fn every_version_with_a_reply_gets_a_port_of_its_own() {
    let switch = Switch::start();
    let old = port(&switch, 1, |addr| Request::v1(mac(1), addr));
    let packed = port(&switch, 2, |addr| Request::versioned(3, 0, addr));
    let kernel = port(&switch, 3, Request::v3);
    let clients = [old, packed, kernel];
    Client::introduce(&clients);
    for (from, to) in [(0, 1), (1, 2), (2, 0), (0, 2), (2, 1), (1, 0)] {
        clients[from].reach(&clients[to]);
    }
    assert_eq!(clients.map(|client| number(&client.switch)), [1, 2, 3]);
}

#[test]
fn a_description_of_any_length_may_follow_version_3() {
    let switch = Switch::start();
    let witness = Client::new(&switch, mac(1000));
    for len in [0, 1, 2, 3, 28, 33, 127, 128] {
        let text: String = ('a'..='z').cycle().take(len).collect();
        let client = port(&switch, len as u32, |addr| {
            [Request::versioned(3, 0, addr).as_slice(), text.as_bytes()].concat()
        });
        client.reach(&witness);
        witness.reach(&client);
        // One or two bytes are the padding of a kernel's record.
        if len > 2 {
            switch.wait_for_log(&format!("description=\"{text}\""));
        }
    }
}

#[test]
fn version_0_is_refused_without_compat_v0() {
    let switch = Switch::start();
    let bystanders = Bystanders::new(&switch);
    expect_no_port(&switch, &Request::v0(mac(1), &Client::socket().0));
    switch.wait_for_log("needs -compat-v0");
    bystanders.check();
}

#[test]
fn what_is_not_spoken_is_refused_and_others_notice_nothing() {
    let switch = Switch::start();
    let bystanders = Bystanders::new(&switch);
    let (addr, _data) = Client::socket();
    let v3 = Request::v3(&addr);
    let mut other_order = v3.clone();
    other_order[..4].reverse();
    let mut no_family = v3.clone();
    no_family[12] = 2;
    let endless_path = Request::v3(&[[1, 0].as_slice(), &[b'a'; 108]].concat().try_into().unwrap());
    for request in [
        Request::versioned(2, 0, &addr),
        Request::versioned(1, 0, &addr),
        Request::versioned(4, 0, &addr),
        Request::versioned(u32::MAX, 0, &addr),
        Request::versioned(3, 2, &addr),
        Request::versioned(3, 0xff, &addr),
        Request::versioned(3, 7 << 8 | 2, &addr),
        other_order,
        no_family,
        endless_path,
        b"GET / HTTP/1.0\r\n\r\n".to_vec(),
    ] {
        expect_no_port(&switch, &request);
        bystanders.check();
    }
    // Nobody who was refused holds a number.
    assert_eq!(number(&Client::new(&switch, mac(2)).switch), 3);
}

#[test]
fn a_wish_for_a_port_number_is_granted_if_it_is_free() {
    let switch = Switch::with("--max-ports 100");
    let wish = |n: u32| move |addr: &[u8; 110]| Request::versioned(3, n << 8, addr);
    let seventh = port(&switch, 1, wish(7));
    let name = seventh.switch.as_abstract_name().unwrap();
    assert!(name.starts_with(b"uml_switch/7/"), "{}", name.escape_ascii());
    expect_no_port(&switch, &wish(7)(&Client::socket().0));
    switch.wait_for_log("port 7 is in use");
    expect_no_port(&switch, &wish(101)(&Client::socket().0));
    switch.wait_for_log("numbered 1 to 100");
    let last = port(&switch, 2, wish(100));
    assert_eq!(number(&last.switch), 100);
    let first = Client::new(&switch, mac(3));
    assert_eq!(number(&first.switch), 1);
    Client::introduce(&[seventh, last, first]);
}

#[test]
fn a_request_may_come_in_pieces() {
    let switch = Switch::start();
    let bystanders = Bystanders::new(&switch);
    let length = Request::v3(&[0; 110]).len();
    let every_byte: Vec<usize> = (1..length).collect();
    let splits: [&[usize]; 9] =
        [&[1], &[4], &[7], &[8, 12], &[12], &[14, 15], &[121], &[122], &every_byte];
    for (n, split) in (1..).zip(splits) {
        let (addr, data) = Client::socket();
        let request = Request::v3(&addr);
        let mut control = switch.connect();
        let mut start = 0;
        for &end in split.iter().chain([&length]) {
            control.write_all(&request[start..end]).unwrap();
            start = end;
            // A frame that has passed since tells that the switch has seen the piece.
            bystanders.check();
        }
        let reply = read_reply(&mut control);
        let client = Client { mac: mac(n), data, control, switch: reply };
        client.reach(&bystanders.0[0]);
        bystanders.0[0].reach(&client);
    }
}

#[test]
fn pieces_of_several_requests_do_not_mix() {
    let switch = Switch::start();
    let mut clients: Vec<_> = (0..8).map(|_| (Client::socket(), switch.connect())).collect();
    for (from, to) in [(0, 10), (10, 11), (11, 100), (100, 124)] {
        for ((addr, data), control) in &mut clients {
            control.write_all(&Request::v3(addr)[from..to]).unwrap();
            data.set_read_timeout(Some(DEADLINE)).unwrap();
        }
    }
    let clients: Vec<Client> = (1..)
        .zip(clients)
        .map(|(n, ((_, data), mut control))| {
            let switch = read_reply(&mut control);
            Client { mac: mac(n), data, control, switch }
        })
        .collect();
    Client::introduce(&clients);
    clients[0].reach(&clients[7]);
}

#[test]
fn bytes_that_come_with_a_request_and_after_it_are_ignored() {
    let switch = Switch::start();
    let bystanders = Bystanders::new(&switch);
    let mut client = port(&switch, 1, |addr| [Request::v3(addr), vec![0x55; 4000]].concat());
    let again = Request::v3(&Client::socket().0);
    let before = switch.resident();
    for more in [b"x".as_slice(), &again, &[0; 100], &vec![0xaa; 4 << 20]] {
        client.control.write_all(more).expect("the switch reads on");
        client.reach(&bystanders.0[0]);
        bystanders.0[0].reach(&client);
        bystanders.check();
    }
    assert!(switch.resident() < before + (2 << 20), "what is ignored is kept");
    client.control.set_nonblocking(true).unwrap();
    let error = client.control.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock, "one reply, and still connected");
    // Nor was any of it taken for another request.
    assert_eq!(number(&Client::new(&switch, mac(2)).switch), 4);
}

#[test]
fn a_port_lives_as_long_as_its_control_connection() {
    let switch = Switch::start();
    let guests = Client::several(&switch, 3);
    Client::introduce(&guests);
    let [first, second, third] = guests.try_into().unwrap();
    let name = second.switch.as_abstract_name().unwrap().to_vec();
    let Client { control, data, switch: address, .. } = second;
    drop(control);
    switch.wait_for_log("port closed");
    data.send_to_addr(&frame(mac(1), mac(2), 60), &address).expect_err("its address has gone");
    // What was known there is unknown again.
    let sent = frame(mac(2), mac(1), 60);
    first.send(&sent);
    assert_eq!(third.receive(), sent);
    first.expect_silence();
    let heir = Client::new(&switch, mac(4));
    assert_eq!(heir.switch.as_abstract_name(), Some(name.as_slice()), "its number is free");
    heir.reach(&third);
}

#[test]
fn a_half_closed_control_connection_ends_the_port() {
    let switch = Switch::start();
    let mut client = Client::new(&switch, mac(1));
    client.control.shutdown(Shutdown::Write).unwrap();
    assert!(client.is_cut_off());
    assert_eq!(number(&Client::new(&switch, mac(2)).switch), 1);
}

#[test]
fn frames_sent_before_the_connection_ends_arrive() {
    let switch = Switch::start();
    let receiver = Client::new(&switch, mac(1));
    for n in 2..50 {
        let sender = Client::new(&switch, mac(n));
        let sent: Vec<_> = (0..5).map(|at| frame(mac(1), mac(n), 100 + at)).collect();
        sent.iter().for_each(|bytes| sender.send(bytes));
        drop(sender);
        for bytes in sent {
            assert_eq!(receiver.receive(), bytes);
        }
    }
    switch.stop().check_sums();
}

#[test]
fn an_unfinished_request_that_ends_leaves_nothing_behind() {
    let switch = Switch::start();
    let bystanders = Bystanders::new(&switch);
    let before = switch.descriptors();
    for len in [0, 1, 4, 8, 12, 60, 121] {
        let mut control = switch.connect();
        control.write_all(&Request::v3(&Client::socket().0)[..len]).unwrap();
        control.shutdown(Shutdown::Write).unwrap();
        let read = uninterrupted(|| control.read(&mut [0])).unwrap();
        assert_eq!(read, 0, "after {len} bytes");
    }
    bystanders.check();
    assert_eq!(switch.descriptors(), before);
}

#[test]
fn a_path_ends_at_its_nul_whatever_follows() {
    let switch = Switch::start();
    let path = switch.dir.path().join("guest");
    let guest = Client::at_path(&switch, mac(1), &path);
    let addr = path_sockaddr(&path);
    assert!(addr.ends_with(&[0xa5; 8]), "there is rubbish behind the path");
    let other = Client::new(&switch, mac(2));
    guest.reach(&other);
    other.reach(&guest);
    assert!(fs::symlink_metadata(&path).is_ok(), "the client's socket is the client's");
}
