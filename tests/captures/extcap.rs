//! Switches in Wireshark's list of interfaces.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use uml_switch::core::PortId;
use uml_switch::mirror::sink::{Progress, Stream};
use uml_switch::mirror::{Direction, PortTotals, Record};

use crate::support::{BROADCAST, Client, DEADLINE, Switch, frame, mac, wait_for};

pub const TESTS: &[crate::Test] = crate::tests![
    every_port_is_an_interface,
    running_switches_are_found,
    a_port_has_options_and_is_ethernet,
    a_filter_is_checked needs "tcpdump",
    a_signal_ends_a_capture_with_its_statistics,
    a_reader_that_goes_ends_a_capture,
    what_cannot_be_done_is_said_in_a_line,
    wireshark_lists_and_captures needs "tshark",
];

fn every_port_is_an_interface() {
    let switch = Switch::start();
    let _guests = Client::several(&switch, 2);
    let listed = extcap(&switch, &["--extcap-interfaces", "--extcap-version=4.0"]);
    let control = switch.control.display();
    let uid = nix::unistd::geteuid();
    let interface = |port: &str, display: &str| {
        format!(
            "interface {{value=uml_switch:{port}:{control}.admin}}{{display={display} of {control}}}\n"
        )
    };
    let expected = [
        concat!("extcap {version=", env!("CARGO_PKG_VERSION"), "}\n").to_owned(),
        interface("all", "all ports"),
        interface("1", &format!("port 1 daemon uid {uid}")),
        interface("2", &format!("port 2 daemon uid {uid}")),
    ];
    assert_eq!(listed, expected.concat());
}

fn running_switches_are_found() {
    let switches = [Switch::start(), Switch::start()];
    let listed = String::from_utf8(program().arg("--extcap-interfaces").output().unwrap().stdout);
    let listed = listed.unwrap();
    for switch in &switches {
        let value = format!("{{value={}}}", interface(switch, "all"));
        assert_eq!(listed.matches(&value).count(), 1, "{value} in {listed}");
    }
}

fn a_port_has_options_and_is_ethernet() {
    let switch = Switch::start();
    let [port, all] = ["1", "all"].map(|port| interface(&switch, port));
    let dlts = extcap(&switch, &["--extcap-interface", &port, "--extcap-dlts"]);
    assert_eq!(dlts, "dlt {number=1}{name=EN10MB}{display=Ethernet}\n");
    let options = extcap(&switch, &["--extcap-interface", &port, "--extcap-config"]);
    assert!(options.contains("{call=--snaplen}") && options.contains("{call=--direction}"));
    // Without a port a frame is captured once, as it comes in: it has no other direction.
    let options = extcap(&switch, &["--extcap-interface", &all, "--extcap-config"]);
    assert!(options.contains("{call=--snaplen}") && !options.contains("{call=--direction}"));
}

fn a_filter_is_checked() {
    let switch = Switch::start();
    let said = |expression| {
        let interface = interface(&switch, "1");
        let filter = format!("--extcap-capture-filter={expression}");
        extcap(&switch, &["--extcap-interface", &interface, &filter])
    };
    for right in ["udp port 27015", "", " "] {
        assert_eq!(said(right), "", "{right}");
    }
    for wrong in ["udp prt 27015", "-", "host"] {
        assert_eq!(said(wrong).lines().count(), 1, "{wrong}");
    }
}

fn a_signal_ends_a_capture_with_its_statistics() {
    let switch = Switch::start();
    let guests = Client::several(&switch, 2);
    let mut capture = Capture::start(&switch, "1", &["--direction", "in", "--snaplen", "20"]);
    // The first ones may come before the capture has begun.
    let first = wait_for("a frame in the capture", || {
        guests[0].send(&frame(BROADCAST, mac(1), 60));
        capture.records.try_recv().ok()
    });
    assert_eq!(first, "port 1.0");
    capture.signal(Signal::SIGTERM);
    let mut frames = 0;
    let totals = loop {
        match capture.next().as_str() {
            "in 1.0 20 of 60" => frames += 1,
            end => break end.to_owned(),
        }
    };
    let port = PortId::from_parts(1, 0);
    let all = PortTotals { port, seen: frames, captured: frames, filtered: 0, dropped: 0 };
    assert_eq!(totals, format!("{:?}", Progress::Ended(vec![all])));
    assert!(capture.child.wait().unwrap().success());
}

