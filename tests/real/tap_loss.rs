//! The uplink's device goes down, is deleted, and comes back.

use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use nix::sys::signal::Signal;

use crate::host::{self, ip};
use crate::sandbox::{let_everybody_use_tun, switch_of};
use crate::support::{BROADCAST, Client, DEADLINE, Switch, frame, mac, wait_for};
use crate::{Test, tests};

pub const TESTS: &[Test] = tests![
    [Tap] a_device_that_is_down_costs_the_guests_nothing_and_works_when_it_is_up,
    [Tap] a_device_that_is_down_at_the_start_works_when_it_is_up,
    [Tap] a_deleted_device_is_said_once_and_attached_whenever_it_is_back,
    [Tap] a_deleted_device_of_a_user_is_attached_when_it_is_back,
    [Tap] what_comes_back_under_the_name_and_is_no_tap_is_said_once,
    [Tap] guests_under_load_notice_nothing_of_a_device_that_goes_and_comes,
    [Tap] a_switch_that_has_lost_its_device_ends_as_any_other,
];

/// Panics unless two guests reach each other, also by broadcasts, which go to the uplink too.
#[track_caller]
fn reach_each_other(guests: &[Client]) {
    for _ in 0..20 {
        guests[0].reach(&guests[1]);
        guests[1].reach(&guests[0]);
        let broadcast = frame(BROADCAST, guests[0].mac, 200);
        guests[0].send(&broadcast);
        assert_eq!(guests[1].receive(), broadcast);
    }
}

fn lost(switch: &Switch) -> usize {
    switch.log().matches("uplink lost").count()
}

fn attached(switch: &Switch) -> usize {
    switch.log().matches("uplink attached interface=tap0").count()
}

#[track_caller]
fn wait_until_attached(switch: &Switch, times: usize) {
    wait_for("the uplink", || (attached(switch) >= times).then_some(()));
    assert_eq!(attached(switch), times);
}

fn a_device_that_is_down_costs_the_guests_nothing_and_works_when_it_is_up() {
    let switch = Switch::with("-tap tap0");
    let guests = Client::several(&switch, 2);
    host::configure("tap0");
    for _ in 0..3 {
        host::exchange(&guests[0]);
        guests[1].drain();
        ip("link set tap0 down");
        reach_each_other(&guests);
        host::expect_idle(&switch);
        reach_each_other(&guests);
        host::take_up("tap0");
    }
    host::exchange(&guests[0]);
    assert_eq!((lost(&switch), attached(&switch)), (0, 1), "{}", switch.log());
    let totals = switch.stop();
    totals.check_sums();
    assert!(totals.get("tx_link_down") > 0, "{totals:?}");
}

fn a_device_that_is_down_at_the_start_works_when_it_is_up() {
    ip("tuntap add dev tap0 mode tap");
    let switch = Switch::with("-tap tap0");
    let guests = Client::several(&switch, 2);
    reach_each_other(&guests);
    host::expect_idle(&switch);
    host::configure("tap0");
    host::exchange(&guests[0]);
}

fn a_deleted_device_is_said_once_and_attached_whenever_it_is_back() {
    // The first is the switch's own, the others are somebody else's.
    let switch = Switch::with("-tap tap0");
    let guests = Client::several(&switch, 2);
    let descriptors = switch.descriptors();
    for round in 1..=3 {
        host::configure("tap0");
        host::exchange(&guests[0]);
        guests[1].drain();
        ip("link del tap0");
        switch.wait_for_log("uplink lost");
        wait_for("the loss to be noticed", || (lost(&switch) == round).then_some(()));
        reach_each_other(&guests);
        host::expect_idle(&switch);
        reach_each_other(&guests);
        assert!(!host::has_interface("tap0"), "who deleted it meant it");
        assert_eq!(switch.descriptors(), descriptors - 1);
        ip("tuntap add dev tap0 mode tap");
        wait_until_attached(&switch, round + 1);
    }
    host::configure("tap0");
    host::exchange(&guests[0]);
    guests[1].drain();
    reach_each_other(&guests);
    assert_eq!((lost(&switch), switch.descriptors()), (3, descriptors), "{}", switch.log());
    let warnings = switch.log().matches(" WARN ").count();
    assert_eq!(warnings, 3, "{}", switch.log());
    switch.stop().check_sums();
}

fn a_deleted_device_of_a_user_is_attached_when_it_is_back() {
    let_everybody_use_tun();
    let user = 65534;
    ip(&format!("tuntap add dev tap0 mode tap user {user}"));
    let switch = switch_of(user, "-tap tap0");
    let guests = Client::several(&switch, 2);
    host::configure("tap0");
    host::exchange(&guests[0]);
    guests[1].drain();
    ip("link del tap0");
    switch.wait_for_log("uplink lost");
    reach_each_other(&guests);
    ip(&format!("tuntap add dev tap0 mode tap user {user}"));
    wait_until_attached(&switch, 2);
    host::configure("tap0");
    host::exchange(&guests[0]);
}

fn what_comes_back_under_the_name_and_is_no_tap_is_said_once() {
    let switch = Switch::with("-tap tap0");
    let guests = Client::several(&switch, 2);
    switch.wait_for_log("uplink attached");
    ip("link del tap0");
    switch.wait_for_log("uplink lost");
    ip("tuntap add dev tap0 mode tun");
    switch.wait_for_log("cannot attach to interface tap0");
    reach_each_other(&guests);
    host::expect_idle(&switch);
    host::expect_idle(&switch);
    let said = switch.log().matches("cannot attach to interface tap0").count();
    assert_eq!(said, 1, "{}", switch.log());
    ip("link del tap0");
    ip("tuntap add dev tap0 mode tap");
    wait_until_attached(&switch, 2);
    host::configure("tap0");
    host::exchange(&guests[0]);
}

fn guests_under_load_notice_nothing_of_a_device_that_goes_and_comes() {
    let switch = Switch::with("-tap tap0");
    let guests = Client::several(&switch, 2);
    for round in 1..=4 {
        host::configure("tap0");
        let (guests, stop) = (&guests, &AtomicBool::new(false));
        std::thread::scope(|scope| {
            let load = scope.spawn(move || {
                let mut rounds = 0;
                let deadline = Instant::now() + 3 * DEADLINE;
                while !stop.load(Ordering::Relaxed) && Instant::now() < deadline {
                    // Also to the host, so that frames are on their way to the device.
                    guests[0].send(&frame(mac(host::MAC), guests[0].mac, 300));
                    guests[0].send(&frame(guests[1].mac, guests[0].mac, 300));
                    while guests[1].receive()[..6] != guests[1].mac {}
                    guests[1].reach(&guests[0]);
                    rounds += 1;
                }
                rounds
            });
            ip("link del tap0");
            wait_for("the loss to be noticed", || (lost(&switch) == round).then_some(()));
            ip("tuntap add dev tap0 mode tap");
            wait_for("the uplink", || (attached(&switch) == round + 1).then_some(()));
            stop.store(true, Ordering::Relaxed);
            assert!(load.join().expect("nothing was lost") > 0);
        });
    }
    let totals = switch.stop();
    totals.check_sums();
}

fn a_switch_that_has_lost_its_device_ends_as_any_other() {
    let mut switch = Switch::with("-tap tap0");
    switch.wait_for_log("uplink attached");
    ip("link del tap0");
    switch.wait_for_log("uplink lost");
    switch.signal(Signal::SIGTERM);
    assert_eq!(switch.wait().signal(), Some(Signal::SIGTERM as i32));
    assert!(!switch.control.exists() && !host::has_interface("tap0"));
}
