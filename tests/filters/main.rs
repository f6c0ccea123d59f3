//! Filters, beside what everybody knows them from: our interpreter accepts the frames that `tcpdump`
//! selects, and gives the verdicts of libpcap's own.
//!
//! Where there is no libpcap or no tcpdump the tests that need them show as ignored, with the reason.
#![allow(unreachable_pub)] // Nothing here is a library.

mod expressions;
mod frames;
mod random;
mod tcpdump;

use std::process::{Command, ExitCode, Output};
use std::sync::{Arc, LazyLock};

use libtest_mimic::{Arguments, Failed, Trial};

use expressions::EXPRESSIONS;
use frames::Frame;
use uml_switch::mirror::bpf::Program;
use uml_switch::mirror::filter::{self, FilterError};
use uml_switch::sys::libpcap::{self, CompileError};

fn main() -> ExitCode {
    // `compile_outside` starts its own program once more: here this one.
    let mut words = std::env::args_os().skip(1);
    if words.next().is_some_and(|first| first == filter::COMMAND) {
        return filter::main(words);
    }
    let no_libpcap = match libpcap::compile("ip") {
        Err(error @ CompileError::NoLibpcap(_)) => {
            Some(format!("{:#}", anyhow::Error::from(error)))
        }
        _ => None,
    };
    let no_tcpdump = no_libpcap.clone().or_else(tcpdump::missing);
    let selections = EXPRESSIONS.iter().map(|&expression| {
        let test = move || selects_what_tcpdump_selects(expression);
        trial(&format!("tcpdump::{expression}"), no_tcpdump.as_ref(), test)
    });
    let tests: [(&str, fn()); 4] = [
        ("verdicts_are_those_of_libpcap", verdicts_are_those_of_libpcap),
        (
            "random_programs_return_what_libpcap_returns",
            random::programs_return_what_libpcap_returns,
        ),
        ("the_switch_compiles_outside_what_a_client_compiles", compiles_outside),
        ("refusals_are_in_one_line_and_name_the_reason", refusals_name_the_reason),
    ];
    let tests = tests.map(|(name, test)| trial(name, no_libpcap.as_ref(), test));
    let words = trial("refusals_are_in_tcpdump_s_words", no_tcpdump.as_ref(), tcpdump_s_words);
    let trials = selections.chain(tests).chain([words]).collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn trial(name: &str, missing: Option<&String>, test: impl FnOnce() + Send + 'static) -> Trial {
    let kind = missing.cloned().unwrap_or_default();
    let missing = missing.cloned();
    let ignored = missing.is_some();
    let run = move || match missing {
        None => {
            test();
            Ok(())
        }
        Some(reason) => Err(Failed::from(reason)),
    };
    Trial::test(name, run).with_kind(kind).with_ignored_flag(ignored)
}

/// All frames, made once.
static FRAMES: LazyLock<Arc<[Frame]>> = LazyLock::new(|| frames::all().into());

fn compiled(expression: &str) -> Program {
    filter::compile(expression).unwrap_or_else(|error| panic!("{expression}: {error}"))
}

fn selects_what_tcpdump_selects(expression: &str) {
    let program = compiled(expression);
    let ours: Vec<usize> =
        (0..FRAMES.len()).filter(|&index| program.run(&FRAMES[index].bytes) != 0).collect();
    let theirs = tcpdump::selected(expression);
    assert!(!theirs.is_empty(), "no frame here is one");
    assert!(theirs.len() < FRAMES.len(), "every frame here is one");
    let name = |indices: Vec<usize>| -> Vec<_> {
        indices.into_iter().map(|index| &FRAMES[index].origin).take(10).collect()
    };
    let only = |of: &[usize], not_of: &[usize]| {
        of.iter().copied().filter(|index| not_of.binary_search(index).is_err()).collect()
    };
    let (only_ours, only_theirs) = (only(&ours, &theirs), only(&theirs, &ours));
    assert_eq!(
        ours,
        theirs,
        "only ours: {:?}, only tcpdump's: {:?}",
        name(only_ours),
        name(only_theirs)
    );
}

fn verdicts_are_those_of_libpcap() {
    for expression in EXPRESSIONS {
        let program = compiled(expression);
        for Frame { origin, bytes } in FRAMES.iter() {
            let theirs = libpcap::run(&program, bytes).expect("libpcap was there before");
            assert_eq!(program.run(bytes), theirs, "{expression}: {origin}");
        }
    }
}

fn compiles_outside() {
    for expression in EXPRESSIONS {
        let outside = filter::compile_outside(expression).expect(expression);
        assert_eq!(outside, compiled(expression), "{expression}");
        let output = switch_compiles(expression);
        assert!(output.status.success(), "{expression}: {output:?}");
        let printed: Program = serde_json::from_slice(&output.stdout).expect(expression);
        assert_eq!(printed, outside, "{expression}");
    }
}

/// What is wrong with each of these, in libpcap's words or ours.
const REFUSED: &[(&str, &str)] = &[
    ("udp prt 53", "syntax error"),
    ("port 99999", "illegal port number 99999 > 65535"),
    ("vlan 5000", "VLAN tag 5000 greater than maximum 4095"),
    ("net 192.0.2.1/24", "non-network bits set in \"192.0.2.1/24\""),
    ("ip broadcast", "netmask not known, so 'ip broadcast' not supported"),
    ("ip6 protochain 17", "`protochain`, which loops, never can"),
];

fn refusals_name_the_reason() {
    for (expression, reason) in REFUSED {
        let output = switch_compiles(expression);
        assert_eq!(output.status.code(), Some(1), "{expression}: {output:?}");
        assert!(output.stdout.is_empty(), "{expression}: {output:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(said.lines().count(), 1, "{expression}: {said:?}");
        assert!(said.contains(reason), "{expression}: {said:?}");
        let outside = filter::compile_outside(expression).expect_err(expression);
        assert_eq!(outside.to_string(), said.trim(), "{expression}");
    }
    let nul = filter::compile("udp\0").expect_err("no C string");
    assert!(matches!(nul, FilterError::Compile(CompileError::Nul)), "{nul}");
}

fn tcpdump_s_words() {
    for expression in ["udp prt 53", "port 99999", "vlan 5000", "net 192.0.2.1/24", "tcp[", "()"] {
        let ours = switch_compiles(expression).stderr;
        let theirs = tcpdump::complaint(expression);
        assert_eq!(String::from_utf8_lossy(&ours).trim(), theirs, "{expression}");
    }
}

fn switch_compiles(expression: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_uml_switch"))
        .args([filter::COMMAND, expression])
        .output()
        .expect("the switch can be started")
}
