//! An endpoint that says what a test wants it to say, and what is told of it.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::mpsc::{Receiver, channel};
use tokio::time::timeout;

use super::{Metrics, MetricsSettings, look};
use crate::amqp::fact::{Counters, Fact, Figures, ManagementState, NoFlow};
use crate::amqp::http::rig::{Rig, Script, answer};
use crate::core::secret::Secret;
use crate::core::spec::{BrokerSpec, LoginSpec, MetricsSpec};

const LIMIT: Duration = Duration::from_secs(30);

/// Reads about `orders`.
fn read(address: &str, login: Option<LoginSpec>, patience: Duration) -> (Metrics, Receiver<Fact>) {
    let broker = BrokerSpec {
        name: "default".to_owned(),
        url: Secret::new("amqp://shop:of-the-broker@mq/a%2fb"),
        shown: "amqp://shop@mq/a%2fb".to_owned(),
        management: None,
        metrics: Some(MetricsSpec { address: address.to_owned(), login }),
    };
    let settings = MetricsSettings { broker, interval: Duration::from_millis(20), timeout: patience };
    let (sender, facts) = channel(64);
    (Metrics::start(settings, BTreeSet::from(["orders".to_owned()]), sender), facts)
}

fn login() -> Option<LoginSpec> {
    Some(LoginSpec { user: "shop".to_owned(), password: Secret::new("hunter2") })
}

const TYPES: &str = "# TYPE rabbitmq_detailed_queue_messages_ready gauge\n";
const COUNTS: &str = "# TYPE rabbitmq_detailed_queue_messages_acked_total counter\n";

fn line(name: &str, labels: &str, value: u64) -> String {
    format!("rabbitmq_detailed_{name}{{{labels}vhost=\"a/b\",queue=\"orders\"}} {value}\n")
}

fn depth(ready: u64) -> String {
    format!("{TYPES}{}{}", line("queue_messages_ready", "", ready), line("queue_messages_unacked", "", 1))
}

fn by_queue(ready: u64, acknowledged: u64) -> Option<String> {
    let counts = line("queue_messages_acked_total", "", acknowledged)
        + &line("queue_messages_delivered_ack_total", "", acknowledged + 1)
        + &line("queue_exchange_messages_published_total", "exchange=\"\",", 9);
    answer("200 OK", &format!("{}{COUNTS}{counts}", depth(ready)))
}

fn by_channel(channels: &[(&str, u64)]) -> Option<String> {
    let counts = channels.iter().map(|(channel, acknowledged)| {
        let channel = format!("channel=\"{channel}\",");
        line("channel_messages_acked_total", &channel, *acknowledged)
            + &line("channel_messages_delivered_ack_total", &channel, acknowledged + 1)
    });
    answer("200 OK", &(depth(4) + &counts.collect::<String>()))
}

async fn next(facts: &mut Receiver<Fact>) -> Fact {
    timeout(LIMIT, facts.recv()).await.expect("a fact in time").expect("the task goes on")
}

async fn next_state(facts: &mut Receiver<Fact>) -> ManagementState {
    loop {
        if let Fact::Metrics { state, .. } = next(facts).await {
            return state;
        }
    }
}

async fn next_flow(facts: &mut Receiver<Fact>) -> Result<Counters, NoFlow> {
    loop {
        if let Fact::Figures { figures, .. } = next(facts).await {
            return figures.flow;
        }
    }
}

fn acknowledged(acknowledged: u64, published: Option<u64>) -> Result<Counters, NoFlow> {
    Ok(Counters { acknowledged, published })
}

/// What is said of an endpoint that answers so.
async fn said_of(script: Script, login: Option<LoginSpec>) -> String {
    // Little patience is for whoever says nothing.
    let patience = if script.contains(&None) { Duration::from_millis(300) } else { LIMIT };
    let rig = Rig::serving(script).await;
    let (_reading, mut facts) = read(&rig.address, login, patience);
    let ManagementState::Fails(why) = next_state(&mut facts).await else { panic!("it fails") };
    assert!(!why.contains("hunter2"), "{why}");
    why.replace(&rig.address, "ADDRESS")
}

