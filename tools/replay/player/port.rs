//! How a station is attached: a port of the switch, or the host's side of its TAP.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::{InterfaceFlags, if_nametoindex};
use nix::sys::socket::{LinkAddr, recvfrom};
use socket2::{Domain, Socket, Type};
use uml_switch::client::Client;

/// One station's way to send and to receive. Neither waits.
#[derive(Debug)]
pub enum Port {
    Daemon(Client),
    Tap(Tap),
}

/// A packet socket on the host's side of a TAP interface. VLAN tags of what comes out of the
/// interface are taken off by the kernel, so such frames are not known again.
#[derive(Debug)]
pub struct Tap(Socket);

/// What came of an attempt to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    Taken,
    /// There is no room; it can be waited for.
    Full,
    /// Never: the frame is too long, or the interface has dropped it.
    Refused,
}

impl Port {
    /// Sends one frame, if there is room.
    ///
    /// # Errors
    /// When the switch is gone.
    pub fn send(&self, frame: &[u8]) -> io::Result<Sent> {
        let result = match self {
            Port::Daemon(client) => client.send(frame),
            Port::Tap(Tap(socket)) => socket.send(frame).map(|_| ()),
        };
        let Err(error) = result else { return Ok(Sent::Taken) };
        match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EAGAIN | Errno::EINTR) => Ok(Sent::Full),
            Some(Errno::EMSGSIZE | Errno::ENOBUFS) => Ok(Sent::Refused),
            _ => Err(error),
        }
    }

    /// The next frame's length, or `None` if there is none.
    ///
    /// # Errors
    /// Those of `recv(2)`.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match self {
            Port::Daemon(client) => client.receive(buffer),
            Port::Tap(tap) => tap.receive(buffer),
        }
    }

    /// Readable when frames have come, writable when there is room.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        match self {
            Port::Daemon(client) => client.descriptor(),
            Port::Tap(Tap(socket)) => socket.as_fd(),
        }
    }

    /// Readable when the switch has ended the port.
    pub fn control(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Port::Daemon(client) => client.control(),
            Port::Tap(_) => None,
        }
    }
}

impl Tap {
    /// On the interface `name`, which must exist and be up.
    ///
    /// # Errors
    /// When it is not, or when the right to use packet sockets is missing.
    pub fn open(name: &str) -> Result<Self> {
        let index = if_nametoindex(name).with_context(|| format!("no interface {name}"))?;
        let mut interfaces = getifaddrs().context("cannot look at the interfaces")?;
        let up = interfaces.any(|interface| {
            interface.interface_name == name && interface.flags.contains(InterfaceFlags::IFF_UP)
        });
        ensure!(up, "the interface {name} is down: ip link set {name} up");
        let all = (libc::ETH_P_ALL as u16).to_be();
        // No protocol yet: until it is bound it would receive from all interfaces.
        let socket = Socket::new(Domain::PACKET, Type::RAW, None)
            .context("cannot make a packet socket (CAP_NET_RAW is needed)")?;
        uml_switch::sys::bind_to_interface(&socket, index, all)
            .with_context(|| format!("cannot bind to {name}"))?;
        socket.set_nonblocking(true)?;
        // A smaller one does too, as long as we are run.
        let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
        Ok(Tap(socket))
    }

    fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        loop {
            match recvfrom::<LinkAddr>(self.0.as_raw_fd(), buffer) {
                // What the host sends into the TAP, we ourselves included.
                Ok((_, Some(from))) if from.pkttype() == libc::PACKET_OUTGOING => {}
                Ok((len, _)) => return Ok(Some(len)),
                Err(Errno::EAGAIN) => return Ok(None),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Bytes, of which the kernel gives what `net.core.rmem_max` allows.
const RECEIVE_BUFFER: usize = 4 << 20;
