//! A guest as its kernel speaks, for programs that try a switch out.
//!
//! A client of the `daemon` transport: an abstract data socket, a version 3 request, and one datagram
//! for each frame. A kernel sends with an unconnected `sendto` of all 110 bytes of the switch's
//! address, and so does [`Client`] unless it is told to [`Client::attach`] itself.

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::control::SOCKADDR_LEN;

/// One guest's port.
#[derive(Debug)]
pub struct Client {
    socket: UnixDatagram,
    /// The port lives as long as this is open.
    control: UnixStream,
    switch: SocketAddr,
    attached: bool,
    mac: Mac,
}

/// A station's address.
pub type Mac = [u8; 6];

/// All stations.
pub const BROADCAST: Mac = [0xff; 6];

/// Why there is no port.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// A data socket cannot be had.
    #[error("cannot make a data socket")]
    Socket(#[source] io::Error),
    /// Nobody serves the control socket.
    #[error("cannot reach the switch at {path}")]
    Unreachable {
        /// The control socket.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// The switch took no request, hung up, or was silent for seconds.
    #[error("the switch gives no port")]
    NoPort(#[source] io::Error),
    /// The switch's answer is no address.
    #[error("no address in the switch's reply")]
    Reply,
}

/// The address of the guest numbered `n`.
pub fn mac(n: u32) -> Mac {
    let [a, b, c, d] = n.to_be_bytes();
    [2, 0, a, b, c, d]
}

/// A frame of `len` bytes, 14 or more, of a type for experiments, zeroes behind its header.
pub fn frame(to: Mac, from: Mac, len: usize) -> Vec<u8> {
    let mut frame = vec![0; len.max(14)];
    frame[..6].copy_from_slice(&to);
    frame[6..12].copy_from_slice(&from);
    frame[12..14].copy_from_slice(&EXPERIMENTAL.to_be_bytes());
    frame
}

impl Client {
    /// Gets a port for the guest with the address `mac` from whoever serves the socket `control`. The
    /// data socket blocks for as long as [`PATIENCE`], both ways.
    ///
    /// # Errors
    /// When there is no socket to be had, nobody serves, or no port is given.
    pub fn connect(control: &Path, mac: Mac) -> Result<Client, ClientError> {
        let name = data_name();
        let socket = data_socket(&name).map_err(ClientError::Socket)?;
        let mut stream = UnixStream::connect(control)
            .map_err(|source| ClientError::Unreachable { path: control.to_owned(), source })?;
        let reply = ask(&mut stream, &name).map_err(ClientError::NoPort)?;
        let switch = address(&reply).ok_or(ClientError::Reply)?;
        Ok(Client { socket, control: stream, switch, attached: false, mac })
    }

    /// Connects the data socket to the switch's address, so that its readiness tells whether there is
    /// room for another frame.
    ///
    /// # Errors
    /// Those of `connect(2)`.
    pub fn attach(&mut self) -> io::Result<()> {
        self.socket.connect_addr(&self.switch)?;
        self.attached = true;
        Ok(())
    }

    /// Its station.
    pub fn mac(&self) -> Mac {
        self.mac
    }

    /// Its data socket, to be asked whether frames have come.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Its control connection, which is readable when the switch has ended the port.
    pub fn control(&self) -> BorrowedFd<'_> {
        self.control.as_fd()
    }

    /// Lets neither sending nor receiving wait, or both again.
    ///
    /// # Errors
    /// Those of `ioctl(2)`.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.socket.set_nonblocking(nonblocking)
    }

    /// How long [`Client::receive`] waits; not zero.
    ///
    /// # Errors
    /// `InvalidInput` for zero.
    pub fn set_patience(&self, patience: Duration) -> io::Result<()> {
        self.socket.set_read_timeout(Some(patience))
    }

    /// Sends one frame, as it is.
    ///
    /// # Errors
    /// `WouldBlock` when there was no room in time; else those of `send(2)`: `ConnectionRefused` when
    /// the switch is gone.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        loop {
            let result = if self.attached {
                self.socket.send(frame)
            } else {
                self.socket.send_to_addr(frame, &self.switch)
            };
            match result {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result.map(|_| ()),
            }
        }
    }

    /// The next frame's length, or `None` if none has come in time.
    ///
    /// # Errors
    /// Those of `recv(2)`.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        loop {
            match self.socket.recv(buffer) {
                Ok(len) => return Ok(Some(len)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Throws away what has come; returns how many frames that were.
    ///
    /// # Errors
    /// Those of [`Client::receive`].
    pub fn discard(&self) -> io::Result<u64> {
        let mut buffer = [0; 64];
        let mut frames = 0;
        self.set_nonblocking(true)?;
        while self.receive(&mut buffer)?.is_some() {
            frames += 1;
        }
        self.set_nonblocking(false)?;
        Ok(frames)
    }
}

fn data_socket(name: &[u8]) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name)?)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(socket)
}

/// All of an abstract name, as a kernel makes it: not padded with zeroes.
fn data_name() -> [u8; NAME_LEN] {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let mut name = [0x5a; NAME_LEN];
    name[..4].fill(0);
    name[4..8].copy_from_slice(&std::process::id().to_ne_bytes());
    name[8..12].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_ne_bytes());
    name
}

/// Asks for a port by a version 3 request, with the padding of a kernel's.
fn ask(stream: &mut UnixStream, name: &[u8; NAME_LEN]) -> io::Result<[u8; SOCKADDR_LEN]> {
    let words = [MAGIC, 3, 0].map(u32::to_ne_bytes);
    let family = (libc::AF_UNIX as u16).to_ne_bytes();
    let request = [words.as_flattened(), &family, &[0], name, &[0; 2]].concat();
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    stream.write_all(&request)?;
    let mut reply = [0; SOCKADDR_LEN];
    stream.read_exact(&mut reply)?;
    Ok(reply)
}

fn address(reply: &[u8; SOCKADDR_LEN]) -> Option<SocketAddr> {
    let (family, path) = reply.split_at(2);
    if family != (libc::AF_UNIX as u16).to_ne_bytes() {
        return None;
    }
    if path[0] == 0 {
        return SocketAddr::from_abstract_name(&path[1..]).ok();
    }
    let end = path.iter().position(|&byte| byte == 0).unwrap_or(path.len());
    SocketAddr::from_pathname(OsStr::from_bytes(&path[..end])).ok()
}

/// How long a client waits for a frame, or for room, before it says that there is none.
pub const PATIENCE: Duration = Duration::from_millis(500);

/// How long a switch may take to give a port. One that serves does so at once; a busy machine may not.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// `SWITCH_MAGIC` of the kernel's `arch/um/drivers/daemon_user.c`.
const MAGIC: u32 = 0xfeed_face;

/// Bytes of an abstract name behind the NUL that marks it.
const NAME_LEN: usize = 107;

/// "Local experimental EtherType 1" of IEEE 802.
const EXPERIMENTAL: u16 = 0x88b5;
