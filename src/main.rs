//! `uml_switch`: joins User-Mode Linux guests and their host to one Ethernet.
//!
//! The start, in order: read the command line; compile a filter; see what scheduling can be had; take
//! the socket paths; open the uplink; open the capture's file; go into the background if asked; start
//! the threads of the log, the capture and the admin socket; set the scheduling; serve.
//! Whatever fails before the background is reached is said on standard error and ends the process
//! with exit code 1, and nothing that was made stays behind.

use std::io::{self, IsTerminal};
use std::os::unix::net::UnixDatagram;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::CommandFactory;
use socket2::Socket;
use tracing::info;

use uml_switch::admin::{AdminSocket, Service};
use uml_switch::cli::Args;
use uml_switch::config::{Config, MirrorConfig};
use uml_switch::control::handshake::Dialect;
use uml_switch::control::{SocketFile, VdeDirectory};
use uml_switch::event_loop::{Ended, Entrance, EventLoop, LeadsTo, Sockets};
use uml_switch::mirror::filter::{self, compile_outside};
use uml_switch::mirror::sink::{Files, Format};
use uml_switch::mirror::{CaptureSpec, Recorder};
use uml_switch::port::{Attach, Cable, DataAddresses, DatagramPair, NamedDataSocket, Tap, TapPort};
use uml_switch::runtime;
use uml_switch::sys;

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    if words.next().is_some_and(|first| first == filter::COMMAND) {
        return filter::main(words);
    }
    let config = match configuration() {
        Ok(config) => config,
        Err(error) => {
            // Where it cannot be printed there is nobody to tell.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    match serve(config) {
        Ok(Ended::AtTerminal) => ExitCode::SUCCESS,
        Ok(Ended::BySignal(signal)) => sys::die_by(signal),
        Err(error) => {
            complain(format_args!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn configuration() -> Result<Config, clap::Error> {
    let args = Args::read(std::env::args_os())?;
    Config::try_from(args)
        .map_err(|error| Args::command().error(clap::error::ErrorKind::ValueValidation, error))
}

fn serve(mut config: Config) -> Result<Ended> {
    // It may take a while, so nothing is taken yet.
    if let Some(mirror) = &mut config.mirror {
        compile_filter(mirror)?;
    }
    runtime::settle_signals().context("cannot set signals")?;
    // From here on a signal to end is kept until the loop can answer it.
    let signals = runtime::ending_signals(config.daemon).context("cannot set signals")?;
    runtime::raise_descriptor_limit();
    sys::return_large_blocks();
    let scheduling = config.scheduling.request(complain)?;

    // The files are removed when this function returns, by whatever way. The control socket is last among
    // those of guests: who has waited for it finds the others too.
    let (mut entrances, entrance_files) = entrances(&config)?;
    let (named_data, _data_file) = match &config.named_data {
        None => (None, None),
        Some(path) => {
            let (socket, file) = SocketFile::claim(path, socket2::Type::DGRAM)?;
            (Some(NamedDataSocket::new(UnixDatagram::from(socket))), Some(file))
        }
    };
    let (cables, _cable_files) = cables(&config)?;
    let (control, control_file) = SocketFile::claim(&config.control, socket2::Type::STREAM)?;
    entrances.push(listen(control, LeadsTo::Handshake(Dialect::UmlSwitch))?);
    let admin = admin_socket(&config)?;
    let uplink = config.tap.map(|name| match TapPort::open(&name) {
        Ok(device) => (Tap::new(name, Some(device)), None),
        Err(error) => {
            let error = format!("{:#}", anyhow::Error::from(error));
            complain(format_args!("no uplink, going on without it: {error}"));
            (Tap::new(name, None), Some(error))
        }
    });

    let mirror = config.mirror.map(open_capture).transpose()?;

    let watch_terminal = !config.daemon && io::stdin().is_terminal();
    if config.daemon {
        runtime::become_daemon().context("cannot go into the background")?;
    }
    let _log = runtime::start_logging(config.log);
    // Dropped when the loop has gone, whose end it waits for.
    let _recorder;
    let sockets = Sockets {
        entrances,
        named_data,
        addresses: DataAddresses::new(control_file.absolute()),
        uplink,
        cables,
        signals,
        watch_terminal,
    };
    let mut event_loop = EventLoop::new(config.switch, sockets).context("cannot start serving")?;
    // Threads that are started now are as ordinary as this one still is.
    _recorder = match mirror {
        None => None,
        Some((spec, files)) => {
            let tail = event_loop.capture(spec).context("cannot capture")?;
            Some(Recorder::start(tail, files).context("cannot capture")?)
        }
    };
    let admin = Service::start(admin, event_loop.handle()).context("cannot start serving")?;
    event_loop.leave_copies_to(Box::new(admin.desk()));
    scheduling.apply()?;
    if let Some(window) = scheduling.busy_poll() {
        event_loop.look_before_sleeping(window);
    }
    entrance_files.report();
    info!(control = %control_file.absolute().display(), "serving");
    event_loop.run().context("cannot go on serving")
}

/// What stands for entrances in the file system, and is removed when the switch ends.
#[derive(Default)]
struct EntranceFiles {
    vde: Option<VdeDirectory>,
    connections: Vec<(&'static str, SocketFile)>,
}

impl EntranceFiles {
    fn report(&self) {
        if let Some(directory) = &self.vde {
            info!(kind = Dialect::Vde.kind(), path = %directory.ctl().display(), "socket open");
        }
        for (kind, file) in &self.connections {
            info!(kind, path = %file.absolute().display(), "socket open");
        }
    }
}

/// The sockets that guests connect to, but for the control socket.
fn entrances(config: &Config) -> Result<(Vec<Entrance>, EntranceFiles)> {
    let mut entrances = Vec::new();
    let mut files = EntranceFiles::default();
    if let Some(path) = &config.vde {
        let (socket, directory) = VdeDirectory::claim(path, config.access)?;
        files.vde = Some(directory);
        entrances.push(listen(socket, LeadsTo::Handshake(Dialect::Vde))?);
    }
    for (kind, path) in &config.connections {
        let (socket, file) = SocketFile::claim_with(path, kind.socket_type, config.access)?;
        files.connections.push((kind.name, file));
        entrances.push(listen(socket, LeadsTo::Port(kind))?);
    }
    Ok((entrances, files))
}

type Cables = Vec<Box<dyn Attach>>;

/// What the switch attaches by itself beside the uplink. Nothing is connected yet: who is at the other
/// end may come later.
fn cables(config: &Config) -> Result<(Cables, Vec<SocketFile>)> {
    let ends = config.cables.iter().cloned();
    let mut cables: Cables = ends.map(|end| Box::new(Cable::new(end)) as Box<dyn Attach>).collect();
    let mut files = Vec::new();
    for paths in &config.datagram_pairs {
        let (socket, file) =
            SocketFile::claim_with(&paths.local, socket2::Type::DGRAM, config.access)?;
        files.push(file);
        cables.push(Box::new(DatagramPair::new(socket, paths.remote.clone())));
    }
    Ok((cables, files))
}

fn listen(socket: Socket, leads_to: LeadsTo) -> Result<Entrance> {
    socket.listen(BACKLOG).context("cannot listen for guests")?;
    Ok(Entrance { socket, leads_to })
}

/// The admin socket. Guests can do without one where nobody has asked for it.
fn admin_socket(config: &Config) -> Result<Option<AdminSocket>> {
    let claimed = AdminSocket::claim(&config.admin.path);
    if config.admin.is_asked_for {
        return Ok(Some(claimed?));
    }
    let complained = |error| {
        let error = anyhow::Error::from(error);
        complain(format_args!("no admin socket, going on without it: {error:#}"));
    };
    Ok(claimed.map_err(complained).ok())
}

fn compile_filter(mirror: &mut MirrorConfig) -> Result<()> {
    if let Some(expression) = &mirror.filter {
        let program = compile_outside(expression)
            .with_context(|| format!("cannot use the filter '{expression}'"))?;
        mirror.spec.filter = Some(program);
    }
    Ok(())
}

/// Opens the files of a capture, so that it is known that they can be had.
fn open_capture(mirror: MirrorConfig) -> Result<(CaptureSpec, Files)> {
    let MirrorConfig { file, ring, spec, .. } = mirror;
    let files = Files::create(&file, Format::Pcapng, spec.snaplen, ring);
    Ok((spec, files.context("cannot capture")?))
}

/// One line on standard error; never fails, for there may be nobody to read it.
fn complain(message: std::fmt::Arguments<'_>) {
    use io::Write;
    let _ = writeln!(io::stderr(), "uml_switch: {message}");
}

/// Guests that may knock at a time; the system bounds it by `net.core.somaxconn`.
const BACKLOG: i32 = 4096;
