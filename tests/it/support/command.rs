//! Running a command to its end, with a limit.

use std::fs::{self, File};
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use super::wait::wait_for;
use super::{proc, run};

/// What a command left when it ended.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs `command` (made by [`run::command`]) to its end; panics when that takes longer than `limit`.
pub(crate) fn finish(what: &str, mut command: Command, limit: Duration) -> Finished {
    let directory = run::directory("command");
    let output = |name: &str| directory.join(name);
    let create = |name: &str| File::create(output(name)).expect("a file can be made in the run's directory");
    // Files, not pipes: a process that the command leaves behind cannot keep the reader waiting.
    command.stdout(create("stdout")).stderr(create("stderr"));
    let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {what}: {error}"));
    let status = wait_for_exit(what, &mut child, limit);
    let read = |name: &str| {
        let bytes = fs::read(output(name)).expect("the file was just made");
        String::from_utf8_lossy(&bytes).into_owned()
    };
    Finished { status, stdout: read("stdout"), stderr: read("stderr") }
}

/// Waits until `child` has ended; panics when that takes longer than `limit`.
pub(crate) fn wait_for_exit(what: &str, child: &mut Child, limit: Duration) -> ExitStatus {
    wait_for(&format!("{what} to end"), limit, || exit_of(child))
}

/// The exit of `child` if it has ended.
#[expect(clippy::disallowed_methods, reason = "a test reaps the processes that it started itself")]
pub(crate) fn exit_of(child: &mut Child) -> Option<ExitStatus> {
    child.try_wait().expect("it is a child of this process")
}

/// The pid as the kernel's own type.
pub(crate) fn pid_of(child: &Child) -> i32 {
    i32::try_from(child.id()).expect("pids are small")
}

/// Kills everything with the marker `id` and reaps `child`, the first of it.
pub(crate) fn kill_and_reap(what: &str, child: &mut Child, id: &str) {
    proc::kill_marked(id);
    wait_for_exit(what, child, Duration::from_secs(10));
}
