//! The admin socket: where it is, whom it serves, and what it answers.

use std::fs;
use std::io::{BufRead, BufReader, IoSlice, Read, Write, pipe};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Instant;

use nix::sys::signal::Signal;
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use serde_json::json;
use uml_switch::mirror::MAX_SNAPLEN;
use uml_switch::mirror::sink::{PcapNg, Sink};

use crate::support::{
    Background, Client, DEADLINE, GoodPair, Noise, Switch, SwitchBuilder, ask, binary, ctl, ports,
    reply_on, run, wait_for,
};

/// Where the admin socket of `switch` is, unless it was told.
fn default_path(switch: &Switch) -> PathBuf {
    switch.dir.path().join("ctl.admin")
}

#[track_caller]
fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).expect("a socket").permissions().mode() & 0o7777
}

/// It answers `uml_switchctl` at `path`.
#[track_caller]
fn expect_answer(path: &Path) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_uml_switchctl"));
    let finished = run(command.arg("ports").arg("--admin").arg(path));
    assert!(finished.status.success(), "{}", finished.stderr);
    assert!(finished.stdout.starts_with("PORT"), "{}", finished.stdout);
}

fn connect(switch: &Switch) -> UnixStream {
    let stream = UnixStream::connect(default_path(switch)).expect("the switch listens");
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    stream
}

#[test]
fn it_is_beside_the_control_socket_for_its_owner_alone_and_goes_with_the_switch() {
    let mut switch = Switch::start();
    let path = default_path(&switch);
    assert_eq!(mode(&path), 0o600);
    expect_answer(&path);
    switch.signal(Signal::SIGTERM);
    switch.wait();
    assert!(!path.exists());
}

#[test]
fn its_mode_does_not_depend_on_the_umask() {
    for umask in ["000", "777"] {
        let dir = tempfile::tempdir().unwrap();
        let control = dir.path().join("ctl");
        let mut command = Command::new("sh");
        command.args(["-c", &format!("umask {umask}; exec \"$0\" -unix \"$1\" --admin \"$2\"")]);
        let admin = dir.path().join("admin");
        command.arg(binary()).arg(&control).arg(&admin);
        let log = fs::File::create(dir.path().join("log")).unwrap();
        command.stdin(std::process::Stdio::null()).stderr(log);
        let mut child = command.spawn().unwrap();
        let mode = wait_for("the admin socket", || {
            fs::symlink_metadata(&admin).ok().map(|meta| meta.permissions().mode() & 0o777)
        });
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(mode & 0o177, 0, "{umask}: {mode:o}");
    }
}

#[test]
fn it_is_where_it_is_wanted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("here");
    let switch = SwitchBuilder::default().arg("--admin").arg(path.to_str().unwrap()).start();
    assert_eq!(mode(&path), 0o600);
    assert!(!default_path(&switch).exists());
    expect_answer(&path);
    drop(switch);
    // The switch was killed: the next one takes the stale socket's place.
    let _next = SwitchBuilder::default().arg("--admin").arg(path.to_str().unwrap()).start();
    expect_answer(&path);
}

#[test]
fn in_the_background_it_serves_too() {
    let background = Background::new();
    assert!(background.run("").status.success());
    let path = background.dir.path().join(format!("{}.admin", background.name));
    expect_answer(&path);
    background.end(Signal::SIGTERM);
    assert!(!path.exists());
}

#[test]
fn one_that_is_asked_for_and_cannot_be_had_ends_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let start = |admin: &Path| {
        let mut command = Command::new(binary());
        run(command.current_dir(dir.path()).args(["-unix", "ctl", "--admin"]).arg(admin))
    };
    let taken = dir.path().join("file");
    fs::write(&taken, "precious").unwrap();
    let served = dir.path().join("served");
    let _listener = UnixListener::bind(&served).unwrap();
    let long = PathBuf::from(format!("/{}", "a".repeat(107)));
    for (path, why) in [
        (taken.as_path(), "is in the way: it is not a socket"),
        (&served, "another program serves the socket"),
        (Path::new("missing/admin"), "cannot bind to missing/admin: No such file"),
        (Path::new("ctl"), "two sockets have the same path ctl"),
        (&long, "is too long"),
    ] {
        let finished = start(path);
        assert_eq!(finished.status.code(), Some(1), "{finished:?}");
        assert!(finished.stderr.contains(why), "{finished:?}");
    }
    assert_eq!(fs::read(&taken).unwrap(), b"precious");
    assert!(!dir.path().join("ctl").exists());
}

