//! `make soak-queues`: a Leveret that reads 200 queues of a real RabbitMQ for as long as one likes, while queues come and go,
//! connections are cut and the file is read again; at the end it has no more channels, descriptors and memory than at first.

use std::fs;
use std::time::Duration;

use leveret::core::time::Time;
use leveret::sys::clock;
use rustix::process::Signal;
use serde_json::Value;

use crate::support::daemon::{Daemon, list};
use crate::support::http::{self, Request};
use crate::support::publish;
use crate::support::rabbit::Rabbit;
use crate::support::report::report;
use crate::support::run;
use crate::support::wait::wait_for_state;

const LIMIT: Duration = Duration::from_secs(120);
const QUEUES: usize = 200;
/// How long it runs unless LEVERET_SOAK_MINUTES says otherwise.
const MINUTES: u64 = 60;
/// How often it is disturbed and looked at.
const STEP: Duration = Duration::from_secs(10);
/// How much of the time is for everything to find its size.
const WARM_UP: f64 = 0.2;

/// What could leak, at one moment.
#[derive(Clone, Copy, Debug)]
struct Sample {
    descriptors: usize,
    channels: usize,
    connections: usize,
    resident_bytes: u64,
}

#[test]
#[ignore = "an hour: make soak-queues"]
#[expect(
    clippy::disallowed_methods,
    reason = "it goes on for a time that nobody else sets, at a pace of its own"
)]
fn an_hour_with_two_hundred_queues_leaks_no_channel_no_descriptor_and_no_memory() {
    let minutes = std::env::var("LEVERET_SOAK_MINUTES").ok();
    let minutes = minutes.map_or(MINUTES, |text| text.parse().expect("LEVERET_SOAK_MINUTES is a number"));
    let rabbit = Rabbit::shared_with_management();
    let url = rabbit.url();
    let queues: Vec<String> = (0..QUEUES).map(|_| run::unique("soak")).collect();
    for queue in &queues[1..] {
        publish::declare_queue(&url, queue);
    }
    let environment = [("AMQP_URL", url.clone()), ("RABBITMQ_API", rabbit.management())];
    let environment = environment.each_ref().map(|(name, value)| (*name, value.as_str()));
    let daemon = Daemon::start_with_environment(&configuration(&queues, 1), &environment);
    daemon.wait_output("broker \"default\": the management API answers", LIMIT);
    wait_reading(&daemon, QUEUES - 1);
    let (keeper, controller) = (daemon.keeper_pid(), daemon.controller_pid());

    let begun = clock::now();
    let end = begun + Duration::from_secs(minutes * 60);
    let mut samples: Vec<(Time, Sample)> = Vec::new();
    let mut missing = 0;
    let mut step = 0;
    while clock::now() < end {
        step += 1;
        samples.push((clock::now(), sample(rabbit, [keeper, controller])));
        missing = disturb(step, missing, &daemon, rabbit, &queues);
        std::thread::sleep(STEP);
        wait_reading(&daemon, QUEUES - 1);
        assert_eq!(daemon.controller_pid(), controller, "one that was replaced would hide what it leaked");
    }
    let settled = begun + end.since(begun).mul_f64(WARM_UP);
    let warm: Vec<Sample> = samples.iter().filter(|(at, _)| *at >= settled).map(|(_, it)| *it).collect();
    assert!(warm.len() >= 9, "too short to tell: {} samples", warm.len());
    let (first, last) = (&warm[..warm.len() / 3], &warm[warm.len() - warm.len() / 3..]);
    report(&format!(
        "soak of {minutes} min with {QUEUES} queues, {step} disturbances: first {:?}, after the warm-up {:?}, last {:?}",
        samples[0].1,
        first[0],
        last[last.len() - 1]
    ));
    assert_no_growth("descriptors", first, last, 4.0, |sample| sample.descriptors as f64);
    assert_no_growth("channels", first, last, 4.0, |sample| sample.channels as f64);
    assert_no_growth("connections", first, last, 0.0, |sample| sample.connections as f64);
    let mebibyte = 1024.0 * 1024.0;
    assert_no_growth("MiB of memory", first, last, 3.0, |sample| sample.resident_bytes as f64 / mebibyte);
}

