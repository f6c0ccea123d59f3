//! `uml_switchctl capture` against a switch with traffic.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, pipe};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Instant;

use nix::sys::signal::Signal;
use pcap_file::pcap::PcapReader;
use serde_json::Value;
use uml_switch::mirror::sink::{Progress, Stream};

use crate::support::{
    BROADCAST, Capture, Captured, Client, DEADLINE, GoodPair, Noise, Switch, Terminal, binary, ctl,
    frame, frames_of, mac, ports, run, udp_frame, wait_for,
};

/// A switch with so many guests that it knows.
fn introduced(count: u32) -> (Switch, Vec<Client>) {
    let switch = Switch::start();
    let guests = Client::several(&switch, count);
    Client::introduce(&guests);
    (switch, guests)
}

fn bytes(frames: &[Captured]) -> Vec<&[u8]> {
    frames.iter().map(|frame| frame.bytes.as_slice()).collect()
}

#[track_caller]
fn counter(ports: &Value, number: u64, name: &str) -> u64 {
    let ports = ports.as_array().expect("ports");
    let port = ports.iter().find(|port| port["number"] == number).expect("the port");
    port["counters"][name].as_u64().expect("a counter")
}

#[test]
fn everything_is_captured_once_in_the_order_of_forwarding() {
    let (switch, guests) = introduced(3);
    let mut capture = Capture::start(&switch, "-w -");
    let mut sent = Vec::new();
    for n in 0..200_u32 {
        let from = &guests[(n % 3) as usize];
        let to = if n % 7 == 0 { BROADCAST } else { guests[((n + 1) % 3) as usize].mac };
        let mut bytes = frame(to, from.mac, 60 + (n as usize * 37) % 1454);
        bytes[14..18].copy_from_slice(&n.to_be_bytes());
        from.send(&bytes);
        // The next is sent when this one was forwarded.
        assert_eq!(guests[((n + 1) % 3) as usize].receive(), bytes);
        if n % 7 == 0 {
            assert_eq!(guests[((n + 2) % 3) as usize].receive(), bytes);
        }
        sent.push(bytes);
    }
    assert_eq!(capture.stop(), "200 packets captured, 0 filtered out, 0 dropped");
    let frames = frames_of(&capture.printed());
    assert_eq!(bytes(&frames), sent);
    // One interface for each port, in the order in which they were first seen.
    let interfaces: Vec<_> = frames[..6].iter().map(|frame| frame.interface).collect();
    assert_eq!(interfaces, [0, 1, 2, 0, 1, 2]);
}

#[test]
fn two_captures_at_once_have_what_their_ports_counted_and_their_filters_accept() {
    let (switch, guests) = introduced(3);
    let before = ports(&switch);
    let mut second = Capture::start(&switch, "--port 2 -w -");
    let mut udp = Capture::start(&switch, "-w - --snaplen 60 udp and len > 100");
    for n in 0..300_usize {
        let from = &guests[n % 3];
        let to = &guests[(n + n % 2 + 1) % 3];
        let payload = vec![n as u8; n % 120];
        let sent = match n % 5 {
            0 => frame(BROADCAST, from.mac, 60),
            // To itself: dropped, and captured as what its client sent.
            1 => frame(from.mac, from.mac, 61),
            2 => frame(to.mac, from.mac, 62),
            _ => udp_frame(to.mac, from.mac, &payload),
        };
        from.send(&sent);
        // Nobody is to fall so far behind that it is held.
        guests.iter().for_each(Client::drain);
    }
    let expected = (0..300_usize).filter(|n| n % 5 > 2 && 14 + 20 + 8 + n % 120 > 100).count();
    wait_for("the switch to have forwarded all", || {
        let now = ports(&switch);
        let rx: u64 = (1..=3).map(|n| counter(&now, n, "rx_frames")).sum();
        (rx == 303).then_some(())
    });
    let after = ports(&switch);
    let grown = |name: &str| counter(&after, 2, name) - counter(&before, 2, name);
    let (sent, received) = (grown("rx_frames"), grown("tx_offered"));
    assert_eq!(sent, 100);
    let summary = second.stop();
    assert_eq!(summary, format!("{} packets captured, 0 filtered out, 0 dropped", sent + received));
    let frames = frames_of(&second.printed());
    assert_eq!(frames.len() as u64, sent + received);
    let ours = frames.iter().filter(|frame| frame.bytes[6..12] == guests[1].mac).count();
    assert_eq!(ours as u64, sent, "what its client sent, each once");

    let summary = udp.stop();
    let others = 300 - expected;
    assert_eq!(summary, format!("{expected} packets captured, {others} filtered out, 0 dropped"));
    let frames = frames_of(&udp.printed());
    assert_eq!(frames.len(), expected);
    for frame in frames {
        assert!(frame.bytes.len() == 60 && frame.original_len > 100, "{frame:?}");
        assert_eq!(frame.bytes[23], 17, "UDP");
    }
}

