//! Whether players would feel it: the rule, and the sentence.
//!
//! The rule is about the two directions between the players and the server, or about all frames
//! where no server could be told. The worst direction counts.
//!
//! | verdict | 99 in 100 frames within | 999 in 1000 within | lost at most |
//! | --- | --- | --- | --- |
//! | nothing | 1 ms | 10 ms | 0.1 % |
//! | may cost a server frame | 10 ms | | 0.1 % |
//! | felt | 50 ms | | 1 % |
//! | badly felt | more | | more |
//!
//! Where the times come from: a Half-Life server looks for packets once a frame, every 10 ms
//! (`sys_ticrate` 100), a client draws every 16 ms (60 Hz). What is a small part of either, 1 ms,
//! rarely moves a packet to the next frame, and then by one; what is longer than a frame always
//! does. Every 50 ms (`cl_updaterate` 20) a client gets a new state of the world: what comes later
//! than that comes after its successor was due. Where the parts come from: a client sends some 24
//! and gets 20 packets a second, so that 0.1 % is one packet in 40 to 50 s, and 1 % one in 5.

use std::cmp::Reverse;

use super::text::{count, percent, sound, time};
use crate::report::model::{DirectionReport, Report, SwitchReport, Tally};

/// Nobody notices a delay up to this, in microseconds.
pub const UNNOTICED_US: f64 = 1_000.0;
/// One frame of the server, in microseconds.
pub const SERVER_FRAME_US: f64 = 10_000.0;
/// The time between two states of the world that the server sends a client, in microseconds.
pub const UPDATE_US: f64 = 50_000.0;
/// In percent: more lost frames than these are felt.
pub const FELT_LOSS: f64 = 0.1;
/// In percent: more lost frames than these are felt badly.
pub const BAD_LOSS: f64 = 1.0;

/// What players feel, from good to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    /// Nothing was measured.
    Unknown,
    /// Nobody notices.
    Nothing,
    /// Now and then a packet misses the frame of the server that it was meant for.
    Frame,
    /// Players feel it.
    Felt,
    /// Players cannot play well.
    Bad,
}

impl Grade {
    /// What stands first in the sentence.
    pub fn headline(self) -> &'static str {
        match self {
            Grade::Unknown => "Nothing to judge",
            Grade::Nothing => "Players feel nothing",
            Grade::Frame => "It may cost players a server frame",
            Grade::Felt => "Players feel it",
            Grade::Bad => "Players feel it badly",
        }
    }

    /// A sign that tells verdicts apart without colours.
    pub fn sign(self) -> &'static str {
        match self {
            Grade::Unknown => "–",
            Grade::Nothing => "✓",
            Grade::Frame => "!",
            Grade::Felt => "✗",
            Grade::Bad => "✗✗",
        }
    }

    /// Its class in the style sheet.
    pub fn class(self) -> &'static str {
        match self {
            Grade::Unknown => "unknown",
            Grade::Nothing => "good",
            Grade::Frame => "fair",
            Grade::Felt | Grade::Bad => "bad",
        }
    }
}

/// The judgement of one switch.
pub struct Verdict {
    /// In a word.
    pub grade: Grade,
    /// In a sentence.
    pub sentence: String,
}

impl Verdict {
    /// Of `switch`.
    pub fn of(switch: &SwitchReport) -> Self {
        let mut judged = judged(switch);
        judged.sort_by_key(|tally| Reverse(grade(tally)));
        let grade = judged.first().map_or(Grade::Unknown, |worst| grade(worst));
        let why = match grade {
            Grade::Unknown => "no frames were due".to_owned(),
            Grade::Nothing => all_is_well(&judged),
            _ => judged.iter().flat_map(|tally| reasons(tally)).collect::<Vec<_>>().join(", "),
        };
        Verdict { grade, sentence: format!("{}: {why}.", grade.headline()) }
    }
}

/// Whether a part `percent` of lost frames is one that players feel.
pub fn loss_is_felt(percent: f64) -> bool {
    sound(percent) > FELT_LOSS
}

/// Whether the direction of this name is one between players and the server.
pub fn is_with_server(direction: &str) -> bool {
    direction.contains("server")
}

