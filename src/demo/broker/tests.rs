//! The broker as clients see it: lapin here, php-amqplib and pika as programs.

use std::process::Command;
use std::time::Duration;

use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicGetOptions, BasicNackOptions, BasicPublishOptions, ConfirmSelectOptions,
    QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, ErrorKind};

use super::*;

async fn start() -> Broker {
    Broker::start(BrokerOptions::default()).await.unwrap()
}

async fn connect(broker: &Broker) -> Connection {
    Connection::connect(&broker.url(), ConnectionProperties::default()).await.unwrap()
}

async fn publish(channel: &Channel, exchange: &str, key: &str, body: &[u8], mandatory: bool) -> Confirmation {
    let options = BasicPublishOptions { mandatory, ..BasicPublishOptions::default() };
    let properties = BasicProperties::default().with_message_id("m".into());
    let published = channel.basic_publish(exchange.into(), key.into(), options, body, properties);
    published.await.unwrap().await.unwrap()
}

async fn declare(channel: &Channel, queue: &str) {
    let declared = channel.queue_declare(queue.into(), QueueDeclareOptions::default(), FieldTable::default());
    declared.await.unwrap();
}

async fn until(what: impl Fn() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(60), async {
        while !what() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    waited.await.expect("the condition comes true");
}

/// The reply code of an error of the broker.
fn code(error: &lapin::Error) -> u16 {
    let ErrorKind::ProtocolError(error) = error.kind() else {
        panic!("not the broker's: {error:?}");
    };
    error.get_id()
}

#[tokio::test]
async fn a_large_message_arrives_whole_with_its_properties() {
    let broker = start().await;
    let connection = connect(&broker).await;
    let channel = connection.create_channel().await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    declare(&channel, "q").await;
    let body: Vec<u8> = (0..500_000_u32).map(|n| n as u8).collect();
    assert!(matches!(publish(&channel, "", "q", &body, false).await, Confirmation::Ack(None)));
    let got = channel.basic_get("q".into(), BasicGetOptions::default()).await.unwrap().unwrap();
    assert!(got.delivery.data == body);
    assert_eq!(got.delivery.properties.message_id().as_ref().unwrap().as_str(), "m");
    assert!(channel.basic_get("q".into(), BasicGetOptions::default()).await.unwrap().is_none());
}

#[tokio::test]
async fn a_consumer_gets_one_message_at_a_time_and_unsettled_ones_come_again() {
    let broker = start().await;
    let connection = connect(&broker).await;
    let channel = connection.create_channel().await.unwrap();
    declare(&channel, "q").await;
    for body in [b"a", b"b", b"c"] {
        publish(&channel, "", "q", body, false).await;
    }
    channel.basic_qos(1, Default::default()).await.unwrap();
    let consume = channel.basic_consume("q".into(), "".into(), Default::default(), FieldTable::default());
    let mut consumer = consume.await.unwrap();
    let first: Delivery = consumer.next().await.unwrap().unwrap();
    let counts = broker.depth("q").unwrap();
    assert_eq!((counts.ready, counts.unacked, counts.consumers), (2, 1, 1));
    let requeue = BasicNackOptions { requeue: true, ..BasicNackOptions::default() };
    first.nack(requeue).await.unwrap();
    let again = consumer.next().await.unwrap().unwrap();
    assert_eq!((again.data.as_slice(), again.redelivered), (&b"a"[..], true));
    again.ack(BasicAckOptions::default()).await.unwrap();
    let second = consumer.next().await.unwrap().unwrap();
    assert_eq!(second.data, b"b");
    drop((consumer, channel));
    connection.close(200, "".into()).await.unwrap();
    until(|| broker.depth("q").unwrap().ready == 2).await;
    assert_eq!(broker.connection_count(), 0);
}

#[tokio::test]
async fn errors_have_rabbitmqs_codes_and_words() {
    let broker = start().await;
    let connection = connect(&broker).await;
    let channel = connection.create_channel().await.unwrap();
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let missing = channel.queue_declare("x".into(), passive, FieldTable::default()).await.unwrap_err();
    assert_eq!(code(&missing), 404);
    assert!(missing.to_string().contains("NOT_FOUND - no queue 'x' in vhost '/'"), "{missing}");

    let wrong_vhost = format!("amqp://guest:guest@{}/nope", broker.address());
    let refused = Connection::connect(&wrong_vhost, ConnectionProperties::default()).await.unwrap_err();
    assert_eq!(code(&refused), 530);
    broker.set_fault(Fault::RefuseLogin(true));
    let refused = Connection::connect(&broker.url(), ConnectionProperties::default()).await.unwrap_err();
    assert_eq!(code(&refused), 403);
    assert!(connection.status().connected(), "others are not hurt");
}

#[tokio::test]
async fn a_full_queue_says_no_and_a_message_for_nobody_comes_back() {
    let options = BrokerOptions { queue_messages_max: 1, ..BrokerOptions::default() };
    let broker = Broker::start(options).await.unwrap();
    let connection = connect(&broker).await;
    let channel = connection.create_channel().await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    declare(&channel, "q").await;
    assert!(matches!(publish(&channel, "", "q", b"a", false).await, Confirmation::Ack(None)));
    assert!(matches!(publish(&channel, "", "q", b"b", false).await, Confirmation::Nack(_)));
    let Confirmation::Ack(Some(back)) = publish(&channel, "", "nobody", b"c", true).await else {
        panic!("not returned");
    };
    assert_eq!((back.reply_code, back.delivery.data.as_slice()), (312, &b"c"[..]));
}

#[tokio::test]
async fn a_message_beyond_the_limit_closes_the_channel_only() {
    let options = BrokerOptions { message_bytes_max: 1_000, ..BrokerOptions::default() };
    let broker = Broker::start(options).await.unwrap();
    let connection = connect(&broker).await;
    let channel = connection.create_channel().await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    declare(&channel, "q").await;
    let confirm = channel
        .basic_publish("".into(), "q".into(), Default::default(), &[0; 2_000], BasicProperties::default())
        .await
        .unwrap();
    assert_eq!(code(&confirm.await.unwrap_err()), 406);
    assert!(connection.status().connected());
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed() {
    let broker =
        Broker::start(BrokerOptions { connections_max: 1, ..BrokerOptions::default() }).await.unwrap();
    let _first = connect(&broker).await;
    assert!(Connection::connect(&broker.url(), ConnectionProperties::default()).await.is_err());
    assert_eq!(broker.connection_count(), 1);
}

#[tokio::test]
async fn a_stopped_broker_leaves_its_port_free() {
    let broker = start().await;
    let connection = connect(&broker).await;
    let port = broker.address().port();
    broker.stop().await;
    until(|| !connection.status().connected()).await;
    Broker::start(BrokerOptions { port, ..BrokerOptions::default() }).await.unwrap();
}

/// Runs a client program against a broker with a password and expects what it prints.
async fn run_client(program: &'static str, script: &'static str) {
    let login = Some(("shop".to_owned(), Secret::new("p@ss")));
    let broker = Broker::start(BrokerOptions { login, ..BrokerOptions::default() }).await.unwrap();
    let script = format!("{}/src/demo/broker/clients/{script}", env!("CARGO_MANIFEST_DIR"));
    let port = broker.address().port().to_string();
    #[expect(clippy::disallowed_methods, reason = "a test waits for the client that it runs")]
    let run = move || Command::new(program).args([&script, &port]).output();
    let output = tokio::task::spawn_blocking(run).await.unwrap().unwrap();
    let (said, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let expected = "declared 0\nfound 3\ngot one False\nagain one True\nconsumed two\nconsumed three\nleft 0\nwrong 404\n";
    assert_eq!(said, expected, "{complained}");
    let counts = broker.depth("clients").unwrap();
    assert_eq!((counts.ready, counts.unacked, counts.consumers, counts.acked), (0, 0, 0, 3));
    until(|| broker.connection_count() == 0).await;
}

#[tokio::test]
async fn php_amqplib_can_work_with_it() {
    run_client("php", "amqplib.php").await;
}

#[tokio::test]
async fn pika_can_work_with_it() {
    run_client("/usr/bin/python3", "pika_client.py").await;
}
