//! Ports that do not read, or read slowly, with short and with long receive queues in the kernel: 10
//! datagrams are its default, 512 what most distributions set.

#[path = "../process/slow_receivers.rs"]
mod cases;

use crate::sandbox::set_max_dgram_qlen;
use crate::{Test, tests};

macro_rules! at_both_lengths {
    ($($name:ident,)*) => {
        pub const TESTS: &[Test] = tests![$([] $name,)*];

        $(fn $name() {
            for length in [10, 512] {
                set_max_dgram_qlen(length);
                cases::$name();
            }
        })*
    };
}

at_both_lengths! {
    a_port_that_never_reads_costs_its_sender_nothing,
    a_port_that_never_reads_does_not_take_the_shared_data_socket_from_others,
    twenty_ports_that_never_read_cost_their_sender_nothing,
    a_flood_reaches_who_reads_past_twenty_who_do_not,
    a_port_that_wakes_finds_what_its_queue_held_in_order,
    a_port_that_wakes_late_gets_nothing_that_is_long_past,
    a_crawling_reader_costs_the_fast_one_beside_it_nothing,
    a_sender_that_waits_loses_nothing_to_a_reader_at_its_own_pace,
    a_small_flow_loses_nothing_beside_bulk_to_the_same_reader,
    a_full_queue_drops_of_many_tiny_frames_not_of_few_long_ones,
}
