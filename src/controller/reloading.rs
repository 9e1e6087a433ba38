//! Reading the configuration file again: on a thread of its own, one file after the other, and then taken over, or only
//! compared with what runs. A file with mistakes changes nothing.

use std::collections::{BTreeMap, VecDeque};
use std::future::pending;
use std::path::PathBuf;

use tokio::sync::oneshot;
use tokio::task::{JoinHandle, spawn_blocking};
use tracing::{error, info, warn};

use super::control::{Control, limits, with_causes};
use super::handle::{ProgramChange, Refusal, ReloadReport};
use crate::config::settings::Settings;
use crate::config::{self, Problems};
use crate::core::configure::{Changes, Class};
use crate::sys::clock;

type Reply = oneshot::Sender<Result<ReloadReport, Refusal>>;

/// What a file is read for.
#[derive(Debug)]
pub(super) enum Reading {
    /// To be taken over; nobody waits for an answer where a signal asked for it.
    Reload(Option<Reply>),
    /// To be compared.
    Plan(Reply),
}

/// A file that was read.
#[derive(Debug)]
pub(super) struct Read {
    purpose: Reading,
    outcome: Result<Settings, Problems>,
}

/// The files that are being read.
#[derive(Debug, Default)]
pub(super) struct Configurations {
    running: Option<(JoinHandle<Result<Settings, Problems>>, Reading)>,
    waiting: VecDeque<Reading>,
}

impl Configurations {
    /// Waits for the file that is being read, for ever if there is none. Nothing is lost when it is dropped before its end.
    pub(super) async fn read(&mut self) -> Read {
        let Some((task, _)) = &mut self.running else { return pending().await };
        let joined = task.await;
        let outcome = joined.unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic()));
        match self.running.take() {
            Some((_, purpose)) => Read { purpose, outcome },
            None => pending().await,
        }
    }

    /// Asks for the file, which is read when those before it have been.
    fn ask(&mut self, purpose: Reading) {
        // A signal that comes while another one waits means the same file.
        let is_by_signal = |reading: &Reading| matches!(reading, Reading::Reload(None));
        if !(is_by_signal(&purpose) && self.waiting.iter().any(is_by_signal)) {
            self.waiting.push_back(purpose);
        }
    }

    fn begin(&mut self, path: PathBuf, environment: BTreeMap<String, String>) {
        if self.running.is_none()
            && let Some(purpose) = self.waiting.pop_front()
        {
            self.running = Some((spawn_blocking(move || config::load(&path, &environment)), purpose));
        }
    }
}

impl Control {
    /// Begins to read the configuration file.
    pub(super) fn read_configuration(&mut self, purpose: Reading) {
        if matches!(purpose, Reading::Reload(_)) {
            self.announce_reloading();
        }
        self.configurations.ask(purpose);
        self.configurations.begin(self.configuration.clone(), self.environment.clone());
    }

    /// Takes over a file that was read, or says what would change.
    pub(super) fn configuration_was_read(&mut self, read: Read) {
        let Read { purpose, outcome } = read;
        let is_reload = matches!(purpose, Reading::Reload(_));
        // Whoever asked may have gone away meanwhile; then nobody misses the answer.
        match (purpose, outcome) {
            (Reading::Plan(reply), Ok(settings)) => drop(reply.send(Ok(self.plan_reload(&settings)))),
            (Reading::Plan(reply), Err(problems)) => {
                let text = format!("the file has mistakes, and a reload would change nothing:\n{problems}");
                drop(reply.send(Err(Refusal::Configuration(text))));
            }
            (Reading::Reload(reply), Ok(settings)) => {
                let report = self.reload(settings);
                if let Some(reply) = reply {
                    drop(reply.send(Ok(report)));
                }
            }
            (Reading::Reload(reply), Err(problems)) => {
                let text =
                    format!("the configuration was not changed, because the file has mistakes:\n{problems}");
                self.config_error = Some(text.clone());
                match reply {
                    Some(reply) => drop(reply.send(Err(Refusal::Configuration(text)))),
                    None => error!("{text}"),
                }
            }
        }
        if is_reload {
            self.announce_reloaded();
        }
        self.configurations.begin(self.configuration.clone(), self.environment.clone());
    }

    /// What a reload would do; nothing is changed.
    fn plan_reload(&self, settings: &Settings) -> ReloadReport {
        report(&self.machine.changes(&settings.programs), &self.settings, settings)
    }

    fn reload(&mut self, settings: Settings) -> ReloadReport {
        self.config_error = None;
        let changes = self.machine.configure(settings.programs.clone(), limits(&settings));
        let report = report(&changes, &self.settings, &settings);
        let machine = &self.machine;
        self.checks.retain(|incarnation, purpose, check| machine.is_checked(incarnation, (purpose, check)));
        self.brokers.configure(&settings.brokers, &settings.programs, settings.probe_interval);
        self.settings = Settings {
            listen: self.settings.listen,
            state_dir: self.settings.state_dir.clone(),
            runtime_dir: self.settings.runtime_dir.clone(),
            socket: self.settings.socket.clone(),
            allowed_hosts: self.settings.allowed_hosts.clone(),
            ..settings
        };
        if let Err(trouble) = self.keep_configuration() {
            error!(
                "{}; the next controller would go on with the configuration before",
                with_causes(&trouble)
            );
        }
        self.saver.at_once(clock::now());
        self.reconfigure_logs();
        for warning in &report.warnings {
            warn!("{warning}");
        }
        info!(
            "configuration read: {} added, {} removed, {} restarted, {} adjusted",
            report.added.len(),
            report.removed.len(),
            report.restarted.len(),
            report.adjusted.len()
        );
        report
    }
}

/// What changes between the settings that are in force and others.
fn report(changes: &Changes, before: &Settings, after: &Settings) -> ReloadReport {
    let mut warnings = after.warnings.clone();
    let fixed = [
        ("listen", after.listen == before.listen),
        ("state_dir", after.state_dir == before.state_dir),
        ("runtime_dir", after.runtime_dir == before.runtime_dir),
        ("socket", after.socket == before.socket),
        ("allowed_hosts", after.allowed_hosts == before.allowed_hosts),
    ];
    for (key, same) in fixed {
        if !same {
            warnings.push(format!("`{key}` changed and counts from the next start of Leveret"));
        }
    }
    let programs = changes.0.iter().map(|change| ProgramChange {
        name: change.program.to_string(),
        change: change.class,
        restart: change.keys.restart.clone(),
        in_place: change.keys.in_place.clone(),
        processes: change.processes,
    });
    ReloadReport {
        added: changes.of(Class::Added),
        removed: changes.of(Class::Removed),
        restarted: changes.of(Class::Restart),
        adjusted: changes.of(Class::InPlace),
        programs: programs.collect(),
        settings: changed_settings(before, after),
        warnings,
    }
}

/// Keys outside of the programs that count at once.
fn changed_settings(before: &Settings, after: &Settings) -> Vec<String> {
    let mut changed = Vec::new();
    if before.probe_interval != after.probe_interval {
        changed.push("probe_interval".to_owned());
    }
    if before.shutdown_timeout != after.shutdown_timeout {
        changed.push("shutdown_timeout".to_owned());
    }
    let of =
        |settings: &Settings, name: &str| settings.brokers.iter().find(|broker| broker.name == name).cloned();
    let names: std::collections::BTreeSet<&str> =
        before.brokers.iter().chain(&after.brokers).map(|broker| broker.name.as_str()).collect();
    let differing = names.into_iter().filter(|name| of(before, name) != of(after, name));
    changed.extend(differing.map(|name| format!("brokers.{name}")));
    changed
}
