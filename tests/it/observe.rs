//! `leveret observe`: consumers that something else runs, at a real RabbitMQ.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::command::{self, Finished, finish};
use crate::support::consumer::{Consumer, Kind};
use crate::support::ledger::Ledger;
use crate::support::proc::{self, Process};
use crate::support::publish;
use crate::support::rabbit::Rabbit;
use crate::support::run;
use crate::support::wait::wait_for_state;

const LIMIT: Duration = Duration::from_secs(120);

fn leveret(words: &[&str], api: &str) -> Command {
    let mut command = run::command(env!("CARGO_BIN_EXE_leveret"), &run::unique("observe"));
    command.args(words).env("LEVERET_MANAGEMENT_URL", api);
    command
}

fn start(words: &[&str], api: &str, directory: &Path) -> Child {
    let file = |name: &str| File::create(directory.join(name)).expect("the directory is ours");
    let mut command = leveret(words, api);
    command.stdout(file("out")).stderr(file("err")).spawn().expect("the binary is there")
}

/// Leveret takes the file.
fn check(yaml: &str, directory: &Path, api: &str) {
    let file = directory.join("leveret.yaml");
    fs::write(&file, yaml).expect("the directory is ours");
    let checked = finish("check", leveret(&["check", &file.display().to_string()], api), LIMIT);
    let Finished { status, stdout, .. } = &checked;
    assert!(status.success() && stdout.ends_with("good, 2 programs\n"), "{checked:?}\n{yaml}");
}

/// What is at `path`, as text.
fn text(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).expect("the file was made")
}

#[test]
fn consumers_that_anybody_runs_are_found_and_told_and_left_alone() {
    let rabbit = Rabbit::start_with_management();
    let (url, api) = (rabbit.url(), rabbit.management());
    let [orders, mails] = ["orders", "mails"].map(run::unique);
    for queue in [&orders, &mails] {
        publish::declare_queue(&url, queue);
    }
    let nobody = finish("observe", leveret(&["observe", "--for", "1s", "--every", "1s"], &api), LIMIT);
    assert_eq!(nobody.status.code(), Some(1), "{nobody:?}");
    assert!(nobody.stderr.contains("nobody does at all, as far as user guest may see"), "{nobody:?}");

    let books = [(); 2].map(|()| run::directory("books"));
    let begin = |kind, queue: &str, books: &Path| Consumer::start(kind, &url, queue, 20, books);
    let consuming: Vec<Consumer> = (0..3).map(|_| begin(Kind::Python, &orders, &books[0])).collect();
    let polling: Vec<Consumer> = (0..2).map(|_| begin(Kind::PhpPolling, &mails, &books[1])).collect();
    let pids = |consumers: &[Consumer]| {
        let mut pids: Vec<i32> = consumers.iter().map(Consumer::pid).collect();
        pids.sort_unstable();
        pids
    };
    let all = || [pids(&consuming), pids(&polling)].concat();
    let identities =
        || all().into_iter().map(|pid| Process::read(pid).map(|it| it.start_ticks)).collect::<Vec<_>>();
    let before = identities();
    // Who polls is told by what it has taken.
    publish::publish(&url, &orders, 0..100);
    publish::publish(&url, &mails, 0..100);

    let directory = run::directory("observed");
    let mut observing = start(&["observe", "--for", "1h", "--every", "1s"], &api, &directory);
    wait_for_state("everybody to be seen", LIMIT, || {
        let said = text(directory.join("err"));
        if said.contains("observing 5 processes at 2 queues") { Ok(()) } else { Err(said) }
    });
    proc::signal(command::pid_of(&observing), Signal::INT);
    let status = command::wait_for_exit("observe", &mut observing, LIMIT);
    let said = text(directory.join("err"));
    assert_eq!(status.code(), Some(0), "{said}");
    check(&text(directory.join("out")), &directory, &api);

    let record = directory.join("rates.csv").display().to_string();
    let words = ["observe", "--for", "25s", "--every", "1s", "--json", "--record", &record];
    let mut observing = start(&words, &api, &directory);
    publish::publish(&url, &orders, 100..200);
    publish::publish(&url, &mails, 100..200);
    let status = command::wait_for_exit("observe", &mut observing, LIMIT);
    let said = text(directory.join("err"));
    assert_eq!(status.code(), Some(0), "{said}");
    let answer: Value = serde_json::from_str(&text(directory.join("out"))).expect("it is JSON");
    let found = |queue: &str| {
        let programs = answer["programs"].as_array().expect("a list");
        let has_it = |program: &&Value| program["queues"][0]["queue"] == queue;
        programs.iter().find(has_it).unwrap_or_else(|| panic!("nobody has {queue}: {answer:#}")).clone()
    };
    for (queue, consumers, kind) in
        [(&orders, &consuming, Kind::Python), (&mails, &polling, Kind::PhpPolling)]
    {
        let program = found(queue);
        assert_eq!(program["pids"], Value::from(pids(consumers)), "{program:#}");
        assert_eq!(program["processes"], consumers.len());
        let (interpreter, file) = kind.command();
        assert_eq!(program["command"], Value::from(vec![interpreter.to_owned(), file.display().to_string()]));
        assert!(program["directory"].is_string() && program["user"].is_string(), "{program:#}");
    }
    let read =
        |queue: &str| text(directory.join(format!("rates-{queue}.csv"))).lines().next().map(str::to_owned);
    assert_eq!(
        [&orders, &mails].map(|queue| read(queue)),
        [(); 2].map(|()| Some("second,messages".to_owned()))
    );

    let yaml = answer["yaml"].as_str().expect("a text");
    check(yaml, &directory, &api);
    // Of the environment nothing is copied, not even that of guest.
    assert!(!yaml.contains("WORK_MS") && !said.contains("guest:guest"), "{said}{yaml}");

    wait_for_state("all messages", LIMIT, || {
        match books.each_ref().map(|books| Ledger::read(books).count_ended()) {
            [200, 200] => Ok(()),
            ended => Err(format!("{ended:?} ended")),
        }
    });
    assert_eq!(identities(), before, "the same processes live");
    assert!(before.iter().all(Option::is_some));
    assert_eq!(publish::counts(&url, &orders).map(|counts| counts.consumers), Some(3));
    for books in &books {
        Ledger::read(books).assert_exactly_once(0..200);
    }
}

#[test]
fn a_management_api_that_does_not_let_in_is_told_without_the_password() {
    let rabbit = Rabbit::shared_with_management();
    let refused = rabbit.management_with("guest", "hunter2");
    let file = run::directory("address").join("address");
    fs::write(&file, &refused).expect("the directory is ours");
    let by_file = ["observe", "--management-file", &file.display().to_string()].map(str::to_owned);
    for words in [vec!["observe".to_owned()], by_file.to_vec()] {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let finished = finish("observe", leveret(&words, &refused), LIMIT);
        assert_eq!(finished.status.code(), Some(1), "{finished:?}");
        assert!(finished.stderr.contains("refuses user guest"), "{finished:?}");
        assert!(!format!("{finished:?}").contains("hunter2"), "{finished:?}");
    }
    let wrong = finish("observe", leveret(&["observe"], "amqp://guest:hunter2@127.0.0.1"), LIMIT);
    assert_eq!(wrong.status.code(), Some(2), "{wrong:?}");
    assert!(
        wrong.stderr.contains("LEVERET_MANAGEMENT_URL: this is the address of the broker itself"),
        "{wrong:?}"
    );
    assert!(!wrong.stderr.contains("hunter2"), "{wrong:?}");
}
