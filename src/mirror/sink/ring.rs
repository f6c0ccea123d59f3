//! How many files a capture is spread over, and how full each gets.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A ring of files: the newest are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ring {
    /// How many files are kept; at least 1.
    pub files: usize,
    /// When the next one begins.
    pub limit: FileLimit,
}

/// How full a file of a ring gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileLimit {
    /// At most so many bytes, unless its only frame is larger.
    Bytes(u64),
    /// Frames of such a time, by their timestamps.
    Time(Duration),
}

/// Why a text is no [`Ring`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRing {
    /// Neither of the two forms.
    #[error("want FILES,MB or FILES,SECONDSs, such as 10,100 or 24,3600s")]
    Form,
    /// A number out of its bounds.
    #[error("the number of {what} must be from 1 to {most}")]
    Bounds {
        /// What the number counts.
        what: &'static str,
        /// The largest possible.
        most: u64,
    },
}

impl FromStr for Ring {
    type Err = InvalidRing;

    /// `FILES,MB`, millions of bytes as for tcpdump, or `FILES,SECONDSs`.
    fn from_str(text: &str) -> Result<Self, InvalidRing> {
        let (files, limit) = text.split_once(',').ok_or(InvalidRing::Form)?;
        let files = number(files, "files", MAX_FILES)? as usize;
        let limit = match limit.strip_suffix('s') {
            Some(seconds) => {
                FileLimit::Time(Duration::from_secs(number(seconds, "seconds", MAX_SECONDS)?))
            }
            None => FileLimit::Bytes(number(limit, "megabytes", MAX_MEGABYTES)? * MEGABYTE),
        };
        Ok(Ring { files, limit })
    }
}

impl fmt::Display for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.limit {
            FileLimit::Bytes(bytes) => write!(f, "{},{}", self.files, bytes / MEGABYTE),
            FileLimit::Time(time) => write!(f, "{},{}s", self.files, time.as_secs()),
        }
    }
}

fn number(text: &str, what: &'static str, most: u64) -> Result<u64, InvalidRing> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(InvalidRing::Form);
    }
    let number = text.parse().ok().filter(|number| (1..=most).contains(number));
    number.ok_or(InvalidRing::Bounds { what, most })
}

/// tcpdump's and dumpcap's bound, too.
const MAX_FILES: u64 = 100_000;

/// A year.
const MAX_SECONDS: u64 = 31_536_000;

/// A terabyte.
const MAX_MEGABYTES: u64 = 1_000_000;

/// As in tcpdump's `-C`.
const MEGABYTE: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_is_files_and_megabytes_or_seconds() {
        let ten_of = |limit| Ok(Ring { files: 10, limit });
        assert_eq!("10,25".parse(), ten_of(FileLimit::Bytes(25_000_000)));
        assert_eq!("10,60s".parse(), ten_of(FileLimit::Time(Duration::from_secs(60))));
        for text in ["10,25", "1,1", "3,60s"] {
            assert_eq!(text.parse::<Ring>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_ring_is_refused() {
        for text in
            ["", "10", ",", "10,", "10,s", "10,5m", "+1,1", "1,-1", "1,2,3", " 1,1", "1,1 s"]
        {
            assert_eq!(text.parse::<Ring>(), Err(InvalidRing::Form), "{text}");
        }
        for text in ["0,1", "1,0", "1,0s", "100001,1", "1,1000001", "1,99999999999999999999999"] {
            let refused = text.parse::<Ring>();
            assert!(matches!(refused, Err(InvalidRing::Bounds { .. })), "{text}: {refused:?}");
        }
    }
}
