//! Filter expressions: what everybody knows from tcpdump, in libpcap's own language.
//!
//! libpcap compiles them, always outside the process that serves guests. A client does it itself
//! ([`compile`]) and sends the [`Program`]. For an expression on its own command line the switch
//! starts itself once more with other words ([`compile_outside`], [`main`]).

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::bpf::{Instruction, InvalidProgram, Program};
use crate::sys::libpcap::{self, CompileError};

/// The hidden first word of the command line of a process that compiles an expression.
pub const COMMAND: &str = "compile-filter";

/// Why an expression makes no filter.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// It cannot be text.
    #[error("a filter is UTF-8")]
    NotUtf8,
    /// libpcap has no program for it, or there is no libpcap.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// It has one, that nobody should run where it holds others up.
    #[error(
        "libpcap's program for it cannot be run in the switch (`protochain`, which loops, never can)"
    )]
    Program(#[from] InvalidProgram),
    /// What the process that compiled it said.
    #[error("{0}")]
    Outside(String),
    /// That process could not be started or listened to.
    #[error("cannot run the compiler of filters, {PROGRAM}")]
    Run(#[source] io::Error),
    /// That process took longer than it may.
    #[error("compiling it takes too long: does the name service answer?")]
    TooLong,
    /// That process ended with something else than a program and without a word.
    #[error("the compiler of filters failed, {status}")]
    Failed {
        /// How it ended.
        status: ExitStatus,
    },
    /// That process ended well, with something else than a program.
    #[error("the compiler of filters answers with something else than a program")]
    Answer(#[source] serde_json::Error),
}

/// Compiles `expression` in this process. For programs that serve nobody: it may wait for the name
/// service.
///
/// # Errors
/// See [`FilterError`].
pub fn compile(expression: &str) -> Result<Program, FilterError> {
    Ok(Program::try_from(libpcap::compile(expression)?)?)
}

/// Compiles `expression` in a process of its own, which is this program once more.
///
/// That one has [`PATIENCE`] in all, and nothing of our environment but the path on which
/// libraries are looked for. It is gone when this returns.
///
/// # Errors
/// See [`FilterError`].
pub fn compile_outside(expression: &str) -> Result<Program, FilterError> {
    let mut command = Command::new(PROGRAM);
    command.arg0("uml_switch").arg(COMMAND).arg(expression).env_clear();
    if let Some(path) = std::env::var_os(LIBRARY_PATH) {
        command.env(LIBRARY_PATH, path);
    }
    ask(command, PATIENCE)
}

/// What a process with the first word [`COMMAND`] does with the `words` after it: prints the
/// program as JSON, or complains and ends with exit code 1.
pub fn main(words: impl Iterator<Item = OsString>) -> ExitCode {
    let words: Vec<_> = words.collect();
    let compiled = match words.as_slice() {
        [expression] => expression.to_str().ok_or(FilterError::NotUtf8).and_then(compile),
        _ => {
            let _ = writeln!(io::stderr(), "one word is wanted after {COMMAND}: the expression");
            return ExitCode::FAILURE;
        }
    };
    match compiled.map_err(anyhow::Error::from).and_then(|program| print(&program)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Where it cannot be said there is nobody to tell.
            let _ = writeln!(io::stderr(), "{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn print(program: &Program) -> anyhow::Result<()> {
    let json = serde_json::to_string(program)?;
    Ok(writeln!(io::stdout(), "{json}")?)
}

/// Runs `command` and takes its output as a program, or what it complains about as the reason why
/// there is none.
fn ask(mut command: Command, patience: Duration) -> Result<Program, FilterError> {
    let deadline = Instant::now() + patience;
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut compiler = Compiler(command.spawn().map_err(FilterError::Run)?);
    // One after the other: complaints are short enough to wait in their pipe.
    let answer = hear(compiler.0.stdout.take(), deadline)?;
    let complaint = hear(compiler.0.stderr.take(), deadline)?;
    let status = compiler.wait(deadline)?;
    if status.success() {
        let instructions: Vec<Instruction> =
            serde_json::from_slice(&answer).map_err(FilterError::Answer)?;
        return Ok(Program::try_from(instructions)?);
    }
    match String::from_utf8_lossy(&complaint).trim() {
        "" => Err(FilterError::Failed { status }),
        said => Err(FilterError::Outside(said.to_owned())),
    }
}

/// What comes through `pipe` until its end or the bound.
fn hear(pipe: Option<impl Read + AsFd>, deadline: Instant) -> Result<Vec<u8>, FilterError> {
    let mut heard = Vec::new();
    let Some(mut pipe) = pipe else { return Ok(heard) };
    let mut buffer = [0; 4096];
    while heard.len() < LONGEST_ANSWER {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)], timeout) {
            Ok(0) => return Err(FilterError::TooLong),
            Ok(_) => {}
            Err(Errno::EINTR) => continue,
            Err(error) => return Err(FilterError::Run(error.into())),
        }
        match pipe.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => heard.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(FilterError::Run(error)),
        }
    }
    Ok(heard)
}

