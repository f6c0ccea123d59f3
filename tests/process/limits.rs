//! The options that set how much and how long: ageing, stations, ports, length of frames.

use std::os::linux::net::SocketAddrExt;
use std::time::{Duration, Instant};

use crate::support::{
    BROADCAST, Client, Request, SILENCE, Switch, expect_no_port, frame, mac, wait_for,
};

/// True if the switch does not know `station`: a frame to it, from `from`, reaches `witness` too.
/// Whatever the station's own guest got is thrown away.
fn is_forgotten(from: &Client, station: &Client, witness: &Client, patience: Duration) -> bool {
    let sent = frame(station.mac, from.mac, 60);
    from.send(&sent);
    assert_eq!(station.receive(), sent);
    match witness.receive_within(patience) {
        Some(got) => got == sent,
        None => false,
    }
}

#[test]
fn a_silent_station_is_forgotten_after_the_ageing_time_and_not_before() {
    let switch = Switch::with("--ageing 1");
    let guests = Client::several(&switch, 3);
    let heard = Instant::now();
    guests[1].send(&frame(BROADCAST, mac(2), 60));
    guests[0].receive();
    guests[2].receive();
    wait_for("the station to age", || {
        is_forgotten(&guests[0], &guests[1], &guests[2], Duration::from_millis(20)).then_some(())
    });
    // The loop takes the time once a turn, so a little before the frame was sent.
    assert!(heard.elapsed() > Duration::from_millis(950), "after {:?}", heard.elapsed());
    // Its next frame brings it back.
    guests[1].reach(&guests[0]);
    assert!(!is_forgotten(&guests[0], &guests[1], &guests[2], SILENCE));
}

#[test]
fn the_number_of_stations_is_bounded_and_who_has_most_gives_first() {
    let switch = Switch::with("--fdb-size 8");
    let guests = Client::several(&switch, 4);
    Client::introduce(&guests);
    for source in (100..300).map(mac) {
        guests[3].send(&frame(mac(1), source, 60));
        assert_eq!(guests[0].receive(), frame(mac(1), source, 60));
    }
    // The others are known still, of the noisy one only the last few are.
    guests[0].reach(&guests[1]);
    guests[1].reach(&guests[2]);
    guests[2].reach(&guests[0]);
    guests.iter().for_each(Client::expect_silence);
    guests[0].send(&frame(mac(299), mac(1), 60));
    assert_eq!(guests[3].receive(), frame(mac(299), mac(1), 60));
    guests[0].send(&frame(mac(100), mac(1), 61));
    for other in &guests[1..] {
        assert_eq!(other.receive(), frame(mac(100), mac(1), 61), "flooded");
    }
    let totals = switch.stop();
    totals.check_sums();
    assert_eq!(totals.get("stations"), 8);
}

#[test]
fn a_guest_too_many_is_refused_and_a_freed_port_can_be_had_again() {
    let switch = Switch::with("--max-ports 2");
    let mut guests = Client::several(&switch, 2);
    for _ in 0..3 {
        expect_no_port(&switch, &Request::v3(&Client::socket().0));
        guests[0].reach(&guests[1]);
        guests[1].reach(&guests[0]);
    }
    let said = switch.wait_for_log("client refused");
    assert!(said.contains("all 2 ports are in use"), "{said}");
    let gone = guests.remove(0).switch;
    switch.wait_for_log("port closed");
    let newcomer = Client::new(&switch, mac(3));
    assert_eq!(newcomer.switch.as_abstract_name(), gone.as_abstract_name(), "the same number");
    newcomer.reach(&guests[0]);
    guests[0].reach(&newcomer);
}

/// A frame of `longest` bytes passes, one more byte is dropped and counted.
#[track_caller]
fn check_longest_frame(options: &str, longest: usize) {
    let switch = Switch::with(options);
    let guests = Client::several(&switch, 2);
    guests[0].send(&frame(mac(2), mac(1), longest + 1));
    let passes = frame(mac(2), mac(1), longest);
    guests[0].send(&passes);
    assert!(guests[1].receive() == passes, "{options}: {longest} bytes, byte for byte");
    guests[1].send(&frame(mac(1), mac(2), longest));
    assert!(guests[0].receive() == frame(mac(1), mac(2), longest), "and back");
    guests.iter().for_each(Client::expect_silence);
    let totals = switch.stop();
    totals.check_sums();
    assert_eq!((totals.get("rx_oversize"), totals.get("rx_frames")), (1, 3), "{options}");
}

#[test]
fn frames_up_to_the_mtu_with_header_and_tag_pass_and_longer_ones_are_dropped() {
    check_longest_frame("", 9018);
    check_longest_frame("--mtu 1500", 1518);
    check_longest_frame("--mtu 68", 86);
}

#[test]
fn the_largest_mtu_carries_what_the_largest_virtual_interfaces_send() {
    check_longest_frame("--mtu 65531", 65_549);
}

#[test]
fn a_frame_of_any_excess_is_dropped_not_cut() {
    let switch = Switch::with("--mtu 1500");
    let guests = Client::several(&switch, 2);
    for len in [1519, 1522, 3000, 9018, 60_000, 100_000] {
        guests[0].send(&frame(mac(2), mac(1), len));
    }
    guests[0].reach(&guests[1]);
    assert_eq!(switch.stop().get("rx_oversize"), 6);
}
