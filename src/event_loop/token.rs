//! What an event is about, packed into the one word that the kernel carries for us.

use crate::control::PendingId;
use crate::core::PortId;

/// The subject of an event. One for a port that has gone names a generation that nobody has any
/// more, so it cannot reach the port that took its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// The entrance at this place, where clients connect.
    Entrance(usize),
    /// The signals that end the process.
    Signals,
    /// The terminal that the process was started from.
    Terminal,
    /// The data socket that all ports share.
    NamedData,
    /// A control connection whose request is not complete.
    Pending(PendingId),
    /// A port's frames.
    Data(PortId),
    /// A port's control connection.
    Control(PortId),
    /// What other threads ask of the loop.
    Requests,
}

impl Subject {
    /// Eight bits of kind; then either 56 bits of an id, or 32 bits of generation and 24 of number.
    pub(super) fn token(self) -> mio::Token {
        let port = |id: PortId| {
            (u64::from(id.generation()) << NUMBER_BITS) | (u64::from(id.number()) & NUMBER_MASK)
        };
        let (kind, rest) = match self {
            Subject::Entrance(at) => (0, at as u64),
            Subject::Signals => (1, 0),
            Subject::Terminal => (2, 0),
            Subject::NamedData => (3, 0),
            Subject::Pending(id) => (4, id.0),
            Subject::Data(id) => (5, port(id)),
            Subject::Control(id) => (6, port(id)),
            Subject::Requests => (7, 0),
        };
        mio::Token(((kind << REST_BITS) | (rest & REST_MASK)) as usize)
    }

    /// The reverse of [`Subject::token`]; `None` for a token that it never made.
    pub(super) fn of(token: mio::Token) -> Option<Self> {
        let bits = token.0 as u64;
        let rest = bits & REST_MASK;
        let port = PortId::from_parts((rest & NUMBER_MASK) as u32, (rest >> NUMBER_BITS) as u32);
        Some(match bits >> REST_BITS {
            0 => Subject::Entrance(rest as usize),
            1 => Subject::Signals,
            2 => Subject::Terminal,
            3 => Subject::NamedData,
            4 => Subject::Pending(PendingId(rest)),
            5 => Subject::Data(port),
            6 => Subject::Control(port),
            7 => Subject::Requests,
            _ => return None,
        })
    }
}

const REST_BITS: u32 = 56;
const REST_MASK: u64 = (1 << REST_BITS) - 1;
const NUMBER_BITS: u32 = 24;
const NUMBER_MASK: u64 = (1 << NUMBER_BITS) - 1;

const _: () = assert!(usize::BITS == 64, "a token must hold a port's number and generation");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_subject_survives_its_token() {
        let port = PortId::from_parts(65_535, u32::MAX);
        for subject in [
            Subject::Entrance(3),
            Subject::Signals,
            Subject::Terminal,
            Subject::NamedData,
            Subject::Pending(PendingId(1 << 50)),
            Subject::Data(port),
            Subject::Control(PortId::from_parts(0, 7)),
            Subject::Requests,
        ] {
            assert_eq!(Subject::of(subject.token()), Some(subject));
        }
        assert_eq!(Subject::of(mio::Token(usize::MAX)), None);
    }
}
