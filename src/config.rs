//! What the switch is to do, checked and with defaults filled in. The rest of the program sees only
//! this, never the words that were typed.

use std::collections::HashSet;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tracing::level_filters::LevelFilter;

use crate::admin;
use crate::cli::Args;
use crate::control::{Access, SUN_PATH_LEN, ctl_of};
use crate::core::{EgressLimits, Mode, OVERHEAD, SwitchConfig};
use crate::mirror::CaptureSpec;
use crate::mirror::sink::Ring;
use crate::port::{CONNECTION_KINDS, CableEnd, ConnectionKind, DatagramPaths, TapName};
use crate::runtime::Scheduling;

/// A checked configuration.
#[derive(Debug)]
pub struct Config {
    /// The path of the control socket.
    pub control: PathBuf,
    /// The path of the data socket that all ports share, if the oldest kernels are to be served.
    pub named_data: Option<PathBuf>,
    /// The VDE directory.
    pub vde: Option<PathBuf>,
    /// Kinds of port that have a socket of their own, and its path.
    pub connections: Vec<(&'static ConnectionKind, PathBuf)>,
    /// Where the switch connects to; absolute paths.
    pub cables: Vec<CableEnd>,
    /// Pairs of datagram sockets, QEMU's with absolute paths.
    pub datagram_pairs: Vec<DatagramPaths>,
    /// Who may connect to our sockets, but for the control socket and the admin socket.
    pub access: Access,
    /// The admin socket.
    pub admin: AdminPath,
    /// The uplink's interface.
    pub tap: Option<TapName>,
    /// Go into the background.
    pub daemon: bool,
    /// The least severe messages that are reported.
    pub log: LevelFilter,
    /// How the loop's thread is run.
    pub scheduling: Scheduling,
    /// Ports, stations and frame size.
    pub switch: SwitchConfig,
    /// The capture that runs from the start.
    pub mirror: Option<MirrorConfig>,
}

/// A capture from the command line.
#[derive(Clone, Debug)]
pub struct MirrorConfig {
    /// Where it is written.
    pub file: PathBuf,
    /// Into how many files.
    pub ring: Option<Ring>,
    /// The filter's expression, which has yet to be compiled.
    pub filter: Option<String>,
    /// All else.
    pub spec: CaptureSpec,
}

/// Where the admin socket is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminPath {
    /// Its path.
    pub path: PathBuf,
    /// Whether it was named; otherwise the switch can do without it.
    pub is_asked_for: bool,
}

/// Why a command line that can be read cannot be carried out.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A path such as `/` or `..`.
    #[error("the path {} does not end in a name that a socket could have", .0.display())]
    NoName(PathBuf),
    /// `sun_path` is what it is.
    #[error("the path {} is too long: a socket's has at most {} bytes", .0.display(), SUN_PATH_LEN - 1)]
    LongPath(PathBuf),
    /// One path for two sockets.
    #[error("two sockets have the same path {}", .0.display())]
    SamePath(PathBuf),
    /// More cables than there can be, or than ports.
    #[error("{0} of --connect and --qemu-dgram, but there can be {1}")]
    ManyCables(usize, usize),
    /// Nothing that they could be of.
    #[error(
        "--mode and --group are those of the sockets of --vde, {}, --qemu-dgram, and there is none",
        options()
    )]
    NoSocketToOpen,
}

fn options() -> String {
    let options: Vec<_> = CONNECTION_KINDS.iter().map(|kind| format!("--{}", kind.name)).collect();
    options.join(", ")
}

impl TryFrom<Args> for Config {
    type Error = ConfigError;

