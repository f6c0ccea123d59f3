//! The model's targets for what a capture holds.
//!
//! The tolerances are those of the model for 32 clients and 10 seconds or more; a smaller sample gets
//! wider ones, by the square root of what it lacks.
//!
//! A capture of a few seconds still fails for one seed in some hundreds: the tolerances are about three
//! standard errors, and there are many of them.

use super::measure::{Client, Measured, Sample};
use super::table::{Cell, Row, Target};
use crate::laws::Moments;
use crate::model::{BULK_WINDOW, Model, SECOND};

/// All rows of the report but those of each client.
pub fn rows(measured: &Measured, model: &Model) -> Vec<Row> {
    let sections = [client_to_server, server_to_client, bursts, everything];
    sections.iter().flat_map(|section| section(measured, model)).collect()
}

fn client_to_server(measured: &Measured, model: &Model) -> Vec<Row> {
    let intervals = |alive| -> Sample {
        let clients = measured.clients.iter().enumerate();
        let chosen = clients.filter(|(slot, _)| model.is_alive(*slot) == alive);
        chosen.flat_map(|(_, client)| client.up.intervals()).collect()
    };
    let sizes: Sample = measured.clients.iter().flat_map(|client| client.up.sizes()).collect();
    let per_slot = |of: &dyn Fn(usize) -> f64| mean((0..model.clients).map(of));
    let rate = per_slot(&|slot| 1000.0 / model.client_intervals(slot).location);
    let widen = widening(model, rate / 24.0);
    let mean_size = per_slot(&|slot| model.client_sizes(slot).moments().mean);
    let all_intervals = arrival_gaps(measured);
    let load = rate * model.clients as f64;

    let mut rows = vec![
        Row::heading("clients to server"),
        // Model: 23.8 to 24.2.
        Row::new(
            "packets/s of a client",
            mean(measured.clients.iter().map(|client| client.up.rate())),
            Target::Near(rate, rate * 0.01 * widen),
        ),
    ];
    for (who, alive, some) in [("alive", true, 0), ("dead", false, model.alive())] {
        if model.clients == 0 || (0..model.clients).all(|slot| model.is_alive(slot) != alive) {
            continue;
        }
        let (law, sample) = (model.client_intervals(some), intervals(alive));
        for (share, within) in [(0.05, 1.0), (0.5, 0.05), (0.95, 1.0)] {
            rows.push(Row::new(
                format!("interval, {who}, p{:02.0}, ms", share * 100.0),
                sample.quantile(share),
                Target::Near(law.quantile(share), within * widen),
            ));
        }
    }
    rows.extend([
        Row::new("size, mean, bytes", sizes.mean(), Target::Near(mean_size, 0.5 * widen)),
        Row::new("size, largest, bytes", sizes.quantile(1.0), Target::Below(66.0)),
        // Superposed clients come as if at random: the median is ln 2 of the mean.
        Row::new("gap of all, p50, ms", all_intervals.quantile(0.5), Target::None),
        Row::new("gap if at random, p50, ms", 1000.0 * std::f64::consts::LN_2 / load, Target::None),
    ]);
    rows
}

fn server_to_client(measured: &Measured, model: &Model) -> Vec<Row> {
    let rate = update_rate(model);
    let widen = widening(model, rate / 20.0);
    let sizes: Sample = measured.clients.iter().flat_map(|client| client.down.sizes()).collect();
    let intervals: Sample =
        measured.clients.iter().flat_map(|client| client.down.intervals()).collect();
    let Moments { mean: mean_size, sd, median } = model.s2c.moments();
    let frame = model.frame_length() as f64 / 1e6;
    let update = model.update_frames as f64 * frame;
    let choked = choked_share(model);
    let choked_within = 5.0 * (choked * (1.0 - choked) / intervals.len()).sqrt() + 0.001;
    // Model: mean 140.8 and standard deviation 46, each within 2.
    let within = sd * 2.0 / 46.0 * widen;
    vec![
        Row::heading("server to clients"),
        Row::new(
            "packets/s of a client",
            1000.0 / intervals.mean(),
            Target::Near(rate, rate * 0.01 * widen + 4.0 * rate_error(model, intervals.len())),
        ),
        Row::new("interval, p50, ms", intervals.quantile(0.5), usual_interval(model, update)),
        Row::new("interval, p99, ms", intervals.quantile(0.99), Target::None),
        Row::new(
            "choked, % of packets",
            100.0 * intervals.share(|interval| interval > update + frame / 2.0),
            Target::Near(100.0 * choked, 100.0 * choked_within),
        ),
        Row::new("size, mean, bytes", sizes.mean(), Target::Near(mean_size, within)),
        Row::new("size, deviation, bytes", sizes.sd(), Target::Near(sd, within)),
        Row::new("size, p50, bytes", sizes.quantile(0.5), Target::Near(median, within.max(1.0))),
        Row::new("size, p99, bytes", sizes.quantile(0.99), Target::None),
    ]
}

