//! A client that wants copies of frames in place of a port.

use std::fmt;

use super::{ClientAddr, Connection, SOCKADDR_LEN};

/// What is known of such a client, who may have what it asks for.
#[derive(Debug)]
pub struct CopyRequest {
    /// Its connection; the data socket there has a name.
    pub connection: Connection,
    /// That name, as the client is to be told it.
    pub address: [u8; SOCKADDR_LEN],
    /// Where the client wants frames sent.
    pub client: ClientAddr,
}

/// Whoever gives clients their copies, away from the loop.
pub trait CopyDesk: fmt::Debug {
    /// Takes on `request`, without ever waiting.
    fn leave(&self, request: CopyRequest);
}
