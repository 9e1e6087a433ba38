//! `leveret run --detach`: Leveret is started in the background, and this process waits for the verdict. There is no fork:
//! the binary is started again, and leaves the session by itself.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use tokio::time::sleep;

use super::address::{self, Address};
use super::arguments::RunArgs;
use super::client::Client;
use super::console::Console;
use super::exit::Exit;
use super::failure::Failure;
use super::patience::{POLL_INTERVAL, within};
use super::status;
use crate::config::settings::Settings;
use crate::controller::snapshot::Snapshot;
use crate::core::time::human;
use crate::core::words;
use crate::sys::cause::plain;

/// The name of the log within the state directory.
const LOG_FILE: &str = "leveret.log";

/// Starts Leveret in the background and waits until it is ready.
///
/// # Errors
/// [`Failure::Usage`] for a configuration with errors; [`Failure::Failed`] when Leveret or one of its programs fails, or is
/// not ready in time.
pub(crate) fn detach(
    arguments: &RunArgs,
    file: &Path,
    load: impl Fn(&Path, bool) -> Result<Settings, String>,
    console: &mut Console<'_>,
) -> Result<Exit, Failure> {
    let settings = load(file, false).map_err(Failure::Usage)?;
    for warning in &settings.warnings {
        console.note(format_args!("warning: {warning}"));
    }
    let log = settings.state_dir.join(LOG_FILE);
    let cannot = |what: String| {
        move |error: std::io::Error| Failure::Failed(format!("cannot {what}: {}", plain(error)))
    };
    let output = open_log(&settings.state_dir, &log).map_err(cannot(format!("open {}", log.display())))?;
    let before = output.metadata().map_or(0, |metadata| metadata.len());
    let mut child =
        start(arguments, file, output).map_err(cannot("start Leveret in the background".to_owned()))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(cannot("wait for Leveret".to_owned()))?;
    let client = Client::new(Address::Unix(settings.runtime_dir.join(address::SOCKET)));
    let pid = child.id();
    let mut last = Snapshot::default();
    let verdict = async {
        loop {
            if let Some(status) = exit_of(&mut child) {
                return Err(ended(status, &log, before));
            }
            // Until it listens there is nobody to ask; and for a moment it may be an earlier one that answers.
            if let Ok(now) = client.read::<Snapshot>(status::PATH).await
                && u32::try_from(now.pid) == Ok(pid)
            {
                if now.ready {
                    return Ok(now.programs.len());
                }
                if let Some(why) = failing(&now) {
                    return Err(Failure::Failed(format!("Leveret runs with pid {pid}, but {why}")));
                }
                last = now;
            }
            sleep(POLL_INTERVAL).await;
        }
    };
    let count = match runtime.block_on(async { within(Some(arguments.timeout), verdict).await }) {
        Some(verdict) => verdict?,
        None => {
            let (limit, missing) = (human(arguments.timeout), missing(&last));
            return Err(Failure::Failed(format!(
                "Leveret runs with pid {pid}, but is not ready after {limit}{missing}"
            )));
        }
    };
    console.say(format_args!("Leveret runs with pid {pid}; {} ready", words::count(count, "program")))?;
    Ok(Exit::Done)
}

fn open_log(state_dir: &Path, log: &Path) -> std::io::Result<File> {
    DirBuilder::new().recursive(true).mode(0o750).create(state_dir)?;
    OpenOptions::new().create(true).append(true).mode(0o640).open(log)
}

fn start(arguments: &RunArgs, file: &Path, output: File) -> std::io::Result<Child> {
    let mut command = Command::new("/proc/self/exe");
    // The name that it was started by tells where a later version will be.
    command.arg0(std::env::args_os().next().unwrap_or_else(|| "leveret".into()));
    command.args(["run", "--detached", "-c"]).arg(file);
    if let Some(pid_file) = &arguments.pid_file {
        command.arg("--pid-file").arg(pid_file);
    }
    let errors = output.try_clone()?;
    command.stdin(Stdio::null()).stdout(output).stderr(errors).spawn()
}

#[expect(clippy::disallowed_methods, reason = "this process is no keeper, and Leveret is its only child")]
fn exit_of(child: &mut Child) -> Option<ExitStatus> {
    // Where its end cannot be seen, the limit ends the waiting.
    child.try_wait().ok().flatten()
}

/// What Leveret said at its end, and as the exit code what it ended with.
fn ended(status: ExitStatus, log: &Path, before: u64) -> Failure {
    let said = fs::read(log).unwrap_or_default();
    let said = usize::try_from(before).ok().and_then(|before| said.get(before..)).unwrap_or_default();
    let said = String::from_utf8_lossy(said);
    let said = said.trim();
    let text = match said.is_empty() {
        true => format!("Leveret ended at its start: {status}"),
        false => said.strip_prefix("leveret: ").unwrap_or(said).to_owned(),
    };
    match status.code() {
        Some(2) => Failure::Usage(text),
        Some(_) | None => Failure::Failed(text),
    }
}

/// The first process that fails, with the reason.
fn failing(now: &Snapshot) -> Option<String> {
    let processes = now.programs.iter().flat_map(|program| &program.processes);
    let mut failing = processes.filter(|process| matches!(process.state.as_str(), "failed" | "backoff"));
    failing.next().map(|process| {
        let reason = process.reason.clone().unwrap_or_else(|| process.state.clone());
        format!("{} fails: {reason}", process.id)
    })
}

/// What is missing, as the end of a sentence.
fn missing(now: &Snapshot) -> String {
    let missing = now.programs.iter().find(|program| program.running < program.desired);
    missing.map_or_else(String::new, |program| {
        format!(": {} runs {} of {}, {}", program.name, program.running, program.desired, program.reason)
    })
}
