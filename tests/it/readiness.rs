//! Processes that say themselves how they are, over a socket.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::daemon::Daemon;
use crate::support::proc;
use crate::support::publish;
use crate::support::rabbit::Rabbit;
use crate::support::run::{self, script};
use crate::support::scaled::{Scaled, config};
use crate::support::status::{only_pid, processes, text};
use crate::support::wait::wait_for;

const LIMIT: Duration = Duration::from_secs(60);

/// A process that says whatever is in the files `say.1`, `say.2` and so on, as they appear, and tells by `said.N` that it did.
const TALKER: &str = r#"
import os, socket, sys, time
directory, number = sys.argv[1], 1
voice = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
while True:
    try:
        text = open(f"{directory}/say.{number}").read()
    except OSError:
        time.sleep(0.02)
        continue
    while True:
        try:
            voice.sendto(text.encode(), os.environ["NOTIFY_SOCKET"])
            break
        except OSError:
            time.sleep(0.02)
    open(f"{directory}/said.{number}", "w").close()
    number += 1
"#;

/// What to say, in order.
struct Talker {
    directory: PathBuf,
    number: u32,
}

impl Talker {
    fn new(name: &str) -> Self {
        let directory = run::directory(name);
        fs::write(directory.join("talker.py"), TALKER).expect("the directory is ours");
        Self { directory, number: 0 }
    }

    fn command(&self) -> String {
        let directory = self.directory.display();
        format!("python3 {directory}/talker.py {directory}")
    }

    fn say(&mut self, text: &str) {
        self.number += 1;
        let (new, file) = (self.directory.join("new"), self.directory.join(format!("say.{}", self.number)));
        fs::write(&new, text).expect("the directory is ours");
        fs::rename(&new, file).expect("the directory is ours");
        let said = self.directory.join(format!("said.{}", self.number));
        wait_for("the word to be said", LIMIT, || said.exists().then_some(()));
    }
}

fn says(program: &Value) -> Option<String> {
    processes(program).next()?["says"].as_str().map(str::to_owned)
}

fn wait_says(daemon: &Daemon, name: &str, said: &str) {
    daemon.wait_program(name, said, LIMIT, |program| (says(program).as_deref() == Some(said)).then_some(()));
}

#[test]
fn a_process_is_running_when_it_says_so_even_while_there_is_no_controller() {
    let mut talker = Talker::new("notify");
    let daemon = Daemon::start(&format!(
        "programs:
  database: {{command: {}, ready: {{notify: true, timeout: 10m}}}}
  web: {{command: sleep 1000, depends_on: [database]}}
",
        talker.command()
    ));
    talker.say("STATUS=loading 1 of 2\n");
    wait_says(&daemon, "database", "loading 1 of 2");
    let starting = daemon.wait_process("database", "starting");
    let reason = text(&starting, "reason");
    assert!(
        reason.starts_with("starting: waits until it says that it is ready (READY=1); stopped in "),
        "{reason}"
    );
    let series = "leveret_processes{program=\"database\",state=\"starting\"}";
    assert_eq!(daemon.metric(series), Some(1.0));
    assert_eq!(daemon.status()["ready"], false);
    assert_eq!(text(&daemon.program("web"), "reason"), "web: waits until database is ready");

    // The controller cannot hear it and is then killed.
    let controller = daemon.controller_pid();
    proc::signal(controller, Signal::STOP);
    talker.say("READY=1\nSTATUS=loaded");
    proc::signal(controller, Signal::KILL);
    daemon.wait_next_controller(controller);
    wait_says(&daemon, "database", "loaded");
    daemon.wait_running("database");
    daemon.wait_running("web");
    daemon.cli_exits(0, &["wait", "--ready", "database"]);

    let pid = only_pid(&daemon.program("database"));
    daemon.kill_controller();
    let database = daemon.wait_running("database");
    assert_eq!((only_pid(&database), says(&database).as_deref()), (pid, Some("loaded")), "{database:#}");
    talker.say("STOPPING=1");
    daemon.wait_program("database", "its word that it ends", LIMIT, |program| {
        (text(processes(program).next()?, "reason") == "says that it is about to end").then_some(())
    });
}

