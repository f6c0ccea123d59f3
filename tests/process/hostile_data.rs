//! What a client can do with frames, and what strangers can, beside two good ports that must not
//! notice.

use std::io::ErrorKind;
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::socket::{MsgFlags, recv};

use crate::support::{
    BROADCAST, Client, GoodPair, Noise, Request, Switch, abstract_name, abstract_sockaddr, frame,
    mac,
};

fn bound_to(name: [u8; 107]) -> UnixDatagram {
    UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name).unwrap()).unwrap()
}

/// The time that the switch uses for what `act` does.
fn cost(switch: &Switch, act: impl FnOnce()) -> Duration {
    let before = switch.cpu();
    act();
    switch.cpu() - before
}

#[test]
fn a_strangers_frames_are_refused_by_the_kernel() {
    let switch = Switch::start();
    let pair = GoodPair::start_amid(&switch, Noise::Floods);
    let guests = Client::several(&switch, 2);
    let sent = frame(mac(2), mac(1), 60);
    for stranger in [UnixDatagram::unbound().unwrap(), bound_to(abstract_name())] {
        for guest in &guests {
            let error = stranger.send_to_addr(&sent, &guest.switch).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        }
    }
    // Another guest is a stranger too.
    let error = guests[0].data.send_to_addr(&sent, &guests[1].switch).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    guests[1].expect_silence();
    guests[0].reach(&guests[1]);
    pair.finish();
    let totals = switch.stop();
    totals.check_sums();
    assert_eq!(totals.get("rx_stranger"), 0);
}

#[test]
fn a_strangers_frames_for_a_client_that_is_not_there_yet_are_dropped() {
    let switch = Switch::start();
    let pair = GoodPair::start_amid(&switch, Noise::Floods);
    let name = abstract_name();
    let mut late = Client::register(
        &switch,
        mac(1),
        UnixDatagram::unbound().unwrap(),
        &Request::v3(&abstract_sockaddr(&name)),
    );
    let other = Client::new(&switch, mac(2));
    let sent = frame(BROADCAST, mac(1), 60);
    for stranger in [UnixDatagram::unbound().unwrap(), bound_to(abstract_name())] {
        for _ in 0..50 {
            stranger.send_to_addr(&sent, &late.switch).expect("nobody is connected yet");
        }
    }
    other.expect_silence();
    late.data = bound_to(name);
    late.send(&sent);
    assert_eq!(other.receive(), sent);
    other.reach(&late);
    pair.finish();
    let totals = switch.stop();
    totals.check_sums();
    assert_eq!(totals.get("rx_stranger"), 100);
}

#[test]
fn a_million_invented_stations_cost_what_they_are_and_push_out_nobody() {
    const STEP: u32 = 100_000;
    let switch = Switch::start();
    let pair = GoodPair::start(&switch);
    let flooder = Client::new(&switch, mac(1));
    let before = switch.resident();
    let started = Instant::now();
    let mut invented = frame(mac(1), mac(1), 60);
    flooder.send(&invented);
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut flood = || {
        for n in 0..STEP {
            // To the station invented last, which is its own as well: the frame goes nowhere.
            invented.copy_within(6..12, 0);
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(n.into());
            invented[6..12].copy_from_slice(&(seed >> 16).to_be_bytes()[2..]);
            invented[6] = invented[6] & 0xfc | 2;
            flooder.data.send_to_addr(&invented, &flooder.switch).unwrap();
        }
    };
    let costs: Vec<_> = (0..10).map(|_| cost(&switch, &mut flood)).collect();
    println!("a million stations in {:?}; CPU time by 100,000: {costs:?}", started.elapsed());
    let cheapest = |costs: &[Duration]| *costs.iter().min().unwrap();
    assert!(cheapest(&costs[7..]) < 3 * cheapest(&costs[..3]), "later frames cost more: {costs:?}");
    pair.goes_on();
    let grown = switch.resident().saturating_sub(before);
    assert!(grown < 32 << 20, "{grown} bytes more than before");
    // Nothing of what the pair said was flooded.
    flooder.expect_silence();
    pair.finish();
    let totals = switch.stop();
    totals.check_sums();
}

#[test]
fn a_client_that_closes_its_data_socket_loses_only_its_own_frames() {
    let switch = Switch::start();
    let pair = GoodPair::start_amid(&switch, Noise::Floods);
    let [sender, receiver, gone] = <[Client; 3]>::try_from(Client::several(&switch, 3)).unwrap();
    let Client { data, control, .. } = gone;
    drop(data);
    let sent = frame(BROADCAST, mac(1), 60);
    for _ in 0..100 {
        sender.send(&sent);
        assert_eq!(receiver.receive(), sent);
    }
    receiver.reach(&sender);
    pair.finish();
    drop(control);
    let totals = switch.stop();
    totals.check_sums();
    assert_eq!(totals.get("tx_no_receiver"), 100);
}

