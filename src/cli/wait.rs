//! `leveret wait` and the end of `leveret shutdown`: nothing is asked for, only waited for.

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::PollFlags;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde_json::Value;
use tokio::time::sleep;

use super::address::Address;
use super::arguments::{ShutdownArgs, WaitArgs};
use super::client::Client;
use super::console::Console;
use super::exit::Exit;
use super::failure::Failure;
use super::line::{Line, describe};
use super::patience::{self, POLL_INTERVAL, is_ready, within};
use super::progress::Assessment;
use super::select;
use super::status;
use crate::controller::handle::Accepted;
use crate::controller::snapshot::Snapshot;
use crate::core::ids::Target;
use crate::core::time::human;

/// Runs `leveret wait`.
///
/// # Errors
/// See [`Failure`].
pub(crate) async fn wait(
    arguments: &WaitArgs,
    client: &Client,
    console: &mut Console<'_>,
) -> Result<Exit, Failure> {
    let doing = if arguments.drained { "draining" } else { "becoming ready" };
    let condition = if arguments.drained { drained } else { ready };
    // A name that there is not is an error now; later it only means that nothing of it is left.
    let first = patience::first_snapshot(client).await?;
    select::processes(&first, &arguments.name).or_else(|failure| match arguments.name {
        // A process that has drained may not be there any more.
        Target::Process(_) if arguments.drained => {
            select::programs(&first, &arguments.name).map(|_| Vec::new())
        }
        Target::All | Target::Project(_) | Target::Program(_) | Target::Process(_) => Err(failure),
    })?;
    let mut line = Line::default();
    let mut last = Assessment::default();
    let waiting = async {
        loop {
            last = condition(&patience::snapshot(client).await?, &arguments.name)?;
            if let Some((id, why)) = last.failed.first() {
                return Err(Failure::Failed(format!("{id} has failed: {why}")));
            }
            if last.is_complete() {
                return Ok(());
            }
            line.show(doing, &last, console);
            sleep(POLL_INTERVAL).await;
        }
    };
    let outcome = within(arguments.timeout, waiting).await;
    line.clear(console);
    match outcome {
        Some(outcome) => outcome.map(|()| Exit::Done),
        None => Err(Failure::Failed(late(arguments.timeout, &describe(doing, &last)))),
    }
}

fn late(limit: Option<Duration>, what: &str) -> String {
    format!("not done after {}: {what}", human(limit.unwrap_or_default()))
}

/// Every program has as many running processes as it wants; a process that was named runs itself.
fn ready(now: &Snapshot, target: &Target) -> Result<Assessment, Failure> {
    let mut assessment = Assessment::default();
    for (program, process) in select::processes(now, target)? {
        let reason = process.reason.clone().unwrap_or_else(|| process.state.clone());
        let is_enough = !matches!(target, Target::Process(_)) && program.running >= program.desired;
        match process.state.as_str() {
            "running" => assessment.done.push(process.id.clone()),
            "failed" => assessment.failed.push((process.id.clone(), reason)),
            _ if is_enough => {}
            _ => assessment.waiting.push((process.id.clone(), reason)),
        }
    }
    if !matches!(target, Target::Process(_)) {
        for program in select::programs(now, target)? {
            let is_named =
                assessment.waiting.iter().any(|(id, _)| id.split(':').next() == Some(&program.name));
            if program.running < program.desired && !is_named {
                let short = format!("{} of {} running", program.running, program.desired);
                assessment.waiting.push((program.name.clone(), short));
            }
        }
    }
    Ok(assessment)
}

/// No process is left that was asked to end.
fn drained(now: &Snapshot, target: &Target) -> Result<Assessment, Failure> {
    let mut assessment = Assessment::default();
    for program in select::programs(now, target)? {
        for process in program.processes.iter().filter(|process| select::matches_slot(target, process)) {
            let reason = process.reason.clone().unwrap_or_else(|| process.state.clone());
            if process.state == "stopping" {
                assessment.waiting.push((process.id.clone(), reason));
            } else {
                assessment.done.push(process.id.clone());
            }
        }
    }
    Ok(assessment)
}

