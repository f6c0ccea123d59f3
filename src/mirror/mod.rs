//! Copies of frames for captures.

pub mod bpf;
pub mod filter;
mod record;
mod spec;

pub use record::{Captured, Direction, PortTotals, Record};
pub use spec::{BUFFERS, CaptureSpec, DEFAULT_BUFFER, Directions, MAX_SNAPLEN};
