//! Frames to send.

use etherparse::PacketBuilder;

pub type Mac = [u8; 6];

pub const BROADCAST: Mac = [0xff; 6];

/// The address of station `n`, locally administered as User-Mode Linux makes them.
pub fn mac(n: u32) -> Mac {
    let [a, b, c, d] = n.to_be_bytes();
    [2, 0, a, b, c, d]
}

/// A frame of `len` bytes (14 or more) whose payload tells its place, so that a cut or a mix-up shows.
pub fn frame(to: Mac, from: Mac, len: usize) -> Vec<u8> {
    let mut bytes = [to.as_slice(), &from, &[0x88, 0xb5]].concat();
    bytes.extend((bytes.len()..len).map(|at| (at % 251) as u8));
    bytes
}

/// A frame with a UDP datagram, as a game sends them.
pub fn udp_frame(to: Mac, from: Mac, payload: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(from, to)
        .ipv4([10, 0, 0, from[5]], [10, 0, 0, to[5]], 64)
        .udp(27005, 27015);
    let mut bytes = Vec::with_capacity(builder.size(payload.len()));
    builder.write(&mut bytes, payload).expect("a frame fits a vector");
    bytes
}
