//! What can be typed, in classic and modern spelling, and what is said about what cannot.

use std::fs;
use std::process::Command;

use crate::support::{
    BROADCAST, Client, Finished, Request, Switch, SwitchBuilder, binary, frame, mac, run,
};

/// The program with the words of `line`, in `dir`.
fn command(dir: &tempfile::TempDir, line: &str) -> Command {
    let mut command = Command::new(binary());
    command.args(line.split_whitespace()).current_dir(dir.path());
    command
}

/// A switch that serves `ctl` by the words of `line`, relative to its directory.
#[track_caller]
fn serving(line: &str, ctl: &str) -> Switch {
    let dir = tempfile::tempdir().unwrap();
    let command = command(&dir, line);
    let control = dir.path().join(ctl);
    Switch::spawn(dir, control, command)
}

#[track_caller]
fn expect_usage_error(line: &str) -> Finished {
    let dir = tempfile::tempdir().unwrap();
    let finished = run(&mut command(&dir, line));
    assert_eq!(finished.status.code(), Some(1), "{line}");
    assert_eq!(finished.stdout, "", "{line}");
    assert!(finished.stderr.contains("Usage: uml_switch "), "{line}: {}", finished.stderr);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "{line}: something was created");
    finished
}

#[test]
fn wrong_and_incomplete_lines_say_the_usage_and_create_nothing() {
    for line in [
        "-unix",
        "--unix",
        "-unix ctl data",
        "-unix ctl data -compat-v0",
        "-unix ctl -compat-v0 data",
        "-unix ctl -tap",
        "-unix ctl --tap",
        "-unix ctl -tap sixteen-letters-",
        "-unix ctl --tap a/b",
        "-unix ctl extra",
        "-unix ctl -nonsense",
        "-unix ctl --nonsense",
        "-unix ctl -hub on",
        "-unix ctl --hub=on",
        "-unix ctl -daemon yes",
        "-unix ctl -d",
        "-unix ctl --data data",
        "-unix ctl -help",
        "-help",
        "-compat-v0 -unix ctl",
        "-compat-v0 -unix ctl data extra",
        "-compat-v0 -unix ctl ctl",
    ] {
        expect_usage_error(line);
    }
}

#[test]
fn values_that_cannot_be_are_named() {
    for (option, values) in [
        ("--ageing", &["0", "-1", "x", "1.5", "99999999999"] as &[_]),
        ("--fdb-size", &["0", "x", "4294967296"]),
        ("--max-ports", &["0", "70000", "many"]),
        ("--mtu", &["0", "67", "65532", "9k"]),
        ("--log", &["loud", "3", "INFO", ""]),
    ] {
        expect_usage_error(&format!("-unix ctl {option}"));
        // Newer options have no classic spelling.
        expect_usage_error(&format!("-unix ctl {} 100", &option[1..]));
        for value in values {
            let said = expect_usage_error(&format!("-unix ctl {option}={value}")).stderr;
            assert!(said.contains(option) && said.contains(value), "{said}");
        }
    }
}

#[test]
fn a_path_that_no_socket_can_have_is_refused_with_the_limit() {
    let said = expect_usage_error(&format!("-unix {}", "a".repeat(108))).stderr;
    assert!(said.contains("107 bytes"), "{said}");
    expect_usage_error(&format!("-compat-v0 -unix ctl {}", "a".repeat(108)));
    expect_usage_error("-unix /");
    let dir = tempfile::tempdir().unwrap();
    let finished = run(command(&dir, "-unix").arg(""));
    assert_eq!((finished.status.code(), finished.stdout.as_str()), (Some(1), ""));
}

#[test]
fn the_longest_path_that_a_socket_can_have_is_served() {
    let ctl = "a".repeat(107);
    let dir = tempfile::tempdir().unwrap();
    let command = command(&dir, &format!("-unix {ctl}"));
    // The whole path is too long to connect to, so we go where the short one is.
    let link = tempfile::tempdir().unwrap();
    let control = link.path().join("ctl");
    std::os::unix::fs::symlink(dir.path().join(&ctl), &control).unwrap();
    let switch = Switch::spawn(dir, control, command);
    let guests = Client::several(&switch, 2);
    guests[0].reach(&guests[1]);
}

