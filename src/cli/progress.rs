//! How far a start, stop, restart or copy has come about, told from snapshots. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::select;
use crate::controller::snapshot::{ProcessView, ProgramView, Snapshot};
use crate::core::ids::Target;

/// In how many snapshots a state that was there before the action may still be shown.
const STALE_SNAPSHOTS_MAX: u32 = 10;

/// What is being done to processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    /// They should run.
    Start,
    /// They should not run.
    Stop,
    /// Each should be replaced.
    Restart,
    /// One more should run.
    Copy,
}

impl Verb {
    /// The word of the command line and of the API.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Copy => "copy",
        }
    }

    /// What has been done, at its end.
    pub(crate) fn past(self) -> &'static str {
        match self {
            Self::Start => "started",
            Self::Stop => "stopped",
            Self::Restart => "restarted",
            Self::Copy => "added",
        }
    }

    /// What is being done, while it lasts.
    pub(crate) fn present(self) -> &'static str {
        match self {
            Self::Start => "starting",
            Self::Stop => "stopping",
            Self::Restart => "restarting",
            Self::Copy => "adding",
        }
    }
}

/// A process wherever it is shown as `web` or as `web:0`.
type Key = (String, u32);

/// An action that was accepted and is coming about.
#[derive(Debug)]
pub(crate) struct Undertaking {
    verb: Verb,
    target: Target,
    /// Every process of the target's programs as it was before the action.
    before: BTreeMap<Key, ProcessView>,
    /// The processes that the action concerns, where Leveret named them.
    named: BTreeSet<Key>,
    /// Those of them that have been seen since.
    seen: BTreeSet<Key>,
    snapshots: u32,
}

impl Undertaking {
    /// What follows from `verb` on `target`, accepted after `before` was taken and concerning `named`.
    pub(crate) fn new(verb: Verb, target: Target, before: &Snapshot, named: &[String]) -> Self {
        let before: BTreeMap<Key, ProcessView> = before
            .programs
            .iter()
            .filter(|program| select::concerns(&target, program))
            .flat_map(|program| {
                program.processes.iter().map(|process| (key(program, process), process.clone()))
            })
            .collect();
        let named = named.iter().map(|id| key_of(id)).collect();
        Self { verb, target, before, named, seen: BTreeSet::new(), snapshots: 0 }
    }

    /// What is being done.
    pub(crate) fn verb(&self) -> Verb {
        self.verb
    }

    /// To whom.
    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// Takes the next snapshot and tells where every process stands.
    pub(crate) fn assess(&mut self, now: &Snapshot) -> Assessment {
        self.snapshots = self.snapshots.saturating_add(1);
        let programs: Vec<_> =
            now.programs.iter().filter(|program| select::concerns(&self.target, program)).collect();
        let present: BTreeMap<Key, (&ProgramView, &ProcessView)> = programs
            .iter()
            .flat_map(|program| {
                program.processes.iter().map(|process| (key(program, process), (*program, process)))
            })
            .collect();
        let mut assessment = Assessment::default();
        for key in self.concerned(&present) {
            match present.get(&key) {
                Some((program, process)) => {
                    self.seen.insert(key.clone());
                    let id = process.id.clone();
                    match self.standing(&key, program, process) {
                        Standing::Done => assessment.done.push(id),
                        Standing::Waiting(why) => assessment.waiting.push((id, why)),
                        Standing::Failed(why) => assessment.failed.push((id, why)),
                    }
                }
                None if self.is_gone_for_good(&key) => assessment.done.push(shown(&key)),
                None => assessment.waiting.push((shown(&key), "not there yet".to_owned())),
            }
        }
        if assessment.is_empty() {
            assessment.waiting.extend(self.short_of(&programs));
        }
        assessment
    }

    /// The processes that the action concerns: those that Leveret named, or else those that follow from the target.
    fn concerned(&self, present: &BTreeMap<Key, (&ProgramView, &ProcessView)>) -> BTreeSet<Key> {
        if !self.named.is_empty() {
            return self.named.clone();
        }
        let meant = |process: &ProcessView| select::matches_slot(&self.target, process);
        let before = || self.before.iter().filter(|(_, process)| meant(process));
        match self.verb {
            Verb::Stop => before().map(|(key, _)| key.clone()).collect(),
            Verb::Restart => {
                before().filter(|(_, process)| process.pid.is_some()).map(|(key, _)| key.clone()).collect()
            }
            Verb::Start => present
                .iter()
                .filter(|(_, (_, process))| meant(process))
                .map(|(key, _)| key.clone())
                .collect(),
            Verb::Copy => present.keys().filter(|key| !self.before.contains_key(*key)).cloned().collect(),
        }
    }

