//! The one thread that serves everybody. mio tells what is ready; nothing else decides order.
//!
//! # A turn
//! 1. Wait for events, or for the next timer; not at all while ports are ready. With `--busy-poll`,
//!    look for a while before sleeping.
//! 2. Take the time, once.
//! 3. Note what each event says. Readiness is edge-triggered: a port that is ready stays in a list
//!    until it has said that it has nothing more.
//! 4. Serve each port that something has just happened to, once: frames that wait for it, then up to
//!    [`FRAMES_PER_TURN`] frames from it, then its control connection. One that has more goes to the
//!    end of the line.
//! 5. Serve the line for a while: the first, and others until [`ATTEMPTS_PER_TURN`] have been made. So
//!    a lone frame waits for a few frames of bulk, not for some of each port that has bulk.
//! 6. Accept guests that knock, and serve timers that are due.
//!
//! Nothing here blocks, and nothing is logged for a frame.

mod admission;
mod attachments;
mod busy_poll;
mod entrances;
mod links;
mod port_info;
mod requests;
mod token;

use std::io::{self};
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll};
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::signal::Signal;
use nix::sys::signalfd::SignalFd;
use tracing::{debug, info, warn};

use crate::control::{CopyDesk, Handshakes};
use crate::core::{PortCounters, PortId, RxDrop, Switch, SwitchConfig, Verdict};
use crate::log_limit::{LogLimit, Suppressed};
use crate::mirror::{Forwarded, Mirror};
use crate::port::{Attach, DataAddresses, NamedDataSocket, NamedFrame, PeerClaims, Received, Tap};
use attachments::Attachment;
use busy_poll::{BusyPoll, poll_for};
use entrances::Entrances;
use links::{Links, Work};
use requests::Requests;
use token::Subject;

pub use entrances::{Entrance, LeadsTo};
pub use port_info::PortInfo;
pub use requests::{Handle, RequestError};

/// Frames that one port may have forwarded before the next one's turn: more lets one guest's bulk
/// stand before another's single frame (a prototype's median was 21 us at 8 and 86 us at 32), fewer
/// gains nothing.
pub const FRAMES_PER_TURN: usize = 8;

/// Attempts to receive or send a frame after which the line waits for the next turn: what the frames
/// of one port's turn take.
pub const ATTEMPTS_PER_TURN: u32 = 2 * FRAMES_PER_TURN as u32;

/// How long a sleep may last though a timer is due before. A timer that comes before the kernel's own
/// tick (4 ms) is set in the hardware for each sleep, which in a virtual machine costs as much as a
/// frame: a tenth of all in overload. While frames come there are turns enough to look at the timers.
const SHORTEST_SLEEP: Duration = Duration::from_millis(5);

/// `SO_SNDBUF` of a port's data socket, in bytes; the kernel doubles it. What lies in the kernel is
/// out of our order, so it is little. Never less than the longest frame: see [`EventLoop::new`].
const SEND_BUFFER: usize = 32_768;

/// All that the loop is given: sockets that are bound, devices that are open.
#[derive(Debug)]
pub struct Sockets {
    /// The sockets that clients connect to.
    pub entrances: Vec<Entrance>,
    /// The data socket that all ports share, if there is one.
    pub named_data: Option<NamedDataSocket>,
    /// The names of the ports' own data sockets.
    pub addresses: DataAddresses,
    /// The uplink's interface, and why it could not be opened as that has been said.
    pub uplink: Option<(Tap, Option<String>)>,
    /// What else the switch attaches by itself.
    pub cables: Vec<Box<dyn Attach>>,
    /// The signals that end the loop.
    pub signals: SignalFd,
    /// Whether the end of input at the terminal ends the loop.
    pub watch_terminal: bool,
}

/// What ended the loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// A signal that asks the process to end.
    BySignal(Signal),
    /// The end of input at the terminal.
    AtTerminal,
}

/// The running switch.
#[derive(Debug)]
pub struct EventLoop {
    poll: Poll,
    switch: Switch,
    links: Links,
    entrances: Entrances,
    handshakes: Handshakes,
    named_data: Option<NamedDataSocket>,
    addresses: DataAddresses,
    claims: PeerClaims,
    attachments: Vec<Attachment>,
    signals: SignalFd,
    busy_poll: Option<BusyPoll>,
    mirror: Mirror,
    /// Who serves clients that want copies of frames.
    copies: Option<Box<dyn CopyDesk>>,
    requests: Requests,
    send_buffer: usize,
    /// One frame, and one byte to see that it is too long.
    buffer: Vec<u8>,
    /// Lines may have been typed at the terminal.
    typed: bool,
    /// Frames may wait in the shared data socket.
    named_data_ready: bool,
    ended: Option<Ended>,
}

