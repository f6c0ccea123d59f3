//! Copies of frames for captures.

pub mod bpf;
mod record;
pub mod sink;
mod spec;

pub use record::{Captured, Direction, PortTotals, Record};
pub use spec::{BUFFERS, CaptureSpec, DEFAULT_BUFFER, Directions, MAX_SNAPLEN};
