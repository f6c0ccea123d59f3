//! How a client gets a port: the request that it writes on its control connection, and the sockets
//! on which it is heard.

mod address;
mod copies;
pub mod handshake;
mod listener;
mod socket_file;
mod vde_directory;

pub use address::{ClientAddr, SOCKADDR_LEN, SUN_PATH_LEN};
pub use copies::{CopyDesk, CopyRequest};
pub use listener::{Connection, Handshakes, PendingId, Step};
pub use socket_file::{Access, ClaimError, SocketFile};
pub use vde_directory::{VdeDirectory, VdeError, ctl_of};
