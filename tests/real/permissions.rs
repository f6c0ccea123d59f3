//! A switch that is not root, and clients whose sockets are not its to reach; and clients that name
//! what is not theirs.

use std::fs::{self, Permissions};
use std::io::Write;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};

use crate::sandbox::{dir_of, switch_of};
use crate::support::{
    BROADCAST, Client, GoodPair, Noise, Request, SILENCE, Switch, abstract_name, abstract_sockaddr,
    expect_no_port, frame, mac, path_sockaddr, read_reply, with_shared_data_socket,
};
use crate::users::{as_user, let_all_users_in};
use crate::vde::{Plug, directory_of, wait_for_ports};
use crate::{Test, tests};

pub const TESTS: &[Test] = tests![
    [] a_socket_that_the_switch_may_not_write_to_is_named_with_owner_and_mode,
    [] a_socket_in_a_directory_that_the_switch_may_not_enter_is_named,
    [VdePlug] a_plug_of_another_user_lets_the_switch_write,
    [VdePlug] a_plug_that_lets_nobody_write_is_named_with_owner_and_mode,
    [] a_client_of_the_directory_that_lets_nobody_write_is_named_with_owner_and_mode,
    [] a_socket_that_belongs_to_root_is_refused_to_others,
    [] a_socket_that_belongs_to_a_guest_is_refused_to_other_users,
    [] a_client_of_the_shared_data_socket_is_not_displaced_by_another_user,
    [] another_user_who_takes_the_name_of_a_client_that_is_not_there_yet_is_not_heard,
];

/// The switch's user, and another.
const SWITCH: u32 = 65534;
const OTHER: u32 = 1234;

/// A client of the calling thread's user with its socket at `path`, as nobody else may use it.
fn locked_client(switch: &Switch, path: &Path, mode: u32, n: u32) -> Client {
    let data = UnixDatagram::bind(path).expect("the directory is ours");
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("the socket is ours");
    Client::register(switch, mac(n), data, &Request::v3(&path_sockaddr(path)))
}

/// The one line about `path`.
#[track_caller]
fn message(switch: &Switch, path: &str) -> String {
    switch.wait_for_log("cannot send frames");
    let log = switch.log();
    let about: Vec<&str> =
        log.lines().filter(|line| line.contains("cannot send") && line.contains(path)).collect();
    let [line] = about.as_slice() else { panic!("{} lines: {log}", about.len()) };
    assert!(line.contains(" WARN ") && line.contains("Permission denied"), "{line}");
    (*line).to_owned()
}

fn a_socket_that_the_switch_may_not_write_to_is_named_with_owner_and_mode() {
    let switch = switch_of(SWITCH, "");
    let_all_users_in(&switch);
    let pair = GoodPair::start_amid(&switch, Noise::Floods);
    for (n, uid, mode) in [(10, 0, 0o000), (11, OTHER, 0o000), (12, OTHER, 0o700)] {
        let dir = dir_of(uid);
        let path = dir.path().join("client");
        let client = as_user(uid, || locked_client(&switch, &path, mode, n));
        pair.goes_on();
        // Frames come from it, and are for it, again and again; that is not worth more words.
        for _ in 0..10 {
            client.send(&frame(BROADCAST, client.mac, 60));
            pair.goes_on();
        }
        let line = message(&switch, path.to_str().unwrap());
        for word in [format!("owner={uid} "), format!("mode={mode:04o} "), format!("={SWITCH} ")] {
            assert!(line.contains(&word), "no {word:?} in {line}");
        }
        // When it is let in after all, the port works.
        client.expect_silence();
        fs::set_permissions(&path, Permissions::from_mode(0o777)).unwrap();
        let other = Client::new(&switch, mac(20));
        other.reach(&client);
        client.reach(&other);
    }
    pair.finish();
    switch.stop().check_sums();
}

fn a_socket_in_a_directory_that_the_switch_may_not_enter_is_named() {
    let switch = switch_of(SWITCH, "");
    let pair = GoodPair::start_amid(&switch, Noise::Floods);
    let dir = dir_of(0);
    fs::set_permissions(dir.path(), Permissions::from_mode(0o700)).unwrap();
    let path = dir.path().join("client");
    let client = locked_client(&switch, &path, 0o777, 10);
    for _ in 0..10 {
        client.send(&frame(BROADCAST, client.mac, 60));
        pair.goes_on();
    }
    message(&switch, path.to_str().unwrap());
    client.expect_silence();
    pair.finish();
}

fn a_plug_of_another_user_lets_the_switch_write() {
    let switch = switch_of(SWITCH, "");
    let_all_users_in(&switch);
    let dir = directory_of(&switch);
    fs::set_permissions(&dir, Permissions::from_mode(0o777)).unwrap();
    let guest = Client::new(&switch, mac(10));
    // libvdeplug sees whose the control socket is, and opens its own to that user: by the group if
    // it may change that (root), else to all.
    for (ports, uid) in [(2, 0), (3, OTHER)] {
        let plug = Plug::of_user(uid, &[dir.to_str().unwrap()]);
        wait_for_ports(&switch, ports);
        let hello = frame(BROADCAST, guest.mac, 60);
        guest.send(&hello);
        plug.expect(&hello);
    }
    assert!(!switch.log().contains("cannot send"), "{}", switch.log());
}

