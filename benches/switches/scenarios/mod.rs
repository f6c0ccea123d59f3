//! All comparisons, in the order in which they are shown.

mod burst;
mod flood;
mod one_way;
mod overload;
mod pairs;
mod ports;
mod round_trip;

use crate::scenario::Scenario;

/// The scenarios that need no real guests.
pub fn all() -> Vec<Scenario> {
    [
        round_trip::scenarios(),
        one_way::scenarios(),
        pairs::scenarios(),
        burst::scenarios(),
        flood::scenarios(),
        ports::scenarios(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
