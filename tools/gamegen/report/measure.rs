//! What a capture holds, by client and direction.

use std::path::Path;

use anyhow::Result;
use etherparse::{NetSlice, SlicedPacket, TransportSlice};

use crate::capture;
use crate::goldsrc::{CLIENT_PORT, CONNECTIONLESS, SERVER_PORT};
use crate::model::{Model, SECOND};
use crate::wire;

/// What was found in a capture.
#[derive(Debug, Default)]
pub struct Measured {
    /// By slot.
    pub clients: Vec<Client>,
    /// Game packets of the server: when each was sent, in nanoseconds.
    pub server_times: Vec<u64>,
    /// Queries for the server's state, their answers, and heartbeats.
    pub connectionless: u64,
    pub arp: u64,
    pub bulk: u64,
    /// Frames of no known kind.
    pub other: u64,
    pub frames: u64,
    pub bytes: u64,
    /// The time of the last frame, in nanoseconds from the first.
    pub length: u64,
}

/// One client's packets.
#[derive(Debug, Default)]
pub struct Client {
    pub up: Flow,
    pub down: Flow,
}

/// The game packets of one client in one direction.
#[derive(Debug, Default)]
pub struct Flow {
    /// When, in nanoseconds.
    pub times: Vec<u64>,
    /// UDP payload, in bytes.
    pub sizes: Vec<u16>,
}

impl Measured {
    /// Reads a capture of as many clients as `model` has.
    ///
    /// # Errors
    /// Those of [`capture::read`].
    pub fn read(path: &Path, model: &Model) -> Result<Self> {
        let mut measured = Measured::default();
        measured.clients.resize_with(model.clients, Client::default);
        capture::read(path, |time, frame| measured.count(time, frame))?;
        Ok(measured)
    }

    fn count(&mut self, time: u64, frame: &[u8]) {
        self.frames += 1;
        self.bytes += frame.len() as u64;
        self.length = time;
        match kind(frame) {
            Kind::Up(slot, size) if slot < self.clients.len() => {
                self.clients[slot].up.add(time, size);
            }
            Kind::Down(slot, size) if slot < self.clients.len() => {
                self.clients[slot].down.add(time, size);
                self.server_times.push(time);
            }
            Kind::Connectionless => self.connectionless += 1,
            Kind::Arp => self.arp += 1,
            Kind::Bulk => self.bulk += 1,
            Kind::Up(..) | Kind::Down(..) | Kind::Other => self.other += 1,
        }
    }

    /// The bursts of the server: for each its start and how many packets it has. What is less than
    /// half a frame of the server apart belongs together.
    pub fn bursts(&self, model: &Model) -> Vec<(u64, u64)> {
        let mut bursts: Vec<(u64, u64)> = Vec::new();
        let mut before = None;
        for &time in &self.server_times {
            match bursts.last_mut() {
                Some((_, size)) if before.is_some_and(|b| time - b < model.frame_length() / 2) => {
                    *size += 1;
                }
                _ => bursts.push((time, 1)),
            }
            before = Some(time);
        }
        bursts
    }
}

impl Flow {
    fn add(&mut self, time: u64, size: u16) {
        self.times.push(time);
        self.sizes.push(size);
    }

    /// Packets a second, from the first to the last. NaN if there are fewer than two.
    pub fn rate(&self) -> f64 {
        let (Some(first), Some(last)) = (self.times.first(), self.times.last()) else {
            return f64::NAN;
        };
        (self.times.len() as f64 - 1.0) / ((last - first) as f64 / SECOND as f64)
    }

    /// The times between its packets, in milliseconds.
    pub fn intervals(&self) -> impl Iterator<Item = f64> + '_ {
        self.times.windows(2).map(|pair| (pair[1] - pair[0]) as f64 / 1e6)
    }

    pub fn sizes(&self) -> impl Iterator<Item = f64> + '_ {
        self.sizes.iter().map(|size| f64::from(*size))
    }
}

