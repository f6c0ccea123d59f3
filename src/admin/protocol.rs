//! What is said on the admin socket.
//!
//! A client connects, writes one request, which is one line of JSON, and reads one reply, which is
//! one line of JSON too. Then the switch closes the connection, unless the request asks for a
//! capture: that follows its reply.
//!
//! | request | reply |
//! | --- | --- |
//! | `{"request":"ports"}` | `{"ok":{"ports":[…]}}`, each a [`Port`] |
//! | `{"request":"capture","spec":{…}}` with a [`CaptureSpec`] | `{"ok":{}}`, and then a stream of pcapng |
//! | the same with `"file":"pcapng"` or `"file":"pcap"` | `{"ok":{}}`, and then it wants a file |
//! | anything that cannot be done | `{"error":"why"}` |
//!
//! The stream of a capture ends when the capture does: when its `count` is reached, when the client
//! shuts down its side for writing, or with the switch. Statistics of each port come last; a stream
//! without them was cut off.
//!
//! A capture into a file is written by the switch itself, which spares all frames the way through the
//! socket and the client. Once the switch has agreed, the client sends one byte and with it, as
//! `SCM_RIGHTS` of `unix(7)`, the descriptor of a regular file that it has opened for writing. The reply
//! is `{"ok":{}}` if the file has begun, and in the end one line more: `{"ok":{…}}` with a [`Written`].
//! It ends as a stream does, and the file is complete also if the client has gone without a word.
//!
//! A field that the switch does not know makes a request an error, so that nobody believes to have
//! been understood. Clients should take no notice of what they do not know in a reply.

use serde::{Deserialize, Serialize};

use crate::core::PortCounters;
use crate::mirror::CaptureSpec;
use crate::mirror::sink::Format;

/// Bytes of the longest request: a filter has up to 4096 instructions of some 30 characters each.
pub const MAX_REQUEST: usize = 1 << 20;

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "lowercase", deny_unknown_fields)]
pub enum Request {
    /// The ports that are open.
    Ports {},
    /// A capture.
    Capture {
        /// Of what.
        #[serde(default)]
        spec: CaptureSpec,
        /// Not for the socket, but for a file that the client hands over.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        file: Option<Format>,
    },
}

/// What the switch answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reply<T> {
    /// It is done.
    Ok(T),
    /// It is not, and why.
    Error(String),
}

/// The reply to [`Request::Capture`], before the capture itself, and to the file for one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {}

/// What is said in the end of a capture into a file: sums of all ports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Written {
    /// Frames that the capture had; after an error not all of them are in the file.
    pub captured: u64,
    /// Frames that the filter did not accept.
    pub filtered: u64,
    /// Frames for which the capture's buffer had no room.
    pub dropped: u64,
    /// Why the file could not be written to the end.
    pub error: Option<String>,
}

/// The reply to [`Request::Ports`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ports {
    /// By number.
    pub ports: Vec<Port>,
}

/// A port that is open.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Port {
    /// Its number; 0 is the uplink.
    pub number: u32,
    /// What people call it.
    pub name: String,
    /// Its kind, such as `daemon` or `tap`.
    pub kind: String,
    /// The user who asked for it; none for the uplink.
    pub owner: Option<u32>,
    /// What its client says of itself; empty if nothing.
    pub description: String,
    /// What it has counted since it was opened.
    pub counters: PortCounters,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Request, String> {
        serde_json::from_str(line).map_err(|error| error.to_string())
    }

    #[test]
    fn requests_are_read_as_they_are_documented() {
        assert_eq!(read(r#"{"request":"ports"}"#), Ok(Request::Ports {}));
        let everything = Request::Capture { spec: CaptureSpec::default(), file: None };
        assert_eq!(read(r#"{"request":"capture"}"#), Ok(everything.clone()));
        assert_eq!(read(r#"{"request":"capture","spec":{}}"#), Ok(everything));
        let Ok(Request::Capture { spec, file }) = read(
            r#"{"request":"capture","file":"pcap","spec":{"ports":[0,3],"direction":"in","snaplen":96,
                "count":5,"filter":[[6,0,0,65535]],"buffer":1048576}}"#,
        ) else {
            panic!("a whole specification")
        };
        assert_eq!((spec.ports, spec.snaplen, spec.count), (vec![0, 3], 96, Some(5)));
        assert_eq!(file, Some(Format::Pcap));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for line in [
            "",
            "{}",
            "[]",
            "7",
            r#""ports""#,
            r#"{"request":"port"}"#,
            r#"{"request":"ports","of":3}"#,
            r#"{"request":"capture","spec":{"port":3}}"#,
            r#"{"request":"capture","filter":"tcp"}"#,
            r#"{"request":"capture","file":"/etc/passwd"}"#,
            r#"{"request":"capture","spec":{"ports":[-1]}}"#,
            r#"{"request":"capture","spec":{"filter":"tcp"}}"#,
            r#"{"request":"ports"} {"request":"ports"}"#,
        ] {
            assert!(read(line).is_err(), "{line}");
        }
    }

    #[test]
    fn replies_are_as_documented() {
        let line = |reply| serde_json::to_string(&reply).unwrap();
        assert_eq!(line(Reply::Ok(Begun {})), r#"{"ok":{}}"#);
        assert_eq!(line(Reply::Error("why".into())), r#"{"error":"why"}"#);
        let written = Written { captured: 3, ..Written::default() };
        let written = serde_json::to_string(&Reply::Ok(written)).unwrap();
        assert_eq!(written, r#"{"ok":{"captured":3,"filtered":0,"dropped":0,"error":null}}"#);
        let port =
            r#"{"ok":{"ports":[{"number":3,"later":1,"counters":{"rx_frames":2,"later":1}}]}}"#;
        let Reply::Ok(Ports { ports }) = serde_json::from_str(port).unwrap() else {
            panic!("ports")
        };
        assert_eq!((ports[0].number, ports[0].counters.rx_frames), (3, 2));
    }
}
