//! A client of the `daemon` transport, byte for byte as a guest's kernel is one: an abstract name of
//! 108 bytes with rubbish in it, a request of 124 bytes, and `sendto` the 110 bytes of the reply.

use std::io::{self, Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::process::connect;
use super::{DEADLINE, Mac, Switch, frame};

/// The name of a guest's socket, without the NUL that starts it: three zeroes, the process id, the
/// time, and what the kernel's memory held.
pub fn abstract_name() -> [u8; 107] {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mut name = [0x5a; 107];
    name[..3].fill(0);
    name[3..7].copy_from_slice(&std::process::id().to_ne_bytes());
    name[7..15].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_ne_bytes());
    name
}

/// The `sockaddr_un` of an abstract name.
pub fn abstract_sockaddr(name: &[u8; 107]) -> [u8; 110] {
    let mut bytes = [0; 110];
    bytes[..2].copy_from_slice(&1u16.to_ne_bytes());
    bytes[3..].copy_from_slice(name);
    bytes
}

/// The `sockaddr_un` of a path; rubbish stands behind its NUL.
pub fn path_sockaddr(path: &Path) -> [u8; 110] {
    let mut bytes = [0xa5; 110];
    bytes[..2].copy_from_slice(&1u16.to_ne_bytes());
    let path = path.as_os_str().as_bytes();
    bytes[2..2 + path.len()].copy_from_slice(path);
    bytes[2 + path.len()] = 0;
    bytes
}

/// Requests for a port, by protocol version.
pub struct Request;

impl Request {
    pub const MAGIC: u32 = 0xfeed_face;

    /// v0: no magic, and no reply will come.
    pub fn v0(mac: Mac, addr: &[u8; 110]) -> Vec<u8> {
        [&0u32.to_ne_bytes(), mac.as_slice(), addr].concat()
    }

    pub fn v1(mac: Mac, addr: &[u8; 110]) -> Vec<u8> {
        [&Self::MAGIC.to_ne_bytes(), &0u32.to_ne_bytes(), mac.as_slice(), addr].concat()
    }

    /// Of any version from 2 on, with any type, without what may follow.
    pub fn versioned(version: u32, kind: u32, addr: &[u8; 110]) -> Vec<u8> {
        let words = [Self::MAGIC, version, kind].map(u32::to_ne_bytes);
        [words.as_flattened(), addr].concat()
    }

    /// v3 with the padding of a kernel: 124 bytes.
    pub fn v3(addr: &[u8; 110]) -> Vec<u8> {
        [Self::versioned(3, 0, addr).as_slice(), &[0x77, 0x99]].concat()
    }
}

/// A guest with a port.
#[derive(Debug)]
pub struct Client {
    pub mac: Mac,
    pub data: UnixDatagram,
    pub control: UnixStream,
    /// Where it sends frames.
    pub switch: SocketAddr,
}

impl Client {
    /// Gets a port as a kernel does.
    #[track_caller]
    pub fn new(switch: &Switch, mac: Mac) -> Client {
        let (addr, data) = Client::socket();
        Client::register(switch, mac, data, &Request::v3(&addr))
    }

    /// Gets a port as a kernel does, from whoever serves the socket `control`.
    #[track_caller]
    pub fn dial(control: &Path, mac: Mac) -> Client {
        let (addr, data) = Client::socket();
        Client::ask(connect(control), mac, data, &Request::v3(&addr))
    }

    /// Gets a port for a socket at `path`.
    #[track_caller]
    pub fn at_path(switch: &Switch, mac: Mac, path: &Path) -> Client {
        let data = UnixDatagram::bind(path).unwrap();
        Client::register(switch, mac, data, &Request::v3(&path_sockaddr(path)))
    }

