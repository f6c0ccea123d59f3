//! `--connect` to a gateway: a guest reaches a server of the host by way of slirp4netns or passt. The
//! switch and the gateway run as an ordinary user. The host is the test's network namespace: nothing
//! leaves the machine.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use crate::guest::Guest;
use crate::host::{command, ip};
use crate::sandbox::switch_of;
use crate::support::{Switch, run, wait_for};
use crate::{Test, tests};

pub const TESTS: &[Test] = tests![
    [Tap, Guests, Slirp] slirp4netns_gives_a_guest_the_hosts_network,
    [Tap, Guests, Passt] passt_gives_a_guest_the_hosts_network,
];

const USER: u32 = 65534;

/// The host's address on a network that is none of the guests'.
const HOST: &str = "192.0.2.1";

/// Where the guests' network has its gateway.
const GATEWAY: &str = "10.0.0.2";

/// A gateway's program. Killed when dropped.
#[derive(Debug)]
struct Gateway(Child);

impl Gateway {
    /// Runs `command` as an ordinary user.
    #[track_caller]
    fn start(command: &mut Command, log: &Path) -> Gateway {
        let log = std::fs::File::create(log).expect("a log file");
        let errors = log.try_clone().expect("a log file");
        command.uid(USER).gid(USER).stdin(Stdio::null()).stdout(log).stderr(errors);
        Gateway(command.spawn().expect("the gateway's program starts"))
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Gives the host a network that leads nowhere, with its address there and its default route.
fn configure_host() {
    ip("tuntap add dev up0 mode tap");
    ip(&format!("addr add {HOST}/24 dev up0"));
    ip("link set up0 up");
    ip("route add default via 192.0.2.254 dev up0");
}

/// Serves lines on a TCP port: what is asked for by number is as many lines.
fn serve() -> u16 {
    let listener = TcpListener::bind((HOST, 0)).expect("the host has its address");
    let port = listener.local_addr().unwrap().port();
    let answer = |stream: TcpStream| -> std::io::Result<()> {
        let mut question = String::new();
        BufReader::new(&stream).read_line(&mut question)?;
        let count: u32 = question.trim().parse().expect("a number of lines");
        let lines: String = (1..=count).map(|n| format!("{n}\n")).collect();
        (&stream).write_all(lines.as_bytes())
    };
    // It ends with the test program.
    thread::spawn(move || listener.incoming().flatten().for_each(|stream| drop(answer(stream))));
    port
}

/// Panics unless the guest gets what the host serves on this port.
#[track_caller]
fn fetches(guest: &mut Guest, port: u16) {
    let script = format!("exec 5<>/dev/tcp/{HOST}/{port} && echo {LINES} >&5 && cat <&5 | cksum");
    let fetch = guest.start(&script);
    let served = run(command("sh").args(["-c", &format!("seq {LINES} | cksum")]));
    let fetched = guest.finish(fetch);
    assert_eq!(fetched.output.trim(), served.stdout.trim(), "{fetched:?}");
}

/// How much is fetched: 280 kB.
const LINES: u32 = 50_000;

/// A switch of an ordinary user with a cable of this kind to the gateway to come, and a guest.
fn switch_and_guest(kind: &str) -> (Switch, Guest) {
    let switch = switch_of(USER, &format!("--connect {kind}:{GATEWAY_SOCKET}"));
    switch.wait_for_log("no cable for now");
    let mut guest = Guest::boot(9, &switch.control);
    guest.wait_until_up();
    let route = guest.start(&format!("ip route add default via {GATEWAY}"));
    assert_eq!(guest.finish(route).status, 0);
    (switch, guest)
}

/// In a directory of the ordinary user's.
const GATEWAY_SOCKET: &str = "/mnt/gateway/socket";

#[track_caller]
fn wait_for_cable(switch: &Switch, times: usize) {
    wait_for("the cable", || {
        (switch.log().matches("cable attached").count() == times).then_some(())
    });
}

fn gateway_directory() -> &'static Path {
    let dir = Path::new(GATEWAY_SOCKET).parent().expect("it has one");
    std::fs::create_dir(dir).expect("the stage is ours");
    std::os::unix::fs::chown(dir, Some(USER), Some(USER)).expect("we are root");
    dir
}

fn slirp4netns_gives_a_guest_the_hosts_network() {
    configure_host();
    let port = serve();
    let dir = gateway_directory();
    let (switch, mut guest) = switch_and_guest("bess");
    // The second time for a gateway that has been started again.
    for round in 1..=2 {
        let mut slirp = command("slirp4netns");
        slirp.args(["--target-type=bess", "--cidr=10.0.0.0/24", "--disable-dns", GATEWAY_SOCKET]);
        let gateway = Gateway::start(&mut slirp, &dir.join("log"));
        wait_for_cable(&switch, round);
        fetches(&mut guest, port);
        drop(gateway);
    }
    switch.stop().check_sums();
}

fn passt_gives_a_guest_the_hosts_network() {
    configure_host();
    let port = serve();
    let dir = gateway_directory();
    let (switch, mut guest) = switch_and_guest("qemu");
    let mut passt = command("passt");
    passt.args(["-f", "-e", "-s", GATEWAY_SOCKET, "-a", "10.0.0.9", "-n", "24", "-g", GATEWAY]);
    passt.args(["-m", "1500", "--no-dhcp-dns"]);
    let _gateway = Gateway::start(&mut passt, &dir.join("log"));
    wait_for_cable(&switch, 1);
    fetches(&mut guest, port);
    switch.stop().check_sums();
}
