//! What holds for every kind of port whose connection is the port.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::support::{
    BESS, BROADCAST, BessClient, Client, DEADLINE, GoodPair, Guest, Noise, QEMU, QemuClient,
    Switch, binary, frame, mac, reach, run, wait_for, with_connections,
};

type Connect = fn(&Switch) -> Box<dyn Guest>;

/// How each kind connects.
const KINDS: [(&str, Connect); 2] = [
    (BESS, |switch| Box::new(BessClient::new(switch))),
    (QEMU, |switch| Box::new(QemuClient::new(switch))),
];

/// Less than the switch waits for a receiver that others wait for.
const GIVEN_UP_AFTER: Duration = Duration::from_millis(5);

/// Lets every station be known, so that nothing is flooded any more.
#[track_caller]
fn introduce(guests: &[&dyn Guest]) {
    for (place, guest) in guests.iter().enumerate() {
        let hello = frame(BROADCAST, mac(place as u32 + 1), 60);
        guest.send(&hello);
        for (_, other) in guests.iter().enumerate().filter(|&(other, _)| other != place) {
            assert!(other.receive() == hello, "{other:?}");
        }
    }
}

/// Waits until so many ports have been opened, or closed, in all.
#[track_caller]
fn wait_for_ports(switch: &Switch, what: &str, count: usize) {
    wait_for(what, || (switch.log().matches(what).count() == count).then_some(()));
}

#[test]
fn frames_of_every_length_go_between_all_kinds() {
    let switch = with_connections("--mtu 65531");
    let first: [Box<dyn Guest>; 3] = [
        Box::new(Client::new(&switch, mac(1))),
        Box::new(BessClient::new(&switch)),
        Box::new(QemuClient::new(&switch)),
    ];
    let more = KINDS.map(|(_, connect)| connect(&switch));
    let guests: Vec<&dyn Guest> = first.iter().chain(&more).map(|guest| &**guest).collect();
    wait_for_ports(&switch, "port opened", guests.len());
    introduce(&guests);
    for len in [14, 42, 60, 1514, 1518, 9014, 65_549] {
        for (a, from) in guests.iter().enumerate() {
            for (b, to) in guests.iter().enumerate().filter(|&(b, _)| b != a) {
                reach((*from, mac(a as u32 + 1)), (*to, mac(b as u32 + 1)), len);
            }
            let flood = frame(BROADCAST, mac(a as u32 + 1), len);
            from.send(&flood);
            for (_, to) in guests.iter().enumerate().filter(|&(b, _)| b != a) {
                assert!(to.receive() == flood, "{len} bytes to {to:?}");
            }
        }
    }
    for guest in &guests {
        guest.expect_silence();
    }
    let totals = switch.stop();
    totals.check_sums();
    assert_eq!(totals.get("tx_offered"), totals.get("tx_frames"));
}

#[test]
fn the_log_says_who_has_connected_and_what_was_counted() {
    for (kind, connect) in KINDS {
        let switch = with_connections("");
        let guest = connect(&switch);
        let opened = switch.wait_for_log("port opened");
        let uid = nix::unistd::getuid();
        let who = format!("port=1 kind=\"{kind}\" uid={uid} pid={}", std::process::id());
        assert!(opened.ends_with(&who), "{opened}");
        guest.send(&frame(BROADCAST, mac(1), 60));
        drop(guest);
        let closed = switch.wait_for_log("port closed");
        let counted = "counters=rx_frames=1 rx_bytes=60 rx_flooded=1";
        assert!(closed.ends_with(&format!("kind=\"{kind}\" uid={uid} {counted}")), "{closed}");
    }
}

#[test]
fn what_was_sent_before_the_end_still_arrives_and_the_number_is_free_again() {
    for (_, connect) in KINDS {
        let switch = with_connections("");
        let reader = connect(&switch);
        wait_for_ports(&switch, "port opened", 1);
        for round in 1..=5 {
            let guest = connect(&switch);
            for n in 0..50 {
                guest.send(&frame(BROADCAST, mac(n), 100));
            }
            drop(guest);
            for n in 0..50 {
                assert_eq!(reader.receive(), frame(BROADCAST, mac(n), 100), "round {round}");
            }
            wait_for_ports(&switch, "port closed", round);
        }
        assert_eq!(switch.log().matches("port=2 ").count(), 10, "opened and closed five times");
        switch.stop().check_sums();
    }
}

