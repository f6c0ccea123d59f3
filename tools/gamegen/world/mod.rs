//! Everybody who sends, on one clock.
//!
//! Actors are woken at times that they choose and send frames, then or a little later; the timeline
//! holds both and hands the frames out in the order of their times. No clock is read, and memory does
//! not grow with the length of the capture.

mod background;
mod bulk;
mod clients;
mod server;
mod timeline;

use crate::model::Model;
use background::Background;
use bulk::Bulk;
use clients::Clients;
use server::Server;
use timeline::{Item, Timeline};

/// A frame and when it is sent, in nanoseconds from the start.
#[derive(Debug)]
pub struct Sent {
    pub time: u64,
    pub frame: Vec<u8>,
}

/// Who is to be woken, and what for.
#[derive(Clone, Copy, Debug)]
enum Wake {
    /// The client in this slot sends its next packet.
    Client(usize),
    /// The server begins this frame.
    ServerFrame(u64),
    /// Somebody asks for the server's state.
    Query,
    /// The gateway asks for the server's address.
    Arp,
    /// The server tells the master that it is there.
    Heartbeat,
    /// The bulk transfer sends its next window.
    Bulk,
}

/// The traffic of one server: an iterator over all frames of a [`Model`]'s length.
#[derive(Debug)]
pub struct World {
    model: Model,
    timeline: Timeline,
    clients: Clients,
    server: Server,
    background: Background,
    bulk: Bulk,
}

impl World {
    pub fn new(model: Model) -> Self {
        let mut timeline = Timeline::default();
        let clients = Clients::new(&model, &mut timeline);
        let server = Server::new(&model, &mut timeline);
        let background = Background::new(&model, &mut timeline);
        let bulk = Bulk::new(&model, &mut timeline);
        World { model, timeline, clients, server, background, bulk }
    }

    fn wake(&mut self, now: u64, who: Wake) {
        let World { model, timeline, clients, server, background, bulk } = self;
        match who {
            Wake::Client(slot) => clients.send(slot, now, timeline),
            Wake::ServerFrame(frame) => server.frame(frame, model, clients, timeline),
            Wake::Query => server.asked(background.ask(now, timeline)),
            Wake::Arp => background.arp(now, timeline),
            Wake::Heartbeat => server.heartbeat(now, model, timeline),
            Wake::Bulk => bulk.send_window(now, timeline),
        }
    }
}

impl Iterator for World {
    type Item = Sent;

    fn next(&mut self) -> Option<Sent> {
        loop {
            match self.timeline.next()? {
                (time, _) if time >= self.model.length => return None,
                (time, Item::Frame(frame)) => return Some(Sent { time, frame }),
                (time, Item::Wake(who)) => self.wake(time, who),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{SECOND, tests::model};

    #[test]
    fn frames_come_in_the_order_of_their_times_and_end_in_time() {
        let world = World::new(Model { bulk: 2e6, ..model() });
        let times: Vec<u64> = world.map(|sent| sent.time).collect();
        assert!(times.is_sorted());
        assert!(times[0] < SECOND / 20 && times[times.len() - 1] < 10 * SECOND);
        // 32 x (23.98 + 20) game packets a second, 165 + 82 of bulk.
        assert!((15_800..17_200).contains(&times.len()), "{}", times.len());
    }

    #[test]
    fn what_is_added_leaves_the_rest_as_it_was() {
        let is_game = |sent: &Sent| sent.frame.len() > 30 && sent.frame[23] == 17;
        let game = |bulk| -> Vec<Sent> {
            World::new(Model { bulk, length: SECOND, ..model() }).filter(is_game).collect()
        };
        let (without, with) = (game(0.0), game(8e6));
        assert_eq!(without.len(), with.len());
        for (a, b) in without.iter().zip(&with) {
            assert_eq!((a.time, &a.frame), (b.time, &b.frame));
        }
    }
}
