//! `leveret explain`: why a program has as many processes as it has, laid out for a person.

use std::collections::BTreeMap;

use super::arguments::ExplainArgs;
use super::client::Client;
use super::console::{Colour, Console, Style};
use super::exit::Exit;
use super::failure::Failure;
use super::table::{Align, Table};
use super::text::{lasted, number, processes, seconds};
use crate::controller::snapshot::{DeathView, DecisionView, Explanation, HoldView, ProgramView, QueueView};

const HISTORY_COLUMNS: [(&str, Align); 5] = [
    ("AT", Align::Left),
    ("FROM", Align::Right),
    ("TO", Align::Right),
    ("LIMIT", Align::Left),
    ("REASON", Align::Left),
];

/// Runs `leveret explain`.
///
/// # Errors
/// See [`Failure`].
pub(crate) async fn explain(
    arguments: &ExplainArgs,
    client: &Client,
    console: &mut Console<'_>,
) -> Result<Exit, Failure> {
    let bytes = client.read_bytes(&format!("/api/v1/explain/{}", arguments.name)).await?;
    if arguments.json {
        console.out.write_all(&bytes)?;
        console.say("")?;
        return Ok(Exit::Done);
    }
    let explanation: Explanation = client.decode(&bytes)?;
    for line in render(&explanation, console.style) {
        console.say(line)?;
    }
    Ok(Exit::Done)
}

fn render(explanation: &Explanation, style: Style) -> Vec<String> {
    let mut lines =
        vec![format!("{}: {}", style.paint(Colour::Bold, &explanation.program), explanation.reason)];
    if let Some(program) = &explanation.status {
        section(&mut lines, style, "Now", now(program));
    }
    section(&mut lines, style, "Gaps", explanation.gaps.iter().map(|gap| format!("- {gap}")).collect());
    section(&mut lines, style, "Ends that nobody asked for", explanation.deaths.iter().map(death).collect());
    if let Some(decision) = &explanation.decision {
        let title = format!("Latest decision, {}", decision.at);
        section(&mut lines, style, &title, latest(decision));
    }
    if !explanation.history.is_empty() {
        let mut table = Table::new(&HISTORY_COLUMNS);
        for decision in &explanation.history {
            table.row(history_row(decision));
        }
        let indented = Style { width: style.width.map(|width| width.saturating_sub(2)), ..style };
        section(&mut lines, style, "Recent changes", table.lines(indented));
    }
    lines
}

/// A title and indented lines; nothing where there are none.
fn section(lines: &mut Vec<String>, style: Style, title: &str, body: Vec<String>) {
    if body.is_empty() {
        return;
    }
    lines.push(String::new());
    lines.push(style.paint(Colour::Bold, title));
    lines.extend(body.into_iter().map(|line| format!("  {line}")));
}

fn now(program: &ProgramView) -> Vec<String> {
    let mut lines = vec![pair("processes", &counts(program))];
    if let Some(hold) = &program.hold {
        lines.push(pair("hold", &held(hold)));
    }
    lines.extend(at_work(program).map(|words| pair("at work", &words)));
    if let Some(rollout) = &program.rollout {
        lines.push(pair("deploy", &rollout.sentence));
    }
    if let Some(different) = program.different_directories() {
        lines.push(pair("releases", &different));
    }
    if let Some(goal) = program.wait_goal_seconds {
        let predicted = program
            .wait_predicted_seconds
            .map(|predicted| format!("; a message that arrives now waits about {}", seconds(predicted)))
            .unwrap_or_default();
        lines.push(pair("wait goal", &format!("{}{predicted}", seconds(goal))));
    }
    let consumed = program.queues.iter().filter(|queue| !queue.observed).count();
    for queue in &program.queues {
        lines.push(pair("queue", &read(queue, consumed > 1)));
        lines.extend(queue.remarks.iter().map(|remark| pair("beware", remark)));
    }
    lines
}

/// How many processes hold a message, where that is known, and from whom.
fn at_work(program: &ProgramView) -> Option<String> {
    let alive = || program.processes.iter().filter(|process| process.pid.is_some());
    let of = |busy| alive().filter(|process| process.busy == busy).count();
    let (busy, idle, silent) = (of(Some(true)), of(Some(false)), of(None));
    (busy + idle > 0).then(|| {
        let silent = if silent > 0 { format!(", {silent} not known") } else { String::new() };
        let is_told_by = |by: &str| alive().any(|process| process.busy_by.as_deref() == Some(by));
        let told = match (is_told_by("process"), is_told_by("channel")) {
            (true, true) => " (told by the processes, and by the channels of others)",
            (true, false) => " (told by the processes)",
            (false, true) => " (by their channels, as the broker told some seconds ago)",
            (false, false) => "",
        };
        format!("{busy} busy, {idle} idle{silent}{told}")
    })
}

fn counts(program: &ProgramView) -> String {
    let limits = if program.kind == "scaled" {
        format!(" (min {}, max {}, mode {})", program.min, program.max, program.mode)
    } else if program.configured != program.desired {
        format!(" (configured {})", program.configured)
    } else {
        String::new()
    };
    format!("{} running, {} desired{limits}", program.running, program.desired)
}

