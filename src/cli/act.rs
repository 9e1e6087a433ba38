//! `leveret start`, `stop`, `restart` and `copy`: ask for it, then wait until it has come about.

use std::time::Duration;

use serde_json::Value;
use tokio::time::sleep;

use super::arguments::ActArgs;
use super::client::Client;
use super::console::Console;
use super::exit::Exit;
use super::failure::Failure;
use super::line::{Line, describe};
use super::patience::{self, POLL_INTERVAL, within};
use super::progress::{Assessment, Undertaking, Verb};
use super::select;
use super::text::processes;
use crate::controller::handle::Accepted;
use crate::controller::snapshot::Snapshot;
use crate::core::ids::Target;
use crate::core::time::human;

/// Runs one of the four commands.
///
/// # Errors
/// See [`Failure`]; a name that there is not is told before anything is done.
pub(crate) async fn act(
    verb: Verb,
    arguments: &ActArgs,
    client: &Client,
    console: &mut Console<'_>,
) -> Result<Exit, Failure> {
    if verb == Verb::Copy {
        for target in &arguments.names {
            if matches!(target, Target::All | Target::Project(_)) {
                return Err(Failure::Usage(format!("copy takes a program, and {target} is more than one")));
            }
        }
    }
    let before = patience::first_snapshot(client).await?;
    for target in &arguments.names {
        select::programs(&before, target)?;
    }
    let mut undertakings = Vec::new();
    for target in &arguments.names {
        // Each starts from what the ones before it left: `copy a a` adds two.
        let before: Snapshot = match verb {
            Verb::Copy if !undertakings.is_empty() => patience::first_snapshot(client).await?,
            Verb::Copy | Verb::Start | Verb::Stop | Verb::Restart => before.clone(),
        };
        let accepted: Accepted = client.post(&path(target, verb), None).await?;
        if arguments.no_wait {
            console.say(&accepted.message)?;
        }
        undertakings.push(Undertaking::new(verb, target.clone(), &before, &accepted.processes));
    }
    if !arguments.no_wait {
        wait(verb, undertakings, arguments.timeout, client, console).await?;
    }
    Ok(Exit::Done)
}

/// Where an action on `target` is posted. A copy of a process is one of its program.
pub(crate) fn route(target: &Target, action: &str) -> String {
    match target {
        Target::All => format!("/api/v1/all/{action}"),
        Target::Project(project) => format!("/api/v1/projects/{project}/{action}"),
        Target::Program(program) => format!("/api/v1/programs/{program}/{action}"),
        Target::Process(process) => format!("/api/v1/processes/{process}/{action}"),
    }
}

fn path(target: &Target, verb: Verb) -> String {
    match (verb, target) {
        (Verb::Copy, Target::Process(process)) => {
            route(&Target::Program(process.program.clone()), verb.as_str())
        }
        (Verb::Start | Verb::Stop | Verb::Restart | Verb::Copy, _) => route(target, verb.as_str()),
    }
}

async fn wait(
    verb: Verb,
    mut undertakings: Vec<Undertaking>,
    limit: Option<Duration>,
    client: &Client,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    let mut each = Vec::new();
    let assess = |now: &Snapshot| {
        each = undertakings.iter_mut().map(|undertaking| undertaking.assess(now)).collect();
        let mut all = Assessment::default();
        for assessment in &each {
            all.add(assessment.clone());
        }
        all
    };
    let failed = |assessment: &Assessment| failed(verb, assessment);
    await_progress(verb.present(), limit, client, console, assess, failed).await?;
    for (undertaking, assessment) in undertakings.iter().zip(each) {
        console.say(summary(undertaking, &assessment))?;
    }
    Ok(())
}

/// Looks at snapshots and shows how far it is, until `assess` says of one that all is done. `doing` says what is being done.
///
/// # Errors
/// What `failed` makes of a failure, or that it takes longer than `limit`.
pub(crate) async fn await_progress(
    doing: &str,
    limit: Option<Duration>,
    client: &Client,
    console: &mut Console<'_>,
    mut assess: impl FnMut(&Snapshot) -> Assessment,
    failed: impl Fn(&Assessment) -> Failure,
) -> Result<(), Failure> {
    let mut line = Line::default();
    let mut last = Assessment::default();
    let waiting = async {
        loop {
            last = assess(&patience::snapshot(client).await?);
            if !last.failed.is_empty() {
                return Err(failed(&last));
            }
            if last.is_complete() {
                return Ok(());
            }
            line.show(doing, &last, console);
            sleep(POLL_INTERVAL).await;
        }
    };
    let outcome = within(limit, waiting).await;
    line.clear(console);
    outcome.unwrap_or_else(|| {
        Err(Failure::Failed(format!(
            "not done after {}: {}; it goes on, `leveret status` shows it",
            human(limit.unwrap_or_default()),
            describe(doing, &last)
        )))
    })
}