impl EventLoop {
    /// Puts a switch of this size behind these sockets.
    ///
    /// # Errors
    /// Those of the poller.
    pub fn new(config: SwitchConfig, sockets: Sockets) -> io::Result<Self> {
        let poll = Poll::new()?;
        let registry = poll.registry();
        let watch = |descriptor, subject: Subject| {
            registry.register(&mut SourceFd(&descriptor), subject.token(), Interest::READABLE)
        };
        let entrances = Entrances::new(sockets.entrances);
        for (at, descriptor) in entrances.descriptors().enumerate() {
            watch(descriptor, Subject::Entrance(at))?;
        }
        watch(sockets.signals.as_raw_fd(), Subject::Signals)?;
        if let Some(named) = &sockets.named_data {
            watch(named.descriptor(), Subject::NamedData)?;
        }
        if sockets.watch_terminal {
            watch(io::stdin().as_raw_fd(), Subject::Terminal)?;
        }
        let links = Links::new(registry.try_clone()?);
        let requests = Requests::new(registry)?;
        let mut this = EventLoop {
            poll,
            switch: Switch::new(config),
            links,
            entrances,
            handshakes: Handshakes::default(),
            named_data: sockets.named_data,
            addresses: sockets.addresses,
            claims: PeerClaims::new(),
            attachments: Vec::new(),
            signals: sockets.signals,
            busy_poll: None,
            mirror: Mirror::default(),
            copies: None,
            requests,
            send_buffer: SEND_BUFFER.max(config.max_frame),
            buffer: vec![0; config.max_frame + 1],
            typed: false,
            named_data_ready: false,
            ended: None,
        };
        let now = Instant::now();
        if let Some((tap, said)) = sockets.uplink {
            this.keep_attached(Attachment::uplink(Box::new(tap), said, now), now);
        }
        for cable in sockets.cables {
            this.keep_attached(Attachment::cable(cable, now), now);
        }
        Ok(this)
    }

    /// Lets the loop look for events for up to `window` before it sleeps, where that pays.
    pub fn look_before_sleeping(&mut self, window: Duration) {
        self.busy_poll = Some(BusyPoll::new(window));
    }

    /// Lets `desk` serve clients that want copies of frames; without one they are refused.
    pub fn leave_copies_to(&mut self, desk: Box<dyn CopyDesk>) {
        self.copies = Some(desk);
    }

    /// Serves until a signal or the terminal ends it.
    ///
    /// # Errors
    /// Those of the poller, after which nothing can be served.
    pub fn run(mut self) -> io::Result<Ended> {
        let mut events = Events::with_capacity(EVENTS_PER_TURN);
        let mut now = Instant::now();
        loop {
            now = self.wait(&mut events, now)?;
            for event in &events {
                self.note(event, now);
            }
            self.serve_ports(now);
            self.serve_named_data(now);
            self.accept(now);
            self.read_terminal();
            self.serve_timers(now);
            if let Some(ended) = self.ended {
                self.mirror.stop_all(&self.links);
                let (ports, stations) = (self.switch.ports().len(), self.switch.stations());
                let (queued, totals) = (self.switch.queued(), self.switch.totals());
                let busy_poll =
                    self.busy_poll.as_ref().map(|b| tracing::field::display(b.totals()));
                info!(ports, stations, queued, %totals, busy_poll, "stopped");
                return Ok(ended);
            }
        }
    }

    /// Waits until there is something to do, and returns the time.
    fn wait(&mut self, events: &mut Events, now: Instant) -> io::Result<Instant> {
        let timeout = if self.has_work() {
            Some(Duration::ZERO)
        } else {
            let due = self.next_timer().map(|due| due.max(now + SHORTEST_SLEEP));
            if let Some(busy_poll) = &mut self.busy_poll {
                return busy_poll.wait(&mut self.poll, events, due);
            }
            due.map(|due| due.saturating_duration_since(now))
        };
        poll_for(&mut self.poll, events, timeout)?;
        Ok(Instant::now())
    }

    fn has_work(&self) -> bool {
        let knocked = self.entrances.has_guests();
        self.links.has_ready() || knocked || self.named_data_ready || self.typed
    }

