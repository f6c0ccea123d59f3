//! `tcpdump` and what it says.

use std::env;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::LazyLock;
use std::time::Duration;

use pcap_file::pcap::{PcapHeader, PcapPacket, PcapReader, PcapWriter};
use pcap_file::{DataLink, TsResolution};
use tempfile::NamedTempFile;

use crate::FRAMES;

/// Why it cannot be asked, in words for the list of tests.
pub fn missing() -> Option<String> {
    TCPDUMP.is_none().then(|| "no tcpdump: install tcpdump".to_owned())
}

/// The frames that it selects, by their index.
pub fn selected(expression: &str) -> Vec<usize> {
    let output = tcpdump(expression);
    assert!(output.status.success(), "{expression}: {output:?}");
    let mut reader = PcapReader::new(output.stdout.as_slice()).expect("a capture");
    let mut indices = Vec::new();
    while let Some(packet) = reader.next_packet() {
        let packet = packet.expect("a whole capture");
        let index = packet.timestamp.as_nanos() as usize;
        assert_eq!(packet.data.as_ref(), FRAMES[index].bytes, "{expression}");
        indices.push(index);
    }
    indices
}

/// What it says about an expression that is none.
pub fn complaint(expression: &str) -> String {
    let output = tcpdump(expression);
    assert!(!output.status.success(), "{expression}: {output:?}");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let complaint = said.lines().find_map(|line| line.strip_prefix("tcpdump: "));
    complaint.unwrap_or_else(|| panic!("{expression}: {said}")).to_owned()
}

/// Filters the capture of all frames. The capture is its standard input: it may be a user who
/// cannot open our files.
fn tcpdump(expression: &str) -> Output {
    let capture = File::open(CAPTURE.path()).expect("the capture is there");
    Command::new(TCPDUMP.as_ref().expect("asked for only if it is there"))
        .args(["--nano", "-r", "-", "-w", "-", "--", expression])
        .stdin(capture)
        .output()
        .expect("tcpdump can be started")
}

static TCPDUMP: LazyLock<Option<PathBuf>> = LazyLock::new(|| {
    let path = env::var_os("PATH").unwrap_or_default();
    let dirs = env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    dirs.map(|dir| dir.join("tcpdump"))
        .find(|path| Command::new(path).arg("--version").output().is_ok())
});

/// A capture of all frames, in which the time of each is its index.
static CAPTURE: LazyLock<NamedTempFile> = LazyLock::new(|| {
    let file = NamedTempFile::new().expect("a file");
    let header = PcapHeader {
        ts_resolution: TsResolution::NanoSecond,
        datalink: DataLink::ETHERNET,
        ..PcapHeader::default()
    };
    let mut writer =
        PcapWriter::with_header(BufWriter::new(file.as_file()), header).expect("a header");
    for (index, frame) in FRAMES.iter().enumerate() {
        let time = Duration::from_nanos(index as u64);
        let packet = PcapPacket::new(time, frame.bytes.len() as u32, &frame.bytes);
        writer.write_packet(&packet).expect("a frame");
    }
    writer.into_writer().flush().expect("all frames");
    file
});
