//! What a client asks for on its control connection.
//!
//! Four layouts have been spoken since 2002. Integers are in host byte order, and `addr` is a
//! `sockaddr_un` of 110 bytes:
//!
//! | request | layout | bytes |
//! | --- | --- | --- |
//! | v0 | `u32 type=0; u8 mac[6]; addr` | 120 |
//! | v1 | `u32 magic; u32 type=0; u8 mac[6]; addr` | 124 |
//! | v2 | `u32 magic; u32 version=2; u32 type; addr` | refused |
//! | v3 | `u32 magic; u32 version=3; u32 type; addr` | 122 |
//!
//! Two things follow a v3 request. A User-Mode Linux kernel sends the two bytes of C padding that end
//! its record; libvdeplug sends up to 128 bytes of text that describe the client. Neither length is
//! announced, so the request is complete at 122 bytes, and what has come with it is looked at for a
//! description. A stream has no packets: where a read ends says nothing of where a request ends.
//!
//! The low byte of a v3 `type` is what is asked for: 0 a port. By 1 `uml_dump` of Netkit, at the C
//! program's socket, means a copy of all frames, and libvdeplug, in a VDE directory, port number 0.

use super::address::{ClientAddr, SOCKADDR_LEN};

/// The longest request with the longest description: libvdeplug's `MAXDESCR` is 128.
pub const MAX_REQUEST: usize = V3_LEN + MAX_DESCRIPTION;

/// Which layout a request had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// User-Mode Linux 2.4 of old. Gets no reply: it knows the data socket by its path.
    V0,
    /// Later 2.4 kernels.
    V1,
    /// Every kernel since, libvdeplug, Click and Bochs.
    V3,
}

/// Whose clients come to a socket: the same request does not mean the same to all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Those of the C program.
    UmlSwitch,
    /// Those of `vde_switch`.
    Vde,
}

impl Dialect {
    /// What a port that was asked for is called.
    pub fn kind(self) -> &'static str {
        match self {
            Dialect::UmlSwitch => "daemon",
            Dialect::Vde => "vde",
        }
    }
}

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A port.
    Port,
    /// A copy of every frame, and no port.
    Copies,
}

/// A whole request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What it is for.
    pub wanted: Wanted,
    /// The layout it came in.
    pub version: Version,
    /// The port number that the client wishes to have.
    pub wish: Option<u32>,
    /// Where the client receives frames.
    pub client: ClientAddr,
    /// What the client says of itself, without control characters; empty if nothing.
    pub description: String,
}

/// Why a request cannot be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A layout that gets no reply, where clients cannot know where to send frames.
    #[error("version 0 of the protocol needs -compat-v0")]
    NeedsCompatV0,
    /// Layout 2, or one that does not exist.
    #[error("protocol version {0} is not spoken")]
    Version(u32),
    /// Neither the magic number nor a v0 request.
    #[error("{0:#010x} does not start a request")]
    Magic(u32),
    /// Anything but a request for a port or for copies.
    #[error("request type {0} is not served")]
    Type(u32),
    /// Only root and the switch's own user may see others' frames.
    #[error("captures are for root and the switch's own user")]
    NotForYou,
    /// There is one, or there will be when its interface is back.
    #[error("port 0 is the uplink's")]
    Uplink,
    /// The client's address is no address of a unix socket.
    #[error("the client's address is not a unix socket's")]
    Address,
}

/// What is known of a request so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It can still become a request.
    Incomplete,
    /// It is one.
    Complete(Request),
    /// It will never be one.
    Refused(Refusal),
}

/// Reads a request from the bytes that have come so far, from the first one on.
pub fn parse(bytes: &[u8], dialect: Dialect) -> Progress {
    match parse_whole(bytes, dialect) {
        None => Progress::Incomplete,
        Some(Ok(request)) => Progress::Complete(request),
        Some(Err(refusal)) => Progress::Refused(refusal),
    }
}

/// `None` while bytes are missing.
fn parse_whole(bytes: &[u8], dialect: Dialect) -> Option<Result<Request, Refusal>> {
    match u32_at(bytes, 0)? {
        MAGIC => match u32_at(bytes, 4)? {
            REQ_NEW_CONTROL => old_request(Version::V1, bytes, V1_LEN),
            3 => v3_request(bytes, dialect),
            other => Some(Err(Refusal::Version(other))),
        },
        REQ_NEW_CONTROL => old_request(Version::V0, bytes, V0_LEN),
        other => Some(Err(Refusal::Magic(other))),
    }
}

