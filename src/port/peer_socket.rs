//! Whose socket a port sends to.
//!
//! A client names the address of its data socket, and it may name any: another guest's, or that of a
//! service on the host that would take frames for messages. After a data socket has been connected
//! and before it sends anything, the kernel is asked (`sock_diag(7)`) which socket is at the other
//! end. It must belong to the user who opened the control connection, and no two ports may share it.
//!
//! The kernel answers only for sockets of our network namespace; for others the owner of the path
//! has to do.

use std::cell::RefCell;
use std::collections::HashSet;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::rc::Rc;

use nix::sys::stat::fstat;
use socket2::{Domain, Protocol, Socket, Type};

/// A socket at the other end of one of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PeerSocket {
    /// Its inode, unique among the sockets that exist.
    inode: u32,
    /// The user who made it, if the kernel is new enough (5.3) to tell.
    uid: Option<u32>,
}

/// Why a port may not send to the socket that its client named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotYours {
    /// It is somebody else's.
    #[error("the client's address belongs to uid {0}")]
    Owner(u32),
    /// Another port sends to it already.
    #[error("another port has the same client socket")]
    Shared,
}

/// The client sockets of all ports.
#[derive(Clone, Debug)]
pub struct PeerClaims {
    claimed: Rc<RefCell<HashSet<u32>>>,
    /// Kept open: when descriptors run out, clients that have one can still be checked.
    kernel: Rc<Option<Socket>>,
}

/// That one port sends to one socket. Ends when it is dropped.
#[derive(Debug)]
pub(super) struct Claim {
    claims: PeerClaims,
    inode: Option<u32>,
}

impl PeerClaims {
    /// No claims. On a kernel that cannot be asked, only the owners of paths are checked.
    pub fn new() -> Self {
        PeerClaims { claimed: Rc::default(), kernel: Rc::new(ask_socket().ok()) }
    }

    /// Makes sure that `socket`, connected to a client's socket (at `path`, if it has one), is
    /// connected to what `uid` may name, and claims that. Root may name anything.
    pub(super) fn claim(
        &self,
        socket: &UnixDatagram,
        path: Option<&Path>,
        uid: u32,
    ) -> Result<Claim, NotYours> {
        let peer = self.kernel.as_ref().as_ref().and_then(|kernel| peer_of(kernel, socket).ok());
        let owner = peer
            .and_then(|peer| peer.uid)
            .or_else(|| path.and_then(|path| path.symlink_metadata().ok()).map(|m| m.uid()));
        if let Some(owner) = owner
            && uid != 0
            && owner != uid
        {
            return Err(NotYours::Owner(owner));
        }
        let inode = peer.map(|peer| peer.inode);
        if let Some(inode) = inode
            && !self.claimed.borrow_mut().insert(inode)
        {
            return Err(NotYours::Shared);
        }
        Ok(Claim { claims: self.clone(), inode })
    }
}

impl Default for PeerClaims {
    fn default() -> Self {
        PeerClaims::new()
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(inode) = self.inode {
            self.claims.claimed.borrow_mut().remove(&inode);
        }
    }
}

fn ask_socket() -> io::Result<Socket> {
    Socket::new(
        Domain::from(libc::AF_NETLINK),
        Type::RAW.cloexec().nonblocking(),
        Some(Protocol::from(libc::NETLINK_SOCK_DIAG)),
    )
}

