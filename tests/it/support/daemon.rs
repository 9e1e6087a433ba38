//! The daemon under test: `leveret run` in a directory of its own, asked over its Unix socket.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use super::command::Finished;
use super::http::{self, Request, Response};
use super::port::ReservedPort;
use super::proc::Process;
use super::wait::{wait_for, wait_for_state};
use super::{command, proc, run, status};

const LEVERET: &str = env!("CARGO_BIN_EXE_leveret");
pub(super) const START_LIMIT: Duration = Duration::from_secs(30);
/// A shutdown takes as long as the longest `stop.timeout` of the test's own programs; theirs are short.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(60);
const CLI_LIMIT: Duration = Duration::from_secs(60);

/// A daemon. Dropping it shuts it down (SIGTERM) and kills what is left; see [`Daemon::shut_down`] for a test of just that.
#[derive(Debug)]
pub(crate) struct Daemon {
    /// Marker of the daemon and of every process that descends from it.
    id: String,
    pub(super) directory: PathBuf,
    port: ReservedPort,
    environment: Vec<(String, String)>,
    /// The binary that it is started from.
    pub(super) binary: PathBuf,
    /// What the daemon is started by, where it is not started by the test itself.
    pub(super) wrapper: Vec<String>,
    /// Whether the wrapper becomes the daemon and is not its parent.
    pub(super) wrapper_execs: bool,
    /// Whom it runs as, where that is not the test's own user.
    pub(super) user: Option<u32>,
    /// None after a shutdown.
    keeper: Option<Child>,
    /// Whom the killed keeper left.
    orphaned_controller: Option<i32>,
}

impl Daemon {
    /// Starts `leveret run` with this configuration and waits until it answers. `listen`, `state_dir` and `runtime_dir` are
    /// added and must not be in `yaml`.
    pub(crate) fn start(yaml: &str) -> Self {
        Self::start_with_environment(yaml, &[])
    }

    /// Like [`Daemon::start`], with variables added to the daemon's environment.
    pub(crate) fn start_with_environment(yaml: &str, environment: &[(&str, &str)]) -> Self {
        let mut daemon = Self::new(yaml, environment);
        daemon.start_again();
        daemon
    }

    /// Starts it from a link, [`Daemon::point_binary_to`], that can be pointed to another binary.
    pub(crate) fn start_from_a_link(yaml: &str) -> Self {
        Self::start_from_a_link_with(yaml, &[])
    }

    /// Like [`Daemon::start_from_a_link`], with variables added to the daemon's environment.
    pub(crate) fn start_from_a_link_with(yaml: &str, environment: &[(&str, &str)]) -> Self {
        let mut daemon = Self::new(yaml, environment);
        daemon.binary = daemon.directory.join("leveret");
        daemon.point_binary_to(Path::new(LEVERET));
        daemon.start_again();
        daemon
    }

    /// Has the link that the daemon was started from lead to another binary, as an installation does.
    pub(crate) fn point_binary_to(&self, binary: &Path) {
        let new = self.directory.join("leveret.new");
        std::os::unix::fs::symlink(binary, &new).expect("the directory is ours");
        fs::rename(&new, &self.binary).expect("the directory is ours");
    }

    /// The binary under test, whatever the link leads to.
    pub(crate) const BINARY: &str = LEVERET;

    /// Only writes the configuration: the test starts and ends the daemon by itself.
    pub(crate) fn prepare(yaml: &str) -> Self {
        Self::new(yaml, &[])
    }

    /// Runs a further `leveret run` with the same configuration file to its end, which must come by itself.
    pub(crate) fn run_a_second(&self) -> Finished {
        command::finish("a second leveret run", self.run_command(), START_LIMIT)
    }

    /// Runs a further `leveret run` with a configuration of its own, whole as it is, to its end.
    pub(crate) fn run_beside(&self, yaml: &str) -> Finished {
        let file = run::directory("beside").join("leveret.yaml");
        fs::write(&file, yaml).expect("the directory is ours");
        let mut command = run::command(LEVERET, &self.id);
        command.args(["run", "-c"]).arg(file);
        command::finish("leveret run beside another", command, START_LIMIT)
    }

    /// Runs `leveret run` with a configuration that it must refuse, and returns how it ended.
    pub(crate) fn refuse(yaml: &str) -> Finished {
        let daemon = Self::new(yaml, &[]);
        command::finish("leveret run", daemon.run_command(), START_LIMIT)
    }

