//! The virtual Ethernet switch of a host that runs User-Mode Linux guests, drop-in for the C program
//! `uml_switch`.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`core`] | frames, stations, queues and the decision where a frame goes: pure |
//! | [`port`] | what is attached: one file per kind of port |
//! | [`control`] | how a client asks for a port |
//! | [`event_loop`] | readiness, timers, turns: the one thread that serves everybody |
//! | [`mirror`] | copies of frames for captures |
//! | [`admin`] | the socket of whoever runs the switch |
//! | [`runtime`] | signals, background, messages: the life of the process |
//! | [`cli`], [`config`] | what was typed, and what it means |
//! | [`client`] | a guest as its kernel speaks, for programs that try a switch out |
//! | [`log_limit`] | a bound for messages that clients can cause |
//! | [`handover`] | a value for another thread, without waiting |
//! | [`sys`] | system calls without a safe wrapper elsewhere |
//!
//! `core` depends on nothing else here; `port`, `control` and `mirror` depend on it, `event_loop` on those,
//! and the program on all.

pub mod admin;
pub mod cli;
pub mod client;
pub mod config;
pub mod control;
pub mod core;
pub mod event_loop;
pub mod handover;
pub mod log_limit;
pub mod mirror;
pub mod port;
pub mod runtime;
pub mod sys;
