//! Processes that are looked at from outside: over HTTP and TCP, and by commands.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::daemon::Daemon;
use crate::support::port::ReservedPort;
use crate::support::proc;
use crate::support::run;
use crate::support::status::{only_pid, processes};
use crate::support::wait::wait_for;

const LIMIT: Duration = Duration::from_secs(60);

/// A server that answers 200 while there is a file `well` in its directory, and 503 otherwise.
const SERVER: &str = r#"
import http.server, os, sys
well = os.path.join(sys.argv[1], "well")
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if os.path.exists(well) else 503)
        self.end_headers()
    def log_message(self, *arguments):
        pass
http.server.ThreadingHTTPServer((sys.argv[2], int(sys.argv[3])), Handler).serve_forever()
"#;

/// A directory with a server in it, and a port for that.
struct Server {
    directory: PathBuf,
    port: ReservedPort,
}

impl Server {
    fn new(name: &str) -> Self {
        let (directory, port) = (run::directory(name), ReservedPort::reserve());
        fs::write(directory.join("server.py"), SERVER).expect("the directory is ours");
        Self { directory, port }
    }

    fn command(&self) -> String {
        let directory = self.directory.display();
        format!("python3 {directory}/server.py {directory} 127.0.0.1 {}", self.port.number())
    }

    fn is_well(&self, is_well: bool) {
        let file = self.directory.join("well");
        if is_well {
            fs::write(&file, "").expect("the directory is ours");
        } else {
            fs::remove_file(&file).expect("it is there");
        }
    }
}

fn wait_reason(daemon: &Daemon, program: &str, begins: &str) {
    daemon.wait_program(program, "what is wrong with it", LIMIT, |program| {
        processes(program).next()?["reason"].as_str()?.starts_with(begins).then_some(())
    });
}

#[test]
fn a_server_is_running_when_it_answers_well_whoever_of_the_controllers_looks() {
    let server = Server::new("ready-server");
    let (command, port) = (server.command(), server.port.number());
    let daemon = Daemon::start(&format!(
        "programs:
  web:
    command: {command}
    ready: {{http: 'http://127.0.0.1:{port}/health', interval: 100ms, timeout: 10m}}
  next: {{command: sleep 1000, depends_on: [web]}}
  door: {{command: sleep 1000, ready: {{tcp: 'localhost:{port}', timeout: 10m}}}}
"
    ));
    let unwell =
        format!("not ready: http://127.0.0.1:{port}/health answered 503 Service Unavailable; stopped in ");
    wait_reason(&daemon, "web", &unwell);
    daemon.wait_running("door");
    daemon.kill_controller();
    wait_reason(&daemon, "web", &unwell);
    assert_eq!(daemon.program("next")["running"], 0);
    server.is_well(true);
    let pid = only_pid(&daemon.wait_running("web"));
    daemon.wait_running("next");

    server.is_well(false);
    daemon.kill_controller();
    let web = daemon.wait_running("web");
    assert_eq!((only_pid(&web), &web["processes"][0]["restarts"]), (pid, &Value::from(0)), "once is enough");
}

#[test]
fn each_process_is_looked_at_where_it_is_and_a_reload_changes_where() {
    let server = Server::new("own-port");
    server.is_well(true);
    let (directory, port) = (server.directory.display(), server.port.number());
    let command = format!("python3 {directory}/server.py {directory} 127.0.0.1$LEVERET_SLOT {port}");
    let configuration = |address: &str| {
        format!(
            "programs:
  web: {{command: {command}, shell: true, processes: 2, ready: {{http: 'http://{address}', interval: 100ms, timeout: 10m}}}}
"
        )
    };
    let daemon = Daemon::start(&configuration(&format!("127.0.0.2${{LEVERET_SLOT}}:{port}/")));
    let refused = format!("not ready: http://127.0.0.21:{port}/: ");
    daemon.wait_program("web", "what is wrong with the second one", LIMIT, |program| {
        processes(program).nth(1)?["reason"].as_str()?.starts_with(&refused).then_some(())
    });
    daemon.write_config(&configuration(&format!("127.0.0.1${{LEVERET_SLOT}}:{port}/")));
    let planned = daemon.cli_exits(0, &["reload", "--plan"]);
    assert!(planned.contains("in place") && planned.contains("ready.http"), "{planned}");
    daemon.cli_exits(0, &["reload"]);
    daemon.wait_running("web");
}

#[test]
fn one_that_fails_its_health_checks_is_started_again_and_one_that_recovers_is_not() {
    let server = Server::new("unhealthy");
    server.is_well(true);
    let (command, port) = (server.command(), server.port.number());
    let daemon = Daemon::start(&format!(
        "programs:
  web:
    command: {command}
    ready: {{tcp: '127.0.0.1:{port}'}}
    health: {{http: 'http://127.0.0.1:{port}/', interval: 1s, failures: 4}}
    backoff: {{initial: 10m, max: 10m}}
"
    ));
    let pid = only_pid(&daemon.wait_running("web"));
    server.is_well(false);
    wait_reason(&daemon, "web", "failed 1 of 4 health checks in a row: ");
    server.is_well(true);
    daemon.wait_program("web", "nothing wrong with it", LIMIT, |program| {
        processes(program).next()?["reason"].is_null().then_some(())
    });
    assert_eq!(only_pid(&daemon.program("web")), pid);
    server.is_well(false);
    daemon.wait_process("web", "backoff");
    let found =
        format!("failed its health checks (http://127.0.0.1:{port}/ answered 503 Service Unavailable)");
    wait_reason(&daemon, "web", &format!("{found}; starts again in "));
    daemon.wait_output(&format!("web {found} and is stopped to be started again"), LIMIT);
    let explained = daemon.cli_exits(0, &["explain", "web"]);
    assert!(explained.contains("health checks"), "{explained}");
    server.is_well(true);
    daemon.cli_exits(0, &["start", "web"]);
    let web = daemon.wait_running("web");
    assert_ne!(only_pid(&web), pid);
    let restarts = daemon.metric("leveret_process_restarts_total{program=\"web\",reason=\"unhealthy\"}");
    assert_eq!(restarts, Some(1.0));
}