    /// Starts another keeper in the same directory, after [`Daemon::shut_down`].
    pub(crate) fn start_again(&mut self) {
        assert!(self.keeper.is_none(), "the daemon runs already");
        let mut keeper = self
            .run_command()
            .stdout(self.output_file("leveret.out"))
            .stderr(self.output_file("leveret.err"))
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {LEVERET}: {error}"));
        if let Some(controller) = self.orphaned_controller.take() {
            // Until it has noticed that its keeper is gone it may answer, and go in the middle of the next answer.
            wait_for("the end of the controller before", START_LIMIT, || {
                Process::read(controller).is_none_or(|process| process.is_zombie()).then_some(())
            });
        }
        wait_for_state("the daemon to answer", START_LIMIT, || {
            if let Some(status) = command::exit_of(&mut keeper) {
                panic!("the daemon ended at its start, {status}:\n{}", self.output());
            }
            match self.try_request("GET", "/api/v1/status", "") {
                Ok(Response { status: 200, .. }) => Ok(()),
                Ok(response) => Err(format!("{response:?}")),
                Err(error) => Err(error.to_string()),
            }
        });
        self.keeper = Some(keeper);
    }

    /// Replaces the configuration file, whole or not at all. The daemon reads it at the next reload.
    pub(crate) fn write_config(&self, yaml: &str) {
        let Self { directory, port, .. } = self;
        let head = format!(
            "listen: 127.0.0.1:{}\nstate_dir: {}\nruntime_dir: {}\n",
            port.number(),
            directory.join("state").display(),
            self.runtime_directory().display()
        );
        let new = directory.join("leveret.yaml.new");
        fs::write(&new, head + yaml).expect("the directory is ours");
        fs::rename(&new, self.config_path()).expect("the directory is ours");
    }

    /// The number of lines that [`Daemon::write_config`] puts before the test's own: what error messages count from.
    pub(crate) const CONFIG_HEAD_LINES: usize = 3;

    /// The configuration file.
    pub(crate) fn config_path(&self) -> PathBuf {
        self.directory.join("leveret.yaml")
    }

    /// The daemon's own directory; tests may put files of theirs into it.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The TCP port of the page.
    pub(crate) fn port(&self) -> u16 {
        self.port.number()
    }

    /// The Unix socket.
    pub(crate) fn socket_path(&self) -> PathBuf {
        self.runtime_directory().join("leveret.sock")
    }

    /// The directory of the log files of programs without `log.path`.
    pub(crate) fn logs_directory(&self) -> PathBuf {
        self.directory.join("state/logs")
    }

    /// GET over the Unix socket; the body as JSON. Panics unless the answer is 200.
    pub(crate) fn api_get(&self, path: &str) -> Value {
        let response = self.request("GET", path, "");
        assert_eq!(response.status, 200, "GET {path}: {response:?}");
        response.json()
    }

    /// POST of JSON (or of nothing) over the Unix socket.
    pub(crate) fn api_post(&self, path: &str, body: &str) -> Response {
        self.request("POST", path, body)
    }

    /// GET over the Unix socket; the body as it is. Panics unless the answer is 200.
    pub(crate) fn text(&self, path: &str) -> String {
        let response = self.request("GET", path, "");
        assert_eq!(response.status, 200, "GET {path}: {response:?}");
        response.body
    }

    /// The value of one series of `/metrics`, written as there: `leveret_broker_up{broker="default"}`.
    pub(crate) fn metric(&self, series: &str) -> Option<f64> {
        let text = self.text("/metrics");
        let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
        Some(value.parse().expect("a metric is a number"))
    }

    /// How many rounds of readings of the broker `default` are complete; each is told after its readings.
    pub(crate) fn rounds(&self) -> f64 {
        self.metric("leveret_probe_duration_seconds_count{broker=\"default\"}").unwrap_or_default()
    }

    /// Waits until every queue of the broker `default` has been read, and that acted on, as it was when this was called.
    pub(crate) fn wait_for_reading(&self, limit: Duration) {
        // The round that is under way may have read a queue before; the next one cannot have.
        let enough = self.rounds() + 2.0;
        wait_for_state("the next round of readings", limit, || match self.rounds() {
            rounds if rounds >= enough => Ok(()),
            rounds => Err(format!("{rounds} of {enough}")),
        });
    }

    /// One request over TCP with exactly these headers, as a browser or an attacker would send it.
    pub(crate) fn tcp(&self, request: Request<'_>) -> Response {
        http::send_tcp(self.port(), request).unwrap_or_else(|error| panic!("{request:?}: {error}"))
    }

    /// GET over TCP as a script does it; the body. Panics unless the answer is 200.
    pub(crate) fn get_text(&self, path: &str) -> String {
        let host = format!("127.0.0.1:{}", self.port());
        let response = self.tcp(Request { method: "GET", path, headers: &[("Host", &host)], body: "" });
        assert_eq!(response.status, 200, "GET {path}: {response:?}");
        response.body
    }

    /// `/api/v1/status`.
    pub(crate) fn status(&self) -> Value {
        self.api_get("/api/v1/status")
    }

    /// The part of the status about one program; panics if there is none.
    pub(crate) fn program(&self, name: &str) -> Value {
        find_program(&self.status(), name).unwrap_or_else(|| panic!("no program {name} in the status"))
    }