#[test]
fn one_direction_of_a_port_is_what_its_counters_say() {
    let (switch, guests) = introduced(2);
    let mut into = Capture::start(&switch, "--port 1 --direction in -w -");
    let mut out = Capture::start(&switch, "--port 1 --direction out -w -");
    for _ in 0..10 {
        guests[0].reach(&guests[1]);
    }
    for _ in 0..4 {
        guests[1].reach(&guests[0]);
    }
    assert_eq!(into.stop(), "10 packets captured, 0 filtered out, 0 dropped");
    assert_eq!(out.stop(), "4 packets captured, 0 filtered out, 0 dropped");
    let sent = frame(guests[0].mac, guests[1].mac, 100);
    assert_eq!(bytes(&frames_of(&out.printed())), vec![sent.as_slice(); 4]);
}

#[test]
fn a_count_ends_a_capture() {
    let (switch, guests) = introduced(2);
    let mut capture = Capture::start(&switch, "--count 3 -w three.pcapng");
    for _ in 0..10 {
        guests[0].reach(&guests[1]);
    }
    assert_eq!(capture.ended_well(), "3 packets captured, 0 filtered out, 0 dropped");
    assert_eq!(frames_of(&capture.file("three.pcapng")).len(), 3);
}

#[test]
fn without_a_file_frames_are_lines() {
    let (switch, guests) = introduced(2);
    let capture = Capture::start(&switch, "");
    let sent = udp_frame(guests[1].mac, guests[0].mac, b"hello");
    guests[0].send(&sent);
    // While it still runs.
    let line = wait_for("a line", || {
        let printed = String::from_utf8(capture.printed()).unwrap();
        printed.lines().next().filter(|_| printed.ends_with('\n')).map(String::from)
    });
    for part in [" 1 > ", "02:00:00:00:00:01 > 02:00:00:00:00:02", "27005", "27015", "UDP"] {
        assert!(line.contains(part), "{part}: {line}");
    }
}

