//! `--mirror`: what the switch records in files.

use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::signal::Signal;
use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketOption;
use pcap_file::pcapng::blocks::interface_description::InterfaceDescriptionOption;
use pcap_file::pcapng::blocks::interface_statistics::InterfaceStatisticsOption;
use pcap_file::pcapng::{Block, PcapNgReader};

use crate::support::{
    BROADCAST, Background, Client, Switch, binary, frame, mac, run, udp_frame, wait_for,
};

/// A recorded file.
#[derive(Debug, Default)]
struct Recorded {
    interfaces: Vec<String>,
    frames: Vec<Frame>,
    /// Of each interface: received, and dropped.
    statistics: Vec<(u32, u64, u64)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Frame {
    interface: String,
    inbound: bool,
    time: Duration,
    original: u32,
    bytes: Vec<u8>,
}

impl Recorded {
    /// Reads a file to its end, which must be the end of a block.
    fn read(path: &Path) -> Recorded {
        Recorded::try_read(path).expect("a file of whole blocks")
    }

    fn try_read(path: &Path) -> Result<Recorded, pcap_file::PcapError> {
        let file = BufReader::new(File::open(path).expect("the file is there"));
        let mut reader = PcapNgReader::new(file)?;
        let mut recorded = Recorded::default();
        while let Some(block) = reader.next_block() {
            recorded.note(block?);
        }
        Ok(recorded)
    }

    fn note(&mut self, block: Block<'_>) {
        match block {
            Block::InterfaceDescription(block) => {
                let name = block.options.iter().find_map(|option| match option {
                    InterfaceDescriptionOption::IfName(name) => Some(name.to_string()),
                    _ => None,
                });
                self.interfaces.push(name.expect("a name"));
            }
            Block::EnhancedPacket(block) => {
                let flags = block.options.iter().find_map(|option| match option {
                    EnhancedPacketOption::Flags(flags) => Some(flags & 3),
                    _ => None,
                });
                self.frames.push(Frame {
                    interface: self.interfaces[block.interface_id as usize].clone(),
                    inbound: flags.expect("a direction") == 1,
                    time: block.timestamp,
                    original: block.original_len,
                    bytes: block.data.into_owned(),
                });
            }
            Block::InterfaceStatistics(block) => {
                let (mut received, mut dropped) = (0, 0);
                for option in &block.options {
                    match option {
                        InterfaceStatisticsOption::IsbIfRecv(n) => received = *n,
                        InterfaceStatisticsOption::IsbOsDrop(n) => dropped = *n,
                        _ => {}
                    }
                }
                self.statistics.push((block.interface_id, received, dropped));
            }
            _ => {}
        }
    }

