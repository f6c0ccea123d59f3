//! What is attached to the switch. Each kind of port is one file that implements [`Endpoint`]: the
//! event loop knows no other difference between them.

mod attach;
mod bess;
mod cable;
mod daemon;
mod data_address;
mod kinds;
mod named_data;
mod peer_socket;
mod qemu;
mod qemu_dgram;
pub mod stream_frames;
mod tap;

use std::fmt;
use std::io;
use std::os::fd::RawFd;

pub use attach::{Attach, AttachError, Missing, Pauses, Sizes};
pub use cable::{Cable, CableEnd, InvalidCableEnd};
pub use daemon::{DaemonPort, OpenError, Recipient, data_socket};
pub use data_address::{DataAddresses, to_sockaddr};
pub use kinds::{CONNECTION_KINDS, ConnectionKind};
pub use named_data::{NamedDataPort, NamedDataSocket, NamedFrame};
pub use peer_socket::PeerClaims;
pub use qemu_dgram::{DatagramPair, DatagramPaths, InvalidDatagramPaths};
pub use tap::{InvalidTapName, Tap, TapError, TapName, TapPort};

use crate::core::{PortTraits, TxOutcome};

/// What an attempt to receive a frame brought.
#[derive(Debug)]
pub enum Received {
    /// A frame of this many bytes. One that is longer than the buffer shows as filling it.
    Frame(usize),
    /// So many bytes from somebody who is not the port's client.
    Stranger(usize),
    /// What ought to be a frame's length and cannot be: nothing that follows makes sense.
    BadLength(u32),
    /// Nothing is there; an event will tell when that changes.
    Nothing,
    /// This attempt failed and the next one may not.
    Again,
    /// The port is of no more use.
    Gone(io::Error),
}

impl Received {
    /// Sorts the errors that any kind of descriptor can give.
    fn from_error(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock => Received::Nothing,
            // A datagram socket says ConnectionReset once when its peer has connected elsewhere.
            io::ErrorKind::Interrupted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::OutOfMemory => Received::Again,
            _ => Received::Gone(error),
        }
    }
}

/// One attachment: a frame comes in, a frame goes out. Nothing here blocks.
pub trait Endpoint: fmt::Debug {
    /// The kind of port, as it is shown to people.
    fn kind(&self) -> &'static str;

    /// What the kind means for forwarding.
    fn traits(&self) -> PortTraits;

    /// The descriptor whose readiness says when to try again; `None` if frames come another way.
    fn descriptor(&self) -> Option<RawFd>;

    /// Receives one frame into `buffer`, which is one byte longer than the longest frame.
    fn receive(&mut self, buffer: &mut [u8]) -> Received;

    /// Sends one frame. If only a part of it could be sent, that counts as sent, and the rest is kept.
    fn send(&mut self, frame: &[u8]) -> TxOutcome;

    /// True while a part of the last frame has not been sent; [`Endpoint::send_rest`] is to be called
    /// when there is room.
    fn has_rest(&self) -> bool {
        false
    }

    /// Sends what there is room for of the rest of the last frame.
    fn send_rest(&mut self) {}
}
