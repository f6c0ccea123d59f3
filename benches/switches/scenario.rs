//! What a scenario is: a name, what it measures, how the switch is to be started, and the work.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use uml_switch::client::{BROADCAST, Client, frame};

use crate::competitor::{Column, Running};
use crate::measure::Metric;
use crate::place::{self, Placement};

/// One comparison. The runner starts each competitor afresh for each round and calls `run`.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// With what is particular to it: "burst of 64 to a reader that pauses".
    pub name: String,
    /// Who takes part. Ratios are to the first.
    pub columns: &'static [Column],
    /// The `max_dgram_qlen` that it is run with.
    pub queue_lengths: &'static [u32],
    pub placement: Placement,
    pub options: Options,
    pub metrics: Vec<Metric>,
    pub run: Run,
}

/// What a switch is started with, beyond what every scenario wants.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// For our switch.
    pub ours: &'static [&'static str],
    /// For the C program.
    pub reference: &'static [&'static str],
}

impl Options {
    /// Nothing.
    pub const NONE: Options = Options::ours(&[]);

    /// For our switch only.
    pub const fn ours(ours: &'static [&'static str]) -> Self {
        Options { ours, reference: &[] }
    }
}

/// The work of a scenario: drives a running switch and says what came out.
pub type Run = fn(&Bed<'_>) -> Result<Samples>;

/// Both lengths that are common: the kernel's default, and what most distributions set.
pub const BOTH: &[u32] = &[10, 512];

/// What the work of a scenario is given.
#[derive(Debug)]
pub struct Bed<'a> {
    pub switch: &'a Running,
    pub placement: Placement,
    /// How long a second of measuring is here: less in a quick run.
    pub second: Duration,
}

impl Bed<'_> {
    /// So many seconds of measuring; fewer in a quick run.
    pub fn seconds(&self, seconds: f64) -> Duration {
        self.second.mul_f64(seconds)
    }

    /// So many pieces of work; fewer in a quick run, but one at least.
    pub fn times(&self, count: u32) -> u32 {
        (self.second.mul_f64(count.into()).as_secs_f64() as u32).max(1)
    }

    /// `count` guests that the switch knows; guest n has the address `mac(n)`, from 1 on.
    pub fn guests(&self, count: u32) -> Result<Vec<Client>> {
        let guests: Vec<_> =
            (1..=count).map(|n| self.switch.client(n)).collect::<Result<_, _>>()?;
        introduce(&guests)?;
        Ok(guests)
    }

    /// Runs `work` where the clients belong; the threads that it starts stay there.
    pub fn on_clients_cpu<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        place::on(self.placement.of_clients(), work).context("cannot choose a processor")?
    }
}

/// What a scenario measured, by the name of the metric.
#[derive(Clone, Debug, Default)]
pub struct Samples(Vec<(&'static str, f64)>);

impl Samples {
    /// Adds the value of the metric called `name`.
    pub fn with(mut self, name: &'static str, value: f64) -> Self {
        self.0.push((name, value));
        self
    }

    /// The value of `metric`.
    pub fn of(&self, metric: &Metric) -> Option<f64> {
        self.0.iter().find(|(name, _)| *name == metric.name).map(|&(_, value)| value)
    }
}

/// Lets the switch know all of `guests`: the first by a broadcast, the others by a frame to the first.
fn introduce(guests: &[Client]) -> Result<()> {
    let Some((first, others)) = guests.split_first() else { return Ok(()) };
    first.send(&frame(BROADCAST, first.mac(), 60))?;
    for other in others {
        other.receive(&mut [0; 64])?;
        other.send(&frame(first.mac(), other.mac(), 60))?;
        ensure!(first.receive(&mut [0; 64])?.is_some(), "a frame to a known station is lost");
    }
    for guest in guests {
        guest.discard()?;
    }
    Ok(())
}