    fn standing(&self, key: &Key, program: &ProgramView, process: &ProcessView) -> Standing {
        match self.verb {
            Verb::Stop => match process.state.as_str() {
                "stopped" | "exited" | "failed" if process.pid.is_none() => Standing::Done,
                _ => Standing::Waiting(why(process)),
            },
            Verb::Start | Verb::Copy => self.standing_of_start(key, program, process),
            Verb::Restart if self.is_old_life(key, process) => Standing::Waiting(why(process)),
            Verb::Restart => self.standing_of_start(key, program, process),
        }
    }

    fn standing_of_start(&self, key: &Key, program: &ProgramView, process: &ProcessView) -> Standing {
        let is_stale = self.snapshots <= STALE_SNAPSHOTS_MAX && self.is_as_before(key, process);
        match process.state.as_str() {
            "running" => Standing::Done,
            "backoff" | "failed" if !is_stale => Standing::Failed(why(process)),
            "exited" if !is_stale => match process.exit.as_deref() {
                Some("exit code 0") | None => Standing::Done,
                Some(exit) => Standing::Failed(process.reason.clone().unwrap_or_else(|| exit.to_owned())),
            },
            "stopping" | "stopped" if self.is_given_back(program) => Standing::Done,
            _ => Standing::Waiting(why(process)),
        }
    }

    /// Whether a process that ends is one that the program no longer wants, while it has all that it wants.
    fn is_given_back(&self, program: &ProgramView) -> bool {
        !matches!(self.target, Target::Process(_)) && program.running >= program.desired
    }

    /// Whether this is still the life that is to be replaced.
    fn is_old_life(&self, key: &Key, process: &ProcessView) -> bool {
        let Some(before) = self.before.get(key) else {
            return false;
        };
        match (before.pid, before.incarnation, process.incarnation) {
            // Nothing ran before, so there is nothing to replace; it is started.
            (None, _, _) => false,
            (Some(_), Some(before), Some(now)) => now <= before,
            (Some(_), _, _) => {
                before.pid == process.pid || process.pid.is_none() && self.is_as_before(key, process)
            }
        }
    }

    fn is_as_before(&self, key: &Key, process: &ProcessView) -> bool {
        self.before.get(key).is_some_and(|before| {
            before.state == process.state
                && before.incarnation == process.incarnation
                && before.restarts == process.restarts
        })
    }

    /// Whether a process that is not shown will not be shown any more either.
    fn is_gone_for_good(&self, key: &Key) -> bool {
        match self.verb {
            Verb::Stop | Verb::Restart => true,
            Verb::Start | Verb::Copy => self.seen.contains(key),
        }
    }

    /// The programs that want more than they have, where no process could be named.
    fn short_of(&self, programs: &[&ProgramView]) -> Vec<(String, String)> {
        match self.verb {
            Verb::Stop | Verb::Restart => Vec::new(),
            Verb::Start | Verb::Copy => programs
                .iter()
                .filter(|program| program.running < program.desired)
                .map(|program| (program.name.clone(), program.reason.clone()))
                .collect(),
        }
    }
}

/// Where one process stands.
enum Standing {
    Done,
    Waiting(String),
    Failed(String),
}

/// Where all processes of an undertaking stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Assessment {
    /// The ids of those that are where they should be.
    pub(crate) done: Vec<String>,
    /// Those that are on their way: id and why not yet.
    pub(crate) waiting: Vec<(String, String)>,
    /// Those that will not get there by themselves soon: id and why.
    pub(crate) failed: Vec<(String, String)>,
}

impl Assessment {
    /// Whether there is nothing left to wait for.
    pub(crate) fn is_complete(&self) -> bool {
        self.waiting.is_empty() && self.failed.is_empty()
    }

    /// Adds another undertaking's.
    pub(crate) fn add(&mut self, other: Self) {
        self.done.extend(other.done);
        self.waiting.extend(other.waiting);
        self.failed.extend(other.failed);
    }

    fn is_empty(&self) -> bool {
        self.is_complete() && self.done.is_empty()
    }
}

fn key(program: &ProgramView, process: &ProcessView) -> Key {
    (program.name.clone(), process.slot)
}

fn key_of(id: &str) -> Key {
    match id.split_once(':').map(|(program, slot)| (program, slot.parse())) {
        Some((program, Ok(slot))) => (program.to_owned(), slot),
        Some((_, Err(_))) | None => (id.to_owned(), 0),
    }
}

fn shown((program, slot): &Key) -> String {
    format!("{program}:{slot}")
}