#[test]
fn one_that_was_taken_over_from_a_killed_keeper_is_still_heard() {
    let mut talker = Talker::new("taken-over");
    let mut daemon = Daemon::start(&format!(
        "programs: {{web: {{command: {}, ready: {{notify: true, timeout: 10m}}}}}}\n",
        talker.command()
    ));
    talker.say("READY=1");
    let pid = only_pid(&daemon.wait_running("web"));
    daemon.kill_keeper();
    daemon.start_again();
    talker.say("STATUS=here again");
    wait_says(&daemon, "web", "here again");
    let web = daemon.wait_running("web");
    assert_eq!(only_pid(&web), pid);

    daemon.cli_exits(0, &["stop", "web"]);
    let sockets = daemon.socket_path().with_file_name("notify");
    wait_for("the socket to be removed", LIMIT, || {
        fs::read_dir(&sockets).expect("it is there").next().is_none().then_some(())
    });
}

#[test]
fn a_process_that_is_not_ready_in_time_is_stopped_and_started_again_later() {
    let directory = run::directory("mute");
    let mute = script(&directory.join("mute.sh"), "trap 'exit 0' TERM\nwhile :; do sleep 0.05; done\n");
    let daemon = Daemon::start(&format!(
        "programs: {{web: {{command: {mute}, ready: {{notify: true, timeout: 1s}}, backoff: {{initial: 10m, max: 10m}}}}}}\n"
    ));
    let waiting = daemon.wait_process("web", "backoff");
    let reason = text(&waiting, "reason");
    assert!(reason.starts_with("was not ready in time; starts again in "), "{reason}");
    daemon.wait_output("web was not ready in time and is stopped to be started again", LIMIT);
    let explained = daemon.cli_exits(0, &["explain", "web"]);
    assert!(explained.contains("not ready in time"), "{explained}");
}

#[test]
fn a_program_of_another_user_can_say_that_it_is_ready() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let mut talker = Talker::new("other-user");
    let daemon = Daemon::start(&format!(
        "programs: {{web: {{command: {}, user: nobody, ready: {{notify: true, timeout: 10m}}}}}}\n",
        talker.command()
    ));
    // It says that it has said it by a file of its own.
    open_to_all(&talker.directory);
    talker.say("READY=1");
    daemon.wait_running("web");
}

/// A process that feeds its watchdog until a file says that it hangs. The next one of its slot feeds it for good.
const HANGS: &str = r#"
import os, socket, sys, time
assert os.environ["WATCHDOG_PID"] == str(os.getpid()) and os.environ["WATCHDOG_USEC"] == "5000000", os.environ
directory, path = sys.argv[1], os.environ["NOTIFY_SOCKET"]
voice = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
voice.sendto(b"READY=1", path)
while not os.path.exists(directory + "/hang"):
    voice.sendto(b"WATCHDOG=1", path)
    time.sleep(0.1)
os.remove(directory + "/hang")
time.sleep(1000)
"#;

#[test]
fn a_process_that_hangs_is_started_again() {
    let directory = run::directory("hangs");
    fs::write(directory.join("hangs.py"), HANGS).expect("the directory is ours");
    let shown = directory.display();
    let daemon = Daemon::start(&format!(
        "programs: {{web: {{command: python3 {shown}/hangs.py {shown}, ready: {{notify: true}}, watchdog: 5s}}}}\n"
    ));
    let pid = only_pid(&daemon.wait_running("web"));
    daemon.kill_controller();
    fs::write(directory.join("hang"), "").expect("the directory is ours");
    daemon.wait_program("web", "another process", LIMIT, |program| {
        let process = processes(program).next()?;
        (process["state"] == "running" && process["pid"] != pid).then_some(())
    });
    daemon.wait_output("web did not feed its watchdog in time and is stopped to be started again", LIMIT);
    let restarts = daemon.metric("leveret_process_restarts_total{program=\"web\",reason=\"watchdog\"}");
    assert_eq!(restarts, Some(1.0));
}