#[tokio::test]
async fn one_request_tells_of_all_queues_and_nobody_is_given_a_login_that_is_not_theirs() {
    let rig = Rig::serving(vec![by_queue(5, 3), by_queue(4, 4)]).await;
    let (_reading, mut facts) = read(&rig.address, None, LIMIT);
    assert!(matches!(next(&mut facts).await, Fact::Metrics { state: ManagementState::Answers, .. }));
    for (ready, acknowledged) in [(5, 3), (4, 4), (4, 4)] {
        let Fact::Figures { broker, queue, figures, .. } = next(&mut facts).await else { panic!("figures") };
        assert_eq!((broker.as_str(), queue.as_str()), ("default", "orders"));
        let flow = Ok(Counters { acknowledged, published: Some(9) });
        assert_eq!(figures, Figures { ready, unacknowledged: 1, flow });
    }
    let heads = rig.heads();
    for head in &heads {
        let path =
            "GET /metrics/detailed?vhost=a%2Fb&family=queue_coarse_metrics&family=queue_delivery_metrics&";
        assert!(head.starts_with(path), "{heads:#?}");
        assert!(!head.contains("authorization"), "{heads:#?}");
    }
    assert!(heads.len() >= 3, "the same figures are told every second time: {heads:#?}");
}

#[tokio::test]
async fn a_login_is_given_where_there_is_one() {
    let rig = Rig::serving(vec![by_queue(5, 3)]).await;
    let (_reading, mut facts) = read(&rig.address, login(), LIMIT);
    assert_eq!(next_state(&mut facts).await, ManagementState::Answers);
    // shop:hunter2
    assert!(rig.heads()[0].contains("authorization: Basic c2hvcDpodW50ZXIy\r\n"), "{:#?}", rig.heads());
}

#[tokio::test]
async fn where_queues_count_nothing_their_channels_are_asked_from_then_on() {
    let closed = by_channel(&[("<0.2.0>", 7)]);
    let script = vec![
        answer("200 OK", &depth(4)),
        by_channel(&[("<0.1.0>", 3)]),
        by_channel(&[("<0.1.0>", 3), ("<0.2.0>", 5)]),
        closed,
        by_channel(&[("<0.2.0>", 9)]),
    ];
    let rig = Rig::serving(script).await;
    let (_reading, mut facts) = read(&rig.address, None, LIMIT);
    assert_eq!(next_state(&mut facts).await, ManagementState::Answers);
    assert_eq!(next_flow(&mut facts).await, acknowledged(3, None));
    assert_eq!(next_flow(&mut facts).await, acknowledged(8, None));
    assert_eq!(
        next_flow(&mut facts).await,
        Err(NoFlow::NotCounted),
        "one has closed, and did who knows what"
    );
    assert_eq!(next_flow(&mut facts).await, acknowledged(12, None));
    let heads = rig.heads();
    assert!(heads[0].contains("&family=queue_delivery_metrics"), "{heads:#?}");
    assert!(heads[1..].iter().all(|head| head.contains("&family=channel_queue_metrics ")), "{heads:#?}");
}

#[tokio::test]
async fn a_queue_that_the_node_never_tells_of_is_named() {
    let nothing = answer("200 OK", &format!("{TYPES}{COUNTS}"));
    let rig = Rig::serving(vec![nothing.clone(), nothing, by_queue(1, 1)]).await;
    let (_reading, mut facts) = read(&rig.address, None, LIMIT);
    assert_eq!(next_state(&mut facts).await, ManagementState::Answers, "a new one has none at first");
    let ManagementState::Limited(why) = next_state(&mut facts).await else { panic!("it is limited") };
    assert!(
        why.contains("tells nothing of queue \"orders\" in virtual host a/b: each node tells only"),
        "{why}"
    );
    assert_eq!(next_state(&mut facts).await, ManagementState::Answers);
    assert_eq!(next_flow(&mut facts).await, acknowledged(1, Some(9)));
}

