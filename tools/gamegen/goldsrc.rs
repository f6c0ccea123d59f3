//! Packets as Half-Life's engine, GoldSrc, puts them on the wire.
//!
//! A game packet is two little-endian words, its sequence number and the newest number seen from the
//! other side, and a body that is munged: scrambled with the sequence number against simple cheats
//! (ReHLDS, `Netchan_Transmit` and `COM_Munge2`). There is no reliable part and there are no fragments
//! here. A connectionless packet is four bytes 0xff and text that a NUL ends.
//!
//! Wireshark has no dissector for it; that of QuakeWorld reads it, with
//! `-o quakeworld.udp.port:27015`.

use std::net::Ipv4Addr;

use crate::random::Random;

/// UDP port of a server (ReHLDS, `PORT_SERVER`).
pub const SERVER_PORT: u16 = 27015;
/// UDP port of a client (ReHLDS, `PORT_CLIENT`).
pub const CLIENT_PORT: u16 = 27005;
/// UDP port of the master server, which knows all servers (ReHLDS, `PORT_MASTER`).
pub const MASTER_PORT: u16 = 27010;

/// Bytes before the body: sequence and acknowledgement.
pub const HEADER: usize = 8;

/// What a connectionless packet begins with.
pub const CONNECTIONLESS: [u8; 4] = [0xff; 4];

/// Which side speaks; the first byte of the body says what it is about.
#[derive(Clone, Copy, Debug)]
pub enum Speaker {
    /// `clc_move`: what the player did.
    Client = 2,
    /// `svc_time`, the first in each of the server's datagrams.
    Server = 7,
}

/// A packet of `size` bytes, at least [`HEADER`], of a game that runs. Beyond its first byte the body
/// is random: it is packed bit by bit in the game, too.
pub fn game_packet(
    speaker: Speaker,
    sequence: u32,
    acknowledged: u32,
    size: u16,
    random: &mut Random,
) -> Vec<u8> {
    let mut packet = vec![0; usize::from(size).max(HEADER)];
    let (header, body) = packet.split_at_mut(HEADER);
    let sequence = sequence & SEQUENCE_BITS;
    header[..4].copy_from_slice(&sequence.to_le_bytes());
    header[4..].copy_from_slice(&(acknowledged & SEQUENCE_BITS).to_le_bytes());
    random.fill(body);
    if let Some(first) = body.first_mut() {
        *first = speaker as u8;
    }
    munge(body, sequence as u8);
    packet
}

/// The upper two bits of a sequence number say what else is in the packet.
const SEQUENCE_BITS: u32 = 0x3fff_ffff;

/// Scrambles a body in place. Bytes after the last whole word stay as they are.
pub fn munge(body: &mut [u8], sequence: u8) {
    let sequence = u32::from(sequence);
    for (index, bytes) in body.as_chunks_mut::<4>().0.iter_mut().enumerate() {
        let swapped = (u32::from_le_bytes(*bytes) ^ !sequence).swap_bytes();
        *bytes = (swapped ^ munge_mask(index) ^ sequence).to_le_bytes();
    }
}

/// What the bytes of word `index` are flipped with.
fn munge_mask(index: usize) -> u32 {
    let byte = |place: usize| {
        let place_bits = (place << place | place) as u8;
        0xa5 | place_bits | MUNGE_TABLE[(index + place) % MUNGE_TABLE.len()]
    };
    u32::from_le_bytes(std::array::from_fn(byte))
}

/// ReHLDS, `mungify_table2`.
const MUNGE_TABLE: [u8; 16] = [
    0x05, 0x61, 0x7a, 0xed, 0x1b, 0xca, 0x0d, 0x9b, 0x4a, 0xf1, 0x64, 0xc7, 0xb5, 0x8e, 0xdf, 0xa0,
];

/// A query for the server's state, `A2S_INFO`: 25 bytes, as in real captures.
pub fn info_query() -> Vec<u8> {
    connectionless(b"TSource Engine Query\0")
}

/// The answer to [`info_query`] of a GoldSrc server, `S2A_INFO_DETAILED`.
pub fn info_answer(server: Ipv4Addr, players: u8) -> Vec<u8> {
    let mut text =
        format!("m{server}:{SERVER_PORT}\0User-Mode Linux\0de_dust2\0cstrike\0Counter-Strike\0")
            .into_bytes();
    // Players, room for, protocol; dedicated, Linux; no password, no mod, not secured, no bots.
    text.extend([players, players.max(32), PROTOCOL, b'd', b'l', 0, 0, 0, 0]);
    connectionless(&text)
}

