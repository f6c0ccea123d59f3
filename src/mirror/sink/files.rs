//! Captures in files: one, or a ring of them.
//!
//! The files of a ring are named as dumpcap names them: `cap.pcapng` gives
//! `cap_00001_20261122041500.pcapng`, with the number of the file and the local time at which it
//! begins. Each is complete: it begins with a header and the ports of now, so that it can be read
//! and kept by itself. The oldest is removed when the next one has begun. Statistics, which are those
//! of the whole capture, stand in the last one.
//!
//! Whoever may read a capture reads other people's traffic. So a new file is for its owner alone; and
//! in a directory where others may write, such as `/tmp`, nobody can make the capture go where it
//! was not sent: a symbolic link is not followed, and a file that is there is taken only if it is
//! ours or root's and has no second name. It is then overwritten, as tcpdump does.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::{BUFFER, FileLimit, Pcap, PcapNg, Ring, Sink};
use crate::core::PortId;
use crate::mirror::{PortTotals, Record};
use crate::sys;

/// What the files of a capture look like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// pcapng: with ports, directions and statistics.
    #[default]
    Pcapng,
    /// Classic pcap with nanoseconds.
    Pcap,
}

/// Writes a capture to a file or a ring of files. All errors name the file.
pub struct Files {
    path: PathBuf,
    format: Format,
    snaplen: u32,
    ring: Option<Ring>,
    file: Part,
    /// How many files were begun.
    begun: u64,
    /// Those of the ring that are there, the oldest first.
    kept: VecDeque<PathBuf>,
    /// The port that has each number now, and its name.
    ports: BTreeMap<u32, (PortId, String)>,
}

impl Files {
    /// Begins the file at `path`, or the first one of a ring there. A relative path is as seen from
    /// the working directory of now.
    ///
    /// # Errors
    /// The file cannot be opened, is refused (a symbolic link, another user's file, one with a
    /// second name), or cannot be written.
    pub fn create(
        path: &Path,
        format: Format,
        snaplen: u32,
        ring: Option<Ring>,
    ) -> io::Result<Self> {
        let path = std::path::absolute(path).map_err(|error| naming(path, &error))?;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let first = if ring.is_some() { numbered(&path, 1, now) } else { path.clone() };
        let file = Part::create(first.clone(), format, snaplen)?;
        let kept = VecDeque::from([first]);
        let ports = BTreeMap::new();
        Ok(Files { path, format, snaplen, ring, file, begun: 1, kept, ports })
    }

    /// The path of the file that is written now.
    pub fn path(&self) -> &Path {
        &self.file.path
    }

    /// Whether a frame of this time and with so many bytes kept belongs into the next file.
    fn is_full(&mut self, time: Duration, kept: usize) -> bool {
        let Some(Ring { limit, .. }) = self.ring else { return false };
        // The clock may have been set back: that is a new beginning, or the file would not end.
        let since = self.file.first_frame.map(|first| first.min(time));
        self.file.first_frame = since.or(Some(time));
        let Some(since) = since else { return false };
        match limit {
            FileLimit::Bytes(limit) => self.file.len() + self.format.frame_len(kept) > limit,
            FileLimit::Time(limit) => time - since >= limit,
        }
    }

    fn begin_next(&mut self, time: Duration) -> io::Result<()> {
        self.file.flush()?;
        self.begun += 1;
        let path = numbered(&self.path, self.begun, time);
        self.file = Part::create(path.clone(), self.format, self.snaplen)?;
        self.file.first_frame = Some(time);
        for (port, name) in self.ports.values() {
            self.file.record(Record::Port { port: *port, name })?;
        }
        self.kept.push_back(path);
        self.remove_oldest()
    }

    fn remove_oldest(&mut self) -> io::Result<()> {
        let Some(ring) = self.ring else { return Ok(()) };
        while self.kept.len() > ring.files {
            let Some(oldest) = self.kept.pop_front() else { break };
            match std::fs::remove_file(&oldest) {
                // Somebody has moved it away to keep it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => removed.map_err(|error| naming(&oldest, &error))?,
            }
        }
        Ok(())
    }
}

impl Sink for Files {
    fn record(&mut self, record: Record<'_>) -> io::Result<()> {
        match record {
            Record::Port { port, name } => {
                if self.ring.is_some() {
                    self.ports.insert(port.number(), (port, name.to_owned()));
                }
            }
            Record::Frame(frame) => {
                if self.is_full(frame.time, frame.bytes.len()) {
                    self.begin_next(frame.time)?;
                }
            }
        }
        self.file.record(record)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }

    fn finish(&mut self, totals: &[PortTotals]) -> io::Result<()> {
        self.file.finish(totals)
    }
}

/// Opens the one file of a capture as [`Files`] does, empty, for somebody else to write it.
///
/// # Errors
/// Those of [`Files::create`].
pub fn open_file(path: &Path) -> io::Result<File> {
    open(path).map_err(|error| naming(path, &error))
}

impl Format {
    /// Begins a capture of this format in `writer`.
    ///
    /// # Errors
    /// Those of `writer`.
    pub fn begin<'a>(
        self,
        writer: impl Write + 'a,
        snaplen: u32,
    ) -> io::Result<Box<dyn Sink + 'a>> {
        let writer = BufWriter::with_capacity(BUFFER, writer);
        let mut sink: Box<dyn Sink + 'a> = match self {
            Format::Pcapng => Box::new(PcapNg::new(writer, snaplen)?),
            Format::Pcap => Box::new(Pcap::new(writer, snaplen)?),
        };
        // What cannot be written is better known at once.
        sink.flush()?;
        Ok(sink)
    }

    fn frame_len(self, kept: usize) -> u64 {
        match self {
            Format::Pcapng => PcapNg::<Output>::frame_len(kept),
            Format::Pcap => Pcap::<Output>::frame_len(kept),
        }
    }
}

/// One file.
struct Part {
    path: PathBuf,
    capture: Capture,
    /// The earliest time of a frame since the clock was set back, if it was.
    first_frame: Option<Duration>,
}

type Output = Counting<BufWriter<File>>;

enum Capture {
    Pcapng(PcapNg<Output>),
    Pcap(Pcap<Output>),
}

impl Part {
    fn create(path: PathBuf, format: Format, snaplen: u32) -> io::Result<Self> {
        let open = || {
            let output = BufWriter::with_capacity(BUFFER, open(&path)?);
            let output = Counting { writer: output, written: 0 };
            let mut capture = match format {
                Format::Pcapng => Capture::Pcapng(PcapNg::new(output, snaplen)?),
                Format::Pcap => Capture::Pcap(Pcap::new(output, snaplen)?),
            };
            // A disk that is full is better known at once.
            capture.sink().flush()?;
            Ok(capture)
        };
        let capture = open().map_err(|error| naming(&path, &error))?;
        Ok(Part { path, capture, first_frame: None })
    }

    /// Bytes so far, those in the buffer included.
    fn len(&self) -> u64 {
        match &self.capture {
            Capture::Pcapng(capture) => capture.get_ref().written,
            Capture::Pcap(capture) => capture.get_ref().written,
        }
    }
}

impl Sink for Part {
    fn record(&mut self, record: Record<'_>) -> io::Result<()> {
        self.capture.sink().record(record).map_err(|error| naming(&self.path, &error))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.capture.sink().flush().map_err(|error| naming(&self.path, &error))
    }

    fn finish(&mut self, totals: &[PortTotals]) -> io::Result<()> {
        self.capture.sink().finish(totals).map_err(|error| naming(&self.path, &error))
    }
}

impl Capture {
    fn sink(&mut self) -> &mut dyn Sink {
        match self {
            Capture::Pcapng(capture) => capture,
            Capture::Pcap(capture) => capture,
        }
    }
}

/// Counts what goes through.
struct Counting<W> {
    writer: W,
    written: u64,
}

impl<W: Write> Write for Counting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.writer.write(bytes)?;
        self.written += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// Opens the file that a capture goes to, empty. It is for its owner alone if it is new.
fn open(path: &Path) -> io::Result<File> {
    let refuse = |why: String| Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    let opened = OpenOptions::new()
        .write(true)
        .create(true)
        .mode(0o600)
        // A named pipe without a reader would hold up the start until there is one.
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path);
    let file = match opened {
        Err(error) if error.raw_os_error() == Some(libc::ELOOP) => {
            return refuse("is a symbolic link, which is not followed".to_owned());
        }
        Err(error) if error.raw_os_error() == Some(libc::ENXIO) => {
            return Err(io::Error::new(error.kind(), "nobody reads this pipe yet"));
        }
        opened => opened?,
    };
    let found = file.metadata()?;
    let us = nix::unistd::geteuid().as_raw();
    // A device such as /dev/null keeps nothing that its owner could read; nobody but root makes one.
    let keeps = !found.file_type().is_char_device();
    if keeps && found.uid() != us && found.uid() != ROOT {
        return refuse(format!("is there and belongs to uid {}", found.uid()));
    }
    if found.is_file() {
        if found.nlink() > 1 {
            return refuse("is there and has a second name".to_owned());
        }
        file.set_len(0)?;
    } else if found.file_type().is_socket() || found.is_dir() {
        return refuse("is no file".to_owned());
    }
    block(&file)?;
    Ok(file)
}