/// v0 and v1: the address is what ends them, and no more is asked.
fn old_request(version: Version, bytes: &[u8], len: usize) -> Option<Result<Request, Refusal>> {
    let client = client_at(bytes.get(..len)?, len - SOCKADDR_LEN)?;
    Some(client.map(|client| Request {
        wanted: Wanted::Port,
        version,
        wish: None,
        client,
        description: String::new(),
    }))
}

fn v3_request(bytes: &[u8], dialect: Dialect) -> Option<Result<Request, Refusal>> {
    let kind = u32_at(bytes, 8)?;
    // The low byte says what is asked, the rest which port is wished for.
    let number = Some(kind >> 8).filter(|&number| number != 0);
    let (wanted, wish) = match (kind & 0xff, dialect) {
        (REQ_NEW_CONTROL, _) => (Wanted::Port, number),
        (REQ_NEW_DUMP, Dialect::UmlSwitch) => (Wanted::Copies, number),
        (REQ_NEW_PORT0, Dialect::Vde) => (Wanted::Port, Some(0)),
        _ => return Some(Err(Refusal::Type(kind))),
    };
    let client = client_at(bytes, V3_LEN - SOCKADDR_LEN)?;
    let description = description(&bytes[V3_LEN..]);
    Some(client.map(|client| Request { wanted, version: Version::V3, wish, client, description }))
}

fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(offset..offset + 4)?.try_into().ok()?))
}

fn client_at(bytes: &[u8], offset: usize) -> Option<Result<ClientAddr, Refusal>> {
    let sockaddr = bytes.get(offset..offset + SOCKADDR_LEN)?.try_into().ok()?;
    Some(ClientAddr::from_sockaddr(sockaddr).ok_or(Refusal::Address))
}

/// What follows a v3 request, as text for people: nothing if it is a kernel's padding.
fn description(bytes: &[u8]) -> String {
    if bytes.len() <= PADDING {
        return String::new();
    }
    let bytes = &bytes[..bytes.len().min(MAX_DESCRIPTION)];
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end])
        .chars()
        .map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c })
        .collect()
}

/// `SWITCH_MAGIC` of the kernel's `arch/um/drivers/daemon_user.c`.
const MAGIC: u32 = 0xfeed_face;

/// `REQ_NEW_CONTROL` of the same file: give me a port.
const REQ_NEW_CONTROL: u32 = 0;

/// `REQ_NEW_DUMP` of Netkit's `uml_switch`: give me a copy of everything.
const REQ_NEW_DUMP: u32 = 1;

/// `REQ_NEW_PORT0` of libvdeplug: give me port 0, which a `vde_switch` gives to nobody who does not ask.
const REQ_NEW_PORT0: u32 = 1;

const V0_LEN: usize = 4 + 6 + SOCKADDR_LEN;
const V1_LEN: usize = 8 + 6 + SOCKADDR_LEN;
const V3_LEN: usize = 12 + SOCKADDR_LEN;

