//! `uml_extcap`: shows the ports of running switches in Wireshark's list of interfaces.
//!
//! Wireshark and tshark start every program in their extcap directory (`tshark -G folders` names it;
//! `WIRESHARK_EXTCAP_DIR` sets another one) to ask what it can capture from, with what options, and
//! at last to capture: extcap(4). A symbolic link to this program there is all it takes. Each switch
//! whose admin socket the user may use gives one interface for everything and one for each port.
//!
//! It ends with exit code 0, or with 1 and a line on standard error, which Wireshark shows.

mod args;
mod capture;
mod interface;
mod switches;

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{CommandFactory, Parser};

use uml_switch::mirror::{CaptureSpec, MAX_SNAPLEN, filter};

use args::{Args, Direction};
use interface::{Interface, plain};

fn main() -> ExitCode {
    let said = answer(&Args::parse());
    let told = match &said {
        Ok(text) => write!(std::io::stdout(), "{text}"),
        Err(error) => writeln!(std::io::stderr(), "uml_extcap: {error:#}"),
    };
    if said.is_ok() && told.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Does what Wireshark asks for and gives what it reads on standard output.
fn answer(args: &Args) -> Result<String> {
    if args.extcap_interfaces {
        return Ok(interfaces());
    }
    let Some(interface) = &args.extcap_interface else {
        return Ok(Args::command().render_long_help().to_string());
    };
    let interface: Interface = interface.parse()?;
    if args.extcap_dlts {
        Ok(DLTS.to_owned())
    } else if args.extcap_config {
        Ok(options(&interface))
    } else if args.capture {
        let fifo = args.fifo.as_deref().context("a capture needs --fifo")?;
        let spec = spec(args, &interface)?;
        capture::run(&interface, &spec, fifo)?;
        Ok(String::new())
    } else if let Some(expression) = &args.extcap_capture_filter {
        // What is said on standard output is what is wrong with it; failing would say nothing.
        let checked = compiled(expression);
        Ok(checked.err().map(|error| format!("{error:#}\n")).unwrap_or_default())
    } else {
        bail!("what about {interface}?")
    }
}

fn interfaces() -> String {
    let mut text = format!("extcap {{version={}}}\n", env!("CARGO_PKG_VERSION"));
    for (admin, ports) in switches::running() {
        let mut add = |port, what: &str| {
            let interface = Interface { port, admin: admin.clone() };
            if interface.can_be_named() {
                let of = plain(&switches::name(&admin));
                let line = format!("interface {{value={interface}}}{{display={what} of {of}}}\n");
                text.push_str(&line);
            }
        };
        add(None, "all ports");
        for port in ports {
            add(Some(port.number), &plain(&port.name));
        }
    }
    text
}

/// The options that a user can set for an interface.
fn options(interface: &Interface) -> String {
    let mut text = format!(
        "arg {{number=0}}{{call=--snaplen}}{{display=Bytes of each frame}}{{type=unsigned}}\
         {{range=1,{MAX_SNAPLEN}}}{{default={MAX_SNAPLEN}}}\
         {{tooltip=What is longer is cut}}\n"
    );
    if interface.port.is_some() {
        text.push_str(
            "arg {number=1}{call=--direction}{display=Direction}{type=selector}\
             {tooltip=Frames that the port's client sent, frames for it, or both}\n\
             value {arg=1}{value=both}{display=Both}{default=true}\n\
             value {arg=1}{value=in}{display=From the client}{default=false}\n\
             value {arg=1}{value=out}{display=To the client}{default=false}\n",
        );
    }
    text
}

fn spec(args: &Args, interface: &Interface) -> Result<CaptureSpec> {
    Ok(CaptureSpec {
        ports: interface.port.into_iter().collect(),
        direction: args.direction.map(Direction::directions),
        filter: args.extcap_capture_filter.as_deref().map_or(Ok(None), compiled)?,
        snaplen: args.snaplen,
        ..CaptureSpec::default()
    })
}

/// The program of an expression; none if it is blank, which accepts everything.
fn compiled(expression: &str) -> Result<Option<uml_switch::mirror::bpf::Program>> {
    if expression.trim().is_empty() {
        return Ok(None);
    }
    Ok(Some(filter::compile(expression)?))
}

/// The link types of every interface: Ethernet alone.
const DLTS: &str = "dlt {number=1}{name=EN10MB}{display=Ethernet}\n";
