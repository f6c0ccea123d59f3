//! The pure heart of the switch: frames, stations, ports, queues and the decision where a frame
//! goes. No system calls, no clock, no logging; the same code runs in the daemon, in property tests
//! and in the fuzzer.

mod backpressure;
mod counters;
mod egress;
mod fdb;
mod fifo;
mod flow;
mod frame;
mod frame_pool;
mod port_table;
mod switch;
mod turns;

pub use backpressure::{BRIEFLY, LEAST_DRAINED, PATIENCE, TICK};
pub use counters::{PortCounters, RxDrop, TxDrop};
pub use egress::{EgressLimits, EgressQueue};
pub use fdb::Fdb;
pub use frame::{Frame, HEADER_LEN, MacAddr, OVERHEAD};
pub use frame_pool::FramePool;
pub use port_table::{NoPort, PortId, PortTable, UPLINK_NUMBER};
pub use switch::{MAX_AGE, Mode, PortTraits, Switch, SwitchConfig, TxOutcome, Verdict, Wire};
