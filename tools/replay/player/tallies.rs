//! Everything that is counted about one switch.

use std::time::Duration;

use foldhash::{HashMap, HashMapExt};

use crate::capture::{Direction, FlowKey};
use crate::report::model::{DirectionReport, SwitchReport};

use super::bursts::Bursts;
use super::clock::Moment;
use super::count::{self, Count, Delays};
use super::event::{Due, Way};
use super::flows::Flows;
use super::over_time::OverTime;

/// What became of the frames to one switch.
#[derive(Debug)]
pub struct Tallies {
    total: Count,
    directions: [OneWay; DIRECTIONS.len()],
    sizes: [Count; SIZES.len()],
    flows: Flows,
    bursts: Bursts,
    lateness: Delays,
    unexpected: u64,
    newest: HashMap<(FlowKey, u32), u64>,
}

#[derive(Debug)]
struct OneWay {
    count: Count,
    over_time: OverTime,
}

/// What is to be known of a frame when it comes or does not.
#[derive(Clone, Copy, Debug)]
pub struct About {
    flow: FlowKey,
    direction: u8,
    size: u8,
    /// When it was due, in time played.
    at: Moment,
    burst: usize,
}

impl Tallies {
    /// For so many stations.
    pub fn new(stations: usize) -> Self {
        let direction = || OneWay { count: Count::new(), over_time: OverTime::new() };
        Tallies {
            total: Count::new(),
            directions: std::array::from_fn(|_| direction()),
            sizes: std::array::from_fn(|_| Count::new()),
            flows: Flows::new(),
            bursts: Bursts::new(stations),
            lateness: count::no_delays(),
            unexpected: 0,
            newest: HashMap::new(),
        }
    }

    /// A frame was due, `at` in time played, and is awaited in `awaited` places.
    pub fn due(&mut self, frame: &Due, at: Moment, awaited: u32) -> About {
        count::record(&mut self.lateness, frame.lateness);
        let size = SIZES.iter().position(|&(most, _)| frame.len <= most);
        let about = About {
            flow: frame.flow,
            direction: place(frame.way),
            size: size.unwrap_or(SIZES.len() - 1) as u8,
            at,
            burst: self.bursts.due(frame.from, frame.due, awaited),
        };
        self.flows.of_due(frame.flow);
        for _ in 0..awaited {
            self.each(&about, |count| count.due += 1);
            self.direction(&about).over_time.due(at);
        }
        about
    }

    /// The frame numbered `number` came to `station` at `now`, `delay` after it was due.
    pub fn received(
        &mut self,
        frame: &About,
        (number, station): (u64, u32),
        now: Moment,
        delay: Duration,
    ) {
        let late = self.comes_late(frame.flow, station, number);
        self.each(frame, |count| {
            count.received += 1;
            count.reordered += u64::from(late);
            count.add_delay(delay);
        });
        self.direction(frame).over_time.received(frame.at, delay);
        self.bursts.settle(frame.burst, Some(now));
    }

    /// It will not come.
    pub fn lost(&mut self, frame: &About) {
        self.each(frame, |count| count.lost += 1);
        self.direction(frame).over_time.lost(frame.at);
        self.bursts.settle(frame.burst, None);
    }

    /// It will not come, because the switch did not take it.
    pub fn refused(&mut self, frame: &About) {
        self.each(frame, |count| count.refused += 1);
        self.lost(frame);
    }

    /// It came once more.
    pub fn duplicated(&mut self, frame: &About) {
        self.each(frame, |count| count.duplicated += 1);
    }

    /// Something came that nobody had sent.
    pub fn unexpected(&mut self) {
        self.unexpected += 1;
    }

    /// Nothing more is sent in this turn.
    pub fn end_turn(&mut self) {
        self.bursts.end_all();
    }

    /// Frames that were due, and those lost.
    pub fn so_far(&self) -> (u64, u64) {
        (self.total.due, self.total.lost)
    }

    /// What became of each direction in which frames were due.
    pub fn directions(&self) -> impl Iterator<Item = (&'static str, &Count)> {
        let directions = DIRECTIONS.into_iter().zip(&self.directions);
        directions.map(|(name, way)| (name, &way.count)).filter(|(_, count)| count.due > 0)
    }

    /// All of it; `seconds` were played.
    pub fn report(&self, name: String, seconds: f64) -> SwitchReport {
        let directions = DIRECTIONS.iter().zip(&self.directions);
        let sizes = SIZES.iter().zip(&self.sizes);
        SwitchReport {
            name,
            seconds,
            total: self.total.tally("all frames"),
            directions: directions
                .filter(|(_, direction)| direction.count.due > 0)
                .map(|(name, direction)| DirectionReport {
                    tally: direction.count.tally(*name),
                    over_time: direction.over_time.report(),
                })
                .collect(),
            sizes: sizes
                .filter(|(_, count)| count.due > 0)
                .map(|((_, name), count)| count.tally(*name))
                .collect(),
            flows: self.flows.report(),
            bursts: self.bursts.report(),
            lateness: count::delay(&self.lateness),
            unexpected: self.unexpected,
        }
    }

    fn each(&mut self, frame: &About, mut act: impl FnMut(&mut Count)) {
        act(&mut self.total);
        act(&mut self.directions[usize::from(frame.direction)].count);
        act(&mut self.sizes[usize::from(frame.size)]);
        act(self.flows.of(frame.flow));
    }

    fn direction(&mut self, frame: &About) -> &mut OneWay {
        &mut self.directions[usize::from(frame.direction)]
    }

    /// Whether one of the same flow that was due later has come to this station before.
    fn comes_late(&mut self, flow: FlowKey, station: u32, number: u64) -> bool {
        if self.newest.len() >= MOST_ORDERS && !self.newest.contains_key(&(flow, station)) {
            self.newest.clear();
        }
        let newest = self.newest.entry((flow, station)).or_insert(number);
        let late = number < *newest;
        *newest = number.max(*newest);
        late
    }
}

fn place(way: Way) -> u8 {
    match way {
        Way::Recorded(Direction::ToServer) => 0,
        Way::Recorded(Direction::FromServer) => 1,
        Way::ThereAndBack => 2,
        Way::Recorded(Direction::Other) => 3,
    }
}

const DIRECTIONS: [&str; 4] =
    ["to the server", "from the server", "to the server and back", "others"];

/// The longest frame of each class of sizes, and its name. A game's updates are between 100 and 400
/// bytes, what its players send is below that.
const SIZES: [(usize, &str); 5] = [
    (99, "up to 99 bytes"),
    (399, "100 to 399 bytes"),
    (1199, "400 to 1199 bytes"),
    (1518, "1200 to 1518 bytes"),
    (usize::MAX, "more than 1518 bytes"),
];

/// Flows, by station, of which the newest arrival is known. When there are more all are forgotten,
/// and a frame that comes late just then is not noticed.
const MOST_ORDERS: usize = 16384;
