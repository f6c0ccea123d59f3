//! A socket with a path: taking the path at the start and giving it back at the end.
//!
//! What stands at the path already decides: nothing, and it is ours; a socket that nobody serves any
//! more, and it is replaced; a socket that is served, or anything that is not a socket, and it is
//! left alone. At the end the path is removed only if it still leads to our socket, wherever the
//! process's working directory is by then.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::fcntl::{AtFlags, OFlag, open};
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstatat, lstat, umask};
use nix::unistd::{Gid, UnlinkatFlags, fchownat, unlinkat};
use socket2::{Domain, SockAddr, Socket, Type};

/// Why a socket cannot have its path.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// Somebody serves it.
    #[error(
        "another program serves the socket {}: stop it, or name another path",
        .0.display()
    )]
    InUse(PathBuf),
    /// It is a file, a directory, a symbolic link or the like.
    #[error("{} is in the way: it is not a socket", .0.display())]
    NotASocket(PathBuf),
    /// Whether somebody serves the socket cannot be found out, or it cannot be removed.
    #[error("cannot replace the socket {}", .path.display())]
    Replace {
        /// The path.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The system does not let us have it.
    #[error("cannot bind to {}", .path.display())]
    Bind {
        /// The path.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Who may connect to a socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// The mode of its path; without one it is as the umask leaves it.
    pub mode: Option<Mode>,
    /// The group of its path; without one it is what new files get.
    pub group: Option<Gid>,
}

/// A path that leads to a socket of ours, until this is dropped.
#[derive(Debug)]
pub struct SocketFile {
    directory: OwnedFd,
    name: OsString,
    identity: (u64, u64),
    absolute: PathBuf,
}

impl SocketFile {
    /// Makes a socket of type `kind` that does not block, and binds it to `path`.
    ///
    /// # Errors
    /// [`ClaimError`]; what stands at the path has not been touched then.
    pub fn claim(path: &Path, kind: Type) -> Result<(Socket, SocketFile), ClaimError> {
        SocketFile::claim_with(path, kind, Access::default())
    }

    /// The same for a socket that nobody but its owner may connect to.
    ///
    /// # Errors
    /// As for [`SocketFile::claim`].
    pub fn claim_for_owner(path: &Path, kind: Type) -> Result<(Socket, SocketFile), ClaimError> {
        let mode = Some(Mode::S_IRUSR | Mode::S_IWUSR);
        SocketFile::claim_with(path, kind, Access { mode, group: None })
    }

    /// The same for a socket that these may connect to.
    ///
    /// # Errors
    /// As for [`SocketFile::claim`].
    pub fn claim_with(
        path: &Path,
        kind: Type,
        access: Access,
    ) -> Result<(Socket, SocketFile), ClaimError> {
        let failed = |source| ClaimError::Bind { path: path.to_owned(), source };
        let addr = SockAddr::unix(path).map_err(failed)?;
        let socket =
            Socket::new(Domain::UNIX, kind.cloexec().nonblocking(), None).map_err(failed)?;
        let mut attempts = 0;
        loop {
            match bind(&socket, &addr, access.mode) {
                Ok(()) => break,
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && attempts < ATTEMPTS => {
                    attempts += 1;
                    remove_stale(path, &addr, kind)?;
                }
                Err(error) => return Err(failed(error)),
            }
        }
        let file = SocketFile::of(path).map_err(failed)?;
        if access.group.is_some() {
            // Nobody connects meanwhile: the socket does not listen yet.
            let name = file.name.as_os_str();
            fchownat(&file.directory, name, None, access.group, AtFlags::AT_SYMLINK_NOFOLLOW)
                .map_err(|error| failed(error.into()))?;
        }
        Ok((socket, file))
    }

    /// The path from the root, without links in its directories.
    pub fn absolute(&self) -> &Path {
        &self.absolute
    }

    fn of(path: &Path) -> io::Result<Self> {
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let directory = open(parent, flags, Mode::empty())?;
        let stat = fstatat(&directory, name.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW)?;
        let absolute = parent.canonicalize()?.join(&name);
        Ok(SocketFile { directory, name, identity: identity(&stat), absolute })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let name = self.name.as_os_str();
        let stat = fstatat(&self.directory, name, AtFlags::AT_SYMLINK_NOFOLLOW);
        if stat.is_ok_and(|stat| identity(&stat) == self.identity) {
            // What cannot be removed stays and is replaced as stale by the next start.
            let _ = unlinkat(&self.directory, name, UnlinkatFlags::NoRemoveDir);
        }
    }
}

/// Binds `socket` to a path, which has this mode from its beginning on.
fn bind(socket: &Socket, addr: &SockAddr, mode: Option<Mode>) -> io::Result<()> {
    let Some(mode) = mode else { return socket.bind(addr) };
    // Linux gives a path the mode of the socket that is bound to it (unix_bind), less the umask.
    fchmod(socket, mode)?;
    if !mode.intersects(OTHERS) {
        return socket.bind(addr);
    }
    // No other thread has been started that could make a file now.
    let before = umask(Mode::empty());
    let bound = socket.bind(addr);
    umask(before);
    bound
}

/// Removes the socket at `path` if it is one and nobody serves it.
fn remove_stale(path: &Path, addr: &SockAddr, kind: Type) -> Result<(), ClaimError> {
    let failed = |source| ClaimError::Replace { path: path.to_owned(), source };
    let before = match lstat(path) {
        Ok(stat) => stat,
        // It has gone meanwhile: try to bind again.
        Err(nix::Error::ENOENT) => return Ok(()),
        Err(error) => return Err(failed(error.into())),
    };
    if SFlag::from_bits_truncate(before.st_mode) & SFlag::S_IFMT != SFlag::S_IFSOCK {
        return Err(ClaimError::NotASocket(path.to_owned()));
    }
    let probe = Socket::new(Domain::UNIX, kind.cloexec().nonblocking(), None).map_err(failed)?;
    match probe.connect(addr) {
        Err(error) => match error.raw_os_error() {
            Some(libc::ECONNREFUSED) => {}
            Some(libc::ENOENT) => return Ok(()),
            // Its accept queue is full; it is a socket of another type; it is connected already.
            Some(libc::EAGAIN | libc::EPROTOTYPE | libc::EPERM) => {
                return Err(ClaimError::InUse(path.to_owned()));
            }
            _ => return Err(failed(error)),
        },
        Ok(()) => return Err(ClaimError::InUse(path.to_owned())),
    }
    // Another switch that starts now may have replaced the stale one with its own.
    match lstat(path) {
        Ok(now) if identity(&now) == identity(&before) => {
            nix::unistd::unlink(path).map_err(|error| failed(error.into()))
        }
        _ => Ok(()),
    }
}

fn identity(stat: &FileStat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

/// What a umask takes away, as people have it.
const OTHERS: Mode = Mode::S_IRWXG.union(Mode::S_IRWXO);

/// How often a path may turn out to be taken by something stale.
const ATTEMPTS: u32 = 4;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::net::{UnixDatagram, UnixListener};

    use super::*;

    fn claim(path: &Path) -> Result<(Socket, SocketFile), ClaimError> {
        SocketFile::claim(path, Type::STREAM)
    }

    #[test]
    fn a_stale_socket_is_replaced_and_ours_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ctl");
        drop(UnixListener::bind(&path).unwrap());
        let (_socket, file) = claim(&path).unwrap();
        assert_eq!(file.absolute(), path.canonicalize().unwrap());
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn a_socket_for_its_owner_lets_nobody_else_connect() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin");
        let (_socket, _file) = SocketFile::claim_for_owner(&path, Type::STREAM).unwrap();
        assert_eq!(lstat(&path).unwrap().st_mode & 0o7777, 0o600);
    }

    #[test]
    fn what_is_alive_or_no_socket_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ctl");
        let check = |what: &str| {
            let before = lstat(&path).unwrap();
            let error = claim(&path).unwrap_err();
            assert_eq!(identity(&lstat(&path).unwrap()), identity(&before), "{what}: {error}");
            error
        };
        let listener = UnixListener::bind(&path).unwrap();
        assert!(matches!(check("listener"), ClaimError::InUse(_)));
        drop(listener);
        fs::remove_file(&path).unwrap();
        let datagram = UnixDatagram::bind(&path).unwrap();
        assert!(matches!(check("datagram"), ClaimError::InUse(_)));
        drop(datagram);
        fs::remove_file(&path).unwrap();
        fs::write(&path, "precious").unwrap();
        assert!(matches!(check("file"), ClaimError::NotASocket(_)));
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(matches!(check("directory"), ClaimError::NotASocket(_)));
        fs::remove_dir(&path).unwrap();
        std::os::unix::fs::symlink("nowhere", &path).unwrap();
        assert!(matches!(check("link"), ClaimError::NotASocket(_)));
    }

    #[test]
    fn a_path_that_somebody_else_has_taken_over_is_not_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ctl");
        let (_socket, file) = claim(&path).unwrap();
        fs::rename(&path, dir.path().join("old")).unwrap();
        fs::write(&path, "somebody else's").unwrap();
        drop(file);
        assert_eq!(fs::read(&path).unwrap(), b"somebody else's");
    }
}
