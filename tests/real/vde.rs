//! libvdeplug clients, by `vde_plug`, on a directory whose `ctl` leads to the control socket.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use crate::host::command;
use crate::support::{BROADCAST, Client, DEADLINE, SILENCE, Switch, binary, frame, mac, wait_for};
use crate::{Test, tests};

pub const TESTS: &[Test] = tests![
    [VdePlug] plugs_and_guests_exchange_frames_of_every_length,
    [VdePlug] a_plug_that_unlinks_its_socket_at_once_keeps_its_port,
    [VdePlug] the_log_says_who_plugs_in,
    [VdePlug] a_plug_gets_the_port_that_it_asks_for,
    [VdePlug] a_plug_that_is_pulled_is_forgotten,
    [VdePlug] a_cable_joins_two_switches,
    [VdePlug] the_switchs_own_directory_serves_plugs_and_their_wishes,
    [VdePlug, VdeSwitch] a_cable_joins_a_vde_switch_both_ways,
];

/// A `vde_plug` whose frames go through its standard input and output, each after its length in two
/// bytes, the higher one first.
#[derive(Debug)]
pub struct Plug {
    child: Child,
    input: ChildStdin,
    frames: Receiver<Vec<u8>>,
}

impl Plug {
    /// Plugs in with these arguments, of which one is a directory or URL.
    pub fn new(args: &[&str]) -> Plug {
        Plug::of_user(0, args)
    }