/// Numbers, in order, and what they say.
#[derive(Debug)]
pub struct Sample(Vec<f64>);

impl FromIterator<f64> for Sample {
    fn from_iter<I: IntoIterator<Item = f64>>(numbers: I) -> Self {
        let mut numbers: Vec<f64> = numbers.into_iter().collect();
        numbers.sort_by(f64::total_cmp);
        Sample(numbers)
    }
}

impl Sample {
    pub fn len(&self) -> f64 {
        self.0.len() as f64
    }

    pub fn mean(&self) -> f64 {
        self.0.iter().sum::<f64>() / self.len()
    }

    pub fn sd(&self) -> f64 {
        let mean = self.mean();
        (self.0.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / self.len()).sqrt()
    }

    /// The number that a `share` of all does not exceed; NaN if there are none.
    pub fn quantile(&self, share: f64) -> f64 {
        let place = (self.len() * share).ceil() as usize;
        self.0.get(place.saturating_sub(1)).copied().unwrap_or(f64::NAN)
    }

    /// How large a part of the numbers is one of those that `which` picks.
    pub fn share(&self, which: impl Fn(f64) -> bool) -> f64 {
        self.0.iter().filter(|x| which(**x)).count() as f64 / self.len()
    }
}

/// What a frame is; the game's with the slot of the client and the bytes of payload.
enum Kind {
    Up(usize, u16),
    Down(usize, u16),
    Connectionless,
    Arp,
    Bulk,
    Other,
}

fn kind(frame: &[u8]) -> Kind {
    let Ok(sliced) = SlicedPacket::from_ethernet(frame) else { return Kind::Other };
    let ip = match sliced.net {
        Some(NetSlice::Arp(_)) => return Kind::Arp,
        Some(NetSlice::Ipv4(ip)) => ip,
        _ => return Kind::Other,
    };
    let (from, to) = (ip.header().source_addr(), ip.header().destination_addr());
    let udp = match sliced.transport {
        Some(TransportSlice::Tcp(_)) => return Kind::Bulk,
        Some(TransportSlice::Udp(udp)) => udp,
        _ => return Kind::Other,
    };
    let server = wire::server().ip;
    if from != server && to != server {
        return Kind::Other;
    }
    let size = udp.payload().len() as u16;
    match (udp.source_port(), udp.destination_port()) {
        (CLIENT_PORT, SERVER_PORT) => {
            wire::slot_of(from).map_or(Kind::Other, |slot| Kind::Up(slot, size))
        }
        (SERVER_PORT, CLIENT_PORT) => {
            wire::slot_of(to).map_or(Kind::Other, |slot| Kind::Down(slot, size))
        }
        (_, SERVER_PORT) if udp.payload().starts_with(&CONNECTIONLESS) => Kind::Connectionless,
        (SERVER_PORT, _) => Kind::Connectionless,
        _ => Kind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_summed_up() {
        let sample: Sample = [4.0, 1.0, 3.0, 2.0].into_iter().collect();
        assert_eq!((sample.mean(), sample.quantile(0.5), sample.quantile(1.0)), (2.5, 2.0, 4.0));
        assert!((sample.sd() - 1.25_f64.sqrt()).abs() < 1e-12);
        assert_eq!(sample.share(|x| x > 3.5), 0.25);
        let none: Sample = [].into_iter().collect();
        assert!(none.mean().is_nan() && none.quantile(0.5).is_nan());
    }

    #[test]
    fn a_burst_is_what_is_close_together() {
        let model = crate::model::tests::model();
        let server_times = vec![0, 15_000, 30_000, 10_000_000, 30_000_000, 30_900_000];
        let measured = Measured { server_times, ..Measured::default() };
        assert_eq!(measured.bursts(&model), [(0, 3), (10_000_000, 1), (30_000_000, 2)]);
    }
}
