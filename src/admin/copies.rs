//! Copies of all frames for a client that asked for them on the control socket, as Netkit's
//! `uml_dump` does: each frame is one datagram to the client's data socket, for as long as its
//! control connection is open.
//!
//! The client is told an address as if it had a port, and nothing else ever: `uml_dump` takes any
//! other byte for an error. What it sends is read and forgotten.

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixDatagram, UnixStream};

use nix::sys::socket::{MsgFlags, recv};
use tracing::{debug, info, warn};

use super::connection::{LOOK_AT_CLIENT, has_hung_up, log_end};
use super::crew::Shift;
use crate::control::{Connection, CopyRequest};
use crate::event_loop::Handle;
use crate::mirror::{CaptureSpec, DEFAULT_BUFFER, PortTotals, Record, State, Tail};
use crate::sys::Peer;

/// Serves `request` until its client has gone or the switch ends.
pub(super) fn serve(request: &CopyRequest, handle: &Handle, shift: &Shift) {
    let Peer { uid, pid } = request.connection.peer;
    let Some(_reserved) = shift.crew().reserve(DEFAULT_BUFFER) else {
        warn!(uid, pid, "no copies of frames: the buffers of other captures take all room");
        return;
    };
    let mut tail = match handle.capture(CaptureSpec::default()) {
        Ok(tail) => tail,
        Err(error) => {
            warn!(uid, pid, %error, "no copies of frames");
            return;
        }
    };
    let begun = begin(request);
    if let Err(error) = begun {
        debug!(uid, pid, %error, "client gone before it had copies of frames");
        return;
    }
    info!(uid, pid, client = %request.client, "capture started");
    let copied = copy(request, &mut tail);
    log_end(request.connection.peer, &copied, tail);
}

/// Connects the data socket to the client's and gives the reply.
fn begin(request: &CopyRequest) -> io::Result<()> {
    let CopyRequest { connection: Connection { stream, data, .. }, address, client } = request;
    data.connect_addr(&client.to_socket_addr()?)?;
    data.set_nonblocking(false)?;
    data.set_write_timeout(Some(LOOK_AT_CLIENT))?;
    stream.set_nonblocking(false)?;
    // It always fits: the buffer of a new connection is empty.
    io::Write::write_all(&mut &*stream, address)
}

fn copy(request: &CopyRequest, tail: &mut Tail) -> io::Result<Vec<PortTotals>> {
    let Connection { stream, data, .. } = &request.connection;
    let mut stopping = false;
    loop {
        let state = tail.read(LOOK_AT_CLIENT, |record| match record {
            Record::Frame(frame) => send(data, stream, frame.bytes),
            Record::Port { .. } => Ok(()),
        })?;
        if let State::Ended(totals) = state {
            return Ok(totals);
        }
        forget_what_came(data);
        if !stopping && has_hung_up(stream) {
            tail.stop();
            stopping = true;
        }
    }
}

/// Sends a frame, and waits for as long as the client does not read but is there: meanwhile the
/// buffer fills, and what does not fit there is dropped and counted.
fn send(data: &UnixDatagram, stream: &UnixStream, frame: &[u8]) -> io::Result<()> {
    loop {
        match data.send(frame) {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if has_hung_up(stream) {
                    return Err(io::ErrorKind::ConnectionReset.into());
                }
                forget_what_came(data);
            }
            Err(error) => return Err(error),
        }
    }
}

fn forget_what_came(data: &UnixDatagram) {
    for _ in 0..FORGOTTEN_AT_A_TIME {
        if recv(data.as_raw_fd(), &mut [0], MsgFlags::MSG_DONTWAIT).is_err() {
            return;
        }
    }
}

const FORGOTTEN_AT_A_TIME: usize = 512;
