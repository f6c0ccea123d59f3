//! The real binary over real sockets, without root: one file per behaviour that a user can see.
#![allow(unreachable_pub)] // The shared modules belong to another target too.

mod support;
mod switching;
