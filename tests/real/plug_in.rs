//! Guests of switches that the test did not start itself.

use std::fs;
use std::io::{Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixStream};
use std::path::Path;

use nix::unistd::Pid;

use crate::support::{Client, DEADLINE, Mac, Request, abstract_name, abstract_sockaddr};

/// Gets a port from whoever serves `control`.
#[track_caller]
pub fn plug_in(control: &Path, mac: Mac) -> Client {
    let name = abstract_name();
    let data = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name).unwrap()).unwrap();
    let mut control = UnixStream::connect(control).expect("a switch listens");
    control.set_read_timeout(Some(DEADLINE)).unwrap();
    control.write_all(&Request::v3(&abstract_sockaddr(&name))).expect("it takes the request");
    let mut reply = [0; 110];
    control.read_exact(&mut reply).expect("a reply");
    let switch = SocketAddr::from_abstract_name(&reply[3..]).unwrap();
    Client { mac, data, control, switch }
}

/// The process that was started with `word` in its command line.
pub fn process_with(word: &Path) -> Option<Pid> {
    let processes = fs::read_dir("/proc").expect("proc is mounted").flatten();
    processes
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .find(|pid| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.split(|&byte| byte == 0).any(|found| found == word.as_os_str().as_bytes())
        })
        .map(Pid::from_raw)
}
