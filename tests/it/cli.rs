//! The command line as a shell sees it: the real binary, its exit codes, its pipes and its signals. The Leveret that it
//! talks to is a thread that answers as told.

#![expect(clippy::disallowed_methods, reason = "these tests run the client and wait for it themselves")]
#![expect(clippy::unwrap_used, reason = "in a test a panic is the answer")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

const STATUS: &str = r#"{"version":"0.1.0","pid":1000000000,"controller_pid":7,"uptime_seconds":12.5,"controller_restarts":0,
"ready":true,"shutting_down":false,"paused":false,"config_error":null,"brokers":[],"programs":[{"name":"web","project":null,
"kind":"service","desired":2,"running":1,"configured":2,"min":2,"max":2,"mode":"off","reason":"one is in backoff","hold":null,
"queues":[],"wait_goal_seconds":null,"wait_predicted_seconds":null,"next_run":null,"processes":[],"restarts_by_reason":{},
"decisions_by_direction":{}}]}"#;

/// A Leveret that knows one program, `web`, whose log has one line and then nothing more.
struct Fake {
    directory: tempfile::TempDir,
}

impl Fake {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("leveret.sock")).unwrap();
        // The thread ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                std::thread::spawn(move || answer(stream));
            }
        });
        Self { directory }
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("leveret.sock")
    }

    fn leveret(&self, words: &[&str]) -> Command {
        let mut command = leveret(words);
        command.env("LEVERET_SERVER", format!("unix:{}", self.socket().display()));
        command
    }
}

/// Reads one request and answers it; a client that goes away in the middle is what some of the tests are about.
fn answer(stream: UnixStream) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut first = String::new();
    reader.read_line(&mut first).ok()?;
    let mut line = String::from("-");
    while line.trim() != "" {
        line.clear();
        reader.read_line(&mut line).ok()?;
    }
    let mut stream = stream;
    if first.starts_with("GET /api/v1/status") {
        let length = STATUS.len();
        write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{STATUS}").ok()
    } else if first.contains("/follow") {
        let event = "id: 1:1\ndata: {\"process\":\"web\",\"line\":\"hello\"}\n\n";
        write!(stream, "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n{event}").ok()?;
        // The stream stays open until the client closes it.
        reader.read(&mut [0]).ok().map(drop)
    } else {
        let body = r#"{"error":"there is no such thing"}"#;
        write!(stream, "HTTP/1.1 404 Not Found\r\ncontent-length: {}\r\n\r\n{body}", body.len()).ok()
    }
}

fn leveret(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_leveret"));
    command.args(words).env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The exit code, what it wrote to stdout, and to stderr.
fn outcome(mut command: Command) -> (i32, String, String) {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().expect("it exits by itself"), text(output.stdout), text(output.stderr))
}

fn first_line(child: &mut Child) -> (String, BufReader<std::process::ChildStdout>) {
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    (line, reader)
}

#[test]
fn following_a_log_ends_on_ctrl_c_with_exit_code_0() {
    for signal in [Signal::INT, Signal::TERM] {
        let fake = Fake::start();
        let mut child = fake.leveret(&["logs", "web", "-f"]).spawn().unwrap();
        let (line, _reader) = first_line(&mut child);
        assert_eq!(line, "hello\n");
        kill_process(Pid::from_raw(child.id() as i32).unwrap(), signal).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0), "{signal:?}");
    }
}

#[test]
fn following_a_log_into_head_ends_quietly_although_no_line_follows() {
    let fake = Fake::start();
    let mut child = fake.leveret(&["logs", "web", "-f"]).spawn().unwrap();
    let (line, reader) = first_line(&mut child);
    assert_eq!(line, "hello\n");
    drop(reader);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn a_table_that_nobody_reads_is_no_error() {
    let fake = Fake::start();
    let mut command = fake.leveret(&["status"]);
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    drop(reader);
    command.stdout(writer);
    let (code, _, errors) = outcome(command);
    assert_eq!((code, errors.as_str()), (0, ""));
}

#[test]
fn the_exit_code_tells_a_script_what_happened() {
    let fake = Fake::start();
    let (code, out, _) = outcome(fake.leveret(&["status"]));
    assert_eq!(code, 3, "{out}");
    assert!(out.contains("web          1/2"), "{out}");
    assert_eq!(outcome(fake.leveret(&["status", "wbe"])).0, 4);
    assert_eq!(outcome(fake.leveret(&["stop", "web"])).0, 4, "Leveret's own 404");
    assert_eq!(outcome(fake.leveret(&["wait", "web", "--ready", "--timeout", "50ms"])).0, 1);
    assert_eq!(outcome(fake.leveret(&["scale", "web"])).0, 2);
    assert_eq!(outcome(leveret(&["--help"])).0, 0);
    assert_eq!(outcome(leveret(&["status", "--server", "ftp://x"])).0, 2);
}

#[test]
fn an_unreachable_leveret_is_named_with_what_to_try() {
    let (code, out, errors) = outcome(leveret(&["status", "--server", "unix:/nonexistent/leveret.sock"]));
    assert_eq!((code, out.as_str()), (5, ""));
    assert_eq!(
        errors,
        "error: cannot reach Leveret at /nonexistent/leveret.sock: No such file or directory; \
         is `leveret run` running, or did you mean -c FILE or --server URL?\n"
    );
}

#[test]
fn without_a_file_the_one_in_the_working_directory_is_taken_and_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("leveret.yaml");
    let here = |words: &[&str]| {
        let mut command = leveret(words);
        command.current_dir(directory.path()).env("HOME", directory.path());
        command
    };
    std::fs::write(&file, "programs: {web: {command: sleep 60}}\n").unwrap();
    let (code, out, _) = outcome(here(&["check"]));
    assert_eq!((code, out.as_str()), (0, "leveret.yaml: good, 1 program\n"));
    std::fs::write(&file, "programs: {web: {comand: sleep 60}}\n").unwrap();
    let (code, _, errors) = outcome(here(&["run"]));
    assert_eq!(code, 2, "{errors}");
    assert!(errors.starts_with("the configuration is leveret.yaml\n"), "{errors}");
    assert!(errors.contains("`comand`"), "{errors}");
}

#[test]
fn the_socket_is_found_in_the_runtime_directory() {
    let fake = Fake::start();
    let mut command = leveret(&["status"]);
    command.env("RUNTIME_DIRECTORY", fake.directory.path());
    assert_eq!(outcome(command).0, 3);
}
