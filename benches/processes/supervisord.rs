//! supervisord with the same thousand processes, asked over its Unix socket by XML-RPC.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use leveret::sys::clock;

use super::daemon::{Daemon, LIMIT, Supervisor, without_leveret};
use super::http;
use super::outside::wait_for_sleepers;

/// A running supervisord. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Supervisord {
    daemon: Daemon,
    socket: PathBuf,
}

/// Where it is, if it is installed.
pub(crate) fn installed() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join("supervisord")).find(|file| file.is_file())
}

impl Supervisord {
    /// Starts it and returns the time from its own start to the exec of the last process.
    pub(crate) fn start(
        binary: &Path,
        parent: &Path,
        sleep: &Path,
        count: usize,
    ) -> Result<(Self, Duration)> {
        let directory = parent.join("supervisord");
        fs::create_dir(&directory)?;
        let file = directory.join("supervisord.conf");
        let socket = directory.join("supervisor.sock");
        fs::write(&file, configuration(&directory, &socket, sleep, count))?;
        let mut command = Command::new(binary);
        without_leveret(&mut command).arg("-n").arg("-c").arg(&file).current_dir(&directory);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(directory.join("stderr"))?);

        let begun = clock::now();
        let daemon = Daemon::start(&mut command)?;
        let started = wait_for_sleepers(daemon.pid(), count, LIMIT);
        let took = clock::now().since(begun);
        started.with_context(|| fs::read_to_string(directory.join("stderr")).unwrap_or_default())?;
        Ok((Self { daemon, socket }, took))
    }

    fn call(&self, method: &str) -> Result<usize> {
        let body = format!(
            "<?xml version=\"1.0\"?><methodCall><methodName>{method}</methodName><params/></methodCall>"
        );
        Ok(http::ask(&self.socket, "POST", "/RPC2", "text/xml", &body)?.len())
    }
}

impl Supervisor for Supervisord {
    fn parent(&self) -> i32 {
        self.daemon.pid()
    }

    fn own(&self) -> Result<Vec<i32>> {
        Ok(vec![self.daemon.pid()])
    }

    fn status(&self) -> Result<Option<usize>> {
        self.call("supervisor.getAllProcessInfo").map(Some)
    }

    fn stop_all(&self) -> Result<()> {
        self.call("supervisor.stopAllProcesses")?;
        Ok(())
    }
}

/// Output goes to one file a process, stdout and stderr together, as it does in Leveret.
fn configuration(directory: &Path, socket: &Path, sleep: &Path, count: usize) -> String {
    let (directory, socket, sleep) = (directory.display(), socket.display(), sleep.display());
    format!(
        "[supervisord]\n\
         nodaemon=true\n\
         logfile={directory}/supervisord.log\n\
         pidfile={directory}/supervisord.pid\n\
         childlogdir={directory}\n\
         minfds=8192\n\
         [unix_http_server]\n\
         file={socket}\n\
         [rpcinterface:supervisor]\n\
         supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n\
         [program:sleepers]\n\
         command={sleep} 100000\n\
         process_name=%(process_num)d\n\
         numprocs={count}\n\
         autorestart=true\n\
         redirect_stderr=true\n"
    )
}
