//! Real guests and the host on one switch.

use crate::guest::Guest;
use crate::host;
use crate::ping::{self, HostPing, Losses};
use crate::support::{Switch, wait_for};
use crate::{Test, tests};

pub const TESTS: &[Test] = tests![
    [Tap, Guests] guests_and_host_reach_each_other_without_loss,
    [Tap, Guests] a_guest_that_is_killed_and_boots_again_is_found_and_the_others_notice_nothing,
];

fn with_host() -> Switch {
    let switch = Switch::with("-tap tap0");
    switch.wait_for_log("uplink attached interface=tap0");
    host::configure("tap0");
    switch
}

fn guests_and_host_reach_each_other_without_loss() {
    let switch = with_host();
    // As on a host where nobody has set anything: all by ARP.
    host::ip("neigh flush dev tap0 nud permanent");
    let mut guests = Guest::boot_several(4, &switch.control);
    for guest in &guests {
        let opened = switch.wait_for_log(&format!("pid={}", guest.pid()));
        assert!(opened.contains("port opened") && opened.contains("kind=\"daemon\""), "{opened}");
    }
    ping::all_pairs(&mut guests, 10);
    drop(guests);
    wait_for("the ports to close", || {
        (switch.log().matches("port closed").count() == 4).then_some(())
    });
    switch.stop().check_sums();
}

fn a_guest_that_is_killed_and_boots_again_is_found_and_the_others_notice_nothing() {
    let switch = with_host();
    let mut guests = Guest::boot_several(3, &switch.control);
    ping::all_pairs(&mut guests, 2);
    let victim = guests.pop().unwrap();
    let (address, n) = (victim.address(), victim.n);
    // These go on all the time: between the others, and from one of them to what is not there.
    let [first, second] = &mut guests[..] else { unreachable!() };
    let between = ping::start(first, &second.address(), 300, 0.02, 56);
    let with_host = HostPing::start(&second.address(), 300, 0.02, 56);
    let nowhere = ping::start_in_vain(second, &address, 100, 0.05, 56);
    victim.kill();
    wait_for("the port to close", || {
        (switch.log().matches("port closed").count() == 1).then_some(())
    });
    let mut again = Guest::boot(n, &switch.control);
    again.wait_until_up();
    ping::finish(second, nowhere);
    let mut lost = Losses::default();
    lost.note("first to second", ping::finish(first, between));
    lost.note("host to second", with_host.finish());
    guests.push(again);
    lost.expect_none(&mut guests);
    ping::all_pairs(&mut guests, 5);
}
