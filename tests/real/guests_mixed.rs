//! Guests of every kind and the host on one switch.

use crate::guest::{Guest, Plug};
use crate::host;
use crate::ping;
use crate::support::{Switch, wait_for};
use crate::vde::directory_of;
use crate::{Test, tests};

pub const TESTS: &[Test] = tests![
    [Tap, Guests, VdePlug, Qemu] guests_of_every_kind_and_the_host_reach_each_other_without_loss,
];

fn guests_of_every_kind_and_the_host_reach_each_other_without_loss() {
    let switch = Switch::with("-tap tap0");
    switch.wait_for_log("uplink attached interface=tap0");
    host::configure("tap0");
    host::ip("neigh flush dev tap0 nud permanent");
    let dir = directory_of(&switch);
    let mut guests = vec![
        Guest::plug_in(1, Plug::Daemon(&switch.control)),
        Guest::plug_in(2, Plug::Vde(&dir)),
        Guest::plug_in(3, Plug::QemuVde(&dir)),
    ];
    for guest in &mut guests {
        guest.wait_until_up();
    }
    ping::all_pairs(&mut guests, 10);
    drop(guests);
    wait_for("the ports to close", || {
        (switch.log().matches("port closed").count() == 3).then_some(())
    });
    switch.stop().check_sums();
}
