//! What the fuzzers of `tests/fuzz` have found worth keeping, run again: every input of their corpus
//! goes through the very checks that they run.

use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

#[path = "fuzz/checks/filter_program.rs"]
mod filter_program;
#[path = "fuzz/checks/frame_path.rs"]
mod frame_path;
#[path = "fuzz/checks/handshake.rs"]
mod handshake;

#[path = "fuzz/checks/stream_frames.rs"]
mod stream_frames;

#[test]
fn streams_of_frames_stand_every_input_of_their_corpus() {
    replay("stream_frames", stream_frames::check);
}

#[test]
fn the_handshake_stands_every_input_of_its_corpus() {
    replay("handshake", handshake::check);
}

#[test]
fn the_frame_path_stands_every_input_of_its_corpus() {
    replay("frame_path", frame_path::check);
}

#[test]
fn filter_programs_stand_every_input_of_their_corpus() {
    replay("filter_program", filter_program::check);
}

/// Runs `check` on every input for `target`, and names those that it fails on.
fn replay(target: &str, check: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
    let inputs: Vec<_> = fs::read_dir(&corpus)
        .expect("the corpus is part of the sources")
        .map(|entry| entry.expect("the corpus can be listed").path())
        .collect();
    assert!(!inputs.is_empty(), "{} is empty", corpus.display());
    let failed: Vec<_> = inputs
        .iter()
        .filter(|path| {
            let input = fs::read(path).expect("the corpus can be read");
            catch_unwind(|| check(&input)).is_err()
        })
        .collect();
    assert!(failed.is_empty(), "{} of {} inputs fail: {failed:#?}", failed.len(), inputs.len());
}
