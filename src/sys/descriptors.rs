//! Descriptors that come over a socket: `SCM_RIGHTS` of `unix(7)`.
//!
//! nix receives them too, but forgets those that did come where there was no room for all.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

/// One control message with what it carries, as `cmsg(3)` lays it out.
#[repr(C)]
struct Room {
    header: libc::cmsghdr,
    descriptors: [RawFd; MOST],
}

// SAFETY: CMSG_LEN only computes.
const _: () =
    assert!(std::mem::offset_of!(Room, descriptors) == unsafe { libc::CMSG_LEN(0) } as usize);

/// Receives bytes and the descriptors that came with them, two at the most: of more, and of those
/// for which the process has no number left, the kernel lets none in. Programs that this process starts
/// have none of them. No bytes: the other side has ended.
///
/// # Errors
/// Those of `recvmsg(2)`.
pub fn receive_descriptors(
    socket: &UnixStream,
    bytes: &mut [u8],
) -> io::Result<(usize, Vec<OwnedFd>)> {
    // SAFETY: `cmsghdr` is plain data for which all zeroes is a value.
    let header = unsafe { std::mem::zeroed() };
    let mut room = Room { header, descriptors: [NONE; MOST] };
    let mut into = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    // SAFETY: `msghdr` is plain data for which all zeroes is a value.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut into;
    message.msg_iovlen = 1;
    message.msg_control = (&raw mut room).cast();
    message.msg_controllen = size_of::<Room>() as _;
    // SAFETY: the descriptor is open for as long as `socket` is borrowed; `message` and what it points
    // to, with their true lengths, are whole and used during the call alone.
    let received =
        unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC) };
    let received = nix::errno::Errno::result(received)?;
    let Room { header, descriptors } = room;
    let came = header.cmsg_level == libc::SOL_SOCKET && header.cmsg_type == libc::SCM_RIGHTS;
    let ours = descriptors.into_iter().filter(|&descriptor| came && descriptor != NONE);
    // SAFETY: the kernel has just made it for us, and nobody else knows of it.
    let ours = ours.map(|descriptor| unsafe { OwnedFd::from_raw_fd(descriptor) });
    Ok((received as usize, ours.collect()))
}

/// One more than anybody wants, so that too many are seen.
const MOST: usize = 2;

/// No descriptor has this number.
const NONE: RawFd = -1;

#[cfg(test)]
mod tests {
    use std::io::{IoSlice, Write};
    use std::os::fd::AsFd;

    use nix::fcntl::{FcntlArg, fcntl};
    use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

    use super::*;

    fn send(socket: &UnixStream, descriptors: &[RawFd]) {
        let control = [ControlMessage::ScmRights(descriptors)];
        let bytes = [IoSlice::new(b"\n")];
        sendmsg::<()>(socket.as_raw_fd(), &bytes, &control, MsgFlags::empty(), None).unwrap();
    }

    #[test]
    fn what_comes_is_ours_and_stays_here() {
        let (here, there) = UnixStream::pair().unwrap();
        (&there).write_all(b"ab").unwrap();
        let (len, none) = receive_descriptors(&here, &mut [0; 8]).unwrap();
        assert_eq!((len, none.len()), (2, 0));
        let (reader, writer) = io::pipe().unwrap();
        for count in 1..=5 {
            send(&there, &vec![writer.as_raw_fd(); count]);
            let (len, came) = receive_descriptors(&here, &mut [0; 8]).unwrap();
            assert_eq!((len, came.len()), (1, count.min(MOST)));
            for descriptor in &came {
                assert_eq!(fcntl(descriptor.as_fd(), FcntlArg::F_GETFD), Ok(libc::FD_CLOEXEC));
            }
        }
        drop(writer);
        // Nobody else has it open, so this is the end.
        assert_eq!(io::Read::read(&mut &reader, &mut [0]).unwrap(), 0);
        drop(there);
        assert_eq!(receive_descriptors(&here, &mut [0; 8]).unwrap().0, 0);
    }
}
