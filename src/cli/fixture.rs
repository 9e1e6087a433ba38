//! A Leveret as tests see it: one snapshot, and a fake server that answers by a script.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};

use super::address::{Address, Surroundings};
use super::arguments::{Arguments, Command};
use super::client::Client;
use super::console::Console;
use super::exit::Exit;
use crate::config::settings::Settings;
use crate::controller::snapshot::{BrokerView, ProcessView, ProgramView, QueueView, Snapshot};

/// A running process.
pub(crate) fn process(id: &str, slot: u32, incarnation: u64) -> ProcessView {
    ProcessView {
        id: id.to_owned(),
        slot,
        state: "running".to_owned(),
        pid: Some(4240 + slot as i32),
        incarnation: Some(incarnation),
        uptime_seconds: Some(9.1),
        restarts: 0,
        cpu_percent: Some(3.12),
        memory_bytes: Some(18_874_368),
        ..ProcessView::default()
    }
}

/// A program of `kind` whose processes all run.
pub(crate) fn program(name: &str, kind: &str, processes: Vec<ProcessView>) -> ProgramView {
    let count = processes.len() as u32;
    ProgramView {
        name: name.to_owned(),
        kind: kind.to_owned(),
        desired: count,
        running: count,
        mode: if kind == "scaled" { "auto" } else { "off" }.to_owned(),
        processes,
        ..ProgramView::default()
    }
}

/// Three programs: `orders` with two processes and `mailer`, both of `@shop`, and `web`. All is well.
pub(crate) fn snapshot() -> Snapshot {
    let mut orders = program("orders", "scaled", vec![process("orders:0", 0, 1), process("orders:1", 1, 2)]);
    orders.project = Some("shop".to_owned());
    orders.min = 1;
    orders.max = 40;
    orders.reason = "2 consumers keep the wait under 5s".to_owned();
    orders.wait_goal_seconds = Some(5.0);
    orders.wait_predicted_seconds = Some(1.25);
    orders.queues = vec![QueueView {
        broker: "default".to_owned(),
        queue: "orders".to_owned(),
        ready: Some(120),
        consumers: Some(2),
        age_seconds: Some(0.4),
        ..QueueView::default()
    }];
    let mut mailer = program("mailer", "service", vec![process("mailer", 0, 3)]);
    mailer.project = Some("shop".to_owned());
    let web = program("web", "service", vec![process("web", 0, 4)]);
    Snapshot {
        version: "0.1.0".to_owned(),
        pid: 1_000_000_000,
        controller_pid: 7,
        uptime_seconds: 4_325.0,
        ready: true,
        brokers: vec![BrokerView {
            name: "default".to_owned(),
            state: "connected".to_owned(),
            url: "amqp://127.0.0.1".to_owned(),
            error: None,
            management: None,
            metrics: None,
        }],
        programs: vec![orders, mailer, web],
        ..Snapshot::default()
    }
}

/// Settings with this runtime directory and one warning.
pub(crate) fn settings(runtime_dir: &str) -> Settings {
    Settings {
        listen: "127.0.0.1:0".parse().unwrap(),
        allowed_hosts: Vec::new(),
        state_dir: "/nonexistent".into(),
        runtime_dir: runtime_dir.into(),
        socket: Default::default(),
        probe_interval: std::time::Duration::from_secs(1),
        shutdown_timeout: None,
        budgets: Vec::new(),
        brokers: Vec::new(),
        programs: Vec::new(),
        warnings: vec!["a directory is missing".to_owned()],
    }
}

/// A request as the fake server got it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Seen {
    /// `GET /api/v1/status`.
    pub(crate) line: String,
    /// The body, null where there is none.
    pub(crate) body: Value,
    /// The Last-Event-ID.
    pub(crate) last_event_id: Option<String>,
}

/// What the fake server answers.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// JSON with a status.
    Json(u16, Value),
    /// Text that is not JSON, with a status.
    Text(u16, String),
    /// Server-sent events in pieces, then the end of the stream.
    Events(Vec<String>),
    /// Server-sent events, then silence on an open connection.
    EventsThenSilence(Vec<String>),
    /// The connection is closed without a word.
    HangUp,
}

/// Answers the n-th request (from 0) of each line of the script by itself.
type Script = Box<dyn FnMut(&Seen, usize) -> Answer + Send>;

/// A Leveret on a Unix socket that answers by a script.
pub(crate) struct FakeServer {
    directory: tempfile::TempDir,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: tokio::task::JoinHandle<()>,
}

impl FakeServer {
    /// Starts it. `script` gets each request and how many of the same line came before.
    pub(crate) fn start(script: impl FnMut(&Seen, usize) -> Answer + Send + 'static) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("leveret.sock")).unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let task = tokio::spawn(serve(listener, Arc::clone(&seen), Arc::new(Mutex::new(Box::new(script)))));
        Self { directory, seen, task }
    }

