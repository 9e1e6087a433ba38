//! `leveret check --live`: what a real RabbitMQ has to say against a configuration.

use std::fs;
use std::time::Duration;

use lapin::types::AMQPValue;

use crate::support::command::{Finished, finish};
use crate::support::publish;
use crate::support::rabbit::Rabbit;
use crate::support::run;
use crate::support::wait::wait_for_state;

const LIMIT: Duration = Duration::from_secs(60);

pub(crate) fn check(yaml: &str) -> Finished {
    let file = run::directory("live").join("shop.yaml");
    fs::write(&file, yaml).expect("the directory is ours");
    let mut command = run::command(env!("CARGO_BIN_EXE_leveret"), &run::unique("check"));
    command.args(["check", "--live"]).arg(&file);
    finish("leveret check --live", command, LIMIT)
}

fn program(name: &str, queue: &str, extra: &str) -> String {
    format!("  {name}: {{command: work, scale: {{queue: {queue}, wait: 1s, max: 2}}{extra}}}\n")
}

#[test]
fn all_that_stands_against_it_is_said_and_nothing_else() {
    let rabbit = Rabbit::shared_with_management();
    let url = rabbit.url();
    let [good, missing, stream, short, taken, held] = [(); 6].map(|()| run::unique("live"));
    for queue in [&good, &taken] {
        publish::declare_queue(&url, queue);
    }
    publish::declare_with(&url, &stream, "x-queue-type", AMQPValue::LongString("stream".into()));
    publish::declare_with(&url, &short, "x-consumer-timeout", AMQPValue::LongInt(60_000));
    let _exclusive = publish::Held::exclusive_queue(&url, &held);
    let _stranger = publish::Held::consumer(&url, &taken);
    let yaml = format!(
        "brokers: {{default: {{url: '{url}', management: '{}'}}}}\nprograms:\n{}{}{}{}{}{}",
        rabbit.management(),
        program("good", &good, ""),
        program("missing", &missing, ""),
        program("stream", &stream, ""),
        program("short", &short, ", stop: {timeout: 2m}"),
        program("taken", &taken, ""),
        program("held", &held, ""),
    );
    // The management API hears of consumers some seconds late.
    let told = wait_for_state("the stranger to be seen", LIMIT, || {
        let Finished { status, stdout, stderr } = check(&yaml);
        assert_eq!(status.code(), Some(1), "{stdout}{stderr}");
        if stdout.contains("\ntaken: 1 of 1 consumer take messages without a limit (prefetch 0)") {
            Ok(stdout)
        } else {
            Err(stdout)
        }
    });
    let own = format!("pid {} (", std::process::id());
    for expected in [
        "broker default: amqp://guest@127.0.0.1:".to_owned(),
        " answers, and its management API (RabbitMQ 3.".to_owned(),
        format!("\nmissing: queue \"{missing}\" is not there; declare it"),
        "\nstream: the queue is a stream".to_owned(),
        "\nshort: a message may be in work for 2m (`stop.timeout`), but the broker takes it back".to_owned(),
        format!("\ntaken: 1 consumer is of no program of this file: {own}"),
        format!("\nheld: queue \"{held}\" is exclusive to another connection"),
        ": 6 programs, and 6 things stand against it\n".to_owned(),
    ] {
        assert!(told.contains(&expected), "{expected} is not in\n{told}");
    }
    assert!(!told.contains("\ngood: ") && !told.contains("guest:guest"), "{told}");
}

#[test]
fn good_is_0_a_refusal_1_and_a_bad_file_2() {
    let rabbit = Rabbit::shared_with_management();
    let queue = run::unique("live");
    publish::declare_queue(&rabbit.url(), &queue);
    let yaml = |url: &str| format!("brokers: {{b: '{url}'}}\nprograms:\n{}", program("a", &queue, ""));
    let good = check(&yaml(&rabbit.url()));
    assert_eq!(good.status.code(), Some(0), "{good:?}");
    assert!(good.stdout.contains("; without `management` nothing is known"), "{good:?}");
    assert!(
        good.stdout.ends_with("good, 1 program, and nothing at the brokers stands against it\n"),
        "{good:?}"
    );

    let user = run::unique("user");
    rabbit.control(&["add_user", &user, "hunter2"]);
    let refused = check(&yaml(&rabbit.url_with(&user, "hunter2", "/")));
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(refused.stdout.contains(&format!("or user {user} may not use it\n")), "{refused:?}");

    let wrong = check(&yaml(&rabbit.url_with(&user, "hunter3", "/")));
    assert_eq!(wrong.status.code(), Some(1), "{wrong:?}");
    assert!(wrong.stdout.contains("broker b: the broker refuses the login of user"), "{wrong:?}");
    assert!(!format!("{wrong:?}{refused:?}").contains("hunter"));

    let bad = check("programs: {a: {}}\n");
    assert_eq!(bad.status.code(), Some(2), "{bad:?}");
}
