//! The server: in each of its frames it answers queries and then sends, back to back and in the order
//! of their slots, to all clients whose time has come. That is the burst which the switch has to take.

use super::Wake;
use super::clients::Clients;
use super::timeline::Timeline;
use crate::goldsrc::{self, MASTER_PORT, SERVER_PORT};
use crate::model::{self, Model};
use crate::random::{Actor, Random};
use crate::wire::{self, Station};

/// The clients have played for a while: their channels have carried so many packets, up to twice that.
pub const PACKETS_BEFORE: u32 = 10_000;

#[derive(Debug)]
pub struct Server {
    random: Random,
    /// By slot: the first frame in which the client may get a packet again.
    due: Vec<u64>,
    /// Who has asked for the state since the last frame, with their ports.
    asking: Vec<(Station, u16)>,
    ip_id: u16,
}

impl Server {
    pub fn new(model: &Model, timeline: &mut Timeline) -> Self {
        let mut random = Random::new(model.seed, Actor::Server);
        let common = u64::from(random.below(model.update_frames as u32));
        let due = (0..model.clients)
            .map(|_| match random.below(model.update_frames as u32) {
                _ if model.in_phase => common,
                own => u64::from(own),
            })
            .collect();
        timeline.wake(0, Wake::ServerFrame(0));
        timeline.wake(HEARTBEAT_AT, Wake::Heartbeat);
        Server { random, due, asking: Vec::new(), ip_id: 0 }
    }

    /// Computes one frame: sends what is due in it.
    pub fn frame(
        &mut self,
        frame: u64,
        model: &Model,
        clients: &mut Clients,
        timeline: &mut Timeline,
    ) {
        let late = self.random.between(0.0, model::FRAME_LATENESS) * model.frame_length() as f64;
        let mut time = model.frame_start(frame) + late as u64;
        for (who, port) in std::mem::take(&mut self.asking) {
            let answer = goldsrc::info_answer(wire::server().ip, model.clients as u8);
            self.send(&mut time, who, port, &answer, timeline);
        }
        for slot in 0..model.clients {
            if self.due[slot] <= frame {
                let size = model.s2c.draw(&mut self.random);
                self.due[slot] = frame + model.frames_after(size);
                let id = self.next_ip_id();
                timeline.send(time, clients.frame_from_server(slot, size, id, &mut self.random));
                time += model::draw_time(model::BURST_SPACING, &mut self.random);
            }
        }
        timeline.wake(model.frame_start(frame + 1), Wake::ServerFrame(frame + 1));
    }

    /// Somebody has asked for the state: it is answered in the next frame.
    pub fn asked(&mut self, who: (Station, u16)) {
        self.asking.push(who);
    }

    pub fn heartbeat(&mut self, now: u64, model: &Model, timeline: &mut Timeline) {
        let beat = goldsrc::heartbeat(self.random.below(1 << 24), model.clients as u8);
        self.send(&mut { now }, wire::master(), MASTER_PORT, &beat, timeline);
        timeline.wake(now + model::HEARTBEAT_INTERVAL, Wake::Heartbeat);
    }

    /// Sends a packet at `time`, which becomes the time for the next.
    fn send(
        &mut self,
        time: &mut u64,
        to: Station,
        port: u16,
        packet: &[u8],
        timeline: &mut Timeline,
    ) {
        let id = self.next_ip_id();
        timeline.send(*time, wire::udp((wire::server(), to), (SERVER_PORT, port), id, packet));
        *time += model::draw_time(model::BURST_SPACING, &mut self.random);
    }

    fn next_ip_id(&mut self) -> u16 {
        self.ip_id = self.ip_id.wrapping_add(1);
        self.ip_id
    }
}

/// Early, so that short captures have a heartbeat too; between two frames of the server.
const HEARTBEAT_AT: u64 = 305_000_000;
