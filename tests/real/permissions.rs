//! A switch that is not root, and clients whose sockets are not its to reach; and clients that name
//! what is not theirs.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use crate::sandbox::{dir_of, switch_of};
use crate::support::{
    BROADCAST, Client, GoodPair, Noise, Request, SILENCE, Switch, as_user, expect_no_port, frame,
    let_all_users_in, mac, path_sockaddr,
};
use crate::vde::{Plug, directory_of, wait_for_ports};
use crate::{Test, tests};

pub const TESTS: &[Test] = tests![
    [] a_socket_that_the_switch_may_not_write_to_is_named_with_owner_and_mode,
    [] a_socket_in_a_directory_that_the_switch_may_not_enter_is_named,
    [VdePlug] a_plug_of_another_user_lets_the_switch_write,
    [VdePlug] a_plug_that_lets_nobody_write_is_named_with_owner_and_mode,
    [] a_socket_that_belongs_to_root_is_refused_to_others,
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
        let client = as_user(uid, || locked_client(&switch, &path, mode, n)).expect("we are root");
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
        as_user(OTHER, || expect_no_port(&switch, &request)).expect("we are root");
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
