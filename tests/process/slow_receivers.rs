//! Ports that do not read, or read slowly: they cost themselves frames and nobody else.
//!
//! Here the kernel's receive queues are as long as this machine has them; `tests/real` runs the same
//! with short and with long ones, which takes a network of its own. What a sender has under way
//! to a receiver that is to lose nothing is bounded well below a port's queue, so that a machine
//! that does not run the receiver for a while is no reason to lose anything.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{
    BROADCAST, Client, GoodPair, Mac, Noise, Switch, frame, queue_length, wait_for,
    with_shared_data_socket,
};

/// Frames that a port's queue holds.
const QUEUE: u64 = 512;

/// Frames that a sender may be ahead of a receiver that is to lose nothing.
const AHEAD: u64 = 200;

/// How long the switch waits for a receiver that does not read, before it lets its sources go on.
const GIVEN_UP_AFTER: Duration = Duration::from_millis(10);

/// How long a frame may wait in a queue.
const MAX_AGE: Duration = Duration::from_secs(10);

/// How long a test may take in all.
const PATIENCE: Duration = Duration::from_secs(30);

/// Makes tests of the functions below, which are for `tests/real` too.
macro_rules! tests {
    ($($name:ident,)*) => {
        mod with_the_queues_of_this_machine {
            $(#[test]
            fn $name() {
                super::$name();
            })*
        }
    };
}

tests! {
    a_port_that_never_reads_costs_its_sender_nothing,
    a_port_that_never_reads_does_not_take_the_shared_data_socket_from_others,
    twenty_ports_that_never_read_cost_their_sender_nothing,
    a_flood_reaches_who_reads_past_twenty_who_do_not,
    a_port_that_wakes_finds_what_its_queue_held_in_order,
    a_port_that_wakes_late_gets_nothing_that_is_long_past,
    a_crawling_reader_costs_the_fast_one_beside_it_nothing,
    a_sender_that_waits_loses_nothing_to_a_reader_at_its_own_pace,
    a_small_flow_loses_nothing_beside_bulk_to_the_same_reader,
    a_full_queue_drops_of_many_tiny_frames_not_of_few_long_ones,
}

/// A switch, two good ports that mind their own business, and `count` others that know each other.
fn scene(count: u32) -> (Switch, GoodPair, Vec<Client>) {
    scene_at(Switch::start(), count)
}

fn scene_at(switch: Switch, count: u32) -> (Switch, GoodPair, Vec<Client>) {
    let guests = Client::several(&switch, count);
    for (place, guest) in guests.iter().enumerate() {
        let hello = frame(BROADCAST, guest.mac, 60);
        guest.send(&hello);
        for (_, other) in guests.iter().enumerate().filter(|&(other, _)| other != place) {
            assert_eq!(other.receive(), hello);
        }
    }
    let pair = GoodPair::start_amid(&switch, Noise::Floods);
    for guest in &guests {
        // The pair's first frame, before the switch knew where to send it.
        guest.receive();
    }
    (switch, pair, guests)
}

/// Frame `n` of a flow.
fn numbered(to: Mac, from: Mac, n: u64, len: usize) -> Vec<u8> {
    let mut frame = frame(to, from, len);
    frame[14..22].copy_from_slice(&n.to_be_bytes());
    frame
}

/// The number of a frame, which must be whole.
#[track_caller]
fn number_of(bytes: &[u8], to: Mac, from: Mac) -> u64 {
    let n = u64::from_be_bytes(bytes[14..22].try_into().unwrap());
    assert_eq!(bytes, numbered(to, from, n, bytes.len()));
    n
}

