//! Runs scenarios: every competitor in turn, round by round, so that what disturbs the machine for a
//! while disturbs all of them.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::competitor::{Competitor, Running};
use crate::measure::{Figure, Outcome};
use crate::progress::Progress;
use crate::scenario::{Bed, Samples, Scenario};

/// How much is run.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    pub rounds: u32,
    /// How long a second of measuring takes.
    pub second: Duration,
}

/// Runs `scenario` with each of its queue lengths. A competitor that fails in a round has no value
/// there, and `progress` says why.
pub fn run(
    scenario: &Scenario,
    competitors: &[Competitor],
    effort: Effort,
    progress: &Progress,
) -> Result<Vec<Outcome>> {
    let mut outcomes = Vec::new();
    for &queue_length in scenario.queue_lengths {
        set_queue_length(queue_length)?;
        let mut samples = vec![Vec::new(); competitors.len()];
        for round in 0..effort.rounds as usize {
            progress.round(queue_length, round + 1, effort.rounds);
            // Another one begins each time: who comes first finds colder caches.
            for place in 0..competitors.len() {
                let who = (round + place) % competitors.len();
                let result = once(scenario, &competitors[who], effort);
                if let Err(error) = &result {
                    let who = competitors[who].column.name;
                    progress
                        .say(&format!("{} (qlen {queue_length}): {who}: {error:#}", scenario.name));
                }
                samples[who].push(result.ok());
            }
        }
        outcomes.push(outcome(scenario, queue_length, &samples));
    }
    Ok(outcomes)
}

fn once(scenario: &Scenario, competitor: &Competitor, effort: Effort) -> Result<Samples> {
    let cpus = scenario.placement.of_switch();
    let switch = Running::start(competitor, scenario.options, cpus)?;
    let bed = Bed { switch: &switch, placement: scenario.placement, second: effort.second };
    (scenario.run)(&bed)
}

fn outcome(scenario: &Scenario, queue_length: u32, samples: &[Vec<Option<Samples>>]) -> Outcome {
    let figures = scenario.metrics.iter().map(|metric| Figure {
        metric: *metric,
        values: samples
            .iter()
            .map(|rounds| rounds.iter().map(|s| s.as_ref()?.of(metric)).collect())
            .collect(),
    });
    Outcome { scenario: scenario.name.clone(), queue_length, figures: figures.collect() }
}

/// Sets how many datagrams may wait at a socket that is made from now on, in this network namespace.
pub fn set_queue_length(length: u32) -> Result<()> {
    fs::write(QUEUE_LENGTH, length.to_string())
        .with_context(|| format!("cannot set {QUEUE_LENGTH}"))
}

const QUEUE_LENGTH: &str = "/proc/sys/net/unix/max_dgram_qlen";
