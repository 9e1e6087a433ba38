//! `leveret upgrade`: asked for once, then watched until it is done or refused.

use tokio::time::sleep;

use super::client::Client;
use super::console::Console;
use super::exit::Exit;
use super::failure::Failure;
use super::line::Line;
use super::patience::{self, POLL_INTERVAL};
use crate::controller::handle::Accepted;
use crate::controller::snapshot::Snapshot;
use crate::keeper::protocol::{Upgrade, UpgradeState};

/// Runs `leveret upgrade`.
///
/// # Errors
/// See [`Failure`]; an upgrade that is refused or fails is [`Failure::Failed`] with Leveret's sentence.
pub(crate) async fn upgrade(client: &Client, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let before = number(&patience::first_snapshot(client).await?);
    match client.post::<Accepted>("/api/v1/upgrade", None).await {
        // A controller that is replaced in the middle of its answer has told the keeper or not; the status tells.
        Ok(_) | Err(Failure::Unanswered { .. }) => {}
        Err(failure) => return Err(failure),
    }
    let mut line = Line::default();
    let outcome = watch(client, before, &mut line, console).await;
    line.clear(console);
    console.say(outcome?)?;
    Ok(Exit::Done)
}

async fn watch(
    client: &Client,
    before: u32,
    line: &mut Line,
    console: &mut Console<'_>,
) -> Result<String, Failure> {
    let mut unbegun = 0;
    loop {
        let now = patience::snapshot(client).await?;
        match now.upgrade.filter(|upgrade| upgrade.number > before) {
            Some(Upgrade { state: UpgradeState::Done(sentence), .. }) => return Ok(sentence),
            Some(Upgrade { state: UpgradeState::Refused(sentence), .. }) => {
                return Err(Failure::Failed(sentence));
            }
            Some(Upgrade { state: UpgradeState::UnderWay(doing), .. }) => line.show_text(&doing, console),
            None if unbegun < UNBEGUN_MAX => unbegun += 1,
            None => {
                return Err(Failure::Failed(
                    "the upgrade was asked for and has not begun; try again".to_owned(),
                ));
            }
        }
        sleep(POLL_INTERVAL).await;
    }
}

/// How often is looked for an upgrade that was asked for and is not there.
const UNBEGUN_MAX: u32 = 100;

fn number(snapshot: &Snapshot) -> u32 {
    snapshot.upgrade.as_ref().map_or(0, |upgrade| upgrade.number)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::fixture::{self, Answer, FakeServer};

    /// A server that says the n-th of these when it is asked for the n-th time, and then the last one.
    fn server(states: Vec<Option<(u32, UpgradeState)>>) -> FakeServer {
        FakeServer::start(move |seen, before| {
            if seen.line.starts_with("POST") {
                return Answer::Json(200, json!({"message": "the upgrade begins", "processes": []}));
            }
            let upgrade = states[before.min(states.len() - 1)].clone().map(|(number, state)| Upgrade {
                number,
                from: "0.1.0".to_owned(),
                to: None,
                state,
            });
            let snapshot = Snapshot { upgrade, ..fixture::snapshot() };
            Answer::Json(200, serde_json::to_value(snapshot).unwrap())
        })
    }

    #[tokio::test]
    async fn it_waits_for_the_upgrade_that_it_asked_for_and_says_its_sentence() {
        let earlier = (1, UpgradeState::Done("upgraded long ago".to_owned()));
        let doing = (2, UpgradeState::UnderWay("the controller is replaced".to_owned()));
        let done = (2, UpgradeState::Done("upgraded from 0.1.0 to 0.2.0, 50 processes unchanged".to_owned()));
        let server = server(vec![Some(earlier.clone()), Some(earlier), Some(doing), Some(done)]);
        let outcome = fixture::run(&server.socket(), "upgrade").await;
        assert_eq!(outcome.exit, Exit::Done, "{outcome:?}");
        assert_eq!(outcome.out, "upgraded from 0.1.0 to 0.2.0, 50 processes unchanged\n");
        assert_eq!(server.posts(), ["POST /api/v1/upgrade"]);
    }

    #[tokio::test]
    async fn a_refusal_is_said_and_exits_with_1() {
        let sentence = "not upgraded: /bin/true does not run as Leveret";
        let server = server(vec![None, Some((1, UpgradeState::Refused(sentence.to_owned())))]);
        let outcome = fixture::run(&server.socket(), "upgrade").await;
        assert_eq!((outcome.exit, outcome.err), (Exit::Failed, format!("error: {sentence}\n")));
    }

    #[tokio::test]
    async fn one_that_cannot_begin_is_refused_by_leveret_itself() {
        let server = FakeServer::start(|seen, _| match seen.line.starts_with("POST") {
            true => Answer::Json(409, json!({"error": "an upgrade is under way"})),
            false => Answer::Json(200, serde_json::to_value(fixture::snapshot()).unwrap()),
        });
        let outcome = fixture::run(&server.socket(), "upgrade").await;
        assert_eq!((outcome.exit, outcome.err.as_str()), (Exit::Failed, "error: an upgrade is under way\n"));
    }
}
