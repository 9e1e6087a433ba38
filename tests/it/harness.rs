//! The harness itself: the node, the consumers, the victim and the guard do what the other tests rely on.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::consumer::{Consumer, Kind};
use crate::support::ledger::Ledger;
use crate::support::publish::{self, Left, QueueCounts};
use crate::support::rabbit::Rabbit;
use crate::support::wait::{wait_for, wait_for_state};
use crate::support::{command, proc, run};

const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn each_kind_of_consumer_consumes_every_message_exactly_once() {
    let rabbit = Rabbit::shared();
    std::thread::scope(|scope| {
        for kind in Kind::ALL {
            scope.spawn(move || consume_exactly_once(rabbit, kind));
        }
    });
}

fn consume_exactly_once(rabbit: &Rabbit, kind: Kind) {
    let (url, queue) = (rabbit.url(), run::unique("numbers"));
    publish::declare_queue(&url, &queue);
    publish::publish(&url, &queue, 0..200);
    let logs = run::directory("ledger");
    let mut consumer = Consumer::start(kind, &url, &queue, 2, &logs);
    wait_for_books(&mut consumer, &logs, "all messages ended", |books| books.count_ended() >= 200);
    let consumers = publish::counts(&url, &queue).expect("the queue is there").consumers;
    let visible = if kind == Kind::PhpPolling { 0 } else { 1 };
    assert_eq!(consumers, visible, "consumers that RabbitMQ sees for {kind:?}");
    assert!(consumer.stop(LIMIT).success(), "{kind:?} exits 0 when it is idle and told to stop");
    Ledger::read(&logs).assert_exactly_once(0..200);
    assert_eq!(publish::drain(&url, &queue), []);
    publish::delete_queue(&url, &queue);
}

#[test]
fn a_consumer_told_to_stop_in_the_middle_of_a_message_finishes_it_and_takes_no_other() {
    let rabbit = Rabbit::shared();
    std::thread::scope(|scope| {
        for kind in Kind::ALL {
            scope.spawn(move || stop_in_the_middle(rabbit, kind));
        }
    });
}

fn stop_in_the_middle(rabbit: &Rabbit, kind: Kind) {
    let (url, queue) = (rabbit.url(), run::unique("numbers"));
    publish::declare_queue(&url, &queue);
    publish::publish(&url, &queue, 0..5);
    let logs = run::directory("ledger");
    let mut consumer = Consumer::start(kind, &url, &queue, 1500, &logs);
    wait_for_books(&mut consumer, &logs, "a message begun", |books| books.count_begun() == 1);
    assert!(consumer.stop(LIMIT).success(), "{kind:?} exits 0");
    let books = Ledger::read(&logs);
    books.assert_exactly_once(0..1);
    let entries = books.consumers.values().next().expect("it wrote a log");
    assert!(entries.started_ms < entries.stopped_ms, "{kind:?} takes leave in its log: {entries:?}");
    assert_eq!(books.first_begins().len(), 1);
    let left = publish::drain(&url, &queue);
    let messages: Vec<u32> = left.iter().map(|left| left.message).collect();
    assert_eq!(messages, [1, 2, 3, 4], "{kind:?} leaves the others in the queue");
    assert!(left.iter().all(|left| !left.redelivered), "{kind:?} was never handed one of them: {left:?}");
    publish::delete_queue(&url, &queue);
}

#[test]
fn a_consumer_that_declares_its_queue_can_be_the_first_and_the_others_cannot() {
    let rabbit = Rabbit::shared();
    let url = rabbit.url();
    for kind in Kind::ALL {
        let queue = run::unique("nowhere");
        let logs = run::directory("ledger");
        let mut consumer = Consumer::start(kind, &url, &queue, 1, &logs);
        if kind == Kind::PhpDeclares {
            let there = QueueCounts { ready: 0, consumers: 1 };
            wait_for("the queue declared", LIMIT, || {
                (publish::counts(&url, &queue) == Some(there)).then_some(())
            });
            assert!(consumer.stop(LIMIT).success());
            publish::delete_queue(&url, &queue);
        } else {
            let status = wait_for("the consumer to give up", LIMIT, || consumer.exit());
            assert!(!status.success(), "{kind:?} fails where its queue is missing");
            assert_eq!(publish::counts(&url, &queue), None);
        }
    }
}