/// Receives `count` frames of the flow from `from` to `to`, each the next one, and counts them in
/// `received`.
#[track_caller]
fn receive_all(client: &Client, (to, from): (Mac, Mac), count: u64, received: &AtomicU64) {
    let deadline = Instant::now() + PATIENCE;
    for n in 0..count {
        let left = deadline.saturating_duration_since(Instant::now());
        let bytes = client.receive_within(left).unwrap_or_else(|| panic!("frame {n} never came"));
        assert_eq!(number_of(&bytes, to, from), n, "the next frame, and no other");
        received.store(n + 1, Ordering::Release);
    }
}

/// Waits until fewer than [`AHEAD`] of `sent` frames are under way.
#[track_caller]
fn keep_near(sent: u64, received: &AtomicU64) {
    if sent - received.load(Ordering::Acquire) >= AHEAD {
        wait_for("the receiver to keep up", || {
            (sent - received.load(Ordering::Acquire) < AHEAD).then_some(())
        });
    }
}

/// A sends bulk to every port of `stopped`, which nobody reads, and between those `count` frames to
/// C, which must get all.
fn expect_undisturbed(sender: &Client, reader: &Client, stopped: &[Client], count: u64) {
    let received = AtomicU64::new(0);
    thread::scope(|scope| {
        scope.spawn(|| receive_all(reader, (reader.mac, sender.mac), count, &received));
        for n in 0..count {
            keep_near(n, &received);
            let unread = &stopped[n as usize % stopped.len()];
            sender.send(&numbered(unread.mac, sender.mac, n, 1514));
            sender.send(&numbered(reader.mac, sender.mac, n, 1000));
        }
    });
}

pub fn a_port_that_never_reads_costs_its_sender_nothing() {
    let (switch, pair, mut guests) = scene(3);
    let stopped = guests.split_off(2);
    expect_undisturbed(&guests[0], &guests[1], &stopped, 10_000);
    drop(stopped);
    pair.finish();
    let totals = switch.stop();
    totals.check_sums();
    assert!(totals.get("tx_queue_full") > 0, "the stopped one's frames");
}

pub fn a_port_that_never_reads_does_not_take_the_shared_data_socket_from_others() {
    let (switch, pair, mut guests) = scene_at(with_shared_data_socket(), 3);
    let stopped = guests.split_off(2);
    expect_undisturbed(&guests[0], &guests[1], &stopped, 5000);
    pair.finish();
    let totals = switch.stop();
    totals.check_sums();
    assert!(totals.get("tx_queue_full") > 0, "the stopped one's frames");
}

pub fn twenty_ports_that_never_read_cost_their_sender_nothing() {
    let (switch, pair, mut guests) = scene(22);
    let stopped = guests.split_off(2);
    expect_undisturbed(&guests[0], &guests[1], &stopped, 15_000);
    pair.finish();
    let totals = switch.stop();
    totals.check_sums();
    assert_eq!(totals.get("queued"), 20 * QUEUE, "each has its own queue");
}

pub fn a_flood_reaches_who_reads_past_twenty_who_do_not() {
    const FRAMES: u64 = 3000;
    let (switch, pair, guests) = scene(22);
    let (sender, reader) = (&guests[0], &guests[1]);
    let received = AtomicU64::new(0);
    thread::scope(|scope| {
        scope.spawn(|| receive_all(reader, (BROADCAST, sender.mac), FRAMES, &received));
        for n in 0..FRAMES {
            keep_near(n, &received);
            sender.send(&numbered(BROADCAST, sender.mac, n, 600));
        }
    });
    // A reply finds its way as well.
    reader.reach(sender);
    pair.finish();
    switch.stop().check_sums();
}

