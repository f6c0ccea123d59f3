//! First in, first out, through the entries of a slab: joining and leaving allocate nothing.

use slab::Slab;

/// The ends of one chain of entries.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fifo {
    first: Option<usize>,
    last: Option<usize>,
}

/// An entry that can be in one [`Fifo`] at a time.
pub(super) trait Linked {
    /// The place of the entry behind this one; only [`Fifo`] touches it.
    fn next(&mut self) -> &mut Option<usize>;
}

impl Fifo {
    /// The place of the first entry.
    pub(super) fn first(&self) -> Option<usize> {
        self.first
    }

    /// True if there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// Puts the entry at `at`, which is in no chain, to the end.
    pub(super) fn push<T: Linked>(&mut self, entries: &mut Slab<T>, at: usize) {
        *entries[at].next() = None;
        match self.last {
            Some(last) => *entries[last].next() = Some(at),
            None => self.first = Some(at),
        }
        self.last = Some(at);
    }

    /// Takes the first entry out of the chain; it stays in the slab.
    pub(super) fn pop<T: Linked>(&mut self, entries: &mut Slab<T>) -> Option<usize> {
        let first = self.first?;
        self.first = entries[first].next().take();
        if self.first.is_none() {
            self.last = None;
        }
        Some(first)
    }
}
