//! Twenty queues on one budget, with real consumers on a real broker.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::support::consumer::Kind;
use crate::support::daemon::{Daemon, list};
use crate::support::publish;
use crate::support::rabbit::Rabbit;
use crate::support::report::report;
use crate::support::scaled::{Scaled, config};
use crate::support::wait::wait_for_state;
use crate::support::{proc, run};

const LIMIT: Duration = Duration::from_secs(240);
const QUEUES: usize = 20;
/// How many of them come first.
const FIRST: usize = 2;
const BUDGET: u32 = 26;
/// Messages for each of those that come first, and of the others.
const MESSAGES: [u32; 2] = [600, 60];
/// So many messages need more consumers than there are places.
const MUCH: u64 = 100;

#[test]
fn twenty_queues_share_a_budget_none_starves_priorities_hold_and_it_is_never_exceeded() {
    let rabbit = Rabbit::shared();
    let url = rabbit.url();
    let programs: Vec<(Scaled, u32)> = (0..QUEUES)
        .map(|number| {
            let (priority, messages) = if number < FIRST { (5, MESSAGES[0]) } else { (0, MESSAGES[1]) };
            let scale = format!("wait: 1s, min: 0, max: {QUEUES}, priority: {priority}");
            (Scaled::new(&format!("queue{number:02}"), Kind::Php, &scale).work_ms(100), messages)
        })
        .collect();
    for (program, _) in &programs {
        publish::declare_queue(&url, &program.queue);
    }
    let yaml = config(programs.iter().map(|(program, _)| program));
    let yaml = format!("budget: {{processes: {BUDGET}}}\n{yaml}");
    let mut daemon = Daemon::start_with_environment(&yaml, &[("AMQP_URL", &url)]);
    daemon.wait_for_reading(LIMIT);

    let over = AtomicBool::new(false);
    let most = std::thread::scope(|scope| {
        // Also where something fails meanwhile.
        let over_at_the_end = Raised(&over);
        let counter = scope.spawn(|| most_at_one_time(&daemon, &over));
        // Those that come first have their messages last, when the others have taken what there is.
        for (program, messages) in programs.iter().rev() {
            publish::publish(&url, &program.queue, 0..*messages);
        }
        let mut contested = 0;
        wait_for_state("all queues to be consumed", LIMIT, || {
            let status = daemon.status();
            contested += u32::from(priorities_hold(&status));
            let left: u32 = programs
                .iter()
                .map(|(program, messages)| messages - program.books().count_ended() as u32)
                .sum();
            if left == 0 { Ok(()) } else { Err(format!("{left} messages are left: {}", status["budgets"])) }
        });
        assert!(contested > 0, "the first ones never asked for more than they had");
        drop(over_at_the_end);
        counter.join().expect("it counts until it is told to stop")
    });
    report(&format!("{QUEUES} queues on a budget of {BUDGET}: {most} consumers at one time at the most"));
    // The kernel's own count, and it was made use of.
    assert!((QUEUES as u32..=BUDGET).contains(&most), "{most} processes at one time");
    let limits = daemon.api_get("/api/v1/decisions?limit=1000");
    let limited = list(&limits).iter().filter(|decision| decision["limit"] == "budget").count();
    assert!(limited > 0, "nobody was told to have less than is needed");
    assert_eq!(daemon.metric("leveret_budget_limit{budget=\"processes\"}"), Some(f64::from(BUDGET)));

    assert!(daemon.shut_down().success());
    daemon.assert_nothing_left();
    for (program, messages) in &programs {
        program.books().assert_exactly_once(0..*messages);
        publish::delete_queue(&url, &program.queue);
    }
}

/// A flag that is raised when this is dropped.
struct Raised<'a>(&'a AtomicBool);

impl Drop for Raised<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Whether somebody that comes first and has much to do lacks a process; then nobody else may have more than one.
fn priorities_hold(status: &Value) -> bool {
    let programs = list(&status["programs"]);
    let of = |program: &Value, key: &str| program[key].as_u64().unwrap_or_default();
    let has_much_to_do = |program: &Value| program["queues"][0]["ready"].as_u64() >= Some(MUCH);
    let lacks = programs[..FIRST]
        .iter()
        .any(|program| has_much_to_do(program) && of(program, "wanted") > of(program, "desired"));
    for other in programs[FIRST..].iter().filter(|_| lacks) {
        assert!(of(other, "desired") <= 1, "the first ones lack processes: {status:#}");
    }
    lacks
}

/// The most consumers that the kernel shows at one time, until somebody says that it is over.
fn most_at_one_time(daemon: &Daemon, over: &AtomicBool) -> u32 {
    let consumer = run::fixture("consumer.php").display().to_string();
    let mut most = 0;
    while !over.load(Ordering::Relaxed) {
        let children = proc::children_of(daemon.keeper_pid());
        let consumers =
            children.iter().filter(|child| child.command_line.contains(&consumer) && !child.is_zombie());
        most = most.max(consumers.count() as u32);
    }
    most
}
