//! What `tshark`, `capinfos` and `tcpdump` say of a file is what was captured.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use etherparse::PacketBuilder;
use tempfile::TempDir;

use uml_switch::core::PortId;
use uml_switch::mirror::sink::{FileLimit, Files, Format, PcapNg, Ring, Sink};
use uml_switch::mirror::{Captured, Direction, PortTotals, Record};

pub const TESTS: &[crate::Test] = crate::tests![
    tshark_shows_every_frame_of_a_pcapng needs "tshark",
    tshark_shows_every_frame_of_a_pcap needs "tshark",
    every_block_is_well_formed needs "tshark",
    a_capture_can_be_read_while_it_is_made needs "tshark",
    capinfos_knows_the_capture needs "capinfos",
    each_file_of_a_ring_is_complete needs "capinfos",
    tcpdump_reads_all_captures needs "tcpdump",
];

fn tshark_shows_every_frame_of_a_pcapng() {
    let made = Made::new(Format::Pcapng);
    let shown = made.tshark(&[
        "frame.interface_name",
        "frame.interface_description",
        "frame.time_epoch",
        "frame.packet_flags_direction",
        "frame.len",
        "frame.cap_len",
        "udp.length",
    ]);
    assert_eq!(
        shown,
        "port 3 daemon uid 1001\tswitch port 3.0\t1795320900.123456789\t0x00000001\t142\t142\t108\n\
         port 4 daemon uid 1002\tswitch port 4.0\t1795320900.123456789\t0x00000002\t142\t64\t108\n\
         port 3 bess uid 1003\tswitch port 3.1\t1795320901.123456790\t0x00000001\t142\t142\t108\n"
    );
}

fn tshark_shows_every_frame_of_a_pcap() {
    let made = Made::new(Format::Pcap);
    let shown = made.tshark(&["frame.time_epoch", "frame.len", "frame.cap_len", "udp.length"]);
    assert_eq!(
        shown,
        "1795320900.123456789\t142\t142\t108\n\
         1795320900.123456789\t142\t64\t108\n\
         1795320901.123456790\t142\t142\t108\n"
    );
}

/// Wireshark can show a file as it shows a frame: with all fields, and with what is wrong in it.
fn every_block_is_well_formed() {
    let made = Made::new(Format::Pcapng);
    let shown = run("tshark", &["-X", "read_format:MIME Files Format", "-V", "-r", &made.path]);
    let count = |text: &str| shown.lines().filter(|line| line.trim() == text).count();
    assert_eq!(shown.matches("Malformed").count(), 0, "{shown}");
    assert_eq!(shown.matches("Expert Info").count(), 0, "{shown}");
    assert_eq!(count("Block: Section Header Block 1"), 1);
    assert_eq!(shown.matches("Block: Interface Description Block").count(), 3);
    assert_eq!(shown.matches("Block: Enhanced Packet Block").count(), 3);
    assert_eq!(count("Block: Interface Statistics Block"), 3);
    // Of port 3 as it was first; the totals of the others are different.
    assert_eq!(count("Number of Received Packets: 600"), 1);
    assert_eq!(count("Number of Accepted by Filter Packets: 400"), 1);
    assert_eq!(count("Number of Dropped Packets by OS: 300"), 1);
    assert_eq!(count("Number of Dropped Packets: 300"), 1);
    assert_eq!(count("Number of Delivered to the User Packets: 100"), 1);
    // The last frame, and the statistics of each port.
    assert_eq!(count("[Timestamp: Nov 22, 2026 04:15:01.123456790 UTC]"), 4);
}

