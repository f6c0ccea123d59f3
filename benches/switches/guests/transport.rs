//! How guests are plugged in.

use std::path::{Path, PathBuf};

use uml_switch::client::{Mac, mac};

/// The guests of a comparison, by what carries their frames. A competitor that does not serve such
/// ones has the guests that it has anyway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// User-Mode Linux, `eth0=daemon`.
    Daemon,
    /// User-Mode Linux, `vec0:transport=bess` with this MTU.
    Bess { mtu: u32 },
    /// User-Mode Linux, `eth0=vde`.
    Vde,
    /// QEMU, `-netdev vde`.
    QemuVde,
    /// QEMU, `-netdev stream`.
    QemuStream,
}

impl Transport {
    pub fn is_of_qemu(self) -> bool {
        matches!(self, Transport::QemuVde | Transport::QemuStream)
    }

    /// How many guests there are. Those of QEMU do only what takes two.
    pub fn guests(self) -> u32 {
        if self.is_of_qemu() { 2 } else { 3 }
    }
}

/// What the guests of a network connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outlet {
    /// A control socket.
    Daemon(PathBuf),
    /// A socket.
    Bess { socket: PathBuf, mtu: u32 },
    /// A directory of libvdeplug's.
    Vde(PathBuf),
    /// The same, for QEMU.
    QemuVde(PathBuf),
    /// A socket.
    QemuStream(PathBuf),
    /// For each guest a TAP interface of the host.
    Taps,
}

/// What a guest is told of its network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plug {
    /// The kernel of User-Mode Linux: an interface.
    Uml(String),
    /// QEMU.
    Qemu {
        /// The value of `-netdev`, without an id.
        netdev: String,
        mac: String,
        /// The guest's own address, which it takes by itself.
        address: String,
    },
}

impl Outlet {
    /// The end of guest `n`.
    pub fn plug(&self, n: u32) -> Plug {
        let mac = show(mac(n));
        let of_qemu = |netdev| Plug::Qemu { netdev, mac: mac.clone(), address: address(n) };
        match self {
            Outlet::Daemon(control) => {
                Plug::Uml(format!("eth0=daemon,{mac},unix,{}", control.display()))
            }
            Outlet::Bess { socket, mtu } => {
                let vector = vector(&format!("bess,dst={}", socket.display()), &mac);
                Plug::Uml(format!("{vector},mtu={mtu}"))
            }
            Outlet::Vde(directory) => Plug::Uml(format!("eth0=vde,{},{mac}", directory.display())),
            Outlet::QemuVde(directory) => of_qemu(format!("vde,sock={}", directory.display())),
            Outlet::QemuStream(socket) => {
                of_qemu(format!("stream,server=off,addr.type=unix,addr.path={}", socket.display()))
            }
            // `eth0=tuntap` has half the throughput.
            Outlet::Taps => Plug::Uml(vector(&format!("tap,ifname={}", tap(n)), &mac)),
        }
    }

    /// What guests call their interface.
    pub fn interface(&self) -> &'static str {
        match self {
            Outlet::Bess { .. } | Outlet::Taps => "vec0",
            _ => "eth0",
        }
    }

    /// What our switch is started with to serve it, if not what it always serves.
    pub fn options(&self) -> Vec<String> {
        let option = |name: &str, path: &Path| vec![name.to_owned(), path.display().to_string()];
        match self {
            Outlet::Bess { socket, mtu } => {
                [option("--bess", socket), vec!["--mtu".to_owned(), mtu.to_string()]].concat()
            }
            Outlet::Vde(directory) | Outlet::QemuVde(directory) => option("--vde", directory),
            Outlet::QemuStream(socket) => option("--qemu", socket),
            Outlet::Daemon(_) | Outlet::Taps => Vec::new(),
        }
    }
}

/// An interface of the vector transports. Without `gro=1` it does not take the large frames that
/// other guests send, and TCP crawls.
fn vector(transport: &str, mac: &str) -> String {
    format!("vec0:transport={transport},depth=128,gro=1,mac={mac}")
}

/// The TAP interface of guest `n`.
pub fn tap(n: u32) -> String {
    format!("tap{n}")
}

/// The IP address of station `n`.
pub fn address(n: u32) -> String {
    format!("10.0.0.{n}")
}

/// A MAC address in the usual notation.
pub fn show(mac: Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