#[test]
fn help_and_version_are_answers_on_standard_output() {
    let dir = tempfile::tempdir().unwrap();
    for line in ["--help", "-h", "--version", "-V", "-unix ctl -tap t --help"] {
        let finished = run(&mut command(&dir, line));
        assert_eq!(finished.status.code(), Some(0), "{line}");
        assert_eq!(finished.stderr, "", "{line}");
        let expected =
            if line.ends_with('h') || line.ends_with("help") { "Usage: " } else { "uml_switch " };
        assert!(finished.stdout.contains(expected), "{line}: {}", finished.stdout);
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn the_help_names_every_option_and_the_default_paths() {
    let dir = tempfile::tempdir().unwrap();
    let help = run(&mut command(&dir, "--help")).stdout;
    for word in [
        "--unix",
        "--data",
        "--tap",
        "--hub",
        "--daemon",
        "--compat-v0",
        "--ageing",
        "--fdb-size",
        "--max-ports",
        "--mtu",
        "--log",
        "/tmp/uml.ctl",
        "/tmp/uml.data",
        "[default: 100]",
    ] {
        assert!(help.contains(word), "{word} is missing:\n{help}");
    }
}

#[test]
fn the_control_socket_is_where_either_spelling_says() {
    for line in ["-unix ctl", "--unix ctl", "--unix=ctl"] {
        let switch = serving(line, "ctl");
        let guests = Client::several(&switch, 2);
        guests[0].reach(&guests[1]);
        let names: Vec<_> = fs::read_dir(switch.dir.path()).unwrap().collect();
        assert_eq!(names.len(), 3, "both sockets and our log: {names:?}");
    }
}

#[test]
fn classic_options_take_any_value_even_one_that_looks_like_an_option() {
    let switch = serving("-unix -hub", "-hub");
    assert!(switch.control.exists());
}

#[test]
fn the_data_socket_of_compat_v0_is_where_every_spelling_says() {
    for line in [
        "-compat-v0 -unix ctl data",
        "--compat-v0 --unix ctl data",
        "-compat-v0 --unix ctl --data data",
        "--unix=ctl --data=data --compat-v0",
        "--compat-v0 -unix ctl data",
    ] {
        let switch = serving(line, "ctl");
        let client = Client::new(&switch, mac(1));
        assert!(switch.dir.path().join("data").exists(), "{line}");
        assert_eq!(client.switch.as_pathname(), Some("data".as_ref()), "{line}");
    }
}

#[test]
fn either_spelling_makes_it_a_hub() {
    for line in ["-hub", "--hub", "-hub --hub -hub"] {
        let switch = Switch::with(line);
        let guests = Client::several(&switch, 3);
        guests[1].send(&frame(BROADCAST, mac(2), 60));
        guests[0].receive();
        guests[2].receive();
        guests[0].reach(&guests[1]);
        assert_eq!(guests[2].receive(), frame(mac(2), mac(1), 100), "{line}");
    }
}

#[test]
fn an_uplink_that_cannot_be_is_said_in_either_spelling_and_the_switch_goes_on() {
    // Nobody may attach to the loopback interface, not even root.
    let spellings: [&[&str]; 4] =
        [&["-tap", "lo"], &["--tap", "lo"], &["--tap=lo"], &["-tap", "nonsense", "-tap", "lo"]];
    for words in spellings {
        let builder = SwitchBuilder::default();
        let switch = words.iter().fold(builder, |builder, &word| builder.arg(word)).start();
        let said = switch.wait_for_log("no uplink, going on without it");
        assert!(said.starts_with("uml_switch: ") && !said.contains("nonsense"), "{said}");
        let guests = Client::several(&switch, 2);
        guests[0].reach(&guests[1]);
    }
}

#[test]
fn options_may_repeat_and_the_last_one_wins() {
    let switch =
        serving("-unix first --mtu 9000 --unix second --mtu 100 -unix ctl --mtu 200", "ctl");
    assert!(!switch.dir.path().join("first").exists());
    assert!(!switch.dir.path().join("second").exists());
    let guests = Client::several(&switch, 2);
    guests[0].send(&frame(BROADCAST, mac(1), 219));
    let longest = frame(BROADCAST, mac(1), 218);
    guests[0].send(&longest);
    assert_eq!(guests[1].receive(), longest);
    let compat = serving("-compat-v0 -unix a b -unix ctl data", "ctl");
    assert!(compat.dir.path().join("data").exists());
    assert!(!compat.dir.path().join("a").exists() && !compat.dir.path().join("b").exists());
    // A request of that mode alone tells that it is on.
    let (name, data) = Client::socket();
    let mut control = compat.connect();
    std::io::Write::write_all(&mut control, &Request::v0(mac(1), &name)).unwrap();
    compat.wait_for_log("port opened");
    drop(data);
}
