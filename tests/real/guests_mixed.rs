//! Guests of every kind and the host on one switch.

use std::path::PathBuf;

use crate::guest::{Guest, Plug};
use crate::host;
use crate::ping::{self, HostPing, Losses};
use crate::support::{Switch, SwitchBuilder, mac, ports, run, wait_for};
use crate::{Test, tests};

pub const TESTS: &[Test] = tests![
    [Tap, Guests, Qemu] guests_of_every_kind_and_the_host_reach_each_other_without_loss,
    [Tap, Guests, NewLinux] the_newest_kernels_and_one_with_the_daemon_transport_reach_each_other,
    [Tap, Guests, Qemu] qemu_and_the_switch_meet_by_datagrams_whoever_starts_first,
    [Tap, Guests] a_bess_guest_sends_large_frames_and_takes_its_link_down_and_up,
    [Tap, Guests] a_bess_guest_that_is_killed_is_replaced_and_the_others_notice_nothing,
    [Tap, Guests, Vdens] programs_in_a_namespace_of_vdens_reach_guests_and_host,
    [Tap, Guests, Qemu] a_transfer_between_kinds_waits_for_its_receiver_and_loses_nothing,
];

/// A switch that serves every kind, with the host on `tap0`.
struct Hub {
    switch: Switch,
    bess: PathBuf,
    qemu: PathBuf,
    vde: PathBuf,
}

impl Hub {
    fn start() -> Hub {
        Hub::with("")
    }

    /// With these options too, separated by spaces.
    fn with(options: &str) -> Hub {
        // The sockets are in a directory of the test's own.
        let dir = crate::sandbox::dir_of(0).keep();
        let [bess, qemu, vde] = ["bess", "qemu", "vde"].map(|name| dir.join(name));
        let mut builder = SwitchBuilder::default().args("-tap tap0");
        for (option, path) in [("--bess", &bess), ("--qemu", &qemu), ("--vde", &vde)] {
            builder = builder.arg(option).arg(path.to_str().unwrap());
        }
        let switch = builder.args(options).start();
        switch.wait_for_log("uplink attached interface=tap0");
        host::configure("tap0");
        // As on a host where nobody has set anything: all by ARP.
        host::ip("neigh flush dev tap0 nud permanent");
        Hub { switch, bess, qemu, vde }
    }

