//! Debian's `/etc/init.d/uml-utilities` with our program in place of the C one, and nothing else
//! changed.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User};

use crate::host::{self, command, ip};
use crate::needs::PATH;
use crate::sandbox::{STAGE, bind, copy_of_binary, let_everybody_use_tun, mount_tmpfs};
use crate::support::{Client, Finished, mac, run, wait_for};
use crate::users::as_user;
use crate::{Test, tests};

pub const TESTS: &[Test] = tests![
    [InitScript] it_starts_restarts_and_stops_the_switch,
    [InitScript] it_does_not_start_a_second_switch,
    [InitScript, Tap] it_starts_the_switch_with_the_tap_of_its_user,
];

/// The script.
pub const SCRIPT: &str = "/etc/init.d/uml-utilities";

const CONTROL: &str = "/var/run/uml-utilities/uml_switch.ctl";
const USER: &str = "uml-net";

/// The service as the script handles it. What it leaves running is killed.
struct Service {
    program: PathBuf,
}

impl Service {
    /// Puts our program in the place of the C one, and keeps the machine's `/run` out of it.
    fn install() -> Service {
        let program = copy_of_binary();
        bind(&program, Path::new("/usr/bin/uml_switch"));
        mount_tmpfs(Path::new("/run")).expect("/run can be hidden");
        hide_other_switches();
        Service { program }
    }

    fn script(&self, action: &str) -> Finished {
        run(command(SCRIPT).arg(action).env_clear().env("PATH", PATH).current_dir("/"))
    }

    /// Panics unless the script succeeds.
    #[track_caller]
    fn does(&self, action: &str) {
        let done = self.script(action);
        assert!(done.status.success(), "{action}: {done:?}");
    }

    /// The processes that run our copy of the program.
    fn processes(&self) -> Vec<Pid> {
        let same = |path: &Path| {
            let file = fs::metadata(path).map(|meta| (meta.dev(), meta.ino()));
            file.is_ok_and(|file| {
                fs::metadata(&self.program).is_ok_and(|meta| file == (meta.dev(), meta.ino()))
            })
        };
        let entries = fs::read_dir("/proc").expect("/proc").flatten().map(|entry| entry.path());
        let numbered = entries.filter_map(|entry| {
            let pid = entry.file_name()?.to_str()?.parse().ok()?;
            same(&entry.join("exe")).then_some(Pid::from_raw(pid))
        });
        numbered.collect()
    }

    /// The one process, which serves.
    #[track_caller]
    fn process(&self) -> Pid {
        wait_for("one switch", || match self.processes()[..] {
            [pid] => Some(pid),
            _ => None,
        })
    }

    /// Panics unless the switch runs as it should, and serves every user.
    #[track_caller]
    fn serves(&self) -> Pid {
        let pid = self.process();
        let user = User::from_name(USER).unwrap().expect("the package has made it");
        assert_eq!(fs::metadata(format!("/proc/{pid}")).unwrap().uid(), user.uid.as_raw());
        let control = fs::metadata(CONTROL).expect("the control socket");
        assert!(control.file_type().is_socket() && control.uid() == user.uid.as_raw());
        assert_eq!(control.permissions().mode() & 0o7777, 0o777);
        self.does("status");
        let guests = as_user(65534, || [1, 2].map(|n| Client::dial(Path::new(CONTROL), mac(n))));
        guests[0].reach(&guests[1]);
        guests[1].reach(&guests[0]);
        pid
    }

    /// Panics unless nothing of it is left.
    #[track_caller]
    fn is_gone(&self) {
        wait_for("the switch to end", || self.processes().is_empty().then_some(()));
        assert!(!Path::new(CONTROL).exists());
        assert!(!Path::new(CONTROL).with_extension("pid").exists());
        let status = self.script("status");
        assert_eq!(status.status.code(), Some(3), "{status:?}");
    }
}

/// Lets the script see the processes of this network alone: without a pid file, its `status` takes any
/// program of that name on the machine for its own.
fn hide_other_switches() {
    let dir = Path::new(STAGE).join("pidof");
    fs::create_dir(&dir).expect("the stage is ours");
    let (real, ours) = (dir.join("pidof"), dir.join("of-this-network"));
    fs::copy("/bin/pidof", &real).expect("it can be copied");
    let script = format!(
        "#!/bin/sh\n\
        for pid in $({} \"$@\"); do\n\
        [ /proc/$pid/ns/net -ef /proc/self/ns/net ] && found=\"$found $pid\"\n\
        done\n\
        [ -n \"$found\" ] && echo $found\n",
        real.display()
    );
    fs::write(&ours, script).expect("the stage is ours");
    fs::set_permissions(&ours, fs::Permissions::from_mode(0o755)).expect("the stage is ours");
    bind(&ours, Path::new("/bin/pidof"));
}

impl Drop for Service {
    fn drop(&mut self) {
        for pid in self.processes() {
            // It may have ended in between.
            let _ = kill(pid, Signal::SIGKILL);
        }
    }
}

fn it_starts_restarts_and_stops_the_switch() {
    let service = Service::install();
    service.is_gone();
    service.does("start");
    let mut pid = service.serves();
    for _ in 0..3 {
        // The script does not wait for the old one to end before it starts the new one.
        service.does("restart");
        wait_for("the old one to end", || (!service.processes().contains(&pid)).then_some(()));
        let next = service.serves();
        assert_ne!(next, pid);
        pid = next;
    }
    service.does("stop");
    service.is_gone();
    service.does("stop");
    service.does("start");
    service.serves();
    service.does("stop");
    service.is_gone();
}

fn it_does_not_start_a_second_switch() {
    let service = Service::install();
    service.does("start");
    let pid = service.serves();
    assert!(!service.script("start").status.success());
    assert_eq!(service.serves(), pid);
}

fn it_starts_the_switch_with_the_tap_of_its_user() {
    let service = Service::install();
    let options = Path::new(STAGE).join("options");
    fs::write(&options, "UML_SWITCH_OPTIONS=\"-tap tap0\"\n").unwrap();
    bind(&options, Path::new("/etc/default/uml-utilities"));
    let_everybody_use_tun();
    ip(&format!("tuntap add dev tap0 mode tap user {USER}"));
    host::configure("tap0");
    for action in ["start", "restart"] {
        service.does(action);
        service.serves();
        let guest = Client::dial(Path::new(CONTROL), mac(3));
        wait_for("the uplink", || {
            let carrier = ip("link show tap0");
            carrier.contains("LOWER_UP").then_some(())
        });
        host::exchange(&guest);
    }
    service.does("stop");
    service.is_gone();
    assert!(host::has_interface("tap0"), "it is the host's");
}
