//! Before a turn: stations make themselves known, and what has come of that is thrown away.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use uml_switch::client::{BROADCAST, Mac, frame};

use super::clock::{Moment, now};
use super::port::{Port, Sent};
use super::signals::Signals;

/// A station that is attached.
#[derive(Clone, Copy)]
pub struct Guest<'a> {
    pub mac: Mac,
    pub port: &'a Port,
}

/// Lets the switch know where all of `guests` are: the first by a broadcast, the others by a frame to
/// the first, so that many stations do not flood each other.
///
/// # Errors
/// When a lone frame does not arrive, however often it is sent; a signal.
pub fn introduce(guests: &[Guest<'_>], signals: &Signals) -> Result<()> {
    let Some((first, others)) = guests.split_first() else { return Ok(()) };
    if let Some(second) = others.first() {
        deliver(&hello(BROADCAST, first.mac), first.port, second.port, signals)?;
    }
    for other in others {
        deliver(&hello(first.mac, other.mac), other.port, first.port, signals)?;
    }
    let mut buffer = [0; 64];
    for guest in guests {
        while guest.port.receive(&mut buffer).context("cannot receive frames")?.is_some() {}
    }
    Ok(())
}

/// Whether `bytes` are one of these frames, come late.
pub fn is_hello(bytes: &[u8]) -> bool {
    bytes.len() == LEN
        && bytes[12..14] == frame([0; 6], [0; 6], LEN)[12..14]
        && bytes[14..14 + WORD.len()] == *WORD
}

fn hello(to: Mac, from: Mac) -> Vec<u8> {
    let mut hello = frame(to, from, LEN);
    hello[14..14 + WORD.len()].copy_from_slice(WORD);
    hello
}

fn deliver(bytes: &[u8], from: &Port, to: &Port, signals: &Signals) -> Result<()> {
    for _ in 0..ATTEMPTS {
        let sent = from.send(bytes).context("the switch takes no frames")?;
        let end = now() + ANSWER;
        while now() < end {
            signals.check()?;
            if sent == Sent::Taken && arrives(bytes, to, end)? {
                return Ok(());
            }
            if sent != Sent::Taken {
                wait_for(from, PollFlags::POLLOUT, end)?;
                break;
            }
        }
    }
    bail!("the switch forwards nothing: a lone frame did not arrive, sent {ATTEMPTS} times")
}

/// Whether `bytes` have come; waits a little.
fn arrives(bytes: &[u8], to: &Port, end: Moment) -> Result<bool> {
    let mut buffer = [0; LEN + 1];
    wait_for(to, PollFlags::POLLIN, end)?;
    while let Some(len) = to.receive(&mut buffer).context("cannot receive frames")? {
        if buffer.get(..len) == Some(bytes) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Until `end`, but not for long: there are signals to look at.
fn wait_for(port: &Port, what: PollFlags, end: Moment) -> Result<()> {
    let time = end.saturating_sub(now()).min(LOOK_UP);
    let mut polled = [PollFd::new(port.descriptor(), what)];
    match ppoll(&mut polled, Some(TimeSpec::from_duration(time)), None) {
        Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
        Err(error) => Err(error).context("cannot wait for frames"),
    }
}

/// Ethernet's shortest.
const LEN: usize = 60;

/// What tells these frames from those of others.
const WORD: &[u8] = b"uml_replay says hello";

const ATTEMPTS: u32 = 5;

/// How long a frame may take before it is sent once more.
const ANSWER: Duration = Duration::from_secs(2);

const LOOK_UP: Duration = Duration::from_millis(50);
