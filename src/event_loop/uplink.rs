//! Keeps the TAP uplink: notices when the interface goes and takes it again when it is back.

use std::io;
use std::time::{Duration, Instant};

use tracing::warn;

use crate::core::PortId;
use crate::port::{TapName, TapPort};

/// The configured uplink, attached or not.
#[derive(Debug)]
pub(super) struct Uplink {
    name: TapName,
    port: Option<PortId>,
    /// When to look for the interface again; set while there is no port.
    next_attempt: Option<Instant>,
    /// What was last said about it, so that it is said once.
    last_error: Option<String>,
}

impl Uplink {
    /// Not attached yet; `last_error` is why, if that has been said.
    pub(super) fn new(name: TapName, last_error: Option<String>, now: Instant) -> Self {
        Uplink { name, port: None, next_attempt: Some(now + RETRY), last_error }
    }

    /// True if `id` is the uplink's port.
    pub(super) fn is(&self, id: PortId) -> bool {
        self.port == Some(id)
    }

    /// Notes that the interface, whose name is `name` now, is attached as port `id`.
    pub(super) fn attached(&mut self, id: PortId, name: TapName) {
        *self = Uplink { name, port: Some(id), next_attempt: None, last_error: None };
    }

    /// Notes that the interface has gone.
    pub(super) fn lost(&mut self, error: &io::Error, now: Instant) {
        warn!(interface = %self.name, %error, "uplink lost; it is attached again when it is back");
        self.port = None;
        self.next_attempt = Some(now + RETRY);
    }

    /// When [`Uplink::attempt`] wants to be called.
    pub(super) fn next_attempt(&self) -> Option<Instant> {
        self.next_attempt
    }

    /// Opens the interface if it is due and there is one. It is not created here: whoever deleted
    /// it meant it.
    pub(super) fn attempt(&mut self, now: Instant) -> Option<TapPort> {
        if self.next_attempt.is_none_or(|due| now < due) {
            return None;
        }
        self.next_attempt = Some(now + RETRY);
        if !self.name.exists() {
            self.last_error = None;
            return None;
        }
        match TapPort::open(&self.name) {
            Ok(device) => Some(device),
            Err(error) => {
                let error = format!("{:#}", anyhow::Error::from(error));
                if self.last_error.as_ref() != Some(&error) {
                    warn!(%error, "no uplink");
                    self.last_error = Some(error);
                }
                None
            }
        }
    }
}

/// How long an interface that has come back may stay unnoticed.
const RETRY: Duration = Duration::from_secs(1);
