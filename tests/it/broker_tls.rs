//! An encrypted connection to a real broker, trusted and not.

use std::time::Duration;

use crate::support::consumer::Kind;
use crate::support::daemon::Daemon;
use crate::support::publish;
use crate::support::rabbit::Rabbit;
use crate::support::scaled::{Scaled, config};
use crate::support::wait::wait_for_state;

const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn a_queue_is_read_and_consumed_over_amqps_with_a_private_authority() {
    let rabbit = Rabbit::shared();
    let program = Scaled::new("sealed", Kind::Python, "wait: 2s, max: 3");
    publish::declare_queue(&rabbit.url(), &program.queue);
    let authority = rabbit.authority().display().to_string();
    let environment = [("AMQP_URL", rabbit.encrypted_url()), ("SSL_CERT_FILE", authority)];
    let environment = environment.each_ref().map(|(name, value)| (*name, value.as_str()));
    let daemon = Daemon::start_with_environment(&config([&program]), &environment);
    let brokers = daemon.wait_program("sealed", "a consumer", LIMIT, |view| {
        (view["queues"][0]["consumers"] == 1).then(|| daemon.status()["brokers"].clone())
    });
    assert_eq!(brokers[0]["state"], "connected", "{brokers:#}");
    assert!(
        brokers[0]["url"].as_str().is_some_and(|url| url.starts_with("amqps://guest@127.0.0.1:")),
        "{brokers:#}"
    );
    publish::publish(&rabbit.url(), &program.queue, 0..20);
    wait_for_state("all messages", LIMIT, || match program.books().count_ended() {
        20 => Ok(()),
        ended => Err(format!("{ended} ended")),
    });
    drop(daemon);
    program.books().assert_exactly_once(0..20);
    publish::delete_queue(&rabbit.url(), &program.queue);
}

#[test]
fn a_certificate_that_is_not_trusted_is_told_as_just_that() {
    let rabbit = Rabbit::shared();
    let program = Scaled::with_command("sealed", "sleep 1000", "wait: 2s, min: 0, max: 3");
    let daemon =
        Daemon::start_with_environment(&config([&program]), &[("AMQP_URL", &rabbit.encrypted_url())]);
    let error = daemon.wait_status("the refusal", LIMIT, |status| {
        let broker = &status["brokers"][0];
        (broker["state"] == "unreachable").then(|| broker["error"].as_str().unwrap_or_default().to_owned())
    });
    for part in ["cannot agree on encryption with the broker at 127.0.0.1:", "certificate", "SSL_CERT_FILE"] {
        assert!(error.contains(part), "{part:?} in {error:?}");
    }
    daemon.wait_output(&error, LIMIT);
    assert_eq!(daemon.metric("leveret_broker_up{broker=\"default\"}"), Some(0.0));
    let status = daemon.cli(&["status"]).stdout;
    assert!(status.contains(&error), "{status}");
}
