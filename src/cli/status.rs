//! `leveret status`: what should run, what does, and why, as a table or as the API's JSON.

use std::time::Duration;

use serde_json::Value;

use super::address::Surroundings;
use super::arguments::StatusArgs;
use super::client::Client;
use super::console::{Colour, Console, Style};
use super::exit::Exit;
use super::failure::Failure;
use super::patience;
use super::select;
use super::table::{Align, Table};
use super::text::{NOTHING, lasted, processes, size};
use super::watch;
use crate::controller::snapshot::{ProcessView, ProgramView, QueueView, Snapshot};
use crate::core::ids::Target;

/// Where the status is.
pub(crate) const PATH: &str = "/api/v1/status";

/// The most processes that are listed when nobody asked for them by name.
const UNNAMED_PROCESSES_MAX: usize = 50;

/// How often `--watch` draws.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

const PROGRAM_COLUMNS: [(&str, Align); 6] = [
    ("PROGRAM", Align::Left),
    ("RUNNING", Align::Right),
    ("DEPTH", Align::Right),
    ("STATE", Align::Left),
    ("MODE", Align::Left),
    ("REASON", Align::Left),
];

const PROCESS_COLUMNS: [(&str, Align); 8] = [
    ("PROCESS", Align::Left),
    ("STATE", Align::Left),
    ("PID", Align::Right),
    ("UPTIME", Align::Right),
    ("RESTARTS", Align::Right),
    ("CPU", Align::Right),
    ("MEMORY", Align::Right),
    ("REASON", Align::Left),
];

/// Runs `leveret status`.
///
/// # Errors
/// See [`Failure`].
pub(crate) async fn status(
    arguments: &StatusArgs,
    client: &Client,
    surroundings: &Surroundings,
    console: &mut Console<'_>,
) -> Result<Exit, Failure> {
    let target = arguments.name.as_ref();
    if arguments.watch {
        let title = format!("Leveret at {}", client.address());
        return watch::watch(client, &title, WATCH_INTERVAL, surroundings, console, |snapshot, style| {
            render(snapshot, target, style)
        })
        .await;
    }
    let bytes = patience::first_status(client).await?;
    let snapshot: Snapshot = client.decode(&bytes)?;
    let exit = verdict(&snapshot, target)?;
    if !arguments.json {
        for line in render(&snapshot, target, console.style)? {
            console.say(line)?;
        }
    } else if let Some(target) = target {
        console.say(only(client.decode(&bytes)?, &snapshot, target))?;
    } else {
        console.out.write_all(&bytes)?;
        console.say("")?;
    }
    Ok(exit)
}

/// Whether all that `target` names runs as it should.
fn verdict(snapshot: &Snapshot, target: Option<&Target>) -> Result<Exit, Failure> {
    let target = target.unwrap_or(&Target::All);
    let well = match target {
        Target::Process(_) => {
            select::processes(snapshot, target)?.iter().all(|(_, process)| process.state == "running")
        }
        Target::All | Target::Project(_) | Target::Program(_) => {
            select::programs(snapshot, target)?.into_iter().all(is_well)
        }
    };
    Ok(if well { Exit::Done } else { Exit::NotRunning })
}

fn is_well(program: &ProgramView) -> bool {
    let in_trouble = |process: &ProcessView| matches!(process.state.as_str(), "backoff" | "failed");
    program.running >= program.desired && !program.processes.iter().any(in_trouble)
}

/// The API's JSON with nothing but what `target` names. Fields that this client does not know stay.
fn only(mut status: Value, snapshot: &Snapshot, target: &Target) -> Value {
    if let Some(programs) = status.get_mut("programs").and_then(Value::as_array_mut) {
        let mut views = snapshot.programs.iter();
        programs.retain(|_| views.next().is_some_and(|program| select::concerns(target, program)));
        for program in programs {
            if let Some(processes) = program.get_mut("processes").and_then(Value::as_array_mut) {
                processes.retain(|process| {
                    serde_json::from_value(process.clone())
                        .is_ok_and(|process: ProcessView| select::matches_slot(target, &process))
                });
            }
        }
    }
    status
}

