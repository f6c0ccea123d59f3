//! A game server with 32 players: at each tick it sends a frame to each of them, back to back, and
//! each of them sends to it in its own time.
//!
//! Nobody waits for room: a kernel's daemon transport drops a frame that its socket does not take.
//! Those are "refused", which is apart from "lost". A frame that did not come, for one reason or
//! the other, counts as late by the time to the next one, which makes up for it. Delays of only
//! those that came would favour a switch that takes the beginning of each burst and refuses the
//! rest.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

use uml_switch::client::Client;

use crate::competitor::USUAL;
use crate::exchange::{SILENCE, join};
use crate::measure::{Better, Goal, Metric, Unit};
use crate::place::Placement;
use crate::scenario::{BOTH, Bed, Options, Run, Samples, Scenario};
use crate::traffic::{
    Arrivals, Flow, HEADERS, Moment, be_punctual, count, no_delays, now, percent, with_delays,
};

/// With the rates of a server of long ago, and with the highest in use.
pub fn scenarios() -> Vec<Scenario> {
    let game = |name: &str, run: Run| Scenario {
        name: name.to_owned(),
        columns: USUAL,
        queue_lengths: BOTH,
        placement: Placement::One,
        options: Options::NONE,
        metrics: metrics(),
        run,
    };
    vec![
        game("game server, 20 ticks a second", |bed| run(bed, 20, 30)),
        game("game server, 100 ticks a second", |bed| run(bed, 100, 100)),
    ]
}

fn metrics() -> Vec<Metric> {
    use Unit::{Microseconds, Percent};
    let lower = |name, unit, goal| Metric { name, unit, better: Better::Lower, goal };
    let none = Some(Goal::AtMost(0.0));
    vec![
        lower("p50 down", Microseconds, Some(Goal::RatioAtMost(0.8))),
        lower("p50 up", Microseconds, Some(Goal::RatioAtMost(0.8))),
        lower("p99 down", Microseconds, None),
        lower("p99 up", Microseconds, None),
        lower("CPU per frame", Microseconds, Some(Goal::RatioAtMost(0.65))),
        lower("lost", Percent, none),
        lower("refused", Percent, none),
    ]
}

fn run(bed: &Bed<'_>, ticks: u32, commands: u32) -> Result<Samples> {
    let guests = bed.guests(1 + PLAYERS)?;
    let begin = now() + Duration::from_millis(5);
    let until = begin + bed.seconds(2.0);
    let all = participants(&guests, ticks, commands, (begin, until))?;
    let before = bed.switch.cpu()?;
    let all = bed.on_clients_cpu(|| {
        thread::scope(|scope| {
            let threads: Vec<_> =
                all.into_iter().map(|one| scope.spawn(move || one.take_part(until))).collect();
            join(threads)
        })
    })?;
    let cpu = bed.switch.cpu()? - before;
    samples(&all, cpu)
}

fn samples(all: &[Participant<'_>], cpu: Duration) -> Result<Samples> {
    let (mut down, mut up) = (no_delays()?, no_delays()?);
    let (mut accepted, mut refused, mut arrived) = (0, 0, 0);
    let all_arrivals: Vec<_> = all.iter().flat_map(|one| &one.awaited).collect();
    for (place, one) in all.iter().enumerate() {
        let delays = if place == 0 { &mut down } else { &mut up };
        for flow in &one.flows {
            let of_flow = all_arrivals.iter().find(|arrivals| arrivals.port() == flow.port());
            let arrivals = of_flow.context("nobody awaits a flow")?;
            let missing = (flow.accepted + flow.refused).saturating_sub(arrivals.frames);
            delays.add(&arrivals.delays)?;
            delays.saturating_record_n(one.every.as_nanos() as u64, missing);
            accepted += flow.accepted;
            refused += flow.refused;
            arrived += arrivals.frames;
        }
    }
    let samples = with_delays(Samples::default(), &down, &[("p50 down", 0.5), ("p99 down", 0.99)]);
    Ok(with_delays(samples, &up, &[("p50 up", 0.5), ("p99 up", 0.99)])
        .with("CPU per frame", cpu.as_secs_f64() * 1e6 / arrived.max(1) as f64)
        .with("lost", percent(accepted.saturating_sub(arrived), accepted))
        .with("refused", percent(refused, accepted + refused)))
}

/// The server, or a player.
#[derive(Debug)]
struct Participant<'a> {
    guest: &'a Client,
    /// A frame of each is sent every `every`, the first ones at `due`.
    flows: Vec<Flow>,
    every: Duration,
    due: Moment,
    awaited: Vec<Arrivals>,
}

