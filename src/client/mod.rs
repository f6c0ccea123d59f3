//! A guest as its kernel speaks, for programs that try a switch out.
//!
//! A [`Client`] speaks one [`Transport`], with the system calls that the real programs make: a UML
//! kernel of the `daemon` transport sends with an unconnected `sendto` of all 110 bytes of the switch's
//! address (and so does this one, unless it is told to [`Client::attach`] itself), libvdeplug connects
//! its socket, QEMU writes length and frame in one call and reads all that has come.

mod request;
mod stream;

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};

use request::{Name, address_of};
use stream::Stream;

/// One guest's port.
#[derive(Debug)]
pub struct Client {
    socket: Socket,
    /// The port lives as long as this is open; `None` where the socket itself is the connection.
    control: Option<UnixStream>,
    way: Way,
    mac: Mac,
}

/// How a client and a switch speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// UML's `eth0=daemon`: an abstract data socket, a request on the control socket, and one datagram
    /// for each frame.
    Daemon,
    /// UML's `vec0:transport=bess`: a connection of records, each a frame.
    Bess,
    /// libvdeplug: a data socket in the switch's directory, a request with a description on its `ctl`,
    /// and one datagram for each frame.
    Vde,
    /// QEMU's `-netdev stream`: a stream of frames, each behind its length.
    Qemu,
}

/// How a frame goes.
#[derive(Debug)]
enum Way {
    /// To this address, by a socket that is not connected.
    To(SockAddr),
    /// By a connected socket that keeps frames apart.
    Connected,
    Stream(Stream),
}

/// A station's address.
pub type Mac = [u8; 6];

/// All stations.
pub const BROADCAST: Mac = [0xff; 6];

/// Why there is no port.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// A data socket cannot be had.
    #[error("cannot make a data socket")]
    Socket(#[source] io::Error),
    /// Nobody serves the control socket.
    #[error("cannot reach the switch at {path}")]
    Unreachable {
        /// The control socket.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// The switch took no request, hung up, or was silent for seconds.
    #[error("the switch gives no port")]
    NoPort(#[source] io::Error),
    /// The switch's answer is no address.
    #[error("no address in the switch's reply")]
    Reply,
}

/// The address of the guest numbered `n`.
pub fn mac(n: u32) -> Mac {
    let [a, b, c, d] = n.to_be_bytes();
    [2, 0, a, b, c, d]
}

/// A frame of `len` bytes, 14 or more, of a type for experiments, zeroes behind its header.
pub fn frame(to: Mac, from: Mac, len: usize) -> Vec<u8> {
    let mut frame = vec![0; len.max(14)];
    frame[..6].copy_from_slice(&to);
    frame[6..12].copy_from_slice(&from);
    frame[12..14].copy_from_slice(&EXPERIMENTAL.to_be_bytes());
    frame
}

impl Client {
    /// Gets a port of the `daemon` transport for the guest with the address `mac` from whoever serves the
    /// socket `control`. The data socket blocks for as long as [`PATIENCE`], both ways.
    ///
    /// # Errors
    /// When there is no socket to be had, nobody serves, or no port is given.
    pub fn connect(control: &Path, mac: Mac) -> Result<Client, ClientError> {
        Client::connect_by(Transport::Daemon, control, mac)
    }

    /// The same with any `transport`; `path` is the switch's socket for it, its directory for
    /// [`Transport::Vde`].
    ///
    /// # Errors
    /// As above.
    pub fn connect_by(transport: Transport, path: &Path, mac: Mac) -> Result<Client, ClientError> {
        let (socket, control, way) = match transport {
            Transport::Daemon => {
                let name = abstract_name();
                let socket = data_socket(&name).map_err(ClientError::Socket)?;
                let mut control = request::connect(path)?;
                let switch = request::port(&mut control, &name, &[0; PADDING])?;
                (socket, Some(control), Way::To(switch))
            }
            Transport::Vde => {
                let (socket, control) = plug(path)?;
                (socket, Some(control), Way::Connected)
            }
            Transport::Bess => (connection(Type::SEQPACKET, path)?, None, Way::Connected),
            Transport::Qemu => {
                (connection(Type::STREAM, path)?, None, Way::Stream(Stream::default()))
            }
        };
        make_patient(&socket).map_err(ClientError::Socket)?;
        Ok(Client { socket, control, way, mac })
    }

    /// Connects the data socket to the switch's address, if it is not, so that its readiness tells
    /// whether there is room for another frame.
    ///
    /// # Errors
    /// Those of `connect(2)`.
    pub fn attach(&mut self) -> io::Result<()> {
        if let Way::To(switch) = &self.way {
            self.socket.connect(switch)?;
            self.way = Way::Connected;
        }
        Ok(())
    }

    /// Its station.
    pub fn mac(&self) -> Mac {
        self.mac
    }

    /// Its data socket, to be asked whether frames have come.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Its control connection, which is readable when the switch has ended the port; `None` where the
    /// data socket is what ends.
    pub fn control(&self) -> Option<BorrowedFd<'_>> {
        self.control.as_ref().map(AsFd::as_fd)
    }

    /// Lets neither sending nor receiving wait, or both again.
    ///
    /// # Errors
    /// Those of `fcntl(2)`.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.socket.set_nonblocking(nonblocking)
    }

    /// How long [`Client::receive`] waits; not zero, which would be for ever.
    ///
    /// # Errors
    /// Those of `setsockopt(2)`.
    pub fn set_patience(&self, patience: Duration) -> io::Result<()> {
        self.socket.set_read_timeout(Some(patience))
    }

    /// Sends one frame, as it is.
    ///
    /// # Errors
    /// `WouldBlock` when there was no room in time; else those of `send(2)`: `ConnectionRefused` or
    /// `BrokenPipe` when the switch is gone.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        match &self.way {
            Way::To(switch) => uninterrupted(|| self.socket.send_to(frame, switch)).map(|_| ()),
            Way::Connected => uninterrupted(|| self.socket.send(frame)).map(|_| ()),
            Way::Stream(stream) => stream.send(&self.socket, frame),
        }
    }

    /// The next frame's length, or `None` if none has come in time. What `buffer` has no room for is
    /// cut off.
    ///
    /// # Errors
    /// Those of `recv(2)`; `UnexpectedEof` when the switch has ended the connection.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let result = match &self.way {
            Way::Stream(stream) => stream.receive(&self.socket, buffer),
            Way::To(_) | Way::Connected => uninterrupted(|| (&mut &self.socket).read(buffer)),
        };
        match result {
            Ok(0) if self.control.is_none() => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(len) => Ok(Some(len)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Throws away what has come; returns how many frames that were.
    ///
    /// # Errors
    /// Those of [`Client::receive`].
    pub fn discard(&self) -> io::Result<u64> {
        let mut buffer = [0; 64];
        let mut frames = 0;
        self.set_nonblocking(true)?;
        while self.receive(&mut buffer)?.is_some() {
            frames += 1;
        }
        self.set_nonblocking(false)?;
        Ok(frames)
    }
}

/// As libvdeplug does: a data socket in the directory that has no name any more once the switch knows
/// it, and is connected. Returns the control connection too.
fn plug(directory: &Path) -> Result<(Socket, UnixStream), ClientError> {
    let mut control = request::connect(&directory.join("ctl"))?;
    let path = directory.join(format!(".{:05}-{:05}", std::process::id(), number()));
    let name = path_name(&path).map_err(ClientError::Socket)?;
    let socket = data_socket(&name).map_err(ClientError::Socket)?;
    let connected = fs::set_permissions(&path, Permissions::from_mode(0o700))
        .map_err(ClientError::Socket)
        .and_then(|()| request::port(&mut control, &name, DESCRIPTION))
        .and_then(|switch| socket.connect(&switch).map_err(ClientError::Socket));
    // There is nobody to be told of a name that stays.
    let _ = fs::remove_file(&path);
    connected.map(|()| (socket, control))
}

fn data_socket(name: &Name) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::DGRAM, None)?;
    socket.bind(&address_of(name)?)?;
    Ok(socket)
}