#[test]
fn guests_are_served_where_the_default_one_cannot_be_had() {
    let dir = tempfile::tempdir().unwrap();
    let control = dir.path().join("ctl");
    fs::write(dir.path().join("ctl.admin"), "precious").unwrap();
    let mut command = Command::new(binary());
    command.arg("-unix").arg(&control);
    let switch = Switch::spawn(dir, control, command);
    expect_service_without_it(&switch, "ctl.admin is in the way");
    assert_eq!(fs::read(default_path(&switch)).unwrap(), b"precious");

    // The control socket's path is as long as one can be, and with the suffix too long.
    let dir = tempfile::tempdir().unwrap();
    let room = 107 - dir.path().as_os_str().len() - 1;
    let control = dir.path().join("c".repeat(room));
    let mut command = Command::new(binary());
    command.arg("-unix").arg(&control);
    expect_service_without_it(&Switch::spawn(dir, control, command), "cannot bind to");
}

#[track_caller]
fn expect_service_without_it(switch: &Switch, why: &str) {
    let log = switch.log();
    let said = log.lines().filter(|line| line.contains("no admin socket, going on without it"));
    let said: Vec<_> = said.collect();
    assert!(matches!(said[..], [line] if line.contains(why)), "{log}");
    let guests = Client::several(switch, 2);
    Client::introduce(&guests);
    guests[0].reach(&guests[1]);
}

#[test]
fn the_ports_are_told_with_what_they_have_counted() {
    let switch = Switch::start();
    assert_eq!(ports(&switch), json!([]));
    let guests = Client::several(&switch, 3);
    Client::introduce(&guests);
    guests[0].reach(&guests[2]);
    drop(guests.into_iter().nth(1));
    let open = wait_for("the others to close", || {
        let open = ports(&switch);
        (open.as_array().unwrap().is_empty()).then_some(open)
    });
    assert_eq!(open, json!([]));

    let guests = Client::several(&switch, 2);
    Client::introduce(&guests);
    guests[0].reach(&guests[1]);
    let open = ports(&switch);
    let uid = nix::unistd::geteuid().as_raw();
    for (place, number) in [(0, 1), (1, 2)] {
        let port = &open[place];
        assert_eq!(port["number"], json!(number), "{open}");
        assert_eq!(port["kind"], json!("daemon"));
        assert_eq!(port["owner"], json!(uid));
        assert_eq!(port["name"], json!(format!("port {number} daemon uid {uid}")));
        assert_eq!(port["counters"]["rx_flooded"], json!(1));
    }
    assert_eq!(open[0]["counters"]["rx_unicast"], json!(1));
    assert_eq!(open[1]["counters"]["tx_bytes"], json!(160));
    let table = run(&mut ctl(&switch, "ports")).stdout;
    assert_eq!(table.lines().count(), 3, "{table}");
}

#[test]
fn what_is_no_request_is_told_so() {
    let switch = Switch::start();
    for (request, why) in [
        (b"\n".as_slice(), "not a request"),
        (b"GET / HTTP/1.0\r\n\r\n", "not a request"),
        (b"\xff\xfe\x00\n", "not a request"),
        (b"{\"request\":\"reboot\"}\n", "unknown variant"),
        (b"{\"request\":\"ports\",\"of\":1}\n", "unknown field"),
        (b"{\"request\":\"capture\",\"spec\":{\"snaplen\":0}}\n", "0 bytes of each frame"),
        (b"{\"request\":\"capture\",\"spec\":{\"count\":0}}\n", "a capture of no frames"),
        (b"{\"request\":\"capture\",\"spec\":{\"buffer\":1}}\n", "a buffer of 1 bytes"),
        (b"{\"request\":\"capture\",\"spec\":{\"buffer\":1e30}}\n", "not a request"),
        (b"{\"request\":\"capture\",\"spec\":{\"buffer\":600000000}}\n", "a buffer of 600000000"),
        // A jump behind the end, and no end at all.
        (b"{\"request\":\"capture\",\"spec\":{\"filter\":[[5,0,0,9]]}}\n", "instruction"),
        (b"{\"request\":\"capture\",\"spec\":{\"filter\":[]}}\n", "instruction"),
    ] {
        let reply = ask(&switch, request);
        let shown = String::from_utf8_lossy(request);
        assert!(reply.starts_with("{\"error\":\"") && reply.contains(why), "{shown}: {reply}");
        assert!(reply.ends_with("\"}\n") && reply.lines().count() == 1, "{shown}: {reply}");
    }
    assert_eq!(ask(&switch, b"{\"request\":\"ports\"}\n"), "{\"ok\":{\"ports\":[]}}\n");
    // What follows a request is not looked at.
    let reply = ask(&switch, b"{\"request\":\"ports\"}\n{\"request\":\"reboot\"}\n");
    assert_eq!(reply, "{\"ok\":{\"ports\":[]}}\n");
}

