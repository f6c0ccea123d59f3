//! Messages on standard error, written by a thread of their own.
//!
//! Standard error may be a pipe that nobody reads, a terminal that is stopped, or a full disk. The
//! loop only ever puts a line into a bounded queue; when that is full, lines are lost, not frames.

use std::io::{self, IsTerminal};

use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};

/// Lines that may wait to be written.
const MAX_LINES: usize = 4096;

/// Writes out what waits when it is dropped, for a second at the most.
#[derive(Debug)]
pub struct LogGuard {
    worker: Option<WorkerGuard>,
    lost: ErrorCounter,
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        // A queue that has overflowed is not going to be read: the worker would wait for room in
        // it and then complain on standard output, which may be the same pipe, and never return.
        if self.lost.dropped_lines() > 0 {
            std::mem::forget(self.worker.take());
        }
    }
}

/// Starts the thread. Must not be called before the process has gone into the background.
pub fn start_logging(level: LevelFilter) -> LogGuard {
    let (writer, worker) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(MAX_LINES)
        .thread_name("log")
        .finish(io::stderr());
    let lost = writer.error_counter();
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_target(false)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(writer)
        .init();
    LogGuard { worker: Some(worker), lost }
}