/// Runs `leveret shutdown`.
///
/// # Errors
/// See [`Failure`].
pub(crate) async fn shutdown(
    arguments: &ShutdownArgs,
    client: &Client,
    console: &mut Console<'_>,
) -> Result<Exit, Failure> {
    let before = patience::first_snapshot(client).await?;
    let keeper = Keeper::of(&before, client.address());
    let accepted: Accepted = match client.post::<Value>("/api/v1/shutdown", None).await {
        Ok(answer) => serde_json::from_value(answer).unwrap_or_default(),
        // It was quicker than its answer.
        Err(Failure::Unanswered { .. }) => Accepted::default(),
        Err(failure) => return Err(failure),
    };
    if arguments.no_wait {
        console.say(accepted.message)?;
        return Ok(Exit::Done);
    }
    let mut line = Line::default();
    let mut last = Assessment::default();
    let waiting = async {
        while let Some(now) = still_there(client).await? {
            last = alive(&now);
            line.show("shutting down", &last, console);
            sleep(POLL_INTERVAL).await;
        }
        keeper.end().await;
        Ok::<(), Failure>(())
    };
    let outcome = within(arguments.timeout, waiting).await;
    line.clear(console);
    match outcome {
        Some(outcome) => {
            outcome?;
            console.say("Leveret has ended.")?;
            Ok(Exit::Done)
        }
        None => Err(Failure::Failed(format!(
            "{}; it goes on",
            late(arguments.timeout, &describe("shutting down", &last))
        ))),
    }
}

/// The status as long as somebody listens; an empty one while nobody can answer.
async fn still_there(client: &Client) -> Result<Option<Snapshot>, Failure> {
    match client.read(status::PATH).await {
        Ok(snapshot) => Ok(Some(snapshot)),
        Err(Failure::Unreachable { sent: false, .. }) => Ok(None),
        Err(failure) if failure.is_passing() => Ok(Some(Snapshot::default())),
        Err(failure) => Err(failure),
    }
}

/// Every process that still lives, as something that is waited for.
fn alive(now: &Snapshot) -> Assessment {
    let mut assessment = Assessment::default();
    for process in now.programs.iter().flat_map(|program| &program.processes) {
        if process.pid.is_some() {
            assessment.waiting.push((process.id.clone(), process.state.clone()));
        } else {
            assessment.done.push(process.id.clone());
        }
    }
    assessment
}

/// The keeper, where it is a process of this machine: its sockets may be gone a moment before it is, and the next
/// `leveret run` needs it gone.
struct Keeper(Option<OwnedFd>);