/// What is to be known before the verdicts are believed.
pub fn reservations(report: &Report) -> Vec<String> {
    let mut known = Vec::new();
    if report.capture.server.is_none() && report.switches.iter().any(|s| s.total.due > 0) {
        known.push(
            "No game server could be told in this capture: all of it is judged as if it were \
             game traffic."
                .to_owned(),
        );
    }
    match report.run.speed {
        None => known.push(
            "The capture was replayed as fast as possible, which is more than its players ever \
             sent: the verdict is about this load, not about their evening."
                .to_owned(),
        ),
        Some(speed) if sound(speed) != 1.0 => {
            known.push(format!("The capture was replayed at {} times its speed.", sound(speed)));
        }
        Some(_) => {}
    }
    let late = report.switches.iter().filter(|switch| crate::report::was_late(switch));
    known.extend(late.map(|switch| {
        format!(
            "The replay itself was late: 1 in 100 frames to {} was tried more than {} after it was \
             due, while 1 in 100 took more than {} in all. The switch may be better than it looks \
             here: use a quieter or faster machine.",
            switch.name,
            time(switch.lateness.p99_us),
            time(switch.total.delay.p99_us)
        )
    }));
    known
}

/// The directions that players are part of; without those, all.
fn judged(switch: &SwitchReport) -> Vec<&Tally> {
    let due = || switch.directions.iter().map(of_direction).filter(|tally| tally.due > 0);
    let players: Vec<&Tally> = due().filter(|tally| is_with_server(&tally.name)).collect();
    match players.is_empty() {
        true if due().next().is_none() => {
            Some(&switch.total).filter(|tally| tally.due > 0).into_iter().collect()
        }
        true => due().collect(),
        false => players,
    }
}

fn of_direction(direction: &DirectionReport) -> &Tally {
    &direction.tally
}

fn grade(tally: &Tally) -> Grade {
    let (p99, p999) = (sound(tally.delay.p99_us), sound(tally.delay.p999_us));
    let lost = sound(tally.lost_percent);
    if lost > BAD_LOSS || p99 > UPDATE_US {
        Grade::Bad
    } else if lost > FELT_LOSS || p99 > SERVER_FRAME_US {
        Grade::Felt
    } else if p99 > UNNOTICED_US || p999 > SERVER_FRAME_US {
        Grade::Frame
    } else {
        Grade::Nothing
    }
}

fn all_is_well(judged: &[&Tally]) -> String {
    let most =
        |of: fn(&Tally) -> f64| judged.iter().map(|tally| sound(of(tally))).fold(0.0, f64::max);
    let (due, lost) = (judged.iter().map(|t| t.due).sum(), judged.iter().map(|t| t.lost).sum());
    let loss = match lost {
        0 => "none is lost".to_owned(),
        _ => format!("{} of {} are lost", count(lost), count(due)),
    };
    let which = match judged.iter().all(|tally| is_with_server(&tally.name)) {
        true => "the frames to and from the server",
        false => "all frames",
    };
    format!(
        "99 % of {which} come within {}, the slowest within {}, {loss}",
        time(most(|tally| tally.delay.p99_us)),
        time(most(|tally| tally.delay.max_us)),
    )
}

/// What of `tally` keeps it from being unnoticed, worst first.
fn reasons(tally: &Tally) -> Vec<String> {
    let which = match tally.name.as_str() {
        name if name.starts_with("to ") || name.starts_with("from ") => format!("frames {name}"),
        name => format!("frames ({name})"),
    };
    if tally.received == 0 && tally.lost > 0 {
        return vec![format!("none of the {which} came")];
    }
    let mut reasons = Vec::new();
    if tally.lost > 0 {
        reasons.push(format!("{} of the {which} are lost", percent(tally.lost_percent)));
    }
    let delay = &tally.delay;
    if sound(delay.p99_us) > UNNOTICED_US {
        reasons.push(format!("1 in 100 {which} takes more than {}", time(delay.p99_us)));
    } else if sound(delay.p999_us) > SERVER_FRAME_US {
        reasons.push(format!("1 in 1,000 {which} takes more than {}", time(delay.p999_us)));
    }
    reasons
}
