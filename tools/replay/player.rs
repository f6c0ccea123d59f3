//! Plays frames when they are due.

use std::time::Duration;

/// How long a frame waits for room before it counts as refused.
pub const PATIENCE: Duration = Duration::from_secs(1);
