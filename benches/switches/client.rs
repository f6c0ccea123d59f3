//! A guest as its kernel speaks: an abstract data socket, a version 3 request, and an unconnected
//! `sendto` with all 110 bytes of the address for each frame.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

/// One guest's port.
#[derive(Debug)]
pub struct Client {
    socket: UnixDatagram,
    /// The port lives as long as this is open.
    _control: UnixStream,
    switch: SocketAddr,
    mac: Mac,
}

/// A station's address.
pub type Mac = [u8; 6];

/// All stations.
pub const BROADCAST: Mac = [0xff; 6];

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
    /// Gets a port for the guest with the address `mac(n)`. Its socket blocks for as long as
    /// [`PATIENCE`], both ways.
    pub fn connect(control: &Path, n: u32) -> Result<Client> {
        let name = data_name();
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name)?)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        let mut stream = UnixStream::connect(control).context("cannot reach the switch")?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut request = Vec::with_capacity(124);
        for word in [MAGIC, 3, 0] {
            request.extend(word.to_ne_bytes());
        }
        request.extend((libc::AF_UNIX as u16).to_ne_bytes());
        request.push(0);
        request.extend(name);
        request.extend([0; 2]);
        stream.write_all(&request)?;
        let mut reply = [0; 110];
        stream.read_exact(&mut reply).context("the switch gives no port")?;
        Ok(Client { socket, _control: stream, switch: address(&reply)?, mac: mac(n) })
    }

    /// Its station.
    pub fn mac(&self) -> Mac {
        self.mac
    }

    /// Its data socket, to be asked whether frames have come.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Lets neither sending nor receiving wait, or both again.
    pub fn set_nonblocking(&self, nonblocking: bool) -> Result<()> {
        Ok(self.socket.set_nonblocking(nonblocking)?)
    }

    /// How long [`Client::receive`] waits; not zero.
    pub fn set_patience(&self, patience: Duration) -> Result<()> {
        Ok(self.socket.set_read_timeout(Some(patience))?)
    }

    /// Sends one frame, as it is.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        loop {
            match self.socket.send_to_addr(frame, &self.switch) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result.map(|_| ()),
            }
        }
    }

    /// The next frame's length, or `None` if none has come in time.
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
    pub fn discard(&self) -> Result<u64> {
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

/// Lets the switch know all of `clients`: the first by a broadcast, the others by a frame to the first.
pub fn introduce(clients: &[Client]) -> Result<()> {
    let Some((first, others)) = clients.split_first() else { return Ok(()) };
    first.send(&frame(BROADCAST, first.mac, 60))?;
    for other in others {
        other.receive(&mut [0; 64])?;
        let hello = frame(first.mac, other.mac, 60);
        other.send(&hello)?;
        ensure!(first.receive(&mut [0; 64])?.is_some(), "a frame to a known station is lost");
    }
    for client in clients {
        client.discard()?;
    }
    Ok(())
}

/// All of an abstract name, as a kernel makes it: not padded with zeroes.
fn data_name() -> [u8; 107] {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let mut name = [0x5a; 107];
    name[..4].fill(0);
    name[4..8].copy_from_slice(&std::process::id().to_ne_bytes());
    name[8..12].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_ne_bytes());
    name
}

fn address(reply: &[u8; 110]) -> Result<SocketAddr> {
    ensure!(reply[..2] == (libc::AF_UNIX as u16).to_ne_bytes(), "no address in the reply");
    let path = &reply[2..];
    if path[0] == 0 {
        return Ok(SocketAddr::from_abstract_name(&path[1..])?);
    }
    let end = path.iter().position(|&byte| byte == 0).unwrap_or(path.len());
    Ok(SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(&path[..end]))?)
}

/// How long a client waits for a frame, or for room, before it says that there is none.
pub const PATIENCE: Duration = Duration::from_millis(500);

const MAGIC: u32 = 0xfeed_face;

/// "Local experimental EtherType 1" of IEEE 802.
const EXPERIMENTAL: u16 = 0x88b5;
