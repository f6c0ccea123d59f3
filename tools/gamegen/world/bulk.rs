//! A download between two other guests: full frames, a window at a time, and an acknowledgement for
//! every second of them.

use super::Wake;
use super::timeline::Timeline;
use crate::model::{self, BULK_WINDOW, Model, SECOND};
use crate::random::{Actor, Random};
use crate::wire;

#[derive(Debug)]
pub struct Bulk {
    /// From one window to the next, in nanoseconds.
    interval: u64,
    sequence: u32,
    ip_ids: (u16, u16),
}

impl Bulk {
    pub fn new(model: &Model, timeline: &mut Timeline) -> Self {
        let mut random = Random::new(model.seed, Actor::Bulk);
        let window_bits = f64::from(BULK_WINDOW) * FULL_FRAME * 8.0;
        let interval = window_bits / model.bulk * SECOND as f64;
        if model.bulk > 0.0 {
            timeline.wake((random.unit() * interval) as u64, Wake::Bulk);
        }
        Bulk { interval: interval as u64, sequence: random.below(u32::MAX), ip_ids: (0, 0) }
    }

    /// Sends one window and its acknowledgements.
    pub fn send_window(&mut self, now: u64, timeline: &mut Timeline) {
        let (source, sink) = wire::bulk_guests();
        for segment in 0..BULK_WINDOW {
            let time = now + u64::from(segment) * model::BULK_SPACING;
            let payload = [segment as u8; SEGMENT];
            self.ip_ids.0 = self.ip_ids.0.wrapping_add(1);
            let numbers = (self.sequence, SINK_SEQUENCE);
            timeline.send(
                time,
                wire::tcp((source, sink), SOURCE_TO_SINK, self.ip_ids.0, numbers, &payload),
            );
            self.sequence = self.sequence.wrapping_add(SEGMENT as u32);
            if segment % 2 == 1 {
                self.ip_ids.1 = self.ip_ids.1.wrapping_add(1);
                let numbers = (SINK_SEQUENCE, self.sequence);
                timeline.send(
                    time + model::BULK_ACK_DELAY,
                    wire::tcp((sink, source), SINK_TO_SOURCE, self.ip_ids.1, numbers, &[]),
                );
            }
        }
        timeline.wake(now.saturating_add(self.interval), Wake::Bulk);
    }
}

/// Payload of a full segment in bytes: an MTU of 1500 less 40 of headers.
const SEGMENT: usize = 1460;

/// A full frame in bytes.
const FULL_FRAME: f64 = 1514.0;

/// Ports: a web server's, and its client's.
const SOURCE_TO_SINK: (u16, u16) = (80, 40_000);
const SINK_TO_SOURCE: (u16, u16) = (40_000, 80);

/// The sink has asked long ago and says no more.
const SINK_SEQUENCE: u32 = 1000;