    /// Asks for the status until `look` finds what it is looking for; panics with `what` and the last status. An answer that
    /// does not come (the controller is being replaced) is looked for again.
    pub(crate) fn wait_status<T>(
        &self,
        what: &str,
        limit: Duration,
        mut look: impl FnMut(&Value) -> Option<T>,
    ) -> T {
        wait_for_state(what, limit, || {
            let response =
                self.try_request("GET", "/api/v1/status", "").map_err(|error| error.to_string())?;
            let status: Value = serde_json::from_str(&response.body).map_err(|error| error.to_string())?;
            look(&status).ok_or_else(|| format!("{status:#}"))
        })
    }

    /// Like [`Daemon::wait_status`], for one program.
    pub(crate) fn wait_program<T>(
        &self,
        name: &str,
        what: &str,
        limit: Duration,
        mut look: impl FnMut(&Value) -> Option<T>,
    ) -> T {
        self.wait_status(&format!("{name}: {what}"), limit, |status| look(&find_program(status, name)?))
    }

    /// Waits until a program has all the processes that it wants, and each of them counts as running.
    pub(crate) fn wait_running(&self, name: &str) -> Value {
        self.wait_program(name, "all of its processes running", START_LIMIT, |program| {
            let wanted = program["desired"].as_u64()?;
            let running = status::processes(program).filter(|process| process["state"] == "running").count();
            (running as u64 == wanted).then(|| program.clone())
        })
    }

    /// Waits until a process, `web:0` or `web`, is shown in this state.
    pub(crate) fn wait_process(&self, id: &str, state: &str) -> Value {
        let name = id.split(':').next().expect("a split has a first part");
        self.wait_program(name, &format!("{id} {state}"), START_LIMIT, |program| {
            status::processes(program)
                .find(|process| process["id"] == id && process["state"] == state)
                .cloned()
        })
    }

    /// The keeper: the process that this harness started, or the one that its wrapper did.
    pub(crate) fn keeper_pid(&self) -> i32 {
        let started = command::pid_of(self.keeper.as_ref().expect("the daemon runs"));
        if self.wrapper.is_empty() || self.wrapper_execs {
            return started;
        }
        let children = proc::children_of(started);
        children.first().unwrap_or_else(|| panic!("{:?} has no child", self.wrapper)).pid
    }

    /// The controller. In a pid namespace of its own the status would name another number.
    pub(crate) fn controller_pid(&self) -> i32 {
        wait_for("the controller", START_LIMIT, || self.look_for_controller())
    }

    /// Kills the controller and waits until the keeper has put another in its place, which answers.
    pub(crate) fn kill_controller(&self) {
        let old = self.controller_pid();
        proc::signal(old, Signal::KILL);
        self.wait_next_controller(old);
    }

    /// Waits until another controller than this one answers.
    pub(crate) fn wait_next_controller(&self, old: i32) {
        wait_for("another controller", START_LIMIT, || self.look_for_controller().filter(|pid| *pid != old));
        self.wait_status("an answer of the next controller", START_LIMIT, |_| Some(()));
    }

    /// Kills the keeper. Its programs go on; [`Daemon::start_again`] takes them over.
    pub(crate) fn kill_keeper(&mut self) {
        self.orphaned_controller = self.look_for_controller();
        proc::signal(self.keeper_pid(), Signal::KILL);
        let status = self.wait_exit();
        assert!(!status.success(), "{status}");
    }

    /// Sends a signal to the keeper: HUP for a reload.
    pub(crate) fn signal(&self, signal: Signal) {
        assert!(proc::signal(self.keeper_pid(), signal), "the keeper is gone");
    }

    /// Sends SIGTERM to the keeper and waits until it has ended.
    pub(crate) fn shut_down(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait_exit()
    }

    /// Waits until the keeper has ended by itself or by a command.
    pub(crate) fn wait_exit(&mut self) -> ExitStatus {
        let mut keeper = self.keeper.take().expect("the daemon runs");
        command::wait_for_exit("the daemon", &mut keeper, SHUTDOWN_LIMIT)
    }

    /// Panics if a process that descends from this daemon is alive, whatever session, parent or user it has now.
    pub(crate) fn assert_nothing_left(&self) {
        let left = proc::marked(&self.id);
        assert!(left.is_empty(), "left behind by the daemon:{}", proc::describe(&left));
    }

    /// Every living process that descends from this daemon, itself included.
    pub(crate) fn processes(&self) -> Vec<Process> {
        proc::marked(&self.id)
    }

    /// The unreaped children of the keeper and the controller.
    pub(crate) fn zombies(&self) -> Vec<Process> {
        let ours: Vec<i32> = self.processes().into_iter().map(|process| process.pid).collect();
        proc::all()
            .into_iter()
            .filter(|process| process.is_zombie() && ours.contains(&process.parent))
            .collect()
    }

