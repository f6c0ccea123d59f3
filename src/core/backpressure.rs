//! Who must wait for whom, and for how long at the most.
//!
//! A source whose frames fill a receiver's queue is *held*: the daemon does not read it until the
//! queue has shrunk, so that a sender which can wait waits instead of losing frames. Two things bound
//! that.
//!
//! # A receiver must be worth waiting for: [`Trust`]
//! A receiver that drains fewer than [`LEAST_DRAINED`] frames in [`PATIENCE`] while somebody waits
//! for it is *stalled*. It holds nobody any more, what does not fit its queue is dropped, and it is
//! trusted again when it drains that many in that time, or has emptied its queue. The rule goes by
//! rate because the obvious ones fail: "nothing drained for a while" lets a reader of one frame every
//! 4 ms slow its senders to 400 frames a second, and "trusted again when the queue is short" never
//! comes true while somebody keeps it full.
//!
//! # A source's other traffic must not pay: [`Wait`]
//! What is not read of a source may be for somebody else: a game server's frames to all its players
//! would wait behind one player's download, and a hostile guest could arrange that by reading just
//! fast enough to be trusted. So a source that sends to several ports is held for [`BRIEFLY`] at a
//! stretch. If that was not enough, the receiver is *late*: for a while it does not hold such sources,
//! whose frames for it pay at its queue, and for twice as long each time that it is late again soon
//! ([`SHORTEST_LATE`] to [`LONGEST_LATE`]). A receiver that always drains enough in that time costs
//! nobody a frame.

use std::time::{Duration, Instant};

use super::port_table::PortId;

/// How long a receiver may take to drain [`LEAST_DRAINED`] frames before it is given up.
/// A healthy guest that its host does not run for longer than this loses frames.
pub const PATIENCE: Duration = Duration::from_millis(10);

/// Frames that a receiver must drain in [`PATIENCE`] while sources are held for it: the distance of
/// the two marks of its queue. Long ones count as several: [`super::EgressLimits::weight`].
pub const LEAST_DRAINED: u32 = 64;

/// How long a source that also sends to others is held at a stretch: a little more than the scheduler
/// lets another program run (its base slice is 3 ms), for a receiver may only be waiting for its turn.
pub const BRIEFLY: Duration = Duration::from_millis(4);

/// How long a receiver counts as late the first time: not much is lost to one that was just not run.
const SHORTEST_LATE: Duration = Duration::from_millis(16);

/// And at the most, so that one which is late on purpose holds up others for four thousandths of the
/// time.
const LONGEST_LATE: Duration = Duration::from_secs(1);

/// How long ago a source may have turned to another port and back to count as one that sends to
/// several: a game's slowest clients send some ten times a second, a ping goes once.
const LATELY: Duration = Duration::from_secs(1);

/// How often receivers that somebody is held for are to be looked at, by [`super::Switch::tick`]. The
/// loop may come later when nothing happens; that adds to the times here.
pub const TICK: Duration = Duration::from_millis(2);

/// Whether a receiver is worth waiting for.
#[derive(Debug)]
pub(super) struct Trust {
    stalled: bool,
    watched: bool,
    /// Until when it is late, and for how long it was when that began: a source with other traffic had
    /// to be let go before it had drained enough.
    late_until: Instant,
    late_for: Duration,
    /// Somebody was held for it since `window`.
    waited_for: bool,
    /// Frames drained from its queue since `window`, long ones counted as several.
    drained: u32,
    window: Instant,
}

impl Trust {
    /// Of a receiver that nobody waits for yet.
    pub(super) fn new(now: Instant) -> Self {
        Trust {
            stalled: false,
            watched: false,
            late_until: now,
            late_for: Duration::ZERO,
            waited_for: false,
            drained: 0,
            window: now,
        }
    }

    /// True if sources may be held for it.
    pub(super) fn is_given(&self) -> bool {
        !self.stalled
    }

