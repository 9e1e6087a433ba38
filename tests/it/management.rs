//! What a real RabbitMQ tells over its management API, and what is said where it tells nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use crate::support::consumer::Kind;
use crate::support::daemon::{Daemon, list};
use crate::support::ledger::Entries;
use crate::support::publish;
use crate::support::rabbit::Rabbit;
use crate::support::run;
use crate::support::scaled::{Scaled, config, config_with_management};
use crate::support::wait::wait_for_state;

const LIMIT: Duration = Duration::from_secs(90);

#[test]
fn unacknowledged_messages_are_known_and_the_flow_is_counted_instead_of_inferred() {
    let rabbit = Rabbit::shared_with_management();
    let url = rabbit.url();
    let program = Scaled::new("counted", Kind::Python, "wait: 1h, min: 3, max: 3").work_ms(2_000);
    publish::declare_queue(&url, &program.queue);
    publish::publish(&url, &program.queue, 0..60);
    let environment = [("AMQP_URL", url.clone()), ("RABBITMQ_API", rabbit.management())];
    let environment = environment.each_ref().map(|(name, value)| (*name, value.as_str()));
    let daemon = Daemon::start_with_environment(&config_with_management([&program]), &environment);
    daemon.wait_output("broker \"default\": the management API answers", LIMIT);
    daemon.wait_program("counted", "three messages with three consumers", LIMIT, |view| {
        (view["queues"][0]["unacked"] == 3).then_some(())
    });
    let status = daemon.status();
    let broker = &status["brokers"][0];
    assert_eq!(
        (&broker["state"], &broker["management"]["state"]),
        (&"connected".into(), &"answering".into())
    );
    assert!(broker["management"]["url"].as_str().is_some_and(|url| !url.contains("guest")), "{broker:#}");
    let series = format!(
        "leveret_queue_messages_unacknowledged{{program=\"counted\",broker=\"default\",queue=\"{}\"}}",
        program.queue
    );
    wait_for_state("the metric", LIMIT, || match daemon.metric(&series) {
        Some(3.0) => Ok(()),
        other => Err(format!("{other:?}")),
    });
    // Nobody waits for a message that takes an hour, so over AMQP the work would never be known this well.
    wait_for_state("the time that a message takes", LIMIT, || {
        let explained = daemon.api_get("/api/v1/explain/counted");
        let inputs = &explained["decision"]["inputs"];
        let service = inputs["service_seconds"].as_f64().unwrap_or_default();
        let is_known = inputs["service_learned"] == 1.0 && (1.5..3.0).contains(&service);
        if is_known { Ok(()) } else { Err(format!("{inputs:#}")) }
    });
    let explained = daemon.cli(&["explain", "counted"]).stdout;
    assert!(explained.contains(" unacknowledged, "), "{explained}");
    wait_for_state("all messages", LIMIT, || match program.books().count_ended() {
        60 => Ok(()),
        ended => Err(format!("{ended} ended")),
    });
    drop(daemon);
    program.books().assert_exactly_once(0..60);
    publish::delete_queue(&url, &program.queue);
}