impl Keeper {
    fn of(snapshot: &Snapshot, address: &Address) -> Self {
        let is_local = matches!(address, Address::Unix(_));
        // In a container the number is another process's; its name tells.
        let name = std::fs::read_to_string(format!("/proc/{}/comm", snapshot.pid)).unwrap_or_default();
        let pid = Pid::from_raw(snapshot.pid).filter(|_| is_local && name.starts_with("leveret"));
        Self(pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()))
    }

    async fn end(&self) {
        // A pidfd is readable once its process has ended.
        while let Some(descriptor) = &self.0
            && !is_ready(descriptor, PollFlags::IN)
        {
            sleep(POLL_INTERVAL).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::fixture::{self, Answer, FakeServer};

    fn with(state: &str) -> Snapshot {
        let mut snapshot = fixture::snapshot();
        snapshot.programs[0].processes[1].state = state.to_owned();
        if state != "running" {
            snapshot.programs[0].running = 1;
        }
        snapshot
    }

    fn scripted(statuses: Vec<Snapshot>) -> FakeServer {
        FakeServer::start(move |_, before| {
            let status = &statuses[before.min(statuses.len() - 1)];
            Answer::Json(200, serde_json::to_value(status).unwrap())
        })
    }

    #[tokio::test]
    async fn ready_means_that_as_many_run_as_are_desired() {
        let server = scripted(vec![with("starting"), with("starting"), with("backoff"), with("running")]);
        for name in ["orders", "@shop", "all"] {
            let outcome = fixture::run(&server.socket(), &format!("wait {name} --ready")).await;
            assert_eq!(outcome.exit, Exit::Done, "{outcome:?}");
        }
        assert!(server.seen().len() >= 4);
    }

    #[test]
    fn a_program_that_wants_a_process_that_is_not_there_is_not_ready() {
        let mut snapshot = fixture::snapshot();
        snapshot.programs[0].desired = 3;
        let assessment = ready(&snapshot, &"orders".parse().unwrap()).unwrap();
        assert_eq!(assessment.waiting, [("orders".to_owned(), "2 of 3 running".to_owned())]);
        assert!(ready(&snapshot, &"orders:0".parse().unwrap()).unwrap().is_complete());
    }

    #[test]
    fn a_draining_process_more_than_is_wanted_does_not_keep_a_program_from_being_ready() {
        let mut snapshot = with("stopping");
        snapshot.programs[0].desired = 1;
        assert!(ready(&snapshot, &"orders".parse().unwrap()).unwrap().is_complete());
        assert!(!ready(&snapshot, &"orders:1".parse().unwrap()).unwrap().is_complete());
    }

    #[tokio::test]
    async fn a_process_that_was_given_up_ends_the_wait_with_1() {
        let mut failed = with("failed");
        failed.programs[0].processes[1].reason = Some("gave up after 5 failures".to_owned());
        let server = scripted(vec![failed]);
        let outcome = fixture::run(&server.socket(), "wait orders --ready").await;
        assert_eq!(outcome.exit, Exit::Failed);
        assert_eq!(outcome.err, "error: orders:1 has failed: gave up after 5 failures\n");
    }

    #[tokio::test]
    async fn drained_means_that_nothing_is_still_ending() {
        let server = scripted(vec![with("stopping"), with("stopping"), with("stopped")]);
        let outcome = fixture::run(&server.socket(), "wait orders --drained").await;
        assert_eq!(outcome.exit, Exit::Done);
        assert_eq!(server.seen().len(), 3);
        let server = scripted(vec![with("stopping")]);
        let outcome = fixture::run(&server.socket(), "wait orders:1 --drained --timeout 150ms").await;
        assert_eq!(outcome.exit, Exit::Failed);
        assert_eq!(
            outcome.err,
            "error: not done after 150ms: draining: 0 of 1 done, waiting for orders:1 (stopping)\n"
        );
    }

    #[tokio::test]
    async fn waiting_for_an_unknown_name_exits_with_4() {
        let server = scripted(vec![with("running")]);
        assert_eq!(fixture::run(&server.socket(), "wait x --ready").await.exit, Exit::NoSuchName);
        assert_eq!(fixture::run(&server.socket(), "wait x --drained").await.exit, Exit::NoSuchName);
        assert_eq!(fixture::run(&server.socket(), "wait orders:9 --drained").await.exit, Exit::Done);
    }

    #[tokio::test]
    async fn shutdown_waits_until_nobody_listens() {
        let ended = std::sync::Arc::new(tokio::sync::Notify::new());
        let at_end = std::sync::Arc::clone(&ended);
        let server = FakeServer::start(move |seen, before| {
            if seen.line == "POST /api/v1/shutdown" {
                return Answer::Json(200, json!({"message": "shutting down", "processes": []}));
            }
            match before {
                0 | 1 => Answer::Json(200, serde_json::to_value(fixture::snapshot()).unwrap()),
                2 => Answer::HangUp,
                _ => {
                    at_end.notify_one();
                    Answer::Json(503, json!({"error": "Leveret is ending"}))
                }
            }
        });
        let socket = server.socket();
        let end = async {
            ended.notified().await;
            server.end().await;
        };
        let (outcome, ()) = tokio::join!(fixture::run(&socket, "shutdown"), end);
        assert_eq!((outcome.exit, outcome.out.as_str()), (Exit::Done, "Leveret has ended.\n"), "{outcome:?}");
    }

    #[tokio::test]
    async fn shutdown_without_waiting_returns_at_once() {
        let server = FakeServer::of(fixture::snapshot());
        let outcome = fixture::run(&server.socket(), "shutdown --no-wait").await;
        assert_eq!(outcome.exit, Exit::Done);
        assert_eq!(server.posts(), ["POST /api/v1/shutdown"]);
    }
}
