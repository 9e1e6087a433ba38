//! `leveret reload`: what changed by reading the configuration again.

use super::client::Client;
use super::console::{Colour, Console};
use super::exit::Exit;
use super::failure::Failure;
use crate::controller::handle::ReloadReport;

/// Runs `leveret reload`.
///
/// # Errors
/// See [`Failure`]; a configuration with errors is one that was refused.
pub(crate) async fn reload(client: &Client, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let report: ReloadReport = client.post("/api/v1/reload", None).await?;
    for line in describe(&report) {
        console.say(line)?;
    }
    for warning in &report.warnings {
        let line = format!("{} {warning}", console.style.paint(Colour::Yellow, "warning:"));
        console.note(line);
    }
    Ok(Exit::Done)
}

fn describe(report: &ReloadReport) -> Vec<String> {
    let parts = [
        ("added", &report.added),
        ("removed", &report.removed),
        ("restarted", &report.restarted),
        ("adjusted", &report.adjusted),
    ];
    let lines: Vec<String> = parts
        .iter()
        .filter(|(_, names)| !names.is_empty())
        .map(|(word, names)| format!("{word:<10} {}", names.join(", ")))
        .collect();
    if lines.is_empty() { vec!["nothing changed".to_owned()] } else { lines }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::fixture::{self, Answer, FakeServer};

    #[tokio::test]
    async fn what_changed_is_told() {
        let report = ReloadReport {
            added: vec!["a".into(), "b".into()],
            restarted: vec!["c".into()],
            warnings: vec!["d has no directory".into()],
            ..ReloadReport::default()
        };
        let server = FakeServer::start(move |_, _| Answer::Json(200, serde_json::to_value(&report).unwrap()));
        let outcome = fixture::run(&server.socket(), "reload").await;
        assert_eq!(outcome.exit, Exit::Done);
        assert_eq!(outcome.out, "added      a, b\nrestarted  c\n");
        assert_eq!(outcome.err, "warning: d has no directory\n");
        assert_eq!(server.posts(), ["POST /api/v1/reload"]);
        assert_eq!(describe(&ReloadReport::default()), ["nothing changed"]);
    }

    #[tokio::test]
    async fn a_refused_configuration_exits_with_2_and_says_why() {
        let error = "a.yaml:3:5: unknown key \"comand\"\na.yaml:9:1: unknown key \"x\"\n";
        let server = FakeServer::start(move |_, _| Answer::Json(422, json!({"error": error})));
        let outcome = fixture::run(&server.socket(), "reload").await;
        assert_eq!((outcome.exit, outcome.err), (Exit::Usage, format!("error: {error}")));
        assert_eq!(outcome.out, "");
    }

    #[tokio::test]
    async fn a_reload_that_cannot_be_done_now_exits_with_1() {
        let server =
            FakeServer::start(|_, _| Answer::Json(409, json!({"error": "Leveret is shutting down"})));
        assert_eq!(fixture::run(&server.socket(), "reload").await.exit, Exit::Failed);
    }
}