/// A sender at full speed, and a reader that takes its time but not too long.
#[test]
fn a_sender_waits_for_a_slow_reader_and_nothing_is_lost() {
    for (from, connect_sender) in KINDS {
        for (to, connect_reader) in KINDS {
            for (options, len, count) in [("", 300, 8000_u32), ("--mtu 65531", 65_549, 300)] {
                let switch = with_connections(options);
                let (sender, reader) = (connect_sender(&switch), connect_reader(&switch));
                wait_for_ports(&switch, "port opened", 2);
                introduce(&[&*sender, &*reader]);
                let (received, slowest) = thread::scope(|scope| {
                    let reading = scope.spawn(|| read_to_the_last(&*reader, len, count));
                    for n in 0..count {
                        sender.send(&numbered(n, len));
                    }
                    reading.join().unwrap()
                });
                reader.expect_silence();
                let totals = switch.stop();
                totals.check_sums();
                let lost = u64::from(count - received);
                let what = format!("{lost} of {count} frames of {len} bytes, {from} to {to}");
                assert_eq!(totals.get("tx_queue_full"), lost, "lost in another way: {what}");
                // A busy machine may not run the reader for longer than the switch waits for
                // anybody; what is lost then is lost by rule.
                assert!(lost == 0 || slowest >= GIVEN_UP_AFTER, "without a reason: {what}");
            }
        }
    }
}

/// The frame number `n` from the first station to the second.
fn numbered(n: u32, len: usize) -> Vec<u8> {
    let mut bytes = frame(mac(2), mac(1), len);
    bytes[14..18].copy_from_slice(&n.to_be_bytes());
    bytes
}

/// Receives numbered frames in order until the last. Returns how many came and the longest time
/// between two of them.
fn read_to_the_last(reader: &dyn Guest, len: usize, count: u32) -> (u32, Duration) {
    let (mut received, mut next) = (0, 0);
    let mut slowest = Duration::ZERO;
    while next < count {
        let before = Instant::now();
        let bytes = reader.receive();
        let n = u32::from_be_bytes(bytes[14..18].try_into().unwrap());
        assert!(n >= next && bytes == numbered(n, len), "frame {n} after {next}");
        next = n + 1;
        received += 1;
        if n % 64 == 0 {
            thread::sleep(Duration::from_millis(1));
        }
        slowest = slowest.max(before.elapsed());
    }
    (received, slowest)
}

#[test]
fn a_client_that_never_reads_or_dies_with_frames_on_the_way_costs_others_nothing() {
    for (kind, connect) in KINDS {
        let switch = with_connections("");
        let pair = GoodPair::start_amid(&switch, Noise::Floods);
        let stopped = connect(&switch);
        let sender = connect(&switch);
        wait_for_ports(&switch, "port opened", 4);
        stopped.send(&frame(mac(2), mac(1), 60));
        sender.receive();
        for _ in 0..3000 {
            sender.send(&frame(mac(1), mac(2), 1514));
        }
        pair.goes_on();
        drop(stopped);
        let closed = switch.wait_for_log("port closed");
        assert!(closed.contains(" tx_closed="), "{kind}: frames were waiting: {closed}");
        pair.finish();
        switch.stop().check_sums();
    }
}

