//! `uml_replay`: replays a capture through a switch and measures what becomes of every frame.
#![allow(unreachable_pub)] // A program's modules: "public" means public to its other modules.
#![allow(dead_code)] // Until the program is put together.

mod player;
mod report {
    pub mod model;
    pub mod page;
}

fn main() {
    let _ = report::model::SCHEMA;
}
