//! `leveret reload`: what becomes of each program by reading the configuration again, or what would.

use super::arguments::ReloadArgs;
use super::client::Client;
use super::console::{Colour, Console};
use super::exit::Exit;
use super::failure::Failure;
use crate::controller::handle::{ProgramChange, ReloadReport};
use crate::core::configure::Class;
use crate::core::words;

const PATH: &str = "/api/v1/reload";
const PLAN: &str = "/api/v1/reload/plan";

/// The classes in the order in which they are told, each with its word.
const CLASSES: [(Class, &str); 5] = [
    (Class::Restart, "restart"),
    (Class::Removed, "removed"),
    (Class::InPlace, "in place"),
    (Class::Added, "added"),
    (Class::Unchanged, "unchanged"),
];

/// Runs `leveret reload`.
///
/// # Errors
/// See [`Failure`]; a configuration with errors is one that was refused.
pub(crate) async fn reload(
    arguments: &ReloadArgs,
    client: &Client,
    console: &mut Console<'_>,
) -> Result<Exit, Failure> {
    let report: ReloadReport =
        if arguments.plan { client.read(PLAN).await? } else { client.post(PATH, None).await? };
    if arguments.json {
        console.say(serde_json::to_string(&report).expect("texts and numbers always serialize"))?;
        return Ok(Exit::Done);
    }
    for line in describe(&report, arguments.plan) {
        console.say(line)?;
    }
    for warning in &report.warnings {
        let line = format!("{} {warning}", console.style.paint(Colour::Yellow, "warning:"));
        console.note(line);
    }
    Ok(Exit::Done)
}

/// A line for each program that changes, and for each setting; a plan names those that do not change as well.
fn describe(report: &ReloadReport, is_plan: bool) -> Vec<String> {
    let mut lines = Vec::new();
    for (class, word) in CLASSES {
        let members = report.programs.iter().filter(|program| program.change == class);
        if class != Class::Unchanged {
            lines.extend(members.map(|program| format!("{word:<10} {}", describe_program(program))));
            continue;
        }
        lines.extend(report.settings.iter().map(|key| format!("{:<10} {key}", "changed")));
        let is_quiet = lines.is_empty();
        if is_plan {
            lines.extend(members.map(|program| format!("{word:<10} {}", program.name)));
        }
        if is_quiet {
            lines.push(if is_plan { "nothing would change" } else { "nothing changed" }.to_owned());
        }
    }
    lines
}

fn describe_program(program: &ProgramChange) -> String {
    let ProgramChange { name, change, restart, in_place, processes } = program;
    match change {
        Class::Unchanged | Class::Added => name.clone(),
        Class::InPlace => format!("{name}: {}", in_place.join(", ")),
        Class::Removed if *processes == 0 => name.clone(),
        Class::Removed => format!("{name} ({})", words::processes(*processes)),
        Class::Restart => {
            let in_place: String = in_place.iter().map(|key| format!(", {key}")).collect();
            let concerned = match processes {
                0 => "nothing of it runs".to_owned(),
                _ => words::processes(*processes),
            };
            match in_place.strip_prefix(", ") {
                None => format!("{name}: {} ({concerned})", restart.join(", ")),
                Some(others) => {
                    format!("{name}: {} ({concerned}); in place: {others}", restart.join(", "))
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::fixture::{self, Answer, FakeServer};

    #[tokio::test]
    async fn what_changed_is_told() {
        let report = ReloadReport {
            programs: vec![
                program("a", Class::Added, 0),
                program("b", Class::Unchanged, 1),
                ProgramChange {
                    restart: vec!["command".into(), "environment.APP_ENV".into()],
                    in_place: vec!["stop.timeout".into()],
                    ..program("c", Class::Restart, 2)
                },
                ProgramChange { restart: vec!["user".into()], ..program("d", Class::Restart, 0) },
                ProgramChange { in_place: vec!["processes".into()], ..program("e", Class::InPlace, 2) },
                program("f", Class::Removed, 1),
                program("g", Class::Removed, 0),
            ],
            settings: vec!["brokers.default".into()],
            warnings: vec!["d has no directory".into()],
            ..ReloadReport::default()
        };
        let server = FakeServer::start(move |_, _| Answer::Json(200, serde_json::to_value(&report).unwrap()));
        let outcome = fixture::run(&server.socket(), "reload").await;
        assert_eq!(outcome.exit, Exit::Done);
        let changed = "restart    c: command, environment.APP_ENV (2 processes); in place: stop.timeout\n\
                       restart    d: user (nothing of it runs)\n\
                       removed    f (1 process)\n\
                       removed    g\n\
                       in place   e: processes\n\
                       added      a\n\
                       changed    brokers.default\n";
        assert_eq!(outcome.out, changed);
        assert_eq!(outcome.err, "warning: d has no directory\n");
        assert_eq!(server.posts(), ["POST /api/v1/reload"]);
        assert_eq!(describe(&ReloadReport::default(), false), ["nothing changed"]);

        let outcome = fixture::run(&server.socket(), "reload --plan").await;
        assert_eq!(outcome.out, format!("{changed}unchanged  b\n"));
        let outcome = fixture::run(&server.socket(), "reload --plan --json").await;
        let json: serde_json::Value = serde_json::from_str(&outcome.out).unwrap();
        assert_eq!(json["programs"][2]["restart"], json!(["command", "environment.APP_ENV"]));
        assert_eq!(json["programs"][2]["change"], "restart");
        assert_eq!(server.posts(), ["POST /api/v1/reload"], "a plan only reads");
        let quiet =
            ReloadReport { programs: vec![program("b", Class::Unchanged, 1)], ..ReloadReport::default() };
        assert_eq!(describe(&quiet, true), ["unchanged  b", "nothing would change"]);
    }

    fn program(name: &str, change: Class, processes: u32) -> ProgramChange {
        ProgramChange { name: name.into(), change, restart: Vec::new(), in_place: Vec::new(), processes }
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
