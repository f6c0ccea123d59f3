//! The results for programs. Fields may be added under the same `schema`; one that goes or changes
//! its meaning makes a new one.

use serde::Serialize;

use super::{Report, Role, part_of};
use crate::measure::{Better, Figure, Goal, Outcome, Spread, Unit};

/// The report as JSON.
///
/// # Errors
/// None to be expected: all keys are text.
pub fn text(report: &Report) -> serde_json::Result<String> {
    let competitors = report.competitors.iter().map(|contender| Competitor {
        name: &contender.name,
        role: contender.role,
        version: contender.version.as_deref(),
    });
    let judgements: Vec<Option<bool>> = report.judgements().map(|goal| goal.reached).collect();
    let count = |wanted| judgements.iter().filter(|&&reached| reached == wanted).count();
    let document = Document {
        schema: SCHEMA,
        date: &report.date,
        machine: &report.machine,
        rounds: report.rounds,
        second: report.second,
        competitors: competitors.collect(),
        goals: Goals {
            reached: count(Some(true)),
            missed: count(Some(false)),
            not_judged: count(None),
        },
        outcomes: report.outcomes.iter().map(|outcome| of_outcome(report, outcome)).collect(),
    };
    serde_json::to_string_pretty(&document).map(|text| text + "\n")
}

#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    date: &'a str,
    machine: &'a super::Machine,
    rounds: u32,
    second: f64,
    competitors: Vec<Competitor<'a>>,
    goals: Goals,
    outcomes: Vec<ScenarioResult<'a>>,
}

#[derive(Serialize)]
struct Competitor<'a> {
    name: &'a str,
    role: Role,
    version: Option<&'a str>,
}

#[derive(Serialize)]
struct Goals {
    reached: usize,
    missed: usize,
    not_judged: usize,
}

#[derive(Serialize)]
struct ScenarioResult<'a> {
    scenario: &'a str,
    queue_length: u32,
    /// Whom the others are compared with.
    reference: Option<&'a str>,
    figures: Vec<FigureResult<'a>>,
}

#[derive(Serialize)]
struct FigureResult<'a> {
    metric: &'static str,
    unit: Unit,
    better: Better,
    goal: Option<Goal>,
    /// By all that are judged.
    reached: Option<bool>,
    /// By competitor; those that were not part of the scenario are not here.
    results: Vec<CompetitorResult<'a>>,
}

#[derive(Serialize)]
struct CompetitorResult<'a> {
    competitor: &'a str,
    /// Round by round; null where it failed.
    values: &'a [Option<f64>],
    value: Option<Spread>,
    /// To the reference, within a round.
    ratio: Option<Spread>,
    /// Of who is judged; null if there is nothing to judge by.
    #[serde(skip_serializing_if = "Option::is_none")]
    reached: Option<Option<bool>>,
}

fn of_outcome<'a>(report: &'a Report, outcome: &'a Outcome) -> ScenarioResult<'a> {
    let reference = part_of(outcome, report.competitors.len()).first().copied();
    ScenarioResult {
        reference: reference.map(|who| report.competitors[who].name.as_str()),
        scenario: &outcome.scenario,
        queue_length: outcome.queue_length,
        figures: outcome.figures.iter().map(|figure| of_figure(report, figure)).collect(),
    }
}

fn of_figure<'a>(report: &'a Report, figure: &'a Figure) -> FigureResult<'a> {
    let with_values = report.competitors.iter().zip(&figure.values).enumerate();
    let results = with_values.filter(|(_, (_, values))| !values.is_empty());
    let judged = report.judged(figure);
    let results = results.map(|(who, (contender, values))| CompetitorResult {
        competitor: &contender.name,
        values,
        value: figure.spread(who),
        ratio: figure.ratio(who),
        reached: judged.contains(&who).then(|| figure.reached(who)),
    });
    FigureResult {
        metric: figure.metric.name,
        unit: figure.metric.unit,
        better: figure.metric.better,
        goal: figure.metric.goal,
        reached: report.reached(figure),
        results: results.collect(),
    }
}

const SCHEMA: u32 = 1;
