//! The life of the process: what it is started with, how the kernel runs it, how it ends, and where
//! its messages go.

mod daemonize;
mod logging;
mod scheduling;
mod signals;

pub use daemonize::{become_daemon, raise_descriptor_limit};
pub use logging::{LogGuard, start_logging};
pub use scheduling::{Granted, Scheduling, SchedulingError};
pub use signals::{ending_signals, settle_signals};
