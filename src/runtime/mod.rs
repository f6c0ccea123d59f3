//! The life of the process: what it is started with, how it ends, and where its messages go.

mod daemonize;
mod logging;
mod signals;

pub use daemonize::{become_daemon, raise_descriptor_limit};
pub use logging::{LogGuard, start_logging};
pub use signals::{ending_signals, settle_signals};
