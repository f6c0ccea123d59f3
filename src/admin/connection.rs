//! One connection to the admin socket, on a thread of its own: a request, and what it asks for.

use std::fmt;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, recv};
use serde::Serialize;
use tracing::{debug, info};

use super::crew::{Crew, MAX_BUFFERS, Shift};
use super::file;
use super::protocol::{Begun, MAX_REQUEST, Port, Ports, Reply, Request, Written};
use crate::event_loop::{Handle, PortInfo, RequestError};
use crate::mirror::sink::{Format, Sink};
use crate::mirror::{BUFFERS, CaptureSpec, LOOK_SELDOM, PortTotals, State, Tail};
use crate::sys::Peer;

/// Serves the client of `stream` until it has what it asked for.
pub(super) fn serve(stream: &UnixStream, peer: Peer, handle: &Handle, shift: &Shift) {
    let Peer { uid, pid } = peer;
    if let Err(error) = answer(stream, peer, handle, shift) {
        debug!(uid, pid, %error, "administrator gone");
    }
}

/// Says why nothing is done for the client of `stream`, if that can be said at once.
pub(super) fn refuse(stream: &UnixStream, why: &str) {
    // The buffer of a new connection is empty, so this does not wait; and who has gone is gone.
    let _ = reply(stream, &Reply::<Begun>::Error(why.to_owned()));
}

fn answer(stream: &UnixStream, peer: Peer, handle: &Handle, shift: &Shift) -> io::Result<()> {
    stream.set_write_timeout(Some(PATIENCE))?;
    let request = match read_request(stream, shift.crew()) {
        Ok(request) => request,
        Err(Unread::Io(error)) => return Err(error),
        Err(Unread::Wrong(why)) => return reply(stream, &Reply::<Begun>::Error(why)),
    };
    match request {
        Request::Ports {} => match handle.ports() {
            Ok(ports) => {
                let ports = ports.into_iter().map(Port::from).collect();
                reply(stream, &Reply::Ok(Ports { ports }))
            }
            Err(error) => reply(stream, &Reply::<Ports>::Error(chain(error))),
        },
        Request::Capture { spec, file } => {
            capture(stream, peer, (spec, file), handle, shift.crew())
        }
    }
}

fn capture(
    stream: &UnixStream,
    peer: Peer,
    (spec, file): (CaptureSpec, Option<Format>),
    handle: &Handle,
    crew: &Arc<Crew>,
) -> io::Result<()> {
    let refuse = |why: String| reply(stream, &Reply::<Begun>::Error(why));
    // One that is out of bounds is refused by the loop's side, and needs no room here.
    let bytes = if BUFFERS.contains(&spec.buffer) { spec.buffer } else { 0 };
    let Some(_reserved) = crew.reserve(bytes) else {
        return refuse(format!(
            "the buffers of all captures together have at most {MAX_BUFFERS} bytes"
        ));
    };
    let snaplen = spec.snaplen;
    let tail = match handle.capture(spec) {
        Ok(tail) => tail,
        Err(error) => return refuse(chain(error)),
    };
    reply(stream, &Reply::Ok(Begun {}))?;
    match file {
        None => give(stream, peer, tail, snaplen),
        Some(format) => {
            let patience = Patience::new(stream, crew)?;
            match file::receive(stream, &patience, format, snaplen) {
                Ok(sink) => write_file(stream, peer, tail, sink),
                Err(Unread::Io(error)) => Err(error),
                Err(Unread::Wrong(why)) => refuse(why),
            }
        }
    }
}

/// Gives the client what `tail` has.
fn give(stream: &UnixStream, peer: Peer, mut tail: Tail, snaplen: u32) -> io::Result<()> {
    log_start(peer);
    // Whoever reads a capture may take a break: frames are dropped meanwhile, and counted.
    stream.set_write_timeout(None)?;
    let begun = Format::Pcapng.begin(stream, snaplen);
    let written = begun.and_then(|mut sink| write_capture(stream, &mut tail, sink.as_mut()));
    log_end(peer, &written, tail);
    Ok(())
}

/// Writes what `tail` has into the client's file, and tells the client how that went.
fn write_file(
    stream: &UnixStream,
    peer: Peer,
    mut tail: Tail,
    mut sink: Box<dyn Sink>,
) -> io::Result<()> {
    log_start(peer);
    // Who does not listen learns it from the file.
    let told = reply(stream, &Reply::Ok(Begun {}));
    let written = write_capture(stream, &mut tail, sink.as_mut());
    // Who is told has the file for itself.
    drop(sink);
    let totals = log_end(peer, &written, tail);
    told?;
    let error = written.err().map(|error| error.to_string());
    reply(stream, &Reply::Ok(Written { error, ..totals }))
}

/// Writes what `tail` gives to `sink`, until the capture ends or the client wants no more.
fn write_capture(
    stream: &UnixStream,
    tail: &mut Tail,
    sink: &mut dyn Sink,
) -> io::Result<Vec<PortTotals>> {
    let mut stopping = false;
    loop {
        let state = tail.read(LOOK_AT_CLIENT, |record| sink.record(record))?;
        if let State::Ended(totals) = state {
            sink.finish(&totals)?;
            return Ok(totals);
        }
        sink.flush()?;
        if !stopping && has_hung_up(stream) {
            tail.stop();
            stopping = true;
        }
    }
}

fn log_start(Peer { uid, pid }: Peer) {
    info!(uid, pid, "capture started");
}

