//! A scaled program as a user would configure it, whose processes are the consumers of tests/fixtures.

use std::path::PathBuf;

use super::consumer::Kind;
use super::ledger::Ledger;
use super::run;

/// A scaled program with a queue and a directory of books of its own.
#[derive(Debug)]
pub(crate) struct Scaled {
    pub(crate) name: String,
    pub(crate) queue: String,
    command: String,
    work_ms: u32,
    scale: String,
    extra: String,
    hold: PathBuf,
    books: PathBuf,
}

impl Scaled {
    /// Consumers of this kind, which work 50 ms on each message. `scale` is what stands beside the queue: `wait: 2s, max: 20`.
    pub(crate) fn new(name: &str, kind: Kind, scale: &str) -> Self {
        let (interpreter, file) = kind.command();
        Self::with_command(name, &format!("{interpreter} {}", file.display()), scale)
    }

    /// Like [`Scaled::new`], with any command.
    pub(crate) fn with_command(name: &str, command: &str, scale: &str) -> Self {
        Self {
            name: name.to_owned(),
            queue: run::unique(name),
            command: command.to_owned(),
            work_ms: 50,
            scale: scale.to_owned(),
            extra: String::new(),
            hold: run::directory("hold").join("hold"),
            books: run::directory(name),
        }
    }

    /// How long the consumers work on each message.
    pub(crate) fn work_ms(self, work_ms: u32) -> Self {
        Self { work_ms, ..self }
    }

    /// More keys of the program, one line of YAML.
    pub(crate) fn key(self, line: &str) -> Self {
        Self { extra: format!("{}    {line}\n", self.extra), ..self }
    }

    /// The program as it stands under `programs:`. The consumers find their broker in AMQP_URL, which they have from the daemon.
    pub(crate) fn yaml(&self) -> String {
        let Self { name, queue, command, work_ms, scale, extra, hold, books } = self;
        format!(
            "  {name}:\n    command: {command}\n    scale: {{queue: {queue}, {scale}}}\n    \
             environment: {{QUEUE: {queue}, WORK_MS: \"{work_ms}\", HOLD: {}, LOG_DIR: {}}}\n{extra}",
            hold.display(),
            books.display()
        )
    }

    /// From now on no message that the consumers in Python begin ends.
    pub(crate) fn hold(&self) {
        std::fs::write(&self.hold, "").expect("the directory is ours");
    }

    /// They may end.
    pub(crate) fn release(&self) {
        std::fs::remove_file(&self.hold).expect("they were held");
    }

    /// What the consumers have written so far.
    pub(crate) fn books(&self) -> Ledger {
        Ledger::read(&self.books)
    }
}

/// A configuration whose broker is the one in the daemon's AMQP_URL.
pub(crate) fn config<'a>(programs: impl IntoIterator<Item = &'a Scaled>) -> String {
    config_of("{url: \"${AMQP_URL}\"}", programs)
}

/// The same with the management API in RABBITMQ_API.
pub(crate) fn config_with_management<'a>(programs: impl IntoIterator<Item = &'a Scaled>) -> String {
    config_of("{url: \"${AMQP_URL}\", management: \"${RABBITMQ_API}\"}", programs)
}

/// The same with metrics at the address in RABBITMQ_METRICS.
pub(crate) fn config_with_metrics<'a>(programs: impl IntoIterator<Item = &'a Scaled>) -> String {
    config_of("{url: \"${AMQP_URL}\", metrics: \"${RABBITMQ_METRICS}\"}", programs)
}

fn config_of<'a>(broker: &str, programs: impl IntoIterator<Item = &'a Scaled>) -> String {
    let programs: String = programs.into_iter().map(Scaled::yaml).collect();
    format!("brokers: {{default: {broker}}}\nprograms:\n{programs}")
}
