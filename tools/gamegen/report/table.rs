//! The report on paper: what was measured beside what was wanted, in columns.

use std::fmt::{self, Display};

/// What a number should be.
#[derive(Clone, Copy, Debug)]
pub enum Target {
    /// The first, give or take the second.
    Near(f64, f64),
    Between(f64, f64),
    Below(f64),
    /// Nothing: it is shown.
    None,
}

impl Target {
    /// Whether `measured` is as it should be. What could not be measured is not.
    pub fn is_met(self, measured: f64) -> bool {
        match self {
            Target::Near(target, within) => (measured - target).abs() <= within,
            Target::Between(least, most) => (least..=most).contains(&measured),
            Target::Below(limit) => measured < limit,
            Target::None => true,
        }
    }
}

impl Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match *self {
            Target::Near(target, within) => format!("{target:.2} +- {within:.2}"),
            Target::Between(least, f64::INFINITY) => format!("{least:.2} or more"),
            Target::Between(least, most) => format!("{least:.2} to {most:.2}"),
            Target::Below(limit) => format!("below {limit:.2}"),
            Target::None => String::new(),
        };
        f.pad(&text)
    }
}

/// A line of the report: a number with its target, or a heading.
#[derive(Debug)]
pub struct Row {
    what: String,
    value: Option<(f64, Target)>,
}

impl Row {
    pub fn new(what: impl Into<String>, measured: f64, target: Target) -> Self {
        Row { what: what.into(), value: Some((measured, target)) }
    }

    pub fn heading(what: &str) -> Self {
        Row { what: what.to_owned(), value: None }
    }

    pub fn passes(&self) -> bool {
        self.value.is_none_or(|(measured, target)| target.is_met(measured))
    }
}

impl Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((measured, target)) = self.value else {
            return writeln!(f, "\n{:<34}{:>10}   target", self.what, "measured");
        };
        let verdict = match target {
            Target::None => "",
            _ if self.passes() => "pass",
            _ => "FAIL",
        };
        let line = format!("  {:<32}{measured:>10.2}   {target:<24}{verdict}", self.what);
        writeln!(f, "{}", line.trim_end())
    }
}

/// A number in the line of one client.
#[derive(Debug)]
pub struct Cell {
    measured: f64,
    target: Target,
}

impl Cell {
    pub fn new(measured: f64, target: Target) -> Self {
        Cell { measured, target }
    }

    pub fn passes(&self) -> bool {
        self.target.is_met(self.measured)
    }
}

impl Display for Cell {
    /// With a mark if it is not as it should be.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.passes() { ' ' } else { '!' };
        write!(f, "{:>9.2}{mark}", self.measured)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_met_up_to_their_bounds_and_never_by_nothing() {
        let rows = [
            (Target::Near(20.0, 0.5), [(19.5, true), (20.6, false)]),
            (Target::Between(2.0, 4.0), [(4.0, true), (1.9, false)]),
            (Target::Below(66.0), [(65.0, true), (66.0, false)]),
        ];
        for (target, cases) in rows {
            for (measured, met) in cases {
                assert_eq!(target.is_met(measured), met, "{measured} {target:?}");
            }
            assert!(!target.is_met(f64::NAN), "{target:?}");
        }
        assert!(Target::None.is_met(f64::NAN));
    }

    #[test]
    fn columns_stand_below_each_other() {
        let lines = [
            Row::heading("bursts").to_string(),
            Row::new("packets, mean", 6.25, Target::Near(6.4, 0.5)).to_string(),
            Row::new("packets, most", 40.0, Target::Between(7.0, 16.0)).to_string(),
            Row::new("frames/s", 1412.5, Target::None).to_string(),
        ];
        let expected = [
            "\nbursts                              measured   target\n",
            "  packets, mean                         6.25   6.40 +- 0.50            pass\n",
            "  packets, most                        40.00   7.00 to 16.00           FAIL\n",
            "  frames/s                           1412.50\n",
        ];
        assert_eq!(lines, expected);
    }
}