    /// Runs `leveret` with these arguments against this daemon, found by its Unix socket.
    pub(crate) fn cli(&self, arguments: &[&str]) -> Finished {
        command::finish(&format!("leveret {arguments:?}"), self.cli_command(arguments), CLI_LIMIT)
    }

    /// Like [`Daemon::cli`], and panics unless it exits with `code`. Returns what it wrote to stdout and stderr.
    pub(crate) fn cli_exits(&self, code: i32, arguments: &[&str]) -> String {
        let Finished { status, stdout, stderr } = self.cli(arguments);
        assert_eq!(status.code(), Some(code), "leveret {arguments:?}:\n{stdout}{stderr}");
        stdout + &stderr
    }

    /// The command that [`Daemon::cli`] runs, for a test that wants to do something meanwhile.
    pub(crate) fn cli_command(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = run::command(LEVERET, &self.id);
        command
            .args(arguments)
            .env("RUNTIME_DIRECTORY", self.runtime_directory())
            .env_remove("LEVERET_SERVER");
        command
    }

    /// What the daemon itself has written to standard output and standard error.
    pub(crate) fn output(&self) -> String {
        let read = |name: &str| fs::read_to_string(self.directory.join(name)).unwrap_or_default();
        read("leveret.out") + &read("leveret.err")
    }

    /// Waits until the daemon itself has written `text`.
    pub(crate) fn wait_output(&self, text: &str, limit: Duration) {
        self.wait_output_count(text, 1, limit);
    }

    /// Waits until the daemon itself has written `text` so many times.
    pub(crate) fn wait_output_count(&self, text: &str, count: usize, limit: Duration) {
        wait_for(&format!("{text:?} {count} times in the daemon's output"), limit, || {
            (self.output().matches(text).count() >= count).then_some(())
        });
    }

    pub(super) fn new(yaml: &str, environment: &[(&str, &str)]) -> Self {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let daemon = Self {
            id: run::unique("daemon"),
            directory: run::directory("daemon"),
            port: ReservedPort::reserve(),
            environment: environment.iter().map(owned).collect(),
            binary: LEVERET.into(),
            wrapper: Vec::new(),
            wrapper_execs: false,
            user: None,
            keeper: None,
            orphaned_controller: None,
        };
        daemon.write_config(yaml);
        daemon
    }

    fn run_command(&self) -> std::process::Command {
        let binary = self.binary.as_os_str();
        let words = self.wrapper.iter().map(OsStr::new).chain([binary, OsStr::new("run"), OsStr::new("-c")]);
        let words: Vec<&OsStr> = words.collect();
        let mut command = run::command(words[0], &self.id);
        command
            .args(&words[1..])
            .arg(self.config_path())
            .current_dir(&self.directory)
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        command
    }

    fn look_for_controller(&self) -> Option<i32> {
        let children = proc::children_of(self.keeper_pid());
        let is_controller = |process: &Process| process.command_line.starts_with("leveret: controller");
        children.iter().find(|process| is_controller(process) && !process.is_zombie()).map(|found| found.pid)
    }

    fn runtime_directory(&self) -> PathBuf {
        self.directory.join("run")
    }

    fn request(&self, method: &str, path: &str, body: &str) -> Response {
        self.try_request(method, path, body).unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    fn try_request(&self, method: &str, path: &str, body: &str) -> std::io::Result<Response> {
        let headers = [("Host", "localhost"), ("Content-Type", "application/json")];
        http::send_unix(&self.socket_path(), Request { method, path, headers: &headers, body })
    }

    fn output_file(&self, name: &str) -> File {
        let path = self.directory.join(name);
        File::options().create(true).append(true).open(path).expect("the directory is ours")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            show(&format!("--- the daemon's own output ---\n{}", self.output()));
        }
        // A test that fails has waited long enough; one that succeeds has its shutdown in order.
        if !std::thread::panicking() && self.keeper.is_some() {
            assert!(self.shut_down().success(), "{}", self.output());
        } else if let Some(mut keeper) = self.keeper.take() {
            command::kill_and_reap("the daemon", &mut keeper, &self.id);
        }
        let left = proc::kill_marked(&self.id);
        if !std::thread::panicking() {
            assert!(left.is_empty(), "left behind by the daemon:{}", proc::describe(&left));
        }
    }
}

/// The items of a JSON list.
pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("not a list: {value:#}"))
}

#[expect(clippy::print_stderr, reason = "the test runner shows it with the failure")]
fn show(text: &str) {
    eprintln!("{text}");
}

fn find_program(status: &Value, name: &str) -> Option<Value> {
    let programs = status["programs"].as_array()?;
    programs.iter().find(|program| program["name"] == name).cloned()
}