    /// Interface, direction and bytes of each frame.
    fn places(&self) -> Vec<(&str, bool, &[u8])> {
        self.frames.iter().map(|f| (f.interface.as_str(), f.inbound, f.bytes.as_slice())).collect()
    }
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

/// A switch that records in the file `cap` of its directory, with `args`.
#[track_caller]
fn recording(args: &str) -> Switch {
    let dir = tempfile::tempdir().unwrap();
    let control = dir.path().join("ctl");
    let mut command = Command::new(binary());
    command.arg("-unix").arg(&control).arg("--mirror").arg(dir.path().join("cap"));
    command.args(args.split_whitespace());
    Switch::spawn(dir, control, command)
}

/// Ends the switch and reads what it has recorded.
#[track_caller]
fn end(mut switch: Switch) -> (Recorded, String) {
    switch.signal(Signal::SIGTERM);
    switch.wait();
    (Recorded::read(&switch.dir.path().join("cap")), switch.log())
}

/// The name of a daemon port of ours.
fn port(number: u32) -> String {
    format!("port {number} daemon uid {}", nix::unistd::geteuid())
}

#[test]
fn every_frame_is_there_once_in_order_and_with_its_time() {
    let before = since_1970();
    let switch = recording("");
    let guests = Client::several(&switch, 3);
    Client::introduce(&guests);
    let (one, two) = (&guests[0], &guests[1]);
    let mut expected: Vec<_> =
        guests.iter().zip(1..).map(|(g, n)| (n, frame(BROADCAST, g.mac, 60))).collect();
    for round in 0..100 {
        let question = frame(two.mac, one.mac, 14 + 90 * (round % 100));
        let answer = frame(one.mac, two.mac, 60);
        one.send(&question);
        assert_eq!(two.receive(), question);
        two.send(&answer);
        assert_eq!(one.receive(), answer);
        expected.extend([(1, question), (2, answer)]);
    }
    // To its own port: it goes nowhere, and is there.
    let hairpin = frame(one.mac, mac(77), 60);
    one.send(&hairpin);
    // And what is no frame is not.
    one.send(&[1; 13]);
    one.reach(two);
    expected.extend([(1, hairpin), (1, frame(two.mac, one.mac, 100))]);
    let after = since_1970();

    let (recorded, log) = end(switch);
    assert_eq!(recorded.interfaces, [port(1), port(2), port(3)]);
    assert_eq!(recorded.frames.len(), expected.len());
    let mut last = before;
    for (frame, (number, bytes)) in recorded.frames.iter().zip(&expected) {
        assert_eq!((&frame.interface, frame.inbound), (&port(*number), true));
        assert_eq!(&frame.bytes, bytes);
        assert_eq!(frame.original as usize, bytes.len());
        assert!((last..=after).contains(&frame.time), "{last:?} {:?} {after:?}", frame.time);
        last = frame.time;
    }
    assert_eq!(recorded.statistics, [(0, 103, 0), (1, 101, 0), (2, 1, 0)]);
    assert!(log.contains("captured=205 filtered=0 dropped=0"), "{log}");
}

#[test]
fn a_port_has_what_it_sends_and_what_is_meant_for_it() {
    let switch = recording("--mirror-port 2 --mirror-port 4");
    let guests = Client::several(&switch, 3);
    Client::introduce(&guests);
    guests[0].reach(&guests[1]);
    guests[1].reach(&guests[2]);
    guests[2].reach(&guests[0]);
    let (recorded, _) = end(switch);
    let two = port(2);
    let hello = |n| frame(BROADCAST, mac(n), 60);
    let (to, from) = (frame(mac(2), mac(1), 100), frame(mac(3), mac(2), 100));
    let expected = [
        (two.as_str(), false, &hello(1)[..]),
        (&two, true, &hello(2)),
        (&two, false, &hello(3)),
        (&two, false, &to),
        (&two, true, &from),
    ];
    assert_eq!(recorded.places(), expected);
    assert_eq!(recorded.statistics, [(0, 5, 0)]);
}

#[test]
fn both_ends_of_a_path_are_there_if_both_are_asked_for() {
    let switch = recording("--mirror-port 1 --mirror-port 2 --mirror-snaplen 20");
    let guests = Client::several(&switch, 2);
    guests[0].send(&frame(guests[1].mac, guests[0].mac, 100));
    guests[1].receive();
    let (recorded, _) = end(switch);
    let start = &frame(mac(2), mac(1), 100)[..20];
    assert_eq!(recorded.places(), [(&*port(1), true, start), (&port(2), false, start)]);
    assert!(recorded.frames.iter().all(|frame| frame.original == 100));
}

#[test]
fn only_what_the_filter_accepts_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let control = dir.path().join("ctl");
    let mut command = Command::new(binary());
    command.arg("-unix").arg(&control).arg("--mirror").arg(dir.path().join("cap"));
    command.args(["--mirror-filter", "udp port 27015 and greater 60"]);
    let switch = Switch::spawn(dir, control, command);
    let guests = Client::several(&switch, 2);
    let (short, long) = (
        udp_frame(guests[1].mac, guests[0].mac, &[7; 10]),
        udp_frame(guests[1].mac, guests[0].mac, &[7; 100]),
    );
    for sent in [&short, &long, &frame(guests[1].mac, guests[0].mac, 100), &long] {
        guests[0].send(sent);
        assert_eq!(&guests[1].receive(), sent);
    }
    let (recorded, log) = end(switch);
    let one = port(1);
    assert_eq!(recorded.places(), [(one.as_str(), true, &long[..]), (&one, true, &long)]);
    assert!(log.contains("captured=2 filtered=2 dropped=0"), "{log}");
}

#[test]
fn a_file_can_be_read_while_it_is_written() {
    let switch = recording("");
    let guests = Client::several(&switch, 2);
    for n in 1..=5 {
        guests[0].send(&frame(guests[1].mac, guests[0].mac, 60));
        guests[1].receive();
        wait_for("the frame in the file", || {
            let recorded = Recorded::try_read(&switch.dir.path().join("cap")).ok()?;
            (recorded.frames.len() == n).then_some(())
        });
    }
}

#[test]
fn a_port_that_comes_again_is_another_interface() {
    let switch = recording("--mirror-port 1");
    let other = Client::new(&switch, mac(1));
    assert!(switch.wait_for_log("port opened").contains("port=1"));
    drop(other);
    switch.wait_for_log("port closed");
    let guests = Client::several(&switch, 2);
    guests[0].reach(&guests[1]);
    drop(guests);
    wait_for("all to close", || (switch.log().matches("port closed").count() == 3).then_some(()));
    let guests = Client::several(&switch, 2);
    guests[0].reach(&guests[1]);
    let (recorded, _) = end(switch);
    // One whose frames nobody has seen is none.
    assert_eq!(recorded.interfaces, [port(1), port(1)]);
    assert_eq!(recorded.statistics, [(0, 1, 0), (1, 1, 0)]);
}

#[test]
fn a_ring_keeps_the_newest_files_and_each_is_whole() {
    let mut switch = recording("--mirror-ring 2,1");
    let guests = Client::several(&switch, 2);
    let sent = 2500;
    for n in 0..sent {
        let mut bytes = frame(guests[1].mac, guests[0].mac, 1400);
        bytes[14..18].copy_from_slice(&u32::to_be_bytes(n));
        guests[0].send(&bytes);
        guests[1].receive();
    }
    switch.signal(Signal::SIGTERM);
    switch.wait();
    assert!(switch.log().contains(&format!("captured={sent} ")), "{}", switch.log());
    let (files, sizes, frames) = files(switch.dir.path());
    assert_eq!(files.len(), 2, "{files:?}");
    assert!(sizes.iter().all(|&size| size <= 1_000_000), "{sizes:?}");
    let numbers: Vec<_> =
        frames.iter().map(|bytes| u32::from_be_bytes(bytes[14..18].try_into().unwrap())).collect();
    let first = numbers[0];
    assert_eq!(numbers, (first..sent).collect::<Vec<_>>(), "the newest, without a gap");
    assert!(files[1].to_string_lossy().contains("cap_00004_"), "{files:?}");
}

/// The files of a ring by name, their sizes, and the frames in all.
fn files(dir: &Path) -> (Vec<PathBuf>, Vec<u64>, Vec<Vec<u8>>) {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let is_ours = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with("cap_");
    let mut files: Vec<_> = entries.filter(is_ours).collect();
    files.sort();
    let sizes = files.iter().map(|file| fs::metadata(file).unwrap().len()).collect();
    let frames = files.iter().flat_map(|file| Recorded::read(file).frames);
    let frames = frames.map(|frame| frame.bytes).collect();
    (files, sizes, frames)
}

#[test]
fn a_disk_that_takes_no_more_ends_the_capture_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let (control, cap) = (dir.path().join("ctl"), dir.path().join("cap"));
    let mut command = Command::new("sh");
    // A file of 32 KiB at the most; a shell's unit is 512 or 1024 bytes.
    command.arg("-c").arg("ulimit -f 32; exec \"$@\"").arg("sh").arg(binary());
    command.arg("-unix").arg(&control).arg("--mirror").arg(&cap);
    let mut switch = Switch::spawn(dir, control, command);
    let guests = Client::several(&switch, 2);
    for _ in 0..100 {
        guests[0].send(&frame(guests[1].mac, guests[0].mac, 1000));
        guests[1].receive();
    }
    let line = switch.wait_for_log("cannot write");
    assert!(line.contains("ERROR") && line.contains(cap.to_str().unwrap()), "{line}");
    assert!(line.contains("written=") && line.contains("captured="), "{line}");
    for _ in 0..100 {
        guests[0].reach(&guests[1]);
    }
    assert_eq!(switch.log().matches("cannot write").count(), 1, "{}", switch.log());
    assert!(fs::metadata(cap).unwrap().len() <= 32 << 10);
    switch.signal(Signal::SIGTERM);
    switch.wait();
    assert!(switch.log().contains(" stopped "), "{}", switch.log());
}