    fn try_from(args: Args) -> Result<Self, ConfigError> {
        let control = socket_path(args.unix)?;
        let data = args.compat_v0.then(|| args.data.unwrap_or_else(|| DEFAULT_DATA.into()));
        let named_data = data.map(socket_path).transpose()?;
        let admin = match args.admin {
            Some(path) => AdminPath { path: socket_path(path)?, is_asked_for: true },
            None => AdminPath { path: admin::default_path(&control), is_asked_for: false },
        };
        let ctl = args.vde.as_deref().map(ctl_of).map(socket_path).transpose()?;
        let connections = args.connections.0;
        let paths = connections.iter().map(|(_, path)| socket_path(path.clone()));
        let paths = paths.collect::<Result<Vec<_>, _>>()?;
        let (cables, datagram_pairs) = cables(args.connect, args.qemu_dgram, args.max_ports)?;
        let asked_for = admin.is_asked_for.then_some(&admin.path);
        let others = named_data.iter().chain(asked_for).chain(&ctl).chain(&paths);
        let far = cables.iter().map(|cable| &cable.path);
        let pairs = datagram_pairs.iter().flat_map(|pair| [&pair.local, &pair.remote]);
        all_different(others.chain([&control]).chain(far).chain(pairs))?;
        let access = Access { mode: args.mode, group: args.group };
        let has_none = ctl.is_none() && paths.is_empty() && datagram_pairs.is_empty();
        if access != Access::default() && has_none {
            return Err(ConfigError::NoSocketToOpen);
        }
        let switch = SwitchConfig {
            mode: if args.hub { Mode::Hub } else { Mode::Switch },
            max_ports: args.max_ports,
            max_frame: args.mtu as usize + OVERHEAD,
            fdb_size: args.fdb_size as usize,
            ageing: Duration::from_secs(args.ageing),
            egress: EgressLimits::default(),
        };
        let scheduling = Scheduling {
            realtime: args.realtime,
            cpu: args.cpu,
            busy_poll: args.busy_poll.map(Duration::from_micros),
        };
        let mirror = args.mirror.map(|file| {
            let (ports, snaplen) = (args.mirror_port, args.mirror_snaplen);
            let spec = CaptureSpec { ports, snaplen, ..CaptureSpec::default() };
            MirrorConfig { file, ring: args.mirror_ring, filter: args.mirror_filter, spec }
        });
        let Args { tap, daemon, log, vde, .. } = args;
        Ok(Config {
            control,
            named_data,
            vde,
            connections,
            cables,
            datagram_pairs,
            access,
            admin,
            tap,
            daemon,
            log,
            scheduling,
            switch,
            mirror,
        })
    }
}

/// Checks the paths of cables.
fn cables(
    mut ends: Vec<CableEnd>,
    mut pairs: Vec<DatagramPaths>,
    max_ports: u32,
) -> Result<(Vec<CableEnd>, Vec<DatagramPaths>), ConfigError> {
    let (count, most) = (ends.len() + pairs.len(), MAX_CABLES.min(max_ports as usize));
    if count > most {
        return Err(ConfigError::ManyCables(count, most));
    }
    for end in &mut ends {
        end.path = far_path(&end.path)?;
    }
    for pair in &mut pairs {
        pair.local = socket_path(std::mem::take(&mut pair.local))?;
        pair.remote = far_path(&pair.remote)?;
    }
    Ok((ends, pairs))
}

/// A path that is used again and again, wherever the process is by then.
fn far_path(path: &Path) -> Result<PathBuf, ConfigError> {
    let path = socket_path(path.to_owned())?;
    socket_path(std::path::absolute(&path).unwrap_or(path))
}

fn socket_path(path: PathBuf) -> Result<PathBuf, ConfigError> {
    if path.file_name().is_none() {
        return Err(ConfigError::NoName(path));
    }
    if Path::as_os_str(&path).as_bytes().len() >= SUN_PATH_LEN {
        return Err(ConfigError::LongPath(path));
    }
    Ok(path)
}

fn all_different<'a>(paths: impl Iterator<Item = &'a PathBuf>) -> Result<(), ConfigError> {
    let mut seen = HashSet::new();
    for path in paths {
        if !seen.insert(std::path::absolute(path).unwrap_or_else(|_| path.clone())) {
            return Err(ConfigError::SamePath(path.clone()));
        }
    }
    Ok(())
}

/// What one switch has use for, gateways and neighbours.
const MAX_CABLES: usize = 16;