fn a_reader_that_goes_ends_a_capture() {
    let switch = Switch::start();
    let mut capture = Command::new(env!("CARGO_BIN_EXE_uml_extcap"))
        .args(["--capture", "--fifo=/dev/stdout", "--extcap-interface"])
        .arg(interface(&switch, "all"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    drop(capture.stdout.take());
    let ended = wait_for("the capture to end", || capture.try_wait().unwrap());
    assert!(ended.success(), "{ended}");
}

fn what_cannot_be_done_is_said_in_a_line() {
    let nowhere = "uml_switch:1:/nowhere.admin";
    let switch = Switch::start();
    let interface = interface(&switch, "1");
    for wrong in [
        &["--extcap-interface", "eth0", "--extcap-dlts"][..],
        &["--extcap-interface", nowhere, "--capture"],
        &["--extcap-interface", nowhere, "--capture", "--fifo=/dev/null"],
        &["--extcap-interface", &interface, "--capture", "--fifo=/no/such/pipe"],
        &[
            "--extcap-interface",
            &interface,
            "--capture",
            "--fifo=/dev/null",
            "--extcap-capture-filter=udp prt",
        ],
        &["--extcap-interface", &interface],
    ] {
        let Output { status, stdout, stderr } = program().args(wrong).output().unwrap();
        let said = String::from_utf8(stderr).unwrap();
        assert_eq!(status.code(), Some(1), "{wrong:?}: {said}");
        assert!(stdout.is_empty());
        assert!(said.starts_with("uml_extcap: ") && said.lines().count() == 1, "{wrong:?}: {said}");
    }
}

fn wireshark_lists_and_captures() {
    let switch = Switch::start();
    let guests = Client::several(&switch, 2);
    let wireshark = Wireshark::new();
    let interface = interface(&switch, "all");
    let listed = wireshark.tshark("-D").output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.contains(&interface), "{listed}");

    let mut tshark = wireshark
        .tshark("-i")
        .args([&interface, "-l", "-T", "fields", "-e", "frame.interface_name", "-e", "eth.src"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(tshark.stdout.take().unwrap());
    let (lines, shown) = mpsc::channel();
    let reader = thread::spawn(move || {
        for line in output.lines().map_while(Result::ok) {
            let _ = lines.send(line);
        }
    });
    let uid = nix::unistd::geteuid();
    for (index, guest) in guests.iter().enumerate() {
        let n = index + 1;
        let line = format!("port {n} daemon uid {uid}\t02:00:00:00:00:0{n}");
        // The first ones may come before the capture has begun.
        wait_for(&line, || {
            guest.send(&frame(BROADCAST, guest.mac, 60));
            guests[1 - index].drain();
            shown
                .recv_timeout(Duration::from_millis(20))
                .is_ok_and(|shown| shown == line)
                .then_some(())
        });
    }
    kill(Pid::from_raw(tshark.id() as i32), Signal::SIGINT).unwrap();
    wait_for("tshark to end", || tshark.try_wait().unwrap());
    reader.join().unwrap();
}

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_uml_extcap"))
}

/// What it prints when it knows this switch alone.
fn extcap(switch: &Switch, arguments: &[&str]) -> String {
    let output = program().env("UML_SWITCH_ADMIN", admin(switch)).args(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn admin(switch: &Switch) -> PathBuf {
    uml_switch::admin::default_path(&switch.control)
}

fn interface(switch: &Switch, port: &str) -> String {
    format!("uml_switch:{port}:{}", admin(switch).display())
}

/// A capture that runs, with its records in words.
struct Capture {
    child: Child,
    records: mpsc::Receiver<String>,
}

impl Capture {
    fn start(switch: &Switch, port: &str, options: &[&str]) -> Self {
        let mut child = program()
            .args(["--capture", "--fifo=/dev/stdout", "--extcap-interface"])
            .arg(interface(switch, port))
            .args(options)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stream = Stream::new(child.stdout.take().unwrap());
        let (sender, records) = mpsc::channel();
        thread::spawn(move || {
            loop {
                let progress = stream.read(|record| {
                    let _ = sender.send(in_words(record));
                    Ok(())
                });
                match progress {
                    Ok(Progress::Open) => {}
                    Ok(end) => return sender.send(format!("{end:?}")),
                    Err(error) => return sender.send(error.to_string()),
                }
            }
        });
        Capture { child, records }
    }

    fn next(&self) -> String {
        self.records.recv_timeout(DEADLINE).expect("a record in time")
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn in_words(record: Record<'_>) -> String {
    match record {
        Record::Port { port, .. } => format!("port {port:?}"),
        Record::Frame(frame) => {
            let direction = match frame.direction {
                Direction::In => "in",
                Direction::Out => "out",
            };
            let (kept, original) = (frame.bytes.len(), frame.original);
            format!("{direction} {:?} {kept} of {original}", frame.port)
        }
    }
}

/// Wireshark's programs with `uml_extcap` alone in their extcap directory.
struct Wireshark {
    directory: tempfile::TempDir,
}

impl Wireshark {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let program = Path::new(env!("CARGO_BIN_EXE_uml_extcap"));
        std::os::unix::fs::symlink(program, directory.path().join("uml_extcap")).unwrap();
        Wireshark { directory }
    }

    fn tshark(&self, argument: &str) -> Command {
        let directory = self.directory.path();
        let mut command = if nix::unistd::geteuid().is_root() {
            // For root they do not look at the variable: the directory goes where they do look.
            let mut command = Command::new("unshare");
            let script = "mount --bind \"$0\" \"$(tshark -G folders 2>/dev/null \
                | sed -n 's/^Extcap path:[[:space:]]*//p')\" && exec tshark \"$@\"";
            command.args(["-m", "sh", "-c", script]).arg(directory);
            command
        } else {
            Command::new("tshark")
        };
        command.arg(argument).env("WIRESHARK_EXTCAP_DIR", directory).stderr(Stdio::null());
        command
    }
}