#[test]
fn a_node_that_was_stopped_or_killed_comes_back_at_the_same_url_with_its_messages() {
    let mut rabbit = Rabbit::start();
    let (url, queue) = (rabbit.url(), run::unique("durable"));
    publish::declare_queue(&url, &queue);
    publish::publish(&url, &queue, 0..3);

    let logs = run::directory("ledger");
    let mut consumer = Consumer::start(Kind::Python, &url, &queue, 600_000, &logs);
    wait_for_books(&mut consumer, &logs, "the first message begun", |books| books.count_begun() == 1);
    rabbit.close_connections();
    wait_for("the consumer to lose its connection", LIMIT, || {
        (publish::counts(&url, &queue)?.consumers == 0).then_some(())
    });
    drop(consumer);

    rabbit.stop_app();
    publish::can_connect(&url).expect_err("a stopped broker lets nobody in");
    rabbit.start_app();

    rabbit.stop();
    publish::can_connect(&url).expect_err("a stopped node lets nobody in");
    rabbit.start_again();
    let three = QueueCounts { ready: 3, consumers: 0 };
    assert_eq!(publish::counts(&url, &queue), Some(three));

    rabbit.kill();
    publish::can_connect(&url).expect_err("a killed node lets nobody in");
    rabbit.start_again();
    assert_eq!(publish::counts(&url, &queue), Some(three));

    let id = rabbit.id().to_owned();
    drop(rabbit);
    let left = proc::marked(&id);
    assert!(left.is_empty(), "left behind by RabbitMQ:{}", proc::describe(&left));
}

#[test]
fn users_are_added_given_another_password_and_refused_with_the_old_one() {
    let rabbit = Rabbit::shared();
    let user = run::unique("user");
    rabbit.add_user(&user, "first");
    publish::can_connect(&rabbit.url_with(&user, "first", "/")).expect("the user is let in");
    publish::can_connect(&rabbit.url_with(&user, "first", "nowhere")).expect_err("there is no such vhost");
    rabbit.change_password(&user, "second");
    publish::can_connect(&rabbit.url_with(&user, "first", "/")).expect_err("the old password is refused");
    publish::can_connect(&rabbit.url_with(&user, "second", "/")).expect("the new password is accepted");
}

#[test]
fn a_message_in_the_hands_of_a_consumer_is_counted_as_unacknowledged() {
    let rabbit = Rabbit::shared();
    let (url, queue) = (rabbit.url(), run::unique("numbers"));
    let logs = run::directory("ledger");
    publish::declare_queue(&url, &queue);
    publish::publish(&url, &queue, 0..1);
    assert_eq!(rabbit.unacknowledged(&queue), 0);
    let mut consumer = Consumer::start(Kind::Python, &url, &queue, 600_000, &logs);
    wait_for_books(&mut consumer, &logs, "the message begun", |books| books.count_begun() == 1);
    assert_eq!(rabbit.unacknowledged(&queue), 1);
    assert_eq!(publish::counts(&url, &queue), Some(QueueCounts { ready: 0, consumers: 1 }));
    drop(consumer);
    let again = QueueCounts { ready: 1, consumers: 0 };
    wait_for("the message of a killed consumer to return", LIMIT, || {
        (publish::counts(&url, &queue) == Some(again)).then_some(())
    });
    assert_eq!(publish::drain(&url, &queue), [Left { message: 0, redelivered: true }]);
}

#[test]
fn a_victim_starts_what_it_is_told_to_and_all_of_it_is_found_and_killed_by_its_marker() {
    let directory = run::directory("victim");
    let id = run::unique("victim");
    let pids = directory.join("pids");
    let mut victim = run::command(run::fixture("victim.py"), &id)
        .args([
            "--ignore-term",
            "--grandchild-session",
            "--daemonize",
            "--leave-worker",
            "0.01",
            "--marker",
            &id,
        ])
        .arg("--pids")
        .arg(&pids)
        .arg("--log")
        .arg(directory.join("work"))
        .spawn()
        .expect("the victim can be started");
    let role = |name: &str| {
        let text = fs::read_to_string(&pids).unwrap_or_default();
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse::<i32>().ok())
    };
    let [grandchild, daemon, worker] =
        ["grandchild", "daemon", "worker"].map(|name| wait_for(name, LIMIT, || role(name)));
    let main = command::pid_of(&victim);

    let read = |pid| proc::Process::read(pid).expect("it is alive");
    assert_eq!(read(worker).session, read(main).session);
    assert_eq!(read(worker).group, read(main).group);
    assert_eq!(read(grandchild).session, grandchild, "the grandchild has a session of its own");
    let children: Vec<i32> = proc::children_of(main).iter().map(|process| process.pid).collect();
    assert_eq!(children, [grandchild, worker]);
    assert_ne!(read(daemon).parent, main, "the daemon has detached itself");
    assert_eq!(fs::read(format!("/proc/{daemon}/environ")).expect("it is alive"), b"");

    for pid in [main, grandchild] {
        assert!(proc::signal(pid, Signal::TERM));
    }
    // It writes the end of the piece in hand before it goes, so the others have had their signal by then.
    proc::signal(worker, Signal::TERM);
    wait_for("the worker to end", LIMIT, || read(worker).is_zombie().then_some(()));
    let work = fs::read_to_string(directory.join("work")).expect("it has worked");
    let last = work.lines().last().expect("it has worked");
    assert!(last.starts_with("end "), "the worker finishes what it has begun: {last}");
    let alive: Vec<i32> = proc::marked(&id).iter().map(|process| process.pid).collect();
    let mut expected = vec![main, grandchild, daemon];
    expected.sort_unstable();
    let mut found = alive.clone();
    found.sort_unstable();
    assert_eq!(found, expected);

    command::kill_and_reap("the victim", &mut victim, &id);
    assert_eq!(proc::marked(&id), []);
}

