//! `ping`, from the host and from guests.

use std::process::Stdio;
use std::thread;

use crate::guest::{Guest, Job};
use crate::host::{self, command};

/// How many requests were sent, and how many were answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pings {
    pub sent: u32,
    pub received: u32,
}

impl Pings {
    #[track_caller]
    fn of(output: &str) -> Pings {
        let line = output.lines().find(|line| line.contains("packets transmitted"));
        let line = line.unwrap_or_else(|| panic!("no result of ping: {output}"));
        let number = |what: &str| {
            let part = line.split(", ").find(|part| part.contains(what)).expect("a known format");
            part.split_whitespace().next().unwrap().parse().expect("a number")
        };
        Pings { sent: number("transmitted"), received: number("received") }
    }
}

/// The command line: `count` requests, `interval` seconds apart, with `size` bytes, and late answers
/// waited for.
fn line(to: &str, count: u32, interval: f32, size: u32) -> String {
    format!("ping -q -n -W 10 -c {count} -i {interval} -s {size} {to}")
}

/// Starts pings in a guest.
pub fn start(from: &mut Guest, to: &str, count: u32, interval: f32, size: u32) -> Job {
    from.start(&line(to, count, interval, size))
}

/// Waits for the result of [`start`].
#[track_caller]
pub fn finish(from: &mut Guest, job: Job) -> Pings {
    Pings::of(&from.finish(job).output)
}

/// Pings by the host, under way.
#[derive(Debug)]
pub struct HostPing(thread::JoinHandle<String>);

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
        // It ends by itself: 10 s after its last request at the latest.
        HostPing(thread::spawn(move || {
            let output = child.wait_with_output().expect("a child to wait for");
            String::from_utf8_lossy(&output.stdout).into_owned()
        }))
    }

    #[track_caller]
    pub fn finish(self) -> Pings {
        Pings::of(&self.0.join().expect("ping ends"))
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
    let jobs: Vec<Vec<(String, Job)>> = guests
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
        if pings.sent == 0 || pings.received != pings.sent {
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
            counted +=
                &guest.run("ip -statistics link show eth0; grep -E 'Ip:|Icmp:' /proc/net/snmp");
            counted.push('\n');
        }
        panic!("{:#?}\n{counted}", self.0);
    }
}