/// The lines of the table.
///
/// # Errors
/// There is no such name.
fn render(snapshot: &Snapshot, target: Option<&Target>, style: Style) -> Result<Vec<String>, Failure> {
    let everything = target.unwrap_or(&Target::All);
    let programs = select::programs(snapshot, everything)?;
    let mut lines = notices(snapshot, style);
    if programs.is_empty() {
        lines.push("There are no programs.".to_owned());
        return Ok(lines);
    }
    if !matches!(target, Some(Target::Process(_))) {
        let mut table = Table::new(&PROGRAM_COLUMNS);
        for program in &programs {
            table.row(program_row(program));
        }
        lines.extend(table.lines(style));
        let different = programs.iter().filter_map(|program| program.different_directories());
        lines.extend(different.map(|different| style.paint(Colour::Yellow, &different)));
        lines.push(String::new());
    }
    let all = select::processes(snapshot, everything)?;
    let is_long = target.is_none_or(|target| *target == Target::All) && all.len() > UNNAMED_PROCESSES_MAX;
    let mut hidden = 0;
    let mut table = Table::new(&PROCESS_COLUMNS);
    let mut shown = 0;
    for (_, process) in all {
        if is_long && process.state == "running" && process.reason.is_none() {
            hidden += 1;
        } else {
            table.row(process_row(process));
            shown += 1;
        }
    }
    if shown > 0 {
        lines.extend(table.lines(style));
    }
    if hidden > 0 {
        let more = format!("{} more running; `leveret status NAME` lists those of a name", processes(hidden));
        lines.push(style.paint(Colour::Dim, &more));
    }
    if lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    Ok(lines)
}

/// What stands above the tables because it concerns everything.
fn notices(snapshot: &Snapshot, style: Style) -> Vec<String> {
    let mut notices = Vec::new();
    if snapshot.shutting_down {
        notices.push("Leveret is shutting down.".to_owned());
    }
    if snapshot.paused {
        notices.push("Scaling is paused; `leveret resume` lets it go on.".to_owned());
    }
    if let Some(error) = &snapshot.config_error {
        notices.push(format!("The last reload was refused: {}", error.trim_end()));
    }
    for broker in snapshot.brokers.iter().filter(|broker| broker.state != "connected") {
        let why = broker.error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
        notices.push(format!("Broker {} ({}) is {}{why}", broker.name, broker.url, broker.state));
    }
    let mut lines: Vec<String> = notices.iter().map(|notice| style.paint(Colour::Yellow, notice)).collect();
    if !snapshot.budgets.is_empty() {
        let used: Vec<&str> = snapshot.budgets.iter().map(|budget| budget.sentence.as_str()).collect();
        lines.push(style.paint(Colour::Dim, &format!("In use: {}", used.join(", "))));
    }
    if !lines.is_empty() {
        lines.push(String::new());
    }
    lines
}

fn program_row(program: &ProgramView) -> [String; 6] {
    let mode = match (&program.hold, program.mode.as_str()) {
        (Some(hold), _) => match hold.ends_in_seconds {
            Some(left) => format!("hold {}, {} left", hold.processes, lasted(left)),
            None => format!("hold {}", hold.processes),
        },
        (None, "off" | "") => NOTHING.to_owned(),
        (None, mode) => mode.to_owned(),
    };
    [
        program.name.clone(),
        format!("{}/{}", program.running, program.desired),
        depth(&program.queues),
        program_state(program).to_owned(),
        mode,
        program.reason.clone(),
    ]
}

/// Messages ready in all queues; with a question mark where a reading is missing or old.
fn depth(queues: &[QueueView]) -> String {
    if queues.is_empty() {
        return NOTHING.to_owned();
    }
    let known: Vec<u64> = queues.iter().filter_map(|queue| queue.ready).collect();
    let is_sure = known.len() == queues.len() && queues.iter().all(|queue| queue.error.is_none());
    match (known.is_empty(), is_sure) {
        (true, _) => "?".to_owned(),
        (false, true) => known.iter().sum::<u64>().to_string(),
        (false, false) => format!("{}?", known.iter().sum::<u64>()),
    }
}

/// A program's state in the words of its processes: the worst of those that matter.
fn program_state(program: &ProgramView) -> &'static str {
    let any = |state: &str| program.processes.iter().any(|process| process.state == state);
    if any("failed") {
        "failed"
    } else if any("backoff") {
        "backoff"
    } else if program.running < program.desired {
        if any("starting") { "starting" } else { "waiting" }
    } else if program.desired > 0 {
        "running"
    } else if any("stopping") {
        "stopping"
    } else if any("exited") {
        "exited"
    } else {
        "stopped"
    }
}

