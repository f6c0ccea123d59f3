//! A C program that is linked with libvdeplug, on our switch and on `vde_switch`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Child;

use crate::host::command;
use crate::sandbox::STAGE;
use crate::support::{ports, run, wait_for};
use crate::vde::{VdeSwitch, with_directory};
use crate::{Test, tests};

pub const TESTS: &[Test] = tests![
    [Libvdeplug] a_program_of_libvdeplugs_gets_its_port_and_its_frames_and_learns_of_the_end,
    [Libvdeplug, VdeSwitch] the_same_program_prints_the_same_on_a_vde_switch,
];

/// What the program prints on our switch: all that it may send arrives whole, and what is longer not
/// at all; a port is one connection's.
const ON_OURS: &str = "\
60 bytes from the first: came as it was sent
60 bytes from the second: came as it was sent
1518 bytes from the first: came as it was sent
1518 bytes from the second: came as it was sent
9018 bytes from the first: came as it was sent
9018 bytes from the second: came as it was sent
9019 bytes from the first: nothing came
9019 bytes from the second: nothing came
port 7 again: refused
waiting
the first sees the end
the second sees the end
";

/// Where `vde_switch` differs: it cuts what is longer than an untagged frame was in the days of 1500
/// bytes, with room for a tag; and all of one user's connections may be at one port.
const ON_VDE_SWITCH: [(&str, &str); 5] = [
    (
        "9018 bytes from the first: came as it was sent",
        "9018 bytes from the first: 1518 of them came",
    ),
    (
        "9018 bytes from the second: came as it was sent",
        "9018 bytes from the second: 1518 of them came",
    ),
    ("9019 bytes from the first: nothing came", "9019 bytes from the first: 1518 of them came"),
    ("9019 bytes from the second: nothing came", "9019 bytes from the second: 1518 of them came"),
    ("port 7 again: refused", "port 7 again: had"),
];

/// The program, running on the switch of a directory until that ends.
struct Program {
    child: Child,
    output: PathBuf,
}

impl Program {
    /// Compiles it and starts it, and waits until it has done all but see the end.
    fn start(dir: &Path) -> Program {
        let [source, program, output] =
            ["libvdeplug.c", "libvdeplug", "output"].map(|name| Path::new(STAGE).join(name));
        fs::write(&source, include_str!("libvdeplug.c")).expect("the stage is ours");
        let mut compiler = command("cc");
        compiler.args(["-Wall", "-Wextra", "-Werror", "-o"]).args([&program, &source]);
        let compiled = run(compiler.arg("-lvdeplug"));
        assert!(compiled.status.success(), "{compiled:?}");
        let child = command(&program)
            .arg(dir)
            .args(["7", "daemon", "60", "1518", "9018", "9019"])
            .stdout(File::create(&output).expect("the stage is ours"))
            .spawn()
            .expect("it runs");
        let mut program = Program { child, output };
        wait_for("the program to wait", || {
            let ended = program.child.try_wait().expect("a child to wait for");
            assert_eq!(ended, None, "{}", program.said());
            program.said().contains("waiting\n").then_some(())
        });
        program
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.output).expect("it is ours")
    }

    /// Waits for its end, which must be a good one, and returns all that it has printed.
    fn end(mut self) -> String {
        let status =
            wait_for("the program to end", || self.child.try_wait().expect("a child to wait for"));
        assert!(status.success(), "{status}: {}", self.said());
        self.said()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn a_program_of_libvdeplugs_gets_its_port_and_its_frames_and_learns_of_the_end() {
    let (switch, dir) = with_directory();
    let program = Program::start(&dir);
    let who = format!("user=root pid={}", program.child.id());
    let shown = ports(&switch);
    let shown = shown.as_array().expect("a list").iter().map(|port| {
        assert_eq!(port["kind"], "vde", "{port}");
        (port["number"].as_u64().unwrap(), port["description"].as_str().unwrap().to_owned())
    });
    let expected = [(1, format!("another {who}")), (7, format!("a program of our own {who}"))];
    assert_eq!(shown.collect::<Vec<_>>(), expected);
    switch.wait_for_log("port 7 is in use");
    let totals = switch.stop();
    totals.check_sums();
    assert_eq!(totals.get("rx_oversize"), 2, "{totals:?}");
    assert_eq!(program.end(), ON_OURS);
}

fn the_same_program_prints_the_same_on_a_vde_switch() {
    let dir = Path::new(STAGE).join("vde_switch");
    let switch = VdeSwitch::start(&dir);
    let program = Program::start(&dir);
    drop(switch);
    let mut expected = ON_OURS.to_owned();
    for (ours, theirs) in ON_VDE_SWITCH {
        expected = expected.replace(ours, theirs);
    }
    assert_eq!(program.end(), expected);
}
