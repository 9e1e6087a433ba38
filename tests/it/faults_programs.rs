//! Programs that behave oddly: held by somebody, over before anybody has heard of them, without output, or with output
//! that others go on to write to.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::daemon::Daemon;
use crate::support::printers::Printers;
use crate::support::proc::{self, Process};
use crate::support::run::{self, script, victim};
use crate::support::status::{self, only_pid, text};
use crate::support::wait::{wait_for, wait_for_state};

const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn a_process_that_somebody_holds_is_let_go_by_its_stop_and_ends_as_it_would() {
    let directory = run::directory("held");
    let printed = directory.join("printed");
    let polite = victim(&format!("--print-until-term {} --rate 20 --term-exit-code 7", printed.display()));
    let stubborn = victim("--ignore-term");
    let daemon = Daemon::start(&format!(
        "programs:
  polite: {{command: {polite}, stop: {{timeout: 300s}}}}
  stubborn: {{command: {stubborn}, stop: {{timeout: 1s}}}}
  restarted: {{command: sleep 1000}}
"
    ));
    let held = ["polite", "stubborn", "restarted"].map(|name| only_pid(&daemon.wait_running(name)));
    wait_log(&daemon, "polite.0.log", |log| log.lines().count() > 3);
    for pid in held {
        proc::signal(pid, Signal::STOP);
        wait_for("it is held", LIMIT, || (Process::read(pid)?.state == 'T').then_some(()));
    }
    daemon.cli_exits(0, &["stop", "polite", "stubborn"]);
    assert_eq!(text(&daemon.wait_process("polite", "stopped"), "exit"), "exit code 7");
    let count: usize = fs::read_to_string(&printed).expect("it wrote").trim_end().parse().expect("a number");
    let lines: String = (1..=count).map(|number| format!("line {number}\n")).collect();
    wait_log(&daemon, "polite.0.log", |log| log == lines);
    assert_eq!(text(&daemon.wait_process("stubborn", "stopped"), "exit"), "killed by SIGKILL");
    daemon.cli_exits(0, &["restart", "restarted"]);
    assert_ne!(only_pid(&daemon.wait_running("restarted")), held[2]);
    assert_eq!(held.map(Process::read), [None, None, None]);
}

const BRIEF: usize = 60;

#[test]
fn what_is_over_before_anybody_has_heard_of_it_is_known_with_its_exit_code_and_not_started_again() {
    let printers = Printers::new(1);
    let brief = printers.other_command("brief.sh", "echo gone\nexit $((40 + LEVERET_SLOT))");
    let daemon = Daemon::start(&format!(
        "programs:\n  brief: {{command: {brief}, processes: {BRIEF}, restart: never, autostart: false}}\n"
    ));
    for round in 1..=3 {
        daemon.cli_exits(0, &["start", "brief", "--no-wait"]);
        // With half of them begun the controller is held, so that it hears of none of the others, and then killed.
        let begun = || printers.begun() + BRIEF >= round * BRIEF + BRIEF / 2;
        wait_for("the first of them", LIMIT, || begun().then_some(()));
        let controller = daemon.controller_pid();
        proc::signal(controller, Signal::STOP);
        wait_for("the controller held", LIMIT, || (Process::read(controller)?.state == 'T').then_some(()));
        daemon.kill_controller();
        let program = daemon.wait_program("brief", "all of them over", LIMIT, |program| {
            let is_over = |process: &Value| process["state"] == "exited";
            status::processes(program).all(is_over).then(|| program.clone())
        });
        for (slot, process) in status::processes(&program).enumerate() {
            assert_eq!(text(process, "exit"), format!("exit code {}", 40 + slot), "{process}");
        }
        assert_eq!(printers.begun(), round * BRIEF, "each was started once a round");
    }
    for slot in 0..BRIEF {
        wait_log(&daemon, &format!("brief.{slot}.log"), |log| log == "gone\n".repeat(3));
    }
    assert_eq!(daemon.zombies(), []);
}

#[test]
fn a_process_that_closes_its_output_runs_and_ends_like_any_other() {
    let directory = run::directory("closed");
    let command = victim(&format!("--close-stdout --pids {}", directory.join("pids").display()));
    let command =
        script(&directory.join("closed.sh"), &format!("echo before\nexec {command} --term-exit-code 5\n"));
    let daemon = Daemon::start(&format!("programs:\n  closed: {{command: {command}}}\n"));
    wait_log(&daemon, "closed.0.log", |log| log == "before\n");
    let first = wait_main(&directory.join("pids"), 1);
    wait_for("its output closed", LIMIT, || {
        fs::read_link(format!("/proc/{first}/fd/1")).is_err().then_some(())
    });
    daemon.cli_exits(0, &["restart", "closed"]);
    wait_main(&directory.join("pids"), 2);
    wait_log(&daemon, "closed.0.log", |log| log == "before\nbefore\n");
    daemon.cli_exits(0, &["stop", "closed"]);
    assert_eq!(text(&daemon.wait_process("closed", "stopped"), "exit"), "exit code 5");
    wait_no_pipes(&daemon);
}

