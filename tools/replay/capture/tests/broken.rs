//! Files that are no captures, or broken ones.

use super::*;

/// Two packets, a second apart, and where the second record begins.
fn two() -> (Vec<u8>, usize) {
    let mut pcap = Pcap::ethernet();
    pcap.packet(SECOND, &plain());
    let second = pcap.bytes.len();
    pcap.packet(2 * SECOND, &plain());
    (pcap.bytes, second)
}

fn two_ng() -> (Vec<u8>, usize) {
    let mut ng = Ng::new(Endianness::Little);
    ng.interface(1, &[]).packet(0, 1_000_000, &plain());
    let second = ng.bytes.len();
    ng.packet(0, 2_000_000, &plain());
    (ng.bytes, second)
}

#[test]
fn what_is_no_capture_is_said_to_be_none() {
    for bytes in [&b"#!/bin/sh\necho I am a script, not a capture\n"[..], b"\xd4\xc3", &[0; 4096]] {
        assert_eq!(refused(bytes, repairing()), "is neither a pcap nor a pcapng capture");
    }
    assert_eq!(refused(b"", Options::default()), "has no packets");
    let error = Capture::open("/no/such/file".as_ref(), Options::default()).unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("/no/such/file: cannot be opened: No such file"), "{text}");
    for special in ["/dev/zero", "/"] {
        let error = Capture::open(special.as_ref(), Options::default()).unwrap_err();
        assert!(error.to_string().contains("is no regular file"), "{error}");
    }
}

#[test]
fn a_capture_without_packets_is_refused() {
    for options in [Options::default(), repairing()] {
        assert_eq!(refused(&Pcap::ethernet().bytes, options.clone()), "has no packets");
        let mut ng = Ng::new(Endianness::Big);
        assert_eq!(refused(&ng.interface(1, &[]).bytes, options), "has no packets");
    }
    let mut useless = Pcap::ethernet();
    useless.packet(0, &[0; 5]);
    assert_eq!(
        refused(&useless.bytes, Options::default()),
        "has no packet that can be replayed: 1 frame was left out, shorter than an Ethernet header"
    );
}

#[test]
fn a_file_may_end_anywhere() {
    for (bytes, second) in [two(), two_ng()] {
        for end in second + 1..bytes.len() {
            let cut = &bytes[..end];
            let error = refused(cut, Options::default());
            assert_eq!(error, "record 2: the file ends inside it", "at {end}");
            let opened = open(cut, repairing());
            assert_eq!(opened.play().len(), 1);
            let note = "the file was taken to end early; record 2: the file ends inside it";
            assert_eq!(opened.capture.notes(), [note]);
        }
        for end in 4..24 {
            let error = refused(&bytes[..end], repairing());
            assert_eq!(error, "the file ends inside its header", "at {end}");
        }
    }
}

#[test]
fn an_absurd_length_is_not_believed() {
    let (mut bytes, second) = two();
    for length in [262_145_u32, u32::MAX] {
        bytes[second + 8..second + 12].copy_from_slice(&length.to_le_bytes());
        let error = refused(&bytes, Options::default());
        assert_eq!(error, format!("record 2: claims a length of {length} bytes"));
        assert_eq!(open(&bytes, repairing()).play().len(), 1);
    }
    let (mut bytes, second) = two_ng();
    bytes[second + 20..second + 24].copy_from_slice(&u32::MAX.to_le_bytes());
    let error = refused(&bytes, Options::default());
    assert_eq!(error, "record 2: claims a length of 4294967295 bytes");
    assert_eq!(open(&bytes, repairing()).play().len(), 1);
}

#[test]
fn blocks_that_contradict_themselves_are_refused() {
    let (bytes, second) = two_ng();
    let end = bytes.len();
    for (at, value, error) in [
        (second + 4, 0_u32, "its block is too short"),
        (second + 4, 8, "its block is too short"),
        (second + 4, 30, "the length of its block is no multiple of 4"),
        (second + 4, 28, "its block is too short"),
        (second + 4, 0xffff_fffc, "the file ends inside it"),
        (second + 20, 60, "its packet is longer than its block"),
        (end - 4, 12, "the two lengths of its block differ"),
    ] {
        let mut broken = bytes.clone();
        broken[at..at + 4].copy_from_slice(&value.to_le_bytes());
        assert_eq!(refused(&broken, Options::default()), format!("record 2: {error}"));
        assert_eq!(open(&broken, repairing()).play().len(), 1);
    }
    let mut unmarked = bytes;
    unmarked[8] = 0;
    assert_eq!(refused(&unmarked, repairing()), "the section's byte order is not marked");
}

