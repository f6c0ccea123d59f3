//! All comparisons, in the order in which they are shown.

mod beside_bulk;
mod game;
mod hogs;
mod hostile;
mod round_trip;
mod same_port;
mod slow_receiver;

use crate::scenario::Scenario;

/// The scenarios that need no real guests.
pub fn all() -> Vec<Scenario> {
    [
        round_trip::scenarios(),
        game::scenarios(),
        beside_bulk::scenarios(),
        same_port::scenarios(),
        slow_receiver::scenarios(),
        hostile::scenarios(),
        hogs::scenarios(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
