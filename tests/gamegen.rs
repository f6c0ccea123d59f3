//! The captures of game traffic and the program that makes them: the files are what their commands
//! make, they are as the model wants them, and what is no such file is refused in one line.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

fn captures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("captures")
}

/// The options of each command in the README, the file's name last.
fn commands() -> Vec<Vec<String>> {
    let readme = fs::read_to_string(captures().join("README.md")).unwrap();
    let commands = readme.lines().filter_map(|line| line.strip_prefix("    uml_gamegen "));
    commands.map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
}

fn gamegen(directory: &Path, options: &[impl AsRef<std::ffi::OsStr>]) -> Output {
    let program = env!("CARGO_BIN_EXE_uml_gamegen");
    Command::new(program).args(options).current_dir(directory).output().unwrap()
}

fn report(directory: &Path, options: &[String]) -> Output {
    gamegen(directory, &[&["--report".to_owned()], options].concat())
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The options of this line, as one types them.
fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn every_capture_is_what_its_command_makes() {
    let directory = TempDir::new().unwrap();
    for command in commands() {
        let name = command.last().unwrap();
        let made = gamegen(directory.path(), &command);
        assert!(made.status.success(), "{name}: {made:?}");
        let (made, kept) = (directory.path().join(name), captures().join(name));
        let same = fs::read(made).unwrap() == fs::read(kept).unwrap();
        assert!(same, "{name} is not what its command in captures/README.md makes");
    }
}

#[test]
fn every_capture_has_its_command_and_they_are_small() {
    let named: BTreeSet<String> =
        commands().into_iter().map(|mut command| command.pop().unwrap()).collect();
    let mut found = BTreeSet::new();
    let mut bytes = 0;
    for entry in fs::read_dir(captures()).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if name != "README.md" {
            bytes += entry.metadata().unwrap().len();
            found.insert(name);
        }
    }
    assert_eq!(found, named);
    assert!(bytes < 1_500_000, "{bytes} bytes");
}

#[test]
fn every_capture_is_as_the_model_wants_it() {
    for command in commands() {
        let report = report(&captures(), &command);
        assert_eq!(report.status.code(), Some(0), "{}", stdout(&report));
        assert!(stdout(&report).ends_with("all as the model wants it\n"));
        assert!(!stdout(&report).contains("FAIL"));
    }
}

/// Read here by hand: what the program writes it reads with the same library.
#[test]
fn captures_are_classic_pcap_with_nanoseconds() {
    let start = 1_000_000_000;
    for command in commands() {
        let name = command.last().unwrap();
        let bytes = fs::read(captures().join(name)).unwrap();
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        let half = |at: usize| u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap());
        assert_eq!(word(0), 0xa1b2_3c4d, "magic");
        assert_eq!((half(4), half(6), word(20)), (2, 4, 1), "version 2.4, Ethernet");
        let mut at = 24;
        let mut before = (start, 0);
        while at < bytes.len() {
            let time = (word(at), word(at + 4));
            assert!(time >= before && time.0 < start + 60 && time.1 < 1_000_000_000, "{name}");
            let (captured, length) = (word(at + 8), word(at + 12));
            assert!(captured == length && (42..=1514).contains(&length), "{name}: {length}");
            before = time;
            at += 16 + length as usize;
        }
        assert_eq!(at, bytes.len(), "{name}");
    }
}

#[test]
fn a_capture_of_another_game_does_not_pass() {
    for (file, options) in [
        ("game-32.pcap", "--clients 12 --seconds 1.5"),
        ("game-32.pcap", "--clients 32 --seconds 3"),
        ("game-32.pcap", "--clients 32 --seconds 1.5 --sync"),
        ("game-32.pcap", "--clients 32 --seconds 1.5 --updaterate 30"),
        ("game-32.pcap", "--clients 32 --seconds 1.5 --s2c ln:200:0.31"),
        ("game-32.pcap", "--clients 32 --seconds 1.5 --client-rate 30"),
        ("game-32.pcap", "--clients 32 --seconds 1.5 --bulk 2"),
        ("map-change-32.pcap", "--clients 32 --seconds 1"),
    ] {
        let report = report(&captures(), &words(&format!("{options} {file}")));
        assert_eq!(report.status.code(), Some(1), "{options}: {}", stdout(&report));
        assert!(stdout(&report).contains("FAIL"), "{options}");
    }
}

#[test]
fn a_seed_makes_one_capture_and_another_seed_another() {
    let directory = TempDir::new().unwrap();
    let make = |seed: &str, name: &str| {
        let options = ["--seconds", "0.5", "--seed", seed, name];
        let made = gamegen(directory.path(), &options);
        assert!(made.status.success(), "{made:?}");
        fs::read(directory.path().join(name)).unwrap()
    };
    let first = make("1", "a.pcap");
    assert!(first == make("1", "b.pcap"));
    assert!(first != make("2", "c.pcap"));
}

#[test]
fn a_minute_of_many_players_is_as_the_model_wants_it() {
    let directory = TempDir::new().unwrap();
    let options = words("--clients 32 --seconds 60 --seed 6 minute.pcap");
    assert!(gamegen(directory.path(), &options).status.success());
    let report = report(directory.path(), &options);
    assert!(report.status.success(), "{}", stdout(&report));
}

#[test]
fn what_is_no_capture_is_refused_in_one_line() {
    let directory = TempDir::new().unwrap();
    let good = fs::read(captures().join("game-12.pcap")).unwrap();
    let write = |name: &str, bytes: &[u8]| {
        fs::write(directory.path().join(name), bytes).unwrap();
    };
    write("empty", &[]);
    write("text", b"#!/bin/sh\necho this is no capture at all\n");
    write("cut", &good[..good.len() - 5]);
    let mut backwards = good.clone();
    backwards[24..28].copy_from_slice(&2_000_000_000_u32.to_le_bytes());
    write("backwards", &backwards);
    let mut absurd = good.clone();
    absurd[24 + 8..24 + 16].copy_from_slice(&[0xff; 8]);
    write("absurd", &absurd);
    for (name, why) in [
        ("missing", "cannot open the file"),
        ("empty", "no pcap header"),
        ("text", "no pcap header"),
        ("cut", "record 1325"),
        ("backwards", "record 2"),
        ("absurd", "record 1"),
    ] {
        let refused = report(directory.path(), &[name.to_owned()]);
        let said = String::from_utf8(refused.stderr).unwrap();
        assert_eq!(refused.status.code(), Some(2), "{name}: {said}");
        assert!(said.contains(why) && said.contains(name), "{name}: {said}");
        assert_eq!(said.lines().count(), 1, "{name}: {said}");
    }

    // A capture without a frame is one, but not of a game.
    write("none", &good[..24]);
    assert_eq!(report(directory.path(), &["none".to_owned()]).status.code(), Some(1));
}

#[test]
fn a_file_that_cannot_be_made_is_said() {
    let directory = TempDir::new().unwrap();
    let refused = gamegen(directory.path(), &["there/is/no/such/directory.pcap"]);
    assert_eq!(refused.status.code(), Some(2));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("cannot make the file") && said.lines().count() == 1, "{said}");
}
