//! The players: each sends on its own clock, in no step with the others or with the server.

use super::timeline::Timeline;
use super::{Wake, server};
use crate::goldsrc::{self, CLIENT_PORT, SERVER_PORT, Speaker};
use crate::laws::{IntervalLaw, SizeLaw};
use crate::model::{self, Model};
use crate::random::{Actor, Random};
use crate::wire::{self, Station};

/// All players, by slot.
#[derive(Debug)]
pub struct Clients(Vec<Client>);

/// One player, and its channel to the server: both directions, as the numbers of each appear in the
/// packets of the other.
#[derive(Debug)]
struct Client {
    station: Station,
    sizes: SizeLaw,
    intervals: IntervalLaw,
    random: Random,
    /// The next packet's number, from the client and from the server.
    next_up: u32,
    next_down: u32,
    /// Packets of the server that are still under way when the client sends one, in either direction.
    unseen: u32,
    ip_id: u16,
}

impl Clients {
    pub fn new(model: &Model, timeline: &mut Timeline) -> Self {
        Clients((0..model.clients).map(|slot| Client::new(slot, model, timeline)).collect())
    }

    /// The client in `slot` sends a packet and goes on with its clock.
    pub fn send(&mut self, slot: usize, now: u64, timeline: &mut Timeline) {
        let Some(client) = self.0.get_mut(slot) else { return };
        timeline.send(now, client.next_frame());
        let interval = client.intervals.draw(&mut client.random) * 1e6;
        timeline.wake(now + interval as u64, Wake::Client(slot));
    }

    /// A frame with the server's next packet for the client in `slot`, with `size` bytes of payload.
    pub fn frame_from_server(
        &mut self,
        slot: usize,
        size: u16,
        ip_id: u16,
        random: &mut Random,
    ) -> Vec<u8> {
        let client = &mut self.0[slot];
        let (number, seen) = (client.next_down, client.next_up.wrapping_sub(1));
        client.next_down = number.wrapping_add(1);
        let packet = goldsrc::game_packet(Speaker::Server, number, seen, size, random);
        wire::udp((wire::server(), client.station), (SERVER_PORT, CLIENT_PORT), ip_id, &packet)
    }
}

impl Client {
    fn new(slot: usize, model: &Model, timeline: &mut Timeline) -> Self {
        let mut random = Random::new(model.seed, Actor::Client(slot));
        let intervals = model.client_intervals(slot);
        let first = random.unit() * intervals.location * 1e6;
        timeline.wake(first as u64, Wake::Client(slot));
        let round_trip = model::draw_time(model::ROUND_TRIP, &mut random);
        let between_updates = model.update_frames * model.frame_length();
        Client {
            station: wire::player(slot, model.clients_are_stations),
            sizes: model.client_sizes(slot),
            intervals,
            next_up: server::PACKETS_BEFORE + random.below(server::PACKETS_BEFORE),
            next_down: server::PACKETS_BEFORE + random.below(server::PACKETS_BEFORE),
            unseen: (round_trip / between_updates) as u32,
            ip_id: random.below(1 << 16) as u16,
            random,
        }
    }

    fn next_frame(&mut self) -> Vec<u8> {
        let (number, seen) = (self.next_up, self.next_down.wrapping_sub(1 + self.unseen));
        self.next_up = number.wrapping_add(1);
        self.ip_id = self.ip_id.wrapping_add(1);
        let size = self.sizes.draw(&mut self.random);
        let packet = goldsrc::game_packet(Speaker::Client, number, seen, size, &mut self.random);
        wire::udp((self.station, wire::server()), (CLIENT_PORT, SERVER_PORT), self.ip_id, &packet)
    }
}
