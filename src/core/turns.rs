//! Deficit round robin: who may send next among several that have frames waiting.
//!
//! The order is that of FQ-CoDel (RFC 8290, section 4.2), without its dropping law. Who has just
//! begun to wait comes before the others; who has emptied its backlog goes once more through the line
//! before it counts as new again, or a trickle of frames could starve the rest.

use slab::Slab;

use super::fifo::{Fifo, Linked};

/// Bytes that a member may send in its turn: one full Ethernet frame, as RFC 8290 section 5.1 has it.
const QUANTUM: isize = 1514;

/// The line of those that wait, or have lately waited.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Turns {
    /// Members that have just begun to wait, served before the others.
    fresh: Fifo,
    /// The others, round robin.
    line: Fifo,
}

/// Where a member stands in the line.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// Bytes that it may still send this round.
    deficit: isize,
    next: Option<usize>,
}

/// Somebody who takes turns.
pub(super) trait Member {
    /// Its standing, which belongs to [`Turns`].
    fn standing(&mut self) -> &mut Standing;

    /// True if it has a frame to send.
    fn is_waiting(&self) -> bool;
}

impl<T: Member> Linked for T {
    fn next(&mut self) -> &mut Option<usize> {
        &mut self.standing().next
    }
}

impl Turns {
    /// Takes the new member at `at` in. It stays until [`Turns::next`] or [`Turns::dismiss_idle`]
    /// takes it out of `members`.
    pub(super) fn join<T: Member>(&mut self, members: &mut Slab<T>, at: usize) {
        members[at].standing().deficit = QUANTUM;
        self.fresh.push(members, at);
    }

    /// The member whose turn it is; it is waiting. Members whose time in line is over are taken out of
    /// `members` and given to `gone`.
    pub(super) fn next<T: Member>(
        &mut self,
        members: &mut Slab<T>,
        mut gone: impl FnMut(T),
    ) -> Option<usize> {
        loop {
            let from_fresh = !self.fresh.is_empty();
            let front = if from_fresh { &mut self.fresh } else { &mut self.line };
            let at = front.first()?;
            let waiting = members[at].is_waiting();
            if waiting && members[at].standing().deficit > 0 {
                return Some(at);
            }
            front.pop(members);
            if waiting {
                members[at].standing().deficit += QUANTUM;
                self.line.push(members, at);
            } else if from_fresh && !self.line.is_empty() {
                self.line.push(members, at);
            } else {
                gone(members.remove(at));
            }
        }
    }

    /// Notes that the member at `at` has sent `bytes`.
    pub(super) fn charge<T: Member>(members: &mut Slab<T>, at: usize, bytes: usize) {
        members[at].standing().deficit -= bytes as isize;
    }

    /// Takes all who do not wait out of `members` and gives them to `gone`, whether their time in line
    /// is over or not.
    pub(super) fn dismiss_idle<T: Member>(
        &mut self,
        members: &mut Slab<T>,
        mut gone: impl FnMut(T),
    ) {
        for chain in [&mut self.fresh, &mut self.line] {
            let mut kept = Fifo::default();
            while let Some(at) = chain.pop(members) {
                if members[at].is_waiting() {
                    kept.push(members, at);
                } else {
                    gone(members.remove(at));
                }
            }
            *chain = kept;
        }
    }
}
