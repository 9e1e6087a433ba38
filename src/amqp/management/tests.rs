//! A management API that says what a test wants it to say, and what is told of it.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::mpsc::{Receiver, channel};
use tokio::time::timeout;

use super::{Management, ManagementSettings};
use crate::amqp::fact::{Counters, Fact, Figures, ManagementState, NoFlow};
use crate::amqp::http::rig::{Rig, Script, answer};
use crate::core::secret::Secret;
use crate::core::spec::{BrokerSpec, ManagementSpec};

const LIMIT: Duration = Duration::from_secs(30);

const OVERVIEW: &str = r#"{"rates_mode":"basic","disable_stats":false}"#;

/// Begins to ask about `orders`.
fn ask_rig(rig: &Rig) -> (Management, Receiver<Fact>) {
    ask(&rig.address, LIMIT)
}

fn ask(address: &str, patience: Duration) -> (Management, Receiver<Fact>) {
    let password = Secret::new("hunter2");
    let management = ManagementSpec { address: address.to_owned(), user: "shop".to_owned(), password };
    let broker = BrokerSpec {
        name: "default".to_owned(),
        url: Secret::new("amqp://shop:hunter2@mq/a%2fb"),
        shown: "amqp://shop@mq/a%2fb".to_owned(),
        management: Some(management),
        metrics: None,
    };
    let settings = ManagementSettings { broker, interval: Duration::from_millis(20), timeout: patience };
    let (sender, facts) = channel(64);
    (Management::start(settings, BTreeSet::from(["orders".to_owned()]), sender), facts)
}

