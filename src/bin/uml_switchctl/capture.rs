//! `uml_switchctl capture`.

use std::fmt;
use std::io;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use anyhow::{Context, Result, anyhow, bail};

use uml_switch::admin::client::{Client, ClientError, FileCapture};
use uml_switch::admin::protocol::Written;
use uml_switch::mirror::sink::{Progress, Sink, Stream, open_file};
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
    let capture = Capture::begin(client, &output, &args, &spec)?;
    let asked_to_end =
        signals::end_capture(signals, capture.stream()).context("cannot await signals")?;
    say(format_args!("capturing from the switch at {}", client.path().display()));

    let End { summary, how, failed } = capture.run(&output);
    if let Some(summary) = summary {
        say(format_args!("{summary}"));
    }
    if let Some(failed) = failed {
        bail!(failed);
    }
    let there = client.path().display();
    let counted = summary.is_some_and(|sum| args.count.is_some_and(|count| sum.captured >= count));
    match how {
        Ok(Reached::End) if counted || asked_to_end.load(Ordering::Relaxed) => Ok(()),
        // Nobody reads what was captured, so nobody misses the rest.
        Ok(_) if asked_to_end.load(Ordering::Relaxed) => Ok(()),
        Ok(Reached::End) => bail!("the switch at {there} has ended; all it sent is kept"),
        Ok(Reached::CutOff) => {
            bail!("the switch at {there} has gone; what came until then is kept")
        }
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

/// A capture that has begun.
enum Capture {
    /// The switch writes it.
    IntoFile { capture: FileCapture, path: PathBuf },
    /// It comes to us.
    Stream(Copying),
}

/// How a capture has ended.
struct End {
    summary: Option<Summary>,
    how: Result<Reached>,
    /// Why what came could not be written, if somebody cares.
    failed: Option<String>,
}

enum Reached {
    End,
    CutOff,
}

impl Capture {
    /// Has the switch agree, and opens the output. Not the other way round: a file of that name may be
    /// there.
    fn begin(
        client: &Client,
        output: &Output<'_>,
        args: &CaptureArgs,
        spec: &CaptureSpec,
    ) -> Result<Self> {
        if let Some(path) = output.file_for_switch(args) {
            match client.capture_into_file(spec, args.format) {
                // One of an earlier version; else it says of a stream what it says now.
                Err(ClientError::Refused(_)) => {}
                agreed => return Capture::begin_in_file(client, agreed?, path, args),
            }
        }
        let stream = client.capture(spec)?;
        note_closed_ports(client, &args.ports)?;
        let sink =
            output.open(args, spec.snaplen).map_err(|error| anyhow!(output.explain(&error)))?;
        Ok(Capture::Stream(Copying { stream, sink: Some(sink), written: 0, failed: None }))
    }

    fn begin_in_file(
        client: &Client,
        capture: FileCapture,
        path: &Path,
        args: &CaptureArgs,
    ) -> Result<Self> {
        note_closed_ports(client, &args.ports)?;
        // As the messages of the other outputs name it.
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        match capture.give(&open_file(&path)?) {
            Err(ClientError::Refused(why)) => bail!("{}: {why}", path.display()),
            given => given?,
        }
        Ok(Capture::IntoFile { capture, path })
    }

    /// The connection whose end for writing ends the capture.
    fn stream(&self) -> &UnixStream {
        match self {
            Capture::IntoFile { capture, .. } => capture.stream(),
            Capture::Stream(copying) => &copying.stream,
        }
    }

    /// Waits for its end.
    fn run(self, output: &Output<'_>) -> End {
        match self {
            Capture::IntoFile { capture, path } => await_end(&capture, &path),
            Capture::Stream(copying) => copying.run(output),
        }
    }
}

fn await_end(capture: &FileCapture, path: &Path) -> End {
    match capture.end() {
        Ok(Written { captured, filtered, dropped, error }) => End {
            summary: Some(Summary { captured, filtered, dropped }),
            how: Ok(Reached::End),
            failed: error.map(|error| format!("{}: {error}", path.display())),
        },
        // How much is in the file it has told nobody.
        Err(ClientError::NoReply { .. }) => {
            End { summary: None, how: Ok(Reached::CutOff), failed: None }
        }
        Err(error) => End { summary: None, how: Err(error.into()), failed: None },
    }
}

/// A capture on its way from the switch to a sink.
struct Copying {
    stream: UnixStream,
    /// Nothing once it has failed.
    sink: Option<Box<dyn Sink>>,
    written: u64,
    failed: Option<io::Error>,
}

impl Copying {
    fn run(mut self, output: &Output<'_>) -> End {
        let progress = self.copy();
        let summary = match &progress {
            Ok(Progress::Ended(totals)) => Summary::of(totals),
            _ => Summary { captured: self.written, ..Summary::default() },
        };
        let how = progress.map_err(Into::into).map(|progress| match progress {
            Progress::Ended(_) => Reached::End,
            _ => Reached::CutOff,
        });
        let failed = self.failed.filter(|error| !output.is_closed(error));
        End { summary: Some(summary), how, failed: failed.map(|error| output.explain(&error)) }
    }

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
