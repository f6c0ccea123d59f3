//! What can be done where guests fight for the CPUs: real-time scheduling, a CPU of one's own, and
//! busy polling.

use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::support::{
    Background, Client, SILENCE, Switch, binary, finish, frame, mac, run, wait_for,
};

const NO_REALTIME: &str = "no real-time scheduling, going on without it: needs CAP_SYS_NICE or an \
    RLIMIT_RTPRIO of 1";

/// The CPUs that thread `pid` may use; 0 is this one.
fn cpus_of(pid: Pid) -> Vec<usize> {
    let set = sched_getaffinity(pid).expect("the thread runs");
    (0..CpuSet::count()).filter(|&cpu| set.is_set(cpu).unwrap()).collect()
}

/// Runs `act` with all that it starts on CPU `cpu`.
fn on_cpu<T: Send>(cpu: usize, act: impl FnOnce() -> T + Send) -> T {
    let pinned = || {
        let mut set = CpuSet::new();
        set.set(cpu).unwrap();
        sched_setaffinity(Pid::from_raw(0), &set).expect("the CPU is ours");
        act()
    };
    thread::scope(|scope| scope.spawn(pinned).join()).expect("no panic")
}

/// The thread of process `pid` that writes its messages.
fn log_thread(pid: Pid) -> Pid {
    wait_for("the log's thread", || {
        fs::read_dir(format!("/proc/{pid}/task")).expect("it runs").flatten().find_map(|task| {
            let name = fs::read_to_string(task.path().join("comm")).ok()?;
            let id = task.file_name().to_str()?.parse().ok()?;
            (name == "log\n").then_some(Pid::from_raw(id))
        })
    })
}

/// Scheduling policy and real-time priority of thread `pid`: 0 and 0 for an ordinary one, 1 and more
/// for `SCHED_FIFO`.
fn policy_of(pid: Pid) -> (u32, u32) {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    // After the name in brackets: state is field 3, rt_priority 40, policy 41 (proc(5)).
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[38].parse().unwrap(), fields[37].parse().unwrap())
}

fn may_be_realtime() -> bool {
    run(Command::new("chrt").args(["-f", "1", "true"])).status.success()
}

#[track_caller]
fn check_service(switch: &Switch) {
    let guests = Client::several(switch, 2);
    Client::introduce(&guests);
    guests[0].reach(&guests[1]);
}

#[test]
fn the_loop_runs_on_the_cpu_that_is_asked_for_and_the_log_wherever_there_is_one() {
    let all = cpus_of(Pid::from_raw(0));
    for &cpu in &all {
        let switch = Switch::with(&format!("--cpu {cpu}"));
        assert_eq!(cpus_of(switch.pid()), [cpu]);
        assert_eq!(cpus_of(log_thread(switch.pid())), all);
        check_service(&switch);
    }
}

#[test]
fn it_runs_there_in_the_background_too() {
    let all = cpus_of(Pid::from_raw(0));
    let background = Background::new();
    let finished = background.run(&format!("--cpu {}", all[all.len() - 1]));
    assert_eq!(finished.status.code(), Some(0));
    assert_eq!(finished.stderr, "");
    let pid = background.pid();
    wait_for("the CPU", || (cpus_of(pid) == all[all.len() - 1..]).then_some(()));
    assert_eq!(cpus_of(log_thread(pid)), all);
}

#[test]
fn a_cpu_that_cannot_be_had_is_an_error_that_names_those_that_can() {
    let first = cpus_of(Pid::from_raw(0))[0];
    for args in ["", "--daemon"] {
        for cpu in [first + 1, 1_000_000] {
            let background = Background::new();
            let mut command = Command::new(binary());
            command.current_dir(background.dir.path()).args(args.split_whitespace());
            command.args(["-unix", &background.name, "--cpu", &cpu.to_string()]);
            let finished = on_cpu(first, || run(&mut command));
            assert_eq!(finished.status.code(), Some(1));
            assert_eq!(
                finished.stderr,
                format!(
                    "uml_switch: cannot run on CPU {cpu}: the CPUs that the switch may use are \
                     {first}\n"
                )
            );
            assert!(!background.control().exists());
            assert_eq!(background.pids(), []);
        }
    }
}

#[test]
fn the_loop_and_nobody_else_is_real_time() {
    let switch = Switch::with("--realtime");
    check_service(&switch);
    if may_be_realtime() {
        assert_eq!(policy_of(switch.pid()), (1, 1));
        assert!(!switch.log().contains("no real-time scheduling"));
        switch.wait_for_log("scheduling realtime=true");
    } else {
        assert_eq!(policy_of(switch.pid()), (0, 0));
        switch.wait_for_log(NO_REALTIME);
    }
    assert_eq!(policy_of(log_thread(switch.pid())), (0, 0));
}

