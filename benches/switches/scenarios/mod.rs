//! All comparisons, in the order in which they are shown.

mod at_rest;
mod beside_bulk;
mod burst;
mod flood;
mod game;
mod hogs;
mod hostile;
mod mirrored;
mod one_way;
mod overload;
mod pairs;
mod ports;
mod round_trip;
mod same_port;
mod slow_receiver;
mod stalled;
mod stations;

use crate::scenario::Scenario;

/// The scenarios that need no real guests.
pub fn all() -> Vec<Scenario> {
    [
        round_trip::scenarios(),
        game::scenarios(),
        beside_bulk::scenarios(),
        same_port::scenarios(),
        one_way::scenarios(),
        pairs::scenarios(),
        burst::scenarios(),
        flood::scenarios(),
        ports::scenarios(),
        stations::scenarios(),
        slow_receiver::scenarios(),
        hostile::scenarios(),
        stalled::scenarios(),
        hogs::scenarios(),
        mirrored::scenarios(),
        at_rest::scenarios(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