fn bursts(measured: &Measured, model: &Model) -> Vec<Row> {
    let bursts = measured.bursts(model);
    let sizes: Sample = bursts.iter().map(|(_, size)| *size as f64).collect();
    let spacing: Sample = measured
        .server_times
        .windows(2)
        .map(|pair| (pair[1] - pair[0]) as f64 / 1e3)
        .filter(|gap| *gap < model.frame_length() as f64 / 2e3)
        .collect();
    let frame = model.frame_length() as f64;
    let off_grid: Sample = bursts
        .windows(2)
        .map(|pair| {
            let frames = (pair[1].0 - pair[0].0) as f64 / frame;
            100.0 * (frames - frames.round()).abs()
        })
        .collect();
    let clients = model.clients as f64;
    // Clients in as many groups as there are frames from one update to the next.
    let groups = model.update_frames as f64;
    let group = clients / groups;
    let a_frame = clients * update_rate(model) / f64::from(model.fps);
    let together = model.in_phase || model.update_frames == 1;
    let (usual, largest) = if together {
        let usual = if choked_share(model) > 0.0 {
            Target::None
        } else {
            Target::Near(clients, 0.02 * clients)
        };
        (usual, Target::Near(clients, 0.0))
    } else {
        // One group may be empty by chance; where clients are few, more than one.
        let usual = if a_frame < 5.0 {
            Target::None
        } else {
            Target::Between(0.95 * a_frame, 1.02 * a_frame * groups / (groups - 1.0))
        };
        (usual, Target::Between(a_frame.ceil(), (group + 5.0 * group.sqrt()).min(clients)))
    };
    let mut rows = vec![
        Row::heading("bursts of the server"),
        Row::new("packets, mean", sizes.mean(), usual),
        Row::new("packets, most", sizes.quantile(1.0), largest),
        Row::new("off the frame grid, % of frame", off_grid.quantile(1.0), Target::Below(4.0)),
    ];
    if spacing.len() > 0.0 {
        rows.push(Row::new("spacing, p50, us", spacing.quantile(0.5), Target::Near(15.0, 1.0)));
    }
    rows
}

fn everything(measured: &Measured, model: &Model) -> Vec<Row> {
    let seconds = model.length as f64 / SECOND as f64;
    // Full frames, and an acknowledgement for every second of them.
    let window = if model.bulk > 0.0 { f64::from(BULK_WINDOW) * 1.5 } else { 0.0 };
    let bulk = model.bulk * seconds / 8.0 / 1514.0 * 1.5;
    vec![
        Row::heading("everything"),
        Row::new(
            "length, s",
            measured.length as f64 / SECOND as f64,
            Target::Between(seconds - 0.2, seconds),
        ),
        Row::new("frames/s", measured.frames as f64 / seconds, Target::None),
        Row::new("kbit/s", measured.bytes as f64 * 8.0 / 1000.0 / seconds, Target::None),
        Row::new("frames of bulk", measured.bulk as f64, Target::Near(bulk, window)),
        Row::new("queries and heartbeats", measured.connectionless as f64, Target::None),
        Row::new("ARP frames", measured.arp as f64, Target::Between(2.0, f64::INFINITY)),
        Row::new("frames of no known kind", measured.other as f64, Target::Near(0.0, 0.0)),
    ]
}

/// One client's line in the report: numbers with whether they are as they should be.
pub fn client_cells(slot: usize, client: &Client, model: &Model) -> Vec<Cell> {
    let up_sizes = model.client_sizes(slot).moments();
    let intervals: Sample = client.up.intervals().collect();
    let location = model.client_intervals(slot).location;
    let (up, down) = (&client.up, &client.down);
    let (rate, gaps) = (update_rate(model), down.intervals().count() as f64);
    vec![
        Cell::new(up.rate(), Target::Near(1000.0 / location, 100.0 / location)),
        Cell::new(intervals.quantile(0.5), Target::Near(location, 1.0)),
        Cell::new(up.sizes().collect::<Sample>().mean(), mean_within(up_sizes, up.sizes.len())),
        Cell::new(down.rate(), Target::Near(rate, rate * 0.1 + 5.0 * rate_error(model, gaps))),
        Cell::new(
            down.sizes().collect::<Sample>().mean(),
            mean_within(model.s2c.moments(), down.sizes.len()),
        ),
    ]
}

