//! Real TAP devices, real guests, `vde_plug` and Debian's init script.
//!
//! Each test runs on a thread of its own in a network and a mount namespace of its own, so the
//! machine keeps its interfaces, sockets and files, and what a test leaves behind goes with its
//! thread. This takes root. What a test needs and the machine does not have is shown as the reason
//! why it is ignored; with `--include-ignored` it is a failure.
#![allow(unreachable_pub)] // The shared modules belong to another target too.

mod access;
mod captures;
mod guest;
mod guests;
mod guests_mixed;
mod guests_paused;
mod host;
mod init_script;
mod libvdeplug;
mod nat;
mod needs;
mod permissions;
mod ping;
mod sandbox;
mod scheduling;
mod slow_receivers;
mod tap_attach;
mod tap_frames;
mod tap_loss;
mod tap_unusable;
mod users;
mod vde;

#[allow(dead_code, unused_imports)] // Shared with the other target, which uses all of it.
#[path = "../process/support/mod.rs"]
mod support;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

use needs::Need;

/// A test and what it needs.
#[derive(Clone, Copy)]
pub struct Test {
    name: &'static str,
    needs: &'static [Need],
    run: fn(),
}

/// A table of tests: `tests![[Need, ...] name, ...]`.
macro_rules! tests {
    ($([$($need:ident),*] $name:ident,)*) => {
        &[$(crate::Test {
            name: concat!(module_path!(), "::", stringify!($name)),
            needs: &[$(crate::needs::Need::$need),*],
            run: $name,
        }),*]
    };
}
pub(crate) use tests;

fn main() -> ExitCode {
    let mut args = Arguments::from_args();
    // A few guests at a time are what a small machine can boot.
    args.test_threads.get_or_insert(1);
    // Before any thread is started: the namespaces of the tests are made from these.
    let entered = sandbox::enter();
    let all = [
        tap_attach::TESTS,
        tap_unusable::TESTS,
        tap_frames::TESTS,
        tap_loss::TESTS,
        captures::TESTS,
        guests::TESTS,
        guests_mixed::TESTS,
        guests_paused::TESTS,
        vde::TESTS,
        libvdeplug::TESTS,
        nat::TESTS,
        init_script::TESTS,
        permissions::TESTS,
        access::TESTS,
        slow_receivers::TESTS,
        scheduling::TESTS,
    ];
    let trials = all.into_iter().flatten().map(|test| trial(test, entered.as_ref().err()));
    libtest_mimic::run(&args, trials.collect()).exit_code()
}

fn trial(test: &'static Test, refused: Option<&String>) -> Trial {
    let missing = refused.cloned().or_else(|| test.needs.iter().find_map(|need| need.missing()));
    let kind = missing.clone().unwrap_or_default();
    let run = move || match missing {
        None => {
            sandbox::run(test.name, test.run);
            Ok(())
        }
        Some(reason) => Err(reason.into()),
    };
    let ignored = !kind.is_empty();
    let name = test.name.trim_start_matches("real::");
    Trial::test(name, run).with_kind(kind).with_ignored_flag(ignored)
}