/// tcpdump that reads a capture from its standard input as it comes.
fn tcpdump() -> (Child, File) {
    let mut command = Command::new("tcpdump");
    command.args(["-l", "-n", "-t", "-r", "-"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().expect("tcpdump is installed: tools/setup test");
    let stdin = child.stdin.take().unwrap();
    (child, File::from(std::os::fd::OwnedFd::from(stdin)))
}

#[test]
fn tcpdump_reads_along() {
    let (switch, guests) = introduced(2);
    for format in ["pcapng", "pcap"] {
        let (mut child, stdin) = tcpdump();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let command = ctl(&switch, &format!("capture -w - --format {format}"));
        let mut capture = Capture::start_in(tempfile::tempdir().unwrap(), command, stdin);
        for _ in 0..3 {
            let sent = udp_frame(guests[1].mac, guests[0].mac, b"hello");
            guests[0].send(&sent);
            assert_eq!(guests[1].receive(), sent);
            // It comes before the next one is sent.
            let line = lines.next().expect("a line").unwrap();
            assert_eq!(line, "IP 10.0.0.1.27005 > 10.0.0.2.27015: UDP, length 5");
        }
        capture.stop();
        assert!(child.wait().unwrap().success());
    }
}

#[test]
fn a_reader_that_goes_ends_the_capture_without_a_word_of_complaint() {
    let (switch, guests) = introduced(2);
    let descriptors = switch.descriptors();
    for traffic in [true, false] {
        let (reader, writer) = pipe().unwrap();
        let command = ctl(&switch, "capture -w -");
        let mut capture = Capture::start_in(tempfile::tempdir().unwrap(), command, writer);
        drop(reader);
        if traffic {
            guests[0].reach(&guests[1]);
        }
        let summary = capture.ended_well();
        assert!(summary.ends_with(" captured, 0 filtered out, 0 dropped"), "{summary}");
        assert_eq!(capture.errors().lines().count(), 2, "{}", capture.errors());
    }
    wait_for("the switch to have let go", || (switch.descriptors() <= descriptors).then_some(()));
}

#[test]
fn a_reader_that_is_killed_leaves_nothing_behind() {
    let switch = Switch::start();
    let pair = GoodPair::start_amid(&switch, Noise::Floods);
    let guests = Client::several(&switch, 2);
    let descriptors = switch.descriptors();
    for _ in 0..20 {
        let mut capture = Capture::start(&switch, "-w -");
        guests[0].reach(&guests[1]);
        capture.signal(Signal::SIGKILL);
        capture.wait();
    }
    wait_for("the switch to have let go", || (switch.descriptors() <= descriptors).then_some(()));
    drop(guests);
    pair.finish();
    switch.stop().check_sums();
}

#[test]
fn a_reader_that_stops_reading_loses_frames_and_nobody_else_does() {
    const FRAMES: u32 = 100_000;
    let (switch, guests) = introduced(2);
    let mut capture = Capture::start(&switch, "--port 1 --direction in --buffer 1 -w -");
    capture.signal(Signal::SIGSTOP);
    let numbered = |n: u32| {
        let mut bytes = frame(guests[1].mac, guests[0].mac, 60);
        bytes[14..18].copy_from_slice(&n.to_be_bytes());
        bytes
    };
    // So few at a time that a receiver which the machine does not run loses nothing.
    for start in (0..FRAMES).step_by(100) {
        (start..start + 100).for_each(|n| guests[0].send(&numbered(n)));
        (start..start + 100).for_each(|n| assert_eq!(guests[1].receive(), numbered(n)));
    }
    capture.signal(Signal::SIGCONT);
    let summary = capture.stop();
    let numbers: Vec<u64> =
        summary.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse().ok()).collect();
    let [captured, filtered, dropped] = numbers[..] else { panic!("{summary}") };
    assert_eq!((captured + dropped, filtered), (u64::from(FRAMES), 0), "{summary}");
    // It holds 11,000 frames, and the sockets' buffers some more.
    assert!((5_000..50_000).contains(&captured), "{summary}");
    let frames = frames_of(&capture.printed());
    assert_eq!(frames.len() as u64, captured);
    for (n, frame) in (0..).zip(&frames[..5_000]) {
        assert_eq!(frame.bytes, numbered(n), "the first are all there");
    }
    let totals = switch.stop();
    totals.check_sums();
    assert_eq!(totals.get("tx_queue_full"), 0);
}

#[test]
fn a_ring_keeps_the_newest_files() {
    let (switch, guests) = introduced(2);
    let mut capture = Capture::start(&switch, "-w cap.pcapng --ring 2,1");
    let sent = frame(guests[1].mac, guests[0].mac, 1514);
    for _ in 0..2500 {
        guests[0].send(&sent);
        assert_eq!(guests[1].receive(), sent);
    }
    assert_eq!(capture.stop(), "2500 packets captured, 0 filtered out, 0 dropped");
    let files: BTreeMap<_, _> = fs::read_dir(capture.dir.path())
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_name().to_str().unwrap().starts_with("cap_"))
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect();
    // 3.9 MB in files of 1 MB: of four files the last two.
    let names: Vec<_> = files.keys().map(|name| &name[..9]).collect();
    assert_eq!(names, ["cap_00003", "cap_00004"]);
    for (name, file) in &files {
        assert!(file.len() <= 1_000_000, "{name}: {} bytes", file.len());
        assert!(frames_of(file).iter().all(|frame| frame.bytes == sent), "{name}");
    }
    assert!(files.values().next().unwrap().len() > 990_000, "the third was filled");
}

