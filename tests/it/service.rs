//! Leveret under a service manager, which the tests play: what it is told, the watchdog, and the socket that it opens.

use std::fs;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::daemon::Daemon;
use crate::support::http::{self, Request};
use crate::support::run;
use crate::support::status::{only_pid, pids};
use crate::support::wait::{wait_for, wait_for_state};
use crate::support::{command, proc};

const LIMIT: Duration = Duration::from_secs(60);

/// Where the service manager listens.
struct Manager {
    path: PathBuf,
    socket: UnixDatagram,
}

impl Manager {
    fn start() -> Self {
        let path = run::directory("manager").join("notify");
        let socket = UnixDatagram::bind(&path).expect("the directory is ours");
        socket.set_read_timeout(Some(LIMIT)).expect("it is a socket");
        Self { path, socket }
    }

    fn environment<'a>(&'a self, watchdog_micros: &'a str) -> [(&'a str, &'a str); 2] {
        [
            ("NOTIFY_SOCKET", self.path.to_str().expect("our paths are text")),
            ("WATCHDOG_USEC", watchdog_micros),
        ]
    }

    /// The next message that has this line; those before it are dropped.
    fn wait_for(&self, line: &str) -> String {
        let mut buffer = [0; 4096];
        loop {
            let length =
                self.socket.recv(&mut buffer).unwrap_or_else(|error| panic!("{line} was not told: {error}"));
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if text.lines().any(|found| found == line) {
                return text;
            }
        }
    }
}

#[test]
fn a_service_manager_is_told_of_the_start_the_reload_the_upgrade_and_the_end() {
    let manager = Manager::start();
    let yaml = "programs:\n  web: {command: sleep 1234, processes: 2}\n";
    let mut daemon = Daemon::start_from_a_link_with(yaml, &manager.environment("60000000"));
    manager.wait_for("READY=1");
    manager.wait_for("STATUS=2 processes run");
    daemon.signal(Signal::HUP);
    let told = manager.wait_for("RELOADING=1");
    let micros: u64 = told
        .lines()
        .find_map(|line| line.strip_prefix("MONOTONIC_USEC=")?.parse().ok())
        .unwrap_or_else(|| panic!("no moment in {told}"));
    assert!(micros > 0);
    manager.wait_for("READY=1");
    daemon.cli_exits(0, &["upgrade"]);
    manager.wait_for("READY=1");
    daemon.cli_exits(0, &["stop", "web:1"]);
    manager.wait_for("STATUS=1 process run");
    let given = daemon
        .processes()
        .iter()
        .find(|found| found.command_line.contains("sleep 1234"))
        .map(|found| fs::read_to_string(format!("/proc/{}/environ", found.pid)).expect("it is ours"));
    let given = given.expect("a program runs");
    for name in ["NOTIFY_SOCKET=", "WATCHDOG_USEC=", "LEVERET_HANDOVER="] {
        assert!(!given.split('\0').any(|variable| variable.starts_with(name)), "{name} is not for programs");
    }
    daemon.signal(Signal::TERM);
    manager.wait_for("STOPPING=1");
    assert!(daemon.wait_exit().success());
}

#[test]
fn a_controller_that_hangs_is_replaced_before_the_watchdog_bites() {
    let manager = Manager::start();
    let yaml = "programs:\n  web: {command: sleep 1000}\n";
    let daemon = Daemon::start_with_environment(yaml, &manager.environment("8000000"));
    manager.wait_for("READY=1");
    manager.wait_for("WATCHDOG=1");
    let web = pids(&daemon.wait_running("web"));
    let controller = daemon.controller_pid();
    assert!(proc::signal(controller, Signal::STOP));
    daemon.wait_output("the controller has not answered for 6s and is replaced", LIMIT);
    daemon.wait_next_controller(controller);
    manager.wait_for("WATCHDOG=1");
    assert_eq!(pids(&daemon.program("web")), web);
}

/// Starts what follows with the test's socket as descriptor 3, as a service manager does.
const PASS: &str = "LISTEN_FDS=1 LISTEN_PID=$$ exec \"$@\" 3<&0 0</dev/null";

