//! The run of the test process: its directory, its marker, and the guard that cleans up after it.
//!
//! The guard (tests/fixtures/guard.sh) holds the other end of a pipe from this process. When this process is gone, however it
//! went, the guard kills everything that carries the marker and removes the directory. `LEVERET_TEST_KEEP=1` keeps it.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// Variable of the environment that all processes of one test run carry.
const RUN_VARIABLE: &str = "LEVERET_TEST_RUN";
/// Variable of the environment that all processes of one daemon, node or consumer carry.
const ID_VARIABLE: &str = "LEVERET_TEST_ID";

/// The program that misbehaves on request.
const VICTIM: &str = "victim.py";

static RUN: OnceLock<Run> = OnceLock::new();
static NEXT: AtomicU32 = AtomicU32::new(0);

#[derive(Debug)]
struct Run {
    marker: String,
    directory: PathBuf,
    /// Alive as long as this process: its standard input is what the guard waits on.
    _guard: Child,
}

/// A name that nothing else in this run and in no other run has, beginning with `prefix`: for queues, users, nodes.
pub(crate) fn unique(prefix: &str) -> String {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    // Always six digits: no name may be the beginning of another, because processes are found by a part of their environment.
    format!("{prefix}-{}-{number:06}", current().marker)
}

/// A new directory below the run's own, which other users can enter. It goes with the run.
pub(crate) fn directory(name: &str) -> PathBuf {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = current().directory.join(format!("{name}-{number}"));
    fs::create_dir(&path).expect("a directory can be made in the run's own");
    open_to_all(&path);
    path
}

/// A command whose process, and whatever it starts, is found by `id` and does not outlive the run.
pub(crate) fn command(program: impl AsRef<Path>, id: &str) -> Command {
    let mut command = Command::new(program.as_ref());
    command.env(RUN_VARIABLE, &current().marker).env(ID_VARIABLE, id).stdin(Stdio::null());
    command
}

/// The file `name` of tests/fixtures.
pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// The command of tests/fixtures/victim.py with these options, as a configuration file takes it.
pub(crate) fn victim(options: &str) -> String {
    // A copy: the project itself may be in a place that other users cannot enter.
    format!("/usr/bin/python3 {} {options}", current().directory.join(VICTIM).display())
}

/// A command that runs this shell script, which is written to `path`.
pub(crate) fn script(path: &Path, text: &str) -> String {
    fs::write(path, text).expect("the directory is ours");
    format!("/bin/sh {}", path.display())
}

fn current() -> &'static Run {
    RUN.get_or_init(|| {
        let directory = tempfile::Builder::new()
            .prefix("leveret-")
            .tempdir()
            .expect("a temporary directory can be made")
            .keep();
        open_to_all(&directory);
        fs::copy(fixture(VICTIM), directory.join(VICTIM)).expect("the directory is ours");
        let marker = format!("run{}x{}", std::process::id(), random_part(&directory));
        let kept = std::env::var_os("LEVERET_TEST_KEEP").is_some();
        let guard = start_guard(&marker, (!kept).then_some(directory.as_path()));
        Run { marker, directory, _guard: guard }
    })
}

fn start_guard(marker: &str, directory: Option<&Path>) -> Child {
    let mut guard = Command::new("/bin/sh")
        .arg(fixture("guard.sh"))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .expect("the guard can be started");
    let input = guard.stdin.as_mut().expect("its standard input is a pipe");
    let directory = directory.map(|path| path.display().to_string()).unwrap_or_default();
    write!(input, "{marker}\n{directory}\n").expect("the guard reads");
    guard
}

fn random_part(directory: &Path) -> String {
    let name = directory.file_name().expect("a temporary directory has a name").to_string_lossy();
    name.trim_start_matches("leveret-").to_lowercase()
}

fn open_to_all(directory: &Path) {
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).expect("the directory is ours");
}