#[test]
fn a_port_may_open_later() {
    let (switch, guests) = introduced(1);
    let mut capture = Capture::start(&switch, "--port 2,uplink -w -");
    let errors = capture.errors();
    assert!(errors.contains("port 2 is not open now; waiting for it"), "{errors}");
    assert!(errors.contains("there is no uplink now; waiting for it"), "{errors}");
    let late = Client::new(&switch, mac(2));
    late.send(&frame(BROADCAST, late.mac, 60));
    guests[0].receive();
    guests[0].reach(&late);
    assert_eq!(capture.stop(), "2 packets captured, 0 filtered out, 0 dropped");
}

#[test]
fn a_switch_that_ends_gives_all_it_had() {
    let (mut switch, guests) = introduced(2);
    let mut capture = Capture::start(&switch, "-w kept.pcapng");
    for _ in 0..50 {
        guests[0].reach(&guests[1]);
    }
    switch.signal(Signal::SIGTERM);
    switch.wait();
    assert_eq!(capture.wait().code(), Some(1));
    let errors = capture.errors();
    assert!(errors.contains("50 packets captured, 0 filtered out, 0 dropped"), "{errors}");
    assert!(errors.lines().last().unwrap().contains("has ended; all it sent is kept"), "{errors}");
    assert_eq!(frames_of(&capture.file("kept.pcapng")).len(), 50);
}

#[test]
fn a_switch_that_ends_waits_two_seconds_for_who_does_not_read() {
    let (mut switch, guests) = introduced(2);
    let mut capture = Capture::start(&switch, "-w -");
    capture.signal(Signal::SIGSTOP);
    let sent = frame(guests[1].mac, guests[0].mac, 1514);
    for _ in 0..1000 {
        guests[0].send(&sent);
        assert_eq!(guests[1].receive(), sent);
    }
    let started = Instant::now();
    switch.signal(Signal::SIGTERM);
    assert_eq!(switch.wait().signal(), Some(Signal::SIGTERM as i32));
    assert!(started.elapsed() < DEADLINE / 2, "{:?}", started.elapsed());
    assert!(!switch.control.exists());
    switch.wait_for_log("administrators cut off");
    capture.signal(Signal::SIGCONT);
    assert_eq!(capture.wait().code(), Some(1));
    assert!(capture.errors().contains("has gone; what came until then is kept"));
}

#[test]
fn what_came_from_a_switch_that_was_killed_is_kept() {
    let (mut switch, guests) = introduced(2);
    let mut capture = Capture::start(&switch, "-w kept.pcapng");
    guests[0].reach(&guests[1]);
    wait_for("the frame to be in the file", || {
        (!frames_of(&capture.file("kept.pcapng")).is_empty()).then_some(())
    });
    switch.signal(Signal::SIGKILL);
    switch.wait();
    assert_eq!(capture.wait().code(), Some(1));
    let errors = capture.errors();
    let last = errors.lines().last().unwrap();
    assert!(last.contains("has gone; what came until then is kept"), "{errors}");
    assert_eq!(frames_of(&capture.file("kept.pcapng")).len(), 1);
}

/// Whether the switch itself has the file open.
fn is_with_switch(switch: &Switch, file: &Path) -> bool {
    let entries = fs::read_dir(format!("/proc/{}/fd", switch.pid())).expect("it runs");
    // One that is closed meanwhile leads nowhere.
    entries.flatten().any(|entry| fs::read_link(entry.path()).is_ok_and(|to| to == file))
}

#[test]
fn a_file_is_written_by_the_switch_itself() {
    let (switch, guests) = introduced(2);
    for (name, format) in [("a", "pcapng"), ("b", "pcap")] {
        let mut capture = Capture::start(&switch, &format!("-w {name} --format {format}"));
        let path = capture.dir.path().join(name);
        assert!(is_with_switch(&switch, &path));
        let mut sent = Vec::new();
        for len in (14..1514).step_by(50) {
            let bytes = frame(guests[1].mac, guests[0].mac, len);
            guests[0].send(&bytes);
            assert_eq!(guests[1].receive(), bytes);
            sent.push(bytes);
        }
        assert_eq!(capture.stop(), "30 packets captured, 0 filtered out, 0 dropped");
        assert!(!is_with_switch(&switch, &path));
        let file = capture.file(name);
        let captured: Vec<Vec<u8>> = if format == "pcap" {
            let mut reader = PcapReader::new(&file[..]).unwrap();
            let frames = std::iter::from_fn(|| Some(reader.next_packet()?.unwrap().into_owned()));
            frames.map(|packet| packet.data.into_owned()).collect()
        } else {
            frames_of(&file).into_iter().map(|frame| frame.bytes).collect()
        };
        assert_eq!(captured, sent, "{format}");
    }
}