/// Says how it was run, and is well while there is a file.
const CHECK: &str = r#"
seq 1 30000
echo "$LEVERET_PROGRAM $LEVERET_PROCESS $LEVERET_SLOT $KIND in $(basename "$PWD") of $1"
echo
test -e well
"#;

#[test]
fn a_command_tells_that_a_process_is_ready_and_that_it_is_well() {
    let directory = run::directory("command");
    let check = run::script(&directory.join("check.sh"), CHECK);
    let shown = directory.display();
    let daemon = Daemon::start(&format!(
        "programs:
  web:
    command: sleep 1000
    processes: 2
    directory: {shown}
    environment: {{KIND: own}}
    ready: {{command: '{check} slot-${{LEVERET_SLOT}}', interval: 100ms, timeout: 10m}}
    health: {{command: {check}, interval: 1s, failures: 2}}
    backoff: {{initial: 10m, max: 10m}}
"
    ));
    let name = directory.file_name().expect("it has one").to_string_lossy();
    let unwell = |slot: u32| {
        format!(
            "not ready: its check ended with exit code 1: web web:{slot} {slot} own in {name} of slot-{slot}; stopped in "
        )
    };
    for slot in [0, 1] {
        daemon.wait_program("web", "what is wrong", LIMIT, |program| {
            let reason = processes(program).nth(slot as usize)?["reason"].as_str()?.to_owned();
            reason.starts_with(&unwell(slot)).then_some(())
        });
    }
    daemon.kill_controller();
    fs::write(directory.join("well"), "").expect("the directory is ours");
    daemon.wait_running("web");
    fs::remove_file(directory.join("well")).expect("it is there");
    for process in ["web:0", "web:1"] {
        daemon.wait_process(process, "backoff");
    }
    let explained = daemon.cli_exits(0, &["explain", "web"]);
    assert!(explained.contains("health checks"), "{explained}");
}

#[test]
fn a_command_that_does_not_end_in_time_is_killed_with_all_that_it_started() {
    let directory = run::directory("slow-check");
    let slow = run::script(&directory.join("check.sh"), "sleep 5432 &\nsleep 5432\n");
    let mut daemon = Daemon::start(&format!(
        "programs:
  web:
    command: sleep 1000
    health: {{command: {slow}, interval: 1s, timeout: 1s, failures: 1000}}
"
    ));
    daemon.wait_program("web", "a check that takes too long", LIMIT, |program| {
        let reason = processes(program).next()?["reason"].as_str()?.to_owned();
        reason.ends_with(" of 1000 health checks in a row: its check did not end within 1s").then_some(())
    });
    daemon.cli_exits(0, &["stop", "web"]);
    wait_for("the checks to be gone", LIMIT, || {
        let checks = daemon.processes().into_iter().filter(|process| process.command_line.contains("5432"));
        (checks.count() == 0).then_some(())
    });
    daemon.shut_down();
    daemon.assert_nothing_left();
}

#[test]
fn a_process_is_ready_when_it_prints_so_also_while_there_is_no_controller() {
    let directory = run::directory("prints");
    let gate = directory.join("gate");
    let shown = gate.display();
    let text = format!(
        "echo starting\nwhile ! test -e {shown}; do sleep 0.05; done\necho listening on port 80\nexec sleep 1000\n"
    );
    let server = run::script(&directory.join("server.sh"), &text);
    let mut daemon = Daemon::start(&format!(
        "programs:
  web: {{command: {server}, processes: 2, ready: {{log: '^listening on port \\d+$', timeout: 10m}}}}
  lines: {{command: {server}, log: {{format: json}}, ready: {{log: listening, timeout: 10m}}}}
"
    ));
    wait_reason(
        &daemon,
        "web",
        "starting: waits until it prints what matches \"^listening on port \\d+$\"; stopped in ",
    );
    daemon.kill_controller();
    wait_reason(&daemon, "web", "starting: waits until it prints");
    let controller = daemon.controller_pid();
    proc::signal(controller, Signal::STOP);
    fs::write(&gate, "").expect("the directory is ours");
    proc::signal(controller, Signal::KILL);
    daemon.wait_next_controller(controller);
    let pid = only_pid(&daemon.wait_running("lines"));
    daemon.wait_running("web");
    daemon.kill_controller();
    daemon.wait_running("web");
    daemon.kill_keeper();
    daemon.start_again();
    daemon.wait_running("web");
    assert_eq!(only_pid(&daemon.wait_running("lines")), pid);
    let log = fs::read_to_string(daemon.logs_directory().join("web.1.log")).expect("it has printed");
    assert_eq!(log, "starting\nlistening on port 80\n");
}