#[test]
fn a_request_has_an_end_in_length() {
    let switch = Switch::start();
    let pair = GoodPair::start(&switch);
    let resident = switch.resident();
    let mut huge = vec![b'['; 4 << 20];
    for byte in [b'[', b'1', b' ', b'"'] {
        huge.fill(byte);
        let reply = ask(&switch, &huge);
        assert!(reply.contains("a request has 1048576 bytes at most"), "{reply}");
    }
    // As long as one may be, and of a kind that takes room when it is read.
    let mut request = b"{\"request\":\"capture\",\"spec\":{\"ports\":[0".to_vec();
    while request.len() < (1 << 20) - 10 {
        request.extend_from_slice(b",0");
    }
    request.extend_from_slice(b"]},\"x\":1}\n");
    let reply = ask(&switch, &request);
    assert!(reply.contains("not a request"), "{reply}");
    let grown = switch.resident().saturating_sub(resident);
    assert!(grown < 64 << 20, "{grown} bytes more than before");
    pair.finish();
    switch.stop().check_sums();
}

#[test]
fn buffers_are_bounded_together_and_captures_in_number() {
    let switch = Switch::start();
    let request = |bytes: usize| {
        let stream = connect(&switch);
        let line = format!("{{\"request\":\"capture\",\"spec\":{{\"buffer\":{bytes}}}}}\n");
        (&stream).write_all(line.as_bytes()).unwrap();
        stream
    };
    let begun = |stream: &UnixStream| {
        let mut reply = [0; 10];
        (&mut &*stream).read_exact(&mut reply).unwrap();
        assert_eq!(&reply, b"{\"ok\":{}}\n");
    };
    let large = [request(256 << 20), request(256 << 20)];
    large.iter().for_each(begun);
    let reply = reply_on(&request(256 << 10));
    assert!(reply.contains("the buffers of all captures together"), "{reply}");
    drop(large);
    let mut small = Vec::new();
    // Each of the large ones is there until its thread has seen the end.
    while small.len() < 16 {
        small.push(wait_for("room for another", || {
            let stream = request(256 << 10);
            let mut reply = [0; 10];
            (&mut &stream).read_exact(&mut reply).unwrap();
            (&reply == b"{\"ok\":{}}\n").then_some(stream)
        }));
    }
    let reply = reply_on(&request(256 << 10));
    assert!(reply.contains("16 captures run already"), "{reply}");
}

#[test]
fn silent_connections_are_bounded_in_number_and_time_and_hold_up_nobody() {
    let switch = Switch::start();
    let pair = GoodPair::start_amid(&switch, Noise::Floods);
    let started = Instant::now();
    let mut silent: Vec<_> = (0..32).map(|_| connect(&switch)).collect();
    // Half a request is as good as none.
    for stream in silent.iter_mut().step_by(2) {
        stream.write_all(b"{\"request\":\"po").unwrap();
    }
    let reply = ask(&switch, b"{\"request\":\"ports\"}\n");
    assert!(reply.contains("too many connections"), "{reply}");
    let guests = Client::several(&switch, 2);
    guests[0].reach(&guests[1]);
    // One that goes makes room for another.
    drop(silent.pop());
    wait_for("room", || {
        ask(&switch, b"{\"request\":\"ports\"}\n").contains("\"ok\"").then_some(())
    });
    let descriptors = switch.descriptors();
    for stream in &silent {
        stream.set_read_timeout(Some(2 * DEADLINE)).unwrap();
        let reply = reply_on(stream);
        assert!(reply.contains("no request within 10 s"), "{reply}");
    }
    assert!(started.elapsed() >= DEADLINE, "not before their time");
    wait_for("descriptors to be closed", || {
        (switch.descriptors() + silent.len() <= descriptors).then_some(())
    });
    drop(guests);
    pair.finish();
    switch.stop().check_sums();
}