    /// True while sources with other traffic are not held for it.
    pub(super) fn is_late(&self, now: Instant) -> bool {
        now < self.late_until
    }

    /// Notes that a source with other traffic has waited for it for too long.
    pub(super) fn note_late(&mut self, now: Instant) {
        let again = now < self.late_until + self.late_for;
        let longer = if again { self.late_for * 2 } else { SHORTEST_LATE };
        self.late_for = longer.clamp(SHORTEST_LATE, LONGEST_LATE);
        self.late_until = now + self.late_for;
    }

    /// Notes that the receiver took what counts as `weight` frames.
    pub(super) fn note_drained(&mut self, weight: usize) {
        self.drained += weight as u32;
    }

    /// Notes that its queue is empty: whatever it was, it has caught up.
    pub(super) fn note_empty(&mut self) {
        self.stalled = false;
    }

    /// Notes that somebody is held for it. True if it is to be watched from now on.
    pub(super) fn wait_for(&mut self, now: Instant) -> bool {
        if !self.watched {
            self.begin(now);
        }
        self.waited_for = true;
        !std::mem::replace(&mut self.watched, true)
    }

    /// Notes that it was asked to drain. True if it is to be watched from now on: it was given up and
    /// at rest, and has woken.
    pub(super) fn wake(&mut self, now: Instant) -> bool {
        if !self.stalled || self.watched || self.drained == 0 {
            return false;
        }
        self.begin(now);
        self.watched = true;
        true
    }

    /// Gives it more time: that in which the switch itself was not run.
    pub(super) fn excuse(&mut self, time: Duration) {
        self.window += time;
    }

    /// True if it has had its time and is to be judged.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.window) >= PATIENCE
    }

    /// Says whether it is still worth waiting for, by what it has drained. `held` tells how many wait
    /// for it, `empty` whether its queue is. True if it is to be watched on; a receiver that was
    /// given up and takes nothing at all is not: it may stay like that for hours.
    pub(super) fn judge(&mut self, now: Instant, held: usize, empty: bool) -> bool {
        let slow = self.drained < LEAST_DRAINED && !empty;
        self.stalled = slow && (self.stalled || self.waited_for || held > 0);
        self.watched = if self.stalled { self.drained > 0 } else { held > 0 };
        self.begin(now);
        self.watched
    }

    fn begin(&mut self, now: Instant) {
        self.window = now;
        self.drained = 0;
        self.waited_for = false;
    }
}

/// A source's side of it: by how many it is held, and whether that hurts others.
#[derive(Debug)]
pub(super) struct Wait {
    holders: usize,
    /// Since when it is held, if it is.
    since: Instant,
    /// The port that it last sent to, floods apart.
    last_to: Option<PortId>,
    /// When it last sent to another one than before, and the time before that.
    turned: [Option<Instant>; 2],
}

impl Wait {
    /// Of a source that nobody holds.
    pub(super) fn new(now: Instant) -> Self {
        Wait { holders: 0, since: now, last_to: None, turned: [None; 2] }
    }

    /// True while at least one queue holds it.
    pub(super) fn is_held(&self) -> bool {
        self.holders > 0
    }

    /// Notes where a frame goes.
    pub(super) fn note_destination(&mut self, to: PortId, now: Instant) {
        if self.last_to != Some(to) {
            if self.last_to.is_some() {
                self.turned = [Some(now), self.turned[0]];
            }
            self.last_to = Some(to);
        }
    }

    /// True if it has been held for long enough for the sake of others that it sends to.
    pub(super) fn is_overdue(&self, now: Instant) -> bool {
        self.sends_to_others(now) && now.saturating_duration_since(self.since) >= BRIEFLY
    }

    /// One queue more holds it.
    pub(super) fn hold(&mut self, now: Instant) {
        if self.holders == 0 {
            self.since = now;
        }
        self.holders += 1;
    }

    /// One queue has let it go. True if it was the last.
    pub(super) fn release(&mut self) -> bool {
        self.holders -= 1;
        self.holders == 0
    }

