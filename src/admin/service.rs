//! Who listens on the admin socket, and what the loop hands over.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use tracing::{info, warn};

use super::connection;
use super::copies;
use super::crew::Crew;
use crate::control::{ClaimError, CopyDesk, CopyRequest, SocketFile};
use crate::event_loop::Handle;
use crate::log_limit::{LogLimit, Suppressed};
use crate::sys::Peer;

/// The admin socket, bound and listening, until this is dropped.
#[derive(Debug)]
pub struct AdminSocket {
    listener: UnixListener,
    file: SocketFile,
}

/// The threads that serve administrators. Dropped, after the loop has ended: they give what they
/// still have, for two seconds at the most.
#[derive(Debug)]
pub struct Service {
    crew: Arc<Crew>,
    desk: Desk,
    reception: Option<JoinHandle<()>>,
    _file: Option<SocketFile>,
}

/// Where the loop leaves what it does not do itself, without waiting.
#[derive(Clone, Debug)]
pub struct Desk {
    requests: Sender<CopyRequest>,
    waker: Arc<Waker>,
}

impl AdminSocket {
    /// Takes `path`, for its owner alone.
    ///
    /// # Errors
    /// [`ClaimError`].
    pub fn claim(path: &Path) -> Result<Self, ClaimError> {
        let (socket, file) = SocketFile::claim_for_owner(path, socket2::Type::STREAM)?;
        socket
            .listen(BACKLOG)
            .map_err(|source| ClaimError::Bind { path: path.to_owned(), source })?;
        Ok(AdminSocket { listener: UnixListener::from(socket), file })
    }
}

impl Service {
    /// Starts to serve on `socket`, if there is one, and what comes over the desk. Must not be called
    /// before the process has gone into the background.
    ///
    /// # Errors
    /// Those of the poller and of starting a thread.
    pub fn start(socket: Option<AdminSocket>, handle: Handle) -> io::Result<Self> {
        let poll = Poll::new()?;
        let (listener, file) = socket.map(|socket| (socket.listener, socket.file)).unzip();
        if let Some(listener) = &listener {
            let descriptor = listener.as_raw_fd();
            poll.registry().register(&mut SourceFd(&descriptor), LISTENER, Interest::READABLE)?;
        }
        if let Some(file) = &file {
            info!(path = %file.absolute().display(), "admin socket open");
        }
        let (requests, copies) = channel();
        let desk = Desk { requests, waker: Arc::new(Waker::new(poll.registry(), WAKER)?) };
        let crew = Arc::new(Crew::default());
        let reception = Reception { listener, copies, handle, crew: crew.clone() };
        let reception =
            thread::Builder::new().name("admin".into()).spawn(move || reception.serve(poll))?;
        Ok(Service { crew, desk, reception: Some(reception), _file: file })
    }

    /// For the loop.
    pub fn desk(&self) -> Desk {
        self.desk.clone()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.crew.close();
        if self.desk.waker.wake().is_ok()
            && let Some(reception) = self.reception.take()
        {
            // If it has panicked there is nothing left to wait for.
            let _ = reception.join();
        }
        let cut_off = self.crew.wait(LAST_WORDS);
        if cut_off > 0 {
            warn!(
                connections = cut_off,
                "administrators cut off: they do not read, or a disk does not answer"
            );
        }
    }
}

impl CopyDesk for Desk {
    /// If nobody serves any more, the client's connection is closed.
    fn leave(&self, request: CopyRequest) {
        if self.requests.send(request).is_ok() {
            // If it cannot be woken now, it will be by the next one.
            let _ = self.waker.wake();
        }
    }
}

/// The thread that accepts.
struct Reception {
    listener: Option<UnixListener>,
    copies: Receiver<CopyRequest>,
    handle: Handle,
    crew: Arc<Crew>,
}

impl Reception {
    fn serve(self, mut poll: Poll) {
        let mut events = Events::with_capacity(4);
        while !self.crew.is_closing() {
            match poll.poll(&mut events, None) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                    warn!(%error, "administrators are not served any more");
                    return;
                }
                _ => {}
            }
            self.accept_all();
            for request in self.copies.try_iter() {
                self.copy(request);
            }
        }
    }

    fn accept_all(&self) {
        let Some(listener) = &self.listener else { return };
        while !self.crew.is_closing() {
            match listener.accept() {
                Ok((stream, _)) => self.admit(stream),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                // Out of descriptors or memory: who waits goes on waiting.
                Err(_) => thread::sleep(ACCEPT_AGAIN),
            }
        }
    }

    fn admit(&self, stream: UnixStream) {
        let Ok(credentials) = getsockopt(&stream.as_fd(), PeerCredentials) else { return };
        let peer = Peer { uid: credentials.uid(), pid: credentials.pid() };
        if !peer.may_administer() {
            warn_refused(peer, "only root and the switch's own user may administer it");
            connection::refuse(&stream, "only root and the switch's own user may ask it");
            return;
        }
        let Some(shift) = self.crew.enlist() else {
            connection::refuse(&stream, "too many connections to the admin socket");
            return;
        };
        let handle = self.handle.clone();
        spawn(peer, move || connection::serve(&stream, peer, &handle, &shift));
    }

    fn copy(&self, request: CopyRequest) {
        let peer = request.connection.peer;
        match self.crew.enlist() {
            None => warn_refused(peer, "too many administrators are served"),
            Some(shift) => {
                let handle = self.handle.clone();
                spawn(peer, move || copies::serve(&request, &handle, &shift));
            }
        }
    }
}

fn spawn(peer: Peer, serve: impl FnOnce() + Send + 'static) {
    let name = format!("admin {}", peer.pid);
    if let Err(error) = thread::Builder::new().name(name).spawn(serve) {
        // What it would have served is closed.
        warn_refused(peer, &format!("no thread to serve it: {error}"));
    }
}

fn warn_refused(peer: Peer, reason: &str) {
    static LIMIT: LogLimit = LogLimit::new();
    if let Some(suppressed) = LIMIT.admit(Some(peer.uid)).map(Suppressed::field) {
        let Peer { uid, pid } = peer;
        warn!(uid, pid, reason, suppressed, "administrator refused");
    }
}

const LISTENER: Token = Token(0);
const WAKER: Token = Token(1);

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 128;

/// How long to wait after descriptors have run out.
const ACCEPT_AGAIN: Duration = Duration::from_millis(200);

/// How long the end of the process waits for those who still read.
const LAST_WORDS: Duration = Duration::from_secs(2);
