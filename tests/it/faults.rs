//! Faults of programs: processes that ignore their stop, leave others behind, or all end at once.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::daemon::Daemon;
use crate::support::proc::{self, Process};
use crate::support::run::{self, script, victim};
use crate::support::status::{self, id, only_pid, pids, text};
use crate::support::wait::{wait_for, wait_for_state};

const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn a_stop_ends_a_process_that_ignores_it_and_its_grandchild_in_another_session() {
    let started = run::directory("stubborn").join("pids");
    let stubborn = victim(&format!("--ignore-term --grandchild-session --pids {}", started.display()));
    let daemon = Daemon::start(&format!(
        "programs:\n  stubborn:\n    command: {stubborn}\n    stop: {{timeout: 2s}}\n  web: {{command: sleep 1000}}\n"
    ));
    let [main, grandchild] = ["main", "grandchild"].map(|role| wait_role(&started, role));
    assert_eq!(Process::read(grandchild).expect("it lives").session, grandchild);
    let web = only_pid(&daemon.wait_running("web"));

    daemon.cli_exits(0, &["stop", "stubborn"]);
    assert_eq!([main, grandchild].map(Process::read), [None, None], "nothing is left, not even a zombie");
    assert_eq!(daemon.wait_process("stubborn", "stopped")["exit"], "killed by SIGKILL");
    daemon
        .wait_output("stubborn did not end within its stop timeout and is killed with all it started", LIMIT);
    assert_eq!(only_pid(&daemon.program("web")), web, "the neighbour was not touched");
}

#[test]
fn a_leader_that_dies_of_its_stop_leaves_its_busy_worker_alive_to_finish() {
    let wrapper = Wrapper::start();
    let [main, worker] = ["main", "worker"].map(|role| wait_role(&wrapper.pids, role));
    wait_work(&wrapper.work, "begin 1\n");

    wrapper.daemon.cli_exits(0, &["stop", "wrapper", "--no-wait"]);
    let process = wrapper.wait_leader_gone();
    assert_eq!((process["pid"].is_null(), text(&process, "exit")), (true, "killed by SIGTERM"));
    assert_eq!(Process::read(main), None);
    assert!(Process::read(worker).is_some_and(|worker| !worker.is_zombie()), "the worker goes on");
    assert_eq!(fs::read_to_string(&wrapper.work).expect("it works"), "begin 1\n");

    fs::write(&wrapper.release, "").expect("the directory is ours");
    wrapper.daemon.wait_process("wrapper", "stopped");
    assert_eq!(fs::read_to_string(&wrapper.work).expect("it worked"), "begin 1\nend 1\n");
    assert!(!wrapper.daemon.output().contains("killed with all"), "{}", wrapper.daemon.output());
}

#[test]
fn a_leader_that_is_killed_is_replaced_only_when_its_busy_worker_has_finished() {
    let wrapper = Wrapper::start();
    let main = wait_role(&wrapper.pids, "main");
    wait_work(&wrapper.work, "begin 1\n");
    proc::signal(main, Signal::KILL);
    let process = wrapper.wait_leader_gone();
    assert_eq!(text(&process, "exit"), "killed by SIGKILL");
    assert_eq!(fs::read_to_string(&wrapper.pids).expect("it started").matches("main").count(), 1);

    fs::write(&wrapper.release, "").expect("the directory is ours");
    wait_for("the next one", LIMIT, || {
        (fs::read_to_string(&wrapper.pids).ok()?.matches("main").count() == 2).then_some(())
    });
    let work = fs::read_to_string(&wrapper.work).expect("it worked");
    assert!(work.starts_with("begin 1\nend 1\n"), "never two workers at one time: {work}");
}

/// A program whose main process hands its work to another one, which finishes it when it is released.
struct Wrapper {
    daemon: Daemon,
    pids: std::path::PathBuf,
    work: std::path::PathBuf,
    release: std::path::PathBuf,
}

impl Wrapper {
    fn start() -> Self {
        let directory = run::directory("wrapper");
        let [pids, work, release] = ["pids", "work", "release"].map(|name| directory.join(name));
        let command = victim(&format!(
            "--leave-worker 0.01 --pids {} --log {} --release {}",
            pids.display(),
            work.display(),
            release.display()
        ));
        let daemon = Daemon::start(&format!(
            "programs:\n  wrapper:\n    command: {command}\n    stop: {{timeout: 300s}}\n    backoff: {{initial: 0s}}\n"
        ));
        Self { daemon, pids, work, release }
    }

