//! `leveret demo`: the real product on a stage of its own. It plays broker and producer, and runs Leveret beside itself as
//! anybody would. Whatever it made is gone when it ends.

use std::io::{self, IsTerminal as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::time::Duration;

use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::address::Address;
use super::arguments::DemoArgs;
use super::client::Client;
use super::exit::Exit;
use crate::controller::snapshot::{DecisionView, Snapshot};
use crate::core::secret::Secret;
use crate::demo::broker::{Broker, BrokerOptions};
use crate::demo::consumer;
use crate::demo::producer::{self, Plan};

/// The variable that the broker's address is handed over in: an address may hold a password, and arguments can be seen.
const ADDRESS: &str = "LEVERET_DEMO_AMQP";

/// How long a demo consumer works on a message, on average.
const WORK: Duration = Duration::from_millis(200);

/// The program whose processes consume.
const PROGRAM: &str = "thumbnails";

/// How often the live line is drawn.
const REDRAW: Duration = Duration::from_millis(500);

/// How many ports are tried from the wanted one on.
const PORTS_TRIED: u16 = 100;

/// Why the demo could not go on.
#[derive(Debug, thiserror::Error)]
enum DemoError {
    #[error("cannot {0}")]
    System(String, #[source] io::Error),
    #[error("no port from {0} on is free; choose another one with --port")]
    NoPort(u16),
    #[error("cannot use the broker")]
    Broker(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("Leveret ended by itself ({0}); its messages are above")]
    EndedEarly(ExitStatus),
}

fn cannot(action: impl Into<String>) -> impl FnOnce(io::Error) -> DemoError {
    let action = action.into();
    move |source| DemoError::System(action, source)
}

/// Runs the demo until Ctrl-C.
pub fn demo(arguments: DemoArgs) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let shown = runtime.map_err(cannot("start")).and_then(|runtime| runtime.block_on(show(arguments)));
    match shown {
        Ok(()) => Exit::Done.into(),
        Err(error) => {
            let mut text = format!("error: {error}");
            let mut source = std::error::Error::source(&error);
            while let Some(cause) = source {
                text.push_str(&format!(": {cause}"));
                source = cause.source();
            }
            // There is nowhere left to say that stderr is closed.
            drop(writeln!(io::stderr(), "{}", crate::sys::cause::plain(text)));
            Exit::Failed.into()
        }
    }
}

/// What a process of the demo's scaled program is: a consumer that speaks AMQP like any other.
pub fn demo_consumer(mut words: impl Iterator<Item = std::ffi::OsString>) -> ExitCode {
    let queue = words.next().and_then(|word| word.into_string().ok());
    let (Some(queue), Ok(address)) = (queue, std::env::var(ADDRESS)) else {
        drop(writeln!(io::stderr(), "error: this is a part of `leveret demo`"));
        return Exit::Usage.into();
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let seed = u64::from(std::process::id());
    let run = |runtime: tokio::runtime::Runtime| {
        runtime
            .block_on(consumer::run(&address, &queue, WORK, seed, &format!("leveret demo {seed}")))
            .map_err(|error| error.to_string())
    };
    match runtime.map_err(|error| error.to_string()).and_then(run) {
        Ok(()) => Exit::Done.into(),
        Err(error) => {
            drop(writeln!(io::stderr(), "error: {error}"));
            Exit::Failed.into()
        }
    }
}

async fn show(arguments: DemoArgs) -> Result<(), DemoError> {
    let mut ends = Ends::new().map_err(cannot("listen for Ctrl-C"))?;
    let folder =
        tempfile::Builder::new().prefix("leveret-demo-").tempdir().map_err(cannot("make a folder"))?;
    let port = free_port(arguments.port)?;
    let stage = Stage::set(arguments.amqp).await?;
    let file = configuration(folder.path(), port, &stage.queue)?;
    let mut leveret = Leveret::start(&file, folder.path(), &stage.url)?;
    let producing = CancellationToken::new();
    let plan = Plan::minute(u64::from(std::process::id()));
    let (url, queue, cancel) = (stage.url.clone(), stage.queue.clone(), producing.clone());
    let producer = tokio::spawn(async move { producer::run(url.reveal(), &queue, &plan, cancel).await });

    let mut stdout = Board::new();
    stdout.say(&opening(&stage, arguments.port, port, folder.path()));
    let client = Client::new(Address::Unix(folder.path().join("run/leveret.sock")));
    let outcome = watch(&client, &mut leveret, &mut ends, &mut stdout).await;

    stdout.say("Ending: the consumers finish what they have begun.");
    producing.cancel();
    let ended = leveret.end().await;
    let published = producer.await.map_err(|error| DemoError::Broker(error.into()))?;
    stage.strike().await?;
    let swept = folder.close().map_err(cannot("remove the demo's folder"));
    outcome?;
    ended?;
    swept?;
    stdout.say(&format!("{published} messages were published. Nothing is left behind."));
    Ok(())
}

fn opening(stage: &Stage, wanted: u16, port: u16, folder: &Path) -> String {
    let mut text = String::from("\nLeveret demo\n\n");
    text.push_str(&format!("  page     http://127.0.0.1:{port}"));
    if port != wanted {
        text.push_str(&format!("  (port {wanted} is taken)"));
    }
    text.push_str(&format!("\n  broker   {}\n", stage.shown));
    text.push_str(&format!("  folder   {}\n", folder.display()));
    text.push_str(&format!(
        "\nMessages arrive slowly, then faster, then hundreds at once; every minute again. Each takes about {} ms, and\n\
         none should wait longer than 3 s. Watch the consumers follow. Ctrl-C ends everything.\n",
        WORK.as_millis()
    ));
    text
}

/// Shows what happens until somebody ends it.
async fn watch(
    client: &Client,
    leveret: &mut Leveret,
    ends: &mut Ends,
    board: &mut Board,
) -> Result<(), DemoError> {
    let mut redraw = tokio::time::interval(REDRAW);
    let mut told = String::new();
    loop {
        tokio::select! {
            () = ends.next() => return Ok(()),
            status = leveret.ended() => return Err(DemoError::EndedEarly(status?)),
            _ = redraw.tick() => {}
        }
        // While Leveret comes up there is nothing to see yet.
        let Ok(snapshot) = client.read::<Snapshot>("/api/v1/status").await else { continue };
        let path = format!("/api/v1/decisions?program={PROGRAM}&limit=20");
        let Ok(decisions) = client.read::<Vec<DecisionView>>(&path).await else { continue };
        for decision in decisions.iter().rev().filter(|decision| decision.at > told) {
            board.say(&sentence(decision));
        }
        if let Some(newest) = decisions.first() {
            told.clone_from(&newest.at);
        }
        board.draw(&live_line(&snapshot));
    }
}

fn sentence(decision: &DecisionView) -> String {
    let time = decision.at.get(11..19).unwrap_or(&decision.at);
    format!("{time}  {}: {}", decision.change(), decision.reason)
}

fn live_line(snapshot: &Snapshot) -> String {
    let Some(program) = snapshot.programs.iter().find(|program| program.name == PROGRAM) else {
        return String::new();
    };
    let depth = match program.queues.first().and_then(|queue| queue.ready) {
        Some(ready) => format!("{ready} waiting"),
        None => "depth unknown".to_owned(),
    };
    let draining = program.processes.iter().filter(|process| process.state == "stopping").count();
    let mut line = format!("{depth} | {} of {} consumers", program.running, program.desired);
    if draining > 0 {
        line.push_str(&format!(", {draining} draining"));
    }
    format!("{line} | {}", program.reason)
}

/// The first free port from `wanted` on.
fn free_port(wanted: u16) -> Result<u16, DemoError> {
    (wanted..=wanted.saturating_add(PORTS_TRIED))
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .ok_or(DemoError::NoPort(wanted))
}

/// The broker and the queue that the demo plays on.
struct Stage {
    embedded: Option<Broker>,
    url: Secret,
    shown: String,
    queue: String,
}

impl Stage {
    async fn set(amqp: Option<Secret>) -> Result<Self, DemoError> {
        match amqp {
            Some(url) => {
                let queue = format!("leveret-demo-{}", std::process::id());
                let shown = format!("yours, in a queue of its own: {queue}");
                producer::declare_queue(url.reveal(), &queue)
                    .await
                    .map_err(|error| DemoError::Broker(error.into()))?;
                Ok(Self { embedded: None, url, shown, queue })
            }
            None => {
                let broker =
                    Broker::start(BrokerOptions::default()).await.map_err(cannot("start the demo broker"))?;
                let url = Secret::new(broker.url());
                let shown = format!("embedded, for demo and tests only, at {}", broker.address());
                Ok(Self { embedded: Some(broker), url, shown, queue: PROGRAM.to_owned() })
            }
        }
    }

    /// Removes the queue from a broker that is not the demo's own.
    async fn strike(self) -> Result<(), DemoError> {
        match self.embedded {
            Some(broker) => {
                broker.stop().await;
                Ok(())
            }
            None => producer::delete_queue(self.url.reveal(), &self.queue)
                .await
                .map_err(|error| DemoError::Broker(error.into())),
        }
    }
}

/// Writes the configuration that the demo runs with.
fn configuration(folder: &Path, port: u16, queue: &str) -> Result<PathBuf, DemoError> {
    let binary = std::env::current_exe().map_err(cannot("find Leveret's own program file"))?;
    let settings = json!({
        "listen": format!("127.0.0.1:{port}"),
        "state_dir": folder.join("state"),
        "runtime_dir": folder.join("run"),
        "brokers": { "default": { "url": format!("${{{ADDRESS}}}") } },
        "programs": {
            PROGRAM: {
                "project": "shop",
                "command": [binary, "__demo-consumer", queue],
                "scale": { "queue": queue, "wait": "3s", "min": 1, "max": 20 },
            },
            "storefront": {
                "project": "shop",
                "command": "while :; do echo \"a page was served\"; sleep 5; done",
                "shell": true,
                "processes": 2,
                "stop": { "timeout": "10s", "to": "group" },
            },
        },
    });
    let text = serde_yaml::to_string(&settings)
        .map_err(|error| cannot("write the configuration")(io::Error::other(error)))?;
    let file = folder.join("leveret.yaml");
    std::fs::write(&file, text).map_err(cannot("write the configuration"))?;
    Ok(file)
}

/// The Leveret that is being shown.
struct Leveret {
    pid: i32,
    waiting: tokio::task::JoinHandle<io::Result<ExitStatus>>,
}

impl Leveret {
    /// Starts it in a process group of its own, so that a Ctrl-C at the terminal comes to the demo alone.
    fn start(file: &Path, folder: &Path, url: &Secret) -> Result<Self, DemoError> {
        let log = std::fs::File::create(folder.join("leveret.log")).map_err(cannot("write a log"))?;
        let child = Command::new("/proc/self/exe")
            .arg0("leveret")
            .args(["run", "-c"])
            .arg(file)
            .env(ADDRESS, url.reveal())
            .env_remove("STATE_DIRECTORY")
            .env_remove("RUNTIME_DIRECTORY")
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(cannot("write a log"))?)
            .stderr(log)
            .process_group(0)
            .spawn()
            .map_err(cannot("start Leveret"))?;
        let pid =
            i32::try_from(child.id()).map_err(|error| cannot("start Leveret")(io::Error::other(error)))?;
        Ok(Self { pid, waiting: tokio::task::spawn_blocking(move || wait(child)) })
    }

    async fn ended(&mut self) -> Result<ExitStatus, DemoError> {
        let waited = (&mut self.waiting).await;
        waited.map_err(io::Error::other).and_then(|status| status).map_err(cannot("wait for Leveret"))
    }

    /// Asks it to end, and waits as long as it takes: its consumers may be busy.
    async fn end(&mut self) -> Result<(), DemoError> {
        if self.waiting.is_finished() {
            return Ok(());
        }
        let pid = rustix::process::Pid::from_raw(self.pid);
        if let Some(pid) = pid {
            rustix::process::kill_process(pid, rustix::process::Signal::TERM)
                .map_err(|errno| cannot("end Leveret")(errno.into()))?;
        }
        self.ended().await.map(drop)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the demo is the parent of the Leveret that it shows, and no keeper"
)]
fn wait(mut child: Child) -> io::Result<ExitStatus> {
    child.wait()
}

/// What ends the demo.
struct Ends {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
}

impl Ends {
    fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}

/// The terminal: lines that stay, and below them one that is drawn again and again.
struct Board {
    is_terminal: bool,
    width: usize,
}

impl Board {
    fn new() -> Self {
        let width = rustix::termios::tcgetwinsize(io::stdout()).map_or(100, |size| usize::from(size.ws_col));
        Self { is_terminal: io::stdout().is_terminal(), width: width.max(20) }
    }

    fn say(&mut self, text: &str) {
        let clear = if self.is_terminal { "\r\x1b[K" } else { "" };
        self.write(&format!("{clear}{text}\n"));
    }

    fn draw(&mut self, line: &str) {
        if self.is_terminal {
            let cut: String = line.chars().take(self.width - 1).collect();
            self.write(&format!("\r\x1b[K{cut}"));
        }
    }

    /// A demo that nobody looks at any more goes on until it is ended.
    fn write(&mut self, text: &str) {
        let mut out = io::stdout().lock();
        drop(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
    }
}