fn process_row(process: &ProcessView) -> [String; 8] {
    let or_nothing = |text: Option<String>| text.unwrap_or_else(|| NOTHING.to_owned());
    let is_alive = process.pid.is_some();
    let why = process.reason.clone().or_else(|| process.exit.clone().filter(|_| !is_alive));
    [
        process.id.clone(),
        process.state_words(),
        or_nothing(process.pid.map(|pid| pid.to_string())),
        or_nothing(process.uptime_seconds.map(lasted)),
        process.restarts.to_string(),
        or_nothing(process.cpu_percent.map(|percent| format!("{percent:.1}%"))),
        or_nothing(process.memory_bytes.map(size)),
        why.unwrap_or_default(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fixture::{self, FakeServer};
    use crate::controller::snapshot::HoldView;

    fn troubled() -> Snapshot {
        let mut snapshot = fixture::snapshot();
        snapshot.paused = true;
        snapshot.brokers[0].state = "unreachable".to_owned();
        snapshot.brokers[0].error = Some("connection refused".to_owned());
        let orders = &mut snapshot.programs[0];
        orders.mode = "hold".to_owned();
        orders.hold = Some(HoldView {
            processes: 3,
            ends_in_seconds: Some(725.0),
            by: "command line".to_owned(),
            ..HoldView::default()
        });
        orders.desired = 3;
        orders.queues[0].error = Some("the broker is unreachable".to_owned());
        let mailer = &mut snapshot.programs[1];
        mailer.running = 0;
        mailer.reason = "mailer is in backoff for 4s".to_owned();
        mailer.processes[0] = ProcessView {
            id: "mailer".to_owned(),
            state: "backoff".to_owned(),
            incarnation: Some(3),
            restarts: 6,
            exit: Some("exit code 1".to_owned()),
            ..ProcessView::default()
        };
        snapshot
    }

    #[test]
    fn the_table_says_what_a_person_wants_to_know() {
        let lines = render(&fixture::snapshot(), None, Style::default()).unwrap();
        let expected = "\
PROGRAM  RUNNING  DEPTH  STATE    MODE  REASON
orders       2/2    120  running  auto  2 consumers keep the wait under 5s
mailer       1/1      -  running  -
web          1/1      -  running  -

PROCESS   STATE     PID  UPTIME  RESTARTS   CPU    MEMORY  REASON
orders:0  running  4240      9s         0  3.1%  18.0 MiB
orders:1  running  4241      9s         0  3.1%  18.0 MiB
mailer    running  4240      9s         0  3.1%  18.0 MiB
web       running  4240      9s         0  3.1%  18.0 MiB";
        assert_eq!(lines.join("\n"), expected);
    }

    #[test]
    fn trouble_is_seen_at_a_glance() {
        let lines = render(&troubled(), Some(&"@shop".parse().unwrap()), Style::default()).unwrap();
        let expected = "\
Scaling is paused; `leveret resume` lets it go on.
Broker default (amqp://127.0.0.1) is unreachable: connection refused

PROGRAM  RUNNING  DEPTH  STATE    MODE                 REASON
orders       2/3   120?  waiting  hold 3, 12m 5s left  2 consumers keep the wait under 5s
mailer       0/1      -  backoff  -                    mailer is in backoff for 4s

PROCESS   STATE     PID  UPTIME  RESTARTS   CPU    MEMORY  REASON
orders:0  running  4240      9s         0  3.1%  18.0 MiB
orders:1  running  4241      9s         0  3.1%  18.0 MiB
mailer    backoff     -       -         6     -         -  exit code 1";
        assert_eq!(lines.join("\n"), expected);
    }

    #[test]
    fn a_process_is_shown_alone() {
        let lines =
            render(&fixture::snapshot(), Some(&"orders:1".parse().unwrap()), Style::default()).unwrap();
        assert_eq!(lines.len(), 2);
        assert!(lines[1].starts_with("orders:1  running"), "{lines:?}");
    }

    #[test]
    fn of_very_many_processes_only_those_in_trouble_are_listed_unless_asked_for() {
        let mut snapshot = fixture::snapshot();
        let many =
            (0..200).map(|slot| fixture::process(&format!("many:{slot}"), slot, u64::from(slot))).collect();
        snapshot.programs.push(fixture::program("many", "service", many));
        snapshot.programs[3].processes[7].state = "failed".to_owned();
        let lines = render(&snapshot, None, Style::default()).unwrap();
        assert_eq!(lines.len(), 5 + 1 + 2 + 1, "{lines:#?}");
        assert!(lines[7].starts_with("many:7   failed"), "{lines:#?}");
        assert!(lines[8].starts_with("203 processes more running"), "{lines:#?}");
        let named = render(&snapshot, Some(&"many".parse().unwrap()), Style::default()).unwrap();
        assert_eq!(named.len(), 2 + 1 + 201);
    }

    #[test]
    fn a_leveret_without_programs_says_so() {
        assert_eq!(render(&Snapshot::default(), None, Style::default()).unwrap(), ["There are no programs."]);
    }

    #[test]
    fn the_exit_code_tells_whether_what_was_named_runs() {
        let snapshot = troubled();
        let verdict = |name: &str| verdict(&snapshot, Some(&name.parse().unwrap())).unwrap();
        assert_eq!(verdict("web"), Exit::Done);
        assert_eq!(verdict("orders"), Exit::NotRunning);
        assert_eq!(verdict("orders:0"), Exit::Done);
        assert_eq!(verdict("mailer:0"), Exit::NotRunning);
        assert_eq!(verdict("@shop"), Exit::NotRunning);
        assert_eq!(super::verdict(&snapshot, None).unwrap(), Exit::NotRunning);
        assert_eq!(super::verdict(&fixture::snapshot(), None).unwrap(), Exit::Done);
    }

    #[test]
    fn the_state_of_a_program_is_that_of_its_processes() {
        let with = |desired, running, states: &[&str]| {
            let processes = states
                .iter()
                .map(|state| ProcessView { state: (*state).to_owned(), ..ProcessView::default() })
                .collect();
            program_state(&ProgramView { desired, running, processes, ..ProgramView::default() })
        };
        assert_eq!(with(2, 2, &["running", "running", "stopping"]), "running");
        assert_eq!(with(2, 1, &["running", "starting"]), "starting");
        assert_eq!(with(2, 1, &["running"]), "waiting");
        assert_eq!(with(2, 1, &["running", "backoff"]), "backoff");
        assert_eq!(with(2, 0, &["failed", "backoff"]), "failed");
        assert_eq!(with(0, 0, &["stopping"]), "stopping");
        assert_eq!(with(0, 0, &["exited"]), "exited");
        assert_eq!(with(0, 0, &[]), "stopped");
    }

    #[tokio::test]
    async fn json_is_printed_as_the_api_gives_it() {
        let body = serde_json::json!({
            "programs": [], "later_field": {"z": 1, "a": 2},
            "version": "9", "pid": 1, "controller_pid": 2, "uptime_seconds": 1.0, "controller_restarts": 0,
            "ready": true, "shutting_down": false, "paused": false, "config_error": null, "brokers": []
        });
        let sent = body.clone();
        let server = FakeServer::start(move |_, _| fixture::Answer::Json(200, sent.clone()));
        let outcome = fixture::run(&server.socket(), "status --json").await;
        assert_eq!(outcome.out, format!("{body}\n"));
        assert_eq!(outcome.exit, Exit::Done);
    }

    #[tokio::test]
    async fn json_of_a_name_has_nothing_but_that_name() {
        let server = FakeServer::of(fixture::snapshot());
        let outcome = fixture::run(&server.socket(), "status orders:1 --json").await;
        let status: Value = serde_json::from_str(&outcome.out).unwrap();
        assert_eq!(status["programs"].as_array().unwrap().len(), 1);
        assert_eq!(status["programs"][0]["processes"].as_array().unwrap().len(), 1);
        assert_eq!(status["programs"][0]["processes"][0]["id"], "orders:1");
        assert_eq!(status["version"], "0.1.0");
    }

    #[tokio::test]
    async fn an_unknown_name_exits_with_4_and_trouble_with_3() {
        let server = FakeServer::of(troubled());
        let unknown = fixture::run(&server.socket(), "status oders").await;
        assert_eq!(unknown.exit, Exit::NoSuchName);
        assert_eq!(unknown.err, "error: there is no program oders; did you mean orders?\n");
        assert_eq!(fixture::run(&server.socket(), "status mailer").await.exit, Exit::NotRunning);
        assert_eq!(fixture::run(&server.socket(), "status web").await.exit, Exit::Done);
    }
}
