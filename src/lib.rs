//! The virtual Ethernet switch of a host that runs User-Mode Linux guests.
pub mod core;
