//! Plays frames when they are due, and measures what becomes of them.
//!
//! Each station has a port of its own. One thread sends, another one receives and counts; the first
//! tells the second of each frame before it sends it. Delay counts from the moment at which a frame
//! was **due**: that it had to wait, at the switch or here, is part of it.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`side`] | one switch: its ports, its place in the capture, its counts |
//! | [`command`] | a switch that is started for this |
//! | [`port`] | a station's way to send and receive |
//! | [`introduction`] | stations make themselves known |
//! | [`question`] | the round trip to a real server |
//! | [`tape`] | the capture, pass after pass |
//! | [`sender`], [`receiver`], [`event`] | the two threads, and what one tells the other |
//! | [`in_flight`] | knowing a frame again when it comes |
//! | [`tallies`], [`count`], [`flows`], [`bursts`], [`over_time`] | counting |
//! | [`clock`], [`signals`], [`progress`] | time, signals, the line on the terminal |

mod bursts;
mod clock;
mod command;
mod count;
mod event;
mod flows;
mod in_flight;
mod introduction;
mod over_time;
mod port;
mod progress;
pub mod question;
mod receiver;
mod sender;
mod side;
mod signals;
mod tallies;
mod tape;

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use progress::Progress;

pub use count::Count;
pub use side::{Reach, Side, Switch};
pub use signals::{Interrupted, Signals};

/// How much is played, and how fast.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    /// Times the recorded speed; `None` is as fast as possible.
    pub speed: Option<f64>,
    pub length: Length,
    /// A program that is told whose turn comes.
    pub before_turns: Option<&'a Path>,
}

/// How much is played to each switch.
#[derive(Clone, Copy, Debug)]
pub enum Length {
    /// The whole capture, so many times.
    Passes(u64),
    /// The capture over and over for so long.
    Time(Duration),
}

/// Plays to all of `sides`, in turns if there are several: first A, then B, then B, then A, so that
/// what changes on the machine meanwhile is nobody's advantage. A turn is a pass, or 5 seconds of it.
///
/// # Errors
/// When a switch fails, the capture cannot be read any more, or a signal has come.
pub fn play(
    plan: Plan<'_>,
    pass: Duration,
    sides: &mut [Side<'_>],
    signals: &Signals,
) -> Result<()> {
    let progress = Progress::of(plan.whole(pass).map(|whole| whole * sides.len() as u32));
    thread::scope(|scope| {
        let shown = progress.show(scope);
        let result = take_turns(plan, sides, signals, &progress);
        progress.end(shown);
        result
    })
}

fn take_turns(
    plan: Plan<'_>,
    sides: &mut [Side<'_>],
    signals: &Signals,
    progress: &Progress,
) -> Result<()> {
    let several = sides.len() > 1;
    for round in 0_u64.. {
        let mut order: Vec<usize> = (0..sides.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for side in order {
            let others = sides.iter().enumerate().filter(|&(other, _)| other != side);
            plan.announce(side)?;
            progress.set_other(others.map(|(_, other)| other.played()).sum());
            plan.turn(&mut sides[side], several, signals, progress)?;
        }
        if sides.iter().all(Side::is_done) {
            break;
        }
    }
    Ok(())
}

impl Plan<'_> {
    /// Tells the program that wants to know whose turn it is.
    fn announce(self, side: usize) -> Result<()> {
        let Some(program) = self.before_turns else { return Ok(()) };
        let who = if side == 0 { "first" } else { "second" };
        let status =
            Command::new(program).arg(who).stdin(Stdio::null()).stdout(io::stderr()).status();
        let status = status.with_context(|| format!("cannot run {}", program.display()))?;
        ensure!(status.success(), "{} {who}: {status}", program.display());
        Ok(())
    }

    fn turn(
        self,
        side: &mut Side<'_>,
        several: bool,
        signals: &Signals,
        progress: &Progress,
    ) -> Result<()> {
        if side.is_done() {
            return Ok(());
        }
        let (left, last_pass) = match self.length {
            Length::Passes(passes) => (Duration::MAX, passes),
            Length::Time(time) => (time.saturating_sub(side.played()), u64::MAX),
        };
        let (most, until) = if several {
            (left.min(LONGEST_TURN), last_pass.min(side.pass() + 1))
        } else {
            (left, last_pass)
        };
        let ended = side.play((self.speed, most, until), signals, progress)?;
        let done = match self.length {
            Length::Passes(passes) => ended.pass >= passes,
            // What is left is a gap before the next frame.
            Length::Time(_) => most == left && ended.pass < until,
        };
        if done {
            side.end();
        }
        Ok(())
    }

    /// How long one switch is played to, if that can be told.
    fn whole(self, pass: Duration) -> Option<Duration> {
        match (self.length, self.speed) {
            (Length::Time(time), _) => Some(time),
            (Length::Passes(passes), Some(speed)) => Some(
                Duration::try_from_secs_f64(pass.as_secs_f64() * passes as f64 / speed)
                    .unwrap_or(Duration::MAX),
            ),
            (Length::Passes(_), None) => None,
        }
    }
}

const LONGEST_TURN: Duration = Duration::from_secs(5);
