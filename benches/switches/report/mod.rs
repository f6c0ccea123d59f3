//! What came out of all scenarios, and how it is shown: as a table, as JSON, as a page, as a picture.

pub mod axis;
pub mod format;
pub mod json;
pub mod machine;
pub mod page;
pub mod svg;
pub mod table;

mod bars;
mod summary;

use serde::Serialize;

use crate::measure::{Better, Figure, Metric, Outcome};
use machine::Machine;

pub use summary::picture;

/// Everything that is to be shown.
#[derive(Clone, Debug)]
pub struct Report {
    /// Where each outcome has its values in this order.
    pub competitors: Vec<Contender>,
    pub outcomes: Vec<Outcome>,
    pub machine: Machine,
    /// When the first scenario began: UTC, as RFC 3339 writes it.
    pub date: String,
    pub rounds: u32,
    /// Seconds of measuring for each second that was meant.
    pub second: f64,
}

/// A competitor as the results name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contender {
    pub name: String,
    pub role: Role,
    /// As the program or its package tells it.
    pub version: Option<String>,
}

/// What a competitor's figures are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The others are compared with it, where it takes part.
    Reference,
    /// It is to reach goals.
    Ours,
    Other,
}

/// A goal of our switch, and what became of it.
#[derive(Clone, Copy, Debug)]
pub struct Judgement<'a> {
    pub outcome: &'a Outcome,
    pub figure: &'a Figure,
    /// The number of the competitor that is to reach it, one of ours.
    pub who: usize,
    /// `None` if there is nothing to judge by.
    pub reached: Option<bool>,
}

impl Report {
    /// Adds outcomes whose values are in the order of `names`. A competitor that is not known yet
    /// becomes one; those that are not named here were not part of it.
    pub fn add(&mut self, names: &[String], outcomes: Vec<Outcome>) {
        for name in names {
            if self.competitors.iter().all(|known| known.name != *name) {
                let name = name.clone();
                self.competitors.push(Contender { name, role: Role::Other, version: None });
            }
        }
        let places: Vec<Option<usize>> = self
            .competitors
            .iter()
            .map(|known| names.iter().position(|name| *name == known.name))
            .collect();
        for mut outcome in outcomes {
            for figure in &mut outcome.figures {
                let take =
                    |place: &Option<usize>| place.and_then(|n| figure.values.get(n)).cloned();
                figure.values =
                    places.iter().map(|place| take(place).unwrap_or_default()).collect();
            }
            self.outcomes.push(outcome);
        }
    }

    /// The numbers of the competitors that are to reach the goal of `figure`: all of ours that were
    /// part of it, but a goal that is a ratio only the first, the reference's counterpart.
    pub fn judged(&self, figure: &Figure) -> Vec<usize> {
        let Some(goal) = figure.metric.goal else { return Vec::new() };
        let most = if goal.is_ratio() { 1 } else { usize::MAX };
        let ours =
            self.competitors.iter().enumerate().filter(|(_, known)| known.role == Role::Ours);
        ours.map(|(who, _)| who).filter(|&who| figure.has(who)).take(most).collect()
    }

    /// Whether our switch reaches the goal of `figure`, in all columns that are judged; `None` if it
    /// does not miss it, but there is nothing to judge by in one.
    pub fn reached(&self, figure: &Figure) -> Option<bool> {
        let judged: Vec<Option<bool>> =
            self.judged(figure).into_iter().map(|who| figure.reached(who)).collect();
        match judged.contains(&Some(false)) {
            true => Some(false),
            false => (!judged.is_empty() && !judged.contains(&None)).then_some(true),
        }
    }

    /// Whether ours failed in `outcome`, whatever its clients.
    pub fn failed(&self, outcome: &Outcome) -> bool {
        let ours = |who: &usize| self.competitors[*who].role == Role::Ours;
        (0..self.competitors.len()).filter(ours).any(|who| outcome.failed(who))
    }

    /// All goals, in order.
    pub fn judgements(&self) -> impl Iterator<Item = Judgement<'_>> {
        self.outcomes.iter().flat_map(move |outcome| {
            outcome.figures.iter().flat_map(move |figure| {
                let judge =
                    move |who| Judgement { outcome, figure, who, reached: figure.reached(who) };
                self.judged(figure).into_iter().map(judge)
            })
        })
    }

    /// The outcomes by family, each as long as there are outcomes of it, in order of appearance.
    pub fn families(&self) -> Vec<(String, Vec<&Outcome>)> {
        let mut families: Vec<(String, Vec<&Outcome>)> = Vec::new();
        for outcome in &self.outcomes {
            let name = family(&outcome.scenario);
            match families.iter_mut().find(|(known, _)| *known == name) {
                Some((_, outcomes)) => outcomes.push(outcome),
                None => families.push((name, vec![outcome])),
            }
        }
        families
    }
}

/// The competitors that were part of `outcome`, by number; they may have failed in it.
fn part_of(outcome: &Outcome, competitors: usize) -> Vec<usize> {
    let in_one = |who: &usize| outcome.figures.iter().any(|figure| figure.has(*who));
    (0..competitors).filter(in_one).collect()
}

/// What scenarios that differ in a number or in what follows a comma have in common: "burst" of
/// "burst of 64, one CPU".
pub fn family(scenario: &str) -> String {
    let head = scenario.split([',', ':']).next().unwrap_or(scenario);
    let mut words: Vec<&str> = Vec::new();
    for word in head.split_whitespace() {
        if !word.starts_with(|first: char| first.is_ascii_digit()) {
            words.push(word);
        } else if words.last().is_some_and(|last| LINKS.contains(last)) {
            words.pop();
        }
    }
    if words.is_empty() { scenario.to_owned() } else { words.join(" ") }
}

/// Words that say nothing without the number that they stand before.
const LINKS: &[&str] = &["at", "by", "for", "from", "in", "of", "on", "to", "with"];

/// How many times better than the reference a ratio is: turned over where less is better.
fn gain(metric: &Metric, ratio: f64) -> f64 {
    match metric.better {
        Better::Higher => ratio,
        Better::Lower => 1.0 / ratio,
    }
}
