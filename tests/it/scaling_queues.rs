//! Several queues of a real broker that the same processes are there for, and one that is only observed.

use std::time::Duration;

use serde_json::json;

use crate::support::consumer::Kind;
use crate::support::daemon::{Daemon, list};
use crate::support::publish;
use crate::support::rabbit::Rabbit;
use crate::support::run;
use crate::support::scaled::{Scaled, config};
use crate::support::wait::wait_for_state;

const LIMIT: Duration = Duration::from_secs(90);

#[test]
fn each_queue_is_read_and_shown_the_one_that_asks_for_most_decides_and_an_observed_one_never_does() {
    let rabbit = Rabbit::shared();
    let url = rabbit.url();
    let [high, low, failed] = ["high", "low", "failed"].map(run::unique);
    for queue in [&high, &low, &failed] {
        publish::declare_queue(&url, queue);
    }
    publish::publish(&url, &failed, 0..300);
    // Nobody consumes here, so that what is read stays as it is.
    let yaml = format!(
        "brokers: {{default: \"${{AMQP_URL}}\"}}\nprograms:\n  worker:\n    command: sleep 1000\n    \
         scale: {{queues: [{{name: {high}, wait: 2s}}, {{name: {low}, wait: 10m}}], observe: [{failed}], max: 4}}\n"
    );
    let mut daemon = Daemon::start_with_environment(&yaml, &[("AMQP_URL", &url)]);
    daemon.wait_program("worker", "all three queues", LIMIT, |view| {
        let ready = [0, 1, 2].map(|queue| view["queues"][queue]["ready"].as_u64());
        (ready == [Some(0), Some(0), Some(300)]).then_some(())
    });
    let view = daemon.program("worker");
    assert_eq!((&view["desired"], &view["wait_goal_seconds"]), (&json!(1), &json!(2.0)), "{view:#}");
    let goals = [0, 1, 2].map(|queue| view["queues"][queue]["wait_goal_seconds"].as_f64());
    assert_eq!(goals, [Some(2.0), Some(600.0), None]);
    assert_eq!(view["queues"][2]["observed"], true);

    publish::publish(&url, &low, 0..20_000);
    let view = daemon
        .wait_program("worker", "more processes", LIMIT, |view| (view["running"] == 4).then(|| view.clone()));
    assert!(view["reason"].as_str().is_some_and(|reason| reason.contains(&low)), "{view:#}");
    let explanation = daemon.api_get("/api/v1/explain/worker");
    assert_eq!(explanation["decision"]["decided_by"], json!(low), "{explanation:#}");
    let of_queues = &explanation["decision"]["queues"];
    let ready = of_queues[1]["inputs"]["ready_messages"].as_f64();
    assert!(ready.is_some_and(|ready| ready > 0.0), "{explanation:#}");
    assert_eq!(
        of_queues.as_array().map(Vec::len),
        Some(2),
        "the observed one decides nothing: {explanation:#}"
    );
    let series = |name: &str, queue: &str| {
        daemon.metric(&format!("{name}{{broker=\"default\",program=\"worker\",queue=\"{queue}\"}}")).or_else(
            || daemon.metric(&format!("{name}{{program=\"worker\",broker=\"default\",queue=\"{queue}\"}}")),
        )
    };
    assert_eq!(series("leveret_queue_messages_ready", &failed), Some(300.0));
    assert_eq!(series("leveret_queue_wait_goal_seconds", &low), Some(600.0));
    let text = daemon.cli_exits(0, &["explain", "worker"]);
    assert!(text.contains(&format!("decided by  {low}")) && text.contains("only observed"), "{text}");

    // A queue that goes away is missing data: nobody is stopped for it.
    publish::delete_queue(&url, &low);
    let missing = format!("\"{low}\" does not exist: 4 consumers are kept so that they can declare it");
    daemon.wait_program("worker", "the missing queue", LIMIT, |view| {
        view["reason"].as_str().is_some_and(|reason| reason.starts_with(&missing)).then_some(())
    });
    assert_eq!(daemon.program("worker")["desired"], 4);
    assert!(daemon.shut_down().success());
    daemon.assert_nothing_left();
    for queue in [&high, &failed] {
        publish::delete_queue(&url, queue);
    }
}

#[test]
fn consumers_are_started_before_messages_come_back_from_a_delayed_queue() {
    const MESSAGES: u32 = 300;
    let rabbit = Rabbit::shared();
    let url = rabbit.url();
    let retry = format!("{}.15s", run::unique("retry"));
    let scale = format!("wait: 2s, min: 1, max: 6, delayed: [{retry}]");
    // A start takes long, and the first one teaches how long.
    let orders = Scaled::new("orders", Kind::Php, &scale).key("ready: {after: 6s}");
    publish::declare_queue(&url, &orders.queue);
    publish::declare_delayed(&url, &retry, Duration::from_secs(15), &orders.queue);
    let mut daemon = Daemon::start_with_environment(&config([&orders]), &[("AMQP_URL", &url)]);
    let view = daemon.wait_program("orders", "one that is ready, and both queues", LIMIT, |view| {
        let is_read = view["queues"][1]["ready"] == 0 && view["queues"][0]["consumers"] == 1;
        (view["processes"][0]["state"] == "running" && is_read).then(|| view.clone())
    });
    assert_eq!(
        (&view["queues"][1]["queue"], &view["queues"][1]["delayed_seconds"]),
        (&json!(retry), &json!(15.0))
    );

    publish::publish(&url, &retry, 0..MESSAGES);
    let before = "300 messages come back from delayed queues within ";
    let decided = |daemon: &Daemon| {
        let decisions = daemon.api_get("/api/v1/decisions?limit=1000");
        let is_it = |decision: &&serde_json::Value| {
            decision["reason"].as_str().is_some_and(|reason| reason.starts_with(before))
        };
        list(&decisions).iter().find(is_it).cloned()
    };
    wait_for_state("every message to be done", LIMIT, || {
        let done = orders.books().count_ended();
        if done as u32 == MESSAGES { Ok(()) } else { Err(format!("{done} are done")) }
    });
    let decision = decided(&daemon).unwrap_or_else(|| panic!("{}", daemon.output()));
    assert_eq!((&decision["from"], &decision["to"]), (&json!(1), &json!(6)), "{decision:#}");
    assert!(daemon.shut_down().success());
    daemon.assert_nothing_left();
    orders.books().assert_exactly_once(0..MESSAGES);
    [&orders.queue, &retry].into_iter().for_each(|queue| publish::delete_queue(&url, queue));
}
