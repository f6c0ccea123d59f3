//! The laws that packet sizes and intervals follow: how to draw from one, and what to expect of it.
//!
//! What is expected is summed up from the law's distribution function, with rounding and bounds as
//! they are applied to what is drawn, so that a report compares like with like.

use std::str::FromStr;

use crate::random::Random;

/// How large packets are: bytes of UDP payload.
#[derive(Clone, Debug)]
pub struct SizeLaw {
    pub shape: Shape,
    /// What is drawn below `least` or above `most` becomes that.
    pub least: u16,
    pub most: u16,
}

#[derive(Clone, Debug)]
pub enum Shape {
    /// Largest extreme value (Gumbel), cut to a whole number.
    LargestExtreme { a: f64, b: f64 },
    /// Log-normal with this mean of the sizes themselves, cut to a whole number.
    LogNormal { mean: f64, sigma: f64 },
    /// One of two normal laws, given as mean and standard deviation; the first is taken with
    /// probability `first_share`. Rounded.
    TwoNormals { first_share: f64, first: (f64, f64), second: (f64, f64) },
    /// Sizes with their probabilities, which sum up to 1.
    Table(&'static [(u16, f64)]),
}

/// What to expect of sizes.
#[derive(Clone, Copy, Debug)]
pub struct Moments {
    pub mean: f64,
    pub sd: f64,
    pub median: f64,
}

impl SizeLaw {
    pub fn draw(&self, random: &mut Random) -> u16 {
        let value = match &self.shape {
            Shape::LargestExtreme { a, b } => {
                libm::floor(a - b * libm::log(-libm::log(random.unit())))
            }
            Shape::LogNormal { mean, sigma } => {
                libm::floor(libm::exp(log_mean(*mean, *sigma) + sigma * random.normal()))
            }
            Shape::TwoNormals { first_share, first, second } => {
                let (mean, sd) = if random.unit() < *first_share { first } else { second };
                libm::round(mean + sd * random.normal())
            }
            Shape::Table(rows) => f64::from(draw_from(rows, random.unit())),
        };
        value.clamp(f64::from(self.least), f64::from(self.most)) as u16
    }

    /// Each size that can occur, with its probability.
    pub fn probabilities(&self) -> impl Iterator<Item = (u16, f64)> + '_ {
        let mut below = 0.0;
        (self.least..=self.most).map(move |size| {
            let up_to = if size == self.most { 1.0 } else { self.shape.at_most(size) };
            let probability = up_to - below;
            below = up_to;
            (size, probability)
        })
    }

    pub fn moments(&self) -> Moments {
        let expect = |of: &dyn Fn(f64) -> f64| -> f64 {
            self.probabilities().map(|(size, p)| p * of(f64::from(size))).sum()
        };
        let mean = expect(&|size| size);
        let sd = libm::sqrt(expect(&|size| (size - mean) * (size - mean)));
        let mut below = 0.0;
        let median = self
            .probabilities()
            .find(|(_, p)| {
                below += p;
                below >= 0.5
            })
            .map_or(f64::NAN, |(size, _)| f64::from(size));
        Moments { mean, sd, median }
    }
}

impl Shape {
    /// The probability of `size` or less, before the bounds.
    fn at_most(&self, size: u16) -> f64 {
        let size = f64::from(size);
        match self {
            Shape::LargestExtreme { a, b } => libm::exp(-libm::exp(-(size + 1.0 - a) / b)),
            Shape::LogNormal { mean, sigma } => {
                normal_below((libm::log(size + 1.0) - log_mean(*mean, *sigma)) / sigma)
            }
            Shape::TwoNormals { first_share, first, second } => {
                let below = |(mean, sd): &(f64, f64)| normal_below((size + 0.5 - mean) / sd);
                first_share * below(first) + (1.0 - first_share) * below(second)
            }
            Shape::Table(rows) => {
                rows.iter().filter(|(value, _)| f64::from(*value) <= size).map(|(_, p)| p).sum()
            }
        }
    }
}

