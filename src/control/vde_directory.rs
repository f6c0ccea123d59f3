//! The directory that libvdeplug wants: a control socket of the name `ctl` in it.
//!
//! A client binds its own socket in the directory too, if it may, and asks for a port number at
//! `DIR/NUMBER` before it does so at `DIR/ctl`; `vde_switch` serves that at `ctl` only, and so do we.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{AtFlags, OFlag, open, openat};
use nix::sys::stat::{Mode, fchmod, fstat, fstatat};
use nix::unistd::{UnlinkatFlags, fchown, unlinkat};
use socket2::{Socket, Type};

use super::socket_file::{Access, ClaimError, SocketFile};

/// Why there is no VDE directory.
#[derive(Debug, thiserror::Error)]
pub enum VdeError {
    /// It cannot be made, or its mode or group cannot be set.
    #[error("cannot have the directory {}", .path.display())]
    Directory {
        /// The path.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The socket in it.
    #[error(transparent)]
    Socket(#[from] ClaimError),
}

/// A directory with a control socket of ours, until this is dropped.
#[derive(Debug)]
pub struct VdeDirectory {
    // Dropped first: only an empty directory can be removed.
    ctl: SocketFile,
    _made: Option<Made>,
}

/// A directory that was made here, and is removed here if nobody has left anything in it.
#[derive(Debug)]
struct Made {
    parent: OwnedFd,
    name: OsString,
    inode: u64,
}

impl VdeDirectory {
    /// Makes the directory `path`, or uses the one that is there, and binds a control socket in it.
    /// Without a mode that is 0600, and the directory's 02700, as `vde_switch` has it. A directory that
    /// was there keeps its mode and group, unless `access` names others.
    ///
    /// # Errors
    /// [`VdeError`]; nothing that was made is left then.
    pub fn claim(path: &Path, access: Access) -> Result<(Socket, Self), VdeError> {
        let failed = |source| VdeError::Directory { path: path.to_owned(), source };
        let made = Made::at(path).map_err(failed)?;
        open_up(path, made.is_some(), access).map_err(failed)?;
        let access = Access { mode: access.mode.or(Some(OWNER_ONLY)), ..access };
        let (socket, ctl) = SocketFile::claim_with(&ctl_of(path), Type::STREAM, access)?;
        Ok((socket, VdeDirectory { ctl, _made: made }))
    }

    /// The control socket's path from the root.
    pub fn ctl(&self) -> &Path {
        self.ctl.absolute()
    }
}

/// The path of the control socket of directory `path`.
pub fn ctl_of(path: &Path) -> PathBuf {
    path.join("ctl")
}

impl Made {
    /// `None` if the directory is there already.
    fn at(path: &Path) -> io::Result<Option<Self>> {
        match std::fs::DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {
                return Ok(None);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(io::ErrorKind::NotADirectory.into());
            }
            Err(error) => return Err(error),
        }
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let this = open(path, flags | OFlag::O_NOFOLLOW, Mode::empty())?;
        let parent = openat(&this, "..", flags, Mode::empty())?;
        let inode = fstat(&this)?.st_ino;
        Ok(Some(Made { parent, name, inode }))
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        let name = self.name.as_os_str();
        let stat = fstatat(&self.parent, name, AtFlags::AT_SYMLINK_NOFOLLOW);
        if stat.is_ok_and(|stat| stat.st_ino == self.inode) {
            // Whoever has left something in it needs it still.
            let _ = unlinkat(&self.parent, name, UnlinkatFlags::RemoveDir);
        }
    }
}

/// Sets who may enter.
fn open_up(path: &Path, is_new: bool, access: Access) -> io::Result<()> {
    let mode = access.mode.map(|mode| SETGID | mode | searchable(mode));
    let mode = mode.or(is_new.then_some(SETGID | Mode::S_IRWXU));
    if mode.is_none() && access.group.is_none() {
        return Ok(());
    }
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let directory = open(path, flags, Mode::empty())?;
    if access.group.is_some() {
        fchown(&directory, None, access.group)?;
    }
    if let Some(mode) = mode {
        fchmod(&directory, mode)?;
    }
    Ok(())
}

/// Who may use what is in a directory must be able to find it there.
fn searchable(mode: Mode) -> Mode {
    Mode::from_bits_truncate((mode.bits() & 0o444) >> 2 | (mode.bits() & 0o222) >> 1)
}

const SETGID: Mode = Mode::S_ISGID;
const OWNER_ONLY: Mode = Mode::S_IRUSR.union(Mode::S_IWUSR);

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().mode() & 0o7777
    }

    fn access(mode: u32) -> Access {
        Access { mode: Mode::from_bits(mode), group: None }
    }

    #[test]
    fn modes_are_those_of_vde_switch() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vde");
        let rows =
            [(None, 0o2700, 0o600), (Some(0o660), 0o2770, 0o660), (Some(0o666), 0o2777, 0o666)];
        for (asked, of_directory, of_socket) in rows {
            let access = asked.map_or(Access::default(), access);
            let (_socket, claimed) = VdeDirectory::claim(&path, access).unwrap();
            assert_eq!((mode(&path), mode(claimed.ctl())), (of_directory, of_socket));
            drop(claimed);
            assert!(!path.exists());
        }
    }

    #[test]
    fn a_directory_that_was_there_stays_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vde");
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o711)).unwrap();
        let (socket, claimed) = VdeDirectory::claim(&path, Access::default()).unwrap();
        assert_eq!((mode(&path), mode(claimed.ctl())), (0o711, 0o600));
        socket.listen(1).unwrap();
        let second = VdeDirectory::claim(&path, Access::default()).unwrap_err();
        assert!(matches!(second, VdeError::Socket(ClaimError::InUse(_))), "{second}");
        drop(claimed);
        assert_eq!(fs::read_dir(&path).unwrap().count(), 0);
        fs::remove_dir(&path).unwrap();
        fs::write(&path, "precious").unwrap();
        assert!(VdeDirectory::claim(&path, Access::default()).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }

    #[test]
    fn what_clients_have_left_keeps_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vde");
        let (_socket, claimed) = VdeDirectory::claim(&path, Access::default()).unwrap();
        fs::write(path.join(".1234-00000"), "").unwrap();
        drop(claimed);
        assert!(path.is_dir() && !path.join("ctl").exists());
    }
}