#[test]
fn a_victim_prints_floods_crashes_and_exits_as_it_is_told() {
    let directory = run::directory("victim");
    let finish = |arguments: &[&str]| {
        let mut command = run::command(run::fixture("victim.py"), &run::unique("victim"));
        command.args(arguments).current_dir(&directory);
        command::finish("the victim", command, LIMIT)
    };
    let printed = finish(&["--print-lines", "3", "--rate", "1000", "--prefix", "row", "--exit-code", "7"]);
    assert_eq!((printed.status.code(), printed.stdout.as_str()), (Some(7), "row 1\nrow 2\nrow 3\n"));
    assert_eq!(finish(&["--flood-mb", "2", "--exit-code", "0"]).stdout.len(), 2 * 1024 * 1024);
    let silent = finish(&["--close-stdout", "--exit-after", "0.01", "--exit-code", "3"]);
    assert_eq!((silent.status.code(), silent.stdout.as_str()), (Some(3), ""));

    let codes = |option: &str, state: &str| {
        [0; 3].map(|_| finish(&[option, "2", "--state", state, "--exit-code", "0"]).status.code())
    };
    assert_eq!(codes("--crash-on-start", "crash-on"), [Some(0), Some(1), Some(0)]);
    assert_eq!(codes("--crash-until", "crash-until"), [Some(1), Some(0), Some(0)]);

    finish(&["--facts", "facts.json", "--exit-code", "0"]);
    let facts = fs::read_to_string(directory.join("facts.json")).expect("the victim wrote it");
    let facts: serde_json::Value = serde_json::from_str(&facts).expect("it is JSON");
    assert_eq!(facts["directory"], directory.to_str().expect("our directories are text"));
    assert_eq!(facts["uid"], rustix::process::getuid().as_raw());
}

#[test]
fn whatever_the_run_left_is_killed_and_removed_when_its_process_is_killed() {
    // A test process in small: a shell that holds the guard's pipe, has a marked child, and is killed.
    let directory = run::directory("doomed");
    let doomed = directory.join("doomed");
    fs::create_dir(&doomed).expect("the directory is ours");
    let marker = run::unique("doomed");
    let script = r#"
        { echo "$1"; echo "$2"; exec sleep 1000; } | "$3" &
        MARKER="$1" sleep 1000 &
        echo ready > "$2/ready"
        wait
    "#;
    let id = run::unique("shell");
    let mut shell = run::command("/bin/sh", &id)
        .args(["-c", script, "sh", &marker])
        .arg(&doomed)
        .arg(run::fixture("guard.sh"))
        .spawn()
        .expect("a shell can be started");
    wait_for("the small run to be set up", LIMIT, || doomed.join("ready").exists().then_some(()));
    let sleeps = wait_for("the writer of the pipe", LIMIT, || {
        let found: Vec<_> =
            proc::marked(&id).into_iter().filter(|found| found.command_line == "sleep 1000").collect();
        (found.len() == 2).then_some(found)
    });
    for process in sleeps.iter().filter(|process| !is_marked(process.pid, &marker)) {
        assert!(proc::signal(process.pid, Signal::KILL));
    }
    wait_for_state("the guard to clean up", LIMIT, || {
        let left: Vec<_> = sleeps.iter().filter(|process| alive(process.pid)).collect();
        if left.is_empty() && !doomed.exists() { Ok(()) } else { Err(format!("{left:?}")) }
    });
    command::kill_and_reap("the shell", &mut shell, &id);
}

fn is_marked(pid: i32, marker: &str) -> bool {
    proc::marked(marker).iter().any(|process| process.pid == pid)
}

fn alive(pid: i32) -> bool {
    proc::Process::read(pid).is_some_and(|process| !process.is_zombie())
}

fn wait_for_books(consumer: &mut Consumer, logs: &Path, what: &str, done: impl Fn(&Ledger) -> bool) {
    wait_for_state(what, LIMIT, || {
        assert_eq!(consumer.exit(), None, "the consumer ended too early: {}", consumer.output());
        let books = Ledger::read(logs);
        if done(&books) {
            Ok(())
        } else {
            Err(format!("{} begun, {} ended", books.count_begun(), books.count_ended()))
        }
    });
}