/// `lev:A:B` or `ln:MEAN:SIGMA`, as on the command line.
impl FromStr for Shape {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "want lev:A:B or ln:MEAN:SIGMA, numbers from above 0 to 1400".to_owned();
        let [name, first, second] = text.split(':').collect::<Vec<_>>()[..] else {
            return Err(wrong());
        };
        let number =
            |word: &str| word.parse().ok().filter(|n| *n > 0.0 && *n <= 1400.0).ok_or_else(wrong);
        let (first, second) = (number(first)?, number(second)?);
        match name {
            "lev" => Ok(Shape::LargestExtreme { a: first, b: second }),
            "ln" => Ok(Shape::LogNormal { mean: first, sigma: second }),
            _ => Err(wrong()),
        }
    }
}

/// Intervals between packets, in milliseconds: Student's t, moved and stretched.
///
/// With as few degrees of freedom as were fitted it has no mean, so it is cut off: alike on both
/// sides, which keeps the mean where the median is.
#[derive(Clone, Copy, Debug)]
pub struct IntervalLaw {
    pub location: f64,
    pub scale: f64,
    pub degrees: f64,
    /// The largest distance from `location`.
    pub reach: f64,
}

impl IntervalLaw {
    /// Draws an interval, in milliseconds.
    pub fn draw(&self, random: &mut Random) -> f64 {
        loop {
            let distance = self.scale * random.student(self.degrees);
            if distance.abs() <= self.reach {
                return self.location + distance;
            }
        }
    }

    /// The interval, in milliseconds, that a `share` of all stays below.
    pub fn quantile(&self, share: f64) -> f64 {
        // In steps of the inverse hyperbolic sine, which are small where the density is high.
        let end = libm::asinh(self.reach / self.scale);
        let at = |step: u32| end * (2.0 * (f64::from(step) + 0.5) / f64::from(STEPS) - 1.0);
        let weight = |step: u32| {
            let t = libm::sinh(at(step));
            let density = libm::pow(1.0 + t * t / self.degrees, -(self.degrees + 1.0) / 2.0);
            density * libm::cosh(at(step))
        };
        let whole: f64 = (0..STEPS).map(weight).sum();
        let mut below = 0.0;
        let reached = (0..STEPS).find(|&step| {
            below += weight(step);
            below >= share * whole
        });
        self.location + self.scale * libm::sinh(at(reached.unwrap_or(STEPS)))
    }
}

/// Fine enough for a microsecond at the quantiles that are looked at.
const STEPS: u32 = 20_000;

/// The mean of the logarithm of a log-normal value.
fn log_mean(mean: f64, sigma: f64) -> f64 {
    libm::log(mean) - sigma * sigma / 2.0
}

fn normal_below(x: f64) -> f64 {
    libm::erfc(-x / std::f64::consts::SQRT_2) / 2.0
}

