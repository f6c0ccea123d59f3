//! What became of each flow. Memory is bounded: flows of few frames are summed when there are many.

use foldhash::{HashMap, HashMapExt};

use crate::capture::FlowKey;
use crate::report::model::Tally;

use super::count::Count;

/// Counts by flow.
#[derive(Debug)]
pub struct Flows {
    flows: HashMap<FlowKey, Count>,
    others: Count,
    /// How many flows went into `others`; one that went there twice counts twice.
    summed: u64,
}

impl Flows {
    pub fn new() -> Self {
        Flows { flows: HashMap::new(), others: Count::new(), summed: 0 }
    }

    /// For a frame that is due: the flow's own, made if there is none.
    pub fn of_due(&mut self, flow: FlowKey) -> &mut Count {
        if self.flows.len() >= MOST_KEPT && !self.flows.contains_key(&flow) {
            self.sum_up_the_smaller_half();
        }
        self.flows.entry(flow).or_insert_with(Count::new)
    }

    /// For what becomes of such a frame: the flow's own, or the sum of those that were summed.
    pub fn of(&mut self, flow: FlowKey) -> &mut Count {
        self.flows.get_mut(&flow).unwrap_or(&mut self.others)
    }

    /// Those with most frames first, then all others.
    pub fn report(&self) -> Vec<Tally> {
        let mut flows: Vec<_> = self.flows.iter().collect();
        flows.sort_by_cached_key(|(flow, count)| (std::cmp::Reverse(count.due), flow.to_string()));
        let rest = flows.split_off(flows.len().min(MOST_SHOWN));
        let mut others = Count::new();
        others.add(&self.others);
        for (_, count) in &rest {
            others.add(count);
        }
        let mut report: Vec<_> =
            flows.iter().map(|(flow, count)| count.tally(flow.to_string())).collect();
        if others.due > 0 {
            report.push(others.tally(format!("{} others", rest.len() as u64 + self.summed)));
        }
        report
    }

    fn sum_up_the_smaller_half(&mut self) {
        let mut sizes: Vec<u64> = self.flows.values().map(|count| count.due).collect();
        sizes.sort_unstable();
        let mut left = sizes.len() / 2;
        let middle = sizes[left];
        self.flows.retain(|_, count| {
            let stays = left == 0 || count.due > middle;
            if !stays {
                left -= 1;
                self.others.add(count);
                self.summed += 1;
            }
            stays
        });
    }
}

/// Each takes some 15 KiB.
const MOST_KEPT: usize = 256;

/// More rows help nobody.
const MOST_SHOWN: usize = 64;
