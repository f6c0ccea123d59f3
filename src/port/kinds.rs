//! The kinds of port whose clients connect to a socket of the kind's own and send nothing but frames.
//!
//! A new kind is one file, with an [`Endpoint`] and a [`ConnectionKind`], and its line in the table
//! here: its option, its socket and its name in lists and logs follow from that.

use socket2::{Socket, Type};

use super::Endpoint;

/// What is to be known of such a kind.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionKind {
    /// As it is shown to people, and the name of its option.
    pub name: &'static str,
    /// What the option's help says.
    pub help: &'static str,
    /// Of the socket that clients connect to.
    pub socket_type: Type,
    /// Makes a port of a connection, which does not block. The longest frame has so many bytes.
    pub open: fn(connection: Socket, max_frame: usize) -> Box<dyn Endpoint>,
}

/// All of them.
pub const CONNECTION_KINDS: &[ConnectionKind] = &[super::bess::KIND, super::qemu::KIND];

/// They have names of their own, by which they are told apart.
impl PartialEq for ConnectionKind {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for ConnectionKind {}