#[test]
fn thousands_of_connections_leave_no_trace() {
    let switch = Switch::start();
    let pair = GoodPair::start(&switch);
    let descriptors = switch.descriptors();
    let storm = |times: usize| {
        for n in 0..times {
            let mut stream = connect(&switch);
            match n % 4 {
                0 => {}
                1 => drop(stream.write_all(b"{\"request\":\"ports\"}\n")),
                2 => drop(stream.write_all(b"{\"request\":\"capture\"}\n")),
                _ => drop(stream.write_all(&[0xff; 5000])),
            }
        }
    };
    storm(400);
    let resident = switch.resident();
    storm(3000);
    wait_for("descriptors to be closed", || (switch.descriptors() <= descriptors).then_some(()));
    let grown = switch.resident().saturating_sub(resident);
    assert!(grown < 64 << 20, "{grown} bytes more than before");
    let reply = ask(&switch, b"{\"request\":\"ports\"}\n");
    assert!(reply.starts_with("{\"ok\":{\"ports\":[{"), "{reply}");
    pair.finish();
    switch.stop().check_sums();
}

#[test]
fn a_switch_that_ends_does_not_wait_for_who_says_nothing() {
    let mut switch = Switch::start();
    let silent = connect(&switch);
    // It is served by now: those who come later are.
    assert!(ask(&switch, b"{\"request\":\"ports\"}\n").contains("\"ok\""));
    let started = Instant::now();
    switch.signal(Signal::SIGTERM);
    switch.wait();
    assert!(started.elapsed() < DEADLINE / 2, "{:?}", started.elapsed());
    drop(silent);
}

/// Sends `bytes` and with them these descriptors.
#[track_caller]
fn send_with(stream: &UnixStream, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) {
    let raw: Vec<_> = descriptors.iter().map(|descriptor| descriptor.as_raw_fd()).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let control = if raw.is_empty() { &[][..] } else { &rights };
    let parts = [IoSlice::new(bytes)];
    sendmsg::<()>(stream.as_raw_fd(), &parts, control, MsgFlags::empty(), None).expect("sent");
}

const INTO_A_FILE: &[u8] = b"{\"request\":\"capture\",\"file\":\"pcapng\"}\n";

/// A connection that was promised a capture into a file.
#[track_caller]
fn promised(switch: &Switch) -> BufReader<UnixStream> {
    let mut stream = BufReader::new(connect(switch));
    stream.get_ref().write_all(INTO_A_FILE).unwrap();
    assert_eq!(line_of(&mut stream), "{\"ok\":{}}\n");
    stream
}

#[track_caller]
fn line_of(stream: &mut BufReader<UnixStream>) -> String {
    let mut line = String::new();
    stream.read_line(&mut line).expect("a line");
    line
}

