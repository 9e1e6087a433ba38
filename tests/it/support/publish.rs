//! The other side of the queue: declares queues, publishes numbered messages with confirms, counts and takes what is left.
//!
//! Every function opens a connection of its own and has a limit; none is for measuring speed.

use std::ops::Range;
use std::thread::JoinHandle;
use std::time::Duration;

use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions,
    QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer, ErrorKind};
use leveret::sys::clock;
use tokio::sync::oneshot;

/// How long one function here may take.
const LIMIT: Duration = Duration::from_secs(60);
/// Delivery mode 2: the message survives a restart of the broker in a durable queue.
const PERSISTENT: u8 = 2;

/// What a passive declare tells of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct QueueCounts {
    /// Messages that wait; those in the hands of a consumer are not among them.
    pub(crate) ready: u32,
    pub(crate) consumers: u32,
}

/// A message that was still in the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Left {
    pub(crate) message: u32,
    pub(crate) redelivered: bool,
}

/// Whether the broker lets us in at `url`.
pub(crate) fn can_connect(url: &str) -> Result<(), String> {
    block_on(async {
        let connection = connect(url).await.map_err(|error| error.to_string())?;
        close(connection).await;
        Ok(())
    })
}

/// Declares a durable queue.
pub(crate) fn declare_queue(url: &str, queue: &str) {
    declare(url, queue, FieldTable::default());
}

/// Declares a durable queue of which one consumer is active at a time.
pub(crate) fn declare_queue_for_one_consumer(url: &str, queue: &str) {
    let mut arguments = FieldTable::default();
    arguments.insert("x-single-active-consumer".into(), AMQPValue::Boolean(true));
    declare(url, queue, arguments);
}

/// Declares a durable queue from which messages go to another one when they have been there for so long.
pub(crate) fn declare_delayed(url: &str, queue: &str, after: Duration, to: &str) {
    let mut arguments = FieldTable::default();
    let after = i32::try_from(after.as_millis()).expect("it is short");
    arguments.insert("x-message-ttl".into(), AMQPValue::LongInt(after));
    arguments.insert("x-dead-letter-exchange".into(), AMQPValue::LongString("".into()));
    arguments.insert("x-dead-letter-routing-key".into(), AMQPValue::LongString(to.into()));
    declare(url, queue, arguments);
}

/// Declares a durable queue with an argument.
pub(crate) fn declare_with(url: &str, queue: &str, argument: &str, value: AMQPValue) {
    let mut arguments = FieldTable::default();
    arguments.insert(argument.into(), value);
    declare(url, queue, arguments);
}

fn declare(url: &str, queue: &str, arguments: FieldTable) {
    with_channel(url, async |channel| {
        channel
            .queue_declare(queue.into(), QueueDeclareOptions::durable(), arguments.clone())
            .await
            .expect("a queue can be declared");
    });
}

/// Deletes a queue with what is in it.
pub(crate) fn delete_queue(url: &str, queue: &str) {
    with_channel(url, async |channel| {
        channel
            .queue_delete(queue.into(), QueueDeleteOptions::default())
            .await
            .expect("the queue can be deleted");
    });
}

/// Publishes one persistent message for each number, whose body is the number; returns when the broker has confirmed all.
pub(crate) fn publish(url: &str, queue: &str, numbers: Range<u32>) {
    with_channel(url, async |channel| {
        channel.confirm_select(ConfirmSelectOptions::default()).await.expect("the broker confirms");
        let mut waiting = Vec::new();
        for number in numbers {
            let text = number.to_string();
            let properties = BasicProperties::default()
                .with_delivery_mode(PERSISTENT)
                .with_message_id(text.as_str().into());
            let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
            waiting.push(
                channel
                    .basic_publish("".into(), queue.into(), options, text.as_bytes(), properties)
                    .await
                    .expect("a message can be published"),
            );
        }
        for confirm in waiting {
            let confirmation = confirm.await.expect("the broker answers");
            // With `mandatory` a message that no queue took is acknowledged too, but comes back.
            assert!(
                matches!(confirmation, Confirmation::Ack(None)),
                "not taken by {queue}: {confirmation:?}"
            );
        }
    });
}

/// Like [`publish`], message by message, each as long after the begin as `moments` says (rising); how long that takes may be half
/// of the limit. Returns when each was sent, in milliseconds of the monotonic clock.
pub(crate) fn publish_at(url: &str, queue: &str, moments: &[Duration]) -> Vec<u64> {
    with_channel(url, async |channel| {
        channel.confirm_select(ConfirmSelectOptions::default()).await.expect("the broker confirms");
        let begin = tokio::time::Instant::now();
        let (mut waiting, mut sent) = (Vec::new(), Vec::new());
        for (number, moment) in moments.iter().enumerate() {
            // The pace is what is asked for, so this is no wait for a condition.
            tokio::time::sleep_until(begin + *moment).await;
            sent.push(clock::now().as_micros() / 1_000);
            let properties = BasicProperties::default().with_delivery_mode(PERSISTENT);
            let body = number.to_string();
            let published = channel
                .basic_publish(
                    "".into(),
                    queue.into(),
                    BasicPublishOptions::default(),
                    body.as_bytes(),
                    properties,
                )
                .await;
            waiting.push(published.expect("a message can be published"));
        }
        for confirm in waiting {
            confirm.await.expect("the broker answers");
        }
        sent
    })
}

