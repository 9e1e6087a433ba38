//! The demo's worker: what a well-behaved consumer does. It takes one message at a time, and when it is asked to
//! stop it takes no more, ends what it has begun, and goes.

use std::io::{self, Write};
use std::time::Duration;

use futures_util::StreamExt;
use lapin::Channel;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{FieldTable, ShortString};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::amqp::{Dial, DialError, Link};
use crate::core::random::Random;
use crate::core::secret::Secret;

/// How long connecting may take, and then logging in.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest part of a message that is printed, in characters.
const SHOWN_MAX: usize = 100;

/// Why a consumer could not go on.
#[derive(Debug, thiserror::Error)]
pub enum ConsumerError {
    /// There is no connection.
    #[error("{0}")]
    Connect(String),
    /// The broker said no or went away.
    #[error("cannot consume the queue {queue}")]
    Consume {
        /// The queue.
        queue: String,
        /// What went wrong.
        source: lapin::Error,
    },
    /// The broker ended the consumer: the queue was deleted.
    #[error("the broker ended the consumer of the queue {0}; was the queue deleted?")]
    Ended(String),
    /// The output is gone.
    #[error("cannot write to the standard output")]
    Output(#[source] io::Error),
    /// Signals cannot be waited for.
    #[error("cannot wait for signals")]
    Signals(#[source] io::Error),
}

impl From<DialError> for ConsumerError {
    fn from(error: DialError) -> Self {
        Self::Connect(error.to_string())
    }
}

/// Consumes `queue` until SIGTERM or SIGINT, working for about `work` on each message, and prints a line
/// `begin BODY` and a line `end BODY` for it. The queue must exist. `name` is the connection's name.
///
/// # Errors
/// When the broker cannot be reached, refuses, or goes away. What was begun then goes back to the queue.
pub async fn run(url: &str, queue: &str, work: Duration, seed: u64, name: &str) -> Result<(), ConsumerError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(ConsumerError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ConsumerError::Signals)?;
    let (stop, stopped) = watch::channel(false);
    let mut output = io::stdout();
    let asked_to_stop = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop.send_replace(true);
        // The consumer is polled on until it has ended what it began.
        std::future::pending::<()>().await;
    };
    tokio::select! {
        ended = consume(url, queue, work, seed, name, stopped, &mut output) => ended,
        () = asked_to_stop => Ok(()),
    }
}

/// Consumes until `stopped` becomes true, and prints to `output`.
async fn consume(
    url: &str,
    queue: &str,
    work: Duration,
    seed: u64,
    name: &str,
    stopped: watch::Receiver<bool>,
    output: &mut (impl Write + Send),
) -> Result<(), ConsumerError> {
    let dial =
        Dial { url: Secret::new(url), name: name.to_owned(), frame_max: 8192, timeout: CONNECT_TIMEOUT };
    let link = Link::connect(&dial).await?;
    let mut worker = Worker { queue, work, random: Random::new(seed), stopped, output };
    let ended = worker.run(&link).await;
    link.close().await;
    ended
}

struct Worker<'a, W> {
    queue: &'a str,
    work: Duration,
    random: Random,
    stopped: watch::Receiver<bool>,
    output: &'a mut W,
}

impl<W: Write> Worker<'_, W> {
    async fn run(&mut self, link: &Link) -> Result<(), ConsumerError> {
        let channel = link.open_channel().await.map_err(|error| self.failed(error))?;
        let options = BasicQosOptions::default();
        channel.basic_qos(1, options).await.map_err(|error| self.failed(error))?;
        let queue =
            ShortString::try_new(self.queue).map_err(|_| ConsumerError::Ended(self.queue.to_owned()))?;
        let consume = channel.basic_consume(
            queue,
            ShortString::default(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        );
        let mut deliveries = consume.await.map_err(|error| self.failed(error))?;
        let tag = deliveries.tag();
        let mut stopping = false;
        loop {
            let delivery = tokio::select! {
                biased;
                () = asked(&mut self.stopped), if !stopping => {
                    self.cancel(&channel, &tag).await?;
                    stopping = true;
                    continue;
                }
                delivery = deliveries.next() => delivery,
            };
            match delivery {
                Some(Ok(delivery)) => stopping = self.work_on(&delivery, &channel, &tag, stopping).await?,
                Some(Err(error)) => return Err(self.failed(error)),
                // What had been sent before the cancel took effect has been worked on, too.
                None if stopping => break,
                None => return Err(ConsumerError::Ended(self.queue.to_owned())),
            }
        }
        // The broker confirms this after it has taken the acknowledgements before it.
        channel.close(200, "done".into()).await.map_err(|error| self.failed(error))
    }

    /// Works on one message, and tells whether the consumer is stopping when it is done.
    async fn work_on(
        &mut self,
        delivery: &Delivery,
        channel: &Channel,
        tag: &ShortString,
        mut stopping: bool,
    ) -> Result<bool, ConsumerError> {
        let body: String = String::from_utf8_lossy(&delivery.data).chars().take(SHOWN_MAX).collect();
        self.print("begin", &body)?;
        let mut working = std::pin::pin!(sleep(self.work.mul_f64(self.random.exponential(1.0).min(5.0))));
        loop {
            tokio::select! {
                () = &mut working => break,
                () = asked(&mut self.stopped), if !stopping => {
                    self.cancel(channel, tag).await?;
                    stopping = true;
                }
            }
        }
        delivery.ack(BasicAckOptions::default()).await.map_err(|error| self.failed(error))?;
        self.print("end", &body)?;
        Ok(stopping)
    }

    async fn cancel(&self, channel: &Channel, tag: &ShortString) -> Result<(), ConsumerError> {
        let cancelled = channel.basic_cancel(tag.clone(), BasicCancelOptions::default());
        cancelled.await.map_err(|error| self.failed(error))
    }

    fn print(&mut self, word: &str, body: &str) -> Result<(), ConsumerError> {
        writeln!(self.output, "{word} {body}")
            .and_then(|()| self.output.flush())
            .map_err(ConsumerError::Output)
    }

    fn failed(&self, source: lapin::Error) -> ConsumerError {
        ConsumerError::Consume { queue: self.queue.to_owned(), source }
    }
}