pub fn a_port_that_wakes_finds_what_its_queue_held_in_order() {
    let length = queue_length();
    const FRAMES: u64 = 3000;
    let (switch, pair, guests) = scene(3);
    let (sender, sleeper, other) = (&guests[0], &guests[1], &guests[2]);
    for n in 0..FRAMES {
        sender.send(&numbered(sleeper.mac, sender.mac, n, 60));
    }
    // All of them have been through the switch when the next one arrives elsewhere.
    sender.reach(other);
    let mut found = VecDeque::new();
    while let Some(bytes) = sleeper.receive_within(crate::support::SILENCE) {
        found.push_back(number_of(&bytes, sleeper.mac, sender.mac));
    }
    // First what the kernel held, then what the queue held: the youngest.
    let queued = found.split_off(found.len().saturating_sub(QUEUE as usize));
    assert!(queued.into_iter().eq(FRAMES - QUEUE..FRAMES), "the last {QUEUE} frames");
    let in_kernel = found.len() as u64;
    assert!((1..=u64::from(length) + 1).contains(&in_kernel), "{in_kernel} in the kernel");
    assert!(found.into_iter().eq(0..in_kernel), "the first {in_kernel} frames");
    // And it is a port like any other again.
    for _ in 0..100 {
        sender.reach(sleeper);
        sleeper.reach(other);
    }
    pair.finish();
    let totals = switch.stop();
    totals.check_sums();
    assert_eq!(totals.get("tx_queue_full"), FRAMES - QUEUE - in_kernel);
}

pub fn a_port_that_wakes_late_gets_nothing_that_is_long_past() {
    let length = queue_length();
    let (switch, pair, guests) = scene(3);
    let (sender, sleeper, other) = (&guests[0], &guests[1], &guests[2]);
    let send = |numbers: std::ops::Range<u64>| {
        for n in numbers {
            sender.send(&numbered(sleeper.mac, sender.mac, n, 1514));
        }
        sender.reach(other);
    };
    send(0..100);
    // Its age is what this is about, so there is no way but to wait.
    thread::sleep(MAX_AGE + Duration::from_millis(100));
    send(100..200);
    let mut found = Vec::new();
    while let Some(bytes) = sleeper.receive_within(crate::support::SILENCE) {
        found.push(number_of(&bytes, sleeper.mac, sender.mac));
    }
    // What the kernel held is out of our hands.
    let in_kernel = found.iter().take_while(|&&n| n < 100).count() as u64;
    assert!((1..=u64::from(length) + 1).contains(&in_kernel), "{in_kernel} in the kernel");
    assert!(found.into_iter().eq((0..in_kernel).chain(100..200)));
    pair.finish();
    let totals = switch.stop();
    totals.check_sums();
    assert_eq!(totals.get("tx_stale"), 100 - in_kernel);
}

pub fn a_crawling_reader_costs_the_fast_one_beside_it_nothing() {
    const FRAMES: u64 = 10_000;
    let (switch, pair, guests) = scene(3);
    let (sender, fast, crawling) = (&guests[0], &guests[1], &guests[2]);
    let received = AtomicU64::new(0);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut last = None;
            while !done.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(4));
                let bytes = crawling.receive();
                let n = number_of(&bytes, crawling.mac, sender.mac);
                assert!(last < Some(n), "in order");
                last = Some(n);
            }
        });
        scope.spawn(|| {
            receive_all(fast, (fast.mac, sender.mac), FRAMES, &received);
            done.store(true, Ordering::Relaxed);
        });
        for n in 0..FRAMES {
            keep_near(n, &received);
            sender.send(&numbered(crawling.mac, sender.mac, n, 1514));
            sender.send(&numbered(fast.mac, sender.mac, n, 1514));
        }
    });
    pair.finish();
    switch.stop().check_sums();
}

