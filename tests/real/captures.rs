//! Captures of real guests' traffic, who must not notice.

use std::collections::BTreeMap;
use std::fs;

use etherparse::{NetSlice, SlicedPacket};
use nix::sys::signal::Signal;

use crate::guest::Guest;
use crate::host;
use crate::ping::{self, HostPing, Losses};
use crate::support::{BROADCAST, Capture, Captured, Switch, frames_of, wait_for};
use crate::{Test, tests};

pub const TESTS: &[Test] = tests![
    [Tap, Guests] guests_ping_on_while_captures_come_and_go_and_hold_what_was_counted,
];

fn guests_ping_on_while_captures_come_and_go_and_hold_what_was_counted() {
    let everything = format!("{}/all.pcapng", crate::sandbox::STAGE);
    let switch = Switch::with(&format!("-tap tap0 --mirror {everything}"));
    switch.wait_for_log("uplink attached interface=tap0");
    host::configure("tap0");
    // From before the first frame until after the last: what it holds is all that the port counts.
    let mut port_1 = Capture::start(&switch, "--port 1 -w port.pcapng");

    let mut guests = vec![Guest::boot(1, &switch.control)];
    guests[0].wait_until_up();
    guests.extend((2..=3).map(|n| Guest::boot(n, &switch.control)));
    for guest in &mut guests[1..] {
        guest.wait_until_up();
    }
    ping::all_pairs(&mut guests, 2);

    let (first, second, third) = ("10.0.0.1", "10.0.0.2", "10.0.0.3");
    let [one, two, _] = &mut guests[..] else { unreachable!() };
    let mut echoes = Capture::start(&switch, &format!("-w - icmp and host {third}"));
    let between = ping::start(one, second, PINGS, 0.01, 56);
    let jumbled = ping::start(two, third, PINGS, 0.01, 1000);
    let with_host = HostPing::start(first, PINGS, 0.01, 56);
    for n in 0..5 {
        let mut ring = Capture::start(&switch, "--ring 2,1 -w ring.pcapng");
        let mut lines = Capture::start(&switch, "--port uplink --port 2 icmp or arp");
        let killed = Capture::start(&switch, "-w killed.pcapng");
        wait_for("frames in all of them", || {
            let empty = lines.printed().is_empty() || killed.file("killed.pcapng").len() < 1000;
            (!empty).then_some(())
        });
        killed.signal(Signal::SIGKILL);
        assert!(ring.stop().ends_with("0 filtered out, 0 dropped"), "turn {n}");
        assert!(lines.stop().ends_with(" 0 dropped"), "turn {n}");
    }
    let mut lost = Losses::default();
    lost.note("first to second", ping::finish(one, between));
    lost.note("second to third", ping::finish(two, jumbled));
    lost.note("host to first", with_host.finish());
    let summary = echoes.stop();
    let found = frames_of(&echoes.printed());
    assert!(summary.starts_with(&format!("{} packets captured, ", found.len())), "{summary}");
    assert!(summary.ends_with(", 0 dropped"), "{summary}");
    // Requests and answers, each once; `ping` may send one more than it waits for.
    let echoes = between_two(&found, [2, 3]);
    assert!(echoes.abs_diff(2 * PINGS as usize) <= 2, "{echoes} echoes");
    assert_eq!(echoes, found.len(), "others passed the filter");
    lost.expect_none(&mut guests);

    drop(guests);
    let closed = wait_for("the ports to close", || {
        let log = switch.log();
        let closed: BTreeMap<_, _> = log.lines().filter_map(closed_port).collect();
        (closed.len() == 3).then_some(closed)
    });
    let of = |name: &str| closed[&1].get(name).copied().unwrap_or_default();
    let summary = port_1.stop();
    let captured = frames_of(&port_1.file("port.pcapng"));
    assert_eq!(summary, format!("{} packets captured, 0 filtered out, 0 dropped", captured.len()));
    let from_1 = |frame: &&Captured| frame.bytes[6..12] == crate::support::mac(1);
    let sent = captured.iter().filter(from_1).count() as u64;
    assert_eq!(sent, of("rx_unicast") + of("rx_flooded") + of("rx_hairpin"));
    assert_eq!(captured.len() as u64 - sent, of("tx_offered"));

    let totals = switch.stop();
    totals.check_sums();
    let all = frames_of(&fs::read(&everything).expect("the mirror's file"));
    let forwarded = ["rx_unicast", "rx_flooded", "rx_hairpin"].map(|name| totals.get(name));
    assert_eq!(all.len() as u64, forwarded.iter().sum::<u64>());
    let flooded = all.iter().filter(|frame| frame.bytes[..6] == BROADCAST).count() as u64;
    assert!(flooded <= totals.get("rx_flooded"), "{flooded} broadcasts");
}

/// How many of `frames` are IPv4 packets between stations with these numbers, either way.
fn between_two(frames: &[Captured], numbers: [u8; 2]) -> usize {
    let is_between = |frame: &&Captured| {
        let packet = SlicedPacket::from_ethernet(&frame.bytes).expect("a guest's packet");
        let Some(NetSlice::Ipv4(ip)) = packet.net else { return false };
        let ends = [ip.header().source_addr(), ip.header().destination_addr()];
        let mut ends = ends.map(|address| address.octets()[3]);
        ends.sort_unstable();
        ends == numbers
    };
    frames.iter().filter(is_between).count()
}

/// The number of the port that a line of the log says has closed, and its counters.
fn closed_port(line: &str) -> Option<(u32, BTreeMap<String, u64>)> {
    let (_, rest) = line.split_once("port closed port=")?;
    let mut words = rest.split(|c: char| c.is_whitespace() || c == '"');
    let number = words.next()?.parse().ok()?;
    let counter = |word: &str| {
        let (name, value) = word.trim_start_matches("counters=").split_once('=')?;
        Some((name.to_owned(), value.parse().ok()?))
    };
    Some((number, words.filter_map(counter).collect()))
}

/// Requests of each `ping`.
const PINGS: u32 = 400;
