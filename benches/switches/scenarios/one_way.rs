//! One guest sends to another as fast as it is let: what goes through, what is lost, what it costs.

use anyhow::Result;

use super::overload::{self, Flow, Limit, NOTHING};
use crate::competitor::{BY_TRANSPORT, USUAL};
use crate::measure::Goal;
use crate::place::Placement;
use crate::scenario::{BOTH, Bed, Options, Run, Samples, Scenario};

/// Small and full frames, with all on one processor and with the switch on one of its own.
pub fn scenarios() -> Vec<Scenario> {
    let one_way = |name: &str, (placement, columns), run: Run, metrics| Scenario {
        name: name.to_owned(),
        columns,
        queue_lengths: BOTH,
        placement,
        options: Options::NONE,
        metrics,
        run,
    };
    let small =
        overload::metrics(Some(Goal::RatioAtLeast(2.1)), NOTHING, Some(Goal::RatioAtMost(0.47)));
    let full = overload::metrics(Some(Goal::RatioAtLeast(2.0)), NOTHING, None);
    let no_goal = || overload::metrics(None, None, None);
    let (one, two) = ((Placement::One, BY_TRANSPORT), (Placement::Two, USUAL));
    vec![
        one_way("overload, 64 bytes, one CPU", one, |bed| load(bed, 64), small),
        one_way("overload, 1514 bytes, one CPU", one, |bed| load(bed, 1514), full),
        one_way("overload, 64 bytes, two CPUs", two, |bed| load(bed, 64), no_goal()),
        one_way("overload, 1514 bytes, two CPUs", two, |bed| load(bed, 1514), no_goal()),
    ]
}

fn load(bed: &Bed<'_>, len: usize) -> Result<Samples> {
    let guests = bed.guests(2)?;
    let flow = Flow::new(&guests[0], &guests[1], len);
    let load = overload::run(bed, &[flow], 1, Limit::time(bed.seconds(1.0)))?;
    Ok(load.samples())
}
