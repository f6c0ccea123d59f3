//! How far the replay is: one line that changes, on standard error if that is a terminal.

use std::io::{IsTerminal, Write, stderr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::Duration;

/// What the receiver knows, for the thread that shows it: it is not to wait for a terminal.
#[derive(Debug, Default)]
pub struct Progress {
    played_ms: AtomicU64,
    due: AtomicU64,
    lost: AtomicU64,
    /// Milliseconds, or 0 if nobody knows.
    whole_ms: AtomicU64,
    other_ms: AtomicU64,
    over: AtomicBool,
}

impl Progress {
    /// Of something that takes so long for all switches together, if that is known.
    pub fn of(whole: Option<Duration>) -> Self {
        let progress = Progress::default();
        progress.whole_ms.store(whole.map_or(0, milliseconds), Ordering::Relaxed);
        progress
    }

    /// So much was played to this switch, with so many frames.
    pub fn set(&self, played: Duration, due: u64, lost: u64) {
        self.played_ms.store(milliseconds(played), Ordering::Relaxed);
        self.due.store(due, Ordering::Relaxed);
        self.lost.store(lost, Ordering::Relaxed);
    }

    /// So much was played to the other switch.
    pub fn set_other(&self, played: Duration) {
        self.other_ms.store(milliseconds(played), Ordering::Relaxed);
    }

    /// Shows it until [`Progress::end`], if anybody can see it.
    pub fn show<'s>(&'s self, scope: &'s Scope<'s, '_>) -> Option<ScopedJoinHandle<'s, ()>> {
        stderr().is_terminal().then(|| {
            scope.spawn(|| {
                while !self.over.load(Ordering::Relaxed) {
                    thread::park_timeout(EVERY);
                    let _ = write!(stderr(), "{TO_START}{}", self.line());
                }
                let _ = write!(stderr(), "{TO_START}");
            })
        })
    }

    /// The line goes away.
    pub fn end(&self, shown: Option<ScopedJoinHandle<'_, ()>>) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = shown {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }

    fn line(&self) -> String {
        let at = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (played, whole) = (at(&self.played_ms) + at(&self.other_ms), at(&self.whole_ms));
        let frames = format!("{} frames, {} lost", at(&self.due), at(&self.lost));
        let seconds = |ms: u64| ms as f64 / 1e3;
        if whole == 0 {
            return format!("{:.1} s, {frames}", seconds(played));
        }
        // The silence after each turn is not part of the whole.
        let played = played.min(whole);
        let full = (played * BAR / whole) as usize;
        let bar = format!("{}{}", "#".repeat(full), ".".repeat(BAR as usize - full));
        let percent = played * 100 / whole;
        format!(
            "[{bar}] {percent:3} %  {:.1} of {:.1} s, {frames}",
            seconds(played),
            seconds(whole)
        )
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

const EVERY: Duration = Duration::from_millis(200);

/// Characters of the bar.
const BAR: u64 = 20;

/// To the line's start, and away with what is there.
const TO_START: &str = "\r\x1b[K";
