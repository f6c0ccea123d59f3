//! Frames between guests: where they go, and that they arrive as they were sent.

use std::sync::mpsc;
use std::thread;

use crate::support::{BROADCAST, Client, DEADLINE, Mac, Switch, frame, mac, udp_frame};

/// Guests that the switch knows.
#[track_caller]
fn known(switch: &Switch, count: u32) -> Vec<Client> {
    let guests = Client::several(switch, count);
    Client::introduce(&guests);
    guests
}

/// Panics unless `from`'s frame to `to` reaches each of `receivers`.
#[track_caller]
fn expect_at(from: &Client, to: Mac, receivers: &[&Client]) {
    let sent = frame(to, from.mac, 64);
    from.send(&sent);
    for receiver in receivers {
        assert_eq!(receiver.receive(), sent);
    }
}

#[track_caller]
fn expect_silence(guests: &[Client]) {
    guests.iter().for_each(Client::expect_silence);
}

#[test]
fn a_broadcast_reaches_every_other_port_and_a_reply_only_its_destination() {
    let switch = Switch::start();
    let guests = Client::several(&switch, 4);
    let question = frame(BROADCAST, mac(1), 42);
    guests[0].send(&question);
    for guest in &guests[1..] {
        assert_eq!(guest.receive(), question);
    }
    guests[1].reach(&guests[0]);
    expect_silence(&guests);
    let totals = switch.stop();
    totals.check_sums();
    assert_eq!((totals.get("rx_flooded"), totals.get("rx_unicast")), (1, 1));
}

#[test]
fn frames_to_unknown_stations_and_groups_are_flooded() {
    let switch = Switch::start();
    let guests = known(&switch, 3);
    let others = [&guests[1], &guests[2]];
    expect_at(&guests[0], mac(99), &others);
    expect_at(&guests[0], [0x33, 0x33, 0, 0, 0, 1], &others);
    expect_at(&guests[0], [1, 0, 0x5e, 0, 0, 251], &others);
    expect_at(&guests[0], [1, 0x80, 0xc2, 0, 0, 0], &others);
    expect_silence(&guests);
    switch.stop().check_sums();
}

#[test]
fn every_pair_of_known_stations_talks_alone() {
    let switch = Switch::start();
    let guests = known(&switch, 6);
    for from in &guests {
        for to in guests.iter().filter(|to| to.mac != from.mac) {
            from.reach(to);
            let game = udp_frame(from.mac, to.mac, b"a small packet of a game");
            to.send(&game);
            assert_eq!(from.receive(), game);
        }
    }
    expect_silence(&guests);
    let totals = switch.stop();
    totals.check_sums();
    assert_eq!(totals.get("rx_unicast"), 60);
}

#[test]
fn several_stations_behind_one_port_are_all_known() {
    let switch = Switch::start();
    let guests = known(&switch, 3);
    for n in 100..150 {
        let hello = frame(mac(1), mac(n), 60);
        guests[1].send(&hello);
        assert_eq!(guests[0].receive(), hello);
    }
    for n in 100..150 {
        expect_at(&guests[0], mac(n), &[&guests[1]]);
    }
    expect_silence(&guests);
    assert_eq!(switch.stop().get("stations"), 53);
}

#[test]
fn a_station_that_moves_is_found_at_its_new_port_at_once() {
    let switch = Switch::start();
    let guests = known(&switch, 4);
    for place in [1, 2, 1, 3, 2] {
        let moved = frame(mac(1), mac(50), 60);
        guests[place].send(&moved);
        assert_eq!(guests[0].receive(), moved);
        expect_at(&guests[0], mac(50), &[&guests[place]]);
    }
    expect_silence(&guests);
    switch.stop().check_sums();
}

#[test]
fn a_group_address_is_never_learnt() {
    let switch = Switch::start();
    let guests = Client::several(&switch, 3);
    for source in [BROADCAST, [1, 0, 0x5e, 0, 0, 1], [3, 0, 0, 0, 0, 1]] {
        let forged = frame(mac(99), source, 60);
        guests[0].send(&forged);
        for guest in &guests[1..] {
            assert_eq!(guest.receive(), forged);
        }
        expect_at(&guests[1], source, &[&guests[0], &guests[2]]);
    }
    expect_silence(&guests);
    // Only guest 2 has shown an address of its own.
    assert_eq!(switch.stop().get("stations"), 1);
}

#[test]
fn nobody_gets_its_own_frames_back() {
    let switch = Switch::start();
    let path = switch.dir.path().join("guest");
    let guests = [
        Client::at_path(&switch, mac(1), &path),
        Client::new(&switch, mac(2)),
        Client::at_path(&switch, mac(3), &switch.dir.path().join("other")),
    ];
    for guest in &guests {
        for to in [BROADCAST, mac(99)] {
            let others: Vec<_> = guests.iter().filter(|other| other.mac != guest.mac).collect();
            expect_at(guest, to, &others);
        }
    }
    expect_silence(&guests);
}

