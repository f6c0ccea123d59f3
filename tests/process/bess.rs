//! Guests with `vec0:transport=bess`: one record is one frame.

use crate::support::{
    BROADCAST, BessClient, Client, GoodPair, Guest, Noise, frame, mac, with_connections,
};

#[test]
fn records_that_are_no_frames_are_counted_and_do_no_harm() {
    let switch = with_connections("");
    let pair = GoodPair::start_amid(&switch, Noise::Floods);
    let guest = BessClient::new(&switch);
    let other = Client::new(&switch, mac(2));
    for len in [0, 1, 13, 9019, 9020, 60_000] {
        guest.send(&vec![0xff; len]);
    }
    let good = frame(BROADCAST, mac(1), 9018);
    guest.send(&good);
    assert!(other.receive() == good, "the port lives on");
    drop(guest);
    let closed =
        switch.wait_for_log(&format!("kind=\"bess\" uid={} counters", nix::unistd::getuid()));
    assert!(closed.contains("rx_flooded=1 rx_runt=3 rx_oversize=3"), "{closed}");
    pair.finish();
    switch.stop().check_sums();
}

#[test]
fn records_without_a_byte_at_the_end_are_the_end() {
    let switch = with_connections("");
    let guest = BessClient::new(&switch);
    switch.wait_for_log("port opened");
    for _ in 0..100 {
        guest.send(&[]);
    }
    drop(guest);
    switch.wait_for_log("port closed");
    switch.stop().check_sums();
}

#[test]
fn a_guest_whose_link_goes_down_and_up_is_back_with_its_station() {
    let switch = with_connections("");
    let other = Client::new(&switch, mac(2));
    for round in 1..=5 {
        let guest = BessClient::new(&switch);
        let hello = frame(BROADCAST, mac(1), 60);
        guest.send(&hello);
        assert_eq!(other.receive(), hello);
        let answer = frame(mac(1), mac(2), 200 * round);
        other.send(&answer);
        assert_eq!(guest.receive(), answer);
    }
}
