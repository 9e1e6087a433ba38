//! What a real RabbitMQ tells over its management API, and what is said where it tells nothing.

use std::time::Duration;

use serde_json::Value;

use crate::support::consumer::Kind;
use crate::support::daemon::Daemon;
use crate::support::publish;
use crate::support::rabbit::Rabbit;
use crate::support::run;
use crate::support::scaled::{Scaled, config_with_management};
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
