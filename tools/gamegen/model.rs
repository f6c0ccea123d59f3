//! The model of a Half-Life, Team Fortress or Counter-Strike server's traffic, with the source of each
//! number.
//!
//! | short | source |
//! | --- | --- |
//! | D-ITG | D-ITG 2.8, `CSParsera` and `CSParseri` of ITGSend: laws fitted to Counter-Strike |
//! | Faerber | Faerber, "Network game traffic modelling", NetGames 2002; as coded in ns-3, `traffic-generator-ngmn-gaming.cc` |
//! | Feng | Feng, Chang, Feng, Walpole, "Provisioning on-line games: a traffic analysis of a busy Counter-Strike server", IMW 2002 |
//! | Lang | Lang, Armitage, Branch, Choo, "A synthetic traffic model for Half-Life", ATNAC 2003 |
//! | ReHLDS | the engine's behaviour as ReHLDS (commit b29740c1) describes it |
//! | assumed | no source was found; plausible, and nothing that a switch would notice |
//!
//! Feng's and Lang's figures are quoted at second hand. Feng's agree with one another and with the laws
//! of D-ITG; Lang's only serve as an example of an option.

use crate::laws::{IntervalLaw, Shape, SizeLaw};
use crate::random::Random;

/// What is to be made: the options, checked and with all that follows from them.
#[derive(Clone, Debug)]
pub struct Model {
    pub clients: usize,
    /// The length of the capture in nanoseconds.
    pub length: u64,
    pub seed: u32,
    /// Packets a second that a client sends; as fitted if `None`.
    pub client_rate: Option<f64>,
    /// Frames a second that the server computes.
    pub fps: u32,
    /// Server frames from one packet for a client to the next, unless it is choked.
    pub update_frames: u64,
    /// Bytes a second that the server sends to a client at the most.
    pub rate: f64,
    pub s2c: SizeLaw,
    /// All clients are sent to in the same frame, as after a change of map.
    pub in_phase: bool,
    /// Each client is a station of its own; otherwise all are behind the uplink.
    pub clients_are_stations: bool,
    /// Bits a second of a download between two other guests; 0 for none.
    pub bulk: f64,
}

impl Model {
    /// How many clients play; the others are dead or watch. They hold the lower slots.
    ///
    /// 0.74 gives the mean size that Feng measured, 39.72 bytes, from D-ITG's two laws.
    pub fn alive(&self) -> usize {
        libm::round(0.74 * self.clients as f64) as usize
    }

    pub fn is_alive(&self, slot: usize) -> bool {
        slot < self.alive()
    }

    pub fn client_sizes(&self, slot: usize) -> SizeLaw {
        if self.is_alive(slot) { alive_sizes() } else { dead_sizes() }
    }

    pub fn client_intervals(&self, slot: usize) -> IntervalLaw {
        let law = if self.is_alive(slot) { alive_intervals } else { dead_intervals };
        law(self.client_rate)
    }

    /// When a frame of the server begins, in nanoseconds, if it is not late.
    pub fn frame_start(&self, frame: u64) -> u64 {
        frame * SECOND / u64::from(self.fps)
    }

    pub fn frame_length(&self) -> u64 {
        self.frame_start(1)
    }

    /// How many frames after a packet of `size` bytes the client gets the next one.
    ///
    /// The channel is clear again when the packet with its 28 bytes of headers has passed at the
    /// client's rate, and has to be clear before the frame begins (ReHLDS, `Netchan_CanPacket` and
    /// `Netchan_Transmit`).
    pub fn frames_after(&self, size: u16) -> u64 {
        let passed = f64::from(u32::from(size) + 28) / self.rate;
        let clear = libm::floor(passed * f64::from(self.fps)) as u64 + 1;
        clear.max(self.update_frames)
    }
}

/// Server to client: Faerber's law for Counter-Strike, bytes; floored as in ns-3. Feng's mean of 129.51
/// is had with `lev:108.7:36`, Lang's maps with `ln:200:0.31` and the like.
pub const DEFAULT_S2C: &str = "lev:120:36";

/// The smallest packet of a channel is padded to 16 bytes, the largest that is not split has 1400
/// (ReHLDS, `Netchan_Transmit` and `NET_SendPacket`).
pub fn s2c_sizes(shape: Shape) -> SizeLaw {
    SizeLaw { shape, least: 16, most: 1400 }
}

/// A player's packets (D-ITG `CSParsera`). Feng has "almost all" below 60 bytes; the upper bound cuts
/// off what one in a million draws exceeds.
pub fn alive_sizes() -> SizeLaw {
    let shape = Shape::TwoNormals {
        first_share: 0.3732,
        first: (34.8352, 4.3915),
        second: (49.4904, 3.6186),
    };
    SizeLaw { shape, least: 16, most: 65 }
}