/// Makes writes wait, as they do on files that were opened without `O_NONBLOCK`.
fn block(file: &File) -> io::Result<()> {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    let flags = OFlag::from_bits_retain(fcntl(file, FcntlArg::F_GETFL)?);
    fcntl(file, FcntlArg::F_SETFL(flags - OFlag::O_NONBLOCK))?;
    Ok(())
}

/// The path of file `number` of the ring at `path`, which begins at `time` since 1970.
fn numbered(path: &Path, number: u64, time: Duration) -> PathBuf {
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    let t = sys::local_time(time.as_secs());
    name.push(format!(
        "_{number:05}_{:04}{:02}{:02}{:02}{:02}{:02}",
        t.year, t.month, t.day, t.hour, t.minute, t.second
    ));
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}

fn naming(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

const ROOT: u32 = 0;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use tempfile::TempDir;

    use super::super::examples::{Owned, START, frame_at, give, port, records, totals};
    use super::super::{Progress, Stream};
    use super::*;

    const SNAPLEN: u32 = 65_535;

    /// What a file holds: names of ports and times of frames in milliseconds, and how it ends.
    fn contents(path: &Path) -> (Vec<String>, Vec<u64>, Progress) {
        let mut stream = Stream::new(File::open(path).unwrap());
        let (mut ports, mut frames) = (Vec::new(), Vec::new());
        loop {
            let progress = stream.read(|record| {
                match record {
                    Record::Port { name, .. } => ports.push(name.to_owned()),
                    Record::Frame(frame) => frames.push((frame.time - START).as_millis() as u64),
                }
                Ok(())
            });
            match progress.unwrap() {
                Progress::Open => {}
                end => return (ports, frames, end),
            }
        }
    }

    fn names(directory: &TempDir) -> Vec<String> {
        let entries = fs::read_dir(directory.path()).unwrap();
        let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name();
        let mut names: Vec<_> = entries.map(name).map(|n| n.into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Runs these frames of port 1, (milliseconds, length), through a ring, and gives the frames
    /// of each file that is left.
    fn ring(files: usize, limit: FileLimit, frames: &[(u64, usize)]) -> Vec<Vec<u64>> {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("cap.pcapng");
        let ring = Ring { files, limit };
        let mut capture = Files::create(&path, Format::Pcapng, SNAPLEN, Some(ring)).unwrap();
        give(&mut capture, &[Owned::Port(port(1, 0), "one".to_owned())]);
        for &(at, len) in frames {
            give(&mut capture, &[frame_at(at, len)]);
        }
        capture.finish(&totals()[..1]).unwrap();
        let names = names(&directory);
        let mut left = Vec::new();
        for (index, name) in names.iter().enumerate() {
            let path = directory.path().join(name);
            if let FileLimit::Bytes(limit) = limit {
                let statistics = 88;
                let len = path.metadata().unwrap().len();
                let is_alone = contents(&path).1.len() == 1;
                assert!(len <= limit + statistics || is_alone, "{name} has {len} bytes");
            }
            let (ports, frames, end) = contents(&path);
            assert_eq!(ports, ["one"], "{name}");
            let is_last = index + 1 == names.len();
            assert_eq!(matches!(end, Progress::Ended(_)), is_last, "{name}");
            left.push(frames);
        }
        left
    }

    /// Bytes of the header and port 1 as `one`.
    fn beginning() -> u64 {
        let mut capture = PcapNg::new(Vec::new(), SNAPLEN).unwrap();
        give(&mut capture, &[Owned::Port(port(1, 0), "one".to_owned())]);
        capture.get_ref().len() as u64
    }

    #[test]
    fn a_file_holds_the_capture_and_is_for_its_owner_alone() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("cap.pcapng");
        let mut capture = Files::create(&path, Format::Pcapng, SNAPLEN, None).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        give(&mut capture, &records());
        capture.finish(&totals()).unwrap();
        let (ports, frames, end) = contents(&path);
        assert_eq!(ports, ["port 1 daemon", "port 2", "port 2"]);
        assert_eq!(frames, [123, 123, 1123]);
        assert_eq!(end, Progress::Ended(totals()));
    }

    #[test]
    fn what_was_flushed_can_be_read_while_the_capture_goes_on() {
        let directory = TempDir::new().unwrap();
        for (name, format) in [("cap.pcapng", Format::Pcapng), ("cap.pcap", Format::Pcap)] {
            let path = directory.path().join(name);
            let mut capture = Files::create(&path, format, SNAPLEN, None).unwrap();
            let header = path.metadata().unwrap().len();
            assert!(header > 0);
            give(&mut capture, &records());
            capture.flush().unwrap();
            assert_eq!(path.metadata().unwrap().len(), capture.file.len());
            assert!(capture.file.len() > header);
        }
    }

    #[test]
    fn a_file_of_ours_is_overwritten_and_keeps_its_mode() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("cap.pcap");
        fs::write(&path, vec![0; 10_000]).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        Files::create(&path, Format::Pcap, SNAPLEN, None).unwrap().finish(&[]).unwrap();
        assert_eq!(fs::read(&path).unwrap().len(), 24);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o640);
    }

    #[test]
    fn the_files_of_a_ring_are_numbered_and_dated() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("my.cap.pcapng");
        let one_each = Ring { files: 2, limit: FileLimit::Bytes(1) };
        let mut capture = Files::create(&path, Format::Pcapng, SNAPLEN, Some(one_each)).unwrap();
        give(&mut capture, &[Owned::Port(port(1, 0), "one".to_owned())]);
        give(&mut capture, &[frame_at(0, 60), frame_at(1000, 60), frame_at(2000, 60)]);
        let t = sys::local_time(START.as_secs() + 1);
        let second = format!(
            "my.cap_00002_{}{:02}{:02}{:02}{:02}01.pcapng",
            t.year, t.month, t.day, t.hour, t.minute
        );
        let third = second.replace("_00002_", "_00003_").replace("01.pcapng", "02.pcapng");
        assert_eq!(names(&directory), [second, third.clone()]);
        assert_eq!(capture.path(), directory.path().join(third));
    }

    #[test]
    fn a_file_of_a_ring_never_exceeds_its_size_but_for_one_frame() {
        let two = beginning() + 2 * PcapNg::<Vec<u8>>::frame_len(60);
        let frames = [(0, 60), (1, 60), (2, 60), (3, 60), (4, 5000), (5, 60), (6, 60), (7, 60)];
        let whole = vec![vec![0, 1], vec![2, 3], vec![4], vec![5, 6], vec![7]];
        assert_eq!(ring(10, FileLimit::Bytes(two), &frames), whole);
        assert_eq!(ring(10, FileLimit::Bytes(two + 1), &frames), whole);
        let alone: Vec<_> = (0..8).map(|frame| vec![frame]).collect();
        assert_eq!(ring(10, FileLimit::Bytes(two - 1), &frames), alone);
        assert_eq!(ring(10, FileLimit::Bytes(1), &frames), alone);
        assert_eq!(ring(2, FileLimit::Bytes(two), &frames), whole[3..]);
        assert_eq!(ring(1, FileLimit::Bytes(two), &frames), whole[4..]);
    }

    #[test]
    fn a_file_of_a_ring_holds_its_time_by_the_frames_clock() {
        let second = FileLimit::Time(Duration::from_secs(1));
        let each = |frames: &[u64]| {
            ring(10, second, &frames.iter().map(|&at| (at, 60)).collect::<Vec<_>>())
        };
        assert_eq!(each(&[0, 999, 1000, 1999, 2000]), [vec![0, 999], vec![1000, 1999], vec![2000]]);
        // Nothing for a while makes no empty files.
        assert_eq!(each(&[0, 90_000]), [vec![0], vec![90_000]]);
        // The file's time counts anew from where the clock was set back to.
        assert_eq!(each(&[5000, 0, 999, 1000]), [vec![5000, 0, 999], vec![1000]]);
        assert_eq!(each(&[5000, 4500, 5499, 5500]), [vec![5000, 4500, 5499], vec![5500]]);
    }

    #[test]
    fn each_file_of_a_ring_has_the_ports_of_then() {
        let directory = TempDir::new().unwrap();
        let one_each = Some(Ring { files: 9, limit: FileLimit::Bytes(1) });
        let path = directory.path().join("cap");
        let mut capture = Files::create(&path, Format::Pcapng, SNAPLEN, one_each).unwrap();
        let named =
            |number, generation, name: &str| Owned::Port(port(number, generation), name.into());
        give(&mut capture, &[named(1, 0, "one"), frame_at(0, 60), named(2, 0, "two")]);
        give(&mut capture, &[frame_at(1, 60), named(2, 1, "another"), frame_at(2, 60)]);
        capture.finish(&totals()).unwrap();
        let of = |name: &String| contents(&directory.path().join(name));
        let files: Vec<_> = names(&directory).iter().map(of).collect();
        assert_eq!(files[0].0, ["one", "two"]);
        assert_eq!(files[1].0, ["one", "two", "another"]);
        // Port 2 of before has gone, but its totals are known in the end.
        assert_eq!(files[2].0, ["one", "another", "port 2"]);
        let Progress::Ended(mut ended) = files[2].2.clone() else { panic!("{:?}", files[2].2) };
        ended.sort_by_key(|of| of.port);
        assert_eq!(ended, totals());
    }

    #[test]
    fn a_file_that_was_moved_away_is_not_missed() {
        let directory = TempDir::new().unwrap();
        let one_each = Some(Ring { files: 1, limit: FileLimit::Bytes(1) });
        let path = directory.path().join("cap");
        let mut capture = Files::create(&path, Format::Pcap, SNAPLEN, one_each).unwrap();
        give(&mut capture, &[frame_at(0, 60)]);
        fs::rename(capture.path(), directory.path().join("kept")).unwrap();
        give(&mut capture, &[frame_at(1, 60), frame_at(2, 60)]);
        assert_eq!(names(&directory).len(), 2);
    }

    #[test]
    fn errors_name_the_file() {
        let directory = TempDir::new().unwrap();
        let missing = directory.path().join("no/such/cap.pcapng");
        for (path, kind) in [
            (missing.as_path(), io::ErrorKind::NotFound),
            (Path::new("/dev/full"), io::ErrorKind::StorageFull),
            (directory.path(), io::ErrorKind::IsADirectory),
        ] {
            let error = Files::create(path, Format::Pcapng, SNAPLEN, None).err().unwrap();
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().starts_with(path.to_str().unwrap()), "{error}");
        }
        let gone = directory.path().join("ring");
        fs::create_dir(&gone).unwrap();
        let one_each = Some(Ring { files: 1, limit: FileLimit::Bytes(1) });
        let mut capture =
            Files::create(&gone.join("cap"), Format::Pcap, SNAPLEN, one_each).unwrap();
        fs::remove_dir_all(&gone).unwrap();
        give(&mut capture, &[frame_at(0, 60)]);
        let error = capture.record(frame_at(1, 60).record()).unwrap_err();
        assert!(error.to_string().contains("/ring/cap_00002_"), "{error}");
    }

    #[test]
    fn nobody_else_says_where_a_capture_goes() {
        let directory = TempDir::new().unwrap();
        let victim = directory.path().join("victim");
        fs::write(&victim, "precious").unwrap();
        let path = directory.path().join("cap.pcapng");
        let refused = || {
            let refused = Files::create(&path, Format::Pcapng, SNAPLEN, None).err().unwrap();
            assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied, "{refused}");
            assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
            fs::remove_file(&path).unwrap();
            refused.to_string()
        };
        symlink(&victim, &path).unwrap();
        assert!(refused().contains("symbolic link"));
        fs::hard_link(&victim, &path).unwrap();
        assert!(refused().contains("second name"));
        if nix::unistd::geteuid().is_root() {
            fs::write(&path, "").unwrap();
            std::os::unix::fs::chown(&path, Some(65_534), None).unwrap();
            assert!(refused().contains("belongs to uid 65534"));
        }
    }

    #[test]
    fn a_pipe_that_nobody_reads_does_not_hold_up_the_start() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("pipe");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let error = Files::create(&path, Format::Pcap, SNAPLEN, None).err().unwrap();
        assert!(error.to_string().ends_with("nobody reads this pipe yet"), "{error}");
        let reader = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&path);
        let reader = reader.unwrap();
        let mut capture = Files::create(&path, Format::Pcap, SNAPLEN, None).unwrap();
        capture.finish(&[]).unwrap();
        let mut header = [0; 24];
        io::Read::read_exact(&mut &reader, &mut header).unwrap();
        assert_eq!(header[..4], [0x4d, 0x3c, 0xb2, 0xa1]);
    }
}
