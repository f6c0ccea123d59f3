//! `--vde DIR`: a directory as libvdeplug wants it. `tests/real/vde.rs` has libvdeplug's own programs.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::Signal;

use crate::support::{
    BROADCAST, Client, DEADLINE, Finished, Request, Switch, binary, frame, mac, path_sockaddr,
    ports, read_reply, run, wait_for,
};

/// A switch with a directory `vde` in its own, and these options.
#[track_caller]
fn with_vde(options: &str) -> Switch {
    let dir = tempfile::tempdir().expect("a directory for the switch");
    spawn_in(dir, options)
}

#[track_caller]
fn spawn_in(dir: tempfile::TempDir, options: &str) -> Switch {
    let control = dir.path().join("ctl");
    let mut command = Command::new(binary());
    command.current_dir(dir.path()).args(["-unix", "ctl", "--vde", "vde"]);
    command.args(options.split_whitespace());
    Switch::spawn(dir, control, command)
}

fn directory(switch: &Switch) -> PathBuf {
    switch.dir.path().join("vde")
}

/// A client as libvdeplug makes one: a socket in the directory, of a mode that lets nobody else in,
/// gone once there is a reply; a description behind the request.
#[track_caller]
fn plug(switch: &Switch, kind: u32, n: u32) -> Result<Client, UnixStream> {
    let path = directory(switch).join(format!(".{n:05}-00000"));
    let data = UnixDatagram::bind(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    let description = format!("plug {n}: user=test");
    let request = Request::versioned(3, kind, &path_sockaddr(&path));
    let mut control = UnixStream::connect(directory(switch).join("ctl")).unwrap();
    control.write_all(&[request.as_slice(), description.as_bytes()].concat()).unwrap();
    control.set_read_timeout(Some(DEADLINE)).unwrap();
    if matches!(peek(&control), Ok(0)) {
        fs::remove_file(path).unwrap();
        return Err(control);
    }
    let switch = read_reply(&mut control);
    fs::remove_file(path).unwrap();
    Ok(Client { mac: mac(n), data, control, switch })
}

fn peek(stream: &UnixStream) -> std::io::Result<usize> {
    socket2::SockRef::from(stream).peek(&mut [std::mem::MaybeUninit::uninit(); 1])
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

#[track_caller]
fn expect_refusal(dir: &Path, reason: &str) {
    let mut command = Command::new(binary());
    let Finished { status, stderr, .. } =
        run(command.current_dir(dir).args(["-unix", "own", "--vde", "vde"]));
    assert_eq!(status.code(), Some(1), "{stderr}");
    assert!(stderr.contains(reason), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(!dir.join("own").exists(), "what it had made is gone");
}

#[test]
fn clients_of_the_directory_and_of_the_control_socket_are_on_one_switch() {
    let switch = with_vde("");
    let guests =
        [plug(&switch, 0, 1).unwrap(), Client::new(&switch, mac(2)), plug(&switch, 0, 3).unwrap()];
    Client::introduce(&guests);
    for (a, from) in guests.iter().enumerate() {
        for (_, to) in guests.iter().enumerate().filter(|&(b, _)| b != a) {
            from.reach(to);
        }
    }
    switch.stop().check_sums();
}

#[test]
fn the_description_is_in_the_name_and_the_kind_is_shown() {
    let switch = with_vde("");
    let _guest = plug(&switch, 0, 1).unwrap();
    let opened = switch.wait_for_log("port opened");
    let uid = nix::unistd::getuid();
    assert!(opened.contains(&format!("kind=\"vde\" uid={uid} ")), "{opened}");
    let shown = ports(&switch).to_string();
    assert!(shown.contains(&format!("port 1 vde uid {uid} (plug 1: user=test)")), "{shown}");
}

#[test]
fn a_port_number_is_given_if_it_is_free_and_else_refused() {
    let switch = with_vde("--max-ports 100");
    let seventh = plug(&switch, 7 << 8, 1).unwrap();
    assert!(switch.wait_for_log("port opened").contains("port=7 "));
    // libvdeplug knocks here first, and goes on to `ctl`.
    assert!(UnixStream::connect(directory(&switch).join("7")).is_err());
    for (wish, reason) in [
        (7, "port 7 is in use"),
        (101, "there is no port 101: ports are numbered 1 to 100"),
        (0xff_ffff, "there is no port 16777215"),
    ] {
        let mut refused = plug(&switch, wish << 8, 2).unwrap_err();
        assert_eq!(refused.read(&mut [0; 1]).unwrap(), 0);
        let said = switch.wait_for_log(reason);
        assert!(said.contains("client refused"), "{said}");
    }
    drop(seventh);
    switch.wait_for_log("port closed");
    let again = plug(&switch, 7 << 8, 3).unwrap();
    let guest = Client::new(&switch, mac(4));
    again.send(&frame(BROADCAST, mac(3), 60));
    assert_eq!(guest.receive(), frame(BROADCAST, mac(3), 60));
}

/// libvdeplug's `DIR[0]`: request type 1, which is something else at a uml_switch's own socket.
#[test]
fn port_0_is_given_where_there_is_no_uplink() {
    let switch = with_vde("");
    let zeroth = plug(&switch, 1, 1).unwrap();
    assert!(switch.wait_for_log("port opened").contains("port=0 kind=\"vde\""));
    assert!(plug(&switch, 1, 2).is_err());
    switch.wait_for_log("port 0 is in use");
    let guest = Client::new(&switch, mac(2));
    assert!(switch.wait_for_log("port=1 ").contains("kind=\"daemon\""));
    zeroth.send(&frame(BROADCAST, mac(1), 60));
    assert_eq!(guest.receive(), frame(BROADCAST, mac(1), 60));
    guest.reach(&zeroth);
    // An interface that is no TAP, so there is no uplink now, but the number is kept for it.
    let switch = with_vde("--tap lo");
    assert!(plug(&switch, 1, 1).is_err());
    switch.wait_for_log("port 0 is the uplink's");
}

#[test]
fn modes_are_set() {
    for (options, of_directory, of_socket) in
        [("", 0o2700, 0o600), ("--mode 660", 0o2770, 0o660), ("--mode 666", 0o2777, 0o666)]
    {
        let switch = with_vde(options);
        let dir = directory(&switch);
        assert_eq!((mode(&dir), mode(&dir.join("ctl"))), (of_directory, of_socket), "{options}");
    }
}

#[test]
fn a_directory_that_is_made_is_removed_and_one_that_was_there_stays() {
    for end in [Signal::SIGTERM, Signal::SIGHUP] {
        let mut switch = with_vde("");
        let dir = directory(&switch);
        assert!(dir.join("ctl").exists());
        switch.signal(end);
        switch.wait();
        assert!(!dir.exists());
    }
    let dir = tempfile::tempdir().unwrap();
    let there = dir.path().join("vde");
    fs::create_dir(&there).unwrap();
    fs::set_permissions(&there, fs::Permissions::from_mode(0o755)).unwrap();
    let mut switch = spawn_in(dir, "");
    assert_eq!(mode(&there), 0o755);
    let guest = plug(&switch, 0, 1).unwrap();
    switch.signal(Signal::SIGTERM);
    switch.wait();
    drop(guest);
    assert_eq!(fs::read_dir(&there).unwrap().count(), 0, "the socket is gone, the directory stays");
}

#[test]
fn what_a_killed_switch_has_left_is_used_again() {
    let mut switch = with_vde("");
    switch.signal(Signal::SIGKILL);
    switch.wait();
    assert!(directory(&switch).join("ctl").exists());
    let mut command = Command::new(binary());
    command.current_dir(switch.dir.path()).args(["-unix", "ctl", "--vde", "vde"]);
    let next = Switch::spawn(tempfile::tempdir().unwrap(), switch.control.clone(), command);
    plug(&switch, 0, 1).unwrap();
    next.wait_for_log("port opened");
}

#[test]
fn a_directory_that_another_switch_serves_is_refused() {
    let switch = with_vde("");
    expect_refusal(switch.dir.path(), "another program serves the socket vde/ctl");
    plug(&switch, 0, 1).unwrap();
}

#[test]
fn what_is_no_directory_or_has_something_else_for_a_socket_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let vde = dir.path().join("vde");
    fs::write(&vde, "precious").unwrap();
    expect_refusal(dir.path(), "cannot have the directory vde: ");
    assert_eq!(fs::read(&vde).unwrap(), b"precious");
    fs::remove_file(&vde).unwrap();
    // As it had to be done before there was an option.
    fs::create_dir(&vde).unwrap();
    symlink("../ctl", vde.join("ctl")).unwrap();
    expect_refusal(dir.path(), "vde/ctl is in the way: it is not a socket");
    assert!(vde.join("ctl").is_symlink());
}

#[test]
fn a_switch_in_the_background_removes_a_relative_directory() {
    let background = crate::support::Background::new();
    let finished = background.run("--vde vde --bess b --qemu q");
    assert!(finished.status.success(), "{}", finished.stderr);
    let paths = ["vde", "b", "q"].map(|name| background.dir.path().join(name));
    assert!(paths.iter().all(|path| path.exists()));
    background.end(Signal::SIGTERM);
    wait_for("the sockets to go", || (!paths.iter().any(|path| path.exists())).then_some(()));
}
