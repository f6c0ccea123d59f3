//! `uml_replay --answer`: a server that sends every UDP packet back, for a guest that is replayed to.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Write};
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::player::question;

/// Answers at `address` until a signal ends the process. With `tick`, what has come is answered in one
/// burst at each tick, as a game's server does in each of its frames.
///
/// # Errors
/// When the address cannot be had.
pub fn serve(address: SocketAddr, tick: Option<Duration>) -> Result<()> {
    let socket = UdpSocket::bind(address).with_context(|| format!("cannot bind to {address}"))?;
    // For whoever waits until questions can be asked.
    writeln!(io::stdout(), "answering at {}", socket.local_addr()?)?;
    Answerer { socket, held: VecDeque::new() }.run(tick)
}

struct Answerer {
    socket: UdpSocket,
    /// What is to be answered at the next tick.
    held: VecDeque<Held>,
}

struct Held {
    from: SocketAddr,
    payload: Vec<u8>,
    came: Instant,
}

impl Answerer {
    fn run(mut self, tick: Option<Duration>) -> Result<()> {
        let mut buffer = vec![0; LONGEST];
        let mut next = tick.map(|tick| Instant::now() + tick);
        loop {
            let patience = next.map(|next| next.saturating_duration_since(Instant::now()));
            if patience != Some(Duration::ZERO) {
                self.socket.set_read_timeout(patience)?;
                self.take(&mut buffer)?;
            }
            let now = Instant::now();
            let is_time = next.is_none_or(|next| next <= now);
            if is_time || self.held.len() >= MOST_HELD {
                self.answer_all();
            }
            if is_time {
                // Ticks that were missed are left out.
                next = tick.map(|tick| now + tick);
            }
        }
    }

    fn take(&mut self, buffer: &mut [u8]) -> Result<()> {
        match self.socket.recv_from(buffer) {
            Ok((len, from)) => {
                let payload = buffer[..len].to_vec();
                self.held.push_back(Held { from, payload, came: Instant::now() });
                Ok(())
            }
            // The time is up, or somebody whom we answered is not there.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock
                        | ErrorKind::TimedOut
                        | ErrorKind::Interrupted
                        | ErrorKind::ConnectionRefused
                ) =>
            {
                Ok(())
            }
            Err(error) => Err(error).context("cannot receive"),
        }
    }

    fn answer_all(&mut self) {
        for mut held in self.held.drain(..) {
            question::answer(&mut held.payload, held.came.elapsed());
            // What cannot be sent is lost, as with any server.
            let _ = self.socket.send_to(&held.payload, held.from);
        }
    }
}

/// No UDP packet is longer.
const LONGEST: usize = 1 << 16;

/// Packets that wait for a tick; when there are more they are answered at once.
const MOST_HELD: usize = 4096;