    fn wait_leader_gone(&self) -> serde_json::Value {
        self.daemon.wait_program("wrapper", "the leader gone and one left", LIMIT, |program| {
            let process = status::processes(program).next()?;
            let is_told =
                process["reason"].as_str()?.contains("the main process ended and left 1 process behind");
            (is_told && process["state"] == "stopping").then(|| process.clone())
        })
    }
}

#[test]
fn two_hundred_processes_that_end_at_once_leave_no_zombie_and_are_back_after_their_backoff() {
    let directory = run::directory("crowd");
    let (starts, go) = (directory.join("starts"), directory.join("go"));
    let command = script(
        &directory.join("crowd.sh"),
        &format!(
            "echo \"$LEVERET_PROCESS\" >> {}\n[ -e {} ] || exit 3\nexec sleep 1000\n",
            starts.display(),
            go.display()
        ),
    );
    let daemon = Daemon::start(&format!(
        "programs:\n  crowd:\n    command: {command}\n    processes: 200\n    backoff: {{initial: 2s, max: 4s}}\n"
    ));
    daemon.wait_program("crowd", "all of them ended once", LIMIT, |program| {
        let ended = status::processes(program).filter(|process| process["exit"] == "exit code 3").count();
        (ended == 200).then_some(())
    });
    daemon.wait_program("crowd", "some of them in their backoff", LIMIT, |program| {
        let waits = |process: &&serde_json::Value| {
            process["state"] == "backoff"
                && process["reason"].as_str().is_some_and(|reason| {
                    reason.contains("exit code 3") && reason.contains("starts again in")
                })
        };
        (status::processes(program).filter(waits).count() > 0).then_some(())
    });
    fs::write(&go, "").expect("the directory is ours");
    let before = daemon.wait_running("crowd");
    assert_eq!(daemon.zombies(), []);
    assert_each_start_is_known(&before, &starts);

    for pid in pids(&before).values() {
        assert!(proc::signal(*pid, Signal::KILL));
    }
    let after = daemon.wait_program("crowd", "all of them back", LIMIT, |program| {
        let (old, new) = (pids(&before), pids(program));
        let is_back = |process: &serde_json::Value| {
            process["state"] == "running"
                && process["exit"] == "killed by SIGKILL"
                && old[&id(process)] != new[&id(process)]
        };
        (new.len() == 200 && status::processes(program).all(is_back)).then(|| program.clone())
    });
    assert_eq!(daemon.zombies(), []);
    assert_each_start_is_known(&after, &starts);
}

/// What the processes wrote of their own starts is what Leveret says: nothing was started twice.
fn assert_each_start_is_known(program: &serde_json::Value, starts: &Path) {
    let mut recorded: BTreeMap<String, u64> = BTreeMap::new();
    for line in fs::read_to_string(starts).expect("they started").lines() {
        *recorded.entry(line.to_owned()).or_default() += 1;
    }
    let told =
        |process: &serde_json::Value| (id(process), process["restarts"].as_u64().expect("a number") + 1);
    assert_eq!(status::processes(program).map(told).collect::<BTreeMap<_, _>>(), recorded);
}

#[test]
fn a_stop_under_way_goes_on_with_the_next_controller() {
    let started = run::directory("stubborn").join("pids");
    let stubborn = victim(&format!("--ignore-term --pids {}", started.display()));
    let daemon = Daemon::start(&format!(
        "programs:\n  stubborn:\n    command: {stubborn}\n    stop: {{timeout: 4s}}\n"
    ));
    let main = wait_role(&started, "main");
    daemon.cli_exits(0, &["stop", "stubborn", "--no-wait"]);
    daemon.kill_controller();
    let process = daemon.wait_process("stubborn", "stopped");
    assert_eq!(text(&process, "exit"), "killed by SIGKILL");
    assert_eq!(Process::read(main), None);
    assert_eq!(fs::read_to_string(&started).expect("it started").lines().count(), 1, "and it stays stopped");
}

/// The pid that a process wrote beside its role.
fn wait_role(file: &Path, role: &str) -> i32 {
    wait_for(&format!("the pid of {role}"), LIMIT, || {
        let text = fs::read_to_string(file).ok()?;
        let line = text.split_inclusive('\n').find(|line| line.ends_with('\n') && line.starts_with(role))?;
        line.trim_end().strip_prefix(role)?.strip_prefix(' ')?.parse().ok()
    })
}

fn wait_work(file: &Path, wanted: &str) {
    wait_for_state("a piece of work", LIMIT, || {
        let found = fs::read_to_string(file).unwrap_or_default();
        if found == wanted { Ok(()) } else { Err(found) }
    });
}
