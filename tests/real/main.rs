//! Real TAP devices and real guests, in network namespaces of the test's own.
#![allow(unreachable_pub)]

#[allow(dead_code, unused_imports)] // Shared with the other target, which uses all of it.
#[path = "../process/support/mod.rs"]
mod support;

fn main() {}