/// C padding behind a v3 request from a kernel: `sizeof` is a multiple of four.
const PADDING: usize = 2;
const MAX_DESCRIPTION: usize = 128;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sockaddr(sun_path: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; SOCKADDR_LEN];
        bytes[..2].copy_from_slice(&1u16.to_ne_bytes());
        bytes[2..2 + sun_path.len()].copy_from_slice(sun_path);
        bytes
    }

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }

    fn v3(kind: u32) -> Vec<u8> {
        [words(&[MAGIC, 3, kind]), sockaddr(b"\0guest")].concat()
    }

    fn complete(bytes: &[u8]) -> Request {
        match parse(bytes, Dialect::UmlSwitch) {
            Progress::Complete(request) => request,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_layout_is_read_and_nothing_is_a_request_before_its_length() {
        let mac = [2, 0, 0, 0, 0, 1];
        let v0 = [words(&[0]), mac.to_vec(), sockaddr(b"/tmp/g")].concat();
        let v1 = [words(&[MAGIC, 0]), mac.to_vec(), sockaddr(b"/tmp/g")].concat();
        let rows = [(Version::V0, v0, 120), (Version::V1, v1, 124), (Version::V3, v3(0), 122)];
        for (version, bytes, len) in rows {
            assert_eq!(bytes.len(), len);
            for split in 0..len {
                assert_eq!(
                    parse(&bytes[..split], Dialect::UmlSwitch),
                    Progress::Incomplete,
                    "{version:?} at {split}"
                );
            }
            let request = complete(&bytes);
            assert_eq!((request.version, request.wish), (version, None));
            assert_eq!(request.description, "");
        }
    }

    #[test]
    fn padding_of_a_kernel_is_not_a_description() {
        let bytes = [v3(0), vec![b'x', b'y']].concat();
        assert_eq!(bytes.len(), 124);
        assert_eq!(complete(&bytes), complete(&v3(0)));
    }

    #[test]
    fn a_description_is_kept_as_clean_text() {
        let bytes = [v3(0), b"vde_plug: user=\x1b[31m guest\n".to_vec()].concat();
        assert_eq!(complete(&bytes).description, "vde_plug: user=\u{fffd}[31m guest\u{fffd}");
        let long = [v3(0), vec![b'a'; 500]].concat();
        assert_eq!(complete(&long).description.len(), MAX_DESCRIPTION);
    }

    #[test]
    fn a_wish_for_a_port_is_read_from_the_upper_bits() {
        assert_eq!(complete(&v3(7 << 8)).wish, Some(7));
        assert_eq!(complete(&v3(0)).wish, None);
    }

    #[test]
    fn copies_are_asked_for_by_type_1() {
        assert_eq!(complete(&v3(0)).wanted, Wanted::Port);
        assert_eq!(complete(&v3(7 << 8)).wanted, Wanted::Port);
        assert_eq!(complete(&v3(1)).wanted, Wanted::Copies);
    }

    #[test]
    fn a_vde_client_means_port_0_by_type_1() {
        let Progress::Complete(request) = parse(&v3(1), Dialect::Vde) else { panic!() };
        assert_eq!((request.wanted, request.wish), (Wanted::Port, Some(0)));
        let Progress::Complete(request) = parse(&v3(7 << 8), Dialect::Vde) else { panic!() };
        assert_eq!((request.wanted, request.wish), (Wanted::Port, Some(7)));
        assert_eq!(parse(&v3(2), Dialect::Vde), Progress::Refused(Refusal::Type(2)));
    }

    #[test]
    fn what_cannot_become_a_request_is_refused_at_the_first_byte_that_tells() {
        let refused = |bytes: &[u8]| match parse(bytes, Dialect::UmlSwitch) {
            Progress::Refused(refusal) => refusal,
            other => panic!("{other:?}"),
        };
        assert_eq!(refused(b"GET "), Refusal::Magic(u32::from_ne_bytes(*b"GET ")));
        assert_eq!(refused(&words(&[MAGIC, 2])), Refusal::Version(2));
        assert_eq!(refused(&words(&[MAGIC, 1])), Refusal::Version(1));
        assert_eq!(refused(&words(&[MAGIC, 99])), Refusal::Version(99));
        assert_eq!(refused(&words(&[MAGIC, 3, 2])), Refusal::Type(2));
        let mut bytes = v3(0);
        bytes[12] = 2;
        assert_eq!(refused(&bytes), Refusal::Address);
    }

    proptest! {
        #[test]
        fn more_bytes_never_change_what_was_settled(
            start in prop_oneof![Just(words(&[MAGIC, 3, 0])), Just(words(&[MAGIC, 0])),
                Just(words(&[0])), Just(vec![])],
            rest in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let bytes = [start, rest].concat();
            let mut settled: Option<Progress> = None;
            for len in 0..=bytes.len() {
                match (parse(&bytes[..len], Dialect::UmlSwitch), &settled) {
                    (Progress::Incomplete, before) => prop_assert!(before.is_none()),
                    (Progress::Complete(request), Some(Progress::Complete(before))) => {
                        prop_assert_eq!(&request.client, &before.client);
                        prop_assert_eq!(request.version, before.version);
                    }
                    (now, Some(before)) => prop_assert_eq!(&now, before),
                    (now, None) => settled = Some(now),
                }
            }
        }
    }
}