/// A dead player's or a spectator's packets (D-ITG `CSParseri`).
pub fn dead_sizes() -> SizeLaw {
    let shape = Shape::Table(&[
        (27, 0.8312),
        (28, 0.0018),
        (29, 0.0453),
        (30, 0.0195),
        (31, 0.0879),
        (32, 0.0024),
        (33, 0.0106),
        (35, 0.0013),
    ]);
    SizeLaw { shape, least: 16, most: 65 }
}

/// D-ITG `CSParsera`: 23.98 packets a second. Another `rate` moves the law and leaves its width, which
/// comes from the client's machine and not from its settings.
pub fn alive_intervals(rate: Option<f64>) -> IntervalLaw {
    intervals(rate, 41.6994, 0.104_821, 0.704_073)
}

/// D-ITG `CSParseri`.
pub fn dead_intervals(rate: Option<f64>) -> IntervalLaw {
    intervals(rate, 41.6858, 0.069_439_3, 1.083_41)
}

fn intervals(rate: Option<f64>, location: f64, scale: f64, degrees: f64) -> IntervalLaw {
    let location = rate.map_or(location, |rate| 1000.0 / rate);
    // From 10 ms up, for the fitted rate; assumed.
    IntervalLaw { location, scale, degrees, reach: location * (1.0 - 10.0 / 41.7) }
}

/// How late a frame of the server begins, as a part of its length at the most; assumed.
pub const FRAME_LATENESS: f64 = 0.02;

/// From one packet of a burst to the next, in nanoseconds: the engine's loop sends to one client after
/// the other; about 15 us, assumed.
pub const BURST_SPACING: (f64, f64) = (12_000.0, 18_000.0);

/// A packet's way to the client and back, in nanoseconds; assumed.
pub const ROUND_TRIP: (f64, f64) = (30e6, 150e6);

/// From one query for the server's state to the next, in nanoseconds on average; assumed. nDPI's
/// `source_engine.pcap` has 17 real ones, of 25 bytes each.
pub const QUERY_INTERVAL: f64 = 1e9;

/// From one heartbeat for the master server to the next, in nanoseconds: 5 minutes, as in QuakeWorld
/// (`HEARTBEAT_SECONDS`).
pub const HEARTBEAT_INTERVAL: u64 = 300 * SECOND;

/// From one ARP request to the next, in nanoseconds: Linux holds an address for good for half to
/// one and a half times `base_reachable_time`, 30 s (arp(7)).
pub const ARP_INTERVAL: (f64, f64) = (15e9, 45e9);

/// Segments that are under way at a time: all of a window of 65535 bytes, the largest without scaling
/// (RFC 9293), in segments of 1460.
pub const BULK_WINDOW: u32 = 44;

/// From one full frame to the next, in nanoseconds: what it takes at a gigabit a second.
pub const BULK_SPACING: u64 = 12_304;

/// From a segment to the acknowledgement that it causes, in nanoseconds; assumed.
pub const BULK_ACK_DELAY: u64 = 40_000;

/// Nanoseconds.
pub const SECOND: u64 = 1_000_000_000;

/// A time from `range`, in nanoseconds.
pub fn draw_time(range: (f64, f64), random: &mut Random) -> u64 {
    random.between(range.0, range.1) as u64
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A model with the default options.
    pub fn model() -> Model {
        Model {
            clients: 32,
            length: 10 * SECOND,
            seed: 1,
            client_rate: None,
            fps: 100,
            update_frames: 5,
            rate: 7500.0,
            s2c: s2c_sizes(DEFAULT_S2C.parse().unwrap()),
            in_phase: false,
            clients_are_stations: false,
            bulk: 0.0,
        }
    }

    #[test]
    fn the_mean_size_of_all_clients_is_fengs() {
        let alive = alive_sizes().moments().mean;
        let dead = dead_sizes().moments().mean;
        for (clients, playing) in [(32, 24), (22, 16), (12, 9)] {
            let model = Model { clients, ..model() };
            assert_eq!(model.alive(), playing);
            let mean =
                (0..clients).map(|slot| model.client_sizes(slot).moments().mean).sum::<f64>()
                    / clients as f64;
            assert!((mean - 39.72).abs() < 0.5, "{mean}");
        }
        assert!((0.74 * alive + 0.26 * dead - 39.72).abs() < 0.05);
    }

    /// At 5000 bytes a second 222 bytes and their headers take 50 ms; the next frame is not clear yet.
    #[test]
    fn a_packet_that_has_not_passed_chokes_the_next() {
        let model = Model { rate: 5000.0, ..model() };
        for (size, frames) in [(16, 5), (221, 5), (222, 6), (271, 6), (272, 7), (1400, 29)] {
            assert_eq!(model.frames_after(size), frames, "{size}");
        }
        let fast = Model { rate: 1e9, ..model };
        assert_eq!(fast.frames_after(1400), 5);
    }
}
