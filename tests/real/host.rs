//! The host's side of `tap0`, by its own commands and sockets.

use std::ffi::OsStr;
use std::net::UdpSocket;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use etherparse::{NetSlice, SlicedPacket, TransportSlice};

use crate::needs::PATH;
use crate::support::{Client, DEADLINE, Mac, Switch, mac, udp_frame};

/// The host's address on `tap0`; its MAC address ends with the same number, as with all stations.
pub const ADDRESS: &str = "10.0.0.254";
pub const MAC: u32 = 254;

/// The ports of [`udp_frame`].
const GUEST_PORT: u16 = 27005;
const HOST_PORT: u16 = 27015;

/// A command found in [`PATH`].
pub fn command(name: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(name);
    command.env("PATH", PATH);
    command
}

/// Runs `ip` with these arguments, separated by spaces; panics unless it succeeds.
#[track_caller]
pub fn ip(args: &str) -> String {
    let Output { status, stdout, stderr } =
        command("ip").args(args.split_whitespace()).output().expect("ip runs");
    assert!(status.success(), "ip {args}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).expect("it prints text")
}

/// True if there is an interface `name`.
pub fn has_interface(name: &str) -> bool {
    nix::net::if_::if_nametoindex(name).is_ok()
}

/// Gives interface `name` the host's address, neighbours `10.0.0.1` to `10.0.0.9`, and takes it up.
#[track_caller]
pub fn configure(name: &str) {
    ip(&format!("link set {name} address {}", show(mac(MAC))));
    ip(&format!("addr add {ADDRESS}/24 dev {name}"));
    take_up(name);
}

/// Takes interface `name` up, with its neighbours: they are forgotten whenever it goes down.
#[track_caller]
pub fn take_up(name: &str) {
    ip(&format!("link set {name} up"));
    for n in 1..10 {
        ip(&format!("neigh replace 10.0.0.{n} lladdr {} dev {name} nud permanent", show(mac(n))));
    }
}

/// The host's socket for frames with [`udp_frame`]'s ports.
#[track_caller]
pub fn socket() -> UdpSocket {
    let socket = UdpSocket::bind((ADDRESS, HOST_PORT)).expect("the host has its address");
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket
}

/// Sends a datagram from `guest` to the host and one back, with payloads of `len` bytes; panics
/// unless both arrive as they were sent.
#[track_caller]
pub fn exchange_of(guest: &Client, len: usize) {
    let socket = socket();
    let question: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
    guest.send(&udp_frame(mac(MAC), guest.mac, &question));
    let mut buffer = vec![0; 1 << 16];
    let (received, from) = socket.recv_from(&mut buffer).expect("the host receives a datagram");
    assert!(buffer[..received] == question, "the host received other {received} bytes");
    assert_eq!(from.port(), GUEST_PORT);
    let answer: Vec<u8> = question.iter().rev().copied().collect();
    socket.send_to(&answer, from).expect("the host sends a datagram");
    // What other guests have sent to the host while its place was not known came here too.
    let payload = loop {
        match receive_udp(guest) {
            (to, payload) if to == guest.mac => break payload,
            _ => {}
        }
    };
    assert!(payload == answer, "the guest received other {} bytes", payload.len());
}

/// [`exchange_of`] with a few bytes.
#[track_caller]
pub fn exchange(guest: &Client) {
    exchange_of(guest, 100);
}

/// The next UDP datagram that `guest` receives: who the frame was for, and its payload.
#[track_caller]
pub fn receive_udp(guest: &Client) -> (Mac, Vec<u8>) {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let frame = guest.receive_within(left).expect("a UDP datagram");
        let packet = SlicedPacket::from_ethernet(&frame).expect("a frame of the host");
        if let (Some(NetSlice::Ipv4(_)), Some(TransportSlice::Udp(udp))) =
            (&packet.net, &packet.transport)
        {
            return (frame[..6].try_into().unwrap(), udp.payload().to_vec());
        }
    }
}

/// Panics if the switch uses the processor although there is nothing to do.
#[track_caller]
pub fn expect_idle(switch: &Switch) {
    let before = switch.cpu();
    std::thread::sleep(OBSERVED);
    let used = switch.cpu() - before;
    assert!(used < OBSERVED / 8, "{used:?} of processor time in {OBSERVED:?} of nothing to do");
}

/// How long to look before a process counts as idle: one that spins gets more than an eighth of
/// that even on a busy machine.
const OBSERVED: Duration = Duration::from_millis(800);

/// A MAC address in the usual notation.
pub fn show(mac: Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