#[test]
fn floods_reach_all_kinds_in_order() {
    let switch = with_connections("");
    let sender = BessClient::new(&switch);
    let readers: Vec<_> = KINDS.iter().chain(&KINDS).map(|(_, connect)| connect(&switch)).collect();
    wait_for_ports(&switch, "port opened", 1 + readers.len());
    const COUNT: u32 = 5000;
    let received: Vec<_> = readers.iter().map(|_| AtomicU32::new(0)).collect();
    // Fewer under way than a queue holds: a reader that is not run for a while loses none.
    let is_near = |n| received.iter().all(|at| n < at.load(Ordering::Relaxed) + 200);
    thread::scope(|scope| {
        for (reader, at) in readers.iter().zip(&received) {
            scope.spawn(move || {
                for n in 0..COUNT {
                    assert!(reader.receive() == frame(BROADCAST, mac(n), 700), "frame {n}");
                    at.store(n, Ordering::Relaxed);
                }
            });
        }
        for n in 0..COUNT {
            if !is_near(n) {
                wait_for("the readers", || is_near(n).then_some(()));
            }
            sender.send(&frame(BROADCAST, mac(n), 700));
        }
    });
    let totals = switch.stop();
    totals.check_sums();
    assert_eq!(totals.get("tx_frames"), u64::from(COUNT) * readers.len() as u64);
}

#[test]
fn a_thousand_connections_that_end_at_once_leave_no_trace() {
    for (_, connect) in KINDS {
        let switch = with_connections("");
        let pair = GoodPair::start_amid(&switch, Noise::Floods);
        let descriptors = switch.descriptors();
        for _ in 0..1000 {
            connect(&switch);
        }
        wait_for("the ports to close", || (switch.descriptors() == descriptors).then_some(()));
        pair.expect_rest(&switch);
        pair.finish();
        switch.stop().check_sums();
    }
}

#[test]
fn a_client_that_ends_only_its_way_out_has_ended() {
    for path in [BESS, QEMU] {
        let switch = with_connections("");
        let kind = if path == BESS { Type::SEQPACKET } else { Type::STREAM };
        let socket = Socket::new(Domain::UNIX, kind, None).unwrap();
        socket.connect(&SockAddr::unix(switch.dir.path().join(path)).unwrap()).unwrap();
        switch.wait_for_log("port opened");
        socket.shutdown(std::net::Shutdown::Write).unwrap();
        switch.wait_for_log("port closed");
    }
}

#[test]
fn clients_beyond_the_ports_are_hung_up_on() {
    for (_, connect) in KINDS {
        let switch = with_connections("--max-ports 1");
        let guest = connect(&switch);
        wait_for_ports(&switch, "port opened", 1);
        for _ in 0..10 {
            let refused = connect(&switch);
            assert_eq!(refused.receive_within(DEADLINE), None);
        }
        assert!(switch.wait_for_log("client refused").contains("all 1 ports are in use"));
        drop(guest);
        wait_for_ports(&switch, "port closed", 1);
        let _next = connect(&switch);
        wait_for_ports(&switch, "port opened", 2);
    }
}

#[test]
fn clients_beyond_the_descriptors_wait_for_others_to_leave() {
    for (kind, connect) in KINDS {
        let dir = tempfile::tempdir().unwrap();
        let control = dir.path().join("ctl");
        let mut command = Command::new("sh");
        let line = "ulimit -n 64; exec \"$0\" -unix ctl --bess bess --qemu qemu";
        command.current_dir(dir.path()).args(["-c", line]).arg(binary());
        let switch = Switch::spawn(dir, control, command);
        // No more than the log says of one user in ten seconds.
        let mut guests: Vec<_> = (0..60).map(|_| connect(&switch)).collect();
        switch.wait_for_log("waits until others leave");
        let opened = |switch: &Switch| switch.log().matches("port opened").count();
        let fit = opened(&switch);
        assert!((30..55).contains(&fit), "{fit} {kind} ports with 64 descriptors");
        // Nobody was turned away: those who wait are served when the others have gone.
        guests.drain(..fit);
        wait_for("the others to be served", || (opened(&switch) >= 60).then_some(()));
        let (last, before) = (guests.pop().unwrap(), guests.pop().unwrap());
        last.send(&frame(BROADCAST, mac(1), 60));
        assert_eq!(before.receive(), frame(BROADCAST, mac(1), 60));
    }
}

