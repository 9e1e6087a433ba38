//! circus with the same thousand processes, asked over its ZeroMQ socket.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use leveret::sys::clock;

use super::daemon::{Daemon, LIMIT, Supervisor, without_leveret};
use super::outside::{pause, wait_for_sleepers, within};
use super::zmtp;

/// A running circusd. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Circus {
    daemon: Daemon,
    socket: PathBuf,
}

/// Where it is, if it is installed: the Makefile puts it into an environment of its own.
pub(crate) fn installed() -> Option<PathBuf> {
    let named = std::env::var_os("LEVERET_BENCH_CIRCUS").map(PathBuf::from);
    named.filter(|file| file.is_file())
}

impl Circus {
    /// Starts it and returns the time from its own start to the exec of the last process.
    pub(crate) fn start(
        binary: &Path,
        parent: &Path,
        sleep: &Path,
        count: usize,
    ) -> Result<(Self, Duration)> {
        let directory = parent.join("circus");
        fs::create_dir(&directory)?;
        let file = directory.join("circus.ini");
        let socket = directory.join("endpoint");
        fs::write(&file, configuration(&directory, &socket, sleep, count))?;
        let mut command = Command::new(binary);
        without_leveret(&mut command).arg("--log-output").arg(directory.join("log")).arg(&file);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(directory.join("stderr"))?);

        let begun = clock::now();
        let daemon = Daemon::start(&mut command)?;
        let started = wait_for_sleepers(daemon.pid(), count, LIMIT);
        let took = clock::now().since(begun);
        started.with_context(|| fs::read_to_string(directory.join("stderr")).unwrap_or_default())?;
        let circus = Self { daemon, socket };
        circus.wait_until_it_listens()?;
        Ok((circus, took))
    }

    fn ask(&self, command: &str) -> Result<String> {
        let message = format!(
            "{{\"id\":\"bench\",\"command\":\"{command}\",\"properties\":{{\"name\":\"sleepers\",\"waiting\":true}}}}"
        );
        let answer = String::from_utf8(zmtp::ask(&self.socket, &message)?)?;
        Ok(answer)
    }

    /// It takes no orders while it starts processes.
    fn wait_until_it_listens(&self) -> Result<()> {
        let deadline = clock::now() + LIMIT;
        while !self.ask("status")?.contains("\"active\"") {
            within(deadline, "circus does not come to rest")?;
            pause(Duration::from_millis(100));
        }
        Ok(())
    }
}

impl Supervisor for Circus {
    fn parent(&self) -> i32 {
        self.daemon.pid()
    }

    fn own(&self) -> Result<Vec<i32>> {
        Ok(vec![self.daemon.pid()])
    }

    /// Its `stats` looks through all processes of the machine for each of its own, for a minute, in which it does nothing
    /// else; its other answers do not tell how processes are.
    fn status(&self) -> Result<Option<usize>> {
        Ok(None)
    }

    fn stop_all(&self) -> Result<()> {
        let answer = self.ask("stop")?;
        ensure!(answer.contains("\"ok\""), "circus does not stop its processes: {answer}");
        Ok(())
    }
}

/// Output of all goes to one file: it knows no file for each process.
fn configuration(directory: &Path, socket: &Path, sleep: &Path, count: usize) -> String {
    let (directory, socket, sleep) = (directory.display(), socket.display(), sleep.display());
    format!(
        "[circus]\n\
         endpoint = ipc://{socket}\n\
         pubsub_endpoint = ipc://{directory}/pubsub\n\
         statsd = False\n\
         [watcher:sleepers]\n\
         cmd = {sleep} 100000\n\
         numprocesses = {count}\n\
         warmup_delay = 0\n\
         stdout_stream.class = FileStream\n\
         stdout_stream.filename = {directory}/output\n\
         stderr_stream.class = FileStream\n\
         stderr_stream.filename = {directory}/output\n"
    )
}