/// What a passive declare says; None if there is no such queue.
pub(crate) fn counts(url: &str, queue: &str) -> Option<QueueCounts> {
    with_channel(url, async |channel| {
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        match channel.queue_declare(queue.into(), options, FieldTable::default()).await {
            Ok(found) => {
                Some(QueueCounts { ready: found.message_count(), consumers: found.consumer_count() })
            }
            Err(error) if is_not_found(&error) => None,
            Err(error) => panic!("cannot read {queue}: {error}"),
        }
    })
}

/// Reads the depth again and again over one connection until `ready` messages wait; returns the wall-clock time, in seconds,
/// at which that was seen.
pub(crate) fn wait_ready(url: &str, queue: &str, ready: u32) -> f64 {
    with_channel(url, async |channel| {
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        loop {
            let found = channel
                .queue_declare(queue.into(), options, FieldTable::default())
                .await
                .expect("the queue can be read");
            if found.message_count() >= ready {
                return clock::wall_seconds();
            }
        }
    })
}

/// A connection that is held open until this is dropped, with something on it.
pub(crate) struct Held {
    /// Ends the thread that holds the connection.
    release: Option<oneshot::Sender<()>>,
    holder: Option<JoinHandle<()>>,
}

impl Held {
    /// A queue that no other connection may use. It goes with this.
    pub(crate) fn exclusive_queue(url: &str, queue: &str) -> Self {
        let queue = queue.to_owned();
        Self::hold(url, async move |channel: &Channel| {
            let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
            let declared = channel.queue_declare(queue.as_str().into(), options, FieldTable::default()).await;
            declared.expect("a queue can be declared");
            None
        })
    }

    /// A consumer without a prefetch, in this process, which takes whatever comes and does nothing with it.
    pub(crate) fn consumer(url: &str, queue: &str) -> Self {
        let queue = queue.to_owned();
        Self::hold(url, async move |channel: &Channel| {
            let (tag, options) = ("stranger".into(), BasicConsumeOptions::default());
            let consumer =
                channel.basic_consume(queue.as_str().into(), tag, options, FieldTable::default()).await;
            Some(consumer.expect("the queue can be consumed"))
        })
    }

    fn hold(url: &str, prepare: impl AsyncFnOnce(&Channel) -> Option<Consumer> + Send + 'static) -> Self {
        let url = url.to_owned();
        let (prepared, is_prepared) = std::sync::mpsc::channel();
        let (release, released) = oneshot::channel::<()>();
        let holder = std::thread::spawn(move || {
            // No limit here: it lasts as long as the test wants it to.
            runtime().block_on(async {
                let connection = connect(&url).await.expect("the broker lets us in");
                let channel = connection.create_channel().await.expect("the broker opens a channel");
                // A consumer ends when it is dropped.
                let _consumer = prepare(&channel).await;
                prepared.send(()).expect("the test waits for it");
                // Either way the test has no use for it any more.
                let _ = released.await;
                close(connection).await;
            });
        });
        is_prepared.recv_timeout(LIMIT).expect("it is there in time");
        Self { release: Some(release), holder: Some(holder) }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        drop(self.release.take());
        let ended = self.holder.take().map(JoinHandle::join);
        assert!(matches!(ended, Some(Ok(()))) || std::thread::panicking(), "the holder failed");
    }
}

/// Takes everything that is ready.
pub(crate) fn drain(url: &str, queue: &str) -> Vec<Left> {
    with_channel(url, async |channel| {
        let mut left = Vec::new();
        while let Some(got) =
            channel.basic_get(queue.into(), BasicGetOptions::default()).await.expect("the queue can be read")
        {
            let text = std::str::from_utf8(&got.data).expect("our messages are text");
            let message = text.parse().expect("our messages are numbers");
            left.push(Left { message, redelivered: got.redelivered });
            got.ack(BasicAckOptions::default()).await.expect("a message can be acknowledged");
        }
        left
    })
}

fn is_not_found(error: &lapin::Error) -> bool {
    let ErrorKind::ProtocolError(error) = error.kind() else { return false };
    *error.kind() == AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND)
}

fn with_channel<T>(url: &str, work: impl AsyncFnOnce(&Channel) -> T) -> T {
    block_on(async {
        let connection =
            connect(url).await.unwrap_or_else(|error| panic!("cannot reach the broker: {error}"));
        let channel = connection.create_channel().await.expect("the broker opens a channel");
        // The channel must outlive the close of its connection: dropped before, it begins a close of its own.
        let result = work(&channel).await;
        close(connection).await;
        result
    })
}

async fn connect(url: &str) -> lapin::Result<Connection> {
    Connection::connect(url, ConnectionProperties::default()).await
}

async fn close(connection: Connection) {
    connection.close(200, "done".into()).await.expect("the connection closes");
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    runtime().block_on(async { tokio::time::timeout(LIMIT, work).await.expect("the broker answers in time") })
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made")
}