/// `tshark -r -` shows each frame when it comes, so it has to be there before the end.
fn a_capture_can_be_read_while_it_is_made() {
    use std::io::{BufRead, BufReader};
    let mut tshark = Command::new("tshark")
        .args(["-l", "-r", "-", "-T", "fields", "-e", "frame.interface_name"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let output = std::io::BufWriter::new(tshark.stdin.take().unwrap());
    let mut capture = PcapNg::new(output, SNAPLEN).unwrap();
    let mut shown = BufReader::new(tshark.stdout.take().unwrap()).lines();
    let frame = udp();
    for number in 1..=3 {
        let port = PortId::from_parts(number, 0);
        let name = format!("port {number}");
        capture.record(Record::Port { port, name: &name }).unwrap();
        capture.record(captured(port, Direction::In, START, &frame)).unwrap();
        capture.flush().unwrap();
        assert_eq!(shown.next().unwrap().unwrap(), name);
    }
    capture.finish(&[]).unwrap();
    drop(capture);
    assert!(tshark.wait().unwrap().success());
}

fn capinfos_knows_the_capture() {
    for format in [Format::Pcapng, Format::Pcap] {
        let made = Made::new(format);
        let known = run("capinfos", &["-M", &made.path]);
        let has = |key: &str, value: &str| {
            let found = known.lines().any(|line| {
                let line = line.trim();
                line.strip_prefix(key).is_some_and(|rest| rest.trim() == value)
            });
            assert!(found, "{key} {value} in {known}");
        };
        has("Number of packets:", "3");
        has("File encapsulation:", "ether");
        has("File timestamp precision:", "nanoseconds (9)");
        has("Capture duration:", "1.000000001 seconds");
        if format == Format::Pcapng {
            let version = concat!("uml_switch ", env!("CARGO_PKG_VERSION"));
            has("Capture application:", version);
            has("Number of interfaces in file:", "3");
            has("Name =", "port 3 daemon uid 1001");
            has("Capture length =", "65535");
            has("Number of stat entries =", "1");
        }
    }
}

fn each_file_of_a_ring_is_complete() {
    let one_each = Ring { files: 3, limit: FileLimit::Bytes(1) };
    for format in [Format::Pcapng, Format::Pcap] {
        let made = Made::with(format, Some(one_each));
        let mut files = 0;
        for file in std::fs::read_dir(&made.directory).unwrap() {
            let known = run("capinfos", &["-c", "-M", file.unwrap().path().to_str().unwrap()]);
            assert!(known.contains("Number of packets:   1\n"), "{known}");
            files += 1;
        }
        assert_eq!(files, 3);
    }
}

fn tcpdump_reads_all_captures() {
    for format in [Format::Pcapng, Format::Pcap] {
        let made = Made::new(format);
        let shown = run("tcpdump", &["-tt", "--nano", "-nr", &made.path]);
        let line = "IP 10.0.0.1.4000 > 10.0.0.2.27015: UDP, length 100";
        let times = ["1795320900.123456789", "1795320900.123456789", "1795320901.123456790"];
        let expected: String = times.iter().map(|time| format!("{time} {line}\n")).collect();
        assert_eq!(shown, expected);

        let empty = made.directory.path().join("empty");
        Files::create(&empty, format, SNAPLEN, None).unwrap().finish(&[]).unwrap();
        assert_eq!(run("tcpdump", &["-nr", empty.to_str().unwrap()]), "");
    }
}

/// A capture in a directory of its own.
struct Made {
    directory: TempDir,
    path: String,
}

impl Made {
    fn new(format: Format) -> Self {
        Made::with(format, None)
    }

    /// One frame through the switch, whole where it came in and cut where it went out; and one of a
    /// port that has taken the first one's number.
    fn with(format: Format, ring: Option<Ring>) -> Self {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("capture");
        let mut capture = Files::create(&path, format, SNAPLEN, ring).unwrap();
        let frame = udp();
        let (from, to) = (PortId::from_parts(3, 0), PortId::from_parts(4, 0));
        let again = PortId::from_parts(3, 1);
        let later = START + Duration::new(1, 1);
        let mut cut = captured(to, Direction::Out, START, &frame);
        if let Record::Frame(cut) = &mut cut {
            cut.bytes = &cut.bytes[..64];
        }
        let of = |port, seen, captured, filtered, dropped| PortTotals {
            port,
            seen,
            captured,
            filtered,
            dropped,
        };
        for record in [
            Record::Port { port: from, name: "port 3 daemon uid 1001" },
            captured(from, Direction::In, START, &frame),
            Record::Port { port: to, name: "port 4 daemon uid 1002" },
            cut,
            Record::Port { port: again, name: "port 3 bess uid 1003" },
            captured(again, Direction::In, later, &frame),
        ] {
            capture.record(record).unwrap();
        }
        let totals = [of(from, 600, 100, 200, 300), of(to, 1, 1, 0, 0), of(again, 1, 1, 0, 0)];
        capture.finish(&totals).unwrap();
        let path = path.to_str().unwrap().to_owned();
        Made { directory, path }
    }

    /// These fields of every frame, a line each.
    fn tshark(&self, fields: &[&str]) -> String {
        let mut arguments = vec!["-r", &self.path, "-T", "fields"];
        arguments.extend(fields.iter().flat_map(|field| ["-e", field]));
        run("tshark", &arguments)
    }
}

fn captured(port: PortId, direction: Direction, time: Duration, bytes: &[u8]) -> Record<'_> {
    let original = bytes.len() as u32;
    Record::Frame(Captured { port, direction, time, original, bytes })
}

/// 100 bytes of UDP in 142 bytes of frame.
fn udp() -> Vec<u8> {
    let (from, to) = ([0x52, 0x54, 0, 0, 0, 1], [0x52, 0x54, 0, 0, 0, 2]);
    let headers =
        PacketBuilder::ethernet2(from, to).ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64).udp(4000, 27015);
    let mut frame = Vec::new();
    headers.write(&mut frame, &[0; 100]).unwrap();
    frame
}

/// What a program that ends well prints, with the times of Greenwich.
fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).env("TZ", "UTC").output().unwrap();
    if !output.status.success() {
        let _ = std::io::stderr().write_all(&output.stderr);
        panic!("{program} {arguments:?}: {}", output.status);
    }
    String::from_utf8(output.stdout).unwrap()
}

const SNAPLEN: u32 = 65_535;

/// 2026-11-22 04:15:00.123456789 in Greenwich.
const START: Duration = Duration::new(1_795_320_900, 123_456_789);