    /// A data socket as a kernel makes it, and its address for a request.
    pub fn socket() -> ([u8; 110], UnixDatagram) {
        let name = abstract_name();
        let data = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name).unwrap()).unwrap();
        (abstract_sockaddr(&name), data)
    }

    /// `count` guests; guest n has the address `mac(n)`, from 1 on.
    #[track_caller]
    pub fn several(switch: &Switch, count: u32) -> Vec<Client> {
        (1..=count).map(|n| Client::new(switch, super::mac(n))).collect()
    }

    /// Sends `request` for the socket `data` and takes the reply.
    #[track_caller]
    pub fn register(switch: &Switch, mac: Mac, data: UnixDatagram, request: &[u8]) -> Client {
        Client::ask(switch.connect(), mac, data, request)
    }

    #[track_caller]
    fn ask(mut control: UnixStream, mac: Mac, data: UnixDatagram, request: &[u8]) -> Client {
        control.write_all(request).expect("the switch takes the request");
        let switch = read_reply(&mut control);
        Client { mac, data, control, switch }
    }

    /// Sends `bytes` as they are.
    #[track_caller]
    pub fn send(&self, bytes: &[u8]) {
        self.data.set_write_timeout(Some(DEADLINE)).unwrap();
        let sent = uninterrupted(|| self.data.send_to_addr(bytes, &self.switch));
        sent.expect("the switch takes a frame");
    }

    /// The next frame. Panics if none comes.
    #[track_caller]
    pub fn receive(&self) -> Vec<u8> {
        self.receive_within(DEADLINE).expect("a frame")
    }

    /// The next frame, if one comes in time.
    pub fn receive_within(&self, time: Duration) -> Option<Vec<u8>> {
        let mut buffer = vec![0; 1 << 17];
        self.data.set_read_timeout(Some(time.max(Duration::from_millis(1)))).unwrap();
        let len = uninterrupted(|| self.data.recv(&mut buffer)).ok()?;
        buffer.truncate(len);
        Some(buffer)
    }

    /// Panics unless nothing comes for a while.
    #[track_caller]
    pub fn expect_silence(&self) {
        if let Some(bytes) = self.receive_within(super::SILENCE) {
            panic!("{} unexpected bytes: {:x?}", bytes.len(), &bytes[..bytes.len().min(32)]);
        }
    }

    /// Sends a frame to `other` and panics unless it is what `other` receives next.
    #[track_caller]
    pub fn reach(&self, other: &Client) {
        let sent = frame(other.mac, self.mac, 100);
        self.send(&sent);
        assert_eq!(other.receive(), sent);
    }

    /// Lets each of `guests` send a broadcast, and the others take it, so that the switch knows all.
    #[track_caller]
    pub fn introduce(guests: &[Client]) {
        for (place, guest) in guests.iter().enumerate() {
            let hello = frame(super::BROADCAST, guest.mac, 60);
            guest.send(&hello);
            for (_, other) in guests.iter().enumerate().filter(|&(other, _)| other != place) {
                assert_eq!(other.receive(), hello);
            }
        }
    }

    /// Throws away what has come.
    pub fn drain(&self) {
        let mut buffer = [0; 16];
        self.data.set_nonblocking(true).unwrap();
        while self.data.recv(&mut buffer).is_ok() {}
        self.data.set_nonblocking(false).unwrap();
    }

    /// True if the switch has ended the control connection.
    pub fn is_cut_off(&mut self) -> bool {
        let deadline = Instant::now() + DEADLINE;
        self.control.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut byte = [0];
        let read = uninterrupted(|| self.control.read(&mut byte));
        matches!(read, Ok(0)) && Instant::now() < deadline
    }
}

/// A call with a timeout is interrupted when the machine stops the process and lets it go on, even
/// if nobody handles a signal (signal(7)).
pub fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Sends `request` and panics unless the switch answers by hanging up.
#[track_caller]
pub fn expect_no_port(switch: &Switch, request: &[u8]) {
    let mut control = switch.connect();
    control.write_all(request).expect("the switch takes the request");
    let mut reply = Vec::new();
    control.read_to_end(&mut reply).expect("the switch hangs up");
    assert!(reply.is_empty(), "a reply to a request that cannot be served: {reply:x?}");
}

/// Reads a reply: 110 bytes, and not one more, of a `sockaddr_un`.
#[track_caller]
pub fn read_reply(control: &mut UnixStream) -> SocketAddr {
    let mut reply = [0; 256];
    control.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut len = 0;
    while len < 110 {
        match uninterrupted(|| control.read(&mut reply[len..])).expect("a reply") {
            0 => panic!("the switch hung up after {len} bytes"),
            more => len += more,
        }
    }
    assert_eq!(len, 110, "a reply has 110 bytes");
    assert_eq!(reply[..2], 1u16.to_ne_bytes(), "of the family AF_UNIX");
    if reply[2] == 0 {
        SocketAddr::from_abstract_name(&reply[3..110]).unwrap()
    } else {
        let end = reply[2..].iter().position(|&byte| byte == 0).unwrap();
        SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(&reply[2..2 + end])).unwrap()
    }
}
