//! The names of our own data sockets.
//!
//! A port's data socket has an abstract name made of the control path and the port's number, so that
//! a switch started again on the same path hears its guests at the address that they know. Abstract
//! names belong to whoever binds them first: if somebody holds ours, the port takes another and the
//! log says so.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};

use tracing::warn;

use crate::control::{SOCKADDR_LEN, SUN_PATH_LEN};
use crate::log_limit::{LogLimit, Suppressed};

/// What every name of a data socket starts with, of this switch and of any other on the host. No
/// client receives frames at such an address.
pub(super) const PREFIX: &[u8] = b"uml_switch/";

/// Names the data sockets of one switch.
#[derive(Debug)]
pub struct DataAddresses {
    control: PathBuf,
}

impl DataAddresses {
    /// For the switch whose control socket is at `control`, an absolute path.
    pub fn new(control: &Path) -> Self {
        DataAddresses { control: control.to_owned() }
    }

    /// Binds `socket` to the address of port `number` and returns that address.
    ///
    /// # Errors
    /// Those of `bind(2)`, `AddrInUse` only when every name that was tried is taken.
    pub fn bind(&self, socket: &UnixDatagram, number: u32) -> io::Result<SocketAddr> {
        let mut held = None;
        for attempt in 0..ATTEMPTS {
            let addr = SocketAddr::from_abstract_name(self.name(number, attempt))?;
            match socket2::SockRef::from(socket).bind(&sock_addr(&addr)?) {
                Ok(()) => {
                    static LIMIT: LogLimit = LogLimit::new();
                    if let Some(name) = held
                        && let Some(suppressed) = LIMIT.admit(None).map(Suppressed::field)
                    {
                        let taken = show(&addr);
                        warn!(port = number, %name, %taken, suppressed, "data address held by somebody else");
                    }
                    return Ok(addr);
                }
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                    held.get_or_insert_with(|| show(&addr));
                }
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::AddrInUse.into())
    }

    /// Binds `socket`, which is for copies of frames and no port's, to an address and returns that.
    ///
    /// # Errors
    /// As for [`DataAddresses::bind`].
    pub fn bind_for_copies(&self, socket: &UnixDatagram) -> io::Result<SocketAddr> {
        let mut result = Err(io::ErrorKind::AddrInUse.into());
        for attempt in 0..COPIES {
            let addr = SocketAddr::from_abstract_name(self.name_of(&format!("copies-{attempt}")))?;
            result = socket2::SockRef::from(socket).bind(&sock_addr(&addr)?).map(|()| addr);
            if !matches!(&result, Err(error) if error.kind() == io::ErrorKind::AddrInUse) {
                break;
            }
        }
        result
    }

    /// All of the 107 bytes behind the mark of an abstract name: guests send to the whole 110 bytes
    /// of the address that they were told.
    fn name(&self, number: u32, attempt: u32) -> [u8; SUN_PATH_LEN - 1] {
        match attempt {
            0 => self.name_of(&number.to_string()),
            _ => self.name_of(&format!("{number}~{attempt}")),
        }
    }

    fn name_of(&self, what: &str) -> [u8; SUN_PATH_LEN - 1] {
        let mut name = [0; SUN_PATH_LEN - 1];
        let head = [PREFIX, what.as_bytes()].concat();
        let path = self.control.as_os_str().as_bytes();
        // The end of a long path tells more than its beginning.
        let path = &path[path.len().saturating_sub(name.len() - head.len())..];
        name[..head.len()].copy_from_slice(&head);
        name[head.len()..head.len() + path.len()].copy_from_slice(path);
        name
    }
}

/// The 110 bytes that a client is told to send to.
pub fn to_sockaddr(addr: &SocketAddr) -> [u8; SOCKADDR_LEN] {
    let mut bytes = [0; SOCKADDR_LEN];
    bytes[..2].copy_from_slice(&(libc::AF_UNIX as u16).to_ne_bytes());
    if let Some(name) = addr.as_abstract_name() {
        bytes[3..3 + name.len()].copy_from_slice(name);
    } else if let Some(path) = addr.as_pathname() {
        let path = path.as_os_str().as_bytes();
        bytes[2..2 + path.len()].copy_from_slice(path);
    }
    bytes
}

/// std cannot bind or connect a socket that exists already, so socket2 does.
fn sock_addr(addr: &SocketAddr) -> io::Result<socket2::SockAddr> {
    let name = addr.as_abstract_name().unwrap_or_default();
    socket2::SockAddr::unix(std::ffi::OsStr::from_bytes(&[&[0], name].concat()))
}

fn show(addr: &SocketAddr) -> String {
    let name = addr.as_abstract_name().unwrap_or_default();
    let end = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
    format!("@{}", name[..end].escape_ascii())
}

/// Names tried for one port before it is refused.
const ATTEMPTS: u32 = 16;

/// Names tried for a socket for copies: more than there can be captures.
const COPIES: u32 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_same_after_a_restart_and_fill_the_address() {
        let addresses = DataAddresses::new(Path::new("/tmp/uml.ctl"));
        let name = addresses.name(3, 0);
        assert!(name.starts_with(b"uml_switch/3/tmp/uml.ctl\0"));
        let addr = SocketAddr::from_abstract_name(name).unwrap();
        assert_eq!(to_sockaddr(&addr)[3..], name);
        assert_eq!(sock_addr(&addr).unwrap().len() as usize, SOCKADDR_LEN);
    }

    #[test]
    fn a_name_that_is_held_is_replaced_by_another() {
        let dir = tempfile::tempdir().unwrap();
        let addresses = DataAddresses::new(&dir.path().join("ctl"));
        let squatter = UnixDatagram::unbound().unwrap();
        let first = addresses.bind(&squatter, 1).unwrap();
        let socket = UnixDatagram::unbound().unwrap();
        let second = addresses.bind(&socket, 1).unwrap();
        assert_ne!(show(&first), show(&second));
        assert_eq!(show(&socket.local_addr().unwrap()), show(&second));
    }

    #[test]
    fn a_long_path_keeps_its_end() {
        let path = format!("/{}/tail.ctl", "d".repeat(200));
        let name = DataAddresses::new(Path::new(&path)).name(70_000, 15);
        assert!(name.starts_with(b"uml_switch/70000~15dddd") && name.ends_with(b"/tail.ctl"));
    }
}
