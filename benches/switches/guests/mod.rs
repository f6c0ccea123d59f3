//! Comparisons with real guests: User-Mode Linux kernels on each of the switches, and on a bridge
//! of the Linux kernel with a TAP interface for each guest.
//!
//! Each round boots three guests on each competitor and lets them do everything in turn, and again with
//! guests of other transports, and of QEMU, on those that serve them. A round takes four to five minutes
//! for each queue length.

mod base;
mod counters;
mod guest;
mod host;
mod network;
mod qemu;
mod site;
mod switch;
mod transport;
mod uml;
mod work;

use std::path::Path;

use anyhow::Result;

use crate::measure::{Figure, Outcome};
use crate::runner::{Effort, set_queue_length};
use crate::scenario::{BOTH, Samples};
use host::Stage;
use network::Competitor;
use site::Site;
use work::Work;

/// Compares the C `uml_switch`, `vde_switch`, `ours` and the bridge, in all that is `wanted` by
/// name. Returns their names, in this order, and what came out. What fails has no value, and `say`
/// is told why; if there can be no guests here, it is told just that.
pub fn run(
    wanted: &dyn Fn(&str) -> bool,
    queue_lengths: &[u32],
    effort: Effort,
    ours: &Path,
    say: &dyn Fn(&str),
) -> Result<(Vec<String>, Vec<Outcome>)> {
    let competitors = network::competitors(ours);
    let names = competitors.iter().map(|competitor| competitor.name.to_owned()).collect();
    let mut works: Vec<Work> = work::all().into_iter().filter(|work| wanted(&work.name)).collect();
    if works.is_empty() {
        return Ok((names, Vec::new()));
    }
    if let Some(reason) = host::missing() {
        say(&format!("real guests: skipped: {reason}"));
        return Ok((names, Vec::new()));
    }
    let of_qemu = |work: &Work| work.transport.is_of_qemu();
    if works.iter().any(of_qemu)
        && let Err(error) = qemu::prepare()
    {
        say(&format!("real guests, QEMU: skipped: {error:#}"));
        works.retain(|work| !of_qemu(work));
    }
    host::silence()?;
    let stage = Stage::new()?;
    let mut outcomes = Vec::new();
    for &queue_length in queue_lengths {
        set_queue_length(queue_length)?;
        for works in works.chunk_by(|one, next| one.transport == next.transport) {
            let rounds = rounds(&competitors, works, effort, queue_length, &stage, say);
            outcomes.extend(works.iter().enumerate().map(|(at, work)| Outcome {
                scenario: work.name.clone(),
                queue_length,
                figures: figures(work, at, &competitors, &rounds),
            }));
        }
    }
    Ok((names, outcomes))
}

/// All that is compared, by name.
pub fn names() -> impl Iterator<Item = String> {
    work::all().into_iter().map(|work| work.name)
}

/// What one competitor's boot has given, for each work.
type Boot = Vec<Option<Samples>>;

/// For each competitor its boots, one a round; none if it does not take part. The works are of one
/// transport.
fn rounds(
    competitors: &[Competitor],
    works: &[Work],
    effort: Effort,
    queue_length: u32,
    stage: &Stage,
    say: &dyn Fn(&str),
) -> Vec<Vec<Boot>> {
    // Guests take long; the longer queue, where less happens, gets half the rounds.
    let rounds = if queue_length == BOTH[0] { effort.rounds } else { effort.rounds.div_ceil(2) };
    let mut boots = vec![Vec::new(); competitors.len()];
    for round in 0..rounds as usize {
        // Another one begins each time, as with the other scenarios.
        for place in 0..competitors.len() {
            let who = (round + place) % competitors.len();
            let competitor = &competitors[who];
            if !works.iter().all(|work| competitor.takes_part(work.transport)) {
                continue;
            }
            let say = |line: &str| {
                say(&format!("real guests (qlen {queue_length}): {}: {line}", competitor.name));
            };
            let boot = boot(competitor, works, effort, stage, &say).unwrap_or_else(|error| {
                say(&format!("{error:#}"));
                vec![None; works.len()]
            });
            boots[who].push(boot);
        }
    }
    boots
}

fn boot(
    competitor: &Competitor,
    works: &[Work],
    effort: Effort,
    stage: &Stage,
    say: &dyn Fn(&str),
) -> Result<Boot> {
    let Some(transport) = works.first().map(|work| work.transport) else { return Ok(Vec::new()) };
    let mut site = Site::start(competitor, transport, stage, effort.second)?;
    let mut boot = Vec::new();
    let mut lossy = false;
    for work in works {
        let samples = work.run(&mut site);
        if let Err(error) = &samples {
            say(&format!("{}: {error:#}", work.name));
        }
        lossy |= samples.as_ref().is_ok_and(|samples| work.lost(samples));
        boot.push(samples.ok());
    }
    let totals = site.end();
    if let (true, Some(totals)) = (lossy, totals) {
        say(&format!("lost frames; the switch counted {totals}"));
    }
    Ok(boot)
}

fn figures(
    work: &Work,
    at: usize,
    competitors: &[Competitor],
    rounds: &[Vec<Boot>],
) -> Vec<Figure> {
    let figure = |metric| Figure {
        metric,
        values: rounds
            .iter()
            .map(|boots| boots.iter().map(|boot| boot[at].as_ref()?.of(&metric)).collect())
            .collect(),
    };
    let mut figures: Vec<Figure> = work.metrics.iter().map(|&metric| figure(metric)).collect();
    if let (Some(base), Some(first)) = (work.base, figures.first()) {
        figures.push(base.figure(first, competitors));
    }
    figures
}