/// A process that compiles. Killed, if it has not ended, and waited for when dropped.
struct Compiler(Child);

impl Compiler {
    /// Waits for its end, which follows at once when its pipes are closed.
    fn wait(&mut self, deadline: Instant) -> Result<ExitStatus, FilterError> {
        loop {
            if let Some(status) = self.0.try_wait().map_err(FilterError::Run)? {
                return Ok(status);
            }
            if Instant::now() >= deadline {
                return Err(FilterError::TooLong);
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Compiler {
    fn drop(&mut self) {
        // After its end neither does anything.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// This program, even if its file was replaced meanwhile.
const PROGRAM: &str = "/proc/self/exe";

/// `ld.so(8)`.
const LIBRARY_PATH: &str = "LD_LIBRARY_PATH";

/// How long a process may compile: longer than one name server is asked twice (`resolv.conf(5)`).
pub const PATIENCE: Duration = Duration::from_secs(12);

/// More than the longest program takes: 4096 instructions of at most 29 bytes.
const LONGEST_ANSWER: usize = 128 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a script in the place of the compiler.
    fn ask_script(script: &str, patience: Duration) -> Result<Program, FilterError> {
        let mut command = Command::new("sh");
        command.arg("-c").arg(script);
        ask(command, patience)
    }

    /// Long enough for a process that answers, even on a slow day.
    const AMPLE: Duration = Duration::from_secs(60);

    #[test]
    fn the_compiler_s_answer_is_a_program() {
        let program = ask_script("echo '[[6,0,0,262144]]'", AMPLE).expect("a program");
        assert_eq!(program.run(&[]), 262_144);
    }

    #[test]
    fn the_longest_program_fits_into_the_answer() {
        let longest = vec![Instruction(6, 255, 255, u32::MAX); super::super::bpf::MAX_INSTRUCTIONS];
        let json = serde_json::to_string(&longest).expect("JSON");
        assert!(json.len() < LONGEST_ANSWER, "{}", json.len());
    }

    #[test]
    fn what_the_compiler_complains_about_is_the_error() {
        let error = ask_script("echo '  syntax error' >&2; exit 1", AMPLE).expect_err("refused");
        assert!(matches!(error, FilterError::Outside(_)), "{error:?}");
        assert_eq!(error.to_string(), "syntax error");
    }

    #[test]
    fn a_compiler_that_fails_in_silence_is_said_to_have_failed() {
        let error = ask_script("kill -SEGV $$", AMPLE).expect_err("no program");
        assert!(matches!(error, FilterError::Failed { .. }), "{error:?}");
        assert!(error.to_string().contains("SIGSEGV"), "{error}");
        let error = FilterError::Failed { status: Command::new("false").status().expect("false") };
        assert!(error.to_string().contains("exit status: 1"), "{error}");
    }

    #[test]
    fn an_answer_that_is_no_program_is_refused() {
        let error = ask_script("echo hello", AMPLE).expect_err("no program");
        assert!(matches!(error, FilterError::Answer(_)), "{error:?}");
        // A loop.
        let error = ask_script("echo '[[5,0,0,4294967295],[6,0,0,0]]'", AMPLE).expect_err("a loop");
        assert!(matches!(error, FilterError::Program(_)), "{error:?}");
    }

    #[test]
    fn an_answer_without_end_is_cut_and_its_sender_ended() {
        let error = ask_script("exec yes 2>&-", AMPLE).expect_err("no program");
        assert!(matches!(error, FilterError::Failed { .. }), "{error:?}");
    }

    #[test]
    fn a_compiler_that_does_not_end_is_ended() {
        let soon = Duration::from_millis(20);
        for script in ["exec sleep 1000", "exec sleep 1000 >&-", "exec sleep 1000 >&- 2>&-"] {
            let error = ask_script(script, soon).expect_err("no answer");
            assert!(matches!(error, FilterError::TooLong), "{script}: {error:?}");
        }
    }

    #[test]
    fn a_program_that_cannot_be_started_is_an_error() {
        let error = ask(Command::new("/nowhere/at-all"), AMPLE).expect_err("no such program");
        assert!(matches!(error, FilterError::Run(_)), "{error:?}");
    }
}