    /// One guest of each of these plugs, all up, numbered from 1 on.
    fn boot(&self, plugs: &[Plug<'_>]) -> Vec<Guest> {
        let mut guests: Vec<_> =
            (1..).zip(plugs).map(|(n, plug)| Guest::plug_in(n, *plug)).collect();
        for guest in &mut guests {
            guest.wait_until_up();
        }
        guests
    }

    fn closed(&self) -> usize {
        self.switch.log().matches("port closed").count()
    }

    /// Ends all; panics unless every frame is accounted for.
    fn end(self, guests: Vec<Guest>) {
        let closed = self.closed();
        let count = guests.len();
        drop(guests);
        wait_for("the ports to close", || (self.closed() == closed + count).then_some(()));
        self.switch.stop().check_sums();
    }
}

fn guests_of_every_kind_and_the_host_reach_each_other_without_loss() {
    let hub = Hub::start();
    let mut guests = hub.boot(&[
        Plug::Daemon(&hub.switch.control),
        Plug::Bess(&hub.bess, ""),
        Plug::Vde(&hub.vde),
        Plug::QemuStream(&hub.qemu),
        Plug::QemuVde(&hub.vde),
    ]);
    for kind in ["daemon", "bess", "qemu", "vde"] {
        let log = hub.switch.log();
        assert!(log.contains(&format!("kind=\"{kind}\"")), "{kind}: {log}");
    }
    ping::all_pairs(&mut guests, 10);
    hub.end(guests);
}

fn the_newest_kernels_and_one_with_the_daemon_transport_reach_each_other() {
    let hub = Hub::start();
    let mut guests = hub.boot(&[
        Plug::NewBess(&hub.bess),
        Plug::NewVde(&hub.vde),
        Plug::Daemon(&hub.switch.control),
    ]);
    ping::all_pairs(&mut guests, 10);
    let ports = ports(&hub.switch);
    let description = |kind: &str| {
        let mut of_kind = ports.as_array().unwrap().iter().filter(|port| port["kind"] == kind);
        let (Some(port), None) = (of_kind.next(), of_kind.next()) else { panic!("{ports}") };
        port["description"].as_str().unwrap().to_owned()
    };
    assert_eq!([description("bess"), description("daemon")], ["", ""]);
    // The kernel names itself to `vde_plug`, which adds whose it is.
    assert!(description("vde").starts_with("UML user=root pid="), "{ports}");
    hub.end(guests);
}

fn qemu_and_the_switch_meet_by_datagrams_whoever_starts_first() {
    let dir = crate::sandbox::dir_of(0);
    let [ours, theirs] = ["switch", "qemu"].map(|name| dir.path().join(name));
    let options = format!("--qemu-dgram {},{}", ours.display(), theirs.display());
    let plug = Plug::QemuDgram(&theirs, &ours);
    for qemu_first in [true, false] {
        let early = qemu_first.then(|| {
            let mut guest = Guest::plug_in(2, plug);
            guest.wait_until_up();
            guest
        });
        let hub = Hub::with(&options);
        let mut guests = hub.boot(&[Plug::Daemon(&hub.switch.control)]);
        // In the second round the first QEMU's socket is still at the path, and nobody behind it.
        guests.push(early.unwrap_or_else(|| Guest::plug_in(2, plug)));
        guests[1].wait_until_up();
        hub.switch.wait_for_log("cable attached");
        ping::all_pairs(&mut guests, 10);
        drop(guests);
        hub.switch.stop().check_sums();
    }
}

fn a_bess_guest_sends_large_frames_and_takes_its_link_down_and_up() {
    let hub = Hub::start();
    let mut guests = hub.boot(&[
        Plug::Bess(&hub.bess, ",mtu=9000"),
        Plug::Bess(&hub.bess, ",mtu=9000,depth=128,gro=1"),
    ]);
    let address = guests[1].address();
    // As large as they are told that they can be, and in one piece.
    let large = |guest: &mut Guest| {
        let pings = guest.run(&format!("ping -n -w 30 -c 10 -i 0.05 -M do -s 8972 {address}"));
        assert!(pings.contains("8980 bytes from"), "{pings}");
    };
    large(&mut guests[0]);
    let before = hub.closed();
    guests[0].run("ip link set vec0 down");
    wait_for("the port to close", || (hub.closed() == before + 1).then_some(()));
    guests[0].run("ip link set vec0 up");
    large(&mut guests[0]);
    ping::all_pairs(&mut guests, 5);
    hub.end(guests);
}

fn a_bess_guest_that_is_killed_is_replaced_and_the_others_notice_nothing() {
    let hub = Hub::start();
    let mut guests = hub.boot(&[
        Plug::Daemon(&hub.switch.control),
        Plug::Vde(&hub.vde),
        Plug::Bess(&hub.bess, ""),
    ]);
    ping::all_pairs(&mut guests, 2);
    let victim = guests.pop().unwrap();
    let [first, second] = &mut guests[..] else { unreachable!() };
    let between = ping::start(first, &second.address(), 200, 0.02, 56);
    let with_host = HostPing::start(&second.address(), 200, 0.02, 56);
    let nowhere = ping::start_in_vain(second, &victim.address(), 60, 0.05, 56);
    let n = victim.n;
    victim.kill();
    wait_for("the port to close", || (hub.closed() == 1).then_some(()));
    let mut again = Guest::plug_in(n, Plug::Bess(&hub.bess, ""));
    again.wait_until_up();
    ping::finish(second, nowhere);
    let mut lost = Losses::default();
    lost.note("first to second", ping::finish(first, between));
    lost.note("host to second", with_host.finish());
    guests.push(again);
    lost.expect_none(&mut guests);
    ping::all_pairs(&mut guests, 5);
    hub.end(guests);
}

fn programs_in_a_namespace_of_vdens_reach_guests_and_host() {
    let hub = Hub::start();
    let guests = hub.boot(&[Plug::Bess(&hub.bess, ""), Plug::Daemon(&hub.switch.control)]);
    let mut script = format!(
        "ip link set vde0 address {}; ip addr add 10.0.0.7/24 dev vde0; ip link set vde0 up\n",
        host::show(mac(7))
    );
    for to in guests.iter().map(Guest::address).chain([host::ADDRESS.to_owned()]) {
        script += &format!("ping -n -w 30 -c 5 -i 0.05 {to} || exit 1\n");
    }
    let mut command = host::command("vdens");
    let done = run(command.arg(&hub.vde).args(["bash", "-c", &script]));
    assert!(done.status.success(), "{done:?}");
    assert!(hub.switch.log().contains("description=\"vdens user=root"), "{}", hub.switch.log());
    wait_for("its port to close", || (hub.closed() == 1).then_some(()));
    hub.end(guests);
}

/// QEMU without KVM takes much less than the others can send.
fn a_transfer_between_kinds_waits_for_its_receiver_and_loses_nothing() {
    let hub = Hub::start();
    let mut guests = hub.boot(&[
        Plug::Bess(&hub.bess, ""),
        Plug::QemuStream(&hub.qemu),
        Plug::Bess(&hub.bess, ""),
    ]);
    let bytes = 8_000_000;
    for (from, to) in [(0, 1), (1, 0), (0, 2)] {
        let address = guests[to].address();
        let receiver = guests[to].start("busybox nc -l -p 4000 | wc -c");
        guests[to].run("until grep -q ':0FA0 .* 0A ' /proc/net/tcp; do busybox usleep 10000; done");
        guests[from].run(&format!("head -c {bytes} /dev/zero >/dev/tcp/{address}/4000"));
        let received = guests[to].finish(receiver);
        assert_eq!(received.output.trim(), bytes.to_string(), "{received:?}");
    }
    let count = guests.len();
    drop(guests);
    wait_for("the ports to close", || (hub.closed() == count).then_some(()));
    let totals = hub.switch.stop();
    totals.check_sums();
    assert_eq!(totals.get("tx_queue_full"), 0, "{totals:?}");
}
