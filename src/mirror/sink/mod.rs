//! Where the records of a capture go: files, a stream of pcapng, lines for people.

#[cfg(test)]
mod examples;
mod files;
mod lines;
mod pcap;
mod pcapng;
mod ring;
mod stream;

use std::io;

use pcap_file::PcapError;

use super::{PortTotals, Record};

pub use files::{Files, Format, open_file};
pub use lines::Lines;
pub use pcap::Pcap;
pub use pcapng::PcapNg;
pub use ring::{FileLimit, InvalidRing, Ring};
pub use stream::{Progress, Stream};

/// Takes the records of one capture, in their order.
pub trait Sink {
    /// Takes one record. A frame's port was given as a [`Record::Port`] before it.
    ///
    /// # Errors
    /// The capture cannot be written; nothing more should be given to this sink.
    fn record(&mut self, record: Record<'_>) -> io::Result<()>;

    /// Hands on all that was taken so far: to be called whenever there is nothing more for now, so
    /// that who watches sees it.
    ///
    /// # Errors
    /// As for [`Sink::record`].
    fn flush(&mut self) -> io::Result<()>;

    /// Writes what belongs at the end, such as the ports' `totals`, and flushes. Last call.
    ///
    /// # Errors
    /// As for [`Sink::record`].
    fn finish(&mut self, totals: &[PortTotals]) -> io::Result<()>;
}

/// Bytes of a buffer that makes the sinks' small writes into few large ones.
pub const BUFFER: usize = 64 << 10;

fn into_io(error: PcapError) -> io::Error {
    match error {
        PcapError::IoError(error) => error,
        other => io::Error::new(io::ErrorKind::InvalidData, other),
    }
}
