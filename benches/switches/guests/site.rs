//! Some guests and the host on one network.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use super::counters::{self, Counters};
use super::guest::{Guest, Job};
use super::host::{self, Stage};
use super::network::{Competitor, Network, join};
use super::transport::{Plug, Transport, address};

/// One boot of all. Ends when dropped, the guests first.
#[derive(Debug)]
pub struct Site {
    guests: Vec<Guest>,
    network: Network,
    /// How long a second of measuring is here: less in a quick run.
    pub second: Duration,
    _directory: TempDir,
}

/// Who does something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Station {
    Host,
    /// By its number, from 1 on.
    Guest(u32),
}

impl Site {
    /// Boots the guests, and waits until everybody knows where everybody is.
    pub fn start(
        competitor: &Competitor,
        transport: Transport,
        stage: &Stage,
        second: Duration,
    ) -> Result<Site> {
        let directory = stage.directory()?;
        let network = Network::start(competitor, transport, directory.path())?;
        let boot = |n| Guest::boot(directory.path(), &network.plug(n));
        let guests = (1..=transport.guests()).map(boot).collect::<Result<_>>()?;
        let mut site = Site { guests, network, second, _directory: directory };
        site.set_up_guests()?;
        // Their answers show all guests to the switch, and the questions the host.
        let all = (1..=transport.guests()).map(address).collect::<Vec<_>>().join(" ");
        site.run(Station::Host, &format!("fping -q -r 20 -t 250 {all}"))?;
        Ok(site)
    }

    /// Ends it. Returns what the switch has counted, if it is ours.
    pub fn end(self) -> Option<String> {
        drop(self.guests);
        self.network.end()
    }

    /// So many seconds of measuring, in whole seconds as `iperf3` counts, 1 at least.
    pub fn seconds(&self, seconds: f64) -> u64 {
        self.second.mul_f64(seconds).as_secs_f64().round().max(1.0) as u64
    }

    /// Runs a command line of the shell there, for a minute at most, and returns what it printed.
    /// It must succeed.
    pub fn run(&mut self, station: Station, command: &str) -> Result<String> {
        let guest = match station {
            Station::Host => return on_host(command),
            Station::Guest(n) => self.guest(n)?,
        };
        guest.run(command)
    }

    /// Starts a command line in guest `n`.
    pub fn start_in(&mut self, n: u32, command: &str) -> Result<Job> {
        self.guest(n)?.start(command)
    }

    /// Waits for the end of what was started in guest `n`; as [`Site::run`].
    pub fn finish_in(&mut self, n: u32, job: Job) -> Result<String> {
        self.guest(n)?.finish(job)
    }

    /// The counters of `station`'s interface on the network.
    pub fn counters(&mut self, station: Station) -> Result<Counters> {
        let interface = match station {
            Station::Host => self.network.host_interface(),
            Station::Guest(_) => self.network.guest_interface(),
        };
        let printed = match station {
            Station::Host => {
                fs::read_to_string("/proc/net/dev")? + &fs::read_to_string("/proc/net/snmp")?
            }
            Station::Guest(_) => self.run(station, counters::COMMAND)?,
        };
        Counters::parse(&printed, interface)
    }

    /// The same, when nothing has been received for a while: all that was on its way has arrived.
    pub fn counters_at_rest(&mut self, station: Station) -> Result<Counters> {
        let deadline = Instant::now() + PATIENCE;
        let mut before = self.counters(station)?;
        loop {
            thread::sleep(REST);
            let now = self.counters(station)?;
            if now == before {
                return Ok(now);
            }
            ensure!(Instant::now() < deadline, "frames do not stop coming");
            before = now;
        }
    }

    fn set_up_guests(&mut self) -> Result<()> {
        let interface = self.network.guest_interface();
        let count = self.guests.len() as u32;
        for (n, guest) in (1..).zip(&mut self.guests) {
            guest.wait_until_up()?;
            // One of QEMU has done it itself.
            if let Plug::Uml(_) = self.network.plug(n) {
                let calls: Vec<_> =
                    join(n, interface, count).lines().map(|call| format!("ip {call}")).collect();
                guest.run(&calls.join(" && "))?;
            }
        }
        self.run(Station::Guest(SERVER), SERVE)?;
        Ok(())
    }

    fn guest(&mut self, n: u32) -> Result<&mut Guest> {
        self.guests.get_mut(n as usize - 1).context("no such guest")
    }
}

fn on_host(command: &str) -> Result<String> {
    let output = host::command("bash").args(["-c", command]).output()?;
    let print = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let printed = print(&output.stdout) + &print(&output.stderr);
    ensure!(output.status.success(), "{command}: {}: {}", output.status, printed.trim());
    Ok(printed)
}

/// The guest that runs the server of `iperf3`.
pub const SERVER: u32 = 2;

/// Starts it, and waits until it listens, on port 5201.
const SERVE: &str = "iperf3 --server --version4 >/dev/null 2>&1 & \
    for ((i = 0; i < 200; i++)); do grep -q :1451 /proc/net/tcp && exit; sleep 0.05; done; exit 1";

/// A guest that gets some processor time now and then empties its queue in less.
const REST: Duration = Duration::from_millis(100);

const PATIENCE: Duration = Duration::from_secs(10);
