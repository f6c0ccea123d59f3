//! Guests that send flows to each other for a while, each in a thread of its own.
//!
//! All of them may wait, in sending and in receiving, so that a frame which finds no room is late
//! and not missing: what was refused has no delay that could be counted. No wait lasts longer than
//! [`PATIENCE`](uml_switch::client::PATIENCE), whatever the switch does.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

use anyhow::{Result, anyhow};

use uml_switch::client::Client;

use crate::scenario::{Bed, Samples};
use crate::traffic::{Arrivals, Flow, Moment, be_punctual, count, now, percent, sleep_until};

/// So many frames at a time, and how often.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    pub frames: u32,
    pub every: Duration,
}

/// Who sends.
#[derive(Debug)]
pub struct Sender<'a> {
    pub guest: &'a Client,
    /// Sent in turn, a frame each; at a pace, so many frames of each.
    pub flows: Vec<Flow>,
    /// As fast as there is room, if there is none.
    pub pace: Option<Pace>,
}

/// Who receives.
#[derive(Debug)]
pub struct Receiver<'a> {
    pub guest: &'a Client,
    pub reads: Reads,
}

/// How a receiver reads.
#[derive(Clone, Copy, Debug)]
pub enum Reads {
    /// What comes, when it comes.
    AtOnce,
    /// No faster than this; what it was kept from it makes up for.
    At(Pace),
    /// The same, and what is still there in the end it leaves.
    Crawling(Pace),
}

/// What became of one flow.
#[derive(Debug)]
pub struct Fate {
    pub sent: Flow,
    pub arrived: Arrivals,
}

impl Fate {
    /// Adds to `samples` what part of the frames that were accepted did not come, in percent. Not
    /// if there were none: that is no proof that none is lost.
    pub fn with_lost(&self, samples: Samples, name: &'static str) -> Samples {
        if self.sent.accepted == 0 {
            return samples;
        }
        let lost = self.sent.accepted.saturating_sub(self.arrived.frames);
        samples.with(name, percent(lost, self.sent.accepted))
    }

    /// Frames that came while others were sent, by the second.
    pub fn rate(&self, time: Duration) -> f64 {
        self.arrived.in_time as f64 / time.as_secs_f64()
    }
}

/// Lets `senders` send for `time`, and `receivers` receive until nothing comes any more. Returns
/// what became of each flow, those of the first sender first; of one that nobody receives nothing
/// arrived.
///
/// # Errors
/// Those of a client. That the switch takes nothing is none.
pub fn exchange(
    bed: &Bed<'_>,
    time: Duration,
    senders: Vec<Sender<'_>>,
    receivers: &[Receiver<'_>],
) -> Result<Vec<Fate>> {
    let until = now() + time;
    let flows = || senders.iter().flat_map(|sender| &sender.flows);
    let mut awaited = Vec::new();
    for receiver in receivers {
        let own = flows().filter(|flow| flow.to() == receiver.guest.mac());
        awaited.push(own.map(|flow| Arrivals::of(flow.port(), until)).collect::<Result<_>>()?);
    }
    let done = &AtomicBool::new(false);
    let (sent, arrived) = bed.on_clients_cpu(|| {
        Ok(thread::scope(|scope| {
            let reading = receivers.iter().zip(awaited);
            let reading: Vec<_> = reading
                .map(|(receiver, own)| scope.spawn(move || receiver.receive(own, until, done)))
                .collect();
            let sending = senders.into_iter();
            let sending: Vec<_> =
                sending.map(|sender| scope.spawn(move || sender.send(until))).collect();
            let sent = join(sending);
            done.store(true, Ordering::Release);
            (sent, join(reading))
        }))
    })?;
    let mut arrived: Vec<_> = arrived?.into_iter().flatten().collect();
    let fates = sent?.into_iter().flatten().map(|sent| {
        let place = arrived.iter().position(|arrivals| arrivals.port() == sent.port());
        let none = || Arrivals::of(sent.port(), until);
        let arrived = place.map_or_else(none, |place| Ok(arrived.swap_remove(place)))?;
        Ok(Fate { sent, arrived })
    });
    fates.collect()
}

impl Sender<'_> {
    fn send(mut self, until: Moment) -> Result<Vec<Flow>> {
        match self.pace {
            None => self.send_all(until)?,
            Some(pace) => self.send_at(pace, until)?,
        }
        Ok(self.flows)
    }

    fn send_all(&mut self, until: Moment) -> Result<()> {
        loop {
            for flow in &mut self.flows {
                let now = now();
                if now >= until {
                    return Ok(());
                }
                flow.send(self.guest, now)?;
            }
        }
    }

    /// What was due and found no time counts as refused.
    fn send_at(&mut self, pace: Pace, until: Moment) -> Result<()> {
        be_punctual()?;
        let mut due = now();
        while due + pace.every <= until {
            sleep_until(due);
            for _ in 0..pace.frames {
                for flow in &mut self.flows {
                    if now() < until {
                        flow.send(self.guest, due)?;
                    } else {
                        flow.refused += 1;
                    }
                }
            }
            due += pace.every;
        }
        Ok(())
    }
}