#[tokio::test]
async fn whatever_is_wrong_is_said_with_what_to_try() {
    for (script, login, said) in [
        (
            vec![answer("401 Unauthorized", "hunter2")],
            login(),
            "the metrics endpoint at ADDRESS refuses user shop; write the login of who may read it, \
             http://user:password@host:15692",
        ),
        (
            vec![answer("403 Forbidden", "")],
            None,
            "the metrics endpoint at ADDRESS refuses whoever gives no login; write",
        ),
        (
            vec![answer("404 Not Found", "Unknown Registry")],
            None,
            "what answers at ADDRESS is not RabbitMQ's metrics endpoint (it answers 404 Not Found); check the port \
             (usually 15692), what stands before /metrics, and that it is RabbitMQ 3.10 or later",
        ),
        (
            vec![answer("404 Not Found", r#"{"error":"Object Not Found","reason":"Not Found"}"#)],
            None,
            "what answers at ADDRESS is not RabbitMQ's metrics endpoint (it answers 404",
        ),
        (
            vec![answer("200 OK", "<html>")],
            None,
            "what answers at ADDRESS is not RabbitMQ's metrics endpoint (it tells of no queues)",
        ),
        (
            vec![answer("200 OK", "up 1\n")],
            None,
            "what answers at ADDRESS is not RabbitMQ's metrics endpoint (it tells of no queues)",
        ),
        (
            vec![answer("503 Service Unavailable", "")],
            None,
            "the metrics endpoint at ADDRESS answered 503 Service Unavailable",
        ),
        (vec![Some("SSH-2.0-OpenSSH\r\n".to_owned())], None, "the metrics endpoint at ADDRESS broke off: "),
        (vec![None], None, "the metrics endpoint at ADDRESS did not answer within 0.3 s"),
        (
            vec![Some("HTTP/1.1 200 OK\r\ncontent-length: 50000000\r\n\r\n#".to_owned())],
            None,
            "the metrics endpoint at ADDRESS sent more than 16 MiB for one answer",
        ),
    ] {
        let heard = said_of(script, login).await;
        assert!(heard.starts_with(said), "{heard}");
    }

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let (_reading, mut facts) = read(&address, None, LIMIT);
    let ManagementState::Fails(why) = next_state(&mut facts).await else { panic!("it fails") };
    let said = "Connection refused; is the plugin on there (rabbitmq-plugins enable rabbitmq_prometheus)?";
    assert!(why.ends_with(said), "{why}");
}

#[tokio::test]
async fn a_look_by_hand_says_whether_it_answers() {
    let with = |address: &str| BrokerSpec {
        name: "default".to_owned(),
        url: Secret::new("amqp://mq"),
        shown: "amqp://mq".to_owned(),
        management: None,
        metrics: Some(MetricsSpec { address: address.to_owned(), login: login() }),
    };
    let rig = Rig::serving(vec![by_queue(1, 1), answer("401 Unauthorized", "")]).await;
    assert_eq!(look(&with(&rig.address), LIMIT).await, Some(Ok(())));
    let refused = look(&with(&rig.address), LIMIT).await.unwrap().unwrap_err();
    assert!(refused.contains("refuses user shop") && !refused.contains("hunter2"), "{refused}");
    assert_eq!(look(&BrokerSpec { metrics: None, ..with("") }, LIMIT).await, None);
}

#[tokio::test]
async fn a_failure_is_told_once_and_so_is_its_end() {
    let wrong = || answer("500 Internal Server Error", "");
    let rig = Rig::serving(vec![by_queue(1, 1), wrong(), wrong(), by_queue(1, 1)]).await;
    let (_reading, mut facts) = read(&rig.address, None, LIMIT);
    assert_eq!(next_state(&mut facts).await, ManagementState::Answers);
    let ManagementState::Fails(why) = next_state(&mut facts).await else { panic!("it fails") };
    assert!(why.ends_with("answered 500 Internal Server Error"), "{why}");
    assert_eq!(next_state(&mut facts).await, ManagementState::Answers);
}
