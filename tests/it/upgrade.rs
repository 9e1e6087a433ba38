//! Another version takes over while everything runs: the programs, their output, their exits and whoever asks over HTTP
//! do not notice; and what cannot take over is refused before anything depends on it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::command::wait_for_exit;
use crate::support::daemon::Daemon;
use crate::support::http::{self, Request};
use crate::support::printers::{Printers, log, printed};
use crate::support::proc;
use crate::support::run::{self, script, victim};
use crate::support::status::{self, id, only_pid, pids, text};
use crate::support::wait::{wait_for, wait_for_state};

const LIMIT: Duration = Duration::from_secs(120);

const UPGRADES: usize = 20;
const PRINTERS: usize = 22;
const HANDS: usize = 3;
const LOOPERS: usize = 4;
/// With one mortal for each upgrade and the phoenix.
const PROCESSES: usize = PRINTERS + UPGRADES + HANDS + LOOPERS + 1;
const LINES_PER_SECOND: usize = 10;

#[test]
fn twenty_upgrades_under_load_cost_no_process_no_line_no_exit_and_no_request() {
    assert_eq!(PROCESSES, 50);
    let stage = Stage::start();
    let daemon = &stage.daemon;
    let printers = pids(&daemon.wait_running("printer"));
    let mortals = pids(&daemon.wait_running("mortal"));
    for program in ["phoenix", "hand"] {
        daemon.wait_running(program);
    }
    let keeper = daemon.keeper_pid();
    let load = Load::default();
    std::thread::scope(|scope| {
        // However this ends, the askers must.
        let _end = EndOfLoad(&load);
        let askers: [Asker; 3] = [ask_status_over_tcp, ask_health_over_tcp, ask_status_over_the_socket];
        for asker in askers {
            let load = &load;
            scope.spawn(move || load.ask_until_the_end(|| asker(daemon)));
        }
        for round in 0..UPGRADES {
            stage.wait_lines(LINES_PER_SECOND / 2);
            let controller = daemon.controller_pid();
            let asked = load.answers.load(Ordering::Relaxed);
            let phoenix = only_pid(&daemon.wait_running("phoenix"));
            let hand = format!("hand:{}", round % HANDS);
            let stopping = stage.begin(&["stop", &hand]);
            let upgrading = stage.begin(&["upgrade"]);
            assert!(proc::signal(mortals[&format!("mortal:{round}")], Signal::TERM));
            assert!(proc::signal(phoenix, Signal::KILL));
            upgrading.succeed();
            stopping.succeed();
            assert_ne!(daemon.controller_pid(), controller);
            assert_eq!(daemon.keeper_pid(), keeper);
            assert_eq!(pids(&daemon.program("printer")), printers, "the same processes");
            daemon.cli_exits(0, &["start", &hand]);
            wait_for("further answers", LIMIT, || {
                (load.answers.load(Ordering::Relaxed) > asked + 10).then_some(())
            });
        }
    });
    load.assert_every_request_was_answered();
    let status = daemon.status();
    assert_eq!(status["upgrade"]["number"], UPGRADES);

    stage.assert_exits_are_known();
    daemon.cli_exits(0, &["stop", "all"]);
    stage.assert_nothing_was_started_twice();
    stage.assert_no_line_is_missing_or_doubled();
}

/// Requests, one after the other, each on a connection of its own.
#[derive(Default)]
struct Load {
    is_over: AtomicBool,
    answers: AtomicU64,
    failures: std::sync::Mutex<Vec<String>>,
}

type Asker = fn(&Daemon) -> std::io::Result<http::Response>;

struct EndOfLoad<'a>(&'a Load);

impl Drop for EndOfLoad<'_> {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::Relaxed);
    }
}

