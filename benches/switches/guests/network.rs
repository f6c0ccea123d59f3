//! What joins the guests and the host: a switch with a TAP uplink, or a bridge of the kernel.

use std::fs::{self, File};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::host::{self, ip};
use uml_switch::client::{Mac, mac};

use crate::competitor::Kind;

/// One of the networks that are compared.
#[derive(Clone, Debug)]
pub struct Competitor {
    /// What the results call it.
    pub name: &'static str,
    way: Way,
}

#[derive(Clone, Debug)]
enum Way {
    Switch(Kind, PathBuf),
    Bridge,
}

/// All of them; the first is what the others are measured against.
pub fn competitors(ours: &Path) -> Vec<Competitor> {
    let switch = |name, kind, program: &Path| Competitor {
        name,
        way: Way::Switch(kind, program.to_owned()),
    };
    vec![
        switch("C uml_switch", Kind::Reference, Path::new("/usr/bin/uml_switch")),
        switch("vde_switch", Kind::Vde, Path::new("/usr/bin/vde_switch")),
        switch("uml_switch", Kind::Ours, ours),
        Competitor { name: "Linux bridge", way: Way::Bridge },
    ]
}

/// What the guests' own kernels call their place on a switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// `eth0=daemon`, which all switches serve.
    Daemon,
    /// `vec0:transport=bess` with this MTU where that is served: by ours. The others have the guests
    /// that they have anyway.
    Bess { mtu: u32 },
}

/// A network that runs. It and its interfaces are gone when dropped.
#[derive(Debug)]
pub struct Network {
    switch: Option<Switch>,
    /// Of our guests.
    bess: Option<Bess>,
    /// Ours, to be deleted.
    interfaces: Vec<String>,
}

/// Where `bess` guests connect to, and their MTU.
#[derive(Debug)]
struct Bess {
    socket: PathBuf,
    mtu: u32,
}

impl Competitor {
    /// False if it would do the same for guests of `transport` as for all others, and need not be
    /// compared again: it is neither one that they are measured against nor one that has such guests.
    pub fn takes_part(&self, transport: Transport) -> bool {
        transport == Transport::Daemon || !matches!(self.way, Way::Switch(Kind::Vde, _))
    }
}

impl Network {
    /// Starts `competitor` for so many guests of `transport`, with its files in `directory`, and
    /// gives the host its address.
    pub fn start(
        competitor: &Competitor,
        transport: Transport,
        guests: u32,
        directory: &Path,
    ) -> Result<Network> {
        let mut network = Network { switch: None, bess: None, interfaces: Vec::new() };
        match &competitor.way {
            Way::Switch(kind, program) => {
                network.add(UPLINK, "tuntap", "mode tap")?;
                if let (Kind::Ours, Transport::Bess { mtu }) = (kind, transport) {
                    network.bess = Some(Bess { socket: directory.join("bess"), mtu });
                }
                let bess = network.bess.as_ref();
                network.switch = Some(Switch::start(*kind, program, directory, bess)?);
            }
            Way::Bridge => {
                // It would ask who listens to what, and that would be counted.
                network.add(BRIDGE, "link", "type bridge mcast_snooping 0")?;
                for n in 1..=guests {
                    network.add(&tap(n), "tuntap", "mode tap")?;
                    ip(&format!("link set {} master {BRIDGE} up", tap(n)))?;
                }
            }
        }
        let host = network.host_interface();
        ip(&format!("link set {host} address {}", show(mac(HOST))))?;
        join(HOST, host, guests).lines().try_for_each(ip)?;
        Ok(network)
    }

    /// What guest `n` is told to have as its interface, by its kernel's command line.
    pub fn plug(&self, n: u32) -> String {
        let mac = show(mac(n));
        match (&self.switch, &self.bess) {
            (_, Some(Bess { socket, mtu })) => {
                let socket = socket.display();
                format!("vec0:transport=bess,dst={socket},depth=128,gro=1,mtu={mtu},mac={mac}")
            }
            (Some(switch), None) => format!("eth0=daemon,{mac},unix,{}", switch.control.display()),
            // Without gro=1 it does not take the large frames that other guests send, and TCP
            // crawls; `eth0=tuntap` has half the throughput.
            (None, None) => {
                format!("vec0:transport=tap,ifname={},depth=128,gro=1,mac={mac}", tap(n))
            }
        }
    }

