//! `uml_replay`, with the captures in `captures/` and the real switch.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TransportSlice};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;
use uml_switch::client::{BROADCAST, Client, frame, mac};

/// How long anything may take that is expected to happen.
const DEADLINE: Duration = Duration::from_secs(60);

/// Its path may have blanks in it.
const SWITCH: &str = concat!("'", env!("CARGO_BIN_EXE_uml_switch"), "' -unix {ctl}");

fn replay(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_uml_replay"));
    command.args(args).current_dir(captures()).stdin(Stdio::null());
    command
}

fn captures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("captures")
}

/// Replays through a switch of its own, and returns what `--json` says.
#[track_caller]
fn report(capture: &str, args: &[&str]) -> Value {
    let fixed = [capture, "--switch-command", SWITCH, "--json"];
    let output = replay(&[&fixed, args].concat()).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{capture} {args:?}: {}", said(&output));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn number(value: &Value, key: &str) -> u64 {
    value[key].as_u64().unwrap_or_else(|| panic!("{key} in {value}"))
}

/// Nothing is lost, doubled or made up, and everything was replayed.
#[track_caller]
fn expect_all(report: &Value, passes: u64) {
    for switch in report["switches"].as_array().unwrap() {
        let total = &switch["total"];
        // A flooded frame is due at several stations.
        assert!(number(total, "due") >= number(&report["capture"], "frames") * passes, "{total}");
        assert_eq!(number(total, "received"), number(total, "due"), "{total}");
        for nothing in ["lost", "refused", "duplicated"] {
            assert_eq!(number(total, nothing), 0, "{nothing}: {total}");
        }
        assert_eq!(number(switch, "unexpected"), 0);
        expect_sums(switch);
    }
}

/// What is counted by direction, by size and by flow is in all what is counted.
#[track_caller]
fn expect_sums(switch: &Value) {
    for key in ["due", "received", "lost", "refused", "duplicated", "reordered"] {
        let total = number(&switch["total"], key);
        let sum = |rows: &Value, path: &str| -> u64 {
            rows.as_array()
                .unwrap()
                .iter()
                .map(|row| row.pointer(path).unwrap().as_u64().unwrap())
                .sum()
        };
        assert_eq!(sum(&switch["directions"], &format!("/tally/{key}")), total, "{key}");
        assert_eq!(sum(&switch["sizes"], &format!("/{key}")), total, "{key}");
        assert_eq!(sum(&switch["flows"], &format!("/{key}")), total, "{key}");
    }
}

#[test]
fn every_capture_arrives_whole_at_recorded_speed_and_faster() {
    for entry in fs::read_dir(captures()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.ends_with(".pcap") {
            for speed in ["1", "4"] {
                expect_all(&report(&name, &["--speed", speed]), 1);
            }
        }
    }
}

#[test]
fn as_fast_as_possible_everything_is_accounted_for() {
    let report = report("game-32-bulk.pcap", &["--speed", "max", "--passes", "3"]);
    let switch = &report["switches"][0];
    let total = &switch["total"];
    assert!(number(total, "due") >= 3 * number(&report["capture"], "frames"));
    // A receiver that is not run for long enough loses frames: not the replay's fault.
    assert_eq!(number(total, "due"), number(total, "received") + number(total, "lost"));
    assert_eq!(number(switch, "unexpected"), 0);
    assert_eq!((&report["run"]["speed"], number(&report["run"], "passes")), (&Value::Null, 3));
    expect_sums(switch);
}

#[test]
fn players_can_be_multiplied() {
    let once = report("lan-100-tick.pcap", &["--speed", "4"]);
    let twice = report("lan-100-tick.pcap", &["--speed", "4", "--multiply", "2"]);
    expect_all(&twice, 1);
    assert_eq!(number(&twice["capture"], "players"), 2 * number(&once["capture"], "players"));
    assert!(number(&twice["capture"], "frames") > number(&once["capture"], "frames"));
}

#[test]
fn a_duration_ends_in_the_middle_of_a_pass() {
    let report = report("map-change-32.pcap", &["--duration", "1.3", "--speed", "2"]);
    let (frames, due) =
        (number(&report["capture"], "frames"), number(&report["switches"][0]["total"], "due"));
    assert!(due > 2 * frames && due < 3 * frames, "{due} of {frames} each");
    assert_eq!(number(&report["run"], "passes"), 3);
    assert!(report["switches"][0]["seconds"].as_f64().unwrap() <= 1.3);
}

