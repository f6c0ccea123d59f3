//! `-tap DEV`: whose device it may be.

use std::fs;

use nix::sys::signal::Signal;

use crate::host::{self, ip};
use crate::sandbox::{let_everybody_use_tun, switch_of};
use crate::support::{Background, Client, Switch, mac};
use crate::{Test, tests};

pub const TESTS: &[Test] = tests![
    [Tap] root_creates_the_device_and_it_goes_with_the_switch,
    [Tap] a_device_that_somebody_else_made_is_used_and_stays,
    [Tap] the_owner_of_a_device_need_not_be_root,
    [Tap] a_member_of_the_devices_group_need_not_be_its_owner,
    [Tap] a_device_with_several_queues_is_used,
    [Tap] a_name_pattern_takes_the_first_free_name,
    [Tap] a_daemon_keeps_its_uplink,
];

/// `nobody`.
const USER: u32 = 65534;

fn root_creates_the_device_and_it_goes_with_the_switch() {
    let switch = Switch::with("-tap tap0");
    switch.wait_for_log("uplink attached interface=tap0");
    host::configure("tap0");
    host::exchange(&Client::new(&switch, mac(1)));
    switch.stop().check_sums();
    assert!(!host::has_interface("tap0"), "it is not persistent");
}

fn a_device_that_somebody_else_made_is_used_and_stays() {
    ip("tuntap add dev tap0 mode tap");
    host::configure("tap0");
    for _ in 0..2 {
        let switch = Switch::with("-tap tap0");
        switch.wait_for_log("uplink attached interface=tap0");
        host::exchange(&Client::new(&switch, mac(1)));
        switch.stop().check_sums();
        assert!(host::has_interface("tap0"), "it is somebody else's");
    }
}

fn the_owner_of_a_device_need_not_be_root() {
    let_everybody_use_tun();
    ip(&format!("tuntap add dev tap0 mode tap user {USER}"));
    host::configure("tap0");
    works_for_user();
}

fn a_member_of_the_devices_group_need_not_be_its_owner() {
    let_everybody_use_tun();
    ip(&format!("tuntap add dev tap0 mode tap group {USER}"));
    host::configure("tap0");
    works_for_user();
}

#[track_caller]
fn works_for_user() {
    let switch = switch_of(USER, "-tap tap0");
    switch.wait_for_log("uplink attached interface=tap0");
    let status = fs::read_to_string(format!("/proc/{}/status", switch.pid())).unwrap();
    assert!(status.contains(&format!("Uid:\t{USER}\t{USER}\t{USER}")), "{status}");
    host::exchange(&Client::new(&switch, mac(1)));
    switch.stop().check_sums();
}

fn a_device_with_several_queues_is_used() {
    ip("tuntap add dev tap0 mode tap multi_queue");
    host::configure("tap0");
    let switch = Switch::with("-tap tap0");
    switch.wait_for_log("uplink attached interface=tap0");
    let guests = Client::several(&switch, 3);
    // Which queue the kernel takes depends on the flow: every one must lead here.
    for guest in guests.iter().cycle().take(30) {
        host::exchange(guest);
    }
}

fn a_name_pattern_takes_the_first_free_name() {
    ip("tuntap add dev game0 mode tap");
    let switch = Switch::with("-tap game%d");
    switch.wait_for_log("uplink attached interface=game1");
    host::configure("game1");
    host::exchange(&Client::new(&switch, mac(1)));
}

fn a_daemon_keeps_its_uplink() {
    let daemon = Background::new();
    let started = daemon.run("-tap tap0");
    assert!(started.status.success() && started.stderr.is_empty(), "{started:?}");
    host::configure("tap0");
    host::exchange(&Client::dial(&daemon.control(), mac(1)));
    daemon.end(Signal::SIGTERM);
    assert!(!host::has_interface("tap0"));
}