fn held(hold: &HoldView) -> String {
    let end = match hold.ends_in_seconds {
        Some(left) => format!("ends in {}", lasted(left)),
        None => "lasts until `leveret auto`".to_owned(),
    };
    format!("{}, set by {}, {end}", processes(hold.processes as usize), hold.by)
}

fn read(queue: &QueueView, is_one_of_several: bool) -> String {
    let known = |name: &str, value: Option<u64>| value.map(|value| format!("{value} {name}"));
    let mut parts: Vec<String> = [
        known("ready", queue.ready),
        known("unacknowledged", queue.unacked),
        known(if queue.consumers == Some(1) { "consumer" } else { "consumers" }, queue.consumers),
        queue.polling.then(|| "its workers poll".to_owned()),
        match queue.delayed_seconds {
            Some(delay) => Some(format!("come back after {}", seconds(delay))),
            None => queue.observed.then(|| "only observed".to_owned()),
        },
        queue.age_seconds.map(|age| format!("read {} ago", seconds(age))),
        queue.wait_goal_seconds.filter(|_| is_one_of_several).map(|goal| {
            match queue.wait_predicted_seconds {
                Some(predicted) => format!("wait about {}, goal {}", seconds(predicted), seconds(goal)),
                None => format!("wait goal {}", seconds(goal)),
            }
        }),
    ]
    .into_iter()
    .flatten()
    .collect();
    parts.extend(queue.starved_by.as_ref().map(|by| format!("starved by {by}, which comes first")));
    parts.extend(queue.error.clone());
    if parts.is_empty() {
        parts.push("not read yet".to_owned());
    }
    format!("{} at {}: {}", queue.queue, queue.broker, parts.join(", "))
}

fn latest(decision: &DecisionView) -> Vec<String> {
    let mut lines = vec![
        pair("reason", &decision.reason),
        pair("outcome", &format!("{}, from {} to {}", decision.direction, decision.from, decision.to)),
        pair("limited by", &decision.limit),
    ];
    lines.extend(decision.decided_by.iter().map(|queue| pair("decided by", queue)));
    lines.extend(numbers(&decision.inputs));
    for queue in &decision.queues {
        lines.push(format!("of {}", queue.queue));
        lines.extend(numbers(&queue.inputs).into_iter().map(|line| format!("  {line}")));
    }
    lines
}

fn death(death: &DeathView) -> String {
    let times = if death.count == 1 { "once".to_owned() } else { format!("{} times", death.count) };
    format!("{}: {times}, last {} ago", death.cause, lasted(death.last_seconds_ago))
}

/// The inputs by name, the numbers aligned.
fn numbers(inputs: &BTreeMap<String, f64>) -> Vec<String> {
    let width = inputs.keys().map(String::len).max().unwrap_or_default();
    inputs.iter().map(|(name, value)| format!("{name:<width$}  {}", number(*value))).collect()
}

fn history_row(decision: &DecisionView) -> [String; 5] {
    [
        decision.at.clone(),
        decision.from.to_string(),
        decision.to.to_string(),
        decision.limit.clone(),
        decision.reason.clone(),
    ]
}