    fn next_timer(&self) -> Option<Instant> {
        let timers = [
            self.switch.next_tick(),
            self.handshakes.next_deadline(),
            self.entrances.next_attempt(),
        ];
        let attachments = self.attachments.iter().filter_map(Attachment::due);
        timers.into_iter().flatten().chain(attachments).min()
    }

    fn note(&mut self, event: &Event, now: Instant) {
        match Subject::of(event.token()) {
            Some(Subject::Data(id)) => {
                if event.is_readable() || event.is_error() || event.is_read_closed() {
                    self.links.set_readable(id);
                }
                if event.is_writable() {
                    self.links.set_writable(id);
                }
            }
            Some(Subject::Control(id)) => self.links.set_talking(id),
            Some(Subject::Entrance(at)) => self.entrances.knock(at),
            Some(Subject::Pending(id)) => self.read_request(id, now),
            Some(Subject::NamedData) => self.named_data_ready = true,
            Some(Subject::Signals) => self.read_signal(),
            Some(Subject::Terminal) => self.typed = true,
            Some(Subject::Requests) => self.serve_requests(),
            None => {}
        }
    }

    /// Serves each port that something has just happened to once, and some of the others.
    fn serve_ports(&mut self, now: Instant) {
        let (fresh, in_line) = self.links.ready();
        for _ in 0..fresh {
            if let Some((id, work)) = self.links.next_fresh() {
                self.serve_port(id, work, now);
            }
        }
        let mut attempts = 0;
        self.links.take_attempts();
        for _ in 0..in_line {
            if let Some((id, work)) = self.links.next_in_line() {
                self.serve_port(id, work, now);
            }
            attempts += self.links.take_attempts();
            if attempts >= ATTEMPTS_PER_TURN {
                break;
            }
        }
    }

    fn serve_port(&mut self, id: PortId, work: Work, now: Instant) {
        if work.writable {
            self.drain(id, now);
        }
        if work.readable {
            self.forward_from(id, now);
        }
        if work.talking && !self.links.hear_out(id, &mut self.buffer) {
            self.links.start_closing(id, LAST_FRAMES);
        }
        if self.links.has_finished(id) {
            self.close_port(id);
        }
    }

    /// Sends some of what waits for `id`.
    fn drain(&mut self, id: PortId, now: Instant) {
        self.links.send_rest(id);
        let more = self.switch.drain(id, FRAMES_PER_TURN, now, &mut self.links);
        let waiting = self.switch.has_queued(id);
        self.links.drained(id, more, waiting);
        if more {
            self.links.make_ready(id);
        }
        self.resume_released();
    }

    /// Forwards some of what `id` has sent.
    fn forward_from(&mut self, id: PortId, now: Instant) {
        for _ in 0..FRAMES_PER_TURN {
            // It is put back into the list when it is released.
            if self.switch.is_held(id) {
                return;
            }
            match self.links.receive(id, &mut self.buffer) {
                Received::Frame(len) => {
                    self.forward(id, len, now);
                    self.resume_released();
                }
                Received::Stranger(len) => self.switch.refuse(id, len, RxDrop::Stranger),
                Received::BadLength(len) => {
                    self.lose_framing(id, len, now);
                    return;
                }
                Received::Again => {}
                Received::Nothing => return,
                Received::Gone(error) => {
                    self.lose_port(id, &error, now);
                    return;
                }
            }
        }
        self.links.make_ready(id);
    }

    /// Forwards the first `len` bytes of the buffer, and records them for who captures.
    fn forward(&mut self, from: PortId, len: usize, now: Instant) {
        // Forwarding may take a while: the time of a frame is that at which it was received.
        let received = self.mirror.is_active().then(since_1970);
        let verdict = self.switch.forward(from, &self.buffer[..len], now, &mut self.links);
        if let Some(time) = received {
            self.record(from, len, verdict, time);
        }
    }

    /// Never inline: nobody captures, mostly.
    #[inline(never)]
    fn record(&mut self, from: PortId, len: usize, verdict: Verdict, time: Duration) {
        let frame = Forwarded { from, verdict, bytes: &self.buffer[..len], time };
        self.mirror.record(frame, self.switch.ports(), &self.links);
    }

    fn resume_released(&mut self) {
        while let Some(id) = self.switch.next_released() {
            self.links.resume(id);
        }
    }