pub fn a_sender_that_waits_loses_nothing_to_a_reader_at_its_own_pace() {
    const FRAMES: u64 = 20_000;
    let (switch, pair, guests) = scene(2);
    let (sender, reader) = (&guests[0], &guests[1]);
    let (received, slowest) = thread::scope(|scope| {
        let reading = scope.spawn(|| read_to_the_last(reader, sender.mac, FRAMES));
        for n in 0..FRAMES {
            sender.send(&numbered(reader.mac, sender.mac, n, 1514));
        }
        // However full the queue is, what comes last is not what it drops.
        reading.join().unwrap()
    });
    pair.finish();
    let totals = switch.stop();
    totals.check_sums();
    let lost = FRAMES - received;
    println!("{lost} frames lost, the reader's longest pause was {slowest:?}");
    assert_eq!(totals.get("tx_queue_full"), lost, "nothing is lost in any other way");
    // A busy machine may not run the reader for longer than the switch waits for anybody; what
    // is lost then is lost by rule.
    assert!(lost == 0 || slowest >= GIVEN_UP_AFTER, "{lost} frames lost without a reason");
}

/// Receives what comes from `from`, in order, until frame `count - 1`. Returns how many frames came
/// and the longest time between two of them.
fn read_to_the_last(client: &Client, from: Mac, count: u64) -> (u64, Duration) {
    let (mut received, mut next) = (0, 0);
    let mut slowest = Duration::ZERO;
    let mut before = Instant::now();
    while next < count {
        let n = number_of(&client.receive(), client.mac, from);
        assert!(n >= next, "{n} after {next}");
        next = n + 1;
        received += 1;
        slowest = slowest.max(before.elapsed());
        before = Instant::now();
    }
    (received, slowest)
}

pub fn a_small_flow_loses_nothing_beside_bulk_to_the_same_reader() {
    const FRAMES: u64 = 300;
    let (switch, pair, guests) = scene(3);
    let (bulk, small, reader) = (&guests[0], &guests[1], &guests[2]);
    let received = AtomicU64::new(0);
    let done = AtomicBool::new(false);
    let deadline = Instant::now() + PATIENCE;
    thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0.. {
                if done.load(Ordering::Relaxed) || Instant::now() > deadline {
                    break;
                }
                bulk.send(&numbered(reader.mac, bulk.mac, n, 1514));
            }
        });
        scope.spawn(|| {
            let mut last = None;
            while received.load(Ordering::Relaxed) < FRAMES {
                assert!(Instant::now() < deadline, "the small flow is starved");
                let bytes = reader.receive();
                if bytes[6..12] == small.mac {
                    let n = number_of(&bytes, reader.mac, small.mac);
                    assert_eq!(n, received.fetch_add(1, Ordering::Release), "none is lost");
                } else {
                    let n = number_of(&bytes, reader.mac, bulk.mac);
                    assert!(last < Some(n), "in order");
                    last = Some(n);
                }
                // Slow, but steady.
                thread::sleep(Duration::from_micros(100));
            }
            done.store(true, Ordering::Relaxed);
        });
        for n in 0..FRAMES {
            // Three frames at most under way, of whatever size.
            wait_for("the small flow", || (n - received.load(Ordering::Acquire) < 3).then_some(()));
            small.send(&numbered(reader.mac, small.mac, n, 100));
        }
    });
    pair.finish();
    switch.stop().check_sums();
}

pub fn a_full_queue_drops_of_many_tiny_frames_not_of_few_long_ones() {
    const FEW: u64 = 40;
    let (switch, pair, guests) = scene(4);
    let [flooder, good, sleeper, other] = [&guests[0], &guests[1], &guests[2], &guests[3]];
    let tiny = frame(sleeper.mac, flooder.mac, 14);
    let flood = || {
        (0..2000).for_each(|_| flooder.send(&tiny));
        flooder.reach(other);
    };
    flood();
    for n in 0..FEW {
        good.send(&numbered(sleeper.mac, good.mac, n, 1514));
    }
    good.reach(other);
    flood();
    let mut next = 0;
    while let Some(bytes) = sleeper.receive_within(crate::support::SILENCE) {
        if bytes.len() > 14 {
            assert_eq!(number_of(&bytes, sleeper.mac, good.mac), next);
            next += 1;
        }
    }
    assert_eq!(next, FEW, "all of the few");
    pair.finish();
    switch.stop().check_sums();
}