fn pair(name: &str, value: &str) -> String {
    format!("{name:<10}  {value}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fixture::{self, Answer, FakeServer};

    fn explanation() -> Explanation {
        let mut program = fixture::snapshot().programs.remove(0);
        program.desired = 4;
        program.hold = Some(HoldView {
            processes: 4,
            ends_in_seconds: None,
            by: "page".to_owned(),
            ..HoldView::default()
        });
        let decision = |from, to, reason: &str| DecisionView {
            at: "2026-02-03T04:05:06Z".to_owned(),
            program: "orders".to_owned(),
            direction: "up".to_owned(),
            from,
            to,
            reason: reason.to_owned(),
            limit: "none".to_owned(),
            inputs: [("ready".to_owned(), 120.0), ("arrivals_per_second".to_owned(), 12.34)].into(),
            ..DecisionView::default()
        };
        let death = |cause: &str, count, last_seconds_ago| DeathView {
            cause: cause.to_owned(),
            count,
            last_at: "2026-02-03T04:00:00Z".to_owned(),
            last_seconds_ago,
        };
        Explanation {
            program: "orders".to_owned(),
            reason: "120 messages wait, 4 consumers bring them under 5s".to_owned(),
            gaps: vec!["orders:3 starts in 2s".to_owned()],
            decision: Some(decision(2, 4, "120 messages wait")),
            history: vec![decision(2, 4, "120 messages wait"), decision(1, 2, "messages arrive")],
            deaths: vec![death("exit code 1", 12, 312.4), death("killed by SIGKILL", 1, 7_200.0)],
            status: Some(program),
        }
    }

    #[test]
    fn the_reason_comes_first_and_the_numbers_follow() {
        let expected = "\
orders: 120 messages wait, 4 consumers bring them under 5s

Now
  processes   2 running, 4 desired (min 1, max 40, mode auto)
  hold        4 processes, set by page, lasts until `leveret auto`
  wait goal   5s; a message that arrives now waits about 1.2s
  queue       orders at default: 120 ready, 2 consumers, read 400ms ago

Gaps
  - orders:3 starts in 2s

Ends that nobody asked for
  exit code 1: 12 times, last 5m 12s ago
  killed by SIGKILL: once, last 2h ago

Latest decision, 2026-02-03T04:05:06Z
  reason      120 messages wait
  outcome     up, from 2 to 4
  limited by  none
  arrivals_per_second  12.3
  ready                120

Recent changes
  AT                    FROM  TO  LIMIT  REASON
  2026-02-03T04:05:06Z     2   4  none   120 messages wait
  2026-02-03T04:05:06Z     1   2  none   messages arrive";
        assert_eq!(render(&explanation(), Style::default()).join("\n"), expected);
    }

    #[test]
    fn a_service_is_explained_without_what_it_does_not_have() {
        let mut program = fixture::snapshot().programs.remove(2);
        program.configured = 2;
        let explanation = Explanation {
            program: "web".to_owned(),
            reason: "configured 2, set to 1 by page".to_owned(),
            status: Some(program),
            ..Explanation::default()
        };
        assert_eq!(
            render(&explanation, Style::default()).join("\n"),
            "web: configured 2, set to 1 by page\n\nNow\n  processes   1 running, 1 desired (configured 2)"
        );
    }

    #[test]
    fn a_queue_that_was_not_read_says_why() {
        let mut queue = QueueView { queue: "q".to_owned(), broker: "b".to_owned(), ..QueueView::default() };
        assert_eq!(read(&queue, false), "q at b: not read yet");
        queue.error = Some("the queue does not exist".to_owned());
        assert_eq!(read(&queue, false), "q at b: the queue does not exist");
    }

    #[test]
    fn each_of_several_queues_has_its_goal_and_says_what_starves_it() {
        let low = QueueView {
            queue: "low".to_owned(),
            broker: "b".to_owned(),
            ready: Some(50),
            wait_goal_seconds: Some(600.0),
            wait_predicted_seconds: Some(900.0),
            starved_by: Some("high".to_owned()),
            ..QueueView::default()
        };
        let text = "low at b: 50 ready, wait about 15m, goal 10m, starved by high, which comes first";
        assert_eq!(read(&low, true), text);
        assert_eq!(read(&low, false), "low at b: 50 ready, starved by high, which comes first");
        let failed = QueueView { observed: true, queue: "failed".to_owned(), wait_goal_seconds: None, ..low };
        assert!(read(&failed, true).starts_with("failed at b: 50 ready, only observed"));
        let retry = QueueView { delayed_seconds: Some(30.0), ..failed };
        assert!(
            read(&retry, true).starts_with("failed at b: 50 ready, come back after 30s"),
            "{}",
            read(&retry, true)
        );
        let decision = DecisionView {
            decided_by: Some("high".to_owned()),
            queues: vec![crate::controller::snapshot::DecisionOfQueueView {
                queue: "low".to_owned(),
                inputs: [("ready_messages".to_owned(), 50.0)].into(),
                starved_by: None,
            }],
            ..DecisionView::default()
        };
        let lines = latest(&decision);
        assert!(lines.contains(&"decided by  high".to_owned()), "{lines:?}");
        assert_eq!(lines.last().map(String::as_str), Some("  ready_messages  50"));
    }

    #[test]
    fn one_is_told_as_one() {
        let queue = QueueView { consumers: Some(1), ..QueueView::default() };
        assert!(read(&queue, false).contains("1 consumer") && !read(&queue, false).contains("consumers"));
        let hold =
            HoldView { processes: 1, ends_in_seconds: None, by: "page".to_owned(), ..HoldView::default() };
        assert_eq!(held(&hold), "1 process, set by page, lasts until `leveret auto`");
    }

    #[tokio::test]
    async fn json_is_printed_as_the_api_gives_it_and_an_unknown_name_exits_with_4() {
        let body = serde_json::to_value(explanation()).unwrap();
        let sent = body.clone();
        let server = FakeServer::start(move |seen, _| match seen.line.as_str() {
            "GET /api/v1/explain/orders" => Answer::Json(200, sent.clone()),
            _ => Answer::Json(404, serde_json::json!({"error": "there is no program x"})),
        });
        let outcome = fixture::run(&server.socket(), "explain orders --json").await;
        assert_eq!(outcome.out, format!("{body}\n"));
        let plain = fixture::run(&server.socket(), "explain orders").await;
        assert!(plain.out.starts_with("orders: 120 messages wait"), "{}", plain.out);
        let unknown = fixture::run(&server.socket(), "explain x").await;
        assert_eq!(
            (unknown.exit, unknown.err.as_str()),
            (Exit::NoSuchName, "error: there is no program x\n")
        );
    }
}