#[test]
fn a_capture_that_cannot_be_is_said_in_one_line_and_nothing_is_left() {
    let rows: [(&[&str], &str); 5] = [
        (&["--mirror", "cap", "--mirror-filter", "udp prt 1"], "syntax error"),
        (&["--mirror", "none/cap"], "none/cap: No such file or directory"),
        (&["--mirror", "."], "directory"),
        (&["--mirror", "/dev/full"], "/dev/full: No space left on device"),
        (&["-daemon", "--mirror", "none/cap"], "none/cap: No such file or directory"),
    ];
    for (words, said) in rows {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new(binary());
        command.current_dir(dir.path()).args(["-unix", "ctl"]).args(words);
        let finished = run(&mut command);
        assert_eq!(finished.status.code(), Some(1), "{words:?}");
        assert!(finished.stderr.contains(said), "{words:?}: {}", finished.stderr);
        assert_eq!(finished.stderr.lines().count(), 1, "{}", finished.stderr);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "{words:?}: something is left");
    }
}

#[test]
fn the_capture_of_a_switch_that_serves_is_not_overwritten_by_another_one() {
    let switch = recording("");
    let guests = Client::several(&switch, 2);
    guests[0].reach(&guests[1]);
    let mut second = Command::new(binary());
    second.arg("-unix").arg(&switch.control);
    second.arg("--mirror").arg(switch.dir.path().join("cap"));
    assert_eq!(run(&mut second).status.code(), Some(1));
    assert_eq!(end(switch).0.frames.len(), 1);
}

