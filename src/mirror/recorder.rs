//! A capture from the command line: written to files on a thread of its own, for as long as the
//! switch runs or the files can be written.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use tracing::{error, info};

use super::sink::{Files, Sink};
use super::{PortTotals, Record, State, Tail};

/// The thread that writes. Dropped when the loop has ended, it waits until all is written, for
/// two seconds at the most.
#[derive(Debug)]
pub struct Recorder {
    /// Closed when the thread has done its work.
    done: Receiver<()>,
}

impl Recorder {
    /// Starts the thread. It is scheduled as the calling thread is, and blocks the same signals.
    ///
    /// # Errors
    /// There can be no thread.
    pub fn start(tail: Tail, files: Files) -> io::Result<Self> {
        let (working, done) = channel();
        let recording = Recording { tail, files, written: 0, _working: working };
        thread::Builder::new().name("mirror".to_owned()).spawn(move || recording.run())?;
        Ok(Recorder { done })
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        if self.done.recv_timeout(LAST_WORDS) == Err(RecvTimeoutError::Timeout) {
            error!("the end of the capture is lost: its disk does not answer");
        }
    }
}

struct Recording {
    tail: Tail,
    files: Files,
    /// Frames that are surely in the files.
    written: u64,
    _working: Sender<()>,
}

impl Recording {
    fn run(mut self) {
        info!(file = %self.files.path().display(), "capturing");
        match self.write() {
            Ok(totals) => {
                let (captured, filtered, dropped) = sums(&totals);
                let file = self.files.path().display();
                info!(%file, captured, filtered, dropped, "capture ended");
            }
            Err(error) => {
                // What is there in the buffer now has no place to go.
                let (captured, filtered, dropped) = sums(&self.totals());
                let written = self.written;
                error!(%error, written, captured, filtered, dropped, "capture ended: cannot write");
            }
        }
    }

    /// Writes until the capture ends.
    fn write(&mut self) -> io::Result<Vec<PortTotals>> {
        let Recording { tail, files, written, .. } = self;
        loop {
            let mut fresh = 0;
            let state = tail.read(PATIENCE, |record| {
                fresh += u64::from(matches!(record, Record::Frame(_)));
                files.record(record)
            })?;
            match state {
                State::Open => files.flush()?,
                State::Ended(totals) => {
                    files.finish(&totals)?;
                    return Ok(totals);
                }
            }
            *written += fresh;
        }
    }

    /// Ends the capture and forgets what is still to be written.
    fn totals(&mut self) -> Vec<PortTotals> {
        self.tail.stop();
        loop {
            if let Ok(State::Ended(totals)) = self.tail.read(PATIENCE, |_| Ok(())) {
                return totals;
            }
        }
    }
}

/// Frames captured, filtered and dropped at all ports.
fn sums(totals: &[PortTotals]) -> (u64, u64, u64) {
    let sum = |count: fn(&PortTotals) -> u64| totals.iter().map(count).sum();
    (sum(|port| port.captured), sum(|port| port.filtered), sum(|port| port.dropped))
}

/// Any time will do: the end of the capture shows at once.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long the end of the process waits for a disk.
const LAST_WORDS: Duration = Duration::from_secs(2);
