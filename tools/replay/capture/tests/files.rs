//! Both formats, in all their forms.

use super::*;

#[test]
fn classic_pcap_is_read_in_both_byte_orders_and_resolutions() {
    for order in [Endianness::Big, Endianness::Little] {
        for nanos in [true, false] {
            let mut pcap = Pcap::new(order, nanos, 1);
            let start = 1_000_000_000 * SECOND + 999_999_000;
            pcap.packet(start, &plain()).packet(start + 1_234_000, &plain());
            let frames = open(&pcap.bytes, Options::default()).play();
            let at: Vec<_> = frames.iter().map(|frame| frame.at.as_nanos()).collect();
            assert_eq!(at, [0, 1_234_000]);
            assert!(frames.iter().all(|frame| frame.bytes == plain()));
        }
    }
}

#[test]
fn the_upper_half_of_a_link_type_says_other_things() {
    let mut pcap = Pcap::new(Endianness::Little, true, 0x4400_0001);
    pcap.packet(0, &plain());
    assert_eq!(open(&pcap.bytes, Options::default()).play()[0].bytes, plain());
}

#[test]
fn interfaces_of_pcapng_have_clocks_and_links_of_their_own() {
    for order in [Endianness::Big, Endianness::Little] {
        let mut ng = Ng::new(order);
        let nanos = ng.option(9, &[9]);
        let offset = match order {
            Endianness::Big => 100_i64.to_be_bytes(),
            Endianness::Little => 100_i64.to_le_bytes(),
        };
        let binary = [ng.option(9, &[0x80 | 10]), ng.option(14, &offset), ng.option(0, &[])];
        let picos = ng.option(9, &[12]);
        // Microseconds, nanoseconds of raw IP, 1024ths of a second from second 100 on, picoseconds.
        ng.interface(1, &[]).interface(101, &nanos);
        ng.interface(1, &binary.concat()).interface(1, &picos);
        ng.packet(0, 107_000_000, &plain());
        ng.packet(1, 107_000_001_500, &plain()[14..]);
        ng.packet(2, 7 * 1024 + 256, &plain());
        ng.packet(3, 107_500_000_000_000, &plain());
        let frames = open(&ng.bytes, Options::default()).play();
        let at: Vec<_> = frames.iter().map(|frame| frame.at.as_nanos()).collect();
        assert_eq!(at, [0, 1500, 250_000_000, 500_000_000]);
        assert_eq!(frames[1].bytes[..14], [0xfe, 0xfd, 10, 0, 0, 2, 0xfe, 0xfd, 10, 0, 0, 1, 8, 0]);
        assert_eq!(frames[1].bytes[14..], plain()[14..]);
        assert_eq!(frames[2].bytes, plain());
    }
}

#[test]
fn sections_may_differ_in_byte_order_and_forget_interfaces() {
    let mut ng = Ng::new(Endianness::Little);
    let nanos = ng.option(9, &[9]);
    ng.interface(1, &nanos).packet(0, SECOND, &plain());
    ng.section(Endianness::Big).interface(1, &[]).packet(0, 1_000_007, &plain());
    let frames = open(&ng.bytes, Options::default()).play();
    assert_eq!(frames[1].at, Duration::from_micros(7));

    ng.section(Endianness::Little).packet(0, 2 * SECOND, &plain());
    let error = refused(&ng.bytes, Options::default());
    assert_eq!(error, "record 3: belongs to interface 0, which the file does not describe");
}

