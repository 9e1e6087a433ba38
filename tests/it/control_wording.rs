//! What people are told, by the real daemon, in the command line and on the page alike.

use std::time::Duration;

use serde_json::Value;

use crate::support::daemon::{Daemon, list};
use crate::support::port::ReservedPort;
use crate::support::wait::wait_for;

const LIMIT: Duration = Duration::from_secs(60);

/// A program that is scaled by a queue at a broker that is not there.
fn scaled_by_nobody(port: &ReservedPort) -> String {
    format!(
        "brokers: {{default: {{url: amqp://shop:hunter2@127.0.0.1:{}}}}}\n\
         programs:\n  orders: {{command: sleep 1000, scale: {{queue: orders, wait: 5s, max: 5}}}}\n",
        port.number()
    )
}

#[test]
fn a_queue_whose_broker_is_not_there_tells_what_is_wrong_with_the_broker() {
    let port = ReservedPort::reserve();
    let daemon = Daemon::start(&scaled_by_nobody(&port));
    let trouble = format!("cannot connect to the broker at 127.0.0.1:{}: connection refused", port.number());
    daemon.wait_program("orders", "the queue to be cut off", LIMIT, |view| {
        let error = view["queues"][0]["error"].as_str()?;
        (error == format!("broker \"default\": {trouble}")).then_some(())
    });
    let status = daemon.cli(&["status"]).stdout;
    let row = status.lines().find(|line| line.starts_with("orders ")).expect("the program has a row");
    assert!(row.contains(&trouble), "{status}");
    let explained = daemon.cli(&["explain", "orders"]).stdout;
    assert!(explained.contains(&format!("orders at default: broker \"default\": {trouble}")), "{explained}");
    let page = daemon.get_text("/");
    assert!(
        page.contains(&format!("<p class=\"trouble\">broker &#34;default&#34;: {trouble}</p>")),
        "{page}"
    );
}

#[test]
fn a_pause_where_nothing_is_scaled_says_so_and_changes_nothing() {
    let daemon = Daemon::start("programs:\n  web: {command: sleep 1000}\n");
    for (words, said) in [
        (["pause", "all"], "no program is scaled, so there is nothing to pause\n"),
        (["pause", "web"], "web is not scaled, so there is nothing to pause\n"),
        (["resume", "all"], "no program is scaled, so there is nothing to resume\n"),
    ] {
        assert_eq!(daemon.cli_exits(0, &words), said);
    }
    assert_eq!(daemon.cli_exits(4, &["pause", "@nobody"]), "error: there is no project \"nobody\"\n");
    // A program that becomes scaled afterwards is not paused.
    let port = ReservedPort::reserve();
    daemon.write_config(&scaled_by_nobody(&port).replace("orders:", "web:"));
    daemon.cli_exits(0, &["reload"]);
    assert_eq!(daemon.program("web")["mode"], "auto");
    assert_eq!(daemon.cli_exits(0, &["pause"]), "all: scaling paused\n");
}

#[test]
fn a_copy_right_after_others_tells_the_one_process_that_it_added() {
    let daemon = Daemon::start("programs:\n  web: {command: sleep 1000}\n");
    daemon.wait_running("web");
    for count in ["2 processes", "3 processes"] {
        let said = daemon.cli_exits(0, &["copy", "web", "--no-wait"]);
        assert_eq!(said, format!("web: {count} until released\n"));
    }
    assert_eq!(daemon.cli_exits(0, &["copy", "web"]), "web:3: added\n");
    assert_eq!(daemon.cli_exits(0, &["scale", "web", "1"]), "web: 1 process until released\n");
}

#[test]
fn scale_returns_when_as_many_run_and_fails_when_they_cannot() {
    let daemon = Daemon::start(
        "programs:\n  web: {command: sleep 1000}\n  \
         broken: {command: /nonexistent/program, autostart: false}\n",
    );
    daemon.wait_running("web");
    let running = |view: &Value| {
        let processes = list(&view["processes"]).iter();
        processes.filter(|process| process["state"] == "running").count().to_string()
    };
    assert_eq!(daemon.cli_exits(0, &["scale", "web", "4"]), "web: 4 processes until released\n");
    assert_eq!(running(&daemon.program("web")), "4");
    // Those that are too many are not waited for: they may have work to finish.
    for (count, text) in [("1", "1 process"), ("0", "0 processes")] {
        assert_eq!(daemon.cli_exits(0, &["scale", "web", count]), format!("web: {text} until released\n"));
        wait_for("the others to end", LIMIT, || (running(&daemon.program("web")) == count).then_some(()));
    }
    let said = daemon.cli_exits(1, &["scale", "broken", "2"]);
    assert!(said.contains("/nonexistent/program"), "{said}");
    daemon.cli_exits(0, &["scale", "broken", "3", "--no-wait"]);
}
