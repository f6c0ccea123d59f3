//! The library's own client, through the real switch, by every transport.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use uml_switch::client::{BROADCAST, Client, ClientError, PATIENCE, Transport, frame, mac};

const ALL: [Transport; 4] = [Transport::Daemon, Transport::Bess, Transport::Vde, Transport::Qemu];

/// A running switch with a socket for each transport. Ends when dropped.
struct Switch {
    child: Child,
    directory: tempfile::TempDir,
}

impl Switch {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_uml_switch"))
            .current_dir(directory.path())
            .args(["-unix", "ctl", "--bess", "bess", "--vde", "vde", "--qemu", "qemu"])
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let switch = Switch { child, directory };
        // It is the last that is there.
        let begin = Instant::now();
        while UnixStream::connect(switch.socket(Transport::Daemon)).is_err() {
            assert!(begin.elapsed() < DEADLINE, "it does not serve");
            thread::sleep(Duration::from_millis(1));
        }
        switch
    }

    fn socket(&self, transport: Transport) -> PathBuf {
        self.directory.path().join(match transport {
            Transport::Daemon => "ctl",
            Transport::Bess => "bess",
            Transport::Vde => "vde",
            Transport::Qemu => "qemu",
        })
    }

    #[track_caller]
    fn client(&self, transport: Transport, n: u32) -> Client {
        Client::connect_by(transport, &self.socket(transport), mac(n)).unwrap()
    }

    fn stop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The next frame of `len` bytes; frames of other lengths are passed over.
#[track_caller]
fn receive(client: &Client, len: usize) -> Vec<u8> {
    let mut buffer = vec![0; LONGEST + 1];
    let begin = Instant::now();
    loop {
        assert!(begin.elapsed() < DEADLINE, "no frame of {len} bytes");
        if client.receive(&mut buffer).unwrap() == Some(len) {
            return buffer[..len].to_vec();
        }
    }
}

#[test]
fn frames_of_all_lengths_come_whole_by_every_transport() {
    let switch = Switch::start();
    let clients: Vec<Client> =
        ALL.iter().zip(1..).map(|(&transport, n)| switch.client(transport, n)).collect();
    let first = &clients[0];
    for other in &clients[1..] {
        // Where there is no handshake, a client that is heard is attached.
        let hello = frame(BROADCAST, other.mac(), 60);
        other.send(&hello).unwrap();
        assert_eq!(receive(first, 60), hello);
    }
    first.send(&frame(BROADCAST, first.mac(), 61)).unwrap();
    for (from, to) in clients.iter().flat_map(|a| clients.iter().map(move |b| (a, b))) {
        if from.mac() == to.mac() {
            continue;
        }
        for len in [14, 62, 1514, LONGEST] {
            let mut sent = frame(to.mac(), from.mac(), len);
            for (at, byte) in sent[14..].iter_mut().enumerate() {
                *byte = (at % 251) as u8;
            }
            from.send(&sent).unwrap();
            assert!(receive(to, len) == sent, "{len} bytes from {from:?} to {to:?}");
        }
    }
}

#[test]
fn many_frames_at_once_are_all_there() {
    let switch = Switch::start();
    for (transport, n) in ALL.into_iter().zip([1, 3, 5, 7]) {
        let (from, to) = (switch.client(transport, n), switch.client(transport, n + 1));
        to.send(&frame(BROADCAST, to.mac(), 60)).unwrap();
        receive(&from, 60);
        thread::scope(|scope| {
            let sender = scope.spawn(|| {
                let mut numbered = frame(to.mac(), from.mac(), 200);
                for n in 0..2000_u32 {
                    numbered[14..18].copy_from_slice(&n.to_be_bytes());
                    from.send(&numbered).unwrap();
                }
            });
            for n in 0..2000_u32 {
                assert_eq!(receive(&to, 200)[14..18], n.to_be_bytes(), "{transport:?}");
            }
            sender.join().unwrap();
        });
    }
}

#[test]
fn nobody_waits_who_is_told_not_to_and_the_end_is_an_error() {
    let mut switch = Switch::start();
    let clients = ALL.map(|transport| switch.client(transport, 1));
    for client in &clients {
        client.set_nonblocking(true).unwrap();
        assert_eq!(client.receive(&mut [0; 64]).unwrap(), None);
        client.set_nonblocking(false).unwrap();
        client.set_patience(PATIENCE / 100).unwrap();
        assert_eq!(client.receive(&mut [0; 64]).unwrap(), None);
    }
    switch.stop();
    for (client, transport) in clients.iter().zip(ALL) {
        assert!(client.send(&frame(BROADCAST, client.mac(), 60)).is_err(), "{transport:?}");
    }
}

#[test]
fn who_serves_nobody_is_unreachable() {
    for transport in ALL {
        let result = Client::connect_by(transport, Path::new("/nonexistent/socket"), mac(1));
        assert!(matches!(result, Err(ClientError::Unreachable { .. })), "{transport:?}");
    }
}

/// `--mtu` and what the switch allows above it.
const LONGEST: usize = 9018;

const DEADLINE: Duration = Duration::from_secs(20);