fn queue(ready: u64, acknowledged: u64) -> Option<String> {
    let item = format!(
        r#"{{"name":"orders","messages_ready":{ready},"messages_unacknowledged":1,
            "message_stats":{{"ack":{acknowledged},"deliver_get":1,"publish":9}}}},{{"name":"others"}}"#
    );
    answer("200 OK", &format!(r#"{{"items":[{item}],"page_count":1}}"#))
}

async fn next(facts: &mut Receiver<Fact>) -> Fact {
    timeout(LIMIT, facts.recv()).await.expect("a fact in time").expect("the task goes on")
}

async fn next_state(facts: &mut Receiver<Fact>) -> ManagementState {
    loop {
        if let Fact::Management { state, .. } = next(facts).await {
            return state;
        }
    }
}

/// What is said of an API that answers so.
async fn said_of(script: Script) -> String {
    // Little patience is for whoever says nothing.
    let patience = if script.contains(&None) { Duration::from_millis(300) } else { LIMIT };
    let rig = Rig::serving(script).await;
    let (_asking, mut facts) = ask(&rig.address, patience);
    let ManagementState::Fails(why) = next_state(&mut facts).await else { panic!("it fails") };
    assert!(!why.contains("hunter2"), "{why}");
    why.replace(&rig.address, "ADDRESS")
}

#[tokio::test]
async fn one_request_tells_of_all_queues_and_only_what_is_new_is_told_again() {
    let rig = Rig::serving(vec![answer("200 OK", OVERVIEW), queue(5, 3), queue(4, 4)]).await;
    let (_asking, mut facts) = ask_rig(&rig);
    assert!(matches!(next(&mut facts).await, Fact::Trap { trap: None, .. }), "known before anything else");
    assert!(matches!(next(&mut facts).await, Fact::Management { state: ManagementState::Answers, .. }));
    for (ready, acknowledged) in [(5, 3), (4, 4), (4, 4)] {
        let Fact::Figures { broker, queue, figures, .. } = next(&mut facts).await else { panic!("figures") };
        assert_eq!((broker.as_str(), queue.as_str()), ("default", "orders"));
        let flow = Ok(Counters { acknowledged, published: Some(9) });
        assert_eq!(figures, Figures { ready, unacknowledged: 1, flow });
    }
    let heads = rig.heads();
    assert!(heads[0].starts_with("GET /api/overview?columns="), "{heads:#?}");
    assert!(heads[1].starts_with("GET /api/queues/a%2Fb?columns=name,"), "{heads:#?}");
    assert!(
        heads[2].starts_with("GET /api/queues/a%2Fb?columns=name,"),
        "asked once which figures there are"
    );
    // shop:hunter2
    assert!(
        heads.iter().all(|head| head.contains("authorization: Basic c2hvcDpodW50ZXIy\r\n")),
        "{heads:#?}"
    );
    assert!(
        heads.len() >= 4,
        "the third figures are of the fourth reading: the same ones are told every second time"
    );
}

#[tokio::test]
async fn every_page_of_a_long_list_is_read() {
    let page = |item: &str, number| {
        answer("200 OK", &format!(r#"{{"items":[{item}],"page":{number},"page_count":2}}"#))
    };
    let orders = r#"{"name":"orders","messages_ready":0,"messages_unacknowledged":0}"#;
    let script = vec![answer("200 OK", OVERVIEW), page(r#"{"name":"a"}"#, 1), page(orders, 2)];
    let rig = Rig::serving(script).await;
    let (_asking, mut facts) = ask_rig(&rig);
    next_state(&mut facts).await;
    assert!(matches!(next(&mut facts).await, Fact::Figures { queue, .. } if queue == "orders"));
    let heads = rig.heads();
    assert!(heads[1].contains("&page=1&") && heads[2].contains("&page=2&"), "{heads:#?}");
}

#[tokio::test]
async fn whatever_is_wrong_is_said_with_what_to_try() {
    let refused = r#"{"error":"not_authorized","reason":"Login failed for hunter2"}"#;
    let missing = r#"{"error":"Object Not Found","reason":"Not Found"}"#;
    let busy = r#"{"error":"nodedown","reason":"the node\nis down"}"#;
    let ok = || answer("200 OK", OVERVIEW);
    for (script, said) in [
        (
            vec![answer("401 Unauthorized", refused)],
            "the management API at ADDRESS refuses user shop (Login failed for ",
        ),
        (vec![answer("403 Forbidden", "no")], "the management API at ADDRESS refuses user shop; check user"),
        (
            vec![ok(), answer("404 Not Found", missing)],
            "the management API at ADDRESS knows no virtual host a/b;",
        ),
        (
            vec![answer("404 Not Found", "<html>")],
            "what answers at ADDRESS is not RabbitMQ's management API (it answers 404 Not Found); check the port",
        ),
        (
            vec![answer("302 Found", "")],
            "what answers at ADDRESS is not RabbitMQ's management API (it answers 302",
        ),
        (
            vec![answer("200 OK", "<html>")],
            "what answers at ADDRESS is not RabbitMQ's management API (it sends no JSON)",
        ),
        (vec![ok()], "what answers at ADDRESS is not RabbitMQ's management API (it sends no list of queues)"),
        (
            vec![answer("503 Service Unavailable", busy)],
            "the management API at ADDRESS answered 503 Service Unavailable (the node is down)",
        ),
        (vec![Some("SSH-2.0-OpenSSH\r\n".to_owned())], "the management API at ADDRESS broke off: "),
        (vec![None], "the management API at ADDRESS did not answer within 0.3 s"),
        (
            vec![Some("HTTP/1.1 200 OK\r\ncontent-length: 50000000\r\n\r\n{".to_owned())],
            "the management API at ADDRESS sent more than 16 MiB",
        ),
    ] {
        let heard = said_of(script).await;
        assert!(heard.starts_with(said), "{heard}");
    }
}

#[tokio::test]
async fn an_endless_answer_is_cut_and_that_nobody_is_at_home_is_said() {
    let endless =
        format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1100000\r\n{}", " ".repeat(0x110_0000));
    let rig = Rig::serving(vec![Some(endless)]).await;
    let (_asking, mut facts) = ask(&rig.address, LIMIT);
    let ManagementState::Fails(why) = next_state(&mut facts).await else { panic!("it fails") };
    assert!(why.contains("sent more than 16 MiB"), "{why}");

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let (_asking, mut facts) = ask(&address, LIMIT);
    let ManagementState::Fails(why) = next_state(&mut facts).await else { panic!("it fails") };
    assert!(why.contains("Connection refused; is the plugin on there"), "{why}");
    let (_asking, mut facts) = ask("http://no-such-host.invalid:15672", LIMIT);
    let ManagementState::Fails(why) = next_state(&mut facts).await else { panic!("it fails") };
    assert!(
        why.starts_with("cannot find the host of the management API at http://no-such-host.invalid:15672"),
        "{why}"
    );
}

#[tokio::test]
async fn a_failure_is_told_once_and_so_is_its_end() {
    let wrong = || answer("500 Internal Server Error", "");
    let script = vec![
        answer("200 OK", OVERVIEW),
        queue(1, 1),
        wrong(),
        wrong(),
        answer("200 OK", OVERVIEW),
        queue(1, 1),
    ];
    let rig = Rig::serving(script).await;
    let (_asking, mut facts) = ask_rig(&rig);
    assert_eq!(next_state(&mut facts).await, ManagementState::Answers);
    let ManagementState::Fails(why) = next_state(&mut facts).await else { panic!("it fails") };
    assert!(why.ends_with("answered 500 Internal Server Error"), "{why}");
    assert_eq!(next_state(&mut facts).await, ManagementState::Answers);
    let heads = rig.heads();
    assert!(heads[4].starts_with("GET /api/overview"), "whoever answers next may be another one: {heads:#?}");
}

#[tokio::test]
async fn a_broker_that_counts_nothing_is_said_to_and_tells_depths_all_the_same() {
    for overview in [r#"{"rates_mode":"none"}"#, r#"{"rates_mode":"basic","disable_stats":true}"#] {
        let rig = Rig::serving(vec![answer("200 OK", overview), queue(5, 0)]).await;
        let (_asking, mut facts) = ask_rig(&rig);
        let ManagementState::Limited(why) = next_state(&mut facts).await else { panic!("it is limited") };
        assert!(why.contains("counts no messages"), "{why}");
        let Fact::Figures { figures, .. } = next(&mut facts).await else { panic!("figures") };
        assert_eq!(figures, Figures { ready: 5, unacknowledged: 1, flow: Err(NoFlow::NotCounted) });
    }
}
