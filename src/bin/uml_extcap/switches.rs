//! Which switches are running.

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use uml_switch::admin::SUFFIX;
use uml_switch::admin::client::Client;
use uml_switch::admin::protocol::Port;

/// The admin sockets that answer, with the ports of the switch, by path.
///
/// Anybody may have a socket whose name looks right, and need not answer: none is waited for longer
/// than [`PATIENCE`], and nothing is said of those that do not answer or do not let us.
pub(crate) fn running() -> Vec<(PathBuf, Vec<Port>)> {
    let paths = match std::env::var_os(VARIABLE) {
        Some(path) => vec![path.into()],
        None => listening(&std::fs::read(UNIX_SOCKETS).unwrap_or_default()),
    };
    let (answers, inbox) = mpsc::channel();
    for path in paths.into_iter().take(MOST) {
        let answers = answers.clone();
        thread::spawn(move || {
            if let Ok(ports) = Client::new(&path).ports() {
                // Too late is no harm.
                let _ = answers.send((path, ports));
            }
        });
    }
    drop(answers);
    let deadline = Instant::now() + PATIENCE;
    let left = || deadline.saturating_duration_since(Instant::now());
    let mut found: Vec<_> = std::iter::from_fn(|| inbox.recv_timeout(left()).ok()).collect();
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    found
}

/// What people call the switch with this admin socket: the path of its control socket.
pub(crate) fn name(admin: &Path) -> String {
    let path = admin.display().to_string();
    path.strip_suffix(SUFFIX).unwrap_or(&path).to_owned()
}

/// The paths of listening sockets in this table that look like admin sockets. There may be any bytes
/// in it: a guest's kernel does not clear what stands behind its socket's name.
fn listening(table: &[u8]) -> Vec<PathBuf> {
    let table = String::from_utf8_lossy(table);
    let mut paths: Vec<_> = table.lines().filter_map(listening_path).collect();
    paths.sort();
    paths.dedup();
    paths
}

/// The path in a line of `/proc/net/unix`, if it listens and looks right: seven columns and the path,
/// in which there may be spaces.
fn listening_path(line: &str) -> Option<PathBuf> {
    let mut rest = line;
    let mut flags = None;
    for column in 0..7 {
        let (word, after) = rest.trim_start().split_once(' ')?;
        if column == FLAGS {
            flags = u32::from_str_radix(word, 16).ok();
        }
        rest = after;
    }
    let listens = flags? & ACCEPTS != 0;
    (listens && rest.starts_with('/') && rest.ends_with(SUFFIX)).then(|| rest.into())
}

/// Names the admin socket of the only switch to ask.
const VARIABLE: &str = "UML_SWITCH_ADMIN";

/// proc_net(5).
const UNIX_SOCKETS: &str = "/proc/net/unix";

/// The column with the socket's flags.
const FLAGS: usize = 3;

/// `__SO_ACCEPTCON` of `linux/net.h`: the socket listens.
const ACCEPTS: u32 = 1 << 16;

/// A switch answers within a turn of its loop; Wireshark's start waits for us.
const PATIENCE: Duration = Duration::from_secs(1);

/// Sockets that are asked.
const MOST: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listening_admin_sockets_are_found() {
        let table = b"\
Num       RefCount Protocol Flags    Type St Inode Path
0000000000000000: 00000002 00000000 00010000 0001 01 22141 /tmp/uml.ctl.admin
0000000000000000: 00000002 00000000 00010000 0001 01 22142 /tmp/uml.ctl
0000000000000000: 00000003 00000000 00000000 0001 03 22143 /tmp/connected.admin
0000000000000000: 00000002 00000000 00010000 0001 01     7 /run/a lab/b.admin
0000000000000000: 00000002 00000000 00010000 0001 01 22145 relative.admin
0000000000000000: 00000002 00000000 00010000 0001 01 22146 @abstract.admin
0000000000000000: 00000002 00000000 00010000 0001 01 22147 /tmp/uml.ctl.admin
0000000000000000: 00000002 00000000 00000000 0002 01 22148
0000000000000000: 00000002 00000000 00000000 0002 01 22149 @\xff\xfe\n\x80
short line
";
        let found = ["/run/a lab/b.admin", "/tmp/uml.ctl.admin"].map(PathBuf::from);
        assert_eq!(listening(table), found);
    }

    #[test]
    fn a_switch_is_called_by_its_control_socket() {
        assert_eq!(name(Path::new("/tmp/uml.ctl.admin")), "/tmp/uml.ctl");
        assert_eq!(name(Path::new("/run/mine")), "/run/mine");
    }
}