impl Load {
    #[expect(clippy::disallowed_methods, reason = "the pace of the load, which nothing waits for")]
    fn ask_until_the_end(&self, ask: impl Fn() -> std::io::Result<http::Response>) {
        while !self.is_over.load(Ordering::Relaxed) {
            match ask() {
                Ok(response) if response.status == 200 => drop(self.answers.fetch_add(1, Ordering::Relaxed)),
                other => self.failures.lock().expect("nobody panics with it").push(format!("{other:?}")),
            }
            // All the time, but not so that nobody else gets to run.
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn assert_every_request_was_answered(&self) {
        let failures = self.failures.lock().expect("nobody panics with it");
        let answers = self.answers.load(Ordering::Relaxed);
        assert!(failures.is_empty(), "{} beside {answers} answers: {failures:#?}", failures.len());
    }
}

fn ask_status_over_tcp(daemon: &Daemon) -> std::io::Result<http::Response> {
    ask_over_tcp(daemon, "/api/v1/status")
}

fn ask_health_over_tcp(daemon: &Daemon) -> std::io::Result<http::Response> {
    ask_over_tcp(daemon, "/healthz")
}

fn ask_over_tcp(daemon: &Daemon, path: &str) -> std::io::Result<http::Response> {
    let host = format!("127.0.0.1:{}", daemon.port());
    http::send_tcp(daemon.port(), Request { method: "GET", path, headers: &[("Host", &host)], body: "" })
}

fn ask_status_over_the_socket(daemon: &Daemon) -> std::io::Result<http::Response> {
    let headers = [("Host", "localhost")];
    let request = Request { method: "GET", path: "/api/v1/status", headers: &headers, body: "" };
    http::send_unix(&daemon.socket_path(), request)
}

/// A command that goes on beside the test.
struct Begun {
    what: String,
    child: Child,
    output: PathBuf,
}

impl Begun {
    fn succeed(mut self) -> String {
        let status = wait_for_exit(&self.what, &mut self.child, LIMIT);
        let output = fs::read_to_string(&self.output).expect("the directory is ours");
        assert!(status.success(), "{}: {status}: {output}", self.what);
        output
    }
}

struct Stage {
    daemon: Daemon,
    printers: Printers,
}

impl Stage {
    fn start() -> Self {
        let printers = Printers::new(LINES_PER_SECOND);
        let command = printers.command();
        let looper = printers.other_command("loop.sh", "sleep 0.3\nexit 3");
        let daemon = Daemon::start_from_a_link(&format!(
            "programs:
  printer: {{command: {command}, processes: {PRINTERS}}}
  mortal: {{command: {command}, processes: {UPGRADES}, restart: never}}
  hand: {{command: {command}, processes: {HANDS}}}
  phoenix: {{command: {command}, backoff: {{initial: 0s}}}}
  looper: {{command: {looper}, processes: {LOOPERS}, backoff: {{initial: 0s}}}}
"
        ));
        Self { daemon, printers }
    }

    fn begin(&self, arguments: &[&str]) -> Begun {
        let output = run::directory("begun").join("output");
        let file = fs::File::create(&output).expect("the directory is ours");
        let both = file.try_clone().expect("a descriptor can be duplicated");
        let child = self.daemon.cli_command(arguments).stdout(file).stderr(both).spawn().expect("it starts");
        Begun { what: format!("leveret {arguments:?}"), child, output }
    }

    /// Waits until every printer has printed so many more lines.
    fn wait_lines(&self, more: usize) {
        let count = |slot: usize| log(&self.daemon, &format!("printer:{slot}")).lines().count();
        let before: Vec<usize> = (0..PRINTERS).map(count).collect();
        wait_for_state("more lines of everybody", LIMIT, || {
            let late: Vec<usize> = (0..PRINTERS).filter(|slot| count(*slot) < before[*slot] + more).collect();
            if late.is_empty() { Ok(()) } else { Err(format!("nothing yet of {late:?}")) }
        });
    }

    fn assert_exits_are_known(&self) {
        let process = |program: &str, name: &str| -> Value {
            let program = self.daemon.program(program);
            status::processes(&program).find(|process| id(process) == name).expect("it is shown").clone()
        };
        for round in 0..UPGRADES {
            let process = process("mortal", &format!("mortal:{round}"));
            let expected = format!("exit code {}", 10 + round);
            assert_eq!((text(&process, "state"), text(&process, "exit")), ("exited", &*expected));
        }
        let phoenix = self.daemon.wait_running("phoenix");
        let phoenix = status::processes(&phoenix).next().expect("it has one");
        assert_eq!(
            (text(phoenix, "exit"), &phoenix["restarts"]),
            ("killed by SIGKILL", &Value::from(UPGRADES))
        );
        for slot in 0..LOOPERS {
            assert_eq!(text(&process("looper", &format!("looper:{slot}")), "exit"), "exit code 3");
        }
    }

    fn assert_nothing_was_started_twice(&self) {
        let starts = self.printers.lives();
        let mut restarts = 0;
        for slot in 0..HANDS {
            restarts += starts[&format!("hand:{slot}")].len() - 1;
        }
        assert_eq!(restarts, UPGRADES, "each was started again once for each stop");
        for (process, lives) in &starts {
            let expected = match process.split(':').next().expect("a split has a first part") {
                "printer" | "mortal" => 1,
                "phoenix" => UPGRADES + 1,
                _ => continue,
            };
            assert_eq!(lives.len(), expected, "{process}: {lives:?}");
        }
        // Every end of a looper was counted once: it was started as often as it ended, and once more.
        let looper = self.daemon.program("looper");
        for process in status::processes(&looper) {
            let (id, restarts) = (id(process), process["restarts"].as_u64().expect("a number"));
            assert_eq!(starts[&id].len() as u64, restarts + 1, "{id}");
            assert!(restarts > UPGRADES as u64 / 4, "{id} was at work: {restarts}");
        }
    }

    fn assert_no_line_is_missing_or_doubled(&self) {
        let starts = self.printers.lives();
        for slot in 0..PRINTERS {
            self.assert_lines(&format!("printer:{slot}"), 1);
        }
        for slot in 0..UPGRADES {
            self.assert_lines(&format!("mortal:{slot}"), 1);
        }
        self.assert_lines("phoenix:0", UPGRADES + 1);
        for slot in 0..HANDS {
            let hand = format!("hand:{slot}");
            self.assert_lines(&hand, starts[&hand].len());
        }
    }

    /// Every life counts from 1 without a gap, and those that could say so themselves as far as they say.
    fn assert_lines(&self, process: &str, lives: usize) {
        let (ends, said) = (printed(&self.daemon, process), self.printers.said(process));
        assert_eq!(ends.len(), lives, "{process}: {ends:?}");
        if process == "phoenix:0" {
            assert_eq!(ends.last(), said.last(), "{process}: all but the last life were killed");
        } else {
            assert_eq!(ends, said, "{process}");
        }
    }
}

#[test]
fn the_same_binary_takes_over_by_command_and_by_signal() {
    let daemon = Daemon::start_from_a_link("programs:\n  web: {command: sleep 1000, processes: 3}\n");
    let before = pids(&daemon.wait_running("web"));
    let said = daemon.cli_exits(0, &["upgrade"]);
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(said, format!("upgraded from {version} to {version}, 3 processes unchanged\n"));
    daemon.signal(Signal::USR2);
    daemon.wait_status("the second upgrade done", LIMIT, |status| {
        let upgrade = &status["upgrade"];
        (upgrade["number"] == 2).then(|| upgrade["state"]["done"].as_str().map(drop))?
    });
    assert_eq!(pids(&daemon.program("web")), before);
    daemon.kill_controller();
    assert_eq!(pids(&daemon.program("web")), before);
}

#[test]
fn what_is_under_way_goes_on_after_an_upgrade() {
    let directory = run::directory("under-way");
    let leaver = script(&directory.join("leaver.sh"), "trap '' TERM\nsleep 1001 &\nexec sleep 1000\n");
    let yaml = format!(
        "programs:
  adopted: {{command: sleep 1000, backoff: {{initial: 0s}}}}
  leaver: {{command: {leaver}, stop: {{timeout: 3s}}, restart: never}}
  stubborn: {{command: {}, stop: {{timeout: 3s}}}}
",
        victim("--ignore-term")
    );
    let mut daemon = Daemon::start_from_a_link(&yaml);
    let adopted = only_pid(&daemon.wait_running("adopted"));
    daemon.wait_running("leaver");
    daemon.wait_running("stubborn");
    daemon.kill_keeper();
    daemon.start_again();
    let leaver = only_pid(&daemon.wait_running("leaver"));
    // The leader goes and leaves one that ignores the signal that it now gets.
    assert!(proc::signal(leaver, Signal::KILL));
    daemon.wait_process("leaver", "stopping");
    daemon.cli_exits(0, &["stop", "stubborn", "--no-wait"]);
    daemon.cli_exits(0, &["upgrade"]);
    assert_eq!(only_pid(&daemon.program("adopted")), adopted);
    daemon.wait_process("leaver", "exited");
    daemon.wait_process("stubborn", "stopped");
    assert!(proc::signal(adopted, Signal::TERM));
    daemon.wait_program("adopted", "another one running", LIMIT, |program| {
        pids(program).values().next().filter(|pid| **pid != adopted).map(drop)
    });
    daemon.cli_exits(0, &["stop", "all"]);
}

/// A script in the place of the binary. `$1` is the role, and `$LEVERET` the binary under test.
fn impostor(daemon: &Daemon, name: &str, text: &str) -> PathBuf {
    let path = daemon.directory().join(name);
    let real = Daemon::BINARY;
    fs::write(&path, format!("#!/bin/sh\nLEVERET={real}\n{text}\nexec $LEVERET \"$@\"\n"))
        .expect("it is ours");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it is ours");
    path
}

#[test]
fn what_cannot_take_over_is_refused_and_the_old_version_goes_on() {
    let daemon = Daemon::start_from_a_link("programs:\n  web: {command: sleep 1000}\n");
    let before = pids(&daemon.wait_running("web"));
    let refused = |binary: &Path, why: &str| {
        daemon.point_binary_to(binary);
        let said = daemon.cli_exits(1, &["upgrade"]);
        assert!(said.contains("not upgraded: ") && said.contains(why), "{why:?} is not in {said}");
        assert!(said.ends_with(&format!("; {} goes on unchanged\n", env!("CARGO_PKG_VERSION"))), "{said}");
        assert_eq!(pids(&daemon.program("web")), before);
    };
    refused(Path::new("/nonexistent/leveret"), "No such file or directory");
    refused(Path::new("/bin/true"), "does not run as Leveret: it ended with exit code 0 and said nothing");
    let broken = impostor(&daemon, "broken", "echo 'cannot load libfoo.so' >&2; exit 127");
    refused(&broken, "does not run as Leveret: it ended with exit code 127 and said: cannot load libfoo.so");
    let altered = |name: &str, from: &str, to: &str| {
        let text = format!("[ \"$1\" = __preflight ] && {{ $LEVERET \"$@\" | sed 's/{from}/{to}/'; exit; }}");
        impostor(&daemon, name, &text)
    };
    refused(
        &altered("foreign", "\"protocol\":[0-9]*", "\"protocol\":99"),
        "speaks version 99 of the protocol, the one that runs speaks 1",
    );
    refused(
        &altered("later", "\"handover\":[0-9]*", "\"handover\":7"),
        "takes over version 7 of the keeper's state",
    );
    let stillborn = impostor(&daemon, "stillborn", "[ \"$1\" = __controller ] && exit 3");
    refused(&stillborn, "the controller of the new version ended with exit code 3 before it was up");
    let vanishing = impostor(&daemon, "vanishing", "[ \"$1\" = __controller ] && chmod -x \"$0\"");
    refused(&vanishing, "cannot be run: Permission denied");

    let state = daemon.directory().join("state/state.json");
    daemon.point_binary_to(Path::new(Daemon::BINARY));
    daemon.write_config("programs:\n  web: {comand: sleep 1000}\n");
    refused(Path::new(Daemon::BINARY), "it does not accept the configuration");
    daemon.write_config("programs:\n  web: {command: sleep 1000}\n");
    // A state of another version lies in a directory of its own, because the running controller writes to its own one.
    let own = wait_for("the state", LIMIT, || fs::read_to_string(&state).ok());
    let other = daemon.directory().join("other");
    fs::create_dir(&other).expect("it is ours");
    fs::write(other.join("state.json"), own.replace("\"version\":1", "\"version\":99")).expect("it is ours");
    let yaml = format!("state_dir: {}\nprograms: {{web: {{command: sleep 1000}}}}\n", other.display());
    fs::write(other.join("leveret.yaml"), yaml).expect("it is ours");
    let elsewhere =
        format!("[ \"$1\" = __preflight ] && exec $LEVERET __preflight {}/leveret.yaml", other.display());
    refused(&impostor(&daemon, "elsewhere", &elsewhere), "it is of version 99, and this Leveret knows 1");

    let next = impostor(&daemon, "next", "");
    daemon.point_binary_to(&next);
    assert!(daemon.cli_exits(0, &["upgrade"]).contains("1 process unchanged"));
    assert_eq!(pids(&daemon.program("web")), before);
}