    /// The same by user `uid`.
    pub fn of_user(uid: u32, args: &[&str]) -> Plug {
        let mut child = command("vde_plug")
            .args(args)
            .uid(uid)
            .gid(uid)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("vde_plug runs");
        let input = child.stdin.take().expect("it is a pipe");
        let mut output = child.stdout.take().expect("it is a pipe");
        let (sender, frames) = mpsc::channel();
        thread::spawn(move || {
            while let Ok(frame) = read_frame(&mut output) {
                // The test may have heard enough.
                let _ = sender.send(frame);
            }
        });
        Plug { child, input, frames }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    #[track_caller]
    fn send(&mut self, frame: &[u8]) {
        let len = (frame.len() as u16).to_be_bytes();
        self.input.write_all(&[&len, frame].concat()).expect("vde_plug reads");
    }

    /// Panics unless the next frame is `expected`.
    #[track_caller]
    pub fn expect(&self, expected: &[u8]) {
        let frame = self.frames.recv_timeout(DEADLINE).expect("a frame");
        assert!(frame == expected, "other {} bytes than the {} sent", frame.len(), expected.len());
    }

    #[track_caller]
    fn expect_silence(&self) {
        if let Ok(frame) = self.frames.recv_timeout(SILENCE) {
            panic!("unexpected {} bytes", frame.len());
        }
    }
}

impl Drop for Plug {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_frame(output: &mut ChildStdout) -> std::io::Result<Vec<u8>> {
    let mut len = [0; 2];
    output.read_exact(&mut len)?;
    let mut frame = vec![0; u16::from_be_bytes(len).into()];
    output.read_exact(&mut frame)?;
    Ok(frame)
}

/// A directory as libvdeplug wants it.
pub fn directory_of(switch: &Switch) -> PathBuf {
    let dir = switch.dir.path().join("vde");
    fs::create_dir(&dir).expect("the directory is ours");
    symlink(&switch.control, dir.join("ctl")).expect("the directory is ours");
    dir
}

/// Waits until `count` ports have been opened in all.
#[track_caller]
pub fn wait_for_ports(switch: &Switch, count: usize) {
    wait_for("the ports", || (switch.log().matches("port opened").count() == count).then_some(()));
}

fn url(dir: &Path) -> String {
    format!("vde://{}", dir.display())
}

fn plugs_and_guests_exchange_frames_of_every_length() {
    let switch = Switch::start();
    let dir = directory_of(&switch);
    let mut first = Plug::new(&[dir.to_str().unwrap()]);
    let mut second = Plug::new(&[&url(&dir)]);
    wait_for_ports(&switch, 2);
    let guest = Client::new(&switch, mac(3));
    for len in [14, 42, 60, 1514, 1518, 4096, 9014, 9018] {
        let hello = frame(BROADCAST, mac(1), len);
        first.send(&hello);
        second.expect(&hello);
        assert!(guest.receive() == hello, "{len} bytes by broadcast");
        let answer = frame(mac(1), mac(2), len);
        second.send(&answer);
        first.expect(&answer);
        let by_guest = frame(mac(2), mac(3), len);
        guest.send(&by_guest);
        if len == 14 {
            // Its first frame to a known station teaches the others nothing but its place.
            first.expect_silence();
        }
        second.expect(&by_guest);
        let to_guest = frame(mac(3), mac(1), len);
        first.send(&to_guest);
        assert!(guest.receive() == to_guest, "{len} bytes to the guest");
    }
    first.expect_silence();
    second.expect_silence();
    guest.expect_silence();
    switch.stop().check_sums();
}

fn a_plug_that_unlinks_its_socket_at_once_keeps_its_port() {
    let switch = Switch::start();
    let dir = directory_of(&switch);
    let mut plug = Plug::new(&[dir.to_str().unwrap()]);
    let opened = switch.wait_for_log("port opened");
    let path = opened.split("client=").nth(1).expect("its address").split(' ').next().unwrap();
    assert!(Path::new(path).starts_with(&dir), "{opened}");
    wait_for("the path to go", || (!Path::new(path).exists()).then_some(()));
    let guest = Client::new(&switch, mac(2));
    for _ in 0..20 {
        let question = frame(BROADCAST, mac(2), 200);
        guest.send(&question);
        plug.expect(&question);
        let answer = frame(mac(2), mac(1), 200);
        plug.send(&answer);
        assert!(guest.receive() == answer);
    }
    // Somebody else may take the name; the port is not theirs for that.
    let stranger = std::os::unix::net::UnixDatagram::bind(path).expect("the name is free");
    let hello = frame(BROADCAST, mac(2), 100);
    guest.send(&hello);
    plug.expect(&hello);
    stranger.set_read_timeout(Some(SILENCE)).unwrap();
    assert!(stranger.recv(&mut [0; 100]).is_err(), "a frame for whoever took the name");
}

fn the_log_says_who_plugs_in() {
    let switch = Switch::start();
    let dir = directory_of(&switch);
    let plug = Plug::new(&["-D", "the game server", dir.to_str().unwrap()]);
    let opened = switch.wait_for_log("port opened");
    let pid = plug.pid();
    assert!(opened.contains("uid=0") && opened.contains(&format!("pid={pid} ")), "{opened}");
    assert!(opened.contains("description=\"the game server user=root"), "{opened}");
}

fn a_plug_gets_the_port_that_it_asks_for() {
    let switch = Switch::start();
    let dir = directory_of(&switch);
    let mut seventh = Plug::new(&[&format!("{}[7]", url(&dir))]);
    let opened = switch.wait_for_log("port opened");
    assert!(opened.contains("port=7 "), "{opened}");
    let guest = Client::new(&switch, mac(2));
    let hello = frame(BROADCAST, mac(1), 60);
    seventh.send(&hello);
    assert!(guest.receive() == hello);
}

fn a_plug_that_is_pulled_is_forgotten() {
    let switch = Switch::start();
    let dir = directory_of(&switch);
    let guest = Client::new(&switch, mac(9));
    let descriptors = switch.descriptors();
    for round in 1..=3 {
        let mut plug = Plug::new(&[dir.to_str().unwrap()]);
        wait_for_ports(&switch, 1 + round);
        let hello = frame(BROADCAST, mac(1), 60);
        plug.send(&hello);
        assert!(guest.receive() == hello);
        drop(plug);
        wait_for("the port to close", || {
            (switch.log().matches("port closed").count() == round).then_some(())
        });
        assert!(switch.descriptors() <= descriptors);
    }
    // Its address is nobody's now: a frame to it is flooded.
    let other = Client::new(&switch, mac(8));
    let lost = frame(mac(1), mac(9), 60);
    guest.send(&lost);
    assert!(other.receive() == lost);
}

fn a_cable_joins_two_switches() {
    let switches = [Switch::start(), Switch::start()];
    let dirs = switches.each_ref().map(directory_of);
    // One process with two ports: it moves frames from one to the other.
    let _cable = Plug::new(&[&url(&dirs[0]), &url(&dirs[1])]);
    for switch in &switches {
        wait_for_ports(switch, 1);
    }
    let here = Client::new(&switches[0], mac(1));
    let there = Client::new(&switches[1], mac(2));
    for _ in 0..20 {
        here.reach(&there);
        there.reach(&here);
    }
}

/// A switch with a directory of its own for libvdeplug.
pub fn with_directory() -> (Switch, PathBuf) {
    let dir = tempfile::tempdir().expect("a directory for the switch");
    let (control, vde) = (dir.path().join("ctl"), dir.path().join("vde"));
    let mut switch = std::process::Command::new(binary());
    switch.arg("-unix").arg(&control).arg("--vde").arg(&vde);
    (Switch::spawn(dir, control, switch), vde)
}

fn the_switchs_own_directory_serves_plugs_and_their_wishes() {
    let (switch, dir) = with_directory();
    let mut seventh = Plug::new(&[&format!("{}[7]", url(&dir))]);
    let opened = switch.wait_for_log("port opened");
    assert!(opened.contains("port=7 kind=\"vde\""), "{opened}");
    assert!(opened.contains("description=\"vdeplug: user=root pid="), "{opened}");
    let _zeroth = Plug::new(&[&format!("{}[0]", url(&dir))]);
    switch.wait_for_log("port=0 kind=\"vde\"");
    let mut any = Plug::new(&[dir.to_str().unwrap()]);
    switch.wait_for_log("port=1 kind=\"vde\"");
    let mut refused = Plug::new(&[&format!("{}[7]", url(&dir))]);
    switch.wait_for_log("port 7 is in use");
    wait_for("the plug to give up", || refused.child.try_wait().expect("it is ours"));
    for len in [14, 1514, 9018] {
        let hello = frame(BROADCAST, mac(1), len);
        any.send(&hello);
        seventh.expect(&hello);
        let answer = frame(mac(1), mac(7), len);
        seventh.send(&answer);
        any.expect(&answer);
    }
}

/// A `vde_switch`, which ends when nobody holds its input any more.
pub struct VdeSwitch(Child);

impl VdeSwitch {
    pub fn start(dir: &Path) -> VdeSwitch {
        let mut command = command("vde_switch");
        command.arg("-s").arg(dir).stdin(Stdio::piped()).stdout(Stdio::null());
        let switch = VdeSwitch(command.spawn().expect("vde_switch runs"));
        // It listens a little later than its socket is there.
        wait_for("vde_switch to serve", || UnixStream::connect(dir.join("ctl")).ok());
        switch
    }
}

impl Drop for VdeSwitch {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn a_cable_joins_a_vde_switch_both_ways() {
    let (switch, ours) = with_directory();
    let theirs = switch.dir.path().join("theirs");
    let _vde_switch = VdeSwitch::start(&theirs);
    let _cable = Plug::new(&[&url(&ours), &url(&theirs)]);
    wait_for_ports(&switch, 1);
    let here = Client::new(&switch, mac(1));
    let mut there = Plug::new(&[theirs.to_str().unwrap()]);
    // Until both ends of the cable and the plug are in; frames for nobody are lost.
    let hello = frame(BROADCAST, mac(2), 60);
    wait_for("the first frame", || {
        there.send(&hello);
        here.receive_within(SILENCE).map(|first| assert!(first == hello))
    });
    let end = frame(mac(1), mac(2), 61);
    there.send(&end);
    while here.receive() != end {}
    for len in [14, 60, 590, 1514] {
        let sent = frame(mac(2), mac(1), len);
        here.send(&sent);
        there.expect(&sent);
        let answer = frame(mac(1), mac(2), len);
        there.send(&answer);
        assert!(here.receive() == answer, "{len} bytes");
    }
}
