//! How a client asks for a port: a version 3 request on the control socket, and the reply.

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use socket2::SockAddr;

use super::ClientError;
use crate::control::SOCKADDR_LEN;

/// What stands in the place of a path: a path, or NUL and an abstract name.
pub(super) type Name = [u8; SOCKADDR_LEN - FAMILY_LEN];

/// A connection to the control socket, by which a port lives.
pub(super) fn connect(control: &Path) -> Result<UnixStream, ClientError> {
    UnixStream::connect(control)
        .map_err(|source| ClientError::Unreachable { path: control.to_owned(), source })
}

/// A port for who receives at `name`: where its frames go. What a request ends with, `tail`, differs from
/// client to client.
pub(super) fn port(
    control: &mut UnixStream,
    name: &Name,
    tail: &[u8],
) -> Result<SockAddr, ClientError> {
    let reply = ask(control, name, tail).map_err(ClientError::NoPort)?;
    address(&reply).ok_or(ClientError::Reply)
}

/// The address that `name` stands for.
pub(super) fn address_of(name: &Name) -> io::Result<SockAddr> {
    let end = name.iter().skip(1).position(|&byte| byte == 0).map_or(name.len(), |at| at + 1);
    let bytes = if name[0] == 0 { &name[..] } else { &name[..end] };
    SockAddr::unix(OsStr::from_bytes(bytes))
}

fn ask(stream: &mut UnixStream, name: &Name, tail: &[u8]) -> io::Result<[u8; SOCKADDR_LEN]> {
    let words = [MAGIC, VERSION, NEW_PORT].map(u32::to_ne_bytes);
    let request = [words.as_flattened(), &FAMILY, name, tail].concat();
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    stream.write_all(&request)?;
    let mut reply = [0; SOCKADDR_LEN];
    stream.read_exact(&mut reply)?;
    Ok(reply)
}

fn address(reply: &[u8; SOCKADDR_LEN]) -> Option<SockAddr> {
    let (family, name) = reply.split_first_chunk()?;
    if *family != FAMILY {
        return None;
    }
    address_of(name.try_into().ok()?).ok()
}

/// `SWITCH_MAGIC` of the kernel's `arch/um/drivers/daemon_user.c`.
const MAGIC: u32 = 0xfeed_face;
const VERSION: u32 = 3;
/// `REQ_NEW_CONTROL` of the same file.
const NEW_PORT: u32 = 0;

const FAMILY: [u8; FAMILY_LEN] = (libc::AF_UNIX as u16).to_ne_bytes();
const FAMILY_LEN: usize = 2;

/// How long a switch may take to give a port. One that serves does so at once; a busy machine may not.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
