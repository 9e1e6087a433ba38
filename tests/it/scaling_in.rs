//! Fewer consumers on a real broker: none is ended in the middle of a message.

use std::time::Duration;

use serde_json::Value;

use crate::support::consumer::Kind;
use crate::support::daemon::{Daemon, list};
use crate::support::publish;
use crate::support::rabbit::Rabbit;
use crate::support::scaled::{Scaled, config};
use crate::support::wait::{wait_for, wait_for_state};

const LIMIT: Duration = Duration::from_secs(90);
/// Long beside everything that Leveret does.
const WORK_MS: u32 = 2_000;

#[test]
fn six_busy_consumers_become_one_and_each_first_finishes_what_it_has_begun() {
    let rabbit = Rabbit::shared();
    let url = rabbit.url();
    let programs = [("php", Kind::Php), ("php-polling", Kind::PhpPolling), ("python", Kind::Python)].map(
        |(name, kind)| {
            // A limit shorter than the work: it is for an operator's stop, and scaling in has none.
            Scaled::new(name, kind, "wait: 1h, max: 6").work_ms(WORK_MS).key("stop: {timeout: 500ms}")
        },
    );
    for program in &programs {
        publish::declare_queue(&url, &program.queue);
    }
    let daemon = Daemon::start_with_environment(&config(&programs), &[("AMQP_URL", &url)]);
    std::thread::scope(|scope| {
        for program in &programs {
            scope.spawn(|| six_become_one(&daemon, &url, program));
        }
    });
    assert!(!daemon.output().contains("is killed"), "scaling in never kills:\n{}", daemon.output());

    for program in &programs {
        let books = program.books();
        books.assert_exactly_once(0..10);
        let left: Vec<_> = books.consumers.values().filter(|entries| entries.stopped_ms.is_some()).collect();
        assert_eq!((books.consumers.len(), left.len()), (6, 5), "{}: {books:#?}", program.name);
        publish::delete_queue(&url, &program.queue);
    }
}

fn six_become_one(daemon: &Daemon, url: &str, program: &Scaled) {
    let name = &program.name;
    assert!(daemon.cli(&["scale", name, "6"]).status.success());
    wait_for(&format!("{name}: six consumers"), LIMIT, || {
        (program.books().consumers.len() == 6).then_some(())
    });
    publish::publish(url, &program.queue, 0..10);
    wait_for_books(program, "six at work", |begun, ended| begun - ended == 6);
    assert!(daemon.cli(&["scale", name, "1"]).status.success());
    let reason = daemon.wait_program(name, "one that drains", LIMIT, |view| {
        let draining = list(&view["processes"]).iter().find(|process| process["state"] == "stopping")?;
        Some(draining["reason"].as_str().unwrap_or_default().to_owned())
    });
    assert!(reason.starts_with("draining for "), "{name}: {reason}");
    wait_for_books(program, "the last message", |_, ended| ended == 10);
    daemon.wait_program(name, "one left", LIMIT, |view| (list(&view["processes"]).len() == 1).then_some(()));
}

#[test]
fn consumers_that_die_of_the_stop_signal_are_found_out_by_the_first_one_and_the_others_spared() {
    let rabbit = Rabbit::shared();
    let url = rabbit.url();
    let program = Scaled::new("careless", Kind::PythonCareless, "wait: 1h, max: 4").work_ms(WORK_MS);
    publish::declare_queue(&url, &program.queue);
    let daemon = Daemon::start_with_environment(&config([&program]), &[("AMQP_URL", &url)]);
    assert!(daemon.cli(&["scale", "careless", "4"]).status.success());
    publish::publish(&url, &program.queue, 0..10);
    wait_for_books(&program, "all at work", |begun, _| begun >= 4);
    // One that has lived for less than a second might have been about to install a handler.
    daemon.wait_program("careless", "all grown up", LIMIT, |view| {
        let grown = |process: &Value| process["uptime_seconds"].as_f64().is_some_and(|seconds| seconds > 1.5);
        list(&view["processes"]).iter().all(grown).then_some(())
    });
    assert!(daemon.cli(&["scale", "careless", "1"]).status.success());

    daemon.wait_program("careless", "three left", LIMIT, |view| {
        (list(&view["processes"]).len() == 3).then_some(())
    });
    let spared = "2 more than needed go on, because these processes die of SIGTERM in the middle of work";
    wait_for_state("the word about it", LIMIT, || {
        let explained = daemon.cli(&["explain", "careless"]).stdout;
        if explained.contains(spared) { Ok(()) } else { Err(explained) }
    });
    daemon.wait_output("careless: its processes die of SIGTERM in the middle of work", LIMIT);

    // They go on for as long as there is anything to do, and after it.
    wait_for("all messages to be ended once", LIMIT, || {
        let books = program.books();
        let ended: std::collections::BTreeSet<u32> = books
            .consumers
            .values()
            .flat_map(|entries| entries.ended.iter().map(|(message, _)| *message))
            .collect();
        (ended.len() == 10).then_some(())
    });
    let view = daemon.program("careless");
    assert_eq!((view["running"].as_u64(), view["desired"].as_u64()), (Some(3), Some(1)), "{view:#}");
    let faults = program.books().faults(0..10);
    let [cut, again, twice] = faults.as_slice() else { panic!("one message was cut short: {faults:#?}") };
    assert!(
        cut.contains("was begun and ended 0 times") || again.contains("was begun and ended 0 times"),
        "{faults:#?}"
    );
    assert!(faults.iter().any(|fault| fault.contains("was redelivered")), "{faults:#?}");
    assert!(twice.contains("was begun by"), "{faults:#?}");

    // Whoever insists gets what he wants: they die of it.
    assert!(daemon.cli(&["stop", "careless"]).status.success());
    assert_eq!(daemon.program("careless")["running"], 0);
    publish::delete_queue(&url, &program.queue);
}

fn wait_for_books(program: &Scaled, what: &str, done: impl Fn(usize, usize) -> bool) {
    wait_for_state(&format!("{}: {what}", program.name), LIMIT, || {
        let books = program.books();
        let (begun, ended) = (books.count_begun(), books.count_ended());
        if done(begun, ended) { Ok(()) } else { Err(format!("{begun} begun, {ended} ended")) }
    });
}
