//! A guest that is paused while others send to it costs nobody else a frame.

use std::net::UdpSocket;
use std::thread;
use std::time::Duration;

use crate::guest::Guest;
use crate::host;
use crate::ping::{self, HostPing, Losses};
use crate::sandbox::set_max_dgram_qlen;
use crate::support::{Switch, mac, wait_for};
use crate::{Test, tests};

pub const TESTS: &[Test] = tests![
    [Tap, Guests] a_paused_guest_costs_the_others_nothing_with_socket_queues_of_10,
    [Tap, Guests] a_paused_guest_costs_the_others_nothing_with_socket_queues_of_512,
];

fn a_paused_guest_costs_the_others_nothing_with_socket_queues_of_10() {
    pause_one_of_three(10);
}

fn a_paused_guest_costs_the_others_nothing_with_socket_queues_of_512() {
    pause_one_of_three(512);
}

fn pause_one_of_three(qlen: u32) {
    set_max_dgram_qlen(qlen);
    let switch = Switch::with("-tap tap0");
    switch.wait_for_log("uplink attached interface=tap0");
    host::configure("tap0");
    let mut guests = Guest::boot_several(3, &switch.control);
    ping::all_pairs(&mut guests, 2);
    let [sender, paused, third] = &mut guests[..] else { unreachable!() };
    // It answers no ARP while it is paused, and is to be sent to all the same.
    sender.run(&format!(
        "ip neigh replace {} lladdr {} dev eth0 nud permanent",
        paused.address(),
        host::show(mac(paused.n))
    ));

    paused.pause();
    // As much as the sender can, and more than all queues hold: the third reaches the host.
    let blast = sender.start(&format!(
        "exec 3>/dev/udp/{}/9; block=$(printf %01400d 0); \
         for ((i = 0; i < 3000; i++)); do printf %s $block >&3; done",
        paused.address()
    ));
    let to_host = ping::start(third, host::ADDRESS, 150, 0.02, 56);
    let to_third = HostPing::start(&third.address(), 150, 0.02, 1400);
    flood_by_host(&paused.address());
    let mut lost = Losses::default();
    lost.note("third to host during the blast", ping::finish(third, to_host));
    lost.note("host to third during the blast", to_third.finish());
    assert_eq!(sender.finish(blast).status, 0);

    // At a pace that lets the sender's own queue keep up: the third reaches the sender too.
    let steady = ping::start_in_vain(sender, &paused.address(), 100, 0.03, 1400);
    let to_sender = ping::start(third, &sender.address(), 60, 0.05, 56);
    let to_third = ping::start(sender, &third.address(), 60, 0.05, 1400);
    let from_host = HostPing::start(&sender.address(), 60, 0.05, 56);
    lost.note("third to sender", ping::finish(third, to_sender));
    lost.note("sender to third", ping::finish(sender, to_third));
    lost.note("host to sender", from_host.finish());
    assert_eq!(ping::finish(sender, steady).answered(), 0);
    // The paused one cannot say what it has counted.
    let paused = guests.remove(1);
    lost.expect_none(&mut guests);
    paused.resume();
    // When it has answered to both, it has taken in what had waited for it.
    let mut caught_up = Losses::default();
    let from_host = HostPing::start(&paused.address(), 1, 1.0, 56);
    let by_sender = ping::start(&mut guests[0], &paused.address(), 1, 1.0, 56);
    caught_up.note_silent("host to resumed", from_host.finish());
    caught_up.note_silent("sender to resumed", ping::finish(&mut guests[0], by_sender));
    guests.insert(1, paused);
    caught_up.expect_none(&mut guests);
    ping::all_pairs(&mut guests, 5);

    let pids: Vec<_> = guests.iter().map(Guest::pid).collect();
    drop(guests);
    wait_for("the ports to close", || {
        (switch.log().matches("port closed").count() == 3).then_some(())
    });
    let log = switch.log();
    let lost = pids.iter().map(|pid| closed(&log, &pid.to_string()).contains("tx_queue_full"));
    assert_eq!(lost.collect::<Vec<_>>(), [false, true, false], "{log}");
    switch.stop().check_sums();
}

/// Sends the guest at `address` more than its queue in the switch holds.
fn flood_by_host(address: &str) {
    let socket = UdpSocket::bind((host::ADDRESS, 0)).unwrap();
    for _ in 0..20 {
        for _ in 0..100 {
            // What the device's own queue does not take is the host's loss.
            let _ = socket.send_to(&[0xdd; 1400], (address, 9));
        }
        // The device's queue is the one that the host's pings wait in too.
        thread::sleep(Duration::from_millis(20));
    }
}

/// The line about the end of the port that process `pid` had.
#[track_caller]
fn closed(log: &str, pid: &str) -> String {
    let word = |line: &str, name: &str| {
        line.split(' ').find_map(|word| word.strip_prefix(name)).map(String::from)
    };
    let opened = log.lines().find(|line| word(line, "pid=").as_deref() == Some(pid));
    let port = word(opened.expect("its port"), "port=");
    let mut lines = log.lines().filter(|line| line.contains("port closed"));
    lines.find(|line| word(line, "port=") == port).expect("its end").to_owned()
}