#[test]
fn turns_are_announced_and_switches_have_the_names_that_they_were_given() {
    use std::os::unix::fs::PermissionsExt;

    let directory = TempDir::new().unwrap();
    let (program, turns) = (directory.path().join("turn"), directory.path().join("turns"));
    fs::write(&program, format!("#!/bin/sh\necho \"$1\" >>{}\n", turns.display())).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let mut args = vec!["--compare-command", SWITCH, "--passes", "2", "--speed", "4"];
    args.extend(["--name", "one", "--compare-name", "other"]);
    args.extend(["--turn-command", program.to_str().unwrap()]);
    let report = report("game-12.pcap", &args);
    let names = [&report["switches"][0]["name"], &report["switches"][1]["name"]];
    assert_eq!(names, [&json!("one"), &json!("other")]);
    assert_eq!(fs::read_to_string(&turns).unwrap(), "first\nsecond\nsecond\nfirst\n");

    fs::write(&program, "#!/bin/sh\nexit 7\n").unwrap();
    let output = replay(&[&["game-12.pcap", "--switch-command", SWITCH], &args[..]].concat());
    let output = { output }.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("turn first: exit status: 7"), "{}", said(&output));
}

#[test]
fn two_switches_take_turns_and_are_sent_the_same() {
    let args = ["--compare-command", SWITCH, "--passes", "3", "--speed", "4"];
    let report = report("game-12.pcap", &args);
    let switches = report["switches"].as_array().unwrap();
    assert_eq!(switches.len(), 2);
    assert_eq!(switches[0]["total"]["due"], switches[1]["total"]["due"]);
    assert_eq!((number(&report["run"], "passes"), number(&report["run"], "turns")), (3, 3));
    expect_all(&report, 3);
}

#[test]
fn json_has_the_keys_and_types_that_it_had() {
    let args = ["--compare-command", SWITCH, "--max-p99", "60000000", "--max-loss", "100"];
    let shape = shape(&report("game-12.pcap", &args));
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/replay_schema.json");
    let expected: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    assert!(shape == expected, "the shape is now\n{shape:#}");
}

/// Types in the place of values, and of each array its first element.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            fields.iter().map(|(key, value)| (key.clone(), shape(value))).collect()
        }
        Value::Array(elements) => elements.iter().take(1).map(shape).collect(),
        Value::Number(number) if number.is_f64() => json!("number"),
        Value::Number(_) => json!("integer"),
        Value::String(_) => json!("string"),
        Value::Bool(_) => json!("boolean"),
        Value::Null => Value::Null,
    }
}

#[test]
fn the_exit_code_says_whether_the_bar_is_met() {
    let code = |bar: &[&str]| {
        let fixed = ["map-change-32.pcap", "--switch-command", SWITCH, "--speed", "4"];
        let output = replay(&[&fixed, bar].concat()).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        (output.status.code(), text)
    };
    let (met, text) = code(&["--max-p99", "60000000", "--max-loss", "100"]);
    assert_eq!(met, Some(0), "{text}");
    assert!(text.contains("The bar for players is met."), "{text}");
    let (met, text) = code(&["--max-p99", "1"]);
    assert_eq!(met, Some(3), "{text}");
    assert!(text.contains("to the server: 99 in 100 came within"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 100 || line.contains('/')), "{text}");
}

#[test]
fn the_report_is_written_to_files() {
    let directory = TempDir::new().unwrap();
    let path = |name: &str| directory.path().join(name).into_os_string().into_string().unwrap();
    let json = format!("--json={}", path("a.json"));
    let (html, svg) = (path("a.html"), path("a.svg"));
    let fixed = ["map-change-32.pcap", "--switch-command", SWITCH, "--speed", "4"];
    let args = [&fixed[..], &[&json, "--html", &html, "--svg", &svg]].concat();
    let output = replay(&args).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    assert!(String::from_utf8(output.stdout).unwrap().contains("all frames"));
    let report: Value = serde_json::from_slice(&fs::read(path("a.json")).unwrap()).unwrap();
    expect_all(&report, 1);
    assert!(fs::read_to_string(html).unwrap().starts_with("<!"));
    assert!(fs::read_to_string(svg).unwrap().starts_with("<svg"));
}