/// Consumers that do nothing but say how they are: the second one is busy.
const CONSUMER: &str = r#"
import os, signal, socket, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
busy = os.environ["LEVERET_SLOT"] == "1"
voice = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
voice.sendto(b"BUSY=%d" % busy, os.environ["NOTIFY_SOCKET"])
while True:
    time.sleep(1000)
"#;

#[test]
fn a_consumer_that_says_that_it_is_busy_stays_while_the_idle_ones_go() {
    let rabbit = Rabbit::shared();
    let url = rabbit.url();
    let file = run::directory("busy").join("consumer.py");
    fs::write(&file, CONSUMER).expect("the directory is ours");
    let program = Scaled::with_command("busy", &format!("python3 {}", file.display()), "wait: 1h, max: 4");
    publish::declare_queue(&url, &program.queue);
    let daemon = Daemon::start_with_environment(&config([&program]), &[("AMQP_URL", &url)]);
    daemon.cli_exits(0, &["scale", "busy", "3"]);
    let busy = |program: &Value| {
        let busy = |process: &Value| Some((process["slot"].as_u64()?, process["busy"].as_bool()?));
        processes(program).filter_map(busy).collect::<Vec<_>>()
    };
    let all = [(0, false), (1, true), (2, false)];
    daemon.wait_program("busy", "what they say", LIMIT, |program| (busy(program) == all).then_some(()));
    daemon.kill_controller();
    daemon.wait_program("busy", "what they said", LIMIT, |program| (busy(program) == all).then_some(()));
    let explained = daemon.cli_exits(0, &["explain", "busy"]);
    assert!(explained.contains("1 busy, 2 idle"), "{explained}");
    assert!(daemon.cli_exits(0, &["status"]).contains("running, busy"));

    daemon.cli_exits(0, &["scale", "busy", "1"]);
    daemon.wait_program("busy", "the busy one alone", LIMIT, |program| {
        (busy(program) == [(1, true)]).then_some(())
    });
    publish::delete_queue(&url, &program.queue);
}

fn open_to_all(directory: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(directory, fs::Permissions::from_mode(0o777)).expect("the directory is ours");
}

/// Takes four seconds to become ready and four to end, and asks for the time before it takes it.
const SLOW: &str = r#"
import os, signal, socket, sys, time
voice = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
say = lambda text: voice.sendto(text, os.environ["NOTIFY_SOCKET"])
def end(*_):
    say(b"EXTEND_TIMEOUT_USEC=60000000\nSTATUS=ending")
    time.sleep(4)
    os._exit(7)
signal.signal(signal.SIGTERM, end)
say(b"EXTEND_TIMEOUT_USEC=60000000\nSTATUS=beginning")
time.sleep(4)
say(b"READY=1\nSTATUS=here")
while True:
    signal.pause()
"#;

#[test]
fn who_asks_for_more_time_to_begin_and_to_end_gets_it_also_from_the_next_controller() {
    let directory = run::directory("slow");
    let program = directory.join("slow.py");
    fs::write(&program, SLOW).expect("the directory is ours");
    let daemon = Daemon::start(&format!(
        "programs:\n  slow: {{command: python3 {}, ready: {{notify: true, timeout: 2s}}, stop: {{timeout: 1s}}}}\n",
        program.display()
    ));
    wait_says(&daemon, "slow", "beginning");
    daemon.kill_controller();
    wait_says(&daemon, "slow", "here");
    assert_eq!(processes(&daemon.program("slow")).next().expect("there is one")["restarts"], 0);
    let answer = daemon.api_post("/api/v1/programs/slow/stop", "");
    assert_eq!(answer.status, 200, "{}", answer.body);
    wait_says(&daemon, "slow", "ending");
    daemon.kill_controller();
    let slow = daemon.wait_process("slow", "stopped");
    assert_eq!(text(&slow, "exit"), "exit code 7", "it was not killed");
}