    /// A server that answers every status with `snapshot` and every action with an empty acceptance.
    pub(crate) fn of(snapshot: Snapshot) -> Self {
        Self::start(move |seen, _| {
            if seen.line.starts_with("POST") {
                Answer::Json(
                    200,
                    serde_json::json!({"message": format!("did {}", seen.line), "processes": []}),
                )
            } else if seen.line == "GET /api/v1/status" {
                Answer::Json(200, serde_json::to_value(&snapshot).unwrap())
            } else {
                Answer::Json(404, serde_json::json!({"error": "there is nothing here"}))
            }
        })
    }

    /// Its socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("leveret.sock")
    }

    /// A client of it.
    pub(crate) fn client(&self) -> Client {
        Client::new(Address::Unix(self.socket()))
    }

    /// Every request so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The lines of the POST requests so far.
    pub(crate) fn posts(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| seen.line).filter(|line| line.starts_with("POST")).collect()
    }

    /// Closes the socket and removes it.
    pub(crate) async fn end(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }
}

async fn serve(listener: UnixListener, seen: Arc<Mutex<Vec<Seen>>>, script: Arc<Mutex<Script>>) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        connections.spawn(answer(stream, Arc::clone(&seen), Arc::clone(&script)));
    }
}

/// Reads one request and answers it. A client that goes away in the middle is its own business.
async fn answer(stream: UnixStream, seen: Arc<Mutex<Vec<Seen>>>, script: Arc<Mutex<Script>>) -> Option<()> {
    let mut stream = BufReader::new(stream);
    let request = read_request(&mut stream).await?;
    let answer = {
        let mut seen = seen.lock().unwrap();
        let before = seen.iter().filter(|earlier| earlier.line == request.line).count();
        seen.push(request.clone());
        drop(seen);
        (script.lock().unwrap())(&request, before)
    };
    let plain = |status: u16, kind: &str, body: String| {
        format!(
            "HTTP/1.1 {status} Status\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    match answer {
        Answer::Json(status, body) => {
            stream.write_all(plain(status, "application/json", body.to_string()).as_bytes()).await.ok()
        }
        Answer::Text(status, body) => {
            stream.write_all(plain(status, "text/plain", body).as_bytes()).await.ok()
        }
        Answer::Events(pieces) => write_events(&mut stream, pieces).await,
        Answer::EventsThenSilence(pieces) => {
            write_events(&mut stream, pieces).await?;
            // Until the client goes away.
            let mut byte = [0];
            stream.read(&mut byte).await.ok().map(drop)
        }
        Answer::HangUp => Some(()),
    }
}

async fn write_events(stream: &mut BufReader<UnixStream>, pieces: Vec<String>) -> Option<()> {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
    stream.write_all(head.as_bytes()).await.ok()?;
    for piece in pieces {
        stream.write_all(piece.as_bytes()).await.ok()?;
        stream.flush().await.ok()?;
    }
    Some(())
}

async fn read_request(stream: &mut BufReader<UnixStream>) -> Option<Seen> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        let line = line.trim_end().to_owned();
        if line.is_empty() {
            break;
        }
        lines.push(line);
    }
    let first = lines.first()?.trim_end_matches(" HTTP/1.1").to_owned();
    let headers: BTreeMap<String, String> = lines[1..]
        .iter()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    let body = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() };
    Some(Seen { line: first, body, last_event_id: headers.get("last-event-id").cloned() })
}

/// What a command wrote and how it ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// How it ended.
    pub(crate) exit: Exit,
    /// What it wrote to stdout.
    pub(crate) out: String,
    /// What it wrote to stderr.
    pub(crate) err: String,
}

/// Runs a command line against the server at `socket`, as the binary would off a terminal.
pub(crate) async fn run(socket: &std::path::Path, line: &str) -> Outcome {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut console = Console::for_tests(&mut out, &mut err);
    let words = std::iter::once("leveret").chain(line.split_whitespace()).map(Into::into);
    let Command::Client(command) = Arguments::read(words).unwrap().command else {
        panic!("\"{line}\" does not talk to Leveret");
    };
    let mut environment = BTreeMap::new();
    environment.insert("LEVERET_SERVER".to_owned(), format!("unix:{}", socket.display()));
    let surroundings = Surroundings { environment, is_root: false };
    let load = |_: &std::path::Path, _: bool| Err("this test has no configuration\n".to_owned());
    let command: Pin<Box<dyn Future<Output = Exit>>> =
        Box::pin(super::dispatch::client_command(command, &surroundings, load, &mut console));
    let exit = command.await;
    Outcome { exit, out: String::from_utf8(out).unwrap(), err: String::from_utf8(err).unwrap() }
}
