//! Frames between guests and the host's own IP stack.

use crate::host::{self, ADDRESS, ip};
use crate::support::{BROADCAST, Client, Switch, mac, udp_frame, wait_for};
use crate::{Test, tests};

pub const TESTS: &[Test] = tests![
    [Tap] frames_go_both_ways_between_each_guest_and_the_host_only,
    [Tap] guest_and_host_find_each_other_by_arp,
    [Tap] jumbo_frames_go_both_ways,
    [Tap] a_broadcast_of_the_host_reaches_every_guest_and_one_of_a_guest_the_host,
    [Tap] a_guest_that_does_not_read_costs_the_host_and_the_others_nothing,
    [Tap] a_hub_gives_the_host_every_frame,
];

fn with_host(args: &str) -> Switch {
    let switch = Switch::with(&format!("-tap tap0 {args}"));
    switch.wait_for_log("uplink attached interface=tap0");
    host::configure("tap0");
    switch
}

fn frames_go_both_ways_between_each_guest_and_the_host_only() {
    let switch = with_host("");
    let guests = Client::several(&switch, 4);
    // Nobody knows where the host is: the question is flooded, the answer is not.
    host::exchange(&guests[0]);
    for guest in &guests {
        guest.drain();
    }
    for guest in guests.iter().cycle().take(40) {
        host::exchange(guest);
    }
    for guest in &guests {
        guest.expect_silence();
    }
    let totals = switch.stop();
    totals.check_sums();
    assert_eq!((totals.get("rx_flooded"), totals.get("rx_unicast")), (1, 81));
}

fn guest_and_host_find_each_other_by_arp() {
    let switch = with_host("");
    let guest = Client::new(&switch, mac(17));
    let arp = |operation: u8, to: [u8; 6], target: [u8; 6], target_ip: u8| {
        let ethernet = [to.as_slice(), &guest.mac, &[0x08, 0x06]].concat();
        let head = [0, 1, 8, 0, 6, 4, 0, operation];
        let sender = [guest.mac.as_slice(), &[10, 0, 0, 17]].concat();
        [&ethernet, head.as_slice(), &sender, &target, &[10, 0, 0, target_ip]].concat()
    };
    // The guest asks.
    guest.send(&arp(1, BROADCAST, [0; 6], 254));
    let answer = guest.receive();
    assert_eq!(answer[..14], [guest.mac.as_slice(), &mac(host::MAC), &[8, 6]].concat());
    assert_eq!(answer[20..32], [&[0, 2], mac(host::MAC).as_slice(), &[10, 0, 0, 254]].concat());
    // The host has learnt from that; it is to ask too.
    ip("neigh flush dev tap0");
    let socket = host::socket();
    socket.send_to(b"who has 10.0.0.17?", ("10.0.0.17", 9)).unwrap();
    let question = guest.receive();
    assert_eq!(question[..14], [BROADCAST.as_slice(), &mac(host::MAC), &[8, 6]].concat());
    assert_eq!(question.len(), 42, "not padded on its way");
    assert_eq!(question[38..42], [10, 0, 0, 17]);
    guest.send(&arp(2, mac(host::MAC), mac(host::MAC), 254));
    assert_eq!(host::receive_udp(&guest), (guest.mac, b"who has 10.0.0.17?".to_vec()));
}

fn jumbo_frames_go_both_ways() {
    let switch = with_host("");
    ip("link set tap0 mtu 9000");
    let guests = Client::several(&switch, 2);
    // 9000 bytes with the headers of IP and UDP.
    for len in [1472, 1473, 4096, 8972] {
        host::exchange_of(&guests[0], len);
        host::exchange_of(&guests[1], len);
    }
    switch.stop().check_sums();
}

fn a_broadcast_of_the_host_reaches_every_guest_and_one_of_a_guest_the_host() {
    let switch = with_host("");
    let guests = Client::several(&switch, 3);
    let socket = host::socket();
    socket.set_broadcast(true).unwrap();
    ip("addr change 10.0.0.254/24 broadcast 10.0.0.255 dev tap0");
    socket.send_to(b"all of you", ("10.0.0.255", 9)).unwrap();
    for guest in &guests {
        assert_eq!(host::receive_udp(guest), (BROADCAST, b"all of you".to_vec()));
    }
    let mut hello = udp_frame(BROADCAST, mac(1), b"anybody?");
    // To 10.0.0.254, as if its station were not known yet.
    hello[..14].copy_from_slice(&[BROADCAST.as_slice(), &mac(1), &[8, 0]].concat());
    let to_host = udp_frame(mac(host::MAC), mac(1), b"anybody?");
    hello[14..].copy_from_slice(&to_host[14..]);
    guests[0].send(&hello);
    let mut buffer = [0; 100];
    let len = socket.recv(&mut buffer).expect("the host receives a broadcast");
    assert_eq!(&buffer[..len], b"anybody?");
    assert_eq!(guests[1].receive(), hello);
    assert_eq!(guests[2].receive(), hello);
}

fn a_guest_that_does_not_read_costs_the_host_and_the_others_nothing() {
    let switch = with_host("");
    let guests = Client::several(&switch, 3);
    let (deaf, good) = (&guests[0], &guests[1]);
    host::exchange(deaf);
    guests[2].drain();
    good.drain();
    let socket = std::net::UdpSocket::bind((ADDRESS, 0)).unwrap();
    for burst in 0..20 {
        for _ in 0..100 {
            // What the device's own queue does not take is the host's loss.
            let _ = socket.send_to(&[0xdd; 1400], ("10.0.0.1", 9));
        }
        host::exchange(good);
        good.reach(&guests[2]);
        if burst == 0 {
            // Bulk and single frames leave the device in order, so the exchange has shown that the
            // first bulk is in the switch.
            assert!(deaf.receive().len() >= 1400);
        }
    }
    host::expect_idle(&switch);
    deaf.drain();
    wait_for("the last of what is queued", || {
        deaf.drain();
        deaf.receive_within(crate::support::SILENCE).is_none().then_some(())
    });
    host::exchange(deaf);
    let totals = switch.stop();
    totals.check_sums();
    assert!(totals.get("tx_queue_full") > 0, "the queue was never full: {totals:?}");
}

fn a_hub_gives_the_host_every_frame() {
    let switch = with_host("-hub");
    let guests = Client::several(&switch, 2);
    host::exchange(&guests[0]);
    assert_eq!(guests[1].receive()[..6], mac(host::MAC));
    assert_eq!(guests[1].receive()[..6], guests[0].mac);
    // Of another station's frames the host's counter tells.
    let before = received();
    guests[0].reach(&guests[1]);
    wait_for("the host to see it", || (received() > before).then_some(()));
}

/// Frames that the host has received on `tap0`.
fn received() -> u64 {
    let shown = ip("-statistics -oneline link show tap0");
    let numbers = shown.split("RX:").nth(1).expect("statistics").split_whitespace();
    numbers.filter_map(|word| word.parse().ok()).nth(1).expect("bytes and packets")
}
