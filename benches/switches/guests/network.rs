//! What joins the guests and the host: a switch with a TAP uplink, or a bridge of the kernel.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::host::ip;
use super::switch::{self, Switch};
use super::transport::{Outlet, Plug, Transport, address, show, tap};
use uml_switch::client::mac;

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

/// All of them. The first that takes part is what the others are measured against.
pub fn competitors(ours: &Path) -> Vec<Competitor> {
    let switch = |name, kind, program: &Path| Competitor {
        name,
        way: Way::Switch(kind, program.to_owned()),
    };
    vec![
        switch("C uml_switch", Kind::Reference, Path::new("/usr/bin/uml_switch")),
        switch(VDE_SWITCH, Kind::Vde, Path::new("/usr/bin/vde_switch")),
        switch("uml_switch", Kind::Ours, ours),
        Competitor { name: LINUX_BRIDGE, way: Way::Bridge },
    ]
}

/// What the results call `vde_switch`.
pub const VDE_SWITCH: &str = "vde_switch";

/// What they call the bridge.
pub const LINUX_BRIDGE: &str = "Linux bridge";

/// A network that runs. It and its interfaces are gone when dropped.
#[derive(Debug)]
pub struct Network {
    switch: Option<Switch>,
    outlet: Outlet,
    /// Ours, to be deleted.
    interfaces: Vec<String>,
}

impl Competitor {
    /// Whether it has guests of `transport`, or others that are worth a look beside them: those of the
    /// bridge are of the same driver as `bess` ones and send frames as large, the `daemon` guests of the
    /// C program are what kernels without `daemon` have had, and QEMU has had the `vde` of `vde_switch`.
    pub fn takes_part(&self, transport: Transport) -> bool {
        match (transport, &self.way) {
            (Transport::Daemon, _) => true,
            (Transport::Bess { .. }, way) => !matches!(way, Way::Switch(Kind::Vde, _)),
            (Transport::Vde, way) => matches!(way, Way::Switch(..)),
            (Transport::QemuVde | Transport::QemuStream, way) => {
                matches!(way, Way::Switch(Kind::Vde | Kind::Ours, _))
            }
        }
    }

    /// What its guests connect to if guests of `transport` are wanted, with its files in `directory`.
    fn outlet(&self, transport: Transport, directory: &Path) -> Outlet {
        let Way::Switch(kind, _) = self.way else { return Outlet::Taps };
        let vde = || switch::vde(directory);
        match (kind, transport) {
            (Kind::Ours, Transport::Bess { mtu }) => {
                Outlet::Bess { socket: directory.join("bess"), mtu }
            }
            (Kind::Ours, Transport::QemuStream) => Outlet::QemuStream(directory.join("qemu")),
            (Kind::Ours | Kind::Vde, Transport::Vde) => Outlet::Vde(vde()),
            (Kind::Ours | Kind::Vde, Transport::QemuVde) | (Kind::Vde, Transport::QemuStream) => {
                Outlet::QemuVde(vde())
            }
            (_, Transport::Daemon) | (Kind::Reference, _) | (Kind::Vde, Transport::Bess { .. }) => {
                Outlet::Daemon(switch::control(kind, directory))
            }
        }
    }
}

impl Network {
    /// Starts `competitor` for guests of `transport`, with its files in `directory`, and gives the
    /// host its address.
    pub fn start(
        competitor: &Competitor,
        transport: Transport,
        directory: &Path,
    ) -> Result<Network> {
        let outlet = competitor.outlet(transport, directory);
        let mut network = Network { switch: None, outlet, interfaces: Vec::new() };
        let guests = transport.guests();
        match &competitor.way {
            Way::Switch(kind, program) => {
                network.add(UPLINK, "tuntap", "mode tap")?;
                let outlet = &network.outlet;
                network.switch = Some(Switch::start(*kind, program, directory, UPLINK, outlet)?);
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

    /// What guest `n` is told to have as its network.
    pub fn plug(&self, n: u32) -> Plug {
        self.outlet.plug(n)
    }

    /// What guests call their interface.
    pub fn guest_interface(&self) -> &'static str {
        self.outlet.interface()
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

/// The host's number as a station; guests count from 1.
pub const HOST: u32 = 254;

const UPLINK: &str = "tap0";

const BRIDGE: &str = "br0";
