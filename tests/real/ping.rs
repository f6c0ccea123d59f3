//! `ping`, from the host and from guests.

use std::process::Stdio;
use std::thread;

use crate::guest::{Guest, Job};
use crate::host::{self, command};

/// Requests that are to be answered, and the numbers of those that were, in the order of the answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pings {
    wanted: u32,
    answered: Vec<u32>,
}

impl Pings {
    fn of(wanted: u32, output: &str) -> Pings {
        let number = |line: &str| line.split("icmp_seq=").nth(1)?.split(' ').next()?.parse().ok();
        Pings { wanted, answered: output.lines().filter_map(number).collect() }
    }

    /// True if every request was answered, in order and once; those too that `ping` sent beyond what
    /// was wanted, while it waited for the last answers.
    pub fn is_complete(&self) -> bool {
        let answered = self.answered.len() as u32;
        answered >= self.wanted && self.answered.iter().copied().eq(1..=answered)
    }

    /// How many requests were answered.
    pub fn answered(&self) -> usize {
        self.answered.len()
    }
}

/// The command line: requests `interval` seconds apart with `size` bytes, until `count` are answered.
/// It is no use to send just `count`: after the last one, `ping` waits for only twice as long as the
/// slowest answer has taken, which on a busy machine is too short. So it goes on, and as a switch
/// keeps frames in order, what is lost leaves a gap.
fn line(to: &str, count: u32, interval: f32, size: u32) -> String {
    format!("ping -n -w 50 -c {count} -i {interval} -s {size} {to}")
}

/// A number of pings under way in a guest.
#[derive(Clone, Copy, Debug)]
pub struct Pinging {
    job: Job,
    wanted: u32,
}

/// Starts pings in a guest.
pub fn start(from: &mut Guest, to: &str, count: u32, interval: f32, size: u32) -> Pinging {
    Pinging { job: from.start(&line(to, count, interval, size)), wanted: count }
}

/// The same to where there is no answer: just `count` requests, whatever comes back.
pub fn start_in_vain(from: &mut Guest, to: &str, count: u32, interval: f32, size: u32) -> Pinging {
    let line = format!("ping -n -W 1 -c {count} -i {interval} -s {size} {to}");
    Pinging { job: from.start(&line), wanted: count }
}

/// Waits for the result of [`start`].
#[track_caller]
pub fn finish(from: &mut Guest, pinging: Pinging) -> Pings {
    Pings::of(pinging.wanted, &from.finish(pinging.job).output)
}

/// Pings by the host, under way.
#[derive(Debug)]
pub struct HostPing {
    output: thread::JoinHandle<String>,
    wanted: u32,
}

impl HostPing {
    pub fn start(to: &str, count: u32, interval: f32, size: u32) -> HostPing {
        let line = line(to, count, interval, size);
        let words: Vec<&str> = line.split(' ').collect();
        let child = command(words[0])
            .args(&words[1..])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("ping runs");
        // It ends by itself, after 50 s at the latest.
        let output = thread::spawn(move || {
            let output = child.wait_with_output().expect("a child to wait for");
            String::from_utf8_lossy(&output.stdout).into_owned()
        });
        HostPing { output, wanted: count }
    }

    #[track_caller]
    pub fn finish(self) -> Pings {
        Pings::of(self.wanted, &self.output.join().expect("ping ends"))
    }
}

/// Lets all guests and the host ping each other at once; panics unless every request is answered.
#[track_caller]
pub fn all_pairs(guests: &mut [Guest], count: u32) {
    let mut stations: Vec<String> = guests.iter().map(Guest::address).collect();
    stations.push(host::ADDRESS.to_owned());
    let from_host: Vec<_> = guests
        .iter()
        .map(|guest| (guest.address(), HostPing::start(&guest.address(), count, 0.2, 56)))
        .collect();
    let jobs: Vec<Vec<(String, Pinging)>> = guests
        .iter_mut()
        .map(|guest| {
            let own = guest.address();
            let others = stations.iter().filter(|to| **to != own);
            others.map(|to| (to.clone(), start(guest, to, count, 0.2, 56))).collect()
        })
        .collect();
    let mut lost = Losses::default();
    for (guest, jobs) in guests.iter_mut().zip(jobs) {
        for (to, job) in jobs {
            lost.note(&format!("{} to {to}", guest.address()), finish(guest, job));
        }
    }
    for (to, pings) in from_host {
        lost.note(&format!("host to {to}"), pings.finish());
    }
    lost.expect_none(guests);
}

/// Which requests were not answered.
#[derive(Debug, Default)]
pub struct Losses(Vec<String>);

impl Losses {
    pub fn note(&mut self, who: &str, pings: Pings) {
        if !pings.is_complete() {
            self.0.push(format!("{who}: {pings:?}"));
        }
    }

    /// Notes only that nothing was answered at all.
    pub fn note_silent(&mut self, who: &str, pings: Pings) {
        if pings.answered() == 0 {
            self.0.push(format!("{who}: {pings:?}"));
        }
    }

    /// Panics if there are any, with what the stations have counted.
    #[track_caller]
    pub fn expect_none(self, guests: &mut [Guest]) {
        if self.0.is_empty() {
            return;
        }
        let mut counted = host::ip("-statistics link show tap0");
        for guest in guests {
            counted += &guest.run(&format!(
                "ip -statistics link show {}; grep -E 'Ip:|Icmp:' /proc/net/snmp",
                guest.interface
            ));
            counted.push('\n');
        }
        panic!("{}\n{counted}", self.0.join("\n"));
    }
}