    /// Forwards some of what came by the shared data socket.
    fn serve_named_data(&mut self, now: Instant) {
        if !self.named_data_ready {
            return;
        }
        for _ in 0..NAMED_FRAMES_PER_TURN {
            let Some(named) = &self.named_data else { break };
            match named.receive(&mut self.buffer) {
                NamedFrame::From(id, len) => {
                    self.forward(id, len, now);
                }
                NamedFrame::Stranger(len) => self.switch.refuse_unknown(len),
                NamedFrame::None(Received::Again) => {}
                NamedFrame::None(_) => {
                    self.named_data_ready = false;
                    break;
                }
            }
        }
        self.resume_released();
    }

    fn serve_timers(&mut self, now: Instant) {
        if self.switch.next_tick().is_some_and(|due| due <= now) {
            self.switch.tick(now, &mut self.links);
            self.resume_released();
        }
        let expired = self.handshakes.expire(now);
        if expired > 0 {
            static LIMIT: LogLimit = LogLimit::new();
            if let Some(suppressed) = LIMIT.admit(None).map(Suppressed::field) {
                warn!(connections = expired, suppressed, "closed for not saying what they want");
            }
            self.entrances.descriptors_freed();
        }
        self.entrances.look_again(now);
        self.tend_attachments(now);
    }

    /// A port's descriptor is of no more use.
    fn lose_port(&mut self, id: PortId, error: &io::Error, now: Instant) {
        if !self.lose_attachment(id, error, now) {
            debug!(port = %id, %error, "cannot receive");
            self.close_port(id);
        }
    }

    /// Closes `id`, whose client has announced a frame of `len` bytes: there is none so long, or it has
    /// no bytes, and what follows cannot be told apart.
    fn lose_framing(&mut self, id: PortId, len: u32, now: Instant) {
        static LIMIT: LogLimit = LogLimit::new();
        let uid = self.links.look_up(id).and_then(|(_, party)| party.uid());
        if let Some(suppressed) = LIMIT.admit(uid).map(Suppressed::field) {
            let longest = self.buffer.len() - 1;
            warn!(port = %id, uid, len, longest, suppressed,
                "closed for a frame of a length that is not carried; --mtu sets the longest");
        }
        self.switch.refuse(id, 0, RxDrop::BadLength);
        self.lose_port(id, &io::ErrorKind::InvalidData.into(), now);
    }

    fn close_port(&mut self, id: PortId) {
        let (endpoint, uid) = self.links.detach(id).unzip();
        let (kind, uid) = (endpoint.map(|endpoint| endpoint.kind()), uid.flatten());
        let counters = self.forget_port(id);
        // The descriptors that this has freed may be what somebody waits for.
        self.entrances.descriptors_freed();
        static LIMIT: LogLimit = LogLimit::new();
        if let Some(suppressed) = LIMIT.admit(uid).map(Suppressed::field) {
            let counters = counters.unwrap_or_default();
            info!(port = %id, kind, uid, %counters, suppressed, "port closed");
        }
    }

    fn forget_port(&mut self, id: PortId) -> Option<PortCounters> {
        if let Some(named) = &mut self.named_data {
            named.dismiss(id);
        }
        let counters = self.switch.close_port(id);
        self.resume_released();
        counters
    }

    fn read_signal(&mut self) {
        while let Ok(Some(info)) = self.signals.read_signal() {
            if let Ok(signal) = Signal::try_from(info.ssi_signo as i32) {
                self.ended = Some(Ended::BySignal(signal));
            }
        }
    }

    /// Reads lines and forgets them; the end of input ends the loop. The terminal is shared with a
    /// shell, so its descriptor must stay as it is and is asked before each read.
    fn read_terminal(&mut self) {
        if !self.typed {
            return;
        }
        let stdin = io::stdin();
        let mut line = [0; 1024];
        for _ in 0..TERMINAL_READS {
            let mut asked = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
            if !matches!(nix::poll::poll(&mut asked, PollTimeout::ZERO), Ok(1)) {
                self.typed = false;
                return;
            }
            match nix::unistd::read(&stdin, &mut line) {
                Ok(0) => {
                    self.ended.get_or_insert(Ended::AtTerminal);
                }
                Ok(_) => continue,
                // EIO: we are in the background, and the terminal is somebody else's to read.
                Err(_) => {}
            }
            self.typed = false;
            return;
        }
    }
}

/// CLOCK_REALTIME.
#[cold]
fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

const EVENTS_PER_TURN: usize = 1024;

/// The shared data socket stands for all ports.
const NAMED_FRAMES_PER_TURN: usize = 64;

/// Frames of a port that are still forwarded after its control connection has ended: as many as
/// the largest `max_dgram_qlen` in common use lets lie unread.
const LAST_FRAMES: u32 = 512;

const TERMINAL_READS: usize = 16;
