//! Figures: what a scenario measures, what is to be reached, and what came out.

use serde::Serialize;

/// One figure of a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Metric {
    /// What is measured, short: "p50", "delivered", "lost".
    pub name: &'static str,
    pub unit: Unit,
    pub better: Better,
    /// What our switch is to reach: with the clients of the column that is compared if it is a ratio,
    /// with any clients else.
    pub goal: Option<Goal>,
}

/// What a figure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    Microseconds,
    PerSecond,
    Percent,
    Kibibytes,
    /// Of one: the slowest of several against the fastest.
    Ratio,
    /// Megabits a second.
    Megabits,
    Frames,
}

impl Unit {
    /// As it is written behind a value; nothing for what is only counted.
    pub fn symbol(self) -> &'static str {
        match self {
            Unit::Microseconds => "us",
            Unit::PerSecond => "/s",
            Unit::Percent => "%",
            Unit::Kibibytes => "KiB",
            Unit::Megabits => "Mbit/s",
            Unit::Ratio | Unit::Frames => "",
        }
    }

    /// Whether so many times the reference's value says something: not of shares, where it has often
    /// 0 and the rest counts too.
    pub fn compares(self) -> bool {
        !matches!(self, Unit::Percent | Unit::Ratio)
    }
}

/// Which way a figure improves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    Lower,
    Higher,
}

/// What our switch is to reach, as the median of the rounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// At most so many times the reference's figure.
    RatioAtMost(f64),
    /// At least so many times the reference's figure.
    RatioAtLeast(f64),
    /// At most this, whatever the reference has.
    AtMost(f64),
    /// At least this, whatever the reference has.
    AtLeast(f64),
}

impl Goal {
    /// Whether it is relative to the reference.
    pub fn is_ratio(self) -> bool {
        matches!(self, Goal::RatioAtMost(_) | Goal::RatioAtLeast(_))
    }
}

/// The figures of one scenario in one setting.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// The scenario's name and what about it is particular: "round trip, one CPU".
    pub scenario: String,
    /// `net.unix.max_dgram_qlen` while it ran.
    pub queue_length: u32,
    pub figures: Vec<Figure>,
}

/// One metric of an outcome.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    pub metric: Metric,
    /// For each competitor, in the order of the report's list, a value for each round, `None` where
    /// it failed; none for a competitor that was not part of it.
    pub values: Vec<Vec<Option<f64>>>,
}

/// Middle and bounds of some values.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    pub median: f64,
    pub least: f64,
    pub most: f64,
}

impl Spread {
    /// `None` of no values.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (&least, &most) = (values.first()?, values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        Some(Spread { median, least, most })
    }
}

impl Outcome {
    /// Whether the competitor numbered `who` was part of it and brought nothing.
    pub fn failed(&self, who: usize) -> bool {
        let all = || self.figures.iter().filter_map(|figure| figure.values.get(who)).flatten();
        all().next().is_some() && all().all(Option::is_none)
    }
}

impl Figure {
    /// Whether the competitor numbered `who` was part of it; it may have failed.
    pub fn has(&self, who: usize) -> bool {
        self.values.get(who).is_some_and(|values| !values.is_empty())
    }

    /// The values of the competitor numbered `who`, over the rounds.
    pub fn spread(&self, who: usize) -> Option<Spread> {
        Spread::of(self.values.get(who)?.iter().copied().flatten())
    }

    /// The number of the reference, which the others are compared with: the first competitor that was
    /// part of it.
    pub fn reference(&self) -> usize {
        (0..self.values.len()).find(|&who| self.has(who)).unwrap_or_default()
    }

    /// The ratios, round by round, of the competitor numbered `who` to the reference. `None` where that
    /// has nothing or zero.
    pub fn ratio(&self, who: usize) -> Option<Spread> {
        let pairs = self.values.get(who)?.iter().zip(self.values.get(self.reference())?);
        Spread::of(pairs.filter_map(|(&value, &of)| Some(value? / of.filter(|&of| of > 0.0)?)))
    }

    /// How many times the figure of the reference that of the competitor numbered `who` is, in the
    /// middle. Where the reference has only zeroes, nothing is 0 times that, and all else any number
    /// of times.
    pub fn times(&self, who: usize) -> Option<f64> {
        if let Some(ratio) = self.ratio(who) {
            return Some(ratio.median);
        }
        let value = self.spread(who)?.median;
        let zeroes = self.spread(self.reference())?.most == 0.0;
        zeroes.then_some(if value > 0.0 { f64::INFINITY } else { 0.0 })
    }

    /// Whether the competitor numbered `who` reaches the goal; `None` if there is none, or nothing to
    /// judge by.
    pub fn reached(&self, who: usize) -> Option<bool> {
        let value = || self.spread(who).map(|spread| spread.median);
        Some(match self.metric.goal? {
            Goal::RatioAtMost(most) => self.times(who)? <= most,
            Goal::RatioAtLeast(least) => self.times(who)? >= least,
            Goal::AtMost(most) => value()? <= most,
            Goal::AtLeast(least) => value()? >= least,
        })
    }
}