#[test]
fn other_blocks_and_options_are_passed_over() {
    let mut ng = Ng::new(Endianness::Little);
    // A comment without an end mark, and an option that claims more than there is.
    let comment = ng.option(1, b"what\xff");
    ng.words(4, &[0], &[]).interface(1, &comment).interface(1, &[9, 0, 200, 0]);
    ng.words(0x0bad_cafe, &[1, 2, 3], b"custom");
    let options = [ng.option(1, b"a comment"), ng.option(2, &[0; 4])].concat();
    let frame = plain();
    let length = frame.len() as u32;
    let padded = frame.len().next_multiple_of(4);
    let data = [&frame[..], &vec![0; padded - frame.len()], &options].concat();
    ng.words(6, &[0, 0, 5, length, length], &data);
    // The packet block of old: interface and drops are halves of the first word.
    ng.words(2, &[0x0007_0001, 0, 9, length, length], &frame);
    ng.words(5, &[0, 0, 0], &[]);
    let frames = open(&ng.bytes, Options::default()).play();
    assert_eq!(frames.len(), 2);
    assert_eq!((frames[1].at, &frames[1].bytes), (Duration::from_micros(4), &frame));
}

#[test]
fn frames_that_were_cut_get_their_length_back() {
    let mut pcap = Pcap::ethernet();
    pcap.packet(0, &plain()).snapped(1, &plain()[..20], 47).snapped(2, &plain(), 0);
    let opened = open(&pcap.bytes, Options::default());
    let frames = opened.play();
    assert_eq!(frames[1].bytes, [&plain()[..20], &[0; 27]].concat());
    assert_eq!(frames[2].bytes, plain(), "an original length that is too small is none");
    let note = "1 frame was recorded in part and ends in zeroes";
    assert_eq!(opened.capture.notes(), [note]);
}

#[test]
fn what_a_switch_would_not_forward_is_left_out_and_said() {
    let mut pcap = Pcap::ethernet();
    let mut from_group = plain();
    from_group[6] |= 1;
    let mut to_itself = plain();
    to_itself.copy_within(6..12, 0);
    let mut longest = plain();
    longest.resize(9018, 0);
    let mut longer = plain();
    longer.resize(9019, 0);
    for frame in [&plain()[..], &from_group, &to_itself, &longest, &longer, &plain()[..13], &[]] {
        pcap.packet(0, frame);
    }
    // A segment that the recording host never sent as one frame; 4 GiB are not made of it.
    pcap.snapped(0, &plain(), 60_000).snapped(0, &plain(), u32::MAX);
    let opened = open(&pcap.bytes, Options::default());
    assert_eq!((opened.capture.frames(), opened.capture.skipped()), (2, 7));
    assert_eq!(opened.play().iter().map(|frame| frame.record).collect::<Vec<_>>(), [1, 4]);
    assert_eq!(
        opened.capture.notes(),
        [
            "3 frames were left out, longer than 9018 bytes",
            "2 frames were left out, shorter than an Ethernet header",
            "1 frame was left out, sent by a group address",
            "1 frame was left out, sent by a station to itself",
        ]
    );
}

#[test]
fn long_gaps_are_shortened_with_one_note() {
    let mut pcap = Pcap::ethernet();
    let day = 86_400 * SECOND;
    for time in [0, SECOND, 5 * SECOND, 2 * day + 3 * 3600 * SECOND, 4 * day] {
        pcap.packet(time, &plain());
    }
    let opened = open(&pcap.bytes, Options::default());
    assert_eq!(opened.capture.duration(), Duration::from_secs(4));
    let note = "3 gaps of more than 1 s were shortened, the longest of 2 days 2 h";
    assert_eq!(opened.capture.notes(), [note]);
    let options = Options { max_gap: Duration::from_millis(100), ..Options::default() };
    assert_eq!(open(&pcap.bytes, options).capture.duration(), Duration::from_millis(400));
    let options = Options { max_gap: Duration::from_secs(2 * 86_400), ..Options::default() };
    let note = "1 gap of 2 days 2 h was shortened to 2 days";
    assert_eq!(open(&pcap.bytes, options).capture.notes(), [note]);
    let options = Options { max_gap: Duration::MAX, ..Options::default() };
    let as_recorded = open(&pcap.bytes, options);
    assert_eq!(as_recorded.capture.duration(), Duration::from_secs(4 * 86_400));
    assert!(as_recorded.capture.notes().is_empty());
}