#[test]
fn a_block_for_which_there_is_no_reader_may_not_claim_the_whole_file() {
    let mut ng = Ng::new(Endianness::Little);
    ng.interface(1, &[]).packet(0, 1, &plain());
    ng.bytes.extend([0x77_u32, 0xffff_fff0].iter().flat_map(|word| word.to_le_bytes()));
    assert_eq!(refused(&ng.bytes, Options::default()), "record 2: the file ends inside it");
    assert_eq!(open(&ng.bytes, repairing()).play().len(), 1);
}

#[test]
fn simple_packets_have_no_time() {
    let mut ng = Ng::new(Endianness::Little);
    ng.interface(1, &[]).packet(0, 1, &plain());
    ng.words(3, &[plain().len() as u32], &plain());
    for options in [Options::default(), repairing()] {
        let error = "record 2: is a simple packet block, which has no time";
        assert_eq!(refused(&ng.bytes, options), error);
    }
}

#[test]
fn a_time_that_goes_back_is_refused_or_counts_as_that_before() {
    let mut pcap = Pcap::ethernet();
    pcap.packet(10 * MS, &plain()).packet(7 * MS, &plain()).packet(12 * MS, &plain());
    let error = refused(&pcap.bytes, Options::default());
    assert_eq!(error, "record 2: its time is 3 ms before that of the record before");
    let opened = open(&pcap.bytes, repairing());
    let at: Vec<_> = opened.play().iter().map(|frame| frame.at.as_millis()).collect();
    assert_eq!(at, [0, 0, 2]);
    assert_eq!(opened.capture.notes(), ["1 step back in time counted as none"]);
}

#[test]
fn more_stations_than_a_switch_has_ports_are_refused() {
    let mut pcap = Pcap::ethernet();
    let mut frame = plain();
    frame[7] = 9;
    for number in 0..4097_u32 {
        frame[8..12].copy_from_slice(&number.to_be_bytes());
        pcap.packet(number.into(), &frame);
    }
    assert_eq!(refused(&pcap.bytes, Options::default()), "record 4097: more than 4096 stations");
}

#[test]
fn endless_descriptions_of_interfaces_are_refused() {
    let mut ng = Ng::new(Endianness::Little);
    for _ in 0..4097 {
        ng.interface(1, &[]);
    }
    let error = "record 1: one section describes more than 4096 interfaces";
    assert_eq!(refused(&ng.bytes, Options::default()), error);
}

#[test]
fn a_file_that_changes_meanwhile_is_noticed() {
    let (bytes, second) = two();
    let mut file = written(&bytes);
    let capture = Capture::open(file.path(), Options::default()).unwrap();
    let mut other = bytes;
    other[second + 16 + 11] = 99;
    std::io::Seek::rewind(&mut file).unwrap();
    file.write_all(&other).unwrap();
    let mut frames = capture.play().unwrap();
    assert!(frames.next().unwrap().is_some());
    let error = frames.next().unwrap_err().to_string();
    assert!(
        error.ends_with("record 2: the file has changed since it was looked through"),
        "{error}"
    );
}

/// Whatever is changed in a sound capture, there is an answer, and what is replayed is sound.
#[test]
fn any_changed_byte_is_survived() {
    for (bytes, _) in [two(), two_ng()] {
        for at in 0..bytes.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut changed = bytes.clone();
                changed[at] = value;
                let file = written(&changed);
                let Ok(capture) = Capture::open(file.path(), repairing()) else { continue };
                let mut frames = capture.play().unwrap();
                while let Some(frame) = frames.next().unwrap() {
                    assert!((14..=9018).contains(&frame.bytes.len()));
                    let mut tagged = frame.bytes.to_vec();
                    tag(&mut tagged, 7);
                    _ = frame.flow.to_string();
                }
            }
        }
    }
}