/// Asks the kernel for the socket that `socket` is connected to.
fn peer_of(kernel: &Socket, socket: &UnixDatagram) -> io::Result<PeerSocket> {
    let ours = fstat(socket.as_fd())?.st_ino as u32;
    let peer = ask(kernel, ours, UDIAG_SHOW_PEER)?.peer.ok_or(io::ErrorKind::NotConnected)?;
    let uid = ask(kernel, peer, UDIAG_SHOW_UID)?.uid;
    Ok(PeerSocket { inode: peer, uid })
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Answer {
    peer: Option<u32>,
    uid: Option<u32>,
}

/// Asks for one socket by its inode. The kernel has answered before the request returns, so a
/// socket that does not block is enough.
fn ask(kernel: &Socket, inode: u32, show: u32) -> io::Result<Answer> {
    kernel.send(&request(inode, show))?;
    let mut buffer = [0; 1024];
    let len = io::Read::read(&mut &*kernel, &mut buffer)?;
    answer(&buffer[..len]).ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// `struct nlmsghdr` and `struct unix_diag_req`.
fn request(inode: u32, show: u32) -> [u8; REQUEST_LEN] {
    let mut bytes = [0; REQUEST_LEN];
    let mut put = |offset: usize, value: &[u8]| {
        bytes[offset..offset + value.len()].copy_from_slice(value);
    };
    put(0, &(REQUEST_LEN as u32).to_ne_bytes());
    put(4, &SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    put(6, &(libc::NLM_F_REQUEST as u16).to_ne_bytes());
    put(NLMSG_HDR, &[libc::AF_UNIX as u8]);
    put(NLMSG_HDR + 8, &inode.to_ne_bytes());
    put(NLMSG_HDR + 12, &show.to_ne_bytes());
    // Any socket with this inode: INET_DIAG_NOCOOKIE, twice.
    put(NLMSG_HDR + 16, &[0xff; 8]);
    bytes
}

/// Reads `struct nlmsghdr`, `struct unix_diag_msg` and its attributes; `None` if it is an error.
fn answer(bytes: &[u8]) -> Option<Answer> {
    let u16_at = |at: usize| Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
    let u32_at = |at: usize| Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    if u16_at(4)? != SOCK_DIAG_BY_FAMILY {
        return None;
    }
    let mut found = Answer::default();
    let mut at = NLMSG_HDR + UNIX_DIAG_MSG;
    while let (Some(len), Some(kind)) = (u16_at(at), u16_at(at + 2)) {
        match kind {
            UNIX_DIAG_PEER => found.peer = u32_at(at + 4),
            UNIX_DIAG_UID => found.uid = u32_at(at + 4),
            _ => {}
        }
        at += usize::from(len).max(4).next_multiple_of(4);
    }
    Some(found)
}

// linux/netlink.h, linux/sock_diag.h, linux/unix_diag.h.
const NLMSG_HDR: usize = 16;
const REQUEST_LEN: usize = NLMSG_HDR + 24;
const UNIX_DIAG_MSG: usize = 16;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const UDIAG_SHOW_PEER: u32 = 0x04;
const UDIAG_SHOW_UID: u32 = 0x40;
const UNIX_DIAG_PEER: u16 = 2;
const UNIX_DIAG_UID: u16 = 7;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_names_the_other_end_and_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let client = UnixDatagram::bind(dir.path().join("client")).unwrap();
        let ours = UnixDatagram::unbound().unwrap();
        let kernel = ask_socket().unwrap();
        assert!(peer_of(&kernel, &ours).is_err(), "not connected yet");
        ours.connect(dir.path().join("client")).unwrap();
        let peer = peer_of(&kernel, &ours).unwrap();
        assert_eq!(peer.inode, fstat(client.as_fd()).unwrap().st_ino as u32);
        assert_eq!(peer.uid, Some(nix::unistd::getuid().as_raw()));
    }

    #[test]
    fn a_socket_is_claimed_by_one_port_at_a_time_and_only_by_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("client");
        let _client = UnixDatagram::bind(&path).unwrap();
        let me = nix::unistd::getuid().as_raw();
        let connected = || {
            let socket = UnixDatagram::unbound().unwrap();
            socket.connect(&path).unwrap();
            socket
        };
        let (first, second) = (connected(), connected());
        let claims = PeerClaims::default();
        let claim = claims.claim(&first, Some(&path), me).unwrap();
        assert_eq!(claims.claim(&second, Some(&path), me).unwrap_err(), NotYours::Shared);
        drop(claim);
        assert_eq!(claims.claim(&second, Some(&path), me + 1).unwrap_err(), NotYours::Owner(me));
        claims.claim(&second, Some(&path), me).unwrap();
    }

    #[test]
    fn a_mangled_answer_is_no_answer() {
        assert_eq!(answer(&[]), None);
        assert_eq!(answer(&[0; 36]), None);
        let mut bytes = [0; 40];
        bytes[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
        assert_eq!(answer(&bytes), Some(Answer::default()));
    }
}