#[test]
fn a_client_that_connects_elsewhere_loses_only_its_own_frames() {
    let switch = Switch::start();
    let pair = GoodPair::start_amid(&switch, Noise::Floods);
    let guests = Client::several(&switch, 3);
    let [sender, receiver, fickle] = [&guests[0], &guests[1], &guests[2]];
    sender.reach(receiver);
    // Nobody knew yet where the receiver was.
    fickle.receive();
    receiver.reach(sender);
    fickle.reach(sender);
    let elsewhere = abstract_name();
    let _somebody = bound_to(elsewhere);
    let elsewhere = SocketAddr::from_abstract_name(elsewhere).unwrap();
    let sent = frame(fickle.mac, sender.mac, 60);
    for n in 0..100 {
        // To and fro. With a frame unread, that leaves an error behind in the switch's socket.
        let to = if n % 2 == 0 { &elsewhere } else { &fickle.switch };
        fickle.data.connect_addr(to).unwrap();
        sender.send(&sent);
        // When the next frame has come, that one has been through the switch.
        sender.reach(receiver);
        if n % 4 == 3 {
            assert_eq!(fickle.receive(), sent, "it listens to the switch again");
        }
    }
    fickle.reach(receiver);
    pair.finish();
    let totals = switch.stop();
    totals.check_sums();
    assert_eq!(totals.get("tx_refused"), 50);
}

#[test]
fn what_is_no_frame_is_counted_and_goes_nowhere() {
    const TIMES: u64 = 5000;
    let switch = Switch::start();
    let pair = GoodPair::start_amid(&switch, Noise::Floods);
    let guests = Client::several(&switch, 2);
    let rubbish = [vec![], vec![0xff], vec![0xff; 13], vec![0xff; 9019], vec![0xff; 100_000]];
    for _ in 0..TIMES {
        for bytes in &rubbish {
            guests[0].data.send_to_addr(bytes, &guests[0].switch).unwrap();
        }
    }
    guests[0].reach(&guests[1]);
    pair.finish();
    guests[1].expect_silence();
    let totals = switch.stop();
    totals.check_sums();
    assert_eq!(totals.get("rx_runt"), 3 * TIMES);
    assert_eq!(totals.get("rx_oversize"), 2 * TIMES);
}

#[test]
fn a_flood_of_broadcasts_costs_the_others_no_frame() {
    for len in [14, 1514] {
        let switch = Switch::start();
        let pair = GoodPair::start_amid(&switch, Noise::Floods);
        let guests = Client::several(&switch, 3);
        let rounds = pair.rounds();
        thread::scope(|scope| {
            for guest in &guests {
                scope.spawn(move || {
                    let sent = frame(BROADCAST, guest.mac, len);
                    for _ in 0..20_000 {
                        guest.send(&sent);
                        // It hears the other two, and does not care.
                        let data = guest.data.as_raw_fd();
                        while recv(data, &mut [0], MsgFlags::MSG_DONTWAIT).is_ok() {}
                    }
                });
            }
        });
        assert!(pair.rounds() > rounds, "they went on meanwhile");
        pair.finish();
        let totals = switch.stop();
        totals.check_sums();
        assert!(totals.get("rx_flooded") >= 60_000);
    }
}

#[test]
fn a_station_that_is_impersonated_is_back_with_its_next_frame() {
    let switch = Switch::start();
    let pair = GoodPair::start_amid(&switch, Noise::Floods);
    let guests = Client::several(&switch, 3);
    let [victim, friend, impostor] = [&guests[0], &guests[1], &guests[2]];
    victim.reach(friend);
    // Nobody knew yet where the friend was.
    impostor.receive();
    friend.reach(victim);
    for _ in 0..500 {
        let lie = frame(friend.mac, victim.mac, 60);
        impostor.send(&lie);
        assert_eq!(friend.receive(), lie);
        // As with any switch that learns, the frames for the victim now go there.
        let stolen = frame(victim.mac, friend.mac, 100);
        friend.send(&stolen);
        assert_eq!(impostor.receive(), stolen);
        victim.reach(friend);
        friend.reach(victim);
    }
    pair.finish();
    for guest in &guests {
        guest.expect_silence();
    }
    switch.stop().check_sums();
}
