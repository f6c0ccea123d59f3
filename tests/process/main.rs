//! The real binary over real sockets, without root: one file per behaviour that a user can see.
#![allow(unreachable_pub)] // The shared modules belong to another target too.

mod admin;
mod background;
mod bess;
mod cables;
mod capture;
mod client_sockets;
mod command_line;
mod compat_v0;
mod connections;
mod control_protocol;
mod exhaustion;
mod host_load;
mod hostile_addresses;
mod hostile_control;
mod hostile_data;
mod life_cycle;
mod limits;
mod logging;
mod mirror;
mod other_clients;
mod qemu_dgram;
mod qemu_stream;
mod slow_receivers;
mod stdio;
mod support;
mod switching;
mod uml_dump;
mod vde_directory;