/// Exit code and the one line on standard error.
#[track_caller]
fn complaint(args: &[&str]) -> (Option<i32>, String) {
    let output = replay(args).output().unwrap();
    let said = said(&output);
    assert_eq!((said.lines().count(), output.stdout.len()), (1, 0), "{args:?}: {said}");
    (output.status.code(), said)
}

#[test]
fn a_capture_that_cannot_be_replayed_is_said_in_one_line() {
    let directory = TempDir::new().unwrap();
    let good = fs::read(captures().join("game-12.pcap")).unwrap();
    let mut backwards = good.clone();
    backwards[24..28].copy_from_slice(&2_000_000_000_u32.to_le_bytes());
    let mut absurd = good.clone();
    absurd[24 + 8..24 + 16].copy_from_slice(&[0xff; 8]);
    for (name, bytes, record) in [
        ("empty", &[][..], ""),
        ("text", b"#!/bin/sh\necho this is no capture at all\n", ""),
        ("none", &good[..24], ""),
        ("cut", &good[..good.len() - 5], "record 1325"),
        ("backwards", &backwards, "record 2"),
        ("absurd", &absurd, "record 1"),
    ] {
        let path = directory.path().join(name);
        fs::write(&path, bytes).unwrap();
        let path = path.to_str().unwrap();
        let (code, said) = complaint(&[path, "--switch-command", SWITCH]);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(path) && said.contains(record), "{said}");
    }
    let (code, said) = complaint(&["missing.pcap"]);
    assert!(code == Some(2) && said.contains("missing.pcap"), "{said}");
}

#[test]
fn a_switch_that_cannot_be_had_is_said_in_one_line() {
    let directory = TempDir::new().unwrap();
    let nobody = directory.path().join("ctl");
    let nobody = nobody.to_str().unwrap();
    let wrong_option = format!("'{}' --nonsense {{ctl}}", env!("CARGO_BIN_EXE_uml_switch"));
    for (args, why) in [
        (["--switch", nobody], "cannot reach the switch"),
        (["--switch-command", "uml_switch"], "{ctl}"),
        (["--switch-command", "/no/such/program {ctl}"], "/no/such/program"),
        (["--switch-command", "/bin/false {ctl}"], "ended with exit status: 1"),
        (["--switch-command", &wrong_option], "ended with exit status: 1"),
    ] {
        let (code, said) = complaint(&["game-12.pcap", args[0], args[1]]);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(why), "{said}");
    }
    let output = replay(&["game-12.pcap", "--speed", "-1"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(replay(&["--help"]).output().unwrap().status.code(), Some(0));
}

/// A replay without end, of a switch that it has started in its own temporary directory.
struct Endless {
    replay: Child,
    directory: TempDir,
}

impl Endless {
    /// Starts it, and waits until frames flow.
    #[track_caller]
    fn start() -> Endless {
        let directory = TempDir::new().unwrap();
        let args = ["game-12.pcap", "--switch-command", SWITCH, "--duration", "1000000"];
        let mut command = replay(&args);
        command.env("TMPDIR", directory.path()).stdout(Stdio::null()).stderr(Stdio::piped());
        Endless { replay: command.spawn().unwrap(), directory }
    }

    /// Another guest of the switch, as soon as it has heard something of the replay.
    #[track_caller]
    fn listener(&self) -> Client {
        let control = wait_for("a control socket", || {
            let inside = fs::read_dir(self.directory.path()).unwrap().next()?.unwrap();
            let control = inside.path().join("ctl");
            control.exists().then_some(control)
        });
        // It may be bound and not listen yet.
        let guest = wait_for("a port", || Client::connect(&control, mac(1)).ok());
        wait_for("a frame to everybody", || guest.receive(&mut [0; 2048]).unwrap());
        guest
    }

    fn wait(&mut self) -> (std::process::ExitStatus, String) {
        let status = wait_for("the replay to end", || self.replay.try_wait().unwrap());
        let mut said = String::new();
        let mut stderr = self.replay.stderr.take().unwrap();
        std::io::Read::read_to_string(&mut stderr, &mut said).unwrap();
        (status, said)
    }

    fn leaves_nothing(&self) -> bool {
        fs::read_dir(self.directory.path()).unwrap().next().is_none()
    }
}

impl Drop for Endless {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.replay.kill();
        let _ = self.replay.wait();
    }
}

