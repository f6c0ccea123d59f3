//! What happened to every frame, by port.
//!
//! Two sums hold at any time, for each port and for all together:
//! - frames in: `rx_frames == rx_unicast + rx_flooded + rx_dropped()`;
//! - copies out: `tx_offered == tx_frames + tx_dropped() +` what waits in the port's queue.

use std::fmt;
use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

/// Why a frame that came in at a port went nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RxDrop {
    /// Under 14 bytes: no Ethernet header.
    Runt,
    /// Longer than the largest frame that the switch was told to carry.
    Oversize,
    /// Its destination is behind the port that it came from.
    Hairpin,
    /// Sent to the port's data socket by somebody who is not the port's client.
    Stranger,
    /// Announced with a length that no frame can have; the connection has been closed for it.
    BadLength,
}

/// Why a copy of a frame was not given to a port's client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TxDrop {
    /// Nobody is bound to the client's address, or not yet.
    NoReceiver,
    /// The device behind the port is down.
    LinkDown,
    /// The system refused it for another reason.
    Refused,
}

macro_rules! counters {
    ($(#[$struct_doc:meta])* $name:ident { $($(#[$doc:meta])* $field:ident,)* }) => {
        $(#[$struct_doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default)]
        pub struct $name { $($(#[$doc])* pub $field: u64,)* }

        impl AddAssign for $name {
            fn add_assign(&mut self, other: Self) {
                $(self.$field += other.$field;)*
            }
        }

        /// `name=value` for each counter that has counted something, in the order of the struct.
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut separator = "";
                $(if self.$field > 0 {
                    write!(f, "{separator}{}={}", stringify!($field), self.$field)?;
                    separator = " ";
                })*
                Ok(())
            }
        }
    };
}

counters! {
    /// Counters of one port, or of all.
    PortCounters {
        /// Frames received from the port, whatever became of them.
        rx_frames,
        /// Bytes of those frames.
        rx_bytes,
        /// Frames forwarded to the one port of their destination.
        rx_unicast,
        /// Frames offered to every other port.
        rx_flooded,
        /// [`RxDrop::Runt`].
        rx_runt,
        /// [`RxDrop::Oversize`].
        rx_oversize,
        /// [`RxDrop::Hairpin`].
        rx_hairpin,
        /// [`RxDrop::Stranger`].
        rx_stranger,
        /// [`RxDrop::BadLength`].
        rx_bad_length,
        /// Copies of frames that were meant for the port.
        tx_offered,
        /// Copies that its client was given.
        tx_frames,
        /// Bytes of those copies.
        tx_bytes,
        /// Copies pushed out of the full egress queue.
        tx_queue_full,
        /// Copies that had waited in the egress queue for longer than [`super::MAX_AGE`].
        tx_stale,
        /// Copies that waited in the egress queue when the port closed.
        tx_closed,
        /// [`TxDrop::NoReceiver`].
        tx_no_receiver,
        /// [`TxDrop::LinkDown`].
        tx_link_down,
        /// [`TxDrop::Refused`].
        tx_refused,
    }
}

impl PortCounters {
    /// Frames received that were dropped, for any reason.
    pub fn rx_dropped(&self) -> u64 {
        self.rx_runt + self.rx_oversize + self.rx_hairpin + self.rx_stranger + self.rx_bad_length
    }

    /// Copies meant for the port that were dropped, for any reason.
    pub fn tx_dropped(&self) -> u64 {
        self.tx_queue_full
            + self.tx_stale
            + self.tx_closed
            + self.tx_no_receiver
            + self.tx_link_down
            + self.tx_refused
    }

    pub(crate) fn count_rx_drop(&mut self, reason: RxDrop) {
        let counter = match reason {
            RxDrop::Runt => &mut self.rx_runt,
            RxDrop::Oversize => &mut self.rx_oversize,
            RxDrop::Hairpin => &mut self.rx_hairpin,
            RxDrop::Stranger => &mut self.rx_stranger,
            RxDrop::BadLength => &mut self.rx_bad_length,
        };
        *counter += 1;
    }

    pub(crate) fn count_tx_drop(&mut self, reason: TxDrop) {
        let counter = match reason {
            TxDrop::NoReceiver => &mut self.tx_no_receiver,
            TxDrop::LinkDown => &mut self.tx_link_down,
            TxDrop::Refused => &mut self.tx_refused,
        };
        *counter += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_counted_is_shown() {
        let mut counters = PortCounters { rx_frames: 2, ..Default::default() };
        counters.count_tx_drop(TxDrop::NoReceiver);
        counters += counters;
        assert_eq!(counters.to_string(), "rx_frames=4 tx_no_receiver=2");
    }

    #[test]
    fn each_reason_has_a_counter_that_is_in_the_sum() {
        let mut counters = PortCounters::default();
        for reason in
            [RxDrop::Runt, RxDrop::Oversize, RxDrop::Hairpin, RxDrop::Stranger, RxDrop::BadLength]
        {
            counters.count_rx_drop(reason);
        }
        for reason in [TxDrop::NoReceiver, TxDrop::LinkDown, TxDrop::Refused] {
            counters.count_tx_drop(reason);
        }
        assert_eq!((counters.rx_dropped(), counters.tx_dropped()), (5, 3));
    }
}