impl Receiver<'_> {
    fn receive(
        &self,
        mut own: Vec<Arrivals>,
        until: Moment,
        done: &AtomicBool,
    ) -> Result<Vec<Arrivals>> {
        let each = |frame: &[u8]| count(&mut own, frame, now());
        match self.reads {
            Reads::AtOnce => self.receive_at_once(done, each)?,
            Reads::At(pace) => self.receive_at(pace, done, SILENCE, each)?,
            Reads::Crawling(pace) => self.receive_at(pace, done, Duration::ZERO, each)?,
        }
        for arrivals in &mut own {
            arrivals.end_stall(until);
        }
        Ok(own)
    }

    fn receive_at_once(&self, done: &AtomicBool, mut each: impl FnMut(&[u8])) -> Result<()> {
        let mut buffer = [0; BUFFER];
        self.guest.set_nonblocking(false)?;
        self.guest.set_patience(SILENCE)?;
        loop {
            let last = done.load(Ordering::Acquire);
            match self.guest.receive(&mut buffer)? {
                Some(len) => each(&buffer[..len]),
                None if last => return Ok(()),
                None => {}
            }
        }
    }

    fn receive_at(
        &self,
        pace: Pace,
        done: &AtomicBool,
        silence: Duration,
        mut each: impl FnMut(&[u8]),
    ) -> Result<()> {
        let mut buffer = [0; BUFFER];
        self.guest.set_nonblocking(true)?;
        be_punctual()?;
        let (mut due, mut last) = (now(), now());
        while !done.load(Ordering::Acquire) || now().saturating_sub(last) < silence {
            sleep_until(due);
            due += pace.every;
            for _ in 0..pace.frames {
                let Some(len) = self.guest.receive(&mut buffer)? else { break };
                last = now();
                each(&buffer[..len]);
            }
        }
        Ok(())
    }
}

/// What all `threads` returned, or the first error, when all have ended.
pub fn join<T>(threads: Vec<ScopedJoinHandle<'_, Result<T>>>) -> Result<Vec<T>> {
    let results: Vec<_> = threads.into_iter().map(ScopedJoinHandle::join).collect();
    let panicked = |_| Err(anyhow!("a client has panicked"));
    results.into_iter().map(|result| result.unwrap_or_else(panicked)).collect()
}

/// What a player's flow is like: small frames, now and then. The time between two is no multiple of
/// what others do things at, so that it meets them at any point.
pub const SMALL: Pace = Pace { frames: 1, every: Duration::from_micros(1973) };

/// Bytes of such a frame.
pub const SMALL_FRAME: usize = 80;

/// How long nothing must come, with the senders stopped, before nothing is expected any more.
pub const SILENCE: Duration = Duration::from_millis(200);

/// Room for a full frame.
const BUFFER: usize = 2048;