fn why(process: &ProcessView) -> String {
    match (&process.reason, &process.exit) {
        (Some(reason), _) => reason.clone(),
        (None, Some(exit)) if process.pid.is_none() => format!("{}, {exit}", process.state),
        (None, _) => process.state.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fixture::{process, program};

    fn snapshot(processes: Vec<ProcessView>) -> Snapshot {
        Snapshot { programs: vec![program("orders", "scaled", processes)], ..Snapshot::default() }
    }

    fn orders(slot: u32, incarnation: u64, state: &str) -> ProcessView {
        let mut process = process(&format!("orders:{slot}"), slot, incarnation);
        process.state = state.to_owned();
        if !matches!(state, "starting" | "running" | "stopping") {
            process.pid = None;
        }
        process
    }

    fn undertaking(verb: Verb, target: &str, before: &Snapshot, named: &[&str]) -> Undertaking {
        let named: Vec<String> = named.iter().map(|id| (*id).to_owned()).collect();
        Undertaking::new(verb, target.parse().unwrap(), before, &named)
    }

    #[test]
    fn a_start_is_done_when_every_process_runs() {
        let before = snapshot(vec![orders(0, 1, "stopped"), orders(1, 2, "running")]);
        let mut start = undertaking(Verb::Start, "orders", &before, &["orders:0", "orders:1"]);
        let mut now = snapshot(vec![orders(0, 3, "starting"), orders(1, 2, "running")]);
        now.programs[0].running = 1;
        assert_eq!(start.assess(&now).waiting, [("orders:0".to_owned(), "starting".to_owned())]);
        let now = snapshot(vec![orders(0, 3, "running"), orders(1, 2, "running")]);
        assert!(start.assess(&now).is_complete());
    }

    #[test]
    fn a_start_that_ends_in_backoff_fails_with_its_reason() {
        let before = snapshot(vec![orders(0, 1, "stopped")]);
        let mut start = undertaking(Verb::Start, "orders", &before, &["orders:0"]);
        let mut failing = orders(0, 2, "backoff");
        failing.reason = Some("cannot start: chdir /srv/nope: No such file or directory".to_owned());
        let assessment = start.assess(&snapshot(vec![failing]));
        assert_eq!(assessment.failed[0].0, "orders:0");
        assert!(assessment.failed[0].1.contains("/srv/nope"));
    }

    #[test]
    fn a_backoff_from_before_the_start_is_not_its_failure() {
        let before = snapshot(vec![orders(0, 1, "backoff")]);
        let mut start = undertaking(Verb::Start, "orders:0", &before, &["orders:0"]);
        for _ in 0..STALE_SNAPSHOTS_MAX {
            assert_eq!(start.assess(&before).waiting.len(), 1);
        }
        assert_eq!(start.assess(&before).failed.len(), 1, "it does not go away");
        let mut start = undertaking(Verb::Start, "orders:0", &before, &["orders:0"]);
        assert_eq!(start.assess(&snapshot(vec![orders(0, 2, "backoff")])).failed.len(), 1);
    }

    #[test]
    fn a_start_does_not_wait_for_processes_that_the_program_no_longer_wants() {
        let before = snapshot(vec![orders(0, 1, "running"), orders(1, 2, "stopping")]);
        let mut start = undertaking(Verb::Start, "orders", &before, &[]);
        let mut now = before.clone();
        now.programs[0].desired = 1;
        now.programs[0].running = 1;
        assert!(start.assess(&now).is_complete());
        let mut one = undertaking(Verb::Start, "orders:1", &before, &["orders:1"]);
        assert_eq!(one.assess(&now).waiting.len(), 1, "this one was asked for by name");
    }

    #[test]
    fn a_job_that_has_run_and_ended_well_was_started() {
        let before = snapshot(vec![orders(0, 1, "stopped")]);
        let ended = |exit: &str| {
            let mut process = orders(0, 2, "exited");
            process.exit = Some(exit.to_owned());
            undertaking(Verb::Start, "orders", &before, &[]).assess(&snapshot(vec![process]))
        };
        assert!(ended("exit code 0").is_complete());
        assert_eq!(ended("exit code 3").failed, [("orders:0".to_owned(), "exit code 3".to_owned())]);
    }

    #[test]
    fn a_start_without_any_process_waits_until_the_program_has_what_it_wants() {
        let before = snapshot(Vec::new());
        let mut start = undertaking(Verb::Start, "orders", &before, &[]);
        let mut now = before.clone();
        now.programs[0].desired = 1;
        now.programs[0].reason = "the broker is unreachable".to_owned();
        assert_eq!(
            start.assess(&now).waiting,
            [("orders".to_owned(), "the broker is unreachable".to_owned())]
        );
        assert!(start.assess(&before).is_complete(), "it wants none");
    }

    #[test]
    fn a_stop_is_done_when_nothing_of_it_is_left() {
        let before = snapshot(vec![orders(0, 1, "running"), orders(1, 2, "running")]);
        let mut stop = undertaking(Verb::Stop, "orders", &before, &[]);
        assert_eq!(stop.assess(&before).waiting.len(), 2);
        let now = snapshot(vec![orders(0, 1, "stopping"), orders(1, 2, "stopped")]);
        assert_eq!(stop.assess(&now).done, ["orders:1"]);
        let mut leftovers = orders(0, 1, "failed");
        leftovers.pid = Some(7);
        assert!(!stop.assess(&snapshot(vec![leftovers])).is_complete());
        assert!(stop.assess(&snapshot(vec![orders(0, 1, "failed")])).is_complete());
        assert!(stop.assess(&snapshot(Vec::new())).is_complete());
    }

    #[test]
    fn a_stop_in_backoff_waits_until_no_restart_is_planned() {
        let before = snapshot(vec![orders(0, 1, "backoff")]);
        let mut stop = undertaking(Verb::Stop, "orders", &before, &[]);
        assert!(!stop.assess(&before).is_complete());
        assert!(stop.assess(&snapshot(vec![orders(0, 1, "stopped")])).is_complete());
    }

    #[test]
    fn a_restart_is_done_when_each_process_is_a_new_one() {
        let before =
            snapshot(vec![orders(0, 1, "running"), orders(1, 2, "running"), orders(2, 3, "stopped")]);
        let mut restart = undertaking(Verb::Restart, "orders", &before, &["orders:0", "orders:1"]);
        assert_eq!(restart.assess(&before).waiting.len(), 2, "the old ones still run");
        let now = snapshot(vec![orders(0, 4, "running"), orders(1, 2, "stopping")]);
        let assessment = restart.assess(&now);
        assert_eq!((assessment.done.len(), assessment.waiting.len()), (1, 1));
        let now = snapshot(vec![orders(0, 4, "running"), orders(1, 5, "failed")]);
        assert_eq!(restart.assess(&now).failed[0].0, "orders:1");
        let now = snapshot(vec![orders(0, 4, "running"), orders(1, 5, "running")]);
        assert!(restart.assess(&now).is_complete());
    }

    #[test]
    fn a_restart_of_a_process_that_did_not_run_starts_it() {
        let before = snapshot(vec![orders(0, 1, "stopped")]);
        let mut restart = undertaking(Verb::Restart, "orders:0", &before, &["orders:0"]);
        let mut now = snapshot(vec![orders(0, 2, "starting")]);
        now.programs[0].running = 0;
        assert!(!restart.assess(&now).is_complete());
        assert!(restart.assess(&snapshot(vec![orders(0, 2, "running")])).is_complete());
    }

    #[test]
    fn a_copy_is_done_when_the_new_process_runs() {
        let before = snapshot(vec![orders(0, 1, "running")]);
        for named in [vec!["orders:1"], vec![]] {
            let mut copy = undertaking(Verb::Copy, "orders", &before, &named);
            let mut now = before.clone();
            now.programs[0].desired = 2;
            assert!(!copy.assess(&now).is_complete(), "{named:?}");
            now.programs[0].processes.push(orders(1, 2, "starting"));
            assert_eq!(copy.assess(&now).waiting[0].0, "orders:1", "{named:?}");
            now.programs[0].processes[1] = orders(1, 2, "running");
            now.programs[0].running = 2;
            let assessment = copy.assess(&now);
            assert!(assessment.is_complete() && assessment.done == ["orders:1"], "{named:?} {assessment:?}");
        }
    }

    #[test]
    fn a_copy_does_not_count_a_process_that_was_starting_before() {
        let before = snapshot(vec![orders(0, 1, "running"), orders(1, 2, "starting")]);
        let mut copy = undertaking(Verb::Copy, "orders", &before, &["orders:2"]);
        let now = snapshot(vec![orders(0, 1, "running"), orders(1, 2, "running"), orders(2, 3, "running")]);
        assert_eq!(copy.assess(&now).done, ["orders:2"]);
    }

    #[test]
    fn a_process_that_is_renamed_by_a_second_one_is_still_the_same() {
        let before = Snapshot {
            programs: vec![program("web", "service", vec![process("web", 0, 1)])],
            ..Snapshot::default()
        };
        let mut restart = undertaking(Verb::Restart, "web", &before, &["web"]);
        let now = Snapshot {
            programs: vec![program("web", "service", vec![process("web:0", 0, 2), process("web:1", 1, 3)])],
            ..Snapshot::default()
        };
        assert_eq!(restart.assess(&now).done, ["web:0"]);
    }
}
