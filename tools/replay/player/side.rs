//! One switch, and all that is kept about it from turn to turn.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use uml_switch::client::{Client, ClientError, Mac};

use crate::capture::{Capture, StationId};
use crate::report::model::SwitchReport;

use super::clock::now;
use super::command::Started;
use super::count::Count;
use super::introduction::{self, Guest};
use super::port::{Port, Tap};
use super::progress::Progress;
use super::receiver::{Readiness, Receiver};
use super::sender::{Ended, Sender, Turn};
use super::signals::Signals;
use super::tallies::Tallies;
use super::tape::Tape;

/// How a switch is reached.
#[derive(Clone, Debug)]
pub struct Reach {
    pub switch: Switch,
    /// What the report calls it, if not by its socket or command.
    pub name: Option<String>,
    /// The interface, and the station, that are its uplink.
    pub tap: Option<(String, StationId)>,
    /// The station that is a real server, and has a port already.
    pub answering: Option<StationId>,
}

/// Which switch.
#[derive(Clone, Debug)]
pub enum Switch {
    /// That serves this control socket.
    Serving(PathBuf),
    /// That this command starts.
    Command(String),
}

/// One switch with all stations attached.
pub struct Side<'c> {
    name: String,
    macs: Vec<Mac>,
    answering: Option<Mac>,
    /// By station.
    ports: Vec<Option<Port>>,
    readiness: Readiness,
    tape: Tape<'c>,
    tallies: Tallies,
    played: Duration,
    turns: u64,
    /// The pass of the next frame, from 0, and how many were begun.
    pass: u64,
    begun: u64,
    done: bool,
    /// Dropped last: stopped when nobody is attached any longer.
    _started: Option<Started>,
}

impl<'c> Side<'c> {
    /// Starts the switch if need be, and attaches the stations of `capture`.
    ///
    /// # Errors
    /// When the switch cannot be started or reached, or gives no port.
    pub fn attach(capture: &'c Capture, reach: &Reach, signals: &Signals) -> Result<Self> {
        let (name, control, started) = match &reach.switch {
            Switch::Serving(control) => (control.display().to_string(), control.clone(), None),
            Switch::Command(line) => {
                let started = Started::run(line, signals)?;
                (line.clone(), started.control(), Some(started))
            }
        };
        let name = reach.name.clone().unwrap_or(name);
        let macs: Vec<Mac> = capture.stations().iter().map(|station| station.mac).collect();
        let mut ports = Vec::with_capacity(macs.len());
        for (station, &mac) in macs.iter().enumerate() {
            signals.check()?;
            let is = |other: StationId| other.0 as usize == station;
            ports.push(match &reach.tap {
                _ if reach.answering.is_some_and(is) => None,
                Some((device, tap)) if is(*tap) => Some(Port::Tap(Tap::open(device)?)),
                _ => Some(Port::Daemon(connect(&control, mac, started.is_some())?)),
            });
        }
        Ok(Side {
            name,
            readiness: Readiness::of(&ports, signals).context("cannot watch the ports")?,
            tape: Tape::new(capture, reach.answering)?,
            tallies: Tallies::new(macs.len()),
            answering: reach.answering.map(|station| macs[station.0 as usize]),
            macs,
            ports,
            played: Duration::ZERO,
            turns: 0,
            pass: 0,
            begun: 0,
            done: false,
            _started: started,
        })
    }

    /// Whether all was played.
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// Time played so far.
    pub fn played(&self) -> Duration {
        self.played
    }

    /// Passes that were begun, and turns.
    pub fn passes_and_turns(&self) -> (u64, u64) {
        (self.begun, self.turns)
    }

    /// The pass of the next frame, from 0.
    pub fn pass(&self) -> u64 {
        self.pass
    }

    /// Nothing more is to be played.
    pub fn end(&mut self) {
        self.done = true;
    }

    /// Plays one turn of at most `most`, that ends before pass `until_pass`.
    ///
    /// # Errors
    /// When the switch fails, the capture cannot be read any more, or a signal has come.
    pub fn play(
        &mut self,
        (speed, most, until_pass): (Option<f64>, Duration, u64),
        signals: &Signals,
        progress: &Progress,
    ) -> Result<Ended> {
        self.introduce(signals).with_context(|| self.name.clone())?;
        let turn = Turn { start: now() + LEAD, speed, most, until_pass };
        let stop = AtomicBool::new(false);
        let (to_receiver, events) = sync_channel(ON_THE_WAY);
        let sender = Sender::new(&self.ports, turn, to_receiver, &stop);
        let receiver = Receiver {
            ports: &self.ports,
            readiness: &mut self.readiness,
            tallies: &mut self.tallies,
            events,
            answering: self.answering,
            signals,
            progress,
            start: turn.start,
            before: self.played,
        };
        let tape = &mut self.tape;
        let (sent, received) = thread::scope(|scope| {
            let sender = scope.spawn(move || sender.play(tape));
            let received = receiver.receive();
            stop.store(true, Ordering::Relaxed);
            (sender.join(), received)
        });
        // What ends the receiver early ends the sender too; the other way round it just ends.
        received.with_context(|| self.name.clone())?;
        let sent = sent.map_err(|_| anyhow!("the sender has failed"))?;
        let ended = sent.with_context(|| self.name.clone())?.context("the sender has stopped")?;
        self.played += ended.played;
        self.turns += 1;
        self.pass = ended.pass;
        self.begun = self.begun.max(ended.begun);
        Ok(ended)
    }

    /// What was counted.
    pub fn report(&self) -> SwitchReport {
        self.tallies.report(self.name.clone(), self.played.as_secs_f64())
    }

    /// What became of each direction in which frames were due.
    pub fn directions(&self) -> impl Iterator<Item = (&'static str, &Count)> {
        self.tallies.directions()
    }

    fn introduce(&self, signals: &Signals) -> Result<()> {
        let guests = self.macs.iter().zip(&self.ports);
        let guests: Vec<_> =
            guests.filter_map(|(&mac, port)| Some(Guest { mac, port: port.as_ref()? })).collect();
        introduction::introduce(&guests, signals)
    }
}

/// Gets a port and readies its socket. A switch that was just started may have bound its socket, but
/// not listen yet.
fn connect(control: &Path, mac: Mac, just_started: bool) -> Result<Client> {
    let begin = Instant::now();
    let mut client = loop {
        match Client::connect(control, mac) {
            Err(ClientError::Unreachable { .. })
                if just_started && begin.elapsed() < START_LIMIT =>
            {
                thread::sleep(Duration::from_millis(2));
            }
            result => break result?,
        }
    };
    client.attach().context("cannot connect to the switch's data socket")?;
    client.set_nonblocking(true)?;
    Ok(client)
}

/// Time from the start of a turn to its first frame, for the threads to be ready.
const LEAD: Duration = Duration::from_millis(10);

/// What the sender may say before the receiver listens.
const ON_THE_WAY: usize = 4096;

const START_LIMIT: Duration = Duration::from_secs(10);
