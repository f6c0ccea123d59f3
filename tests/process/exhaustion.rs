//! As many ports as there can be, and one more.

use std::io::{ErrorKind, Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::SocketAddr;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::process::Command;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::support::{
    BROADCAST, Client, GoodPair, Noise, Request, Switch, abstract_name, abstract_sockaddr, binary,
    frame, wait_for,
};

/// Lets this process have as many descriptors as it may, which must be `wanted`.
#[track_caller]
fn allow_descriptors(wanted: u64) {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    assert!(hard >= wanted, "this test needs {wanted} descriptors: raise the hard limit, {hard}");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
}

#[test]
fn a_broadcast_reaches_two_thousand_ports() {
    const PORTS: u32 = 2000;
    allow_descriptors(8192);
    let switch = Switch::start();
    let guests = Client::several(&switch, PORTS);
    let pair = GoodPair::start_amid(&switch, Noise::Floods);
    for guest in &guests {
        // The pair's first frame, before the switch knew where to send it.
        guest.receive();
    }
    for sender in [0, 1, PORTS as usize - 1] {
        let sent = frame(BROADCAST, guests[sender].mac, 1514);
        guests[sender].send(&sent);
        for (place, guest) in guests.iter().enumerate().filter(|&(place, _)| place != sender) {
            assert_eq!(guest.receive(), sent, "guest {place}");
        }
    }
    guests[PORTS as usize - 1].reach(&guests[0]);
    for guest in [&guests[0], &guests[7], &guests[PORTS as usize - 1]] {
        guest.expect_silence();
    }
    let descriptors = switch.descriptors();
    drop(guests);
    wait_for("the ports to close", || {
        (switch.descriptors() + 2 * PORTS as usize <= descriptors).then_some(())
    });
    pair.finish();
    let totals = switch.stop();
    totals.check_sums();
    assert_eq!(totals.get("tx_queue_full") + totals.get("tx_closed"), 0);
}

/// A client that has asked and cannot be sure of an answer.
struct Asking {
    stream: UnixStream,
    _data: UnixDatagram,
}

impl Asking {
    fn new(switch: &Switch) -> Asking {
        let name = abstract_name();
        let data = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name).unwrap()).unwrap();
        let mut stream = switch.connect();
        stream.write_all(&Request::v3(&abstract_sockaddr(&name))).unwrap();
        Asking { stream, _data: data }
    }

    /// Whether there is a reply, or, as an error, why there is none. Never waits.
    fn has_reply(&mut self) -> Result<(), ErrorKind> {
        self.stream.set_nonblocking(true).unwrap();
        self.stream.read_exact(&mut [0; 110]).map_err(|error| error.kind())
    }
}

#[test]
fn clients_beyond_the_descriptors_wait_for_others_to_leave() {
    let dir = tempfile::tempdir().unwrap();
    let control = dir.path().join("ctl");
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 64; exec \"$0\" -unix \"$1\""]).arg(binary()).arg(&control);
    let switch = Switch::spawn(dir, control, command);
    let pair = GoodPair::start_amid(&switch, Noise::Floods);
    // Two descriptors each, and 64 for all: some 25 fit.
    let mut waiting: Vec<_> = (0..60).map(|_| Asking::new(&switch)).collect();
    let mut served = Vec::new();
    let serve = |waiting: &mut Vec<Asking>, served: &mut Vec<Asking>| {
        while waiting.first_mut().is_some_and(|asking| match asking.has_reply() {
            Ok(()) => true,
            Err(ErrorKind::WouldBlock) => false,
            Err(error) => panic!("instead of a port: {error}"),
        }) {
            served.push(waiting.remove(0));
        }
    };
    wait_for("the descriptors to run out", || {
        serve(&mut waiting, &mut served);
        (switch.descriptors() >= 62).then_some(())
    });
    switch.wait_for_log("waits until others leave");
    serve(&mut waiting, &mut served);
    assert!((20..30).contains(&served.len()), "{} fit", served.len());
    // Who is in works, who waits costs nothing.
    pair.expect_rest(&switch);
    pair.goes_on();
    while !waiting.is_empty() {
        served.drain(..1.min(served.len()));
        let before = waiting.len();
        wait_for("the next to be served", || {
            serve(&mut waiting, &mut served);
            (waiting.len() < before).then_some(())
        });
    }
    pair.finish();
    switch.stop().check_sums();
}

#[test]
fn ports_beyond_the_configured_number_are_refused_until_one_leaves() {
    let switch = Switch::with("--max-ports 4");
    let pair = GoodPair::start_amid(&switch, Noise::Floods);
    let mut guests = Client::several(&switch, 2);
    for _ in 0..50 {
        let mut refused = Asking::new(&switch);
        refused.stream.set_read_timeout(Some(crate::support::DEADLINE)).unwrap();
        assert_eq!(refused.stream.read(&mut [0; 110]).unwrap(), 0, "all ports are in use");
    }
    guests[0].reach(&guests[1]);
    drop(guests.pop());
    wait_for("a port for the next", || {
        let mut asking = Asking::new(&switch);
        let mut reply = [0; 110];
        (asking.stream.read(&mut reply).unwrap() > 0).then_some(())
    });
    pair.finish();
    switch.stop().check_sums();
}
