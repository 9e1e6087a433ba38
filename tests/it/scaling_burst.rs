//! A burst of messages on a real broker: consumed exactly once by many consumers, which then are few again.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use crate::support::consumer::Kind;
use crate::support::daemon::{Daemon, list};
use crate::support::publish;
use crate::support::rabbit::Rabbit;
use crate::support::report::report;
use crate::support::scaled::{Scaled, config};
use crate::support::wait::wait_for_state;

const LIMIT: Duration = Duration::from_secs(120);
const MESSAGES: u32 = 2_000;
const MAX: u32 = 20;
/// More than one consumer of 50 ms a message can begin within two seconds.
const CLEARLY_TOO_MANY: u32 = 100;

#[test]
fn a_burst_is_consumed_exactly_once_by_as_many_as_may_and_then_the_least_remain() {
    let rabbit = Rabbit::shared();
    let url = rabbit.url();
    let scale = format!("wait: 2s, min: 1, max: {MAX}");
    let programs = [
        ("php", Kind::Php),
        ("php-polling", Kind::PhpPolling),
        ("php-declares", Kind::PhpDeclares),
        ("python", Kind::Python),
    ]
    .map(|(name, kind)| (kind, Scaled::new(name, kind, &scale)));
    for (kind, program) in &programs {
        if *kind != Kind::PhpDeclares {
            publish::declare_queue(&url, &program.queue);
        }
    }
    let yaml = config(programs.iter().map(|(_, program)| program));
    let mut daemon = Daemon::start_with_environment(&yaml, &[("AMQP_URL", &url)]);
    for (kind, program) in &programs {
        wait_until_one_consumes(&daemon, *kind, program);
    }

    // One after another: what the first ones step down by meanwhile is idle.
    for (_, program) in &programs {
        first_new_consumer_after_a_burst(&daemon, &url, program);
        consumed(&daemon, program);
    }
    for (kind, program) in &programs {
        few_again(&daemon, *kind, program);
    }
    assert!(daemon.shut_down().success());
    daemon.assert_nothing_left();

    for (_, program) in &programs {
        let books = program.books();
        books.assert_exactly_once(0..MESSAGES);
        for (consumer, entries) in &books.consumers {
            assert!(entries.stopped_ms.is_some(), "{consumer} did not take leave: {entries:?}");
        }
        assert_eq!(
            publish::drain(&url, &program.queue),
            [],
            "nothing is left in the queue of {}",
            program.name
        );
        publish::delete_queue(&url, &program.queue);
    }
}

/// The minimum runs and is known to the broker; nobody but the consumers of the third kind has declared their queue.
fn wait_until_one_consumes(daemon: &Daemon, kind: Kind, program: &Scaled) {
    daemon.wait_program(&program.name, "one consumer at work", LIMIT, |view| {
        let visible = u32::from(kind != Kind::PhpPolling);
        let queue = &view["queues"][0];
        (view["running"] == 1 && queue["ready"] == 0 && queue["consumers"] == visible).then_some(())
    });
    let was_missing = daemon.output().contains(&format!("queue \"{}\" does not exist", program.queue));
    // Who declares it may have done so before it was read for the first time.
    assert!(!was_missing || kind == Kind::PhpDeclares, "the queue of {} was missing at first", program.name);
}

