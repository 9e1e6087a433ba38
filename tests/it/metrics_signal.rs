//! What a real RabbitMQ exports for Prometheus, and what is said where it no longer does.

use std::time::Duration;

use serde_json::Value;

use crate::check_live::check;
use crate::support::consumer::Kind;
use crate::support::daemon::Daemon;
use crate::support::publish;
use crate::support::rabbit::Rabbit;
use crate::support::scaled::{Scaled, config_with_metrics};
use crate::support::wait::wait_for_state;

const LIMIT: Duration = Duration::from_secs(90);

#[test]
fn metrics_tell_what_is_unacknowledged_and_when_they_end_scaling_goes_on_by_amqp() {
    let rabbit = Rabbit::start_with_metrics();
    let url = rabbit.url();
    let program = Scaled::new("exported", Kind::Python, "wait: 1h, min: 3, max: 3").work_ms(2_000);
    publish::declare_queue(&url, &program.queue);
    publish::publish(&url, &program.queue, 0..60);
    let environment = [("AMQP_URL", url.clone()), ("RABBITMQ_METRICS", rabbit.metrics())];
    let environment = environment.each_ref().map(|(name, value)| (*name, value.as_str()));
    let daemon = Daemon::start_with_environment(&config_with_metrics([&program]), &environment);
    daemon.wait_output("broker \"default\": the metrics endpoint answers", LIMIT);
    daemon.wait_program("exported", "three messages with three consumers", LIMIT, |view| {
        (view["queues"][0]["unacked"] == 3).then_some(())
    });
    let broker = daemon.status()["brokers"][0].clone();
    assert_eq!(broker["metrics"]["state"], "answering", "{broker:#}");
    assert_eq!(broker["metrics"]["url"], rabbit.metrics(), "{broker:#}");
    assert_eq!(broker["management"], Value::Null, "{broker:#}");
    // Nobody waits for a message that takes an hour, so over AMQP the work would never be known this well.
    wait_for_state("the time that a message takes", LIMIT, || {
        let explained = daemon.api_get("/api/v1/explain/exported");
        let inputs = &explained["decision"]["inputs"];
        let service = inputs["service_seconds"].as_f64().unwrap_or_default();
        let is_known = inputs["service_learned"] == 1.0 && (1.0..4.0).contains(&service);
        if is_known { Ok(()) } else { Err(format!("{inputs:#}")) }
    });
    let explained = daemon.cli(&["explain", "exported"]).stdout;
    assert!(explained.contains(" unacknowledged, "), "{explained}");

    rabbit.stop_metrics();
    let lost = format!("cannot connect to the metrics endpoint at {}: ", rabbit.metrics());
    daemon.wait_output(&lost, LIMIT);
    let failing = |status: &Value| (status["brokers"][0]["metrics"]["state"] == "failing").then_some(());
    daemon.wait_status("the end of the metrics", LIMIT, failing);
    daemon.wait_program("exported", "nothing known of what is unacknowledged", LIMIT, |view| {
        view["queues"][0]["unacked"].is_null().then_some(())
    });
    assert_eq!(daemon.status()["brokers"][0]["state"], "connected");
    let explained = daemon.cli(&["explain", "exported"]).stdout;
    assert!(explained.contains(&lost), "{explained}");
    assert!(explained.contains("scaling goes by what AMQP tells until it does"), "{explained}");

    rabbit.start_metrics();
    daemon.wait_output("broker \"default\": the metrics endpoint answers again", LIMIT);
    daemon.wait_program("exported", "what is unacknowledged", LIMIT, |view| {
        view["queues"][0]["unacked"].as_u64()
    });
    let output = daemon.output();
    assert_eq!(output.matches("cannot connect to the metrics endpoint").count(), 1, "said once:\n{output}");
    wait_for_state("all messages", LIMIT, || match program.books().count_ended() {
        60 => Ok(()),
        ended => Err(format!("{ended} ended")),
    });
    drop(daemon);
    program.books().assert_exactly_once(0..60);

    // A look by hand says whether they are there.
    let look = |address: &str| {
        let scale = format!("{{queue: {}, wait: 1s, max: 2}}", program.queue);
        check(&format!(
            "brokers: {{default: {{url: '{url}', metrics: '{address}'}}}}\nprograms: {{a: {{command: work, scale: {scale}}}}}\n"
        ))
    };
    let good = look(&rabbit.metrics());
    assert!(good.status.success() && good.stdout.contains(" answers, and its metrics; without"), "{good:?}");
    let wrong = look(&format!("{}/elsewhere", rabbit.metrics()));
    assert_eq!(wrong.status.code(), Some(1), "{wrong:?}");
    assert!(
        wrong.stdout.contains("is not RabbitMQ's metrics endpoint (it answers 404 Not Found)"),
        "{wrong:?}"
    );

    // Over https a certificate is trusted as for AMQP.
    let authority = rabbit.authority().display().to_string();
    let address = rabbit.encrypted_metrics();
    let environment = [
        ("AMQP_URL", url.as_str()),
        ("RABBITMQ_METRICS", address.as_str()),
        ("SSL_CERT_FILE", authority.as_str()),
    ];
    let daemon = Daemon::start_with_environment(&config_with_metrics([&program]), &environment);
    daemon.wait_output("broker \"default\": the metrics endpoint answers", LIMIT);
}
