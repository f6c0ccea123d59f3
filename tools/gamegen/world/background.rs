//! What else reaches a game server: strangers who ask for its state, and the gateway's ARP.

use super::Wake;
use super::timeline::Timeline;
use crate::goldsrc::{self, SERVER_PORT};
use crate::model::{self, Model};
use crate::random::{Actor, Random};
use crate::wire::{self, Station};

#[derive(Debug)]
pub struct Background {
    random: Random,
}

impl Background {
    pub fn new(model: &Model, timeline: &mut Timeline) -> Self {
        let mut random = Random::new(model.seed, Actor::Background);
        timeline.wake(ARP_AT, Wake::Arp);
        timeline.wake(until_next_query(&mut random), Wake::Query);
        Background { random }
    }

    /// A stranger asks the server for its state. Gives back who it is.
    pub fn ask(&mut self, now: u64, timeline: &mut Timeline) -> (Station, u16) {
        let who = wire::stranger(self.random.below(1 << 16));
        let port = 1024 + self.random.below(1 << 15) as u16;
        let id = self.random.below(1 << 16) as u16;
        let ends = (who, wire::server());
        timeline.send(now, wire::udp(ends, (port, SERVER_PORT), id, &goldsrc::info_query()));
        timeline.wake(now + until_next_query(&mut self.random), Wake::Query);
        (who, port)
    }

    /// The gateway asks for the server's address, and the server's kernel answers at once.
    pub fn arp(&mut self, now: u64, timeline: &mut Timeline) {
        timeline.send(now, wire::arp_request(wire::gateway(), wire::server()));
        timeline.send(now + ARP_ANSWER, wire::arp_reply(wire::gateway(), wire::server()));
        let interval = model::draw_time(model::ARP_INTERVAL, &mut self.random);
        timeline.wake(now + interval, Wake::Arp);
    }
}

/// Strangers do not know of each other: the intervals are exponential.
fn until_next_query(random: &mut Random) -> u64 {
    (random.exponential() * model::QUERY_INTERVAL) as u64
}

/// Early, so that short captures have a broadcast too.
const ARP_AT: u64 = 105_000_000;

/// What a guest takes to answer, in nanoseconds; assumed.
const ARP_ANSWER: u64 = 60_000;