#[test]
fn a_file_is_complete_though_who_asked_for_it_was_killed() {
    let (switch, guests) = introduced(2);
    let mut capture = Capture::start(&switch, "-w kept.pcapng");
    guests[0].reach(&guests[1]);
    capture.signal(Signal::SIGKILL);
    capture.wait();
    switch.wait_for_log("capture ended");
    let mut stream = Stream::new(File::open(capture.dir.path().join("kept.pcapng")).unwrap());
    let end = loop {
        match stream.read(|_| Ok(())).unwrap() {
            Progress::Open => {}
            end => break end,
        }
    };
    let Progress::Ended(totals) = end else { panic!("{end:?}") };
    assert_eq!(totals.iter().map(|port| port.captured).sum::<u64>(), 1);
    assert!(!is_with_switch(&switch, &capture.dir.path().join("kept.pcapng")));
}

#[test]
fn what_bounds_the_switchs_files_ends_a_capture_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let control = dir.path().join("ctl");
    let mut command = Command::new("sh");
    // A file of 32 KiB at the most; a shell's unit is 512 or 1024 bytes.
    command.args(["-c", "ulimit -f 32; exec \"$@\"", "sh"]).arg(binary());
    command.arg("-unix").arg(&control);
    let switch = Switch::spawn(dir, control, command);
    let guests = Client::several(&switch, 2);
    Client::introduce(&guests);
    let mut other = Capture::start(&switch, "-w -");
    let mut capture = Capture::start(&switch, "-w small.pcapng");
    for _ in 0..100 {
        let bytes = frame(guests[1].mac, guests[0].mac, 1000);
        guests[0].send(&bytes);
        assert_eq!(guests[1].receive(), bytes);
    }
    assert_eq!(capture.wait().code(), Some(1));
    let errors = capture.errors();
    let said: Vec<_> = errors.lines().collect();
    assert!(said[1].ends_with(" packets captured, 0 filtered out, 0 dropped"), "{errors}");
    assert!(said[2].contains("/small.pcapng: File too large"), "{errors}");
    assert!(capture.file("small.pcapng").len() <= 32 << 10);
    assert_eq!(other.stop(), "100 packets captured, 0 filtered out, 0 dropped");
    switch.stop().check_sums();
}

#[test]
fn what_bounds_its_users_files_bounds_a_capture() {
    let (switch, guests) = introduced(2);
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -f 32; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_uml_switchctl")]);
    command.arg("--unix").arg(&switch.control).args(["capture", "-w", "small.pcapng"]);
    let mut capture = Capture::start_in(dir, command, Stdio::null());
    assert!(!is_with_switch(&switch, &capture.dir.path().join("small.pcapng")));
    for _ in 0..100 {
        let bytes = frame(guests[1].mac, guests[0].mac, 1000);
        guests[0].send(&bytes);
        assert_eq!(guests[1].receive(), bytes);
    }
    assert!(!capture.wait().success());
    assert!(capture.file("small.pcapng").len() <= 32 << 10);
}

#[test]
fn another_signal_ends_it_at_once() {
    let (switch, _guests) = introduced(1);
    let mut capture = Capture::start(&switch, "");
    // The switch gives no statistics now.
    switch.signal(Signal::SIGSTOP);
    capture.signal(Signal::SIGINT);
    // Those that come right behind the first are taken for the same.
    let status = wait_for("its end", || {
        let status = capture.child.try_wait().unwrap();
        if status.is_none() {
            capture.signal(Signal::SIGTERM);
        }
        status
    });
    assert_eq!(status.signal(), Some(Signal::SIGTERM as i32));
    switch.signal(Signal::SIGCONT);
}

#[test]
fn a_signal_that_comes_twice_in_one_moment_is_one() {
    let (switch, _guests) = introduced(1);
    let mut capture = Capture::start(&switch, "");
    capture.signal(Signal::SIGINT);
    // As timeout(1) does, if it has not ended already.
    let _ = nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(capture.child.id() as i32),
        Signal::SIGTERM,
    );
    assert_eq!(capture.ended_well(), "0 packets captured, 0 filtered out, 0 dropped");
}

