//! The side of the admin socket that asks.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, IoSlice, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::socket::sockopt::PeerCredentials;
use nix::sys::socket::{ControlMessage, MsgFlags, getsockopt, sendmsg};
use serde::de::DeserializeOwned;

use super::control_of;
use super::protocol::{Begun, Port, Ports, Reply, Request, Written};
use crate::mirror::CaptureSpec;
use crate::mirror::sink::Format;

/// Why a switch cannot be asked, or does not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody is there.
    #[error("no switch answers at {}", .path.display())]
    NoSwitch {
        /// The path of the admin socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The path is somebody else's.
    #[error(
        "the switch at {} does not let you: its admin socket is for root and its own user",
        .0.display()
    )]
    Denied(PathBuf),
    /// It is not the switch that the control socket belongs to.
    #[error(
        "uid {uid} serves {}, who is neither root nor the owner of {}: not asking",
        .path.display(),
        .control.display()
    )]
    Impostor {
        /// The path of the admin socket.
        path: PathBuf,
        /// Who serves it.
        uid: u32,
        /// The path of the control socket that it is named after.
        control: PathBuf,
    },
    /// It does not want to.
    #[error("the switch refuses: {0}")]
    Refused(String),
    /// The connection has ended or takes too long.
    #[error("the switch at {} does not reply", .path.display())]
    NoReply {
        /// The path of the admin socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Perhaps it is another program.
    #[error("what answers at {} is no switch of this version", .path.display())]
    NotUnderstood {
        /// The path of the admin socket.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
}

/// The switch with an admin socket at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    path: PathBuf,
}

impl Client {
    /// The switch whose admin socket is at `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Client { path: path.into() }
    }

    /// The path of the admin socket.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The ports that are open, by number.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn ports(&self) -> Result<Vec<Port>, ClientError> {
        let stream = self.ask(&Request::Ports {})?;
        let mut reply = Vec::new();
        // Not to the end: a switch that hangs up on what we have said resets the connection.
        BufReader::new(stream)
            .read_until(b'\n', &mut reply)
            .map_err(|source| self.no_reply(source))?;
        let Ports { ports } = self.understand(&reply)?;
        Ok(ports)
    }

    /// Begins a capture, which the stream that is returned gives as pcapng. It ends when the writing
    /// side of the stream is shut down, and then gives its statistics and ends.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn capture(&self, spec: &CaptureSpec) -> Result<UnixStream, ClientError> {
        let stream = self.ask(&Request::Capture { spec: spec.clone(), file: None })?;
        let Begun {} = self.reply_on(&stream)?;
        // From here on silence is no fault.
        stream.set_read_timeout(None).map_err(|source| self.no_reply(source))?;
        Ok(stream)
    }

    /// Begins a capture that the switch itself is to write into a file, which it waits for.
    ///
    /// # Errors
    /// [`ClientError`]; a switch of an earlier version refuses.
    pub fn capture_into_file(
        &self,
        spec: &CaptureSpec,
        format: Format,
    ) -> Result<FileCapture, ClientError> {
        let stream = self.ask(&Request::Capture { spec: spec.clone(), file: Some(format) })?;
        let Begun {} = self.reply_on(&stream)?;
        Ok(FileCapture { client: self.clone(), stream })
    }

    fn ask(&self, request: &Request) -> Result<UnixStream, ClientError> {
        let path = || self.path.clone();
        let mut stream = UnixStream::connect(&self.path).map_err(|source| match source.kind() {
            io::ErrorKind::PermissionDenied => ClientError::Denied(path()),
            _ => ClientError::NoSwitch { path: path(), source },
        })?;
        self.check_server(&stream)?;
        let line = serde_json::to_string(request)
            .map_err(|source| ClientError::NotUnderstood { path: path(), source })?;
        stream
            .set_read_timeout(Some(PATIENCE))
            .and_then(|()| stream.set_write_timeout(Some(PATIENCE)))
            .map_err(|source| self.no_reply(source))?;
        match stream.write_all(format!("{line}\n").as_bytes()) {
            // It has refused without listening, and the reply says why.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            result => result.map_err(|source| self.no_reply(source))?,
        }
        Ok(stream)
    }

    /// In a directory such as /tmp anybody may have taken the name before the switch did. Who runs the
    /// switch has its control socket too.
    fn check_server(&self, stream: &UnixStream) -> Result<(), ClientError> {
        let Some(control) = control_of(&self.path) else { return Ok(()) };
        let server = getsockopt(stream, PeerCredentials);
        let uid = server.map_err(|error| self.no_reply(error.into()))?.uid();
        let owner = fs::metadata(&control).ok().map(|control| control.uid());
        if uid == ROOT || uid == nix::unistd::geteuid().as_raw() || owner == Some(uid) {
            return Ok(());
        }
        Err(ClientError::Impostor { path: self.path.clone(), uid, control })
    }

    fn reply_on<T: DeserializeOwned>(&self, stream: &UnixStream) -> Result<T, ClientError> {
        let reply = read_line(stream).map_err(|source| self.no_reply(source))?;
        self.understand(&reply)
    }

    fn understand<T: DeserializeOwned>(&self, reply: &[u8]) -> Result<T, ClientError> {
        if reply.is_empty() {
            return Err(self.no_reply(io::ErrorKind::UnexpectedEof.into()));
        }
        match serde_json::from_slice(reply) {
            Ok(Reply::Ok(reply)) => Ok(reply),
            Ok(Reply::Error(why)) => Err(ClientError::Refused(why)),
            Err(source) => Err(ClientError::NotUnderstood { path: self.path.clone(), source }),
        }
    }

    fn no_reply(&self, source: io::Error) -> ClientError {
        ClientError::NoReply { path: self.path.clone(), source }
    }
}

/// A capture that the switch writes into a file.
#[derive(Debug)]
pub struct FileCapture {
    client: Client,
    stream: UnixStream,
}

impl FileCapture {
    /// Hands over `file`: a regular one, open for writing, empty. The capture has begun in it then.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn give(&self, file: &File) -> Result<(), ClientError> {
        let no_reply = |source| self.client.no_reply(source);
        let descriptors = [file.as_raw_fd()];
        let control = [ControlMessage::ScmRights(&descriptors)];
        let byte = [IoSlice::new(b"\n")];
        sendmsg::<()>(self.stream.as_raw_fd(), &byte, &control, MsgFlags::MSG_NOSIGNAL, None)
            .map_err(|error| no_reply(error.into()))?;
        let Begun {} = self.client.reply_on(&self.stream)?;
        // From here on silence is no fault.
        self.stream.set_read_timeout(None).map_err(no_reply)
    }

    /// The connection: shut down for writing, it ends the capture.
    pub fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// [`ClientError::NoReply`] of the kind `UnexpectedEof` if the switch has gone without a word.
    pub fn end(&self) -> Result<Written, ClientError> {
        self.client.reply_on(&self.stream)
    }
}

/// Reads a line and not one byte of what follows it.
fn read_line(mut stream: &UnixStream) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    let mut byte = [0];
    while line.len() < MAX_LINE {
        match stream.read(&mut byte) {
            Ok(1) if byte != *b"\n" => line.push(byte[0]),
            Ok(_) => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(line)
}

const ROOT: u32 = 0;

/// How long the switch may take to reply: it does so within a turn of its loop.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes of a reply before a capture.
const MAX_LINE: usize = 64 << 10;
