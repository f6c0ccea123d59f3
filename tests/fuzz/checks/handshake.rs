//! What must hold for any bytes on a control connection, wherever they were cut in pieces.

use uml_switch::control::handshake::{Dialect, MAX_REQUEST, Progress, Request, parse};
use uml_switch::control::{ClientAddr, SOCKADDR_LEN};

/// Feeds `data` byte by byte, as a client may send it.
pub(crate) fn check(data: &[u8]) {
    for dialect in [Dialect::UmlSwitch, Dialect::Vde] {
        check_as(dialect, data);
    }
}

fn check_as(dialect: Dialect, data: &[u8]) {
    let mut settled: Option<Progress> = None;
    for len in 0..=data.len().min(MAX_REQUEST + SLACK) {
        let now = parse(&data[..len], dialect);
        match (&now, &settled) {
            (Progress::Incomplete, None) => {
                assert!(len < MAX_REQUEST, "incomplete at {len} bytes, which nobody would read");
                continue;
            }
            (Progress::Incomplete, Some(before)) => panic!("{before:?} was taken back at {len}"),
            (Progress::Refused(_), None) => {}
            (Progress::Complete(request), None) => {
                assert!(len >= SHORTEST, "{request:?} out of {len} bytes");
                check_request(dialect, request);
            }
            // Only the description, which has no announced length, may grow.
            (Progress::Complete(request), Some(Progress::Complete(before))) => {
                assert_eq!(
                    (request.version, request.wish, &request.client),
                    (before.version, before.wish, &before.client),
                    "at {len} bytes"
                );
                check_request(dialect, request);
                continue;
            }
            (now, Some(before)) => assert_eq!(now, before, "at {len} bytes"),
        }
        settled = settled.or(Some(now));
    }
}

fn check_request(dialect: Dialect, request: &Request) {
    let Request { wish, client, description, .. } = request;
    let lowest = if dialect == Dialect::Vde { 0 } else { 1 };
    assert!(wish.is_none_or(|number| (lowest..1 << 24).contains(&number)), "{wish:?}");
    assert!(description.chars().count() <= MAX_DESCRIPTION, "{description:?}");
    assert!(!description.chars().any(char::is_control), "{description:?}");
    assert!(!client.to_string().chars().any(char::is_control), "{client}");

    let address = client.to_socket_addr().expect("the handshake has checked its length");
    assert!(client.is(&address), "{client} is not known again as a sender");
    assert_eq!(ClientAddr::of_sender(&address).as_ref(), Some(client));
}

/// v0: a type, a station and an address.
const SHORTEST: usize = 4 + 6 + SOCKADDR_LEN;

const MAX_DESCRIPTION: usize = 128;

/// How far behind the longest request more bytes are still tried.
const SLACK: usize = 64;