    /// What guests call their interface.
    pub fn guest_interface(&self) -> &'static str {
        if self.switch.is_some() && self.bess.is_none() { "eth0" } else { "vec0" }
    }

    /// What the host calls its own.
    pub fn host_interface(&self) -> &'static str {
        if self.switch.is_some() { UPLINK } else { BRIDGE }
    }

    /// Ends it. Returns what it counted, if it is ours.
    pub fn end(mut self) -> Option<String> {
        self.switch.take()?.end()
    }

    fn add(&mut self, name: &str, object: &str, what: &str) -> Result<()> {
        ip(&format!("{object} add {name} {what}"))?;
        self.interfaces.push(name.to_owned());
        Ok(())
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.switch = None;
        for interface in &self.interfaces {
            let _ = ip(&format!("link del {interface}"));
        }
    }
}

/// The arguments of `ip`, a line for each call, that give station `n` its address on `interface`.
/// All are told each other's addresses: questions about them would be counted too.
pub fn join(n: u32, interface: &str, guests: u32) -> String {
    let mut calls = format!("addr add {}/24 dev {interface}\n", address(n));
    calls += &format!("link set {interface} up");
    for other in (1..=guests).chain([HOST]).filter(|&other| other != n) {
        let (address, mac) = (address(other), show(mac(other)));
        calls += &format!("\nneigh replace {address} lladdr {mac} dev {interface} nud permanent");
    }
    calls
}

/// The IP address of station `n`.
pub fn address(n: u32) -> String {
    format!("10.0.0.{n}")
}

/// The host's number as a station; guests count from 1.
pub const HOST: u32 = 254;

/// A switch that serves. Ends when dropped.
#[derive(Debug)]
struct Switch {
    child: Child,
    control: PathBuf,
    log: PathBuf,
}

impl Switch {
    fn start(kind: Kind, program: &Path, directory: &Path, bess: Option<&Bess>) -> Result<Switch> {
        let control = directory.join(if kind == Kind::Vde { "vde/ctl" } else { "ctl" });
        let log = directory.join("log");
        // It ends with us, also when we are killed.
        let mut command = host::command("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(program);
        match kind {
            Kind::Vde => command.arg("-s").arg(directory.join("vde")),
            Kind::Reference | Kind::Ours => command.arg("-unix").arg(&control),
        };
        command.args(["-tap", UPLINK]);
        if kind == Kind::Ours {
            command.args(["--log", "info"]);
        }
        if let Some(Bess { socket, mtu }) = bess {
            command.arg("--bess").arg(socket).args(["--mtu", &mtu.to_string()]);
        }
        // The C program and vde_switch end, or spin, without an open input.
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(File::create(&log)?);
        let child = command.spawn().context("cannot run setpriv")?;
        let mut switch = Switch { child, control, log };
        let deadline = Instant::now() + PATIENCE;
        while UnixStream::connect(&switch.control).is_err() {
            ensure!(Instant::now() < deadline, "{} does not serve", program.display());
            ensure!(switch.child.try_wait()?.is_none(), "{} has ended", program.display());
            thread::sleep(MOMENT);
        }
        Ok(switch)
    }

    /// Ends it in its own way. Returns the last line of its log, if it is one with its counters.
    fn end(mut self) -> Option<String> {
        kill(self.pid(), Signal::SIGTERM).ok()?;
        let deadline = Instant::now() + PATIENCE;
        while self.child.try_wait().ok()?.is_none() && Instant::now() < deadline {
            thread::sleep(MOMENT);
        }
        let log = fs::read(&self.log).ok()?;
        let log = String::from_utf8_lossy(&log);
        let (_, totals) = log.lines().last()?.split_once("totals=")?;
        Some(totals.to_owned())
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        // Once it has been waited for, its number may be another's.
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn tap(n: u32) -> String {
    format!("tap{n}")
}

/// A MAC address in the usual notation.
fn show(mac: Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

const UPLINK: &str = "tap0";

const BRIDGE: &str = "br0";

/// How long a switch may take to start, and to end.
const PATIENCE: Duration = Duration::from_secs(10);

const MOMENT: Duration = Duration::from_millis(1);
