//! Frames to be filtered: of the captures at hand, and made by hand for what those have not.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use pcap_file::DataLink;
use pcap_file::pcap::PcapReader;
use rand_pcg::Pcg32;
use rand_pcg::rand_core::Rng;

/// A frame and where it is from.
#[derive(Debug)]
pub struct Frame {
    pub origin: String,
    pub bytes: Vec<u8>,
}

/// The frames of all captures, and those made by hand: whole, cut at every length, and damaged.
pub fn all() -> Vec<Frame> {
    let mut frames: Vec<Frame> = captures().iter().flat_map(|path| of_capture(path)).collect();
    for (name, bytes) in by_hand() {
        for length in 14..=bytes.len() {
            let origin = format!("{name}, {length} of {} bytes", bytes.len());
            frames.push(Frame { origin, bytes: bytes[..length].to_vec() });
        }
        for seed in 0..DAMAGED {
            let bytes = damaged(&bytes, seed);
            frames.push(Frame { origin: format!("{name}, damaged by {seed}"), bytes });
        }
    }
    frames
}

/// Every `.pcap` of `captures/` and of the directory that the environment names.
fn captures() -> Vec<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("captures");
    let more = std::env::var_os(MORE_CAPTURES).map(PathBuf::from);
    let mut files: Vec<_> = [Some(own), more]
        .into_iter()
        .flatten()
        .flat_map(|dir| {
            fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()))
        })
        .map(|entry| entry.expect("the directory can be listed").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "pcap"))
        .collect();
    files.sort();
    files
}

/// The frames of a capture that it holds whole, as the switch always has them.
fn of_capture(path: &Path) -> Vec<Frame> {
    let name = path.display();
    let file = File::open(path).unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut reader = PcapReader::new(file).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(reader.header().datalink, DataLink::ETHERNET, "{name}");
    let mut frames = Vec::new();
    while let Some(packet) = reader.next_packet() {
        let packet = packet.unwrap_or_else(|error| panic!("{name}: {error}"));
        if packet.data.len() == packet.orig_len as usize {
            let origin = format!("{name}, frame {}", frames.len() + 1);
            frames.push(Frame { origin, bytes: packet.data.into_owned() });
        }
    }
    frames
}

/// `bytes` with up to four of them changed at random.
fn damaged(bytes: &[u8], seed: u64) -> Vec<u8> {
    let mut random = Pcg32::new(seed, 0);
    let mut bytes = bytes.to_vec();
    for _ in 0..=random.next_u32() % 4 {
        let at = random.next_u32() as usize % bytes.len();
        bytes[at] = random.next_u32() as u8;
    }
    bytes
}

/// Frames of the kinds that filters tell apart, by name.
fn by_hand() -> Vec<(&'static str, Vec<u8>)> {
    let query = udp(5353, 53, b"query and some more");
    let game = udp(27005, 27015, b"\xff\xff\xff\xffinfo");
    let syn = tcp(40000, 80, SYN, b"");
    let data = tcp(80, 40000, ACK | PSH, b"HTTP/1.1 200 OK");
    let mut with_options = ipv4(UDP, 0, &game);
    with_options[0] = 0x46;
    with_options.splice(20..20, [1, 1, 1, 0]);
    let in_vlan = [&[0x20, 5, 8, 0][..], &ipv4(UDP, 0, &game)].concat();
    let in_pppoe = [&[0x11, 0, 0, 7, 0, 40, 0, 0x21][..], &ipv4(TCP, 0, &syn)].concat();
    let in_mpls = [&[0, 0x06, 0x41, 64][..], &ipv4(UDP, 0, &game)].concat();
    let arp = [&[0, 1, 8, 0, 6, 4, 0, 1][..], &GUEST, &GUEST_IP, &[0; 6], &HOST_IP].concat();
    let rarp = [&[0, 1, 8, 0, 6, 4, 0, 3][..], &GUEST, &[0; 4], &GUEST, &[0; 4]].concat();
    let hop_by_hop = [&[UDP, 0, 5, 2, 0, 0, 1, 0][..], &game].concat();
    let fragment = [&[UDP, 0, 0, 1, 1, 2, 3, 4][..], &game].concat();
    let ah = [&[TCP, 4, 0, 0][..], &[9; 20], &syn].concat();
    vec![
        ("arp", ethernet(BROADCAST, 0x0806, &arp)),
        ("rarp", ethernet(BROADCAST, 0x8035, &rarp)),
        ("udp 53", ethernet(HOST, 0x0800, &ipv4(UDP, 0, &query))),
        ("udp 27015", ethernet(HOST, 0x0800, &ipv4(UDP, 0, &game))),
        ("udp with options", ethernet(HOST, 0x0800, &with_options)),
        ("udp, first fragment", ethernet(HOST, 0x0800, &ipv4(UDP, 0x2000, &game))),
        ("udp, later fragment", ethernet(HOST, 0x0800, &ipv4(UDP, 0x00b9, &game))),
        ("tcp syn", ethernet(HOST, 0x0800, &ipv4(TCP, 0x4000, &syn))),
        ("tcp data", ethernet(HOST, 0x0800, &ipv4(TCP, 0x4000, &data))),
        ("tcp reset", ethernet(HOST, 0x0800, &ipv4(TCP, 0, &tcp(22, 1025, RST, b"")))),
        ("sctp", ethernet(HOST, 0x0800, &ipv4(132, 0, &game))),
        ("icmp echo", ethernet(HOST, 0x0800, &ipv4(ICMP, 0, &[8, 0, 1, 2, 0, 1, 0, 1]))),
        ("icmp unreachable", ethernet(HOST, 0x0800, &ipv4(ICMP, 0, &[3, 3, 1, 2, 0, 0, 0, 0]))),
        ("igmp", ethernet(MULTICAST, 0x0800, &ipv4(2, 0, &[0x16, 0, 9, 9, 224, 0, 0, 251]))),
        ("ah", ethernet(HOST, 0x0800, &ipv4(51, 0, &ah))),
        ("gre", ethernet(HOST, 0x0800, &ipv4(47, 0, &[0, 0, 8, 0, 1, 2, 3, 4]))),
        ("ip broadcast", ethernet(BROADCAST, 0x0800, &ipv4(UDP, 0, &query))),
        ("ip6 udp", ethernet(HOST, 0x86dd, &ipv6(UDP, &game))),
        ("ip6 tcp", ethernet(HOST, 0x86dd, &ipv6(TCP, &syn))),
        ("ip6 icmp", ethernet(MULTICAST6, 0x86dd, &ipv6(58, &[135, 0, 1, 2, 0, 0, 0, 0]))),
        ("ip6 hop by hop", ethernet(MULTICAST6, 0x86dd, &ipv6(0, &hop_by_hop))),
        ("ip6 fragment", ethernet(HOST, 0x86dd, &ipv6(44, &fragment))),
        ("vlan", ethernet(HOST, 0x8100, &in_vlan)),
        ("vlan in vlan", ethernet(HOST, 0x88a8, &[&[0, 100, 0x81, 0][..], &in_vlan].concat())),
        ("pppoe session", ethernet(HOST, 0x8864, &in_pppoe)),
        ("pppoe discovery", ethernet(BROADCAST, 0x8863, &[0x11, 9, 0, 0, 0, 4, 1, 1, 0, 0])),
        ("mpls", ethernet(HOST, 0x8847, &in_mpls)),
        ("mpls in mpls", ethernet(HOST, 0x8847, &[&[0, 0x03, 0xe8, 64][..], &in_mpls].concat())),
        ("spanning tree", ethernet(STP, 38, &[&[0x42, 0x42, 3][..], &[7; 35]].concat())),
        ("ipx over snap", ethernet(BROADCAST, 30, &[0xaa, 0xaa, 3, 0, 0, 0, 0x81, 0x37, 1, 2])),
        ("lldp", ethernet(STP, 0x88cc, &[2, 7, 4, 1, 2, 3, 4, 5, 6, 0, 0])),
        ("nothing in it", ethernet(HOST, 0, &[])),
    ]
}

