//! Who may connect to the switch's sockets, and who may ask it about others.

use std::fs;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::sandbox::{dir_of, switch_of};
use crate::support::{
    BessClient, Client, GoodPair, Request, Switch, SwitchBuilder, ask, binary, ctl, expect_no_port,
    mac, run,
};
use crate::users::{as_user, let_all_users_in};
use crate::{Test, tests};

pub const TESTS: &[Test] = tests![
    [] sockets_of_a_group_are_closed_to_others,
    [] administrators_of_other_users_are_kept_out_twice,
    [] the_switchs_own_user_and_root_may_administer,
    [] other_users_get_no_copies_of_frames,
    [] nobody_is_asked_who_only_has_the_name_of_the_admin_socket,
];

/// A user that is nobody in particular, and the switch's own.
const SOMEBODY: u32 = 54_321;
const OWNER: u32 = 1234;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

fn sockets_of_a_group_are_closed_to_others() {
    const GROUP: u32 = 4711;
    let dir = dir_of(0);
    let [bess, qemu, vde] = ["bess", "qemu", "vde"].map(|name| dir.path().join(name));
    let mut builder = SwitchBuilder::default().args(&format!("--mode 660 --group {GROUP}"));
    for (option, path) in [("--bess", &bess), ("--qemu", &qemu), ("--vde", &vde)] {
        builder = builder.arg(option).arg(path.to_str().unwrap());
    }
    let _switch = builder.start();
    let ctl = vde.join("ctl");
    for (path, expected) in [(&bess, 0o660), (&qemu, 0o660), (&vde, 0o2770), (&ctl, 0o660)] {
        let group = fs::metadata(path).unwrap().gid();
        assert_eq!((mode(path), group), (expected, GROUP), "{}", path.display());
    }
    let denied = as_user(SOMEBODY, || {
        let others = [&qemu, &ctl].map(|path| UnixStream::connect(path).unwrap_err().kind());
        (BessClient::dial(&bess).unwrap_err().kind(), others)
    });
    assert_eq!(denied, (ErrorKind::PermissionDenied, [ErrorKind::PermissionDenied; 2]));
}

fn admin_socket(switch: &Switch) -> PathBuf {
    switch.dir.path().join("ctl.admin")
}

fn administrators_of_other_users_are_kept_out_twice() {
    let switch = Switch::start();
    let_all_users_in(&switch);
    let path = admin_socket(&switch);
    let refused = as_user(SOMEBODY, || UnixStream::connect(&path).unwrap_err().kind());
    assert_eq!(refused, ErrorKind::PermissionDenied);
    // Even if the path let them.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
    let pair = GoodPair::start(&switch);
    for request in [b"{\"request\":\"ports\"}\n".as_slice(), b"{\"request\":\"capture\"}\n"] {
        let reply = as_user(SOMEBODY, || ask(&switch, request));
        assert_eq!(reply, "{\"error\":\"only root and the switch's own user may ask it\"}\n");
    }
    let line = switch.wait_for_log("administrator refused");
    assert!(line.contains("uid=54321"), "{line}");
    // However often they try, the log stays short.
    as_user(SOMEBODY, || {
        (0..500).for_each(|_| drop(UnixStream::connect(&path).expect("the switch listens")));
    });
    assert!(ask(&switch, b"{\"request\":\"ports\"}\n").contains("\"ok\""));
    let lines = switch.log().lines().filter(|line| line.contains("administrator refused")).count();
    assert!(lines < 100, "{lines} lines");
    pair.finish();
}

fn the_switchs_own_user_and_root_may_administer() {
    let switch = switch_of(OWNER, "");
    let answered = || {
        let reply = ask(&switch, b"{\"request\":\"ports\"}\n");
        assert!(reply.contains("\"ok\""), "{reply}");
    };
    answered();
    as_user(OWNER, answered);
    let _guest = Client::new(&switch, mac(1));
    let path = admin_socket(&switch);
    let refused = as_user(SOMEBODY, || UnixStream::connect(&path).unwrap_err().kind());
    assert_eq!(refused, ErrorKind::PermissionDenied);
}

/// As Netkit's `uml_dump` asks for them.
fn other_users_get_no_copies_of_frames() {
    let switch = Switch::start();
    let_all_users_in(&switch);
    let pair = GoodPair::start(&switch);
    as_user(SOMEBODY, || {
        let (addr, _data) = Client::socket();
        let request = [Request::versioned(3, 1, &addr).as_slice(), &[0, 0]].concat();
        expect_no_port(&switch, &request);
    });
    let line = switch.wait_for_log("client refused");
    assert!(line.contains("captures are for root and the switch's own user"), "{line}");
    pair.finish();
}

/// As in `/tmp`, where anybody may be faster than the switch.
fn nobody_is_asked_who_only_has_the_name_of_the_admin_socket() {
    let dir = dir_of(0);
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o1777)).unwrap();
    let path = dir.path().join("ctl.admin");
    let fake = as_user(SOMEBODY, || UnixListener::bind(&path).expect("the name is free"));
    let control = dir.path().join("ctl");
    let mut command = Command::new(binary());
    command.arg("-unix").arg(&control);
    let switch = Switch::spawn(dir, control, command);
    let said = switch.wait_for_log("no admin socket");
    assert!(said.contains("another program serves"), "{said}");
    let file = switch.dir.path().join("capture.pcapng");
    for line in ["ports".to_owned(), format!("capture -w {}", file.display())] {
        let output = run(&mut ctl(&switch, &line));
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let said = output.stderr;
        assert!(said.contains("uid 54321 serves") && said.contains("not asking"), "{said}");
    }
    assert!(!file.exists());
    // Nothing was said to it.
    fake.set_nonblocking(true).unwrap();
    let mut heard = Vec::new();
    while let Ok((mut stream, _)) = fake.accept() {
        stream.read_to_end(&mut heard).expect("the other side has ended");
    }
    assert_eq!(heard, b"");
}
