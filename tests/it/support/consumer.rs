//! The consumers of tests/fixtures, as users write them, run directly (without a daemon).

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::time::Duration;

use rustix::process::Signal;

use super::{command, run};

/// How a consumer gets its messages, and in which language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// PHP, basic_consume with prefetch 1.
    Php,
    /// PHP, basic_get in a loop, as Symfony Messenger and Laravel do.
    PhpPolling,
    /// PHP, declares its queue before it consumes.
    PhpDeclares,
    /// Python with pika, basic_consume with prefetch 1.
    Python,
    /// The same without any thought of signals: SIGTERM ends it in the middle of a message.
    PythonCareless,
}

impl Kind {
    /// All that finish what they have begun.
    pub(crate) const ALL: [Self; 4] = [Self::Php, Self::PhpPolling, Self::PhpDeclares, Self::Python];

    /// The command: interpreter and file. Debian's own Python is named, because pika is installed for that one.
    pub(crate) fn command(self) -> (&'static str, PathBuf) {
        match self {
            Self::Php => ("/usr/bin/php", run::fixture("consumer.php")),
            Self::PhpPolling => ("/usr/bin/php", run::fixture("consumer_polling.php")),
            Self::PhpDeclares => ("/usr/bin/php", run::fixture("consumer_declares.php")),
            Self::Python => ("/usr/bin/python3", run::fixture("consumer.py")),
            Self::PythonCareless => ("/usr/bin/python3", run::fixture("consumer_careless.py")),
        }
    }
}

/// A running consumer. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Consumer {
    kind: Kind,
    id: String,
    output: PathBuf,
    child: Child,
    ended: Option<ExitStatus>,
}

impl Consumer {
    /// Starts a consumer of `queue` that works `work_ms` milliseconds on each message and writes its ledger to `log_directory`.
    pub(crate) fn start(kind: Kind, url: &str, queue: &str, work_ms: u32, log_directory: &Path) -> Self {
        let id = run::unique("consumer");
        let (interpreter, file) = kind.command();
        let path = log_directory.join(format!("{id}.out"));
        let output = File::create(&path).expect("the directory is there");
        let child = run::command(interpreter, &id)
            .arg(file)
            .env("AMQP_URL", url)
            .env("QUEUE", queue)
            .env("WORK_MS", work_ms.to_string())
            .env("LOG_DIR", log_directory)
            .stdout(output.try_clone().expect("a descriptor can be copied"))
            .stderr(output)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {interpreter}: {error} (try: make setup)"));
        Self { kind, id, output: path, child, ended: None }
    }

    /// Asks it to stop (SIGTERM) and waits until it has.
    pub(crate) fn stop(&mut self, limit: Duration) -> ExitStatus {
        super::proc::signal(command::pid_of(&self.child), Signal::TERM);
        let status = command::wait_for_exit(&format!("the {:?} consumer", self.kind), &mut self.child, limit);
        self.ended = Some(status);
        status
    }

    /// Its number.
    pub(crate) fn pid(&self) -> i32 {
        command::pid_of(&self.child)
    }

    /// How it ended, if it has.
    pub(crate) fn exit(&mut self) -> Option<ExitStatus> {
        self.ended = self.ended.or_else(|| command::exit_of(&mut self.child));
        self.ended
    }

    /// What it has printed, standard error included.
    pub(crate) fn output(&self) -> String {
        fs::read_to_string(&self.output).expect("the file was made at the start")
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        if self.exit().is_none() {
            command::kill_and_reap("a consumer", &mut self.child, &self.id);
        }
    }
}