#[test]
fn in_the_background_the_path_is_as_seen_before() {
    let background = Background::new();
    let finished = background.run("--mirror cap --realtime");
    assert_eq!(finished.status.code(), Some(0), "{}", finished.stderr);
    let guests = [1, 2].map(|n| Client::dial(&background.control(), mac(n)));
    guests[0].reach(&guests[1]);
    background.end(Signal::SIGTERM);
    let recorded = Recorded::read(&background.dir.path().join("cap"));
    assert_eq!(recorded.frames.len(), 1);
    assert_eq!(recorded.statistics, [(0, 1, 0)]);
}

#[test]
fn ports_that_share_a_data_socket_are_told_apart() {
    let switch = recording("-compat-v0");
    let sockets = [1, 2].map(|n| {
        let path = switch.dir.path().join(format!("client-{n}"));
        Client::at_path(&switch, mac(n), &path)
    });
    sockets[0].send(&frame(BROADCAST, mac(1), 60));
    sockets[1].receive();
    sockets[1].reach(&sockets[0]);
    let (recorded, _) = end(switch);
    let name = |n| format!("port {n} daemon-v0 uid {}", nix::unistd::geteuid());
    assert_eq!(recorded.interfaces, [name(1), name(2)]);
    assert_eq!(recorded.frames.len(), 2);
}

#[test]
fn a_reader_of_a_pipe_that_goes_ends_the_capture_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let (control, pipe) = (dir.path().join("ctl"), dir.path().join("pipe"));
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    // Both ends, so that opening it does not wait.
    let reader = File::options().read(true).write(true).open(&pipe).unwrap();
    let mut command = Command::new(binary());
    command.arg("-unix").arg(&control).arg("--mirror").arg(&pipe);
    let switch = Switch::spawn(dir, control, command);
    let guests = Client::several(&switch, 2);
    drop(reader);
    guests[0].reach(&guests[1]);
    let line = switch.wait_for_log("cannot write");
    assert!(line.contains("Broken pipe"), "{line}");
    guests[0].reach(&guests[1]);
}

/// A pipe that nobody reads is a disk that does not answer.
#[test]
fn a_capture_that_is_stuck_holds_up_neither_guests_nor_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let (control, pipe) = (dir.path().join("ctl"), dir.path().join("pipe"));
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let _reader = File::options().read(true).write(true).open(&pipe).unwrap();
    let mut command = Command::new(binary());
    command.arg("-unix").arg(&control).arg("--mirror").arg(&pipe);
    let mut switch = Switch::spawn(dir, control, command);
    let guests = Client::several(&switch, 2);
    // More than the pipe and the capture's buffer take.
    let bulk = frame(guests[1].mac, guests[0].mac, 9000);
    for _ in 0..1000 {
        guests[0].send(&bulk);
        assert_eq!(guests[1].receive(), bulk);
    }
    switch.signal(Signal::SIGTERM);
    switch.wait();
    assert!(switch.log().contains("its disk does not answer"), "{}", switch.log());
}
