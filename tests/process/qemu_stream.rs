//! QEMU's `-netdev stream`: a stream of frames, each behind its length.

use std::io::Write;

use crate::support::{
    BROADCAST, Client, GoodPair, Guest, Noise, QemuClient, frame, mac, on_stream, with_connections,
};

#[test]
fn frames_in_pieces_and_many_at_once_are_the_same_frames() {
    let switch = with_connections("");
    let guest = QemuClient::new(&switch);
    let other = Client::new(&switch, mac(2));
    let frames: Vec<_> = (1..=200).map(|n| frame(BROADCAST, mac(n), 13 + n as usize * 7)).collect();
    let stream: Vec<u8> = frames.iter().flat_map(|frame| on_stream(frame)).collect();
    for piece in [1, 3, 5, 17, 1000, 4096, stream.len()] {
        // Single bytes are many system calls: the first frames will do.
        let (count, stream) = match piece {
            1..=5 => (10, frames[..10].iter().flat_map(|frame| on_stream(frame)).collect()),
            _ => (frames.len(), stream.clone()),
        };
        std::thread::scope(|scope| {
            scope.spawn(|| stream.chunks(piece).for_each(|bytes| guest.write(bytes)));
            for frame in &frames[..count] {
                assert!(other.receive() == *frame, "in pieces of {piece}");
            }
        });
    }
    other.expect_silence();
    let totals = switch.stop();
    totals.check_sums();
    assert_eq!(totals.get("rx_bad_length"), 0);
}

#[test]
fn a_length_that_cannot_be_closes_that_connection_after_what_came_before() {
    let switch = with_connections("");
    let pair = GoodPair::start_amid(&switch, Noise::Floods);
    let other = Client::new(&switch, mac(2));
    let lengths = [0, 9019, 65_536, u32::MAX, u32::from_be_bytes(*b"GET ")];
    for length in lengths {
        let guest = QemuClient::new(&switch);
        let good = frame(BROADCAST, mac(1), 9018);
        let rest = [7; 100];
        guest.write(&[on_stream(&good).as_slice(), &length.to_be_bytes(), &rest].concat());
        assert!(other.receive() == good);
        guest.expect_end();
        let said = switch.wait_for_log(&format!("len={length} longest=9018"));
        assert!(said.contains("WARN closed for a frame of a length"), "{said}");
    }
    pair.finish();
    let totals = switch.stop();
    totals.check_sums();
    assert_eq!(totals.get("rx_bad_length"), lengths.len() as u64);
}

#[test]
fn half_a_frame_and_silence_is_nobody_elses_trouble() {
    let switch = with_connections("");
    let pair = GoodPair::start_amid(&switch, Noise::Floods);
    let whole = on_stream(&frame(BROADCAST, mac(1), 200));
    let halves: Vec<_> = [1, 2, 3, 4, 5, 203]
        .map(|len| {
            let guest = QemuClient::new(&switch);
            guest.write(&whole[..len]);
            (guest, len)
        })
        .into();
    pair.goes_on();
    pair.expect_rest(&switch);
    let other = Client::new(&switch, mac(2));
    for (guest, len) in &halves {
        guest.write(&whole[*len..]);
        assert_eq!(on_stream(&other.receive()), whole, "after {len} bytes");
    }
    let last = &halves[0].0;
    last.write(&whole[..100]);
    last.stream.shutdown(std::net::Shutdown::Both).unwrap();
    switch.wait_for_log("port closed");
    pair.finish();
    switch.stop().check_sums();
}

#[test]
fn runts_are_counted_and_the_stream_goes_on() {
    let switch = with_connections("");
    let guest = QemuClient::new(&switch);
    let other = Client::new(&switch, mac(2));
    for len in [1, 13] {
        guest.write(&on_stream(&vec![0xff; len]));
    }
    let good = frame(BROADCAST, mac(1), 14);
    guest.send(&good);
    assert_eq!(other.receive(), good);
    let totals = switch.stop();
    totals.check_sums();
    assert_eq!(totals.get("rx_runt"), 2);
}

#[test]
fn frames_that_find_room_in_part_arrive_whole() {
    let switch = with_connections("--mtu 65531");
    let guest = QemuClient::new(&switch);
    switch.wait_for_log("port opened");
    let other = Client::new(&switch, mac(2));
    // More than its socket takes at once; the switch knows its room only by trying.
    let frames: Vec<_> = (0..8).map(|n| frame(BROADCAST, mac(n), 65_000 + n as usize)).collect();
    for frame in &frames {
        other.send(frame);
    }
    for frame in &frames {
        assert!(guest.receive() == *frame);
    }
    guest.expect_silence();
    // The last one in part, and nothing behind it that would push it.
    other.send(&frames[0]);
    assert!(guest.receive() == frames[0]);
    (&guest.stream).flush().unwrap();
    let totals = switch.stop();
    totals.check_sums();
    assert_eq!(totals.get("tx_frames"), 9);
}
