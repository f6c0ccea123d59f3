//! Goals that are measured against another one than the first that takes part.

use super::network::Competitor;
use crate::measure::{Better, Figure, Goal, Metric, Unit};

/// Whom ours is to come up to in a work's first figure, which is the better the higher it is.
#[derive(Clone, Copy, Debug)]
pub struct Base {
    /// By its name.
    pub competitor: &'static str,
    /// What the results call how many times its figure another one is.
    pub times: &'static str,
    pub at_least: f64,
}

impl Base {
    /// How many times the base's values in `figure` those of all are, round by round.
    pub fn figure(&self, figure: &Figure, competitors: &[Competitor]) -> Figure {
        let base = competitors.iter().position(|competitor| competitor.name == self.competitor);
        let base = base.and_then(|who| figure.values.get(who)).map_or(&[][..], Vec::as_slice);
        let times = |values: &Vec<Option<f64>>| {
            let pairs = values.iter().zip(base);
            pairs.map(|(&value, &of)| Some(value? / of.filter(|&of| of > 0.0)?)).collect()
        };
        Figure { metric: self.metric(), values: figure.values.iter().map(times).collect() }
    }

    fn metric(&self) -> Metric {
        let goal = Some(Goal::AtLeast(self.at_least));
        Metric { name: self.times, unit: Unit::Ratio, better: Better::Higher, goal }
    }
}
