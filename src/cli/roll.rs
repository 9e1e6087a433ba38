//! `leveret restart --rolling`: asks for it, then waits until every program that it is of is done or was halted.

use std::collections::BTreeSet;

use serde_json::json;

use super::act::{await_progress, route};
use super::arguments::RestartArgs;
use super::client::Client;
use super::console::Console;
use super::exit::Exit;
use super::failure::Failure;
use super::patience;
use super::progress::Assessment;
use super::select;
use super::text::processes;
use crate::controller::handle::Accepted;
use crate::controller::snapshot::{ProgramView, RolloutView, Snapshot};

/// In how many snapshots the last words of a process are waited for, which come a moment after its end.
const SNAPSHOTS_FOR_WORDS: u32 = 5;

/// Runs `leveret restart --rolling`.
///
/// # Errors
/// See [`Failure`]; a name that there is not is told before anything is done.
pub(crate) async fn roll(
    arguments: &RestartArgs,
    client: &Client,
    console: &mut Console<'_>,
) -> Result<Exit, Failure> {
    let before = patience::first_snapshot(client).await?;
    for target in &arguments.act.names {
        select::programs(&before, target)?;
    }
    let mut body = json!({"rolling": true, "batch": arguments.batch});
    match arguments.canary_for {
        Some(lasting) => body["canary"] = json!(format!("{}ms", lasting.as_millis())),
        None if arguments.canary => body["canary"] = json!(true),
        None => {}
    }
    let mut asked = BTreeSet::new();
    for target in &arguments.act.names {
        let accepted: Accepted = client.post(&route(target, "restart"), Some(&body)).await?;
        if arguments.act.no_wait {
            console.say(&accepted.message)?;
        }
        asked.extend(accepted.rollout);
    }
    if arguments.act.no_wait {
        return Ok(Exit::Done);
    }
    let mut waited = Waited { asked, ..Waited::default() };
    let assess = |now: &Snapshot| waited.assess(now);
    await_progress("rolling restart", arguments.act.timeout, client, console, assess, failed).await?;
    for (program, total) in waited.done {
        console.say(format_args!("{program}: {} replaced", processes(total as usize)))?;
    }
    Ok(Exit::Done)
}

fn failed(assessment: &Assessment) -> Failure {
    let sentences: Vec<String> =
        assessment.failed.iter().map(|(program, why)| format!("{program}: {why}")).collect();
    Failure::Failed(sentences.join("\n"))
}

/// The rolling restarts that are waited for.
#[derive(Debug, Default)]
struct Waited {
    /// Their numbers.
    asked: BTreeSet<u64>,
    /// The programs that they are of, as far as they were seen.
    programs: BTreeSet<String>,
    /// Those that are done, with the number of their processes.
    done: Vec<(String, u32)>,
    /// In how many snapshots nothing went on any more.
    ended: u32,
}

impl Waited {
    /// Where every program stands. One that failed is told when nothing goes on in the others.
    fn assess(&mut self, now: &Snapshot) -> Assessment {
        let mut assessment = Assessment::default();
        self.done.clear();
        let mut lacks_words = false;
        for program in &now.programs {
            let Some(rollout) = &program.rollout else { continue };
            if !self.asked.contains(&rollout.id) {
                continue;
            }
            self.programs.insert(program.name.clone());
            match rollout.state.as_str() {
                "done" => {
                    self.done.push((program.name.clone(), rollout.total));
                    assessment.done.push(program.name.clone());
                }
                "canary" | "rolling" => {
                    assessment.waiting.push((program.name.clone(), progress(program, rollout)))
                }
                _ => {
                    lacks_words |= rollout.last_words.is_none();
                    assessment.failed.push((program.name.clone(), rollout.sentence.clone()));
                }
            }
        }
        let known = |name: &String| {
            let all = [&assessment.done];
            all.iter().any(|names| names.contains(name))
                || assessment.waiting.iter().chain(&assessment.failed).any(|(program, _)| program == name)
        };
        let lost: Vec<_> = self.programs.iter().filter(|name| !known(name)).cloned().collect();
        let why = "another restart took the place of this one, or the program is gone";
        assessment.failed.extend(lost.into_iter().map(|name| (name, why.to_owned())));
        if assessment.failed.is_empty() {
            return assessment;
        }
        let goes_on = !assessment.waiting.is_empty();
        self.ended += u32::from(!goes_on);
        if goes_on || lacks_words && self.ended < SNAPSHOTS_FOR_WORDS {
            let failed = std::mem::take(&mut assessment.failed);
            assessment.waiting.extend(failed);
        }
        assessment
    }
}

