//! The open ports as the loop knows them: endpoint, control connection, and what is to be done.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

use mio::unix::SourceFd;
use mio::{Interest, Registry};

use super::port_info::Party;
use super::token::Subject;
use crate::core::{PortId, TxDrop, TxOutcome, Wire};
use crate::port::{Endpoint, Received};

/// Endpoints by port, and the list of those that have something to do.
#[derive(Debug)]
pub(super) struct Links {
    registry: Registry,
    /// By number.
    links: Vec<Option<Link>>,
    /// Ports that something has just happened to.
    fresh: VecDeque<PortId>,
    /// Ports that have more to do since their last turn, round robin.
    line: VecDeque<PortId>,
    /// Attempts to receive or send a frame since this was last reset.
    attempts: u32,
}

#[derive(Debug)]
struct Link {
    id: PortId,
    endpoint: Box<dyn Endpoint>,
    /// The client's control connection; the uplink has none.
    control: Option<UnixStream>,
    /// For people.
    party: Party,
    /// In one of the two lists.
    queued: bool,
    /// Frames may be there: the last attempt to receive one did not say that there are none.
    readable: bool,
    /// There may be room for frames that wait.
    writable: bool,
    /// The poller tells when there is room. Only while frames wait: otherwise each frame that the
    /// client reads would wake us.
    awaits_room: bool,
    /// The client has written to its control connection, or ended it.
    talking: bool,
    /// The control connection has ended; what the client sent before is still served, up to so many
    /// frames.
    closing: Option<u32>,
}

/// What a ready port has to do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Work {
    pub(super) readable: bool,
    pub(super) writable: bool,
    pub(super) talking: bool,
}

impl Links {
    pub(super) fn new(registry: Registry) -> Self {
        let (fresh, line) = (VecDeque::new(), VecDeque::new());
        Links { registry, links: Vec::new(), fresh, line, attempts: 0 }
    }

    /// Attaches `endpoint` as port `id` for `party`, with its control connection if that is a client.
    ///
    /// # Errors
    /// Those of the poller; nothing is attached then.
    pub(super) fn attach(
        &mut self,
        id: PortId,
        endpoint: Box<dyn Endpoint>,
        party: Party,
        control: Option<UnixStream>,
    ) -> io::Result<()> {
        if let Some(descriptor) = endpoint.descriptor() {
            let token = Subject::Data(id).token();
            self.registry.register(&mut SourceFd(&descriptor), token, Interest::READABLE)?;
        }
        if let Some(control) = &control {
            let token = Subject::Control(id).token();
            self.registry.reregister(
                &mut SourceFd(&control.as_raw_fd()),
                token,
                Interest::READABLE,
            )?;
        }
        let place = id.number() as usize;
        if self.links.len() <= place {
            self.links.resize_with(place + 1, || None);
        }
        self.links[place] = Some(Link {
            id,
            endpoint,
            control,
            party,
            queued: false,
            readable: false,
            writable: false,
            awaits_room: false,
            talking: false,
            closing: None,
        });
        Ok(())
    }

    /// Detaches port `id` and returns what it was and whose. Closing its descriptors takes them from
    /// the poller.
    pub(super) fn detach(&mut self, id: PortId) -> Option<(Box<dyn Endpoint>, Option<u32>)> {
        self.link(id)?;
        let Link { endpoint, party, .. } = self.links[id.number() as usize].take()?;
        Some((endpoint, party.uid()))
    }

    /// The kind of port `id` and who is behind it.
    pub(super) fn look_up(&self, id: PortId) -> Option<(&'static str, &Party)> {
        let link = self.links.get(id.number() as usize)?.as_ref().filter(|link| link.id == id)?;
        Some((link.endpoint.kind(), &link.party))
    }

    /// Notes that frames may have come at `id`.
    pub(super) fn set_readable(&mut self, id: PortId) {
        if let Some(link) = self.link(id) {
            link.readable = true;
            self.make_fresh(id);
        }
    }

    /// Notes that `id` may have room.
    pub(super) fn set_writable(&mut self, id: PortId) {
        if let Some(link) = self.link(id) {
            link.writable = true;
            self.make_fresh(id);
        }
    }

    /// Notes that there is something to read on the control connection of `id`.
    pub(super) fn set_talking(&mut self, id: PortId) {
        if let Some(link) = self.link(id) {
            link.talking = true;
            self.make_fresh(id);
        }
    }

    /// Takes up reading `id` again, which was held.
    pub(super) fn resume(&mut self, id: PortId) {
        if self.link(id).is_some_and(|link| link.readable) {
            self.make_ready(id);
        }
    }

    /// Starts the end of `id`: it is served until it has sent nothing more, or `frames` frames.
    pub(super) fn start_closing(&mut self, id: PortId, frames: u32) {
        if let Some(link) = self.link(id) {
            link.closing.get_or_insert(frames);
            link.readable = true;
            self.make_ready(id);
        }
    }

