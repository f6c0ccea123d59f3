//! Frames between guests: where they go, and that they arrive as they were sent.

use crate::support::{BROADCAST, Client, Switch, frame, mac};

#[test]
fn a_broadcast_reaches_every_other_port_and_a_reply_only_its_destination() {
    let switch = Switch::start();
    let guests = Client::several(&switch, 4);
    let question = frame(BROADCAST, mac(1), 42);
    guests[0].send(&question);
    for guest in &guests[1..] {
        assert_eq!(guest.receive(), question);
    }
    guests[1].reach(&guests[0]);
    for guest in &guests {
        guest.expect_silence();
    }
    let totals = switch.stop();
    totals.check_sums();
    assert_eq!((totals.get("rx_flooded"), totals.get("rx_unicast")), (1, 1));
}
