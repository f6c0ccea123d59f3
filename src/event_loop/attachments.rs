//! Keeps what the switch attaches by itself: the TAP uplink and the cables.
//!
//! Each has its port, with the same number, from the start to the end. While it is not attached, frames
//! for it are dropped and counted. What is lost is tried again, after pauses that grow; it is said when
//! something changes, not for each attempt.

use std::io;
use std::time::{Duration, Instant};

use tracing::field::DisplayValue;
use tracing::{info, warn};

use super::EventLoop;
use super::port_info::Party;
use crate::core::{PortId, UPLINK_NUMBER};
use crate::log_limit::{LogLimit, Suppressed};
use crate::port::{Attach, Endpoint, Missing, Sizes};

/// Something to be kept attached, and what has become of it.
#[derive(Debug)]
pub(super) struct Attachment {
    what: Box<dyn Attach>,
    /// The number of its port, once it has had one.
    number: Option<u32>,
    port: Option<PortId>,
    state: State,
    /// Before the next attempt but one.
    pause: Duration,
    /// What was last said about it, so that it is said once.
    said: Said,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Attached { since: Instant, care: Option<Instant> },
    Detached { next: Instant },
}

#[derive(Debug, PartialEq, Eq)]
enum Said {
    Nothing,
    Attached,
    Error(String),
}

impl Attachment {
    /// The TAP interface; `said` is why it is not there, if that has been said.
    pub(super) fn uplink(what: Box<dyn Attach>, said: Option<String>, now: Instant) -> Self {
        let said = said.map_or(Said::Nothing, Said::Error);
        Attachment { number: Some(UPLINK_NUMBER), said, ..Attachment::cable(what, now) }
    }

    /// Anything else: its port has the lowest number that is free.
    pub(super) fn cable(what: Box<dyn Attach>, now: Instant) -> Self {
        let pause = what.pauses().first;
        let state = State::Detached { next: now };
        Attachment { what, number: None, port: None, state, pause, said: Said::Nothing }
    }

    pub(super) fn is_uplink(&self) -> bool {
        self.number == Some(UPLINK_NUMBER)
    }

    /// When it is to be tried again or looked after.
    pub(super) fn due(&self) -> Option<Instant> {
        match self.state {
            State::Attached { care, .. } => care,
            State::Detached { next } => Some(next),
        }
    }

    fn attempt(&mut self, sizes: Sizes, now: Instant) -> Option<Box<dyn Endpoint>> {
        self.state = State::Detached { next: now + self.pause };
        self.pause = (self.pause * 2).min(self.what.pauses().longest);
        match self.what.open(sizes) {
            Ok(Some(endpoint)) => return Some(endpoint),
            Ok(None) => self.said = Said::Nothing,
            Err(error) => self.say_error(error),
        }
        None
    }

    fn attached(&mut self, now: Instant) {
        let care = self.what.care().map(|_| now);
        self.state = State::Attached { since: now, care };
    }

    fn look_after(&mut self, now: Instant) {
        if let (State::Attached { care, .. }, Some(pause)) = (&mut self.state, self.what.care()) {
            *care = Some(now + pause);
        }
        match self.what.look_after() {
            Ok(()) => self.say_attached(),
            Err(error) => self.say_error(error),
        }
    }

    fn lost(&mut self, error: &io::Error, now: Instant) {
        if let State::Attached { since, .. } = self.state
            && now.saturating_duration_since(since) >= self.what.pauses().longest
        {
            self.pause = self.what.pauses().first;
        }
        self.state = State::Detached { next: now + self.pause };
        static LIMIT: LogLimit = LogLimit::new();
        if let Some(suppressed) = LIMIT.admit(None).map(Suppressed::field) {
            let (interface, cable) = self.names();
            let label = self.label();
            warn!(interface, cable, %error, suppressed,
                "{label} lost; it is attached again when it is back");
        }
        self.said = Said::Nothing;
    }

    fn say_attached(&mut self) {
        if std::mem::replace(&mut self.said, Said::Attached) == Said::Attached {
            return;
        }
        static LIMIT: LogLimit = LogLimit::new();
        if let Some(suppressed) = LIMIT.admit(None).map(Suppressed::field) {
            let (interface, cable) = self.names();
            let (label, port) = (self.label(), self.number);
            info!(interface, cable, port, suppressed, "{label} attached");
        }
    }

    fn say_error(&mut self, error: impl Into<anyhow::Error>) {
        let error = Said::Error(format!("{:#}", error.into()));
        if self.said == error {
            return;
        }
        self.said = error;
        static LIMIT: LogLimit = LogLimit::new();
        if let (Said::Error(error), Some(suppressed)) =
            (&self.said, LIMIT.admit(None).map(Suppressed::field))
        {
            let cable = self.names().1;
            let label = self.label();
            warn!(cable, %error, suppressed, "no {label} for now");
        }
    }

    fn label(&self) -> &'static str {
        if self.is_uplink() { "uplink" } else { "cable" }
    }

    /// Its name, as an interface or as a cable.
    fn names(&self) -> (Option<DisplayValue<String>>, Option<DisplayValue<String>>) {
        let name = Some(tracing::field::display(self.what.name()));
        if self.is_uplink() { (name, None) } else { (None, name) }
    }
}