/// Waits until the consumer is asked to stop; for ever where nobody can ask any more.
async fn asked(stopped: &mut watch::Receiver<bool>) {
    if stopped.wait_for(|stopped| *stopped).await.is_err() {
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::demo::broker::{Broker, BrokerOptions};
    use crate::demo::producer;

    /// An output that can be looked at while it is written.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Lines {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    async fn until(what: impl Fn() -> bool) {
        let waited = tokio::time::timeout(Duration::from_secs(60), async {
            while !what() {
                sleep(Duration::from_millis(1)).await;
            }
        });
        waited.await.expect("the condition comes true");
    }

    async fn broker_with(messages: u64) -> Broker {
        let broker = Broker::start(BrokerOptions::default()).await.unwrap();
        producer::declare_queue(&broker.url(), "q").await.unwrap();
        producer::publish_all(&broker.url(), "q", 1..=messages).await.unwrap();
        broker
    }

    #[tokio::test]
    async fn every_message_that_is_begun_is_ended_and_none_is_delivered_twice() {
        let broker = broker_with(50).await;
        let (stop, stopped) = watch::channel(false);
        let lines = [Lines::default(), Lines::default(), Lines::default()];
        let url = broker.url();
        let mut consumers = tokio::task::JoinSet::new();
        for (seed, output) in lines.clone().into_iter().enumerate() {
            let (url, stopped) = (url.clone(), stopped.clone());
            consumers.spawn(async move {
                let mut output = output;
                let work = Duration::from_millis(5);
                consume(&url, "q", work, seed as u64, "c", stopped, &mut output).await
            });
        }
        until(|| broker.depth("q").is_some_and(|counts| counts.acked >= 20)).await;
        stop.send_replace(true);
        while let Some(ended) = consumers.join_next().await {
            ended.unwrap().unwrap();
        }
        for output in &lines {
            let text = output.text();
            let mut lines = text.lines();
            while let Some(begin) = lines.next() {
                let number = begin.strip_prefix("begin ").unwrap();
                assert_eq!(lines.next(), Some(format!("end {number}").as_str()));
            }
        }
        let counts = broker.depth("q").unwrap();
        assert_eq!((counts.unacked, counts.redelivered, counts.consumers), (0, 0, 0));
        assert_eq!(counts.ready + counts.acked, 50);
    }

    #[tokio::test]
    async fn a_consumer_that_is_asked_to_stop_in_the_middle_of_a_message_ends_it_first() {
        let broker = broker_with(2).await;
        let (stop, stopped) = watch::channel(false);
        let lines = Lines::default();
        let (mut output, url) = (lines.clone(), broker.url());
        let work = Duration::from_millis(300);
        let consumer =
            tokio::spawn(async move { consume(&url, "q", work, 3, "c", stopped, &mut output).await });
        until(|| lines.text().contains("begin 1")).await;
        stop.send_replace(true);
        consumer.await.unwrap().unwrap();
        assert_eq!(lines.text(), "begin 1\nend 1\n");
        let counts = broker.depth("q").unwrap();
        assert_eq!((counts.ready, counts.acked, counts.redelivered), (1, 1, 0));
    }

    #[tokio::test]
    async fn a_missing_queue_and_a_deleted_one_end_a_consumer_with_an_error() {
        let broker = broker_with(0).await;
        let (_stop, stopped) = watch::channel(false);
        let url = broker.url();
        let mut output = Lines::default();
        let missing = consume(&url, "nope", Duration::ZERO, 1, "c", stopped.clone(), &mut output);
        assert!(matches!(missing.await, Err(ConsumerError::Consume { .. })));

        let consumer = tokio::spawn(async move {
            consume(&url, "q", Duration::ZERO, 1, "c", stopped, &mut Lines::default()).await
        });
        until(|| broker.depth("q").is_some_and(|counts| counts.consumers == 1)).await;
        producer::delete_queue(&broker.url(), "q").await.unwrap();
        assert!(matches!(consumer.await.unwrap(), Err(ConsumerError::Ended(_))));
    }
}
