//! The threads that serve connections: how many there may be, and whether they still work.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Counts threads and the memory of their captures' buffers.
#[derive(Debug, Default)]
pub(super) struct Crew {
    at_work: Mutex<usize>,
    one_left: Condvar,
    buffers: AtomicUsize,
    closing: AtomicBool,
}

/// A thread at work, until this is dropped.
#[derive(Debug)]
pub(super) struct Shift(Arc<Crew>);

/// Bytes for a buffer, until this is dropped.
#[derive(Debug)]
pub(super) struct Reserved {
    crew: Arc<Crew>,
    bytes: usize,
}

impl Crew {
    /// Room for one more thread, if there is.
    pub(super) fn enlist(self: &Arc<Self>) -> Option<Shift> {
        let mut at_work = self.at_work();
        if *at_work >= MAX_THREADS {
            return None;
        }
        *at_work += 1;
        Some(Shift(self.clone()))
    }

    /// Room for a buffer of `bytes`, if there is.
    pub(super) fn reserve(self: &Arc<Self>, bytes: usize) -> Option<Reserved> {
        let take = |taken: usize| taken.checked_add(bytes).filter(|&sum| sum <= MAX_BUFFERS);
        self.buffers.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).ok()?;
        Some(Reserved { crew: self.clone(), bytes })
    }

    /// True once nothing new is to be begun.
    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    /// Lets all end that have only begun to ask.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    /// Waits until no thread is at work any more, or for `patience`. Returns how many still are.
    pub(super) fn wait(&self, patience: Duration) -> usize {
        let waited =
            self.one_left.wait_timeout_while(self.at_work(), patience, |at_work| *at_work > 0);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn at_work(&self) -> MutexGuard<'_, usize> {
        self.at_work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shift {
    pub(super) fn crew(&self) -> &Arc<Crew> {
        &self.0
    }
}

impl Drop for Shift {
    fn drop(&mut self) {
        *self.0.at_work() -= 1;
        self.0.one_left.notify_all();
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.crew.buffers.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Connections that are served at a time.
pub(super) const MAX_THREADS: usize = 32;

/// Bytes of all captures' buffers together.
pub(super) const MAX_BUFFERS: usize = 512 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_bounded_and_waited_for() {
        let crew = Arc::new(Crew::default());
        let mut shifts: Vec<_> = (0..MAX_THREADS).map(|_| crew.enlist().unwrap()).collect();
        assert!(crew.enlist().is_none());
        shifts.pop();
        shifts.push(crew.enlist().unwrap());
        assert_eq!(crew.wait(Duration::ZERO), MAX_THREADS);
        let last = std::thread::spawn(move || drop(shifts));
        assert_eq!(crew.wait(Duration::from_secs(60)), 0);
        last.join().unwrap();
    }

    #[test]
    fn buffers_are_bounded_together() {
        let crew = Arc::new(Crew::default());
        let most = crew.reserve(MAX_BUFFERS - 1).unwrap();
        assert!(crew.reserve(2).is_none());
        assert!(crew.reserve(usize::MAX).is_none());
        let _last = crew.reserve(1).unwrap();
        drop(most);
        assert!(crew.reserve(MAX_BUFFERS - 1).is_some());
    }
}