/// Says in the log how a capture went whose frames were `written`, or not to the end, and returns what
/// it says but for the error.
pub(super) fn log_end(
    Peer { uid, pid }: Peer,
    written: &io::Result<Vec<PortTotals>>,
    mut tail: Tail,
) -> Written {
    let rest;
    let (totals, error) = match written {
        Ok(totals) => (totals, None),
        Err(error) => {
            tail.stop();
            // What is left is for nobody.
            rest = read_away(&mut tail);
            (&rest, Some(tracing::field::display(error)))
        }
    };
    let sum = |field: fn(&PortTotals) -> u64| totals.iter().map(field).sum::<u64>();
    let (captured, filtered) = (sum(|port| port.captured), sum(|port| port.filtered));
    let dropped = sum(|port| port.dropped);
    info!(uid, pid, captured, filtered, dropped, error, "capture ended");
    Written { captured, filtered, dropped, error: None }
}

/// The totals of a capture whose records nobody wants any more.
fn read_away(tail: &mut Tail) -> Vec<PortTotals> {
    let deadline = Instant::now() + LOOP_ANSWERS;
    while Instant::now() < deadline {
        if let Ok(State::Ended(totals)) = tail.read(LOOK_AT_CLIENT, |_| Ok(())) {
            return totals;
        }
    }
    Vec::new()
}

/// True once the client has ended its side. What it says before is read and forgotten.
pub(super) fn has_hung_up(stream: &UnixStream) -> bool {
    let mut asked = [PollFd::new(stream.as_fd(), PollFlags::POLLIN)];
    for _ in 0..READS_AT_A_TIME {
        if !matches!(poll(&mut asked, PollTimeout::ZERO), Ok(1)) {
            return false;
        }
        match recv(stream.as_raw_fd(), &mut [0; 4096], MsgFlags::MSG_DONTWAIT) {
            Ok(0) => return true,
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return error != Errno::EAGAIN,
        }
    }
    false
}

/// Why there is nothing of what was waited for.
pub(super) enum Unread {
    /// The client has gone, or is not there for us any more.
    Io(io::Error),
    /// What it says is none.
    Wrong(String),
}

/// How long a client is waited for.
pub(super) struct Patience<'a> {
    crew: &'a Crew,
    until: Instant,
}

impl<'a> Patience<'a> {
    fn new(stream: &UnixStream, crew: &'a Crew) -> io::Result<Self> {
        stream.set_read_timeout(Some(LOOK_AT_END))?;
        Ok(Patience { crew, until: Instant::now() + PATIENCE })
    }

    /// Calls `read` for `what` until there is something.
    pub(super) fn read<T>(
        &self,
        what: &str,
        mut read: impl FnMut() -> io::Result<T>,
    ) -> Result<T, Unread> {
        loop {
            // Asked each time: who says a little now and then is not waited for without end either.
            if self.crew.is_closing() {
                return Err(Unread::Wrong("the switch is ending".to_owned()));
            }
            if Instant::now() >= self.until {
                return Err(Unread::Wrong(format!("no {what} within {} s", PATIENCE.as_secs())));
            }
            match read() {
                Err(error)
                    if error.kind() == io::ErrorKind::WouldBlock
                        || error.kind() == io::ErrorKind::Interrupted => {}
                result => return result.map_err(Unread::Io),
            }
        }
    }
}

/// Reads the one line of a request.
fn read_request(mut stream: &UnixStream, crew: &Crew) -> Result<Request, Unread> {
    let mut line = Vec::new();
    let mut buffer = [0; 4096];
    let patience = Patience::new(stream, crew).map_err(Unread::Io)?;
    loop {
        let len = patience.read("request", || stream.read(&mut buffer))?;
        let end = buffer[..len].iter().position(|&byte| byte == b'\n');
        line.extend_from_slice(&buffer[..end.unwrap_or(len)]);
        if len == 0 {
            return Err(Unread::Io(io::ErrorKind::UnexpectedEof.into()));
        }
        if line.len() > MAX_REQUEST {
            return Err(Unread::Wrong(format!("a request has {MAX_REQUEST} bytes at most")));
        }
        if end.is_some() {
            return understand(&line);
        }
    }
}

fn understand(line: &[u8]) -> Result<Request, Unread> {
    serde_json::from_slice(line)
        .map_err(|error| Unread::Wrong(format!("not a request that is known here: {error}")))
}

fn reply<T: Serialize>(mut stream: &UnixStream, reply: &Reply<T>) -> io::Result<()> {
    let mut line = serde_json::to_vec(reply)?;
    line.push(b'\n');
    stream.write_all(&line)
}

fn chain(error: RequestError) -> String {
    format!("{:#}", anyhow::Error::from(error))
}

impl From<PortInfo> for Port {
    fn from(port: PortInfo) -> Self {
        let PortInfo { number, name, kind, owner, description, counters } = port;
        let (kind, description) = (kind.to_owned(), description.unwrap_or_default());
        Port { number, name, kind, owner, description, counters }
    }
}

impl fmt::Debug for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unread::Io(error) => error.fmt(f),
            Unread::Wrong(why) => f.write_str(why),
        }
    }
}

/// How long a client may take for its request, and to read a reply.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who talks without end does not keep us from what is to be done.
const READS_AT_A_TIME: usize = 16;

/// A loop that runs ends a capture within a turn.
const LOOP_ANSWERS: Duration = Duration::from_secs(1);

/// How late a thread that waits for a request sees that the switch is ending.
const LOOK_AT_END: Duration = Duration::from_millis(100);

/// How late a capture without frames sees that its client wants no more: as late as it may see a frame
/// then, so that it does not wake up for the one and for the other.
pub(super) const LOOK_AT_CLIENT: Duration = LOOK_SELDOM;