    /// True once a port that is closing has nothing left to be served.
    pub(super) fn has_finished(&mut self, id: PortId) -> bool {
        self.link(id)
            .is_some_and(|link| link.closing == Some(0) || link.closing.is_some() && !link.readable)
    }

    /// True if ports are to be served.
    pub(super) fn has_ready(&self) -> bool {
        !self.fresh.is_empty() || !self.line.is_empty()
    }

    /// How many ports are to be served: those that something has just happened to, and the others.
    pub(super) fn ready(&self) -> (usize, usize) {
        (self.fresh.len(), self.line.len())
    }

    /// Takes the next port that something has just happened to off its list.
    pub(super) fn next_fresh(&mut self) -> Option<(PortId, Work)> {
        let id = self.fresh.pop_front()?;
        self.take_off(id)
    }

    /// Takes the next of the others off its list.
    pub(super) fn next_in_line(&mut self) -> Option<(PortId, Work)> {
        let id = self.line.pop_front()?;
        self.take_off(id)
    }

    /// Puts `id`, which has more to do, to the end of the line.
    pub(super) fn make_ready(&mut self, id: PortId) {
        if let Some(link) = self.link(id)
            && !std::mem::replace(&mut link.queued, true)
        {
            self.line.push_back(id);
        }
    }

    /// How many attempts to receive or send a frame there were since the last time that this was asked.
    pub(super) fn take_attempts(&mut self) -> u32 {
        std::mem::take(&mut self.attempts)
    }

    fn make_fresh(&mut self, id: PortId) {
        if let Some(link) = self.link(id)
            && !std::mem::replace(&mut link.queued, true)
        {
            self.fresh.push_back(id);
        }
    }

    /// What there is to do at `id`; nothing if it has gone meanwhile.
    fn take_off(&mut self, id: PortId) -> Option<(PortId, Work)> {
        let link = self.link(id)?;
        link.queued = false;
        let Link { readable, writable, talking, .. } = *link;
        Some((id, Work { readable, writable, talking }))
    }

    /// Sends what there is room for of a frame that `id` has been sent in part.
    pub(super) fn send_rest(&mut self, id: PortId) {
        if let Some(link) = self.link(id) {
            link.endpoint.send_rest();
        }
    }

    /// Notes what became of an attempt to drain `id`: `more` frames could be sent at once, or none
    /// are `waiting`.
    pub(super) fn drained(&mut self, id: PortId, more: bool, waiting: bool) {
        let Some(link) = self.link(id) else { return };
        link.writable = more;
        if !waiting && link.awaits_room && !link.endpoint.has_rest() {
            link.awaits_room = false;
            self.watch(id, Interest::READABLE);
        }
    }

    /// Receives a frame at `id`.
    pub(super) fn receive(&mut self, id: PortId, buffer: &mut [u8]) -> Received {
        self.attempts += 1;
        let Some(link) = self.link(id) else { return Received::Nothing };
        let received = link.endpoint.receive(buffer);
        match &received {
            Received::Nothing => link.readable = false,
            _ => {
                if let Some(frames) = &mut link.closing {
                    *frames = frames.saturating_sub(1);
                }
            }
        }
        received
    }

    /// Reads and forgets some of what the client of `id` has written on its control connection.
    /// Returns false when the connection has ended.
    pub(super) fn hear_out(&mut self, id: PortId, buffer: &mut [u8]) -> bool {
        let Some(link) = self.link(id) else { return true };
        let Some(control) = &mut link.control else { return true };
        match control.read(buffer) {
            Ok(0) => {
                link.talking = false;
                return false;
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                link.talking = false;
                return error.kind() == io::ErrorKind::WouldBlock;
            }
        }
        self.make_ready(id);
        true
    }

    fn link(&mut self, id: PortId) -> Option<&mut Link> {
        self.links.get_mut(id.number() as usize)?.as_mut().filter(|link| link.id == id)
    }

    fn watch(&mut self, id: PortId, interest: Interest) {
        let descriptor = self.link(id).and_then(|link| link.endpoint.descriptor());
        if let Some(descriptor) = descriptor {
            let token = Subject::Data(id).token();
            // It cannot fail for a descriptor that is registered.
            let _ = self.registry.reregister(&mut SourceFd(&descriptor), token, interest);
        }
    }
}

impl Wire for Links {
    fn transmit(&mut self, to: PortId, frame: &[u8]) -> TxOutcome {
        self.attempts += 1;
        let Some(link) = self.link(to) else { return TxOutcome::Dropped(TxDrop::NoReceiver) };
        let outcome = link.endpoint.send(frame);
        let awaits_room = match outcome {
            TxOutcome::Full => true,
            TxOutcome::Sent => link.endpoint.has_rest(),
            TxOutcome::Dropped(_) => false,
        };
        if awaits_room && !link.awaits_room {
            link.awaits_room = true;
            self.watch(to, Interest::READABLE | Interest::WRITABLE);
        }
        outcome
    }
}