impl EventLoop {
    /// Takes up `attachment` and tries it for the first time.
    pub(super) fn keep_attached(&mut self, attachment: Attachment, now: Instant) {
        let at = self.attachments.len();
        self.attachments.push(attachment);
        self.stand_in(at, now);
        self.tend(at, now);
    }

    /// Tries and looks after all that are due.
    pub(super) fn tend_attachments(&mut self, now: Instant) {
        for at in 0..self.attachments.len() {
            if self.attachments[at].due().is_some_and(|due| due <= now) {
                self.tend(at, now);
            }
        }
    }

    fn tend(&mut self, at: usize, now: Instant) {
        let sizes = Sizes { max_frame: self.buffer.len() - 1, send_buffer: self.send_buffer };
        let attachment = &mut self.attachments[at];
        if let State::Detached { .. } = attachment.state {
            let Some(endpoint) = attachment.attempt(sizes, now) else { return };
            if !self.put(at, endpoint, now) {
                return self.stand_in(at, now);
            }
            self.attachments[at].attached(now);
        }
        self.attachments[at].look_after(now);
    }

    /// Notes that the port `id` is of no more use. False if it is not one of these.
    pub(super) fn lose_attachment(&mut self, id: PortId, error: &io::Error, now: Instant) -> bool {
        let mut ports = self.attachments.iter().map(|attachment| attachment.port);
        let Some(at) = ports.position(|port| port == Some(id)) else { return false };
        self.attachments[at].lost(error, now);
        self.attachments[at].port = None;
        self.close_port(id);
        self.stand_in(at, now);
        true
    }

    /// Gives what is not attached its port.
    fn stand_in(&mut self, at: usize, now: Instant) {
        let kind = self.attachments[at].what.kind();
        self.put(at, Box::new(Missing(kind)), now);
    }

    /// Makes `endpoint` the port of what is kept at `at`; false if that is not possible.
    fn put(&mut self, at: usize, endpoint: Box<dyn Endpoint>, now: Instant) -> bool {
        let attachment = &mut self.attachments[at];
        if let Some(id) = attachment.port.take() {
            self.links.detach(id);
            self.switch.close_port(id);
            self.resume_released();
        }
        let attachment = &mut self.attachments[at];
        let party = if attachment.is_uplink() {
            Party::Interface(attachment.what.name())
        } else {
            Party::Cable(attachment.what.name())
        };
        let id = match self.switch.open_port(attachment.number, endpoint.traits(), now) {
            Ok(id) => id,
            Err(error) => {
                attachment.say_error(error);
                return false;
            }
        };
        match self.links.attach(id, endpoint, party, None) {
            Ok(()) => {
                attachment.port = Some(id);
                attachment.number = Some(id.number());
                true
            }
            Err(error) => {
                attachment.say_error(error);
                self.switch.close_port(id);
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::port::{AttachError, Pauses};

    /// What is there or not.
    #[derive(Debug)]
    struct Fake(bool);

    const FIRST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(5);

    impl Attach for Fake {
        fn kind(&self) -> &'static str {
            "fake"
        }

        fn name(&self) -> String {
            "fake:/".to_owned()
        }

        fn pauses(&self) -> Pauses {
            Pauses { first: FIRST, longest: LONGEST }
        }

        fn open(&mut self, _: Sizes) -> Result<Option<Box<dyn Endpoint>>, AttachError> {
            Ok(self.0.then(|| Box::new(Missing("fake")) as Box<dyn Endpoint>))
        }
    }

    const SIZES: Sizes = Sizes { max_frame: 1518, send_buffer: 32_768 };

    /// Tries whenever that is due; returns the pauses between the first `count` attempts.
    fn pauses(attachment: &mut Attachment, now: &mut Instant, count: usize) -> Vec<u128> {
        let pause = |_| {
            let before = *now;
            *now = attachment.due().unwrap();
            if attachment.attempt(SIZES, *now).is_some() {
                attachment.attached(*now);
                attachment.lost(&io::ErrorKind::UnexpectedEof.into(), *now);
            }
            (*now - before).as_millis()
        };
        (0..count).map(pause).collect()
    }

    #[test]
    fn pauses_grow_while_nothing_is_there_or_nothing_lasts() {
        let mut now = Instant::now();
        let mut nothing = Attachment::cable(Box::new(Fake(false)), now);
        let expected = [0, 100, 200, 400, 800, 1600, 3200, 5000, 5000];
        assert_eq!(pauses(&mut nothing, &mut now, 9), expected);
        let mut brief = Attachment::cable(Box::new(Fake(true)), now);
        let grown = pauses(&mut brief, &mut now, 9);
        assert!(grown.is_sorted() && grown[8] == 5000, "{grown:?}");
    }

    #[test]
    fn what_has_lasted_is_tried_again_soon() {
        let mut now = Instant::now();
        let mut lasting = Attachment::cable(Box::new(Fake(true)), now);
        pauses(&mut lasting, &mut now, 9);
        now += LONGEST;
        assert!(lasting.attempt(SIZES, now).is_some());
        lasting.attached(now);
        now += LONGEST;
        lasting.lost(&io::ErrorKind::UnexpectedEof.into(), now);
        assert_eq!(lasting.due(), Some(now + FIRST));
    }
}
