//! The real binary over real sockets, without root: one file per behaviour that a user can see.
#![allow(unreachable_pub)] // The shared modules belong to another target too.

mod exhaustion;
mod hostile_addresses;
mod hostile_control;
mod hostile_data;
mod slow_receivers;
mod support;
mod switching;