#[test]
fn a_frame_to_a_station_behind_its_own_port_is_dropped() {
    let switch = Switch::start();
    let guests = known(&switch, 2);
    // To itself, and from one of two stations behind a port to the other.
    guests[0].send(&frame(mac(1), mac(1), 60));
    guests[0].send(&frame(mac(1), mac(51), 60));
    guests[0].send(&frame(mac(51), mac(1), 60));
    guests[0].reach(&guests[1]);
    expect_silence(&guests);
    let totals = switch.stop();
    totals.check_sums();
    assert_eq!((totals.get("rx_hairpin"), totals.get("rx_frames")), (3, 6));
}

#[test]
fn frames_without_a_whole_header_are_dropped() {
    for mode in ["", "-hub"] {
        let switch = Switch::with(mode);
        let guests = known(&switch, 3);
        let whole = frame(BROADCAST, mac(1), 14);
        for len in 0..14 {
            guests[0].send(&whole[..len]);
        }
        guests[0].send(&whole);
        for guest in &guests[1..] {
            assert_eq!(guest.receive(), whole, "14 bytes are a frame");
        }
        expect_silence(&guests);
        let totals = switch.stop();
        totals.check_sums();
        assert_eq!(totals.get("rx_runt"), 14, "with {mode:?}");
    }
}

#[test]
fn an_empty_datagram_does_not_end_a_port() {
    let switch = Switch::start();
    let guests = known(&switch, 2);
    for _ in 0..20 {
        guests[0].send(&[]);
        guests[0].reach(&guests[1]);
        guests[1].reach(&guests[0]);
    }
    assert_eq!(switch.stop().get("rx_runt"), 20);
}

#[test]
fn frames_of_every_size_arrive_byte_for_byte() {
    let switch = Switch::start();
    let guests = known(&switch, 3);
    let edges = [1500, 1513, 1514, 1515, 1518, 1519, 1522, 1526, 4096, 9000, 9014, 9017, 9018];
    for len in (14..130).chain((130..9018).step_by(97)).chain(edges) {
        let sent = frame(mac(2), mac(1), len);
        guests[0].send(&sent);
        assert!(guests[1].receive() == sent, "{len} bytes to one");
        let flooded = frame(BROADCAST, mac(2), len);
        guests[1].send(&flooded);
        for guest in [&guests[0], &guests[2]] {
            assert!(guest.receive() == flooded, "{len} bytes to all");
        }
    }
    let totals = switch.stop();
    totals.check_sums();
    assert_eq!(totals.get("tx_frames"), totals.get("tx_offered"));
}

#[test]
fn what_is_in_a_frame_is_nobodys_business() {
    let switch = Switch::start();
    let guests = known(&switch, 2);
    // A VLAN tag, two of them, a length instead of a type, and nonsense.
    for kind in [[0x81, 0], [0x88, 0xa8], [0, 46], [0xff, 0xff], [0, 0]] {
        let mut sent = frame(mac(2), mac(1), 64);
        sent[12..14].copy_from_slice(&kind);
        guests[0].send(&sent);
        assert_eq!(guests[1].receive(), sent);
    }
}

#[test]
fn a_hub_sends_every_frame_to_every_other_port() {
    let switch = Switch::with("-hub");
    let guests = known(&switch, 4);
    let mut sent = 0;
    for (place, from) in guests.iter().enumerate() {
        // To a known station, to the sender itself, to nobody, to a group.
        for to in [mac(1), from.mac, mac(99), BROADCAST, [1, 0, 0x5e, 0, 0, 1]] {
            for len in [14, 60, 61, 1514, 9018] {
                let bytes = frame(to, from.mac, len);
                from.send(&bytes);
                sent += 1;
                for (_, other) in guests.iter().enumerate().filter(|&(other, _)| other != place) {
                    assert!(other.receive() == bytes, "{len} bytes from {place}");
                }
            }
        }
    }
    expect_silence(&guests);
    let totals = switch.stop();
    totals.check_sums();
    assert_eq!((totals.get("rx_flooded"), totals.get("rx_unicast")), (sent + 4, 0));
    assert_eq!(totals.get("stations"), 0);
}