#[track_caller]
fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited too long for {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_signal_ends_it_and_what_it_has_started() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut endless = Endless::start();
        let guest = endless.listener();
        kill(Pid::from_raw(endless.replay.id() as i32), signal).unwrap();
        let (status, said) = endless.wait();
        assert_eq!((status.signal(), said.as_str()), (Some(signal as i32), ""));
        assert!(endless.leaves_nothing());
        let gone = guest.send(&[0xff; 60]).unwrap_err();
        assert_eq!(gone.kind(), std::io::ErrorKind::ConnectionRefused);
    }
}

#[test]
fn a_switch_that_dies_ends_it_with_one_line() {
    let mut endless = Endless::start();
    drop(endless.listener());
    let children = format!("/proc/{0}/task/{0}/children", endless.replay.id());
    let children = fs::read_to_string(children).unwrap();
    let switch: i32 = children.trim().parse().expect("one child");
    kill(Pid::from_raw(switch), Signal::SIGKILL).unwrap();
    let (status, said) = endless.wait();
    assert_eq!((status.code(), said.lines().count()), (Some(1), 1), "{said}");
    assert!(said.contains("the switch"), "{said}");
    assert!(endless.leaves_nothing());
}

#[test]
fn a_switch_that_stops_forwarding_is_measured_not_waited_for() {
    let directory = TempDir::new().unwrap();
    let control = directory.path().join("ctl");
    let mut command = Command::new(env!("CARGO_BIN_EXE_uml_switch"));
    command.arg("-unix").arg(&control).stdin(Stdio::null()).stderr(Stdio::null());
    let mut switch = command.spawn().unwrap();
    let guest = wait_for("a port", || Client::connect(&control, mac(1)).ok());
    let args = ["game-12.pcap", "--switch", control.to_str().unwrap(), "--json", "--max-loss", "1"];
    let replay = replay(&args).stdout(Stdio::piped()).spawn().unwrap();
    // The first frame to everybody introduces a station, the next one is the capture's ARP request.
    let ether_type = |frame: &[u8; 2048]| [frame[12], frame[13]];
    wait_for("the capture's first frames", || {
        let mut frame = [0; 2048];
        guest.receive(&mut frame).unwrap()?;
        (ether_type(&frame) == [8, 6]).then_some(())
    });
    kill(Pid::from_raw(switch.id() as i32), Signal::SIGSTOP).unwrap();
    let output = replay.wait_with_output().unwrap();
    switch.kill().unwrap();
    switch.wait().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let total = &report["switches"][0]["total"];
    assert!(number(total, "due") >= number(&report["capture"], "frames"), "{total}");
    assert!(number(total, "lost") > 0, "{total}");
    assert_eq!(number(total, "due"), number(total, "received") + number(total, "lost"));
    assert_eq!(report["bar"]["met"], false);
}

/// `uml_replay --answer` on a free port. Killed when dropped.
struct Answerer {
    child: Child,
    address: SocketAddr,
}

impl Answerer {
    fn start(args: &[&str]) -> Answerer {
        let mut command = replay(&[&["--answer", "127.0.0.1:0"], args].concat());
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("answering at ").expect("an address");
        Answerer { child, address: address.parse().unwrap() }
    }

    /// A socket that sends to it.
    fn socket(&self) -> UdpSocket {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(self.address).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        socket
    }
}