/// How far it is, and what is on the way just now.
fn progress(program: &ProgramView, rollout: &RolloutView) -> String {
    let sentence = rollout.sentence.trim_start_matches("rolling restart: ").to_owned();
    let on_the_way = program.processes.iter().find(|process| process.state != "running");
    match on_the_way.and_then(|process| Some((&process.id, process.reason.as_ref()?))) {
        Some((id, reason)) => format!("{sentence}; {id}: {reason}"),
        None => sentence,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::arguments::Arguments;
    use crate::cli::fixture::{self, Answer, FakeServer};

    /// A status in which the first program is in this state of its rolling restart number 7.
    fn with(state: &str, replaced: u32, id: u64) -> Snapshot {
        let mut snapshot = fixture::snapshot();
        snapshot.programs[0].rollout = Some(RolloutView {
            id,
            state: state.to_owned(),
            total: 2,
            replaced,
            sentence: format!("rolling restart: {replaced} of 2 replaced"),
            ..RolloutView::default()
        });
        snapshot
    }

    fn scripted(statuses: Vec<Snapshot>) -> FakeServer {
        FakeServer::start(move |seen, before| {
            if seen.line.starts_with("POST") {
                return Answer::Json(200, json!({"message": "On its way.", "processes": [], "rollout": 7}));
            }
            let status = &statuses[before.min(statuses.len() - 1)];
            Answer::Json(200, serde_json::to_value(status).unwrap())
        })
    }

    #[tokio::test]
    async fn it_waits_until_all_are_replaced() {
        let statuses =
            vec![fixture::snapshot(), with("rolling", 0, 7), with("rolling", 1, 7), with("done", 2, 7)];
        let server = scripted(statuses);
        let line = "restart orders --rolling --batch 2 --canary-for 30s --wait";
        let outcome = fixture::run(&server.socket(), line).await;
        assert_eq!(outcome.exit, Exit::Done, "{outcome:?}");
        assert_eq!(outcome.out, "orders: 2 processes replaced\n");
        assert_eq!(server.posts(), ["POST /api/v1/programs/orders/restart"]);
        let seen = server.seen();
        let body = &seen.iter().find(|seen| seen.line.starts_with("POST")).unwrap().body;
        assert_eq!(body, &json!({"rolling": true, "batch": 2, "canary": "30000ms"}));
    }

    #[tokio::test]
    async fn one_that_is_halted_exits_with_1_and_says_why() {
        let mut halted = with("halted", 1, 7);
        let rollout = halted.programs[0].rollout.as_mut().unwrap();
        rollout.sentence = "rolling restart halted, because orders:1 ended with exit code 1".to_owned();
        let mut with_words = halted.clone();
        let rollout = with_words.programs[0].rollout.as_mut().unwrap();
        rollout.sentence.push_str("; it wrote last: no such class");
        rollout.last_words = Some("no such class".to_owned());
        let server = scripted(vec![fixture::snapshot(), with("canary", 0, 7), halted, with_words]);
        let outcome = fixture::run(&server.socket(), "restart orders --rolling --canary").await;
        assert_eq!(outcome.exit, Exit::Failed);
        assert_eq!(
            outcome.err,
            "error: orders: rolling restart halted, because orders:1 ended with exit code 1; it wrote last: no such class\n"
        );
    }

    #[tokio::test]
    async fn one_that_takes_too_long_says_what_is_left_and_why() {
        let mut late = with("rolling", 1, 7);
        late.programs[0].processes[1].state = "stopping".to_owned();
        late.programs[0].processes[1].reason = Some("draining for 5m".to_owned());
        let server = scripted(vec![late]);
        let outcome = fixture::run(&server.socket(), "restart orders --rolling --timeout 250ms").await;
        assert_eq!(outcome.exit, Exit::Failed);
        assert_eq!(
            outcome.err,
            "error: not done after 250ms: rolling restart: 0 of 1 done, waiting for orders (1 of 2 replaced; \
             orders:1: draining for 5m); it goes on, `leveret status` shows it\n"
        );
    }

    #[tokio::test]
    async fn another_one_that_takes_its_place_ends_the_wait_with_1() {
        let server = scripted(vec![fixture::snapshot(), with("rolling", 1, 7), with("rolling", 0, 8)]);
        let outcome = fixture::run(&server.socket(), "restart orders --rolling").await;
        assert_eq!(outcome.exit, Exit::Failed);
        assert!(outcome.err.contains("another restart took the place"), "{}", outcome.err);
    }

    #[test]
    fn words_of_a_rolling_restart_need_one() {
        let read = |line: &str| {
            let words = std::iter::once("leveret").chain(line.split_whitespace()).map(Into::into);
            Arguments::read(words).map(drop).map_err(|error| error.exit_code())
        };
        for line in
            ["restart orders --batch 2", "restart orders --canary", "restart orders --rolling --batch 0"]
        {
            assert_eq!(read(line), Err(2), "{line}");
        }
        assert_eq!(read("restart orders --rolling --batch 2 --canary --wait"), Ok(()));
    }
}
