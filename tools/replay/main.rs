//! `uml_replay`: replays a capture through a switch and measures what becomes of every frame.

mod capture;
mod player;
#[path = "report/model.rs"]
mod report;

fn main() {
    let _ = report::SCHEMA;
}
