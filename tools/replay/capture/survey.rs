//! The first pass: who is in a capture, and what is to be said about it.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use super::Options;
use super::conversations::Conversations;
use super::error::{CaptureError, Problem};
use super::multiply::Copies;
use super::packet::{Layout, is_between_hosts, source};
use super::spoken::{counted, spoken};
use super::stations::{Census, StationId, Stations};
use super::stream::{Counts, Stream};
use super::timeline::Mended;

/// What was found in a file.
pub(super) struct Survey {
    pub(super) stations: Stations,
    /// The server's endpoint.
    pub(super) server: Option<SocketAddr>,
    pub(super) players: usize,
    pub(super) counts: Counts,
    pub(super) totals: Totals,
    /// Which addresses are behind which stations.
    behind: HashSet<(StationId, IpAddr)>,
    /// What lies between two packets of a player and the server.
    usual_gap: Duration,
    mended: Mended,
    /// Where a repaired file ends early, and why.
    damage: Option<String>,
}

impl Survey {
    pub(super) fn of(path: &Path, options: &Options) -> Result<Self, CaptureError> {
        let mut stream = Stream::open(path, options)?;
        let mut census = Census::default();
        let mut conversations = Conversations::default();
        let mut totals = Totals::default();
        while stream.advance()? {
            let at = stream.due();
            let frame = stream.frame();
            totals.count(frame.len(), at);
            let (from, layout) = (source(frame), Layout::of(frame));
            if layout.ip.is_some_and(|ip| is_between_hosts(frame, &ip))
                && let Some((from, to)) = layout.udp(frame)
            {
                conversations.count(from, to, at);
            }
            census.count(from, &layout).map_err(|problem| stream.error(problem))?;
        }
        let (stations, behind) = census.finish();
        let server = conversations.server();
        let survey = Survey {
            stations,
            server: server.map(|server| server.address),
            players: server.map_or(0, |server| server.players),
            counts: stream.counts(),
            totals,
            behind,
            usual_gap: conversations.usual_gap(server).unwrap_or(DEFAULT_GAP),
            mended: stream.mended(),
            damage: stream.damage().map(str::to_string),
        };
        if survey.totals.frames > 0 {
            return Ok(survey);
        }
        let problem = match survey.notes(options, &Copies::none()) {
            notes if notes.is_empty() => Problem::Empty,
            notes => Problem::NothingToReplay(notes.join("; ")),
        };
        Err(CaptureError { file: path.to_path_buf(), record: None, problem })
    }

    /// Adds the stations of copies.
    pub(super) fn copies(&mut self, multiply: u32) -> Result<Copies, Problem> {
        if multiply == 1 {
            return Ok(Copies::none());
        }
        let server = self.server.map(|server| server.ip());
        Copies::new(multiply, &mut self.stations, server, &self.behind, self.usual_gap)
    }

    /// What was changed or left out.
    pub(super) fn notes(&self, options: &Options, copies: &Copies) -> Vec<String> {
        let Counts { frames: _, snapped, long, short, unaddressed, from_group, to_itself } =
            self.counts;
        let Mended { gaps, longest, backwards } = self.mended;
        let limit = spoken(options.max_gap);
        let mut notes = match gaps {
            0 => vec![],
            1 => vec![format!("1 gap of {} was shortened to {limit}", spoken(longest))],
            _ => vec![format!(
                "{gaps} gaps of more than {limit} were shortened, the longest of {}",
                spoken(longest)
            )],
        };
        let mut note = |number: u64, one: &str, more: &str, rest: &str| {
            if number > 0 {
                notes.push(format!("{} {rest}", counted(number, one, more)));
            }
        };
        note(
            snapped,
            "frame was recorded in part and ends",
            "frames were recorded in part and end",
            "in zeroes",
        );
        let (one, more) = ("frame was", "frames were");
        let limit = format!("left out, longer than {} bytes", options.max_frame);
        note(long, one, more, &limit);
        note(short, one, more, "left out, shorter than an Ethernet header");
        note(unaddressed, one, more, "left out, neither Ethernet nor IP nor ARP");
        note(from_group, one, more, "left out, sent by a group address");
        note(to_itself, one, more, "left out, sent by a station to itself");
        note(backwards, "step", "steps", "back in time counted as none");
        if let Some(damage) = &self.damage {
            notes.push(format!("the file was taken to end early; {damage}"));
        }
        if copies.len() > 1 {
            notes.push(format!(
                "all but the server appears {} times, each {} after the other",
                copies.len(),
                spoken(copies.delay(1)),
            ));
        }
        notes
    }
}

/// What one pass replays.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Totals {
    pub(super) frames: u64,
    pub(super) bytes: u64,
    pub(super) duration: Duration,
}

impl Totals {
    pub(super) fn count(&mut self, bytes: usize, at: Duration) {
        self.frames += 1;
        self.bytes += bytes as u64;
        self.duration = at;
    }
}

/// Between packets of a conversation, where there is none of which it could be told.
const DEFAULT_GAP: Duration = Duration::from_millis(10);