/// What the server tells its master about itself. The request and the challenge that come before it
/// are left out: they are too short for Wireshark's dissector.
pub fn heartbeat(challenge: u32, players: u8) -> Vec<u8> {
    let room = players.max(32);
    format!(
        "0\n\\protocol\\{PROTOCOL}\\challenge\\{challenge}\\players\\{players}\\max\\{room}\\bots\\0\
         \\gamedir\\cstrike\\map\\de_dust2\\password\\0\\os\\l\\lan\\0\\region\\255\\type\\d\n\0"
    )
    .into_bytes()
}

/// Half-Life's protocol from 2002 on.
const PROTOCOL: u8 = 47;

fn connectionless(text: &[u8]) -> Vec<u8> {
    [&CONNECTIONLESS, text].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Actor;

    fn unmunge(body: &mut [u8], sequence: u8) {
        let sequence = u32::from(sequence);
        for (index, bytes) in body.as_chunks_mut::<4>().0.iter_mut().enumerate() {
            let swapped = u32::from_le_bytes(*bytes) ^ sequence ^ munge_mask(index);
            *bytes = (swapped.swap_bytes() ^ !sequence).to_le_bytes();
        }
    }

    /// The masks as ReHLDS spells them out in its unrolled loop.
    #[test]
    fn masks_are_the_engines() {
        let known = [
            (0, 0xffff_e7a5),
            (1, 0xbfef_ffe5),
            (2, 0xffbf_efff),
            (3, 0xbfef_bfed),
            (7, 0xffff_efbf),
            (12, 0xbfff_afb5),
            (15, 0xffef_a7a5),
            (16, 0xffff_e7a5),
        ];
        for (index, mask) in known {
            assert_eq!(munge_mask(index), mask, "{index}");
        }
    }

    /// By hand: zeros become the mask, flipped with the number and with its swapped complement.
    #[test]
    fn words_are_munged_as_the_engine_does() {
        for (sequence, first) in
            [(0x00, 0x0000_185a_u32), (0x01, 0x0100_185b), (0x5a, 0x5a00_1800), (0xff, 0xff00_18a5)]
        {
            let mut body = [0; 4];
            munge(&mut body, sequence);
            assert_eq!(u32::from_le_bytes(body), first, "{sequence:#x}");
        }
        let mut body = [0x12, 0x34, 0x56, 0x78];
        munge(&mut body, 0);
        assert_eq!(body, [0x78 ^ 0x5a, 0x56 ^ 0x18, 0x34, 0x12]);
    }

    #[test]
    fn munging_has_an_inverse_and_leaves_the_rest_alone() {
        let mut random = Random::new(3, Actor::Server);
        for length in 0..70 {
            let mut original = vec![0; length];
            random.fill(&mut original);
            for sequence in [0, 1, 0x5a, 0x80, 0xff] {
                let mut body = original.clone();
                munge(&mut body, sequence);
                assert_eq!(body[length / 4 * 4..], original[length / 4 * 4..]);
                assert!(length < 4 || body != original);
                unmunge(&mut body, sequence);
                assert_eq!(body, original);
            }
        }
    }

    #[test]
    fn a_game_packet_has_its_numbers_in_the_clear_and_no_flags() {
        let mut random = Random::new(3, Actor::Server);
        let mut packet = game_packet(Speaker::Server, 0xc000_0102, 0xffff_ffff, 30, &mut random);
        assert_eq!(packet.len(), 30);
        assert_eq!(packet[..8], [0x02, 0x01, 0, 0, 0xff, 0xff, 0xff, 0x3f]);
        unmunge(&mut packet[8..], 2);
        assert_eq!(packet[8], 7);
    }

    #[test]
    fn connectionless_texts_end_with_a_nul() {
        assert_eq!(info_query().len(), 25);
        for packet in [info_query(), info_answer(Ipv4Addr::LOCALHOST, 12)] {
            assert!(packet.starts_with(&CONNECTIONLESS) && packet.ends_with(&[0]));
        }
    }
}