/// Runs `uml_switchctl` to its failing end and returns the one line that it says.
#[track_caller]
fn refused(switch: &Switch, line: &str) -> String {
    let finished = run(&mut ctl(switch, line));
    assert_eq!(finished.status.code(), Some(1), "{finished:?}");
    assert_eq!(finished.stdout, "", "{line}");
    assert_eq!(finished.stderr.lines().count(), 1, "{finished:?}");
    finished.stderr
}

#[test]
fn what_cannot_be_done_is_said_in_one_line() {
    let (mut switch, guests) = introduced(2);
    for (line, why) in [
        ("capture tcp port", "syntax error"),
        ("capture host", "syntax error"),
        ("capture --filter prot", "the filter `prot`"),
        ("capture -w - --ring 2,1", "a ring needs files"),
        ("capture -w missing/file", "missing/file"),
        ("capture --port 70000", "no port has the number 70000"),
    ] {
        let said = refused(&switch, line);
        assert!(said.starts_with("uml_switchctl: ") && said.contains(why), "{line}: {said}");
    }
    switch.signal(Signal::SIGTERM);
    switch.wait();
    for line in ["capture", "ports"] {
        let said = refused(&switch, line);
        assert!(said.contains("no switch answers at ") && said.contains("ctl.admin"), "{said}");
    }
    drop(guests);
}

#[test]
fn a_full_disk_ends_it_with_the_files_name() {
    let (switch, guests) = introduced(2);
    let mut capture = Capture::start(&switch, "");
    let command = ctl(&switch, "capture -w /dev/full");
    // It may be found out at the first frame or before.
    let finished = thread::scope(|scope| {
        let sending = scope.spawn(|| {
            let mut command = command;
            run(&mut command)
        });
        while !sending.is_finished() {
            guests[0].reach(&guests[1]);
        }
        sending.join().unwrap()
    });
    assert_eq!(finished.status.code(), Some(1));
    let last = finished.stderr.lines().last().unwrap();
    assert!(last.contains("/dev/full") && last.contains("No space left"), "{finished:?}");
    capture.stop();
}

#[test]
fn a_terminal_gets_no_capture() {
    let switch = Switch::start();
    let (_user, terminal) = Terminal::open();
    let mut command = ctl(&switch, "capture -w -");
    command.stdin(Stdio::null()).stdout(terminal).stderr(Stdio::piped());
    let finished = command.spawn().unwrap().wait_with_output().unwrap();
    assert_eq!(finished.status.code(), Some(1));
    let said = String::from_utf8(finished.stderr).unwrap();
    assert!(said.contains("a capture is nothing for a terminal") && said.contains("tcpdump -r -"));
}

#[test]
fn a_switch_that_was_started_elsewhere_is_named_by_either_socket() {
    let dir = tempfile::tempdir().unwrap();
    let control = dir.path().join("ctl");
    let mut command = Command::new(binary());
    command.arg("-unix").arg(&control).arg("--admin").arg(dir.path().join("adm"));
    let switch = Switch::spawn(dir, control, command);
    let by = |word: &str, name: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_uml_switchctl"));
        run(command.arg("ports").arg(word).arg(switch.dir.path().join(name)))
    };
    assert!(by("--admin", "adm").status.success());
    assert_eq!(by("--unix", "ctl").status.code(), Some(1));
}

#[test]
fn captures_go_on_while_ports_come_and_go() {
    let (switch, guests) = introduced(1);
    let mut capture = Capture::start(&switch, "-w -");
    for n in 0..100 {
        let guest = Client::new(&switch, mac(100 + n));
        let sent = frame(BROADCAST, guest.mac, 60);
        guest.send(&sent);
        assert_eq!(guests[0].receive(), sent);
        drop(guest);
        wait_for("its port to close", || {
            (ports(&switch).as_array().unwrap().len() == 1).then_some(())
        });
    }
    assert_eq!(capture.stop(), "100 packets captured, 0 filtered out, 0 dropped");
    let frames = frames_of(&capture.printed());
    // A number that is given to somebody else is another interface.
    assert!((0..100).zip(&frames).all(|(n, frame)| frame.interface == n));
}
