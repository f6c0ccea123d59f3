//! One connection to the admin socket, on a thread of its own: a request, and what it asks for.

use std::fmt;
use std::io::{self, BufWriter, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, recv};
use serde::Serialize;
use tracing::{debug, info};

use super::crew::{Crew, MAX_BUFFERS, Shift};
use super::protocol::{Begun, MAX_REQUEST, Port, Ports, Reply, Request};
use crate::event_loop::{Handle, PortInfo, RequestError};
use crate::mirror::sink::{BUFFER, PcapNg, Sink};
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
        Request::Capture { spec } => capture(stream, peer, spec, handle, shift.crew()),
    }
}

fn capture(
    stream: &UnixStream,
    peer: Peer,
    spec: CaptureSpec,
    handle: &Handle,
    crew: &std::sync::Arc<Crew>,
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
    let mut tail = match handle.capture(spec) {
        Ok(tail) => tail,
        Err(error) => return refuse(chain(error)),
    };
    let Peer { uid, pid } = peer;
    info!(uid, pid, "capture started");
    reply(stream, &Reply::Ok(Begun {}))?;
    // Whoever reads a capture may take a break: frames are dropped meanwhile, and counted.
    stream.set_write_timeout(None)?;
    let written = write_capture(stream, &mut tail, snaplen);
    log_end(peer, written, tail);
    Ok(())
}

/// Writes what `tail` gives to the client, until the capture ends or the client wants no more.
fn write_capture(
    stream: &UnixStream,
    tail: &mut Tail,
    snaplen: u32,
) -> io::Result<Vec<PortTotals>> {
    let mut sink = PcapNg::new(BufWriter::with_capacity(BUFFER, stream), snaplen)?;
    sink.flush()?;
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

/// Says in the log how a capture went whose frames were `written`, or not to the end.
pub(super) fn log_end(peer: Peer, written: io::Result<Vec<PortTotals>>, mut tail: Tail) {
    let (totals, error) = match written {
        Ok(totals) => (totals, None),
        Err(error) => {
            tail.stop();
            // What is left is for nobody.
            (read_away(&mut tail), Some(error))
        }
    };
    let error = error.map(tracing::field::display);
    let sum = |field: fn(&PortTotals) -> u64| totals.iter().map(field).sum::<u64>();
    let (captured, filtered) = (sum(|port| port.captured), sum(|port| port.filtered));
    let dropped = sum(|port| port.dropped);
    let Peer { uid, pid } = peer;
    info!(uid, pid, captured, filtered, dropped, error, "capture ended");
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

/// Why there is no request.
enum Unread {
    /// The client has gone, or is not there for us any more.
    Io(io::Error),
    /// What it says is none.
    Wrong(String),
}

/// Reads the one line of a request.
fn read_request(mut stream: &UnixStream, crew: &Crew) -> Result<Request, Unread> {
    stream.set_read_timeout(Some(LOOK_AT_END)).map_err(Unread::Io)?;
    let deadline = Instant::now() + PATIENCE;
    let mut line = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Err(Unread::Io(io::ErrorKind::UnexpectedEof.into())),
            Ok(len) => {
                let end = buffer[..len].iter().position(|&byte| byte == b'\n');
                line.extend_from_slice(&buffer[..end.unwrap_or(len)]);
                if line.len() > MAX_REQUEST {
                    return Err(Unread::Wrong(format!(
                        "a request has {MAX_REQUEST} bytes at most"
                    )));
                }
                if end.is_some() {
                    return understand(&line);
                }
            }
            Err(error)
                if error.kind() == io::ErrorKind::WouldBlock
                    || error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Unread::Io(error)),
        }
        if crew.is_closing() {
            return Err(Unread::Wrong("the switch is ending".to_owned()));
        }
        if Instant::now() >= deadline {
            return Err(Unread::Wrong(format!("no request within {} s", PATIENCE.as_secs())));
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