#[test]
fn it_is_real_time_in_the_background_too() {
    let background = Background::new();
    let finished = background.run("--realtime");
    assert_eq!(finished.status.code(), Some(0));
    let pid = background.pid();
    if may_be_realtime() {
        wait_for("the policy", || (policy_of(pid) == (1, 1)).then_some(()));
        assert!(!finished.stderr.contains(NO_REALTIME), "{}", finished.stderr);
    } else {
        assert!(finished.stderr.contains(NO_REALTIME), "{}", finished.stderr);
    }
    assert_eq!(policy_of(log_thread(pid)), (0, 0));
    let guests = [1, 2].map(|n| Client::dial(&background.control(), mac(n)));
    Client::introduce(&guests);
}

/// One asks, the other answers, `rounds` times.
fn play(switch: &Switch, rounds: u32) -> Vec<Client> {
    let guests = Client::several(switch, 2);
    Client::introduce(&guests);
    let answering = guests[1].data.try_clone().unwrap();
    let (question, answer) = (frame(mac(2), mac(1), 60), frame(mac(1), mac(2), 60));
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut buffer = [0; 100];
            answering.set_read_timeout(Some(crate::support::DEADLINE)).unwrap();
            for _ in 0..rounds {
                let len = crate::support::uninterrupted(|| answering.recv(&mut buffer));
                assert_eq!(buffer[..len.expect("a question")], question);
                guests[1].send(&answer);
            }
        });
        for _ in 0..rounds {
            guests[0].send(&question);
            assert_eq!(guests[0].receive(), answer);
        }
    });
    guests
}

#[test]
fn busy_polling_finds_frames_and_says_how_many_at_the_end() {
    // Where all share one CPU nobody sends while the switch looks: it may find nothing, and says that
    // it does not even look if the machine has no other.
    let may_find = cpus_of(Pid::from_raw(0)).len() > 1;
    wait_for("spins that find frames", || {
        let switch = Switch::with("--busy-poll 1000");
        let refused = switch.log().contains("no busy polling: with one CPU");
        drop(play(&switch, 500));
        let totals = switch.stop();
        totals.check_sums();
        assert!(totals.get("spins_found") <= totals.get("spins"));
        assert!(!refused || (!may_find && totals.get("spins") == 0), "{totals:?}");
        (totals.get("spins_found") > 0 || !may_find).then_some(())
    });
}

#[test]
fn an_idle_switch_does_not_poll() {
    let switch = Switch::with("--busy-poll 1000");
    let guests = play(&switch, 500);
    let before = switch.cpu();
    for _ in 0..3 {
        guests[1].expect_silence();
    }
    let spent = switch.cpu() - before;
    assert!(spent < SILENCE, "{spent:?} of processor time while nothing happened");
    let before = switch.cpu();
    for _ in 0..10 {
        thread::sleep(Duration::from_millis(50));
        guests[0].reach(&guests[1]);
    }
    let spent = switch.cpu() - before;
    assert!(spent < SILENCE, "{spent:?} of processor time for 10 frames");
}

#[test]
fn without_the_option_nothing_is_said_of_it() {
    let mut switch = Switch::start();
    check_service(&switch);
    switch.signal(Signal::SIGTERM);
    switch.wait();
    let log = switch.log();
    assert!(!log.contains("busy_poll") && !log.contains("scheduling"), "{log}");
}

#[test]
fn it_polls_in_the_background_too() {
    let background = Background::new();
    let log = background.dir.path().join("log");
    let mut command = background.command();
    command.args(["--busy-poll", "50"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log).unwrap());
    assert_eq!(finish(&mut command).code(), Some(0));
    background.end(Signal::SIGTERM);
    let log = fs::read_to_string(log).unwrap();
    assert!(log.contains("spins_found=0") || log.contains("with one CPU"), "{log}");
}

#[test]
fn wrong_values_are_usage_errors_and_the_help_says_what_it_costs() {
    for line in ["--busy-poll 0", "--busy-poll 1001", "--busy-poll", "--cpu x", "--realtime=yes"] {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new(binary());
        command.current_dir(dir.path()).args(["-unix", "ctl"]).args(line.split_whitespace());
        let finished = run(&mut command);
        assert_eq!(finished.status.code(), Some(1), "{line}");
        assert!(finished.stderr.contains("Usage: uml_switch "), "{line}: {}", finished.stderr);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "{line}");
    }
    let help = run(Command::new(binary()).arg("--help")).stdout;
    for word in ["--busy-poll", "--realtime", "--cpu", "CPU", "5 %"] {
        assert!(help.contains(word), "{word} is missing:\n{help}");
    }
}