#[test]
fn what_a_grandchild_prints_after_its_leader_is_in_the_log_before_the_next_life_begins() {
    let directory = run::directory("leak");
    let release = directory.join("release");
    // The grandchild takes its stop signal, and speaks when it is let go.
    let grandchild = script(
        &directory.join("grandchild.sh"),
        &format!(
            "trap 'echo asked to stop' TERM\necho there\nwhile [ ! -e {} ]; do sleep 0.05; done\necho last words\n",
            release.display()
        ),
    );
    let leader = script(
        &directory.join("leader.sh"),
        &format!(
            "echo begin\n[ -e {} ] && exec sleep 1000\n{grandchild} &\nread -r never < {}\n",
            release.display(),
            gate(&directory).display()
        ),
    );
    let daemon = Daemon::start(&format!(
        "programs:\n  leak: {{command: {leader}, stop: {{timeout: 300s}}, backoff: {{initial: 0s}}}}\n"
    ));
    let leader = only_pid(&daemon.wait_running("leak"));
    wait_log(&daemon, "leak.0.log", |log| log == "begin\nthere\n");
    proc::signal(leader, Signal::KILL);
    wait_log(&daemon, "leak.0.log", |log| log == "begin\nthere\nasked to stop\n");
    fs::write(&release, "").expect("the directory is ours");
    wait_log(&daemon, "leak.0.log", |log| log == "begin\nthere\nasked to stop\nlast words\nbegin\n");
    daemon.cli_exits(0, &["stop", "leak"]);
    wait_no_pipes(&daemon);
}

#[test]
fn a_daemon_that_hides_from_its_program_is_left_alone_and_holds_nothing_up() {
    let directory = run::directory("daemon");
    let pids = directory.join("pids");
    let command = victim(&format!(
        "--daemonize --pids {} --print-lines 3 --exit-after 0.5 --exit-code 3",
        pids.display()
    ));
    let daemon = Daemon::start(&format!("programs:\n  forks: {{command: {command}, restart: never}}\n"));
    let process = daemon.wait_process("forks", "exited");
    assert_eq!(text(&process, "exit"), "exit code 3");
    let hidden = wait_role(&pids, "daemon", 1);
    let hidden = Hidden(hidden);
    wait_log(&daemon, "forks.0.log", |log| log == "line 1\nline 2\nline 3\n");
    wait_no_pipes(&daemon);
    // It left the session, its parent and its environment: nothing proves whose it is, so nobody touches it.
    daemon.cli_exits(0, &["start", "forks", "--no-wait"]);
    wait_log(&daemon, "forks.0.log", |log| log.lines().count() == 6);
    daemon.wait_process("forks", "exited");
    let second = Hidden(wait_role(&pids, "daemon", 2));
    for hidden in [&hidden, &second] {
        assert!(Process::read(hidden.0).is_some_and(|process| !process.is_zombie()));
        assert_eq!(Process::read(hidden.0).map(|process| process.parent), Some(daemon.keeper_pid()));
    }
    drop((hidden, second));
    wait_for("it is reaped when it ends", LIMIT, || daemon.zombies().is_empty().then_some(()));
}

/// A process that no mark of the run is found on.
struct Hidden(i32);

impl Drop for Hidden {
    fn drop(&mut self) {
        proc::signal(self.0, Signal::KILL);
    }
}

/// A named pipe that nobody writes to.
fn gate(directory: &Path) -> PathBuf {
    let gate = directory.join("gate");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &gate,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o666),
        0,
    )
    .expect("a named pipe can be made");
    gate
}

/// The pid of the main process of this life, counted from 1.
fn wait_main(file: &Path, life: usize) -> i32 {
    wait_role(file, "main", life)
}

fn wait_role(file: &Path, role: &str, count: usize) -> i32 {
    wait_for(&format!("{role} {count}"), LIMIT, || {
        let text = fs::read_to_string(file).ok()?;
        let mut pids = text.lines().filter_map(|line| line.strip_prefix(role)?.strip_prefix(' '));
        pids.nth(count - 1)?.parse().ok()
    })
}

fn wait_log(daemon: &Daemon, name: &str, is_wanted: impl Fn(&str) -> bool) {
    let path = daemon.logs_directory().join(name);
    wait_for_state(&format!("what is wanted in {name}"), LIMIT, || {
        // What a shell says of the one that it waited for is no word of the test's.
        let text = fs::read_to_string(&path).unwrap_or_default().replace("Terminated\n", "");
        if is_wanted(&text) { Ok(()) } else { Err(text) }
    });
}

/// Waits until no life has a pipe any more.
fn wait_no_pipes(daemon: &Daemon) {
    let pipes = daemon.directory().join("run/pipes");
    wait_for_state("no pipe left", LIMIT, || {
        let left: Vec<_> = fs::read_dir(&pipes)
            .expect("it is there")
            .map(|entry| entry.expect("it can be read").file_name())
            .collect();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    });
}