#[test]
fn only_one_regular_file_that_is_open_for_writing_is_taken() {
    let switch = Switch::start();
    let pair = GoodPair::start(&switch);
    let path = switch.dir.path().join("cap");
    let file = fs::File::create(&path).unwrap();
    let reading = fs::File::open(&path).unwrap();
    let by_path = fs::OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(&path).unwrap();
    let directory = fs::File::open(switch.dir.path()).unwrap();
    let null = fs::OpenOptions::new().write(true).open("/dev/null").unwrap();
    let (_reader, writer) = pipe().unwrap();
    let (socket, _other) = UnixStream::pair().unwrap();
    let descriptors = switch.descriptors();
    let rows: [(&[BorrowedFd<'_>], &str); 9] = [
        (&[], "no descriptor has come"),
        (&[file.as_fd(), file.as_fd()], "more than one descriptor has come"),
        (&[file.as_fd(); 200], "more than one descriptor has come"),
        (&[reading.as_fd()], "is not open for writing"),
        (&[by_path.as_fd()], "is not open for writing"),
        (&[directory.as_fd()], "is no regular file"),
        (&[null.as_fd()], "is no regular file"),
        (&[writer.as_fd()], "is no regular file"),
        (&[socket.as_fd()], "is no regular file"),
    ];
    for (given, why) in rows {
        let mut stream = promised(&switch);
        send_with(stream.get_ref(), b"\n", given);
        assert_eq!(line_of(&mut stream), format!("{{\"error\":\"{why}\"}}\n"));
        assert_eq!(line_of(&mut stream), "", "and it hangs up");
    }
    assert_eq!(fs::read(&path).unwrap(), b"");
    wait_for("all to be closed", || (switch.descriptors() <= descriptors).then_some(()));
    let mut stream = promised(&switch);
    send_with(stream.get_ref(), b"\n", &[file.as_fd()]);
    assert_eq!(line_of(&mut stream), "{\"ok\":{}}\n");
    assert!(fs::metadata(&path).unwrap().len() > 0, "it has begun");
    stream.get_ref().shutdown(std::net::Shutdown::Write).unwrap();
    let end = line_of(&mut stream);
    assert!(end.starts_with("{\"ok\":{\"captured\":") && end.contains("\"error\":null"), "{end}");
    pair.finish();
    switch.stop().check_sums();
}

#[test]
fn descriptors_that_nobody_asked_for_are_closed() {
    let switch = Switch::start();
    let path = switch.dir.path().join("cap");
    let file = fs::File::create(&path).unwrap();
    let (mut reader, writer) = pipe().unwrap();
    let given = [writer.as_fd(); 100];
    let before = switch.descriptors();
    let ports = connect(&switch);
    send_with(&ports, b"{\"request\":\"ports\"}\n", &given);
    assert_eq!(reply_on(&ports), "{\"ok\":{\"ports\":[]}}\n");
    // With the request, where there is no room for them, and after the file.
    let mut stream = BufReader::new(connect(&switch));
    send_with(stream.get_ref(), INTO_A_FILE, &given);
    assert_eq!(line_of(&mut stream), "{\"ok\":{}}\n");
    send_with(stream.get_ref(), b"\n", &[file.as_fd()]);
    assert_eq!(line_of(&mut stream), "{\"ok\":{}}\n");
    for _ in 0..20 {
        send_with(stream.get_ref(), b"\n", &given);
    }
    drop(writer);
    // Its end shows when nobody has the other end, or was sent it, any more.
    let ended = thread::spawn(move || reader.read(&mut [0]).unwrap());
    assert_eq!(wait_for("the end", || ended.is_finished().then_some(())), ());
    assert_eq!(ended.join().unwrap(), 0);
    assert!(switch.descriptors() <= before + 2, "the connection and the file");
}

#[test]
fn a_file_that_does_not_come_is_not_waited_for_without_end() {
    let switch = Switch::start();
    let pair = GoodPair::start_amid(&switch, Noise::Floods);
    let mut stream = promised(&switch);
    stream.get_ref().set_read_timeout(Some(2 * DEADLINE)).unwrap();
    let goes = promised(&switch);
    drop(goes);
    assert_eq!(line_of(&mut stream), "{\"error\":\"no file within 10 s\"}\n");
    pair.finish();
    switch.stop().check_sums();
}

#[test]
fn an_earlier_switch_gives_a_stream_for_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let admin = dir.path().join("admin");
    let listener = UnixListener::bind(&admin).unwrap();
    let earlier = thread::spawn(move || {
        let asked = |reply: &[u8]| {
            let mut stream = BufReader::new(listener.accept().unwrap().0);
            let request = line_of(&mut stream);
            stream.get_ref().write_all(reply).unwrap();
            request
        };
        let first = asked(b"{\"error\":\"unknown field `file`\"}\n");
        let mut capture = PcapNg::new(b"{\"ok\":{}}\n".to_vec(), MAX_SNAPLEN).unwrap();
        capture.finish(&[]).unwrap();
        (first, asked(capture.get_ref()))
    });
    let mut command = Command::new(env!("CARGO_BIN_EXE_uml_switchctl"));
    command.arg("--admin").arg(&admin).args(["capture", "-w"]).arg(dir.path().join("cap"));
    let finished = run(&mut command);
    let (first, second) = earlier.join().unwrap();
    assert!(first.contains("\"file\":\"pcapng\""), "{first}");
    assert!(second.contains("\"spec\"") && !second.contains("\"file\""), "{second}");
    assert!(finished.stderr.contains("0 packets captured"), "{finished:?}");
    assert!(fs::metadata(dir.path().join("cap")).unwrap().len() > 100);
}
