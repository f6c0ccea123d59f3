//! What the process tests share: the real binary in a directory of its own, and clients that speak
//! the protocol as a guest's kernel does.

mod client;
mod compat;
mod connections;
mod ctl;
mod daemon;
mod frames;
mod good_pair;
mod kernel;
mod process;
mod run;
mod terminal;

pub use client::{
    Client, Request, abstract_name, abstract_sockaddr, expect_no_port, path_sockaddr, read_reply,
    uninterrupted,
};
pub use compat::with_shared_data_socket;
pub use connections::{
    BESS, BessClient, Guest, QEMU, QemuClient, on_stream, reach, with_connections,
};
pub use ctl::{Capture, Captured, ask, ctl, frames_of, ports, reply_on};
pub use daemon::Background;
pub use frames::{BROADCAST, Mac, frame, mac, udp_frame};
pub use good_pair::{GoodPair, Noise};
pub use kernel::queue_length;
pub use process::{Switch, SwitchBuilder, binary, wait_for};
pub use run::{Finished, finish, run};
pub use terminal::Terminal;

use std::time::Duration;

/// How long anything may take that is expected to happen.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// How long to listen before something counts as not sent. The switch forwards within a turn of its
/// loop, and what is queued is looked at every few milliseconds.
pub const SILENCE: Duration = Duration::from_millis(150);