/// The server, and then the players.
fn participants(
    guests: &[Client],
    ticks: u32,
    commands: u32,
    (begin, until): (Moment, Moment),
) -> Result<Vec<Participant<'_>>> {
    let Some((server, players)) = guests.split_first() else { unreachable!("there are 33") };
    let mut all = vec![Participant {
        guest: server,
        flows: Vec::new(),
        every: Duration::from_secs(1) / ticks,
        due: begin,
        awaited: Vec::new(),
    }];
    for (n, player) in (0..).zip(players) {
        let (down, up) = (DOWN + n, UP + n);
        // No player's clock is like another's: they come at any point between two ticks.
        let every = (Duration::from_secs(1) / commands).mul_f64(1.0 + f64::from(n) / 1e3);
        all[0].flows.push(Flow::new((server, player), down, down_len(n))?);
        all[0].awaited.push(Arrivals::of(up, until)?);
        all.push(Participant {
            guest: player,
            flows: vec![Flow::new((player, server), up, up_len(n))?],
            every,
            due: begin + every.mul_f64(part(n)),
            awaited: vec![Arrivals::of(down, until)?],
        });
    }
    Ok(all)
}

impl Participant<'_> {
    /// Sends what is due until `until`, and receives until nothing comes any more.
    fn take_part(mut self, until: Moment) -> Result<Self> {
        be_punctual()?;
        self.guest.set_nonblocking(true)?;
        let mut buffer = [0; 2048];
        let mut silent_since = until;
        loop {
            let next = if self.due < until { self.due } else { silent_since + SILENCE };
            let came = wait(self.guest, next)?;
            while came && let Some(len) = self.guest.receive(&mut buffer)? {
                let at = now();
                count(&mut self.awaited, &buffer[..len], at);
                silent_since = silent_since.max(at);
            }
            let now = now();
            if self.due < until && self.due <= now {
                for flow in &mut self.flows {
                    flow.send(self.guest, self.due)?;
                }
                self.due += self.every;
            } else if now >= silent_since + SILENCE {
                return Ok(self);
            }
        }
    }
}

/// Waits until a frame has come for `guest`, no longer than until `due`; true if one has.
fn wait(guest: &Client, due: Moment) -> Result<bool> {
    let mut descriptors = [PollFd::new(guest.descriptor(), PollFlags::POLLIN)];
    let left = TimeSpec::from_duration(due.saturating_sub(now()));
    match ppoll(&mut descriptors, Some(left), None) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::EINTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The length of the frames to player `n`: over all players a largest extreme value distribution
/// with location 120 and scale 36 (J. Faerber, "Network game traffic modelling", 2002) of payload;
/// 183 bytes in the mean, with headers.
fn down_len(n: u16) -> usize {
    let at = (f64::from(n) + 0.5) / f64::from(PLAYERS);
    let payload = 120.0 - 36.0 * (-at.ln()).ln();
    HEADERS + payload.clamp(16.0, 1400.0) as usize
}

/// The length of the frames from player `n`: the two humps of Counter-Strike's active players, as
/// D-ITG has them; 86 bytes in the mean, with headers.
fn up_len(n: u16) -> usize {
    HEADERS + if part(n) < 0.3732 { 35 } else { 49 }
}

/// A number from 0 to 1 for player `n`, evenly spread over any number of players: multiples of the
/// golden ratio.
fn part(n: u16) -> f64 {
    (f64::from(n) * 0.618_033_988_749_895).fract()
}

const PLAYERS: u32 = 32;

/// The UDP ports of the first player's flows.
const DOWN: u16 = 1000;
const UP: u16 = 2000;
