//! What an operator sets goes before what the engine wants, over a real queue; and what was decided is not forgotten.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::consumer::Kind;
use crate::support::daemon::{Daemon, list};
use crate::support::publish;
use crate::support::rabbit::Rabbit;
use crate::support::scaled::{Scaled, config};
use crate::support::wait::wait_for_state;

const LIMIT: Duration = Duration::from_secs(90);

#[test]
fn an_operators_count_stands_until_it_is_given_back_and_a_pause_freezes_the_count() {
    let rabbit = Rabbit::shared();
    let url = rabbit.url();
    let program = Scaled::new("orders", Kind::Python, "wait: 2s, max: 8");
    publish::declare_queue(&url, &program.queue);
    let daemon = Daemon::start_with_environment(&config([&program]), &[("AMQP_URL", &url)]);
    daemon.wait_program("orders", "one consumer", LIMIT, |view| {
        (view["queues"][0]["consumers"] == 1 && view["mode"] == "auto").then_some(())
    });

    // More than the engine wants: for a quarter of an hour.
    let said = told(&daemon, &["scale", "orders", "5"]);
    assert!(said.contains("5 processes for 15m"), "{said}");
    let view = consuming(&daemon, 5);
    assert_eq!((&view["mode"], &view["hold"]["processes"]), (&json!("hold"), &json!(5)), "{view:#}");
    assert!(view["hold"]["ends_in_seconds"].as_f64().is_some_and(|left| left <= 900.0), "{view:#}");
    let reason = view["reason"].as_str().unwrap_or_default();
    assert!(reason.starts_with("held at 5 by an operator (command line) for another "), "{reason}");
    told(&daemon, &["copy", "orders"]);
    assert_eq!(consuming(&daemon, 6)["hold"]["processes"], 6);

    // For as long as was said, and then by itself the engine's again, which begins where the hold ended.
    told(&daemon, &["scale", "orders", "3", "--for", "1s"]);
    daemon.wait_output("orders: the hold has ended, scaling goes on", LIMIT);
    let view = daemon.program("orders");
    assert_eq!(
        (&view["mode"], &view["hold"], &view["desired"]),
        (&json!("auto"), &Value::Null, &json!(3)),
        "{view:#}"
    );

    // Fewer than there is to do: until it is given back.
    let said = told(&daemon, &["scale", "orders", "1"]);
    assert!(
        said.contains("1 processes until released") || said.contains("1 process until released"),
        "{said}"
    );
    consuming(&daemon, 1);
    publish::publish(&url, &program.queue, 0..800);
    daemon.wait_for_reading(LIMIT);
    let view = daemon.program("orders");
    assert_eq!((&view["desired"], &view["hold"]["ends_in_seconds"]), (&json!(1), &Value::Null), "{view:#}");

    // A pause goes before the engine, too.
    told(&daemon, &["pause", "orders"]);
    told(&daemon, &["auto", "orders"]);
    daemon.wait_for_reading(LIMIT);
    let view = daemon.program("orders");
    assert_eq!(
        (&view["desired"], &view["mode"], &view["reason"]),
        (&json!(1), &json!("off"), &json!("scaling is paused at 1")),
        "{view:#}"
    );
    told(&daemon, &["resume", "orders"]);
    wait_for_state("the engine to go up", LIMIT, || {
        let view = daemon.program("orders");
        if view["desired"].as_u64() > Some(1) && view["mode"] == "auto" {
            Ok(())
        } else {
            Err(format!("{view:#}"))
        }
    });

    the_next_controller_knows_what_was_decided(&daemon);
    wait_for_state("all messages", LIMIT, || match program.books().count_ended() {
        800 => Ok(()),
        ended => Err(format!("{ended} ended")),
    });
    drop(daemon);
    program.books().assert_exactly_once(0..800);
    publish::delete_queue(&url, &program.queue);
}

fn the_next_controller_knows_what_was_decided(daemon: &Daemon) {
    let decisions = || daemon.api_get("/api/v1/decisions?program=orders&limit=500");
    let before = decisions();
    let pids = |view: Value| -> Vec<i64> {
        list(&view["processes"]).iter().filter_map(|process| process["pid"].as_i64()).collect()
    };
    let pids_before = pids(daemon.program("orders"));
    daemon.kill_controller();
    let after = decisions();
    let newest_first = (list(&before), list(&after));
    assert!(newest_first.1.ends_with(newest_first.0), "before: {before:#}\nafter: {after:#}");
    assert!(list(&before).iter().any(|decision| decision["direction"] == "up"), "{before:#}");
    let pids_after = pids(daemon.program("orders"));
    assert!(pids_before.iter().all(|pid| pids_after.contains(pid)), "{pids_before:?}, {pids_after:?}");
    let explained = told(daemon, &["explain", "orders"]);
    let newest = before[0]["reason"].as_str().expect("a decision has a reason");
    assert!(explained.contains(newest), "{newest:?} in:\n{explained}");
}

#[test]
fn a_dry_run_computes_and_writes_down_what_it_would_do_and_keeps_the_least() {
    let rabbit = Rabbit::shared();
    let url = rabbit.url();
    let program = Scaled::new("shadow", Kind::Python, "wait: 2s, max: 8, mode: dry-run");
    publish::declare_queue(&url, &program.queue);
    let daemon = Daemon::start_with_environment(&config([&program]), &[("AMQP_URL", &url)]);
    publish::publish(&url, &program.queue, 0..200);
    let decision = wait_for_state("the decision", LIMIT, || {
        let history = daemon.api_get("/api/v1/decisions?program=shadow&limit=100");
        let up = list(&history).iter().find(|decision| decision["direction"] == "up").cloned();
        up.ok_or_else(|| format!("{history:#}"))
    });
    assert_eq!(decision["limit"], "dry-run", "{decision:#}");
    assert!(decision["to"].as_u64() > Some(1), "{decision:#}");
    wait_for_state("all messages", LIMIT, || match program.books().count_ended() {
        200 => Ok(()),
        ended => Err(format!("{ended} ended")),
    });
    let view = daemon.program("shadow");
    assert_eq!(
        (&view["mode"], &view["desired"], &view["running"]),
        (&json!("dry-run"), &json!(1), &json!(1))
    );
    drop(daemon);
    assert_eq!(program.books().consumers.len(), 1, "only the least ever ran");
    program.books().assert_exactly_once(0..200);
    publish::delete_queue(&url, &program.queue);
}

/// Runs a command that has to succeed; what it says.
fn told(daemon: &Daemon, words: &[&str]) -> String {
    let finished = daemon.cli(words);
    assert!(finished.status.success(), "{words:?}: {finished:?}");
    finished.stdout
}

/// Waits until so many consume and nobody else is left.
fn consuming(daemon: &Daemon, count: u32) -> Value {
    daemon.wait_program("orders", &format!("{count} consumers"), LIMIT, |view| {
        let there =
            view["queues"][0]["consumers"] == count && list(&view["processes"]).len() == count as usize;
        there.then(|| view.clone())
    })
}