fn ethernet(to: [u8; 6], kind: u16, payload: &[u8]) -> Vec<u8> {
    [&to[..], &GUEST, &kind.to_be_bytes(), payload].concat()
}

/// `fragment`: flags and offset. No checksum: filters do not look.
fn ipv4(protocol: u8, fragment: u16, payload: &[u8]) -> Vec<u8> {
    let length = (20 + payload.len()) as u16;
    let [length, fragment] = [length.to_be_bytes(), fragment.to_be_bytes()];
    let to = if protocol == 2 { [224, 0, 0, 251] } else { HOST_IP };
    [&[0x45, 0][..], &length, &[1, 2], &fragment, &[64, protocol, 0, 0], &GUEST_IP, &to, payload]
        .concat()
}

fn ipv6(next: u8, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u16).to_be_bytes();
    [&[0x60, 0, 0, 0][..], &length, &[next, 64], &address6(2), &address6(1), payload].concat()
}

/// 2001:db8::`last`.
fn address6(last: u8) -> [u8; 16] {
    [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]
}

fn udp(from: u16, to: u16, payload: &[u8]) -> Vec<u8> {
    let length = (8 + payload.len()) as u16;
    [&from.to_be_bytes()[..], &to.to_be_bytes(), &length.to_be_bytes(), &[0, 0], payload].concat()
}

fn tcp(from: u16, to: u16, flags: u8, payload: &[u8]) -> Vec<u8> {
    let ports = [from.to_be_bytes(), to.to_be_bytes()].concat();
    [&ports[..], &[0, 0, 0, 1, 0, 0, 0, 2, 0x50, flags, 16, 0, 0, 0, 0, 0], payload].concat()
}

const GUEST: [u8; 6] = [0xfe, 0xfd, 0xc0, 0, 2, 2];
const HOST: [u8; 6] = [2, 0, 0xc0, 0, 2, 1];
const BROADCAST: [u8; 6] = [0xff; 6];
const MULTICAST: [u8; 6] = [1, 0, 0x5e, 0, 0, 0xfb];
const MULTICAST6: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];
const STP: [u8; 6] = [1, 0x80, 0xc2, 0, 0, 0];
const GUEST_IP: [u8; 4] = [192, 0, 2, 2];
const HOST_IP: [u8; 4] = [192, 0, 2, 1];

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;

const SYN: u8 = 2;
const RST: u8 = 4;
const PSH: u8 = 8;
const ACK: u8 = 16;

/// Damaged copies of each frame made by hand.
const DAMAGED: u64 = 32;

/// Names a directory with more captures.
const MORE_CAPTURES: &str = "FILTER_CAPTURES";