#[test]
fn a_management_api_that_refuses_is_said_and_scaling_goes_on_without_it() {
    let rabbit = Rabbit::shared_with_management();
    let url = rabbit.url();
    let program = Scaled::new("untold", Kind::Python, "wait: 2s, max: 4").work_ms(200);
    publish::declare_queue(&url, &program.queue);
    // A user that may use queues but has no tag.
    let user = run::unique("user");
    rabbit.add_user(&user, "hunter2");
    let environment = [("AMQP_URL", url.clone()), ("RABBITMQ_API", rabbit.management_with(&user, "hunter2"))];
    let environment = environment.each_ref().map(|(name, value)| (*name, value.as_str()));
    let daemon = Daemon::start_with_environment(&config_with_management([&program]), &environment);
    let refused = format!("refuses user {user} (Not management user); check user and password, the tag");
    daemon.wait_output(&refused, LIMIT);
    let failing = |status: &Value| (status["brokers"][0]["management"]["state"] == "failing").then_some(());
    daemon.wait_status("the refusal", LIMIT, failing);

    publish::publish(&url, &program.queue, 0..200);
    daemon.wait_program("untold", "more consumers", LIMIT, |view| {
        (view["running"].as_u64() > Some(1)).then_some(())
    });
    let view = daemon.program("untold");
    assert_eq!(view["queues"][0]["unacked"], Value::Null, "{view:#}");
    let explained = daemon.cli(&["explain", "untold"]).stdout;
    assert!(explained.contains(&refused), "{explained}");
    assert!(explained.contains("scaling goes by what AMQP tells until it does"), "{explained}");

    // With the tag it answers, by itself.
    rabbit.control(&["set_user_tags", &user, "monitoring"]);
    daemon.wait_output("broker \"default\": the management API answers again", LIMIT);
    daemon.wait_program("untold", "what is unacknowledged", LIMIT, |view| {
        view["queues"][0]["unacked"].as_u64()
    });
    let output = daemon.output();
    assert_eq!(output.matches("refuses user").count(), 1, "said once:\n{output}");
    assert!(!output.contains("hunter2"), "{output}");
    wait_for_state("all messages", LIMIT, || match program.books().count_ended() {
        200 => Ok(()),
        ended => Err(format!("{ended} ended")),
    });
    drop(daemon);
    program.books().assert_exactly_once(0..200);
    publish::delete_queue(&url, &program.queue);
}

#[test]
fn over_https_a_certificate_is_trusted_as_for_amqp_or_the_refusal_says_what_to_do() {
    let rabbit = Rabbit::shared_with_management();
    let (url, api) = (rabbit.url(), rabbit.encrypted_management());
    let program = Scaled::with_command("sealed", "sleep 1000", "wait: 2s, max: 3");
    publish::declare_queue(&url, &program.queue);
    let start = |more: &[(&str, &str)]| {
        let environment = [&[("AMQP_URL", url.as_str()), ("RABBITMQ_API", api.as_str())], more].concat();
        Daemon::start_with_environment(&config_with_management([&program]), &environment)
    };
    let authority = rabbit.authority().display().to_string();
    let daemon = start(&[("SSL_CERT_FILE", authority.as_str())]);
    daemon.wait_output("broker \"default\": the management API answers", LIMIT);
    daemon.wait_program("sealed", "what is unacknowledged", LIMIT, |view| {
        view["queues"][0]["unacked"].as_u64()
    });
    drop(daemon);
    let daemon = start(&[]);
    daemon.wait_output("cannot agree on encryption with the management API at https://127.0.0.1:", LIMIT);
    daemon.wait_output("a private authority's certificate goes into SSL_CERT_FILE", LIMIT);
    drop(daemon);
    publish::delete_queue(&url, &program.queue);
}

#[test]
fn a_queue_with_one_active_consumer_at_a_time_is_named_and_not_answered_with_more() {
    let rabbit = Rabbit::shared_with_management();
    let url = rabbit.url();
    let program = Scaled::new("lonely", Kind::Python, "wait: 1s, max: 5").work_ms(100);
    publish::declare_queue_for_one_consumer(&url, &program.queue);
    publish::publish(&url, &program.queue, 0..100);
    let environment = [("AMQP_URL", url.clone()), ("RABBITMQ_API", rabbit.management())];
    let environment = environment.each_ref().map(|(name, value)| (*name, value.as_str()));
    let daemon = Daemon::start_with_environment(&config_with_management([&program]), &environment);
    let named = "the queue has one active consumer at a time, and others stand by";
    daemon.wait_program("lonely", "the word about it", LIMIT, |view| {
        let remarks = view["queues"][0]["remarks"].as_array()?;
        remarks.iter().any(|remark| remark.as_str().is_some_and(|text| text.starts_with(named))).then_some(())
    });
    wait_for_state("all messages", LIMIT, || match program.books().count_ended() {
        100 => Ok(()),
        ended => Err(format!("{ended} ended")),
    });
    let explained = daemon.cli(&["explain", "lonely"]).stdout;
    assert!(explained.contains(named), "{explained}");
    drop(daemon);
    assert_eq!(program.books().consumers.len(), 1, "more would have stood by");
    program.books().assert_exactly_once(0..100);
    publish::delete_queue(&url, &program.queue);
}