fn failed(verb: Verb, assessment: &Assessment) -> Failure {
    let sentences: Vec<String> = assessment.failed.iter().map(|(id, why)| format!("{id}: {why}")).collect();
    let total = assessment.done.len() + assessment.waiting.len() + assessment.failed.len();
    let head = match (total, sentences.len()) {
        (1, _) => String::new(),
        (_, failures) => format!("{failures} of {} could not be {}\n", processes(total), verb.past()),
    };
    Failure::Failed(format!("{head}{}", sentences.join("\n")))
}

fn summary(undertaking: &Undertaking, assessment: &Assessment) -> String {
    let (target, past) = (undertaking.target(), undertaking.verb().past());
    let done = &assessment.done;
    match (undertaking.verb(), target, done.len()) {
        (_, _, 0) => format!("{target}: nothing to {}", undertaking.verb().as_str()),
        (Verb::Copy, _, 1) => format!("{}: {past}", done[0]),
        (_, Target::Process(_), _) => format!("{target}: {past}"),
        (_, _, count) => format!("{target}: {} {past}", processes(count)),
    }
}

/// Posts one action and tells what Leveret says to it.
///
/// # Errors
/// See [`Failure`].
pub(crate) async fn post(
    target: &Target,
    action: &str,
    body: Option<&Value>,
    client: &Client,
    console: &mut Console<'_>,
) -> Result<Exit, Failure> {
    let accepted: Accepted = client.post(&route(target, action), body).await?;
    console.say(&accepted.message)?;
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::fixture::{self, Answer, FakeServer};
    use crate::controller::snapshot::ProcessView;

    /// A server whose status is the n-th of `statuses`, and then the last one.
    fn scripted(statuses: Vec<Snapshot>, processes: &[&str]) -> FakeServer {
        let accepted = json!({"message": "It is on its way.", "processes": processes});
        FakeServer::start(move |seen, before| {
            if seen.line.starts_with("POST") {
                return Answer::Json(200, accepted.clone());
            }
            let status = &statuses[before.min(statuses.len() - 1)];
            Answer::Json(200, serde_json::to_value(status).unwrap())
        })
    }

    /// The fixture with the first process of `orders` in another state and life.
    fn with(state: &str, incarnation: u64) -> Snapshot {
        let mut snapshot = fixture::snapshot();
        let program = &mut snapshot.programs[0];
        let process = &mut program.processes[0];
        process.state = state.to_owned();
        process.incarnation = Some(incarnation);
        if state != "running" {
            program.running -= 1;
        }
        if matches!(state, "stopped" | "backoff") {
            program.processes[0] = ProcessView { pid: None, ..program.processes[0].clone() };
        }
        snapshot
    }

    #[tokio::test]
    async fn a_restart_waits_for_the_new_life() {
        let statuses = vec![
            with("running", 1),
            with("stopping", 1),
            with("stopped", 1),
            with("starting", 9),
            with("running", 9),
        ];
        let server = scripted(statuses, &["orders:0"]);
        let outcome = fixture::run(&server.socket(), "restart orders:0").await;
        assert_eq!(outcome.exit, Exit::Done, "{outcome:?}");
        assert_eq!(outcome.out, "orders:0: restarted\n");
        assert_eq!(server.posts(), ["POST /api/v1/processes/orders:0/restart"]);
        assert_eq!(server.seen().len(), 6, "one before, one to ask, four until it is there");
    }

    #[tokio::test]
    async fn a_start_that_fails_says_why_and_exits_with_1() {
        let mut failing = with("backoff", 9);
        failing.programs[0].processes[0].reason = Some("cannot start: exec ./nope: No such file".to_owned());
        let server = scripted(vec![with("stopped", 1), with("starting", 9), failing], &["orders:0"]);
        let outcome = fixture::run(&server.socket(), "start orders:0").await;
        assert_eq!(outcome.exit, Exit::Failed);
        assert_eq!(outcome.err, "error: orders:0: cannot start: exec ./nope: No such file\n");
    }

    #[tokio::test]
    async fn several_names_are_asked_for_one_after_the_other_and_waited_for_together() {
        let mut stopped = fixture::snapshot();
        for program in &mut stopped.programs {
            program.desired = 0;
            program.running = 0;
            for process in &mut program.processes {
                process.state = "stopped".to_owned();
                process.pid = None;
            }
        }
        let server = scripted(vec![fixture::snapshot(), fixture::snapshot(), stopped], &[]);
        let outcome = fixture::run(&server.socket(), "stop orders @shop web all").await;
        assert_eq!(outcome.exit, Exit::Done, "{outcome:?}");
        assert_eq!(
            server.posts(),
            [
                "POST /api/v1/programs/orders/stop",
                "POST /api/v1/projects/shop/stop",
                "POST /api/v1/programs/web/stop",
                "POST /api/v1/all/stop"
            ]
        );
        assert_eq!(
            outcome.out,
            "orders: 2 processes stopped\n@shop: 3 processes stopped\nweb: 1 process stopped\nall: 4 processes stopped\n"
        );
    }

    #[tokio::test]
    async fn an_unknown_name_is_told_before_anything_is_done() {
        let server = FakeServer::of(fixture::snapshot());
        let outcome = fixture::run(&server.socket(), "stop web oders").await;
        assert_eq!(outcome.exit, Exit::NoSuchName);
        assert!(server.posts().is_empty(), "{:?}", server.posts());
    }

    #[tokio::test]
    async fn a_name_that_only_leveret_knows_to_be_wrong_exits_with_4() {
        let server = FakeServer::start(|seen, _| {
            if seen.line.starts_with("POST") {
                Answer::Json(404, json!({"error": "there is no process orders:7"}))
            } else {
                Answer::Json(200, serde_json::to_value(fixture::snapshot()).unwrap())
            }
        });
        let outcome = fixture::run(&server.socket(), "start orders:7").await;
        assert_eq!(
            (outcome.exit, outcome.err.as_str()),
            (Exit::NoSuchName, "error: there is no process orders:7\n")
        );
    }

    #[tokio::test]
    async fn without_waiting_the_sentence_of_leveret_is_all() {
        let server = scripted(vec![with("stopped", 1)], &["orders:0"]);
        let outcome = fixture::run(&server.socket(), "start orders --no-wait").await;
        assert_eq!((outcome.exit, outcome.out.as_str()), (Exit::Done, "It is on its way.\n"));
        assert_eq!(server.seen().len(), 2);
    }

    #[tokio::test]
    async fn a_wait_that_takes_too_long_exits_with_1_and_says_what_is_missing() {
        let server = scripted(vec![with("stopping", 1)], &["orders:0"]);
        let outcome = fixture::run(&server.socket(), "stop orders:0 --timeout 250ms").await;
        assert_eq!(outcome.exit, Exit::Failed);
        assert_eq!(
            outcome.err,
            "error: not done after 250ms: stopping: 0 of 1 done, waiting for orders:0 (stopping); \
             it goes on, `leveret status` shows it\n"
        );
    }

    #[tokio::test]
    async fn a_controller_that_is_replaced_in_between_is_not_noticed() {
        let (stopped, running) = (with("stopped", 1), with("running", 2));
        let server = FakeServer::start(move |seen, before| match (seen.line.as_str(), before) {
            ("GET /api/v1/status", 0) => Answer::Json(200, serde_json::to_value(&stopped).unwrap()),
            ("GET /api/v1/status", 1) => Answer::HangUp,
            ("GET /api/v1/status", 2) => Answer::Json(503, json!({"error": "Leveret is ending"})),
            ("GET /api/v1/status", _) => Answer::Json(200, serde_json::to_value(&running).unwrap()),
            (_, _) => Answer::Json(200, json!({"message": "yes", "processes": ["orders:0"]})),
        });
        let outcome = fixture::run(&server.socket(), "start orders").await;
        assert_eq!((outcome.exit, outcome.err.as_str()), (Exit::Done, ""));
        assert_eq!(outcome.out, "orders: 1 process started\n");
    }

    #[tokio::test]
    async fn a_copy_of_a_process_is_one_of_its_program() {
        let mut added = fixture::snapshot();
        added.programs[0].processes.push(fixture::process("orders:2", 2, 8));
        let server = scripted(vec![fixture::snapshot(), added], &["orders:2"]);
        let outcome = fixture::run(&server.socket(), "copy orders:1").await;
        assert_eq!(outcome.out, "orders:2: added\n", "{outcome:?}");
        assert_eq!(server.posts(), ["POST /api/v1/programs/orders/copy"]);
        let outcome = fixture::run(&server.socket(), "copy @shop").await;
        assert_eq!(outcome.exit, Exit::Usage);
    }
}