/// Publishes, and sees to it that the first reading that can show the burst leads to new consumers.
fn first_new_consumer_after_a_burst(daemon: &Daemon, url: &str, program: &Scaled) {
    let before = processes(&daemon.program(&program.name));
    let (seen_at, confirmed_at) = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| publish::wait_ready(url, &program.queue, CLEARLY_TOO_MANY));
        publish::publish(url, &program.queue, 0..MESSAGES);
        let confirmed_at = leveret::sys::clock::wall_seconds();
        (watcher.join().expect("the queue is watched"), confirmed_at)
    });
    // The round that is under way may have read this queue before; the next one cannot have.
    let round_of_the_burst = daemon.rounds() + 2.0;
    let started_at = wait_for_state("a new consumer", LIMIT, || {
        let rounds = daemon.rounds();
        let view = daemon.program(&program.name);
        let new: Vec<&Value> = list(&view["processes"])
            .iter()
            .filter(|process| !before.contains(&process["id"].to_string()))
            .collect();
        assert!(
            !new.is_empty() || rounds < round_of_the_burst,
            "a whole reading of {} has shown the burst, and no consumer was ordered: {view:#}",
            program.name
        );
        let started = new.iter().filter_map(|process| process["start_time_seconds"].as_f64());
        started.reduce(f64::min).ok_or_else(|| format!("{view:#}"))
    });
    let (read_at, decided_at) = moments_of_the_decision(daemon, program);
    report(&format!(
        "{}: first new consumer exec'd {:.0} ms after {CLEARLY_TOO_MANY} messages were visible, {:.0} ms after the last of \
         {MESSAGES} was confirmed, {:.0} ms after the reading, {:.0} ms after the decision",
        program.name,
        1e3 * (started_at - seen_at),
        1e3 * (started_at - confirmed_at),
        1e3 * (started_at - read_at),
        1e3 * (started_at - decided_at)
    ));
}

/// When the queue was read for the newest decision to have more, and when that was decided, by the wall clock in seconds.
fn moments_of_the_decision(daemon: &Daemon, program: &Scaled) -> (f64, f64) {
    let history = daemon.api_get(&format!("/api/v1/decisions?program={}&limit=10", program.name));
    let up = list(&history).iter().find(|decision| decision["direction"] == "up").expect("it was decided");
    let at: jiff::Timestamp = up["at"].as_str().and_then(|at| at.parse().ok()).expect("a moment");
    let age = up["inputs"]["sample_age_seconds"].as_f64().expect("it was read");
    let decided_at = at.as_millisecond() as f64 / 1e3;
    (decided_at - age, decided_at)
}

/// All messages are done; there never are more than the maximum.
fn consumed(daemon: &Daemon, program: &Scaled) {
    let mut most = 0;
    wait_for_state(&format!("{} to consume all", program.name), LIMIT, || {
        let view = daemon.program(&program.name);
        most = most.max(list(&view["processes"]).len());
        let ended = program.books().count_ended();
        if ended == MESSAGES as usize { Ok(()) } else { Err(format!("{ended} ended: {view:#}")) }
    });
    assert_eq!(most, MAX as usize, "{}: 100 s of work within 2 s need more than the maximum", program.name);
}

/// Back at the minimum, without having gone up and down on the way, and without a crash.
fn few_again(daemon: &Daemon, kind: Kind, program: &Scaled) {
    let view = daemon.wait_program(&program.name, "the minimum", LIMIT, |view| {
        let one = list(&view["processes"]).len() == 1 && view["desired"] == 1 && view["running"] == 1;
        one.then(|| view.clone())
    });
    assert_eq!(view["queues"][0]["polling"], kind == Kind::PhpPolling, "{view:#}");
    assert_eq!(view["restarts_by_reason"], serde_json::json!({}), "{view:#}");

    let history = daemon.api_get(&format!("/api/v1/decisions?program={}&limit=200", program.name));
    let oldest_first = list(&history).iter().rev();
    let directions: Vec<&str> = oldest_first
        .filter_map(|decision| decision["direction"].as_str())
        .filter(|to| *to != "hold")
        .collect();
    let first_down = directions.iter().position(|direction| *direction == "down").expect("it went down");
    assert!(first_down > 0 && !directions[first_down..].contains(&"up"), "it flaps: {history:#}");
    for decision in list(&history) {
        assert!(decision["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{decision:#}");
    }
    report(&format!("{}: {}", program.name, course(&history)));
}

/// The course of the target in one line: `1 -> 20 -> 10 -> 1`, with the seconds between.
fn course(history: &Value) -> String {
    let step = |decision: &Value| format!("{} {} -> {}", decision["at"], decision["from"], decision["to"]);
    list(history).iter().rev().map(step).collect::<Vec<_>>().join(", ")
}

fn processes(view: &Value) -> BTreeSet<String> {
    list(&view["processes"]).iter().map(|process| process["id"].to_string()).collect()
}