#[test]
fn the_page_is_served_on_the_socket_that_the_service_manager_has_opened() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback is there");
    let port = listener.local_addr().expect("it is bound").port();
    let directory = run::directory("activated");
    let shown = directory.display();
    let file = directory.join("leveret.yaml");
    // Nobody may listen at the configured address.
    let yaml = format!(
        "listen: 192.0.2.1:1\nstate_dir: {shown}/state\nruntime_dir: {shown}/run\nprograms:\n  web: {{command: sleep 1000}}\n"
    );
    fs::write(&file, yaml).expect("the directory is ours");
    let id = run::unique("activated");
    let output = directory.join("output");
    let errors = fs::File::create(&output).expect("the directory is ours");
    let mut keeper = run::command("/bin/sh", &id)
        .args(["-c", PASS, "sh", Daemon::BINARY, "run", "-c"])
        .arg(&file)
        .stdin(Stdio::from(OwnedFd::from(listener)))
        .stderr(errors)
        .spawn()
        .expect("a shell can be started");
    let host = format!("127.0.0.1:{port}");
    let ask = || {
        let request =
            Request { method: "GET", path: "/api/v1/status", headers: &[("Host", &host)], body: "" };
        http::send_tcp(port, request)
    };
    wait_for_state("the page", LIMIT, || {
        if let Some(status) = command::exit_of(&mut keeper) {
            panic!("it ended, {status}: {}", fs::read_to_string(&output).unwrap_or_default());
        }
        match ask() {
            Ok(response) if response.status == 200 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    let web = wait_for("the program", LIMIT, || {
        proc::marked(&id).into_iter().find(|found| found.command_line == "sleep 1000")
    });
    let open = fs::read_dir(format!("/proc/{}/fd", web.pid)).expect("it is ours").count();
    assert_eq!(open, 3, "the program has nothing but its standard streams");
    let controller = ask().expect("it answers").json()["controller_pid"].as_i64().expect("a number") as i32;
    assert!(proc::signal(controller, Signal::KILL));
    wait_for("another controller on the same socket", LIMIT, || {
        let pid = ask().ok()?.json()["controller_pid"].as_i64()?;
        (pid != i64::from(controller)).then_some(())
    });
    assert!(proc::signal(command::pid_of(&keeper), Signal::TERM));
    assert!(command::wait_for_exit("the daemon", &mut keeper, LIMIT).success());
    assert_eq!(proc::marked(&id), []);
}

#[test]
fn in_the_background_it_returns_with_the_verdict_and_keeps_a_pid_file() {
    let daemon = Daemon::prepare("programs:\n  web: {command: sleep 1000, processes: 2}\n");
    let pid_file = daemon.directory().join("leveret.pid");
    let file = daemon.config_path();
    let [file, pid_file_text] = [&file, &pid_file].map(|path| path.to_str().expect("our paths are text"));
    let detach = ["run", "--detach", "-c", file, "--pid-file", pid_file_text];
    let said = daemon.cli_exits(0, &detach);
    let written = fs::read_to_string(&pid_file).expect("it was written");
    let keeper: i32 = written.trim_end().parse().expect("a number");
    assert_eq!(said, format!("Leveret runs with pid {keeper}; 1 program ready\n"));
    let web = pids(&daemon.program("web"));
    assert_eq!(web.len(), 2);
    let process = proc::Process::read(keeper).expect("it lives");
    assert_eq!((process.session, process.parent == std::process::id() as i32), (keeper, false));

    let second = daemon.cli_exits(1, &detach[..4]);
    assert!(second.contains(&format!("is in use by Leveret with pid {keeper}")), "{second}");
    daemon.cli_exits(0, &["upgrade"]);
    assert_eq!(pids(&daemon.program("web")), web);
    assert_eq!(fs::read_to_string(&pid_file).expect("it is still there"), written);
    daemon.cli_exits(0, &["shutdown"]);
    wait_for("the pid file gone", LIMIT, || (!pid_file.exists()).then_some(()));
    let log = fs::read_to_string(daemon.directory().join("state/leveret.log")).expect("it has a log");
    assert!(log.contains("the page is at") && log.contains("everything has ended"), "{log}");
    daemon.assert_nothing_left();
}

#[test]
fn in_the_background_what_fails_is_said_with_an_honest_exit_code() {
    let daemon = Daemon::prepare("programs:\n  web: {comand: sleep 1000}\n");
    let file = daemon.config_path();
    let detach = ["run", "--detach", "-c", file.to_str().expect("our paths are text")];
    let said = daemon.cli_exits(2, &detach);
    assert!(said.contains("comand"), "{said}");
    daemon.assert_nothing_left();

    daemon.write_config("programs:\n  web: {command: /nonexistent/server, backoff: {initial: 60s}}\n");
    let said = daemon.cli_exits(1, &detach);
    assert!(said.contains("but web fails: "), "{said}");
    assert!(said.contains("exec /nonexistent/server: No such file or directory"), "{said}");
    daemon.cli_exits(0, &["shutdown"]);

    daemon.write_config("programs:\n  one: {command: sleep 1000}\n  two: {command: sleep 1000, depends_on: [never]}\n  never: {command: sleep 1000, autostart: false}\n");
    let said = daemon.cli_exits(1, &[&detach[..], &["--timeout", "3s"]].concat());
    assert!(said.contains("is not ready after 3s: two runs 0 of 1, "), "{said}");
    only_pid(&daemon.program("one"));
    daemon.cli_exits(0, &["shutdown"]);
    daemon.assert_nothing_left();
}
