//! The address of a client's data socket, as the client wrote it.
//!
//! A `sockaddr_un` on the wire is always 110 bytes: two of family and 108 of `sun_path`. An abstract
//! name (first byte NUL) is **all** of the 108 bytes, and User-Mode Linux leaves 96 of them as its
//! memory happened to be; they are part of the name. A path ends at its first NUL, and what follows
//! it is rubbish.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::SocketAddr;
use std::path::Path;

/// Bytes of a `sockaddr_un`, the same in every request and every reply.
pub const SOCKADDR_LEN: usize = size_of::<libc::sockaddr_un>();

const _: () = assert!(SOCKADDR_LEN == 110 && SOCKADDR_LEN == FAMILY_LEN + SUN_PATH_LEN);

const FAMILY_LEN: usize = 2;

/// Bytes of `sun_path`: `unix(7)`.
pub const SUN_PATH_LEN: usize = 108;

/// Where frames for a client are sent.
///
/// Holds the part of `sun_path` that counts: a NUL and the name, or the path without its NUL.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientAddr(Box<[u8]>);

impl ClientAddr {
    /// Reads a `sockaddr_un` as it stands in a request. `None` if its family is not `AF_UNIX` or if
    /// it names nothing.
    pub fn from_sockaddr(bytes: &[u8; SOCKADDR_LEN]) -> Option<Self> {
        let (family, sun_path) = bytes.split_at(FAMILY_LEN);
        if family != (libc::AF_UNIX as u16).to_ne_bytes() {
            return None;
        }
        let significant = if sun_path[0] == 0 {
            sun_path
        } else {
            let end = sun_path.iter().position(|&byte| byte == 0);
            // A path that fills all 108 bytes is no C string; nobody sends one.
            &sun_path[..end?]
        };
        Some(ClientAddr(significant.into()))
    }

    /// The address of a sender, as the kernel reports it. `None` for a socket without a name.
    pub fn of_sender(addr: &SocketAddr) -> Option<Self> {
        if let Some(path) = addr.as_pathname() {
            return Some(ClientAddr(path.as_os_str().as_bytes().into()));
        }
        let name = addr.as_abstract_name()?;
        Some(ClientAddr([&[0], name].concat().into()))
    }

    /// True if the kernel reports `sender` for a frame from this address.
    pub fn is(&self, sender: &SocketAddr) -> bool {
        match self.name() {
            Name::Path(path) => sender.as_pathname() == Some(path),
            Name::Abstract(name) => sender.as_abstract_name() == Some(name),
        }
    }

    /// The path, if it is one.
    pub fn path(&self) -> Option<&Path> {
        match self.name() {
            Name::Path(path) => Some(path),
            Name::Abstract(_) => None,
        }
    }

    /// The abstract name without the NUL that marks it, if it is one.
    pub fn abstract_name(&self) -> Option<&[u8]> {
        match self.name() {
            Name::Path(_) => None,
            Name::Abstract(name) => Some(name),
        }
    }

    /// The address for system calls; 110 bytes long if it is an abstract one.
    ///
    /// # Errors
    /// None for an address that [`ClientAddr::from_sockaddr`] made: its length was checked there.
    pub fn to_socket_addr(&self) -> io::Result<SocketAddr> {
        match self.name() {
            Name::Path(path) => SocketAddr::from_pathname(path),
            Name::Abstract(name) => SocketAddr::from_abstract_name(name),
        }
    }

    fn name(&self) -> Name<'_> {
        match &*self.0 {
            [0, name @ ..] => Name::Abstract(name),
            path => Name::Path(Path::new(OsStr::from_bytes(path))),
        }
    }
}

enum Name<'a> {
    Path(&'a Path),
    Abstract(&'a [u8]),
}

/// A path, or the first bytes of an abstract name, after which only rubbish or zeroes follow.
impl fmt::Display for ClientAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Name::Path(path) => write!(f, "{}", path.as_os_str().as_bytes().escape_ascii()),
            Name::Abstract(name) => {
                let name = &name[..name.len().min(SHOWN_OF_ABSTRACT)];
                let end = name.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
                write!(f, "@{}", name[..end].escape_ascii())
            }
        }
    }
}

impl fmt::Debug for ClientAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// User-Mode Linux writes three zeroes behind the mark of an abstract name, its process id and the
/// microseconds of the time; the rest of the name says nothing to people.
const SHOWN_OF_ABSTRACT: usize = 11;

#[cfg(test)]
mod tests {
    use super::*;

    fn sockaddr(sun_path: &[u8]) -> [u8; SOCKADDR_LEN] {
        let mut bytes = [0x5a; SOCKADDR_LEN];
        bytes[..2].copy_from_slice(&1u16.to_ne_bytes());
        bytes[2..2 + sun_path.len()].copy_from_slice(sun_path);
        bytes
    }

    #[test]
    fn a_path_ends_at_its_nul_whatever_follows() {
        let addr = ClientAddr::from_sockaddr(&sockaddr(b"/tmp/guest\0rubbish")).unwrap();
        assert_eq!(addr.path(), Some(Path::new("/tmp/guest")));
        assert_eq!(addr.to_string(), "/tmp/guest");
        assert!(addr.is(&SocketAddr::from_pathname("/tmp/guest").unwrap()));
        assert!(!addr.is(&SocketAddr::from_abstract_name("/tmp/guest").unwrap()));
    }

    #[test]
    fn an_abstract_name_is_all_of_its_108_bytes() {
        let bytes = sockaddr(b"\0\0\0\0\0pid4usec");
        let addr = ClientAddr::from_sockaddr(&bytes).unwrap();
        let socket_addr = addr.to_socket_addr().unwrap();
        assert_eq!(socket_addr.as_abstract_name().unwrap(), &bytes[3..]);
        let mut other = bytes;
        other[SOCKADDR_LEN - 1] ^= 1;
        assert_ne!(ClientAddr::from_sockaddr(&other).unwrap(), addr);
        assert!(addr.is(&socket_addr));
        assert_eq!(ClientAddr::of_sender(&socket_addr), Some(addr));
    }

    #[test]
    fn what_names_no_unix_socket_is_refused() {
        let mut bytes = sockaddr(b"/tmp/guest\0");
        bytes[0] = 2;
        assert_eq!(ClientAddr::from_sockaddr(&bytes), None);
        assert_eq!(ClientAddr::from_sockaddr(&sockaddr(&[b'a'; SUN_PATH_LEN])), None);
    }

    #[test]
    fn control_characters_do_not_reach_the_log() {
        let addr = ClientAddr::from_sockaddr(&sockaddr(b"/tmp/\x1b[2J\n\0")).unwrap();
        assert_eq!(addr.to_string(), "/tmp/\\x1b[2J\\n");
    }
}
