//! Clients whose connection is their port: `bess` as a guest's kernel has it, and QEMU's stream.

use std::fmt::Debug;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};

use super::{Client, DEADLINE, Mac, SILENCE, Switch, frame, uninterrupted};

/// A client of any kind that has a port.
pub trait Guest: Debug + Send + Sync {
    /// Sends a frame; waits while there is no room.
    fn send(&self, frame: &[u8]);

    /// The next frame, if one comes in time; `None` at the end, too.
    fn receive_within(&self, time: Duration) -> Option<Vec<u8>>;

    /// The next frame. Panics if none comes.
    #[track_caller]
    fn receive(&self) -> Vec<u8> {
        self.receive_within(DEADLINE).expect("a frame")
    }

    /// Panics unless nothing comes for a while.
    #[track_caller]
    fn expect_silence(&self) {
        if let Some(bytes) = self.receive_within(SILENCE) {
            panic!("{} unexpected bytes: {:x?}", bytes.len(), &bytes[..bytes.len().min(32)]);
        }
    }
}

impl Guest for Client {
    fn send(&self, frame: &[u8]) {
        Client::send(self, frame);
    }

    fn receive_within(&self, time: Duration) -> Option<Vec<u8>> {
        Client::receive_within(self, time)
    }
}

/// Sends a frame of `len` bytes and panics unless it is what the other receives next.
#[track_caller]
pub fn reach((from, source): (&dyn Guest, Mac), (to, destination): (&dyn Guest, Mac), len: usize) {
    let sent = frame(destination, source, len);
    from.send(&sent);
    assert!(to.receive() == sent, "{len} bytes from {from:?} to {to:?}");
}

/// Where the sockets of these kinds are in a switch's directory.
pub const BESS: &str = "bess";
pub const QEMU: &str = "qemu";

/// A switch with both of these sockets, and these options.
#[track_caller]
pub fn with_connections(options: &str) -> Switch {
    let dir = tempfile::tempdir().expect("a directory for the switch");
    let control = dir.path().join("ctl");
    let mut command = std::process::Command::new(super::binary());
    command.current_dir(dir.path()).args(["-unix", "ctl", "--bess", BESS, "--qemu", QEMU]);
    command.args(options.split_whitespace());
    Switch::spawn(dir, control, command)
}

/// A guest's `vec0:transport=bess`.
#[derive(Debug)]
pub struct BessClient(pub Socket);

impl BessClient {
    #[track_caller]
    pub fn new(switch: &Switch) -> BessClient {
        BessClient::dial(&switch.dir.path().join(BESS)).expect("the switch listens")
    }

    pub fn dial(path: &Path) -> std::io::Result<BessClient> {
        let socket = Socket::new(Domain::UNIX, Type::SEQPACKET, None)?;
        socket.connect(&SockAddr::unix(path)?)?;
        socket.set_write_timeout(Some(DEADLINE))?;
        Ok(BessClient(socket))
    }
}

impl Guest for BessClient {
    fn send(&self, frame: &[u8]) {
        let sent = uninterrupted(|| self.0.send(frame)).expect("the switch takes a frame");
        assert_eq!(sent, frame.len());
    }

    fn receive_within(&self, time: Duration) -> Option<Vec<u8>> {
        let mut buffer = vec![0; 1 << 17];
        self.0.set_read_timeout(Some(time.max(Duration::from_millis(1)))).unwrap();
        let len = uninterrupted(|| (&self.0).read(&mut buffer)).ok().filter(|&len| len > 0)?;
        buffer.truncate(len);
        Some(buffer)
    }
}

/// QEMU's `-netdev stream`.
#[derive(Debug)]
pub struct QemuClient {
    pub stream: UnixStream,
    /// What has come of the next frame.
    come: Mutex<Vec<u8>>,
}

impl QemuClient {
    #[track_caller]
    pub fn new(switch: &Switch) -> QemuClient {
        QemuClient::on(super::process::connect(&switch.dir.path().join(QEMU)))
    }

    /// What is at this end of a connection that somebody else has made.
    pub fn on(stream: UnixStream) -> QemuClient {
        QemuClient { stream, come: Mutex::default() }
    }

    /// Sends these bytes as they are.
    #[track_caller]
    pub fn write(&self, bytes: &[u8]) {
        (&self.stream).write_all(bytes).expect("the switch takes bytes");
    }

    /// Waits for the switch to hang up; panics if it sends anything before.
    #[track_caller]
    pub fn expect_end(&self) {
        let mut rest = Vec::new();
        self.stream.set_read_timeout(Some(DEADLINE)).unwrap();
        // What it has not read makes an error of the end.
        if let Err(error) = (&self.stream).read_to_end(&mut rest) {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        }
        assert!(rest.is_empty(), "{} bytes", rest.len());
    }

    /// Reads until `len` bytes of the next frame are there, length included.
    fn fill(&self, len: usize) -> Option<()> {
        let mut come = self.come.lock().unwrap();
        while come.len() < len {
            let mut buffer = vec![0; len - come.len()];
            let more = uninterrupted(|| (&self.stream).read(&mut buffer)).ok()?;
            if more == 0 {
                return None;
            }
            come.extend_from_slice(&buffer[..more]);
        }
        Some(())
    }
}

/// `frame` as it is on the stream.
pub fn on_stream(frame: &[u8]) -> Vec<u8> {
    [&(frame.len() as u32).to_be_bytes(), frame].concat()
}

impl Guest for QemuClient {
    fn send(&self, frame: &[u8]) {
        self.write(&on_stream(frame));
    }

    fn receive_within(&self, time: Duration) -> Option<Vec<u8>> {
        self.stream.set_read_timeout(Some(time.max(Duration::from_millis(1)))).unwrap();
        self.fill(4)?;
        let len = u32::from_be_bytes(self.come.lock().unwrap()[..4].try_into().unwrap()) as usize;
        assert!((14..=65_549).contains(&len), "a length of {len}");
        self.fill(4 + len)?;
        Some(std::mem::take(&mut *self.come.lock().unwrap()).split_off(4))
    }
}