fn connection(of_type: Type, path: &Path) -> Result<Socket, ClientError> {
    let socket = Socket::new(Domain::UNIX, of_type, None).map_err(ClientError::Socket)?;
    let connect = || socket.connect(&SockAddr::unix(path)?);
    connect().map_err(|source| ClientError::Unreachable { path: path.to_owned(), source })?;
    Ok(socket)
}

fn make_patient(socket: &Socket) -> io::Result<()> {
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))
}

/// All of an abstract name, as a kernel makes it: not padded with zeroes.
fn abstract_name() -> Name {
    let mut name = [0x5a; NAME_LEN];
    name[..5].fill(0);
    name[5..9].copy_from_slice(&std::process::id().to_ne_bytes());
    name[9..13].copy_from_slice(&number().to_ne_bytes());
    name
}

/// `path` and zeroes behind it.
fn path_name(path: &Path) -> io::Result<Name> {
    let path: &OsStr = path.as_os_str();
    let mut name = [0; NAME_LEN];
    let place = name[..NAME_LEN - 1].get_mut(..path.len());
    place.ok_or(io::ErrorKind::InvalidFilename)?.copy_from_slice(path.as_bytes());
    Ok(name)
}

/// Another one each time.
fn number() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// What `call` returns when no signal interrupts it.
fn uninterrupted(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// How long a client waits for a frame, or for room, before it says that there is none.
pub const PATIENCE: Duration = Duration::from_millis(500);

const NAME_LEN: usize = size_of::<Name>();

/// Bytes that a C compiler puts behind a kernel's request.
const PADDING: usize = 2;

/// libvdeplug's says which program it is in, and whose.
const DESCRIPTION: &[u8] = b"client: user=any";

/// "Local experimental EtherType 1" of IEEE 802.
const EXPERIMENTAL: u16 = 0x88b5;
