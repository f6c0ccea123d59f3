//! `uml_switchctl capture`.

use std::fmt;
use std::io;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering;

use anyhow::{Context, Result, anyhow, bail};

use uml_switch::admin::client::Client;
use uml_switch::mirror::sink::{Progress, Sink, Stream};
use uml_switch::mirror::{CaptureSpec, MAX_SNAPLEN, PortTotals, Record, filter};

use crate::args::{CaptureArgs, PortNumber};
use crate::output::Output;
use crate::{say, signals};

/// Captures until the count is reached, a signal comes, nobody reads any more, or the switch goes.
///
/// # Errors
/// What keeps it from beginning, and what ends it before its time.
pub(crate) fn run(client: &Client, args: CaptureArgs) -> Result<()> {
    let output = Output::of(&args)?;
    let spec = spec(&args)?;
    let signals = signals::ending().context("cannot set signals")?;
    let stream = client.capture(&spec)?;
    note_closed_ports(client, &args.ports)?;
    // Not before the switch has agreed: a file of that name may be there.
    let sink = output.open(&args, spec.snaplen).map_err(|error| anyhow!(output.explain(&error)))?;
    let asked_to_end = signals::end_capture(signals, &stream).context("cannot await signals")?;
    say(format_args!("capturing from the switch at {}", client.path().display()));

    let mut capture = Capture { stream, sink: Some(sink), written: 0, failed: None };
    let ending = capture.copy();
    let Capture { written, failed, .. } = capture;
    let summary = match &ending {
        Ok(Progress::Ended(totals)) => Summary::of(totals),
        _ => Summary { captured: written, ..Summary::default() },
    };
    say(format_args!("{summary}"));
    if let Some(error) = failed.filter(|error| !output.is_closed(error)) {
        bail!(output.explain(&error));
    }
    let there = client.path().display();
    let counted = args.count.is_some_and(|count| summary.captured >= count);
    match ending {
        Ok(Progress::Ended(_)) if counted || asked_to_end.load(Ordering::Relaxed) => Ok(()),
        // Nobody reads what was captured, so nobody misses the rest.
        Ok(_) if asked_to_end.load(Ordering::Relaxed) => Ok(()),
        Ok(Progress::Ended(_)) => bail!("the switch at {there} has ended; all it sent is kept"),
        Ok(_) => bail!("the switch at {there} has gone; what came until then is kept"),
        Err(error) => Err(error).with_context(|| format!("cannot go on reading from {there}")),
    }
}

fn spec(args: &CaptureArgs) -> Result<CaptureSpec> {
    let filter = match args.expression() {
        None => None,
        Some(expression) => Some(
            filter::compile(&expression).with_context(|| format!("the filter `{expression}`"))?,
        ),
    };
    Ok(CaptureSpec {
        ports: args.ports.iter().map(|port| port.0).collect(),
        direction: args.direction.map(Into::into),
        filter,
        snaplen: if args.snaplen == 0 { MAX_SNAPLEN } else { args.snaplen },
        count: args.count,
        buffer: usize::from(args.buffer) << 20,
    })
}

/// A port may be captured before it is there; but who mistypes its number should know.
fn note_closed_ports(client: &Client, wanted: &[PortNumber]) -> Result<()> {
    if wanted.is_empty() {
        return Ok(());
    }
    let open = client.ports()?;
    for &PortNumber(number) in wanted {
        if !open.iter().any(|port| port.number == number) {
            match number {
                0 => say(format_args!("there is no uplink now; waiting for it")),
                _ => say(format_args!("port {number} is not open now; waiting for it")),
            }
        }
    }
    Ok(())
}

struct Capture {
    stream: UnixStream,
    /// Nothing once it has failed.
    sink: Option<Box<dyn Sink>>,
    written: u64,
    failed: Option<io::Error>,
}

impl Capture {
    /// Gives what comes to the sink, to the end; once that has failed, only for the totals.
    fn copy(&mut self) -> io::Result<Progress> {
        let mut stream = Stream::new(self.stream.try_clone()?);
        let progress = loop {
            let progress = stream.read(|record| {
                self.write(|sink| sink.record(record));
                self.written += u64::from(matches!(record, Record::Frame(_)));
                Ok(())
            });
            match progress {
                // What is there was given out: whoever watches is to see it now.
                Ok(Progress::Open) => self.write(|sink| sink.flush()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                ended => break ended,
            }
        };
        match &progress {
            Ok(Progress::Ended(totals)) => self.write(|sink| sink.finish(totals)),
            _ => self.write(|sink| sink.flush()),
        }
        progress
    }

    fn write(&mut self, write: impl FnOnce(&mut dyn Sink) -> io::Result<()>) {
        let Some(sink) = &mut self.sink else { return };
        if let Err(error) = write(sink.as_mut()) {
            self.sink = None;
            self.failed = Some(error);
            // The switch may have gone already.
            let _ = self.stream.shutdown(Shutdown::Write);
        }
    }
}

/// What became of the frames, as tcpdump says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Summary {
    captured: u64,
    filtered: u64,
    dropped: u64,
}

impl Summary {
    fn of(totals: &[PortTotals]) -> Self {
        totals.iter().fold(Summary::default(), |sum, port| Summary {
            captured: sum.captured + port.captured,
            filtered: sum.filtered + port.filtered,
            dropped: sum.dropped + port.dropped,
        })
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { captured, filtered, dropped } = self;
        let packets = if *captured == 1 { "packet" } else { "packets" };
        write!(f, "{captured} {packets} captured, {filtered} filtered out, {dropped} dropped")
    }
}