/// A mean of `number` draws: within five standard errors.
fn mean_within(law: Moments, number: usize) -> Target {
    Target::Near(law.mean, 5.0 * law.sd / (number as f64).sqrt())
}

/// By how much the model's tolerances are to be widened for a capture of this size, where each client
/// sends or gets `rate` times as many packets as the model has it.
fn widening(model: &Model, rate: f64) -> f64 {
    let enough = 32.0 * 10.0;
    let sample = model.clients as f64 * model.length as f64 / SECOND as f64 * rate;
    (enough / sample).sqrt().max(1.0)
}

/// The gaps, in milliseconds, between packets of whatever clients.
fn arrival_gaps(measured: &Measured) -> Sample {
    let mut times: Vec<u64> =
        measured.clients.iter().flat_map(|client| client.up.times.iter().copied()).collect();
    times.sort_unstable();
    times.windows(2).map(|pair| (pair[1] - pair[0]) as f64 / 1e6).collect()
}

/// Packets a second that a client gets, with choke.
fn update_rate(model: &Model) -> f64 {
    SECOND as f64 / (frames_to_next(model).0 * model.frame_length() as f64)
}

/// The standard error of the rate that is measured from so many intervals: that of choke.
fn rate_error(model: &Model, intervals: f64) -> f64 {
    let (mean, sd) = frames_to_next(model);
    update_rate(model) * sd / mean / intervals.sqrt()
}

/// Server frames from one packet for a client to the next: mean and standard deviation.
fn frames_to_next(model: &Model) -> (f64, f64) {
    let expect = |of: &dyn Fn(f64) -> f64| -> f64 {
        let sizes = model.s2c.probabilities();
        sizes.map(|(size, p)| p * of(model.frames_after(size) as f64)).sum()
    };
    let mean = expect(&|frames| frames);
    (mean, expect(&|frames| (frames - mean) * (frames - mean)).sqrt())
}

/// How many packets, of 1, make the next one wait.
fn choked_share(model: &Model) -> f64 {
    let choking = |size: u16| model.frames_after(size) > model.update_frames;
    model.s2c.probabilities().filter(|(size, _)| choking(*size)).fold(0.0, |sum, (_, p)| sum + p)
}

/// Where most packets are not choked, the median interval is that of the updates.
fn usual_interval(model: &Model, update: f64) -> Target {
    if choked_share(model) < 0.3 { Target::Near(update, 0.5) } else { Target::None }
}

fn mean(numbers: impl Iterator<Item = f64>) -> f64 {
    numbers.collect::<Sample>().mean()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tests::model;

    #[test]
    fn the_default_model_has_the_published_targets() {
        let model = model();
        assert!((update_rate(&model) - 20.0).abs() < 0.02, "{}", update_rate(&model));
        assert!(choked_share(&model) < 0.002);
        let slow = Model { update_frames: 6, ..model };
        assert!((update_rate(&slow) - 16.67).abs() < 0.02);
    }

    #[test]
    fn a_slow_line_gets_fewer_packets() {
        let model = Model { rate: 2500.0, ..model() };
        // 169 bytes on average, which take 68 ms.
        assert!((12.0..16.0).contains(&update_rate(&model)), "{}", update_rate(&model));
        assert!(choked_share(&model) > 0.8);
    }

    #[test]
    fn tolerances_grow_as_samples_shrink() {
        assert_eq!(widening(&model(), 1.0), 1.0);
        assert_eq!(widening(&Model { length: 60 * SECOND, ..model() }, 1.0), 1.0);
        assert_eq!(widening(&Model { clients: 8, ..model() }, 1.0), 2.0);
        assert_eq!(widening(&Model { clients: 8, ..model() }, 4.0), 1.0);
    }

    #[test]
    fn medians_are_those_of_the_fit() {
        assert!((crate::model::alive_intervals(None).quantile(0.5) - 41.70).abs() < 0.01);
    }
}
