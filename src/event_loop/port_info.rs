//! What people are told of a port.

use std::fmt::{self, Write};
use std::sync::Arc;

use super::links::Links;
use crate::core::{PortCounters, PortId, UPLINK_NUMBER};
use crate::mirror::PortNames;

/// An open port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortInfo {
    /// 0 is the uplink.
    pub number: u32,
    /// What people call it, such as `uplink tap0` or `port 3 daemon uid 1001`. No key: two may be alike.
    pub name: String,
    /// The kind of port.
    pub kind: &'static str,
    /// The user who asked for it; what the switch attaches by itself has none.
    pub owner: Option<u32>,
    /// What the client said of itself, without control characters.
    pub description: Option<String>,
    /// What it has counted.
    pub counters: PortCounters,
}

/// An open port as the loop can tell it at once.
#[derive(Debug)]
pub(super) struct OpenPort {
    pub(super) id: PortId,
    pub(super) kind: &'static str,
    pub(super) party: Party,
    pub(super) counters: PortCounters,
}

/// Who is behind a port.
#[derive(Clone, Debug)]
pub(super) enum Party {
    /// A client of this user, and what it says of itself.
    Client { uid: u32, description: Option<Arc<str>> },
    /// An interface of the host.
    Interface(String),
    /// Where a cable leads.
    Cable(String),
}

impl Party {
    /// The user who asked for the port, if a client did.
    pub(super) fn uid(&self) -> Option<u32> {
        match self {
            Party::Client { uid, .. } => Some(*uid),
            Party::Interface(_) | Party::Cable(_) => None,
        }
    }
}

/// The name that a port is shown with.
#[derive(Debug)]
pub(super) struct PortName<'a> {
    number: u32,
    kind: &'static str,
    party: Option<&'a Party>,
}

impl From<OpenPort> for PortInfo {
    fn from(port: OpenPort) -> Self {
        let OpenPort { id, kind, party, counters } = port;
        let number = id.number();
        let name = PortName { number, kind, party: Some(&party) }.to_string();
        let (owner, description) = match party {
            Party::Client { uid, description } => {
                (Some(uid), description.map(|text| text.to_string()))
            }
            Party::Interface(_) | Party::Cable(_) => (None, None),
        };
        PortInfo { number, name, kind, owner, description, counters }
    }
}

impl fmt::Display for PortName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PortName { number, kind, party } = self;
        match party {
            Some(Party::Interface(interface)) => write!(f, "uplink {interface}"),
            Some(Party::Cable(end)) => write!(f, "port {number} cable {end}"),
            Some(Party::Client { uid, description }) => {
                write!(f, "port {number} {kind} uid {uid}")?;
                description.as_ref().map_or(Ok(()), |text| write!(f, " ({text})"))
            }
            None if *number == UPLINK_NUMBER => f.write_str("uplink"),
            None => write!(f, "port {number}"),
        }
    }
}

impl PortNames for Links {
    fn write_name(&self, port: PortId, name: &mut String) {
        let number = port.number();
        let (kind, party) = self.look_up(port).unzip();
        // Writing to a string does not fail.
        let _ = write!(name, "{}", PortName { number, kind: kind.unwrap_or_default(), party });
    }
}