#[test]
fn a_crowd_at_one_socket_keeps_nobody_out_at_another() {
    let switch = with_connections("");
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                // Its accept queue may be full, and that is what it is for.
                let _ = BessClient::dial(&switch.dir.path().join(BESS));
            }
        });
        for n in 1..=20 {
            let guest = QemuClient::new(&switch);
            let other = Client::new(&switch, mac(n));
            guest.send(&frame(mac(n), mac(100), 60));
            assert_eq!(other.receive(), frame(mac(n), mac(100), 60));
        }
        stop.store(true, Ordering::Relaxed);
    });
    switch.stop().check_sums();
}

#[test]
fn sockets_are_replaced_when_stale_refused_when_served_and_removed_at_the_end() {
    for path in [BESS, QEMU] {
        let mut switch = with_connections("");
        let mut second = Command::new(binary());
        second.current_dir(switch.dir.path());
        second.args(["-unix", "other", &format!("--{path}"), path]);
        let refused = run(&mut second);
        assert_eq!(refused.status.code(), Some(1));
        let reason = format!("another program serves the socket {path}");
        assert!(refused.stderr.contains(&reason), "{}", refused.stderr);
        assert!(!switch.dir.path().join("other").exists(), "what it had made is gone");
        switch.signal(Signal::SIGKILL);
        switch.wait();
        assert!(switch.dir.path().join(path).exists());
        let mut next = Command::new(binary());
        next.current_dir(switch.dir.path());
        next.args(["-unix", "ctl", "--bess", BESS, "--qemu", QEMU]);
        let dir = tempfile::tempdir().unwrap();
        let mut next = Switch::spawn(dir, switch.control.clone(), next);
        BessClient::dial(&switch.dir.path().join(BESS)).unwrap();
        UnixStream::connect(switch.dir.path().join(QEMU)).unwrap();
        next.signal(Signal::SIGTERM);
        next.wait();
        assert!(![BESS, QEMU, "ctl"].iter().any(|path| switch.dir.path().join(path).exists()));
    }
}

#[test]
fn what_is_no_socket_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "precious").unwrap();
    for option in ["--bess", "--qemu"] {
        let mut command = Command::new(binary());
        command.current_dir(dir.path()).args(["-unix", "ctl", option, "file"]);
        let refused = run(&mut command);
        assert_eq!(refused.status.code(), Some(1));
        assert!(refused.stderr.contains("file is in the way: it is not a socket"));
        assert_eq!(fs::read(dir.path().join("file")).unwrap(), b"precious");
        assert!(!dir.path().join("ctl").exists());
    }
    // Of another type than ours, and served.
    let _listener = UnixListener::bind(dir.path().join("stream")).unwrap();
    let mut command = Command::new(binary());
    let refused = run(command.current_dir(dir.path()).args(["-unix", "ctl", "--bess", "stream"]));
    assert!(refused.stderr.contains("another program serves"), "{}", refused.stderr);
}

#[test]
fn the_mode_is_set() {
    let switch = with_connections("--mode 660");
    for path in [BESS, QEMU] {
        let mode = fs::metadata(switch.dir.path().join(path)).unwrap().mode() & 0o777;
        assert_eq!(mode, 0o660, "{path}");
    }
}

#[test]
fn a_capture_and_the_hub_treat_all_kinds_alike() {
    let mut switch = with_connections("-hub --mirror capture.pcapng --mirror-port 2");
    let first = BessClient::new(&switch);
    wait_for_ports(&switch, "port opened", 1);
    let second = QemuClient::new(&switch);
    wait_for_ports(&switch, "port opened", 2);
    introduce(&[&first, &second]);
    reach((&first, mac(1)), (&second, mac(2)), 60);
    first.expect_silence();
    switch.signal(Signal::SIGTERM);
    switch.wait();
    let capture = fs::read(switch.dir.path().join("capture.pcapng")).unwrap();
    let name = format!("port 2 qemu uid {}", nix::unistd::getuid());
    assert!(capture.windows(name.len()).any(|bytes| bytes == name.as_bytes()), "{name}");
}