/// Panics where the usual figure at the end is larger than the largest at the beginning by more than `slack`.
fn assert_no_growth(
    what: &str,
    first: &[Sample],
    last: &[Sample],
    slack: f64,
    figure: impl Fn(&Sample) -> f64,
) {
    let most = first.iter().map(&figure).fold(0.0, f64::max);
    let mut ends: Vec<f64> = last.iter().map(&figure).collect();
    ends.sort_by(f64::total_cmp);
    let usual = ends[ends.len() / 2];
    assert!(usual <= most + slack, "{what} grew from {most:.1} at most to {usual:.1} as a rule");
}

fn sample(rabbit: &Rabbit, pids: [i32; 2]) -> Sample {
    let totals = totals(rabbit);
    let count = |what: &str| totals[what].as_u64().expect("a number") as usize;
    let descriptors = |pid: i32| fs::read_dir(format!("/proc/{pid}/fd")).expect("the process lives").count();
    let resident = |pid: i32| {
        let text = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process lives");
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has memory");
        let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
        kibibytes * 1024
    };
    Sample {
        descriptors: pids.into_iter().map(descriptors).sum(),
        channels: count("channels"),
        connections: count("connections"),
        resident_bytes: pids.into_iter().map(resident).sum(),
    }
}

/// How much of everything there is at the broker, as it knows it by its own lists.
fn totals(rabbit: &Rabbit) -> Value {
    let address = rabbit.management();
    let port = address.rsplit(':').next().and_then(|port| port.parse().ok()).expect("it has a port");
    let host = format!("127.0.0.1:{port}");
    // guest:guest
    let headers = [("Host", host.as_str()), ("Authorization", "Basic Z3Vlc3Q6Z3Vlc3Q=")];
    let request = Request { method: "GET", path: "/api/overview", headers: &headers, body: "" };
    let response = http::send_tcp(port, request).expect("the API answers");
    assert_eq!(response.status, 200, "{response:?}");
    response.json()["object_totals"].clone()
}

/// Messages come and go, one queue goes and the one that was gone comes back; now and then all connections are closed, or the
/// file is read again with a change. Returns which queue is missing then.
fn disturb(step: usize, missing: usize, daemon: &Daemon, rabbit: &Rabbit, queues: &[String]) -> usize {
    let url = rabbit.url();
    publish::declare_queue(&url, &queues[missing]);
    let next = step * 7 % QUEUES;
    publish::delete_queue(&url, &queues[next]);
    for number in [next + 1, next + 50] {
        let queue = &queues[number % QUEUES];
        publish::publish(&url, queue, 0..50);
        assert_eq!(publish::drain(&url, queue).len(), 50);
    }
    if step.is_multiple_of(6) {
        rabbit.close_connections();
    }
    if step.is_multiple_of(5) {
        daemon.write_config(&configuration(queues, 1 + step as u32 % 2));
        daemon.signal(Signal::HUP);
    }
    next
}

/// Each queue has a program, which runs nothing.
fn configuration(queues: &[String], max: u32) -> String {
    let programs: String = queues
        .iter()
        .enumerate()
        .map(|(number, queue)| {
            format!("  p{number}: {{extends: idle, scale: {{queue: {queue}, max: {max}}}}}\n")
        })
        .collect();
    format!(
        "brokers: {{default: {{url: '${{AMQP_URL}}', management: '${{RABBITMQ_API}}'}}}}\n\
         templates: {{idle: {{command: sleep 1000, scale: {{wait: 10s, min: 0, mode: dry-run}}}}}}\n\
         programs:\n{programs}"
    )
}

/// Waits until so many queues, at least, were read within the last seconds.
fn wait_reading(daemon: &Daemon, count: usize) {
    wait_for_state("the queues to be read", LIMIT, || {
        let status = daemon.status();
        let ages = list(&status["programs"])
            .iter()
            .filter_map(|program| program["queues"][0]["age_seconds"].as_f64());
        let fresh = ages.filter(|age| *age < 5.0).count();
        if fresh >= count { Ok(()) } else { Err(format!("{fresh} of {count}")) }
    });
}