/// The row that `unit`, from 0 to 1, falls into.
fn draw_from(rows: &[(u16, f64)], unit: f64) -> u16 {
    let mut below = 0.0;
    let row = rows.iter().find(|(_, p)| {
        below += p;
        unit < below
    });
    // The probabilities may sum up to a hair less than 1.
    row.or(rows.last()).map_or(0, |(size, _)| *size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model;
    use crate::random::Actor;

    const DRAWS: usize = 200_000;

    fn random() -> Random {
        Random::new(7, Actor::Server)
    }

    fn near(what: &str, is: f64, should: f64, within: f64) {
        assert!((is - should).abs() <= within, "{what}: {is}, not {should} within {within}");
    }

    /// What was drawn, against what the law promises.
    fn agrees(law: &SizeLaw) -> Moments {
        let mut random = random();
        let mut drawn: Vec<f64> = (0..DRAWS).map(|_| f64::from(law.draw(&mut random))).collect();
        drawn.sort_by(f64::total_cmp);
        let mean = drawn.iter().sum::<f64>() / DRAWS as f64;
        let variance = drawn.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / DRAWS as f64;
        let expected = law.moments();
        let within = 0.012 * expected.sd;
        near("mean", mean, expected.mean, within);
        near("sd", variance.sqrt(), expected.sd, within);
        near("median", drawn[DRAWS / 2], expected.median, 1.0);
        expected
    }

    fn s2c(text: &str) -> SizeLaw {
        SizeLaw { shape: text.parse().unwrap(), least: 16, most: 1400 }
    }

    /// The closed forms: a + 0.57722 b, 1.28255 b, a + 0.36651 b, less the half that cutting takes.
    #[test]
    fn the_largest_extreme_value_law_is_as_published() {
        let moments = agrees(&s2c("lev:120:36"));
        near("mean", moments.mean, 140.8 - 0.5, 0.05);
        near("sd", moments.sd, 46.2, 0.05);
        near("median", moments.median, 133.2, 1.0);
        near("Feng's mean", s2c("lev:108.7:36").moments().mean, 129.51 - 0.5, 0.05);
    }

    #[test]
    fn the_log_normal_law_has_the_mean_it_is_given() {
        let moments = agrees(&s2c("ln:200:0.31"));
        near("mean", moments.mean, 200.0 - 0.5, 0.05);
        near("sd", moments.sd, 200.0 * ((0.31_f64 * 0.31).exp() - 1.0).sqrt(), 0.1);
        near("median", moments.median, 200.0 * (-0.31_f64 * 0.31 / 2.0).exp(), 1.0);
    }

    #[test]
    fn client_sizes_are_as_fitted() {
        near("alive", agrees(&model::alive_sizes()).mean, 44.02, 0.01);
        near("dead", agrees(&model::dead_sizes()).mean, 27.59, 0.01);
        let mut random = random();
        let law = model::alive_sizes();
        assert!((0..DRAWS).all(|_| (16..66).contains(&law.draw(&mut random))));
    }

    #[test]
    fn probabilities_sum_up_to_one() {
        for law in [model::alive_sizes(), model::dead_sizes(), s2c("lev:1390:36"), s2c("ln:5:2")] {
            let sum: f64 = law.probabilities().map(|(_, p)| p).sum();
            near("sum", sum, 1.0, 1e-9);
            assert!(law.probabilities().all(|(_, p)| p >= 0.0), "{law:?}");
        }
    }

    #[test]
    fn intervals_have_the_median_and_the_rate_of_the_fit() {
        for (law, quartile) in
            [(model::alive_intervals(None), 0.14), (model::dead_intervals(None), 0.068)]
        {
            let mut random = random();
            let mut drawn: Vec<f64> = (0..DRAWS).map(|_| law.draw(&mut random)).collect();
            drawn.sort_by(f64::total_cmp);
            let mean = drawn.iter().sum::<f64>() / DRAWS as f64;
            near("mean", mean, law.location, 0.05);
            assert!((23.8..24.2).contains(&(1000.0 / mean)), "{mean}");
            for share in [0.05, 0.25, 0.5, 0.75, 0.95] {
                let at = drawn[(DRAWS as f64 * share) as usize];
                near("quantile", at, law.quantile(share), 0.05);
            }
            near("quartile", law.quantile(0.75) - law.location, quartile, 0.02);
            assert!(drawn[0] >= 10.0 && drawn[DRAWS - 1] <= 73.5);
        }
    }

    #[test]
    fn words_that_are_no_law_are_refused() {
        for text in
            ["", "lev", "lev:1", "lev:1:2:3", "lev:a:2", "gauss:1:2", "ln:-1:2", "ln:1401:1"]
        {
            assert!(text.parse::<Shape>().is_err(), "{text}");
        }
    }
}
