//! Who is held for whom, and until when: the receivers for which somebody is held are looked at in
//! every tick, and the sources that a queue lets go are told to the daemon. The rules are those of
//! [`super::super::backpressure`].

use std::time::{Duration, Instant};

use super::super::backpressure::{LEAST_DRAINED, TICK};
use super::super::port_table::PortId;
use super::{Switch, Wire};

impl Switch {
    /// When [`Switch::tick`] wants to be called; `None` while nobody is held and no receiver that was
    /// given up has woken.
    pub fn next_tick(&self) -> Option<Instant> {
        self.next_tick
    }

    /// Gives up receivers that are too slow for the sources held for them; but tries them first, for
    /// the kernel says that a socket has room only when it is down to a quarter.
    pub fn tick<W: Wire>(&mut self, now: Instant, wire: &mut W) {
        // While the switch itself was not run, no receiver could be given anything.
        let late = self.next_tick.map_or(Duration::ZERO, |due| now.saturating_duration_since(due));
        let mut place = 0;
        while let Some(&id) = self.watched.get(place) {
            if let Some(port) = self.ports.get_mut(id)
                && late > TICK
            {
                port.trust.excuse(late);
            }
            if self.look_at(id, now, wire) {
                place += 1;
            } else {
                self.watched.swap_remove(place);
            }
        }
        self.next_tick = (!self.watched.is_empty()).then(|| now + TICK);
    }

    /// True while `id` must not be read because a queue that it fills holds it.
    pub fn is_held(&self, id: PortId) -> bool {
        self.ports.get(id).is_some_and(|port| port.wait.is_held())
    }

    /// Takes one source that may be read again.
    pub fn next_released(&mut self) -> Option<PortId> {
        self.released.pop()
    }

    /// Looks at `id` at every tick from now on.
    pub(super) fn watch(&mut self, id: PortId, now: Instant) {
        self.watched.push(id);
        self.next_tick.get_or_insert(now + TICK);
    }

    /// Looks at a watched port; returns whether to go on watching.
    fn look_at<W: Wire>(&mut self, id: PortId, now: Instant, wire: &mut W) -> bool {
        self.spare(id, now);
        let Some(port) = self.ports.get(id) else { return false };
        if !port.trust.is_due(now) {
            return true;
        }
        if port.trust.is_given() {
            self.drain(id, LEAST_DRAINED as usize, now, wire);
        }
        let Some(port) = self.ports.get_mut(id) else { return false };
        let before = self.released.len();
        let go_on = port.trust.judge(now, port.egress.parked(), port.egress.is_empty());
        if !port.trust.is_given() {
            port.egress.release_all(&mut self.released);
        }
        self.settle_released(before);
        go_on
    }

    /// Releases the sources held for `id` that have waited for long enough.
    fn spare(&mut self, id: PortId, now: Instant) {
        let Some(port) = self.ports.get(id) else { return };
        let overdue = port.egress.parked_sources().filter(|&source| {
            self.ports.get(source).is_some_and(|source| source.wait.is_overdue(now))
        });
        self.overdue.extend(overdue);
        let Some(port) = self.ports.get_mut(id) else { return };
        let before = self.released.len();
        for source in self.overdue.drain(..) {
            port.egress.release(source, &mut self.released);
            port.trust.note_late(now);
        }
        self.settle_released(before);
    }

    /// Goes through the releases from `released[from..]` on: each is of one queue, and the source is
    /// free only when no other queue holds it.
    pub(super) fn settle_released(&mut self, from: usize) {
        let mut place = from;
        while let Some(&source) = self.released.get(place) {
            let free = match self.ports.get_mut(source) {
                None => false,
                Some(port) => port.wait.release(),
            };
            if free {
                place += 1;
            } else {
                self.released.swap_remove(place);
            }
        }
    }
}
