//! Queues of a real broker that cannot be read, beside others that can.

use std::time::Duration;

use leveret::sys::clock;
use serde_json::Value;

use crate::support::daemon::Daemon;
use crate::support::publish::{self, Held};
use crate::support::rabbit::Rabbit;
use crate::support::report::report;
use crate::support::scaled::{Scaled, config};

const LIMIT: Duration = Duration::from_secs(60);
/// How many rounds of readings are looked at.
const ROUNDS: u32 = 3;

#[test]
fn a_missing_and_a_locked_queue_among_twenty_leave_the_others_read_in_every_round() {
    let rabbit = Rabbit::shared();
    let url = rabbit.url();
    // Idle and without a minimum: no process runs for a queue that can be read and is empty.
    let programs: Vec<Scaled> = (0..20)
        .map(|number| Scaled::with_command(&format!("p{number}"), "sleep 1000", "wait: 2s, min: 0, max: 3"))
        .collect();
    let [missing, locked, well @ ..] = programs.as_slice() else { panic!("there are twenty") };
    for program in well {
        publish::declare_queue(&url, &program.queue);
    }
    let lock = Held::exclusive_queue(&url, &locked.queue);
    let daemon = Daemon::start_with_environment(&config(&programs), &[("AMQP_URL", &url)]);

    let (missing_says, locked_says) = (
        format!("queue \"{}\" does not exist on broker \"default\"", missing.queue),
        format!("queue \"{}\" is exclusive to another connection", locked.queue),
    );
    wait_for_error(&daemon, missing, &missing_says);
    wait_for_error(&daemon, locked, &locked_says);
    every_round_reads(&daemon, well);
    wait_for_error(&daemon, missing, &missing_says);
    wait_for_error(&daemon, locked, &locked_says);

    // Nobody but a consumer would declare the missing one, and nothing is known of the locked one.
    let kept = daemon.program(&missing.name);
    assert_eq!((kept["desired"].as_u64(), kept["running"].as_u64()), (Some(1), Some(1)), "{kept:#}");
    let explained = daemon.cli(&["explain", &missing.name]).stdout;
    for part in ["the queue does not exist: 1 consumer is kept so that it can declare it", &missing_says] {
        assert!(explained.contains(part), "{part:?} in\n{explained}");
    }
    let held = daemon.program(&locked.name);
    assert_eq!(held["desired"], 0, "{held:#}");
    let explained = daemon.cli(&["explain", &locked.name]).stdout;
    for part in [
        "the queue is exclusive to another connection, no reading yet; no consumer is added or stopped",
        &locked_says,
    ] {
        assert!(explained.contains(part), "{part:?} in\n{explained}");
    }
    for program in well {
        assert_eq!(daemon.program(&program.name)["running"], 0, "{}", program.name);
    }

    // Each is read again by itself as soon as it can be.
    publish::declare_queue(&url, &missing.queue);
    drop(lock);
    wait_for_error(
        &daemon,
        locked,
        &format!("queue \"{}\" does not exist on broker \"default\"", locked.queue),
    );
    publish::declare_queue(&url, &locked.queue);
    every_round_reads(&daemon, &programs);
    for program in &programs {
        publish::delete_queue(&url, &program.queue);
    }
}

fn wait_for_error(daemon: &Daemon, program: &Scaled, error: &str) {
    daemon.wait_program(&program.name, error, LIMIT, |view| {
        (view["queues"][0]["error"] == error).then_some(())
    });
}

/// Each of these queues is read anew in each of some rounds, and has nothing against it.
fn every_round_reads(daemon: &Daemon, programs: &[Scaled]) {
    let mut oldest = 0.0_f64;
    for _ in 0..ROUNDS {
        let since_seconds = clock::now().as_seconds();
        daemon.wait_for_reading(LIMIT);
        let status = daemon.status();
        let until_seconds = clock::now().as_seconds();
        for program in programs {
            let queue = queue(&status, program);
            let age = queue["age_seconds"].as_f64().unwrap_or_else(|| panic!("never read: {queue:#}"));
            assert!(until_seconds - age > since_seconds, "{} was left out: {queue:#}", program.name);
            assert_eq!(queue["error"], Value::Null, "{queue:#}");
            oldest = oldest.max(age);
        }
    }
    report(&format!("oldest reading of {} queues over {ROUNDS} looks: {oldest:.2} s", programs.len()));
}

fn queue<'a>(status: &'a Value, program: &Scaled) -> &'a Value {
    let programs = status["programs"].as_array().expect("there are programs");
    let view = programs.iter().find(|view| view["name"] == program.name.as_str()).expect("it is configured");
    &view["queues"][0]
}