    /// True if it has lately sent to several ports.
    pub(super) fn sends_to_others(&self, now: Instant) -> bool {
        self.turned[1].is_some_and(|turned| now.saturating_duration_since(turned) < LATELY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(number: u32) -> PortId {
        PortId::from_parts(number, 0)
    }

    #[test]
    fn who_sends_to_one_port_can_be_held_for_as_long_as_it_takes() {
        let now = Instant::now();
        let mut wait = Wait::new(now);
        for _ in 0..3 {
            wait.note_destination(port(1), now);
        }
        wait.hold(now);
        assert!(!wait.is_overdue(now + PATIENCE));
        assert!(wait.release());
    }

    #[test]
    fn who_sends_to_others_too_is_held_briefly() {
        let now = Instant::now();
        let mut wait = Wait::new(now);
        for to in [1, 2, 1] {
            wait.note_destination(port(to), now);
        }
        wait.hold(now);
        assert!(!wait.is_overdue(now + BRIEFLY - Duration::from_nanos(1)));
        assert!(wait.is_overdue(now + BRIEFLY));
    }

    #[test]
    fn a_receiver_that_is_late_again_and_again_is_late_for_longer() {
        let mut now = Instant::now();
        let start = now;
        let mut trust = Trust::new(now);
        let mut held = Duration::ZERO;
        while now < start + Duration::from_secs(10) {
            assert!(!trust.is_late(now));
            held += BRIEFLY;
            now += BRIEFLY;
            trust.note_late(now);
            assert!(trust.is_late(now));
            now = trust.late_until;
        }
        assert!(held <= Duration::from_millis(80), "{held:?} in ten seconds");
        // Once in a while is not again.
        now = trust.late_until + LONGEST_LATE;
        trust.note_late(now);
        assert_eq!(trust.late_until, now + SHORTEST_LATE);
    }

    #[test]
    fn who_turns_to_another_port_for_good_sends_to_one() {
        let now = Instant::now();
        let mut wait = Wait::new(now);
        wait.note_destination(port(1), now);
        wait.note_destination(port(2), now);
        wait.hold(now);
        assert!(!wait.is_overdue(now + BRIEFLY));
    }

    #[test]
    fn who_has_not_sent_to_others_lately_can_be_held_again() {
        let now = Instant::now();
        let mut wait = Wait::new(now);
        for to in [1, 2, 1] {
            wait.note_destination(port(to), now);
        }
        wait.hold(now);
        assert!(wait.is_overdue(now + BRIEFLY));
        assert!(!wait.is_overdue(now + LATELY));
    }

    #[test]
    fn the_last_of_several_that_hold_it_lets_it_go() {
        let now = Instant::now();
        let mut wait = Wait::new(now);
        wait.hold(now);
        wait.hold(now);
        assert!(!wait.release());
        assert!(wait.is_held());
        assert!(wait.release());
    }

    #[test]
    fn a_receiver_is_given_up_even_if_those_who_waited_were_let_go() {
        let now = Instant::now();
        let mut trust = Trust::new(now);
        assert!(trust.wait_for(now));
        assert!(!trust.wait_for(now), "it is watched already");
        assert!(!trust.is_due(now + PATIENCE - TICK));
        assert!(trust.is_due(now + PATIENCE));
        assert!(!trust.judge(now + PATIENCE, 0, false));
        assert!(!trust.is_given());
    }

    #[test]
    fn a_receiver_that_keeps_up_is_trusted_and_watched_while_somebody_waits() {
        let now = Instant::now();
        let mut trust = Trust::new(now);
        trust.wait_for(now);
        trust.note_drained(LEAST_DRAINED as usize);
        assert!(trust.judge(now + PATIENCE, 1, false));
        assert!(trust.is_given());
        trust.note_drained(LEAST_DRAINED as usize);
        assert!(!trust.judge(now + 2 * PATIENCE, 0, false));
        assert!(trust.is_given());
    }
}