#[test]
fn a_port_that_closes_takes_its_stations_along_and_no_others() {
    let switch = Switch::start();
    let mut guests = known(&switch, 4);
    // Station 50 is behind port 2, station 51 has moved from there to port 3.
    for (station, place) in [(50, 1), (51, 1), (51, 2)] {
        let hello = frame(mac(1), mac(station), 60);
        guests[place].send(&hello);
        assert_eq!(guests[0].receive(), hello);
    }
    drop(guests.remove(1));
    switch.wait_for_log("port closed port=2");
    let [first, third, fourth] = [&guests[0], &guests[1], &guests[2]];
    expect_at(first, mac(2), &[third, fourth]);
    expect_at(first, mac(50), &[third, fourth]);
    expect_at(first, mac(51), &[third]);
    expect_at(first, mac(3), &[third]);
    expect_at(first, mac(4), &[fourth]);
    expect_at(fourth, mac(1), &[first]);
    expect_silence(&guests);
    // Who gets the number next gets none of that.
    let heir = Client::new(&switch, mac(5));
    expect_at(first, mac(51), &[third]);
    heir.expect_silence();
    expect_at(first, mac(50), &[third, fourth, &heir]);
    switch.stop().check_sums();
}

#[test]
fn a_port_that_used_many_addresses_leaves_nothing_behind() {
    let switch = Switch::start();
    let first = Client::new(&switch, mac(1));
    for round in 0..20 {
        let guest = Client::new(&switch, mac(2));
        for n in 0..20 {
            let hello = frame(mac(1), mac(1000 + round * 20 + n), 60);
            guest.send(&hello);
            assert_eq!(first.receive(), hello);
        }
        first.send(&frame(mac(1000 + round * 20), mac(1), 60));
        guest.receive();
    }
    // Known is only what is there: the first, and of the last guest what had not ended with it.
    let witness = Client::new(&switch, mac(3));
    for n in 0..380 {
        expect_at(&first, mac(1000 + n), &[&witness]);
    }
    switch.stop().check_sums();
}

fn numbered(to: Mac, from: Mac, number: u32) -> Vec<u8> {
    let mut bytes = frame(to, from, 200);
    bytes[14..18].copy_from_slice(&number.to_be_bytes());
    bytes
}

/// Sends [`FRAMES`] frames to the address `to`, of which every receiver must get each in its turn.
#[track_caller]
fn check_burst(from: &Client, to: Mac, receivers: &[&Client]) {
    thread::scope(|scope| {
        let mut credits = Vec::new();
        for receiver in receivers {
            // No more are on their way than queues hold, so none may be lost.
            let (taken, credit) = mpsc::sync_channel(IN_FLIGHT);
            credits.push(taken);
            scope.spawn(move || {
                for number in 0..FRAMES {
                    assert_eq!(receiver.receive(), numbered(to, from.mac, number));
                    credit.recv_timeout(DEADLINE).unwrap();
                }
            });
        }
        for number in 0..FRAMES {
            credits.iter().for_each(|taken| taken.send(()).expect("the receiver goes on"));
            from.send(&numbered(to, from.mac, number));
        }
    });
}

#[test]
fn a_burst_arrives_whole_and_in_order() {
    let switch = Switch::start();
    let guests = known(&switch, 3);
    check_burst(&guests[0], mac(2), &[&guests[1]]);
    check_burst(&guests[0], BROADCAST, &[&guests[1], &guests[2]]);
    expect_silence(&guests);
    let totals = switch.stop();
    totals.check_sums();
    assert_eq!(totals.get("tx_frames"), totals.get("tx_offered"));
    assert_eq!(totals.get("rx_unicast"), u64::from(FRAMES));
}

#[test]
fn bursts_in_both_directions_and_from_several_ports_stay_in_order() {
    let switch = Switch::start();
    let guests = known(&switch, 4);
    let pairs = [(0, 1), (1, 0), (2, 3), (3, 2)];
    thread::scope(|scope| {
        for (from, to) in pairs {
            let guests = &guests;
            scope.spawn(move || check_burst(&guests[from], guests[to].mac, &[&guests[to]]));
        }
    });
    expect_silence(&guests);
    let totals = switch.stop();
    totals.check_sums();
    assert_eq!(totals.get("rx_unicast"), 4 * u64::from(FRAMES));
}

#[test]
fn a_stream_to_a_guest_that_stops_reading_is_counted_and_the_newest_of_it_is_kept() {
    let switch = Switch::start();
    let guests = known(&switch, 3);
    for number in 0..FRAMES {
        guests[0].send(&numbered(mac(2), mac(1), number));
    }
    guests[0].reach(&guests[2]);
    // It reads again: what it gets is in order, and the last that was sent is among it.
    let mut last = None;
    while last != Some(FRAMES - 1) {
        let bytes = guests[1].receive();
        let number = u32::from_be_bytes(bytes[14..18].try_into().unwrap());
        assert_eq!(bytes, numbered(mac(2), mac(1), number));
        assert!(last < Some(number), "{number} after {last:?}");
        last = Some(number);
    }
    guests[2].reach(&guests[1]);
    let totals = switch.stop();
    totals.check_sums();
    assert!(totals.get("tx_queue_full") > 0);
}

const FRAMES: u32 = 4000;

/// Frames between a sender and its receiver at a time; the egress queue takes 512.
const IN_FLIGHT: usize = 300;
