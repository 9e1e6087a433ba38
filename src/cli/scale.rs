//! `leveret scale`: ask for a number of processes, then wait until so many run. Those that are too many are not waited
//! for: they end when they have finished what they have begun, however long that takes.

use std::collections::BTreeMap;

use serde_json::json;

use super::act::{await_progress, route};
use super::arguments::ScaleArgs;
use super::client::Client;
use super::console::Console;
use super::exit::Exit;
use super::failure::Failure;
use super::patience;
use super::progress::{Assessment, STALE_SNAPSHOTS_MAX, why};
use crate::controller::handle::Accepted;
use crate::controller::snapshot::{ProcessView, Snapshot};
use crate::core::ids::Target;
use crate::core::words::processes;

/// Runs `leveret scale`.
///
/// # Errors
/// See [`Failure`].
pub(crate) async fn scale(
    arguments: &ScaleArgs,
    client: &Client,
    console: &mut Console<'_>,
) -> Result<Exit, Failure> {
    let hold = arguments.hold.map(|hold| format!("{}s", hold.as_secs_f64().ceil()));
    let body = match hold {
        Some(hold) => json!({"processes": arguments.processes, "for": hold}),
        None => json!({"processes": arguments.processes}),
    };
    let path = route(&Target::Program(arguments.name.clone()), "scale");
    if arguments.no_wait {
        let accepted: Accepted = client.post(&path, Some(&body)).await?;
        console.say(&accepted.message)?;
        return Ok(Exit::Done);
    }
    let before = patience::first_snapshot(client).await?;
    let accepted: Accepted = client.post(&path, Some(&body)).await?;
    let mut scaling = Scaling::new(arguments.name.as_str(), arguments.processes, &before);
    let failed = |assessment: &Assessment| {
        let sentences: Vec<String> =
            assessment.failed.iter().map(|(id, why)| format!("{id}: {why}")).collect();
        Failure::Failed(sentences.join("\n"))
    };
    await_progress("scaling", arguments.timeout, client, console, |now| scaling.assess(now), failed).await?;
    console.say(&accepted.message)?;
    Ok(Exit::Done)
}

/// A number of processes that was accepted and is coming about.
#[derive(Debug)]
struct Scaling {
    program: String,
    count: u32,
    /// The processes as they were before, by slot.
    before: BTreeMap<u32, ProcessView>,
    snapshots: u32,
}

impl Scaling {
    fn new(program: &str, count: u32, before: &Snapshot) -> Self {
        let of_program = before.programs.iter().filter(|view| view.name == program);
        let before = of_program.flat_map(|view| &view.processes);
        Self {
            program: program.to_owned(),
            count,
            before: before.map(|process| (process.slot, process.clone())).collect(),
            snapshots: 0,
        }
    }

    /// Takes the next snapshot and tells how far it is.
    fn assess(&mut self, now: &Snapshot) -> Assessment {
        self.snapshots = self.snapshots.saturating_add(1);
        let mut assessment = Assessment::default();
        let Some(program) = now.programs.iter().find(|program| program.name == self.program) else {
            assessment.failed.push((self.program.clone(), "it is no longer in the configuration".to_owned()));
            return assessment;
        };
        let is_held = program.hold.as_ref().is_some_and(|hold| hold.processes == self.count);
        if !is_held || now.shutting_down {
            let trouble = format!("{} no longer wanted: {}", processes(self.count), program.reason);
            assessment.failed.push((self.program.clone(), trouble));
            return assessment;
        }
        let mut resting = 0;
        for process in &program.processes {
            let id = process.id.clone();
            match process.state.as_str() {
                "running" => assessment.done.push(id),
                "starting" => assessment.waiting.push((id, why(process))),
                "backoff" | "failed" if self.is_old_trouble(process) => {
                    assessment.waiting.push((id, why(process)));
                }
                "backoff" | "failed" => assessment.failed.push((id, why(process))),
                // Its restart policy lets it rest although it is wanted.
                "exited" => resting += 1,
                _ => {}
            }
        }
        let running = assessment.done.len() as u32;
        if assessment.is_complete() && running + resting < program.desired {
            assessment.waiting.push((self.program.clone(), program.reason.clone()));
        }
        assessment
    }

    /// Whether a process is shown in the trouble that it was in before, for a while.
    fn is_old_trouble(&self, process: &ProcessView) -> bool {
        self.snapshots <= STALE_SNAPSHOTS_MAX
            && self.before.get(&process.slot).is_some_and(|before| {
                before.incarnation == process.incarnation && before.restarts == process.restarts
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fixture::process;
    use crate::controller::snapshot::{HoldView, ProgramView};

    fn snapshot(held: u32, states: &[&str]) -> Snapshot {
        let processes = states.iter().enumerate().map(|(slot, state)| {
            let id = format!("orders:{slot}");
            ProcessView { state: (*state).to_owned(), ..process(&id, slot as u32, slot as u64) }
        });
        let running = states.iter().filter(|state| matches!(**state, "running" | "starting")).count();
        let hold = HoldView { processes: held, ..HoldView::default() };
        let program = ProgramView {
            name: "orders".to_owned(),
            desired: held,
            running: running as u32,
            reason: "the reason".to_owned(),
            hold: Some(hold),
            processes: processes.collect(),
            ..ProgramView::default()
        };
        Snapshot { programs: vec![program], ..Snapshot::default() }
    }

    fn assess(count: u32, now: &Snapshot) -> Assessment {
        Scaling::new("orders", count, &Snapshot::default()).assess(now)
    }

    #[test]
    fn it_is_done_when_as_many_run_and_those_that_end_are_not_waited_for() {
        for states in [&["running", "running", "stopped"][..], &["running", "running", "stopping"]] {
            assert!(assess(2, &snapshot(2, states)).is_complete(), "{states:?}");
        }
        assert!(assess(0, &snapshot(0, &["stopping"])).is_complete());
        assert!(assess(1, &snapshot(1, &["running", "running"])).is_complete(), "they may be busy for hours");
        for states in [&["running", "starting"][..], &["running", "stopping"], &["running"]] {
            let assessment = assess(2, &snapshot(2, states));
            assert_eq!((assessment.waiting.len(), assessment.failed.len()), (1, 0), "{states:?}");
        }
        let too_few = assess(2, &snapshot(2, &["running"]));
        assert_eq!(too_few.waiting, [("orders".to_owned(), "the reason".to_owned())]);
    }

    #[test]
    fn one_that_rests_as_its_restart_policy_says_is_not_waited_for() {
        assert!(assess(2, &snapshot(2, &["running", "exited"])).is_complete());
    }

    #[test]
    fn one_that_cannot_start_is_a_failure_and_old_trouble_is_given_some_time() {
        assert_eq!(assess(2, &snapshot(2, &["running", "backoff"])).failed[0].0, "orders:1");
        let before = snapshot(1, &["running", "backoff"]);
        let mut scaling = Scaling::new("orders", 2, &before);
        let now = snapshot(2, &["running", "backoff"]);
        for _ in 0..STALE_SNAPSHOTS_MAX {
            assert_eq!(scaling.assess(&now).waiting.len(), 1);
        }
        assert_eq!(scaling.assess(&now).failed.len(), 1);
    }

    #[test]
    fn a_number_that_somebody_else_changed_meanwhile_is_not_reached() {
        let changed = assess(5, &snapshot(3, &["running"; 3]));
        let told = "5 processes no longer wanted: the reason".to_owned();
        assert_eq!(changed.failed, [("orders".to_owned(), told)]);
        assert_eq!(assess(5, &Snapshot::default()).failed.len(), 1);
    }
}
