#![no_main]

#[path = "../checks/stream_frames.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::check(data));
