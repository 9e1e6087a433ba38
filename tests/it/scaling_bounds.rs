//! What bounds the number of consumers beside the need: several servers, floors, a rate, an order.

use std::fs;
use std::time::Duration;

use crate::support::consumer::Kind;
use crate::support::daemon::{Daemon, list};
use crate::support::publish;
use crate::support::rabbit::Rabbit;
use crate::support::run;
use crate::support::scaled::{Scaled, config};
use crate::support::wait::wait_for_state;

const LIMIT: Duration = Duration::from_secs(120);

#[test]
fn two_servers_on_a_queue_run_their_parts_of_one_number_and_do_each_message_once() {
    const MESSAGES: u32 = 3_000;
    let rabbit = Rabbit::shared();
    let url = rabbit.url();
    let orders =
        Scaled::new("orders", Kind::Php, "wait: 1s, min: 3, max: 9, share: {part: 1, of: 2}").work_ms(50);
    publish::declare_queue(&url, &orders.queue);
    let one = config([&orders]);
    let mut servers = [one.clone(), one.replace("part: 1", "part: 2")]
        .map(|yaml| Daemon::start_with_environment(&yaml, &[("AMQP_URL", &url)]));
    let wait_for_parts = |servers: &[Daemon], what: &str, parts: [u64; 2]| {
        for (server, part) in servers.iter().zip(parts) {
            server.wait_program("orders", what, LIMIT, |view| {
                let is_so = ["desired", "running"].iter().all(|key| view[*key].as_u64() == Some(part));
                is_so.then_some(())
            });
        }
    };
    wait_for_parts(&servers, "its part of the minimum", [2, 1]);
    publish::publish(&url, &orders.queue, 0..MESSAGES);
    wait_for_parts(&servers, "its part of the maximum", [5, 4]);
    for (server, part) in servers.iter().zip(1..) {
        let view = server.program("orders");
        let words = format!("(part {part} of 2)");
        assert!(view["reason"].as_str().is_some_and(|reason| reason.ends_with(&words)), "{view:#}");
    }
    wait_for_state("every message to be done", LIMIT, || {
        let done = orders.books().count_ended();
        if done as u32 >= MESSAGES { Ok(()) } else { Err(format!("{done} are done")) }
    });
    wait_for_parts(&servers, "its part of the minimum again", [2, 1]);
    for server in &mut servers {
        assert!(server.shut_down().success());
        server.assert_nothing_left();
    }
    orders.books().assert_exactly_once(0..MESSAGES);
    publish::delete_queue(&url, &orders.queue);
}

#[test]
fn a_floor_holds_without_any_message_and_a_rate_keeps_consumers_from_a_backlog() {
    const MESSAGES: u32 = 400;
    let rabbit = Rabbit::shared();
    let url = rabbit.url();
    // Every minute anew, so that it holds whenever this runs.
    let floors = "floors: [{cron: \"* * * * *\", for: 2m, min: 3}]";
    let morning = Scaled::new("morning", Kind::Php, &format!("wait: 1s, min: 0, max: 9, {floors}"));
    let mails = Scaled::new("mails", Kind::Php, "wait: 1s, min: 0, max: 20, rate: 40/s").work_ms(100);
    let programs = [&morning, &mails];
    programs.iter().for_each(|program| publish::declare_queue(&url, &program.queue));
    let mut daemon = Daemon::start_with_environment(&config(programs), &[("AMQP_URL", &url)]);
    daemon.wait_program("morning", "its floor", LIMIT, |view| {
        let reason = view["reason"].as_str().unwrap_or_default();
        let is_told = reason.starts_with("a floor holds: at least 3 consumers until ");
        (view["running"].as_u64() == Some(3) && is_told).then_some(())
    });

    publish::publish(&url, &mails.queue, 0..MESSAGES);
    wait_for_state("every mail to be sent", LIMIT, || {
        let desired = daemon.program("mails")["desired"].as_u64();
        assert!(desired <= Some(8), "40 a second are 8 consumers at the most, as long as 200 ms are assumed");
        let done = mails.books().count_ended();
        if done as u32 >= MESSAGES { Ok(()) } else { Err(format!("{done} are done")) }
    });
    let decisions = daemon.api_get("/api/v1/decisions?limit=1000");
    let mut limited = list(&decisions).iter().filter(|decision| decision["limit"] == "rate");
    assert!(limited.any(|decision| decision["program"] == "mails"), "{decisions:#}");
    assert_eq!(daemon.program("morning")["running"], 3, "nobody goes while the floor holds");
    assert!(daemon.shut_down().success());
    daemon.assert_nothing_left();
    mails.books().assert_exactly_once(0..MESSAGES);
    programs.iter().for_each(|program| publish::delete_queue(&url, &program.queue));
}

#[test]
fn where_messages_have_their_order_nothing_starts_beside_what_a_crash_left_behind() {
    const STARTS: usize = 3;
    let rabbit = Rabbit::shared();
    let url = rabbit.url();
    let told = run::directory("order").join("told");
    // It crashes, and something of it goes on for a while that does not listen to SIGTERM.
    let script = format!(
        "(trap '' TERM; sleep 1; echo end >> {0}) & echo start >> {0}; sleep 0.1; exit 1",
        told.display()
    );
    let command = format!("[sh, -c, \"{script}\"]");
    let scale = "wait: 1s, min: 1, max: 1, ordered: true";
    let ledger = Scaled::with_command("ledger", &command, scale).key("backoff: {initial: 10ms, max: 10ms}");
    publish::declare_queue(&url, &ledger.queue);
    let mut daemon = Daemon::start_with_environment(&config([&ledger]), &[("AMQP_URL", &url)]);
    let lines = wait_for_state("several starts", LIMIT, || {
        let text = fs::read_to_string(&told).map_err(|error| error.to_string())?;
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let starts = lines.iter().filter(|line| *line == "start").count();
        if starts >= STARTS { Ok(lines) } else { Err(format!("{lines:?}")) }
    });
    for (number, line) in lines.iter().enumerate() {
        assert_eq!(line, ["start", "end"][number % 2], "{lines:?}");
    }
    daemon.shut_down();
    daemon.assert_nothing_left();
    publish::delete_queue(&url, &ledger.queue);
}