#[test]
fn of_thirty_consumers_of_which_half_hold_a_message_the_idle_ones_are_stopped_every_time() {
    let rabbit = Rabbit::shared_with_management();
    let url = rabbit.url();
    let program = Scaled::new("known", Kind::Python, "wait: 1h, max: 30").work_ms(1);
    publish::declare_queue(&url, &program.queue);
    let environment = [("AMQP_URL", url.clone()), ("RABBITMQ_API", rabbit.management())];
    let environment = environment.each_ref().map(|(name, value)| (*name, value.as_str()));
    let daemon = Daemon::start_with_environment(&config_with_management([&program]), &environment);
    for round in 0..3 {
        let (busy, rest) = scale_thirty_with_fifteen_at_work(&daemon, &url, &program, round);
        assert_eq!(busy, rest, "round {round}");
        let explained = daemon.cli(&["explain", "known"]).stdout;
        assert!(
            explained.contains("(by their channels, as the broker told some seconds ago)"),
            "{explained}"
        );
        end_what_was_begun(&program, round);
    }
    drop(daemon);
    program.books().assert_exactly_once(0..45);
    publish::delete_queue(&url, &program.queue);
}

#[test]
fn without_a_management_api_nothing_is_lost_and_nothing_done_twice() {
    let rabbit = Rabbit::shared_with_management();
    let url = rabbit.url();
    let program = Scaled::new("unknown", Kind::Python, "wait: 1h, max: 30").work_ms(1);
    publish::declare_queue(&url, &program.queue);
    let daemon = Daemon::start_with_environment(&config([&program]), &[("AMQP_URL", &url)]);
    scale_thirty_with_fifteen_at_work(&daemon, &url, &program, 0);
    let explained = daemon.cli(&["explain", "unknown"]).stdout;
    assert!(!explained.contains("at work"), "{explained}");
    end_what_was_begun(&program, 0);
    drop(daemon);
    program.books().assert_exactly_once(0..15);
    publish::delete_queue(&url, &program.queue);
}

/// Thirty consumers, of which half hold a message, are scaled to fifteen: who held one, and who goes on.
fn scale_thirty_with_fifteen_at_work(
    daemon: &Daemon,
    url: &str,
    program: &Scaled,
    round: u32,
) -> (BTreeSet<String>, BTreeSet<String>) {
    let name = program.name.as_str();
    program.hold();
    assert!(daemon.cli(&["scale", name, "30"]).status.success());
    daemon.wait_program(name, "thirty consumers", LIMIT, |view| {
        (view["queues"][0]["consumers"] == 30 && view["running"] == 30).then_some(())
    });
    publish::publish(url, &program.queue, round * 15..(round + 1) * 15);
    let busy = wait_for_state("fifteen at work", LIMIT, || match at_work(program) {
        busy if busy.len() == 15 => Ok(busy),
        busy => Err(format!("{busy:?}")),
    });
    assert!(daemon.cli(&["scale", name, "15", "--no-wait"]).status.success());
    let rest = daemon.wait_program(name, "fifteen that go on", LIMIT, |view| {
        let goes_on = |process: &&Value| process["state"] == "running";
        let named =
            |process: &Value| Some(format!("{}-{}", process["id"].as_str()?, process["pid"].as_i64()?));
        let rest: BTreeSet<_> = list(&view["processes"]).iter().filter(goes_on).filter_map(named).collect();
        (rest.len() == 15).then_some(rest)
    });
    (busy, rest)
}

/// The processes that have begun a message and not ended it.
fn at_work(program: &Scaled) -> BTreeSet<String> {
    let holds = |entries: &Entries| entries.begun.len() > entries.ended.len();
    program
        .books()
        .consumers
        .into_iter()
        .filter(|(_, entries)| holds(entries))
        .map(|(name, _)| name)
        .collect()
}

fn end_what_was_begun(program: &Scaled, round: u32) {
    program.release();
    let count = (round as usize + 1) * 15;
    wait_for_state("all messages", LIMIT, || match program.books().count_ended() {
        ended if ended == count => Ok(()),
        ended => Err(format!("{ended} of {count} ended")),
    });
}
