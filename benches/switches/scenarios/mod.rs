//! All comparisons, in the order in which they are shown.

mod at_rest;
mod burst;
mod flood;
mod one_way;
mod overload;
mod pairs;
mod ports;
mod round_trip;
mod stalled;
mod stations;

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
        stations::scenarios(),
        stalled::scenarios(),
        at_rest::scenarios(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
