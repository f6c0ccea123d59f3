//! One guest sends broadcasts as fast as it is let, many others read them. The sender blocks; all is on
//! one processor. A copy is one frame to one receiver.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::overload::{self, Arrivals, NOTHING, QUIET};
use uml_switch::client::{BROADCAST, Client, frame};

use crate::competitor::USUAL;
use crate::measure::{Better, Goal, Unit};
use crate::place::Placement;
use crate::scenario::{BOTH, Bed, Options, Run, Samples, Scenario};

/// To a few and to a host full of guests.
pub fn scenarios() -> Vec<Scenario> {
    let flood = |name: &str, run: Run, delivered, lost, cpu| Scenario {
        name: name.to_owned(),
        columns: USUAL,
        queue_lengths: BOTH,
        placement: Placement::One,
        options: Options::NONE,
        metrics: vec![
            overload::metric("delivered", Unit::PerSecond, Better::Higher, delivered),
            overload::metric("lost", Unit::Percent, Better::Lower, lost),
            overload::metric(CPU, Unit::Microseconds, Better::Lower, cpu),
        ],
        run,
    };
    let delivered = Some(Goal::RatioAtLeast(1.8));
    let cpu = Some(Goal::RatioAtMost(0.64));
    vec![
        flood("flood to 4", |bed| run(bed, 4), None, None, None),
        flood("flood to 32", |bed| run(bed, 32), delivered, NOTHING, cpu),
    ]
}

fn run(bed: &Bed<'_>, receivers: u32) -> Result<Samples> {
    let guests = bed.guests(receivers + 1)?;
    let (sender, receivers) = (&guests[0], &guests[1..]);
    let before = bed.switch.cpu()?;
    let start = Instant::now();
    let sending = AtomicBool::new(true);
    let (sent, time, copies) = bed.on_clients_cpu(|| {
        thread::scope(|scope| {
            let reading = scope.spawn(|| read(receivers, &sending));
            let sent = send(sender, bed.seconds(1.0));
            let time = start.elapsed();
            sending.store(false, Ordering::Relaxed);
            let copies = overload::join(reading)?;
            Ok((sent?, time, copies))
        })
    })?;
    let accepted = sent * receivers.len() as u64;
    let samples = Samples::default()
        .with("delivered", copies.in_time as f64 / time.as_secs_f64())
        .with("lost", overload::lost(accepted, copies.arrived));
    Ok(match overload::cpu_per(bed.switch.cpu()? - before, copies.arrived) {
        Some(cpu) => samples.with(CPU, cpu),
        None => samples,
    })
}

/// How many frames were accepted.
fn send(sender: &Client, time: Duration) -> Result<u64> {
    let mut frame = frame(BROADCAST, sender.mac(), FRAME);
    let start = Instant::now();
    let (mut n, mut accepted) = (0, 0);
    while start.elapsed() < time {
        overload::number(&mut frame, 0, n);
        accepted += u64::from(overload::accepts(sender.send(&frame))?);
        n += 1;
    }
    Ok(accepted)
}

#[derive(Clone, Copy, Debug, Default)]
struct Copies {
    arrived: u64,
    /// While the sender was sending.
    in_time: u64,
}

/// Reads for all of `receivers`: a thread for each would measure how threads are woken.
fn read(receivers: &[Client], sending: &AtomicBool) -> Result<Copies> {
    for receiver in receivers {
        receiver.set_nonblocking(true)?;
    }
    let mut polled: Vec<_> =
        receivers.iter().map(|r| PollFd::new(r.descriptor(), PollFlags::POLLIN)).collect();
    let mut arrivals = vec![Arrivals::of(0, FRAME); receivers.len()];
    let mut copies = Copies::default();
    let mut buffer = [0; FRAME + 1];
    loop {
        let ready = match poll(&mut polled, PollTimeout::try_from(QUIET)?) {
            Err(Errno::EINTR) => continue,
            ready => ready?,
        };
        let still_sending = sending.load(Ordering::Relaxed);
        if ready == 0 && !still_sending {
            return Ok(copies);
        }
        for (place, receiver) in receivers.iter().enumerate() {
            if !polled[place].any().unwrap_or(true) {
                continue;
            }
            while let Some(len) = receiver.receive(&mut buffer)? {
                if arrivals[place].take(&buffer[..len]).is_some() {
                    copies.arrived += 1;
                    copies.in_time += u64::from(still_sending);
                }
            }
        }
    }
}

const CPU: &str = "CPU per copy";

const FRAME: usize = 64;