impl Drop for Answerer {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn packets_are_sent_back_with_the_time_that_they_were_held() {
    let answerer = Answerer::start(&["--tick", "20"]);
    let socket = answerer.socket();
    for payload in [&[1; 40][..], &[2; 3]] {
        socket.send(payload).unwrap();
    }
    let mut answers = [[0; 64]; 2];
    let lens = answers.each_mut().map(|answer| socket.recv(answer).unwrap());
    assert_eq!(lens, [40, 16], "what is too short for the time grows");
    assert_eq!((&answers[0][..8], &answers[0][16..40]), (&[1; 8][..], &[1; 24][..]));
    assert_eq!(answers[1][..8], [2, 2, 2, 0, 0, 0, 0, 0]);
    for answer in answers {
        assert!(u64::from_be_bytes(answer[8..16].try_into().unwrap()) > 0);
    }
}

/// The server of the captures, on the switch at `control`: a guest's kernel, as far as it matters here,
/// in front of an answerer.
fn play_server(control: &Path, answerer: &Answerer, stop: &AtomicBool) {
    let server = [0xfe, 0xfd, 0xc0, 0, 2, 2];
    let guest = Client::connect(control, server).unwrap();
    guest.send(&frame(BROADCAST, server, 60)).unwrap();
    let socket = answerer.socket();
    let mut buffer = [0; 2048];
    while !stop.load(Ordering::Relaxed) {
        let Some(len) = guest.receive(&mut buffer).unwrap() else { continue };
        let packet = SlicedPacket::from_ethernet(&buffer[..len]).unwrap();
        let (Some(NetSlice::Ipv4(ip)), Some(TransportSlice::Udp(udp))) =
            (packet.net, packet.transport)
        else {
            continue;
        };
        socket.send(udp.payload()).unwrap();
        let mut answer = [0; 2048];
        let len = socket.recv(&mut answer).unwrap();
        let mut back = Vec::new();
        PacketBuilder::ethernet2(server, buffer[6..12].try_into().unwrap())
            .ipv4(ip.header().destination(), ip.header().source(), 64)
            .udp(udp.destination_port(), udp.source_port())
            .write(&mut back, &answer[..len])
            .unwrap();
        guest.send(&back).unwrap();
    }
}

#[test]
fn a_real_server_is_measured_there_and_back() {
    let directory = TempDir::new().unwrap();
    let control = directory.path().join("ctl");
    let mut command = Command::new(env!("CARGO_BIN_EXE_uml_switch"));
    command.arg("-unix").arg(&control).stdin(Stdio::null()).stderr(Stdio::null());
    let mut switch = command.spawn().unwrap();
    wait_for("a port", || Client::connect(&control, mac(1)).ok());
    let answerer = Answerer::start(&[]);
    let stop = AtomicBool::new(false);
    let output = thread::scope(|scope| {
        scope.spawn(|| play_server(&control, &answerer, &stop));
        let ctl = control.to_str().unwrap();
        let args = ["game-12.pcap", "--answering", "fe:fd:c0:00:02:02", "--switch", ctl, "--json"];
        let output = replay(&args).output().unwrap();
        stop.store(true, Ordering::Relaxed);
        output
    });
    switch.kill().unwrap();
    switch.wait().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let there_and_back = &report["switches"][0]["directions"][0]["tally"];
    assert_eq!(there_and_back["name"], "to the server and back");
    assert!(number(there_and_back, "due") > 500, "{there_and_back}");
    assert_eq!(number(there_and_back, "received"), number(there_and_back, "due"));
    let stations = report["stations"].as_array().unwrap().iter();
    let attached: Vec<_> = stations.map(|station| station["attached"].as_str().unwrap()).collect();
    assert!(attached.contains(&"answering") && attached.contains(&"port"), "{attached:?}");
    expect_sums(&report["switches"][0]);
}

#[test]
fn a_large_capture_takes_no_more_memory_than_a_small_one() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("large.pcap");
    write_large(&path).unwrap();
    assert!(fs::metadata(&path).unwrap().len() > 64 << 20);
    let report = report(path.to_str().unwrap(), &["--speed", "max"]);
    let total = &report["switches"][0]["total"];
    assert_eq!(number(total, "due"), number(total, "received") + number(total, "lost"));
    expect_sums(&report["switches"][0]);
    // Of all replays and switches that these tests have waited for so far.
    let most = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap().max_rss();
    assert!(most < 64 << 10, "{most} KiB");
}

/// Full frames between two stations, in thousands of flows.
fn write_large(path: &Path) -> std::io::Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    out.write_all(&fs::read(captures().join("game-12.pcap"))?[..24])?;
    for n in 0..46_000_u32 {
        let (from, to) = if n % 2 == 0 { (1, 2) } else { (2, 1) };
        let builder = PacketBuilder::ethernet2(mac(from), mac(to))
            .ipv4([10, 0, 0, from as u8], [10, 0, 0, to as u8], 64)
            .udp(1024 + (n % 5000) as u16, 27015);
        let mut frame = Vec::new();
        builder.write(&mut frame, &[n as u8; 1450]).map_err(std::io::Error::other)?;
        let len = frame.len() as u32;
        for word in [n / 1000, n % 1000 * 1_000_000, len, len] {
            out.write_all(&word.to_le_bytes())?;
        }
        out.write_all(&frame)?;
    }
    out.flush()
}