fn a_plug_that_lets_nobody_write_is_named_with_owner_and_mode() {
    let switch = switch_of(SWITCH, "");
    let pair = GoodPair::start_amid(&switch, Noise::Floods);
    // So that libvdeplug takes the switch for root's.
    chown(&switch.control, Some(0), Some(0)).unwrap();
    let dir = directory_of(&switch);
    for mode in ["000", "700"] {
        let plug = Plug::new(&["-m", mode, dir.to_str().unwrap()]);
        let line = switch.wait_for_log(&format!("mode=0{mode}"));
        let path: PathBuf = dir.join(format!(".{:05}-00000", plug.pid()));
        assert_eq!(message(&switch, path.to_str().unwrap()), line);
        assert!(line.contains("owner=0 ") && line.contains(&format!("={SWITCH} ")), "{line}");
        pair.goes_on();
    }
    pair.finish();
}

/// As libvdeplug is when it takes the switch for one of its own user: the path is gone once there is
/// a reply, and the message names it all the same.
fn a_client_of_the_directory_that_lets_nobody_write_is_named_with_owner_and_mode() {
    let place = dir_of(SWITCH);
    let vde = place.path().join("vde");
    let switch = switch_of(SWITCH, &format!("--vde {}", vde.display()));
    let path = vde.join(".00001-00000");
    let _data = UnixDatagram::bind(&path).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o700)).unwrap();
    let mut control = UnixStream::connect(vde.join("ctl")).unwrap();
    control.write_all(&Request::versioned(3, 0, &path_sockaddr(&path))).unwrap();
    read_reply(&mut control);
    fs::remove_file(&path).unwrap();
    let said = switch.wait_for_log("its socket does not let us");
    let path = format!("path={}", path.display());
    let parts = [path.as_str(), "owner=0", "mode=0700", &format!("switch_uid={SWITCH}")];
    assert!(parts.iter().all(|part| said.contains(part)), "{said}");
}

fn a_socket_that_belongs_to_root_is_refused_to_others() {
    for switch in [Switch::start(), switch_of(SWITCH, "")] {
        let_all_users_in(&switch);
        let pair = GoodPair::start_amid(&switch, Noise::Floods);
        let dir = dir_of(0);
        let path = dir.path().join("roots");
        let roots = UnixDatagram::bind(&path).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o777)).unwrap();
        roots.set_read_timeout(Some(SILENCE)).unwrap();
        let request = Request::v3(&path_sockaddr(&path));
        as_user(OTHER, || expect_no_port(&switch, &request));
        let line = switch.wait_for_log("client refused");
        for word in ["uid=1234 ", path.to_str().unwrap(), "belongs to uid 0"] {
            assert!(line.contains(word), "no {word:?} in {line}");
        }
        pair.goes_on();
        assert!(roots.recv(&mut [0; 2000]).is_err(), "root's socket was sent something");
        // Whoever it belongs to may.
        let client = Client::register(&switch, mac(10), roots, &request);
        let other = Client::new(&switch, mac(11));
        other.reach(&client);
        pair.finish();
    }
}

/// The users who have a guest each.
const VICTIM: u32 = 64_201;
const ATTACKER: u32 = 64_202;

fn bound_to(name: [u8; 107]) -> UnixDatagram {
    UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name).unwrap()).unwrap()
}

fn a_socket_that_belongs_to_a_guest_is_refused_to_other_users() {
    let switch = Switch::start();
    let_all_users_in(&switch);
    let pair = GoodPair::start(&switch);
    let name = abstract_name();
    let guest = as_user(VICTIM, || bound_to(name));
    let request = Request::v3(&abstract_sockaddr(&name));
    as_user(ATTACKER, || expect_no_port(&switch, &request));
    guest.set_nonblocking(true).unwrap();
    assert!(guest.recv(&mut [0]).is_err(), "nothing was sent there");
    guest.set_nonblocking(false).unwrap();
    // Its owner may name it.
    let guest = as_user(VICTIM, || Client::register(&switch, mac(10), guest, &request));
    pair.goes_on();
    guest.expect_silence();
    pair.finish();
    switch.stop().check_sums();
}

fn a_client_of_the_shared_data_socket_is_not_displaced_by_another_user() {
    let switch = with_shared_data_socket();
    let_all_users_in(&switch);
    let pair = GoodPair::start_amid(&switch, Noise::Floods);
    // As libvdeplug does it: connected to the switch, and its path gone.
    let path = switch.dir.path().join("guest");
    let guest = Client::at_path(&switch, mac(1), &path);
    guest.data.connect_addr(&guest.switch).unwrap();
    fs::remove_file(&path).unwrap();
    let other = Client::new(&switch, mac(2));
    let sent = frame(BROADCAST, mac(1), 60);
    let speak = || {
        guest.data.send(&sent).unwrap();
        assert_eq!(other.receive(), sent);
    };
    speak();
    as_user(ATTACKER, || expect_no_port(&switch, &Request::v3(&path_sockaddr(&path))));
    speak();
    pair.finish();
    switch.stop().check_sums();
}

fn another_user_who_takes_the_name_of_a_client_that_is_not_there_yet_is_not_heard() {
    let switch = Switch::start();
    let_all_users_in(&switch);
    let pair = GoodPair::start_amid(&switch, Noise::Floods);
    let other = Client::new(&switch, mac(2));
    let name = abstract_name();
    let client = as_user(VICTIM, || {
        let data = UnixDatagram::unbound().unwrap();
        Client::register(&switch, mac(1), data, &Request::v3(&abstract_sockaddr(&name)))
    });
    let thief = as_user(ATTACKER, || bound_to(name));
    let lie = frame(BROADCAST, mac(1), 60);
    for _ in 0..20 {
        thief.send_to_addr(&lie, &client.switch).expect("nobody is connected yet");
    }
    other.expect_silence();
    other.send(&frame(BROADCAST, mac(2), 60));
    pair.finish();
    thief.set_nonblocking(true).unwrap();
    assert!(thief.recv(&mut [0]).is_err(), "nor told anything");
    let totals = switch.stop();
    totals.check_sums();
    assert_eq!(totals.get("rx_stranger"), 20);
}
