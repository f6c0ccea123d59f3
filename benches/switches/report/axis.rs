//! Where on a drawing a figure stands. Better is to the right.

/// An axis from `left` to `right`, in drawing units.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Axis {
    scale: Scale,
    left: f64,
    right: f64,
}

/// How an axis divides its length.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scale {
    /// From 2^least to 2^most, each doubling as long as the next.
    Log { least: i32, most: i32 },
    /// From 100 % down to 0, by square roots: 1 % is a tenth of the way from the end.
    Percent,
}

impl Axis {
    /// For ratios: wide enough for all of `places`, at least from half to twice, and no wider than
    /// [`WIDEST`] doublings each way.
    pub fn log(places: impl IntoIterator<Item = f64>, left: f64, right: f64) -> Self {
        let (mut least, mut most) = (-1, 1);
        for place in places.into_iter().filter(|place| place.is_finite() && *place > 0.0) {
            let doublings = place.log2();
            least = least.min(doublings.floor() as i32);
            most = most.max(doublings.ceil() as i32);
        }
        let scale = Scale::Log { least: least.max(-WIDEST), most: most.min(WIDEST) };
        Axis { scale, left, right }
    }

    /// For shares.
    pub fn percent(left: f64, right: f64) -> Self {
        Axis { scale: Scale::Percent, left, right }
    }

    /// Where `place` is drawn; what is beyond an end, at that end.
    pub fn at(&self, place: f64) -> f64 {
        let share = match self.scale {
            Scale::Log { least, most } => {
                (place.max(0.0).log2() - f64::from(least)) / f64::from(most - least)
            }
            Scale::Percent => 1.0 - (place / 100.0).max(0.0).sqrt(),
        };
        self.left + share.clamp(0.0, 1.0) * (self.right - self.left)
    }

    /// Places to mark, with what to write there.
    pub fn ticks(&self) -> Vec<(f64, String)> {
        let (least, most) = match self.scale {
            Scale::Log { least, most } => (least, most),
            Scale::Percent => {
                return PERCENT_TICKS.iter().map(|&p| (p, format!("{p} %"))).collect();
            }
        };
        let step = if most - least > 8 { 2 } else { 1 };
        let ticks = (least..=most).filter(|doublings| doublings % step == 0);
        let name = |doublings: i32| match doublings {
            0.. => format!("{}x", 1_u64 << doublings),
            _ => format!("1/{}x", 1_u64 << -doublings),
        };
        ticks.map(|doublings| (2_f64.powi(doublings), name(doublings))).collect()
    }
}

/// Doublings: 64 times.
const WIDEST: i32 = 6;
const PERCENT_TICKS: &[f64] = &[100.0, 50.0, 20.0, 5.0, 1.0, 0.0];