/// As the C program has it.
const DEFAULT_DATA: &str = "/tmp/uml.data";

#[cfg(test)]
mod tests {
    use super::*;

    fn config(line: &str) -> Result<Config, ConfigError> {
        let words = format!("uml_switch {line}");
        Args::read(words.split(' ').filter(|word| !word.is_empty()).map(Into::into))
            .unwrap()
            .try_into()
    }

    #[test]
    fn defaults_are_those_of_the_c_program() {
        let plain = config("").unwrap();
        assert_eq!(plain.control.to_str(), Some("/tmp/uml.ctl"));
        assert_eq!(plain.named_data, None);
        assert_eq!(plain.switch.mode, Mode::Switch);
        assert_eq!(plain.switch.ageing, Duration::from_secs(100));
        let old = config("-compat-v0").unwrap();
        assert_eq!(old.named_data.unwrap().to_str(), Some("/tmp/uml.data"));
    }

    #[test]
    fn the_default_carries_jumbo_frames_with_a_tag() {
        assert_eq!(config("").unwrap().switch.max_frame, 9018);
        assert_eq!(config("--mtu 65531").unwrap().switch.max_frame, 65_549);
    }

    #[test]
    fn paths_that_no_socket_can_have_are_refused() {
        let long = format!("-unix /{}", "a".repeat(107));
        assert!(matches!(config(&long), Err(ConfigError::LongPath(_))));
        assert_eq!(config("-unix /").unwrap_err(), ConfigError::NoName("/".into()));
        let same = config("-compat-v0 -unix /tmp/a /tmp/a");
        assert!(matches!(same, Err(ConfigError::SamePath(_))));
        for line in
            ["--bess a --qemu a", "--bess v/ctl --vde v", "-unix a --qemu a", "--admin a --bess a"]
        {
            assert!(matches!(config(line), Err(ConfigError::SamePath(_))), "{line}");
        }
        let long = format!("--vde /{}", "a".repeat(103));
        assert!(matches!(config(&long), Err(ConfigError::LongPath(_))));
    }

    #[test]
    fn cables_have_absolute_paths_of_their_own() {
        let cabled = config("--connect bess:a --connect qemu:/tmp/b --qemu-dgram c,d").unwrap();
        let here = std::env::current_dir().unwrap();
        assert_eq!(cabled.cables[0].path, here.join("a"));
        assert_eq!(cabled.cables[1].path, PathBuf::from("/tmp/b"));
        assert_eq!(cabled.datagram_pairs[0].remote, here.join("d"));
        for line in [
            "--connect bess:/tmp/a --connect bess:/tmp/a",
            "--bess a --connect bess:a",
            "--qemu-dgram /tmp/a,/tmp/a",
            "--qemu-dgram a,b --qemu-dgram a,c",
        ] {
            assert!(matches!(config(line), Err(ConfigError::SamePath(_))), "{line}");
        }
        assert!(matches!(config("--connect bess:/"), Err(ConfigError::NoName(_))));
        let many: Vec<_> = (0..17).map(|n| format!("--connect bess:/tmp/{n}")).collect();
        assert!(config(&many[..16].join(" ")).is_ok());
        assert_eq!(config(&many.join(" ")).unwrap_err(), ConfigError::ManyCables(17, 16));
        let few = config("--max-ports 1 --connect bess:/tmp/a --connect bess:/tmp/b");
        assert_eq!(few.unwrap_err(), ConfigError::ManyCables(2, 1));
    }

    #[test]
    fn every_kind_of_connection_has_its_option() {
        for kind in CONNECTION_KINDS {
            let config = config(&format!("--{} /tmp/x --mode 660", kind.name)).unwrap();
            assert_eq!(config.connections, [(kind, PathBuf::from("/tmp/x"))]);
        }
        assert_eq!(config("--mode 660").unwrap_err(), ConfigError::NoSocketToOpen);
        assert_eq!(config("--group 0").unwrap_err(), ConfigError::NoSocketToOpen);
    }
}
