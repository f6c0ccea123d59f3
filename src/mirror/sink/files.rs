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

use super::{BUFFER, FileLimit, Pcap, PcapNg, Ring, Sink};
use crate::core::PortId;
use crate::mirror::{PortTotals, Record};
use crate::sys;

/// What the files of a capture look like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
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
    /// The file cannot be opened, is refused (see the [module](self)), or cannot be written.
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

impl Format {
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
    if found.uid() != us && found.uid() != ROOT {
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
