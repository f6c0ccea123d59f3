//! `-tap DEV` when there is no uplink to be had: the reason is said, and the guests go on.

use crate::host::{self, ip};
use crate::sandbox::{let_everybody_use_tun, remove_tun, switch_of};
use crate::support::{Client, Switch, mac, wait_for};
use crate::{Test, tests};

pub const TESTS: &[Test] = tests![
    [Tap] a_device_that_another_program_has_is_taken_when_it_is_free,
    [Tap] a_device_of_another_user_is_left_alone,
    [Tap] a_user_cannot_create_a_device,
    [Tap] a_user_who_may_not_open_the_tun_device_is_told,
    [Tap] a_machine_without_the_tun_device_is_told,
    [Tap] an_interface_that_is_no_tap_is_left_alone,
];

const USER: u32 = 65534;

/// Panics unless `switch` has said once, with these `reasons`, that there is no uplink, and serves
/// its guests.
#[track_caller]
fn goes_on_without(switch: &Switch, reasons: &[&str]) {
    let log = switch.log();
    let said: Vec<&str> = log.lines().filter(|line| line.contains("going on without it")).collect();
    let [line] = said.as_slice() else { panic!("said {} times: {log}", said.len()) };
    for reason in reasons {
        assert!(line.contains(reason), "no {reason:?} in {line:?}");
    }
    assert!(!log.contains("uplink attached"), "{log}");
    let guests = Client::several(switch, 2);
    guests[0].reach(&guests[1]);
    guests[1].reach(&guests[0]);
    host::expect_idle(switch);
    guests[0].reach(&guests[1]);
    // It looks again every second, and finds nothing new to say.
    host::expect_idle(switch);
    let log = switch.log();
    assert_eq!(log.matches(reasons[0]).count(), 1, "{log}");
}

fn a_device_that_another_program_has_is_taken_when_it_is_free() {
    ip("tuntap add dev tap0 mode tap");
    host::configure("tap0");
    let first = Switch::with("-tap tap0");
    first.wait_for_log("uplink attached");
    let second = Switch::with("-tap tap0");
    goes_on_without(&second, &["cannot attach to interface tap0", "busy (os error 16)"]);
    host::exchange(&Client::new(&first, mac(1)));
    first.stop().check_sums();
    second.wait_for_log("uplink attached interface=tap0");
    host::exchange(&Client::new(&second, mac(1)));
}

fn a_device_of_another_user_is_left_alone() {
    let_everybody_use_tun();
    ip("tuntap add dev tap0 mode tap user 1234");
    let switch = switch_of(USER, "-tap tap0");
    let reasons = ["cannot attach to interface tap0", "not ours", "Operation not permitted"];
    goes_on_without(&switch, &reasons);
}

fn a_user_cannot_create_a_device() {
    let_everybody_use_tun();
    let switch = switch_of(USER, "-tap tap0");
    let reasons = ["cannot attach to interface tap0", "CAP_NET_ADMIN", "Operation not permitted"];
    goes_on_without(&switch, &reasons);
    assert!(!host::has_interface("tap0"));
    // Somebody who may makes it for this user.
    ip(&format!("tuntap add dev tap0 mode tap user {USER}"));
    switch.wait_for_log("uplink attached interface=tap0");
    host::configure("tap0");
    host::exchange(&Client::new(&switch, mac(3)));
}

fn a_user_who_may_not_open_the_tun_device_is_told() {
    ip(&format!("tuntap add dev tap0 mode tap user {USER}"));
    let switch = switch_of(USER, "-tap tap0");
    goes_on_without(&switch, &["cannot open /dev/net/tun", "Permission denied"]);
}

fn a_machine_without_the_tun_device_is_told() {
    remove_tun();
    let switch = Switch::with("-tap tap0");
    goes_on_without(&switch, &["cannot open /dev/net/tun", "No such file or directory"]);
}

fn an_interface_that_is_no_tap_is_left_alone() {
    ip("tuntap add dev tun0 mode tun");
    for name in ["lo", "tun0"] {
        let before = flags(name);
        let switch = Switch::with(&format!("-tap {name}"));
        let attach = format!("cannot attach to interface {name}");
        goes_on_without(&switch, &[&attach, "no TAP", "Invalid argument"]);
        switch.stop().check_sums();
        assert_eq!(flags(name), before);
    }
    // The name is free again for a real one.
    let switch = Switch::with("-tap tun0");
    ip("link del tun0");
    ip("tuntap add dev tun0 mode tap");
    wait_for("the uplink", || switch.log().contains("uplink attached").then_some(()));
}

fn flags(name: &str) -> String {
    ip(&format!("-details link show {name}"))
}
