//! Leveret with a thousand services or as many as are wanted, and one scaled program whose queue is on the demo broker, in this process.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use leveret::demo::broker::{Broker, BrokerOptions};
use leveret::demo::producer;
use leveret::sys::clock;
use rustix::fs::statfs;
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::daemon::{Daemon, LIMIT, Supervisor, without_leveret};
use super::http;
use super::outside::{helpers, wait_for_sleepers, within};

/// A running Leveret. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Leveret {
    daemon: Daemon,
    socket: PathBuf,
    /// Goes when the daemon has ended.
    _runtime: TempDir,
    /// Dropped after the daemon, which is connected to it.
    _broker: Option<DemoBroker>,
}

impl Leveret {
    /// Starts it and returns the time from its own start to the exec of the last process.
    pub(crate) fn start(
        binary: &Path,
        parent: &Path,
        round: &str,
        sleep: &Path,
        count: usize,
    ) -> Result<(Self, Duration)> {
        let directory = parent.join(format!("leveret-{count}-{round}"));
        fs::create_dir(&directory)?;
        let runtime = runtime_directory(&directory)?;
        let broker = DemoBroker::start()?;
        let file = directory.join("leveret.yaml");
        fs::write(&file, configuration(&directory, runtime.path(), &broker.broker.url(), sleep, count))?;
        let begun = clock::now();
        let daemon = daemon(binary, &directory, &file)?;
        let started = wait_for_sleepers(daemon.pid(), count, LIMIT);
        let took = clock::now().since(begun);
        started.with_context(|| fs::read_to_string(directory.join("stderr")).unwrap_or_default())?;

        let socket = runtime.path().join("leveret.sock");
        let leveret = Self { daemon, socket, _runtime: runtime, _broker: Some(broker) };
        leveret.wait_for_broker()?;
        Ok((leveret, took))
    }

    /// Starts one with these programs and brokers, without a broker of its own.
    pub(crate) fn start_with(binary: &Path, parent: &Path, name: &str, yaml: &str) -> Result<Self> {
        let directory = parent.join(format!("leveret-{name}"));
        fs::create_dir(&directory)?;
        let runtime = runtime_directory(&directory)?;
        let file = directory.join("leveret.yaml");
        fs::write(&file, head(&directory, runtime.path()) + yaml)?;
        let daemon = daemon(binary, &directory, &file)?;
        let socket = runtime.path().join("leveret.sock");
        let deadline = clock::now() + LIMIT;
        while !socket.exists() {
            within(deadline, "Leveret does not start")?;
            super::outside::pause(Duration::from_millis(20));
        }
        Ok(Self { daemon, socket, _runtime: runtime, _broker: None })
    }

    fn wait_for_broker(&self) -> Result<()> {
        let deadline = clock::now() + LIMIT;
        while !self.get_status()?.contains("\"state\":\"connected\"") {
            within(deadline, "Leveret does not connect to the broker")?;
            super::outside::pause(Duration::from_millis(50));
        }
        Ok(())
    }

    fn get_status(&self) -> Result<String> {
        http::ask(&self.socket, "GET", "/api/v1/status", "application/json", "")
    }

    /// What the API says at this path.
    pub(crate) fn get_json(&self, path: &str) -> Result<Value> {
        let answer = http::ask(&self.socket, "GET", path, "application/json", "")?;
        let (_, body) = answer.split_once("\r\n\r\n").context("an answer without a body")?;
        Ok(serde_json::from_str(body)?)
    }

    /// What is at this path, as it is.
    pub(crate) fn get_text(&self, path: &str) -> Result<String> {
        http::ask(&self.socket, "GET", path, "text/plain", "")
    }

    /// Has the API do something.
    pub(crate) fn post(&self, path: &str) -> Result<()> {
        http::ask(&self.socket, "POST", path, "application/json", "")?;
        Ok(())
    }
}

impl Supervisor for Leveret {
    fn parent(&self) -> i32 {
        self.daemon.pid()
    }

    fn own(&self) -> Result<Vec<i32>> {
        // The keeper, the controller, and the shim that waits.
        let mut own = helpers(self.daemon.pid())?;
        own.push(self.daemon.pid());
        Ok(own)
    }

    fn status(&self) -> Result<Option<usize>> {
        Ok(Some(self.get_status()?.len()))
    }

    fn stop_all(&self) -> Result<()> {
        self.post("/api/v1/all/stop")
    }
}

/// Where `/run` would be, in memory: what is written there for each process is not meant for a disk.
fn runtime_directory(otherwise: &Path) -> Result<TempDir> {
    const TMPFS: rustix::fs::FsWord = 0x0102_1994;
    const MEMORY: &str = "/dev/shm";
    let is_in_memory = statfs(MEMORY).is_ok_and(|place| place.f_type == TMPFS);
    let parent = if is_in_memory { Path::new(MEMORY) } else { otherwise };
    Ok(tempfile::Builder::new().prefix("leveret-bench-").tempdir_in(parent)?)
}

fn daemon(binary: &Path, directory: &Path, file: &Path) -> Result<Daemon> {
    let mut command = Command::new(binary);
    without_leveret(&mut command).args(["run", "-c"]).arg(file);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(directory.join("stderr"))?);
    Daemon::start(&mut command)
}

fn head(directory: &Path, runtime: &Path) -> String {
    let (directory, runtime) = (directory.display(), runtime.display());
    format!("listen: 127.0.0.1:0\nstate_dir: {directory}/state\nruntime_dir: {runtime}\n")
}

fn configuration(directory: &Path, runtime: &Path, url: &str, sleep: &Path, count: usize) -> String {
    let (head, sleep) = (head(directory, runtime), sleep.display());
    let counts = (0..count).step_by(PROGRAM_MAX).map(|begun| (count - begun).min(PROGRAM_MAX));
    let sleepers: String = counts
        .enumerate()
        .map(|(number, count)| {
            format!(
                "\x20 sleepers-{number}:\n\
                 \x20   command: [{sleep}, \"100000\"]\n\
                 \x20   processes: {count}\n\
                 \x20   backoff: {{initial: 0s}}\n"
            )
        })
        .collect();
    format!(
        "{head}\
         brokers: {{default: \"{url}\"}}\n\
         programs:\n\
         {sleepers}\
         \x20 consumers:\n\
         \x20   command: [{sleep}, \"100000\"]\n\
         \x20   scale: {{queue: {QUEUE}, wait: 5s, min: 0, max: 10}}\n"
    )
}

/// The most processes of one program.
const PROGRAM_MAX: usize = 1_000;

const QUEUE: &str = "bench";

/// The demo broker with one empty queue.
#[derive(Debug)]
struct DemoBroker {
    broker: Broker,
    /// One thread, which does nothing but serve the broker.
    _runtime: Runtime,
}

impl DemoBroker {
    fn start() -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let broker = runtime.block_on(Broker::start(BrokerOptions::default()))?;
        runtime.block_on(producer::declare_queue(&broker.url(), QUEUE))?;
        Ok(Self { broker, _runtime: runtime })
    }
}
