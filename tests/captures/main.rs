//! Captures as other programs see them: files as `tshark`, `capinfos` and `tcpdump` read them, and
//! switches as interfaces in Wireshark. A test whose program is not installed is shown as ignored.
#![allow(unreachable_pub)] // The shared modules belong to another target too.

mod extcap;
mod files;

#[allow(dead_code, unused_imports)] // Shared with the other target, which uses all of it.
#[path = "../process/support/mod.rs"]
mod support;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

/// A test, and the programs that it needs.
struct Test {
    name: &'static str,
    needs: &'static [&'static str],
    run: fn(),
}

/// A table of tests: `tests![name, name needs "program", ...]`.
macro_rules! tests {
    ($($name:ident $(needs $program:literal)?,)*) => {
        &[$(crate::Test {
            name: concat!(module_path!(), "::", stringify!($name)),
            needs: &[$($program)?],
            run: $name,
        }),*]
    };
}
use tests;

fn main() -> ExitCode {
    let trials = [files::TESTS, extcap::TESTS].into_iter().flatten().map(trial);
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}

fn trial(test: &'static Test) -> Trial {
    let missing = test.needs.iter().find(|program| !is_there(program));
    let missing = missing.map(|program| format!("no {program}: run tools/setup test"));
    let kind = missing.clone().unwrap_or_default();
    let ignored = missing.is_some();
    let run = move || match missing {
        Some(missing) => Err(missing.into()),
        None => {
            (test.run)();
            Ok(())
        }
    };
    let name = test.name.trim_start_matches("captures::");
    Trial::test(name, run).with_kind(kind).with_ignored_flag(ignored)
}

fn is_there(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths).any(|directory| directory.join(program).exists())
}
