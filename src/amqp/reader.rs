//! Reads queues over one connection: many on a channel at once, or one on a channel of its own. Decides nothing
//! about when.
//!
//! A broker answers a channel in order, and an error closes the channel. So the queue that stumbled is the one that
//! the error names, and where an answer does not come, it is the first that is missing; all others are asked again
//! on a new channel at once.

use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{FuturesOrdered, StreamExt};
use lapin::options::QueueDeclareOptions;
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Connection, Queue};
use tokio::sync::mpsc::Sender;
use tokio::time::timeout;

use super::Link;
use super::fact::{Fact, Reading};
use super::refusal::{Meaning, meaning, named_queue};
use crate::sys::clock;

/// How long an answer may be outstanding before the connection is exchanged for a new one.
const HANGING_MAX: Duration = Duration::from_secs(60);
/// Channels that are not used of those that the broker allows. lapin 4.12 hands out the numbers in turn, and a
/// number whose last channel was closed by an error stays unusable, so a connection is exchanged before they repeat.
const CHANNELS_SPARE: u16 = 40;

/// Answers to passive declares on one channel, in order.
type Answers = FuturesOrdered<BoxFuture<'static, lapin::Result<Queue>>>;

/// Why a connection cannot be used any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Lost {
    /// It is used up: a new one will do.
    Worn,
    /// It is gone, for this reason.
    Broken(String),
    /// Nobody wants facts any more.
    Unwanted,
}

/// What became of the queues that were asked for together.
pub(super) struct Lane<'a> {
    /// The channel, if it is still good.
    pub(super) channel: Option<Channel>,
    /// Queues that stumbled.
    pub(super) aside: Vec<(String, Aside<'a>)>,
    /// Why not all could be read.
    pub(super) lost: Option<Lost>,
}

/// How a queue stumbled.
pub(super) enum Aside<'a> {
    /// It was refused, and the fact is told.
    Refused,
    /// It may be the culprit; asked alone it will show.
    Suspect,
    /// Its answer is not there yet.
    Hanging(BoxFuture<'a, Alone<'a>>),
}

/// What became of a queue that was asked for alone.
pub(super) struct Alone<'a> {
    pub(super) queue: String,
    pub(super) end: End<'a>,
}

/// How asking alone ended.
pub(super) enum End<'a> {
    /// It was read.
    Well,
    /// It was refused, and the fact is told.
    Refused,
    /// Its answer is not there yet.
    Hanging(BoxFuture<'a, Alone<'a>>),
    /// The connection cannot be used any more.
    Lost(Lost),
}

/// A connection to read over, and where to tell what is read.
pub(super) struct Reader<'a> {
    link: &'a Link,
    broker: &'a str,
    facts: &'a Sender<Fact>,
    /// How long an answer may take before the queue is told to have timed out.
    timeout: Duration,
    /// How long an answer may keep others waiting.
    patience: Duration,
    channels_left: AtomicU16,
}

impl<'a> Reader<'a> {
    pub(super) fn new(
        link: &'a Link,
        broker: &'a str,
        facts: &'a Sender<Fact>,
        timeout: Duration,
        patience: Duration,
    ) -> Self {
        let allowed = link.connection().configuration().channel_max();
        let channels_left = AtomicU16::new(allowed.saturating_sub(CHANNELS_SPARE).max(2));
        Self { link, broker, facts, timeout, patience: patience.min(timeout), channels_left }
    }

    /// Reads `queues` on one channel, and goes on with the rest on another where one stumbles.
    pub(super) async fn read_together(
        &'a self,
        mut channel: Option<Channel>,
        queues: Vec<String>,
    ) -> Lane<'a> {
        let mut rest = queues;
        let mut aside = Vec::new();
        while !rest.is_empty() {
            let open = match channel.take().filter(|channel| channel.status().connected()) {
                Some(open) => open,
                None => match self.open().await {
                    Ok(open) => open,
                    Err(lost) => return Lane { channel: None, aside, lost: Some(lost) },
                },
            };
            let mut answers: Answers = rest.iter().map(|queue| ask(&open, queue)).collect();
            let mut answered = 0;
            let stumble = loop {
                match timeout(self.patience, answers.next()).await {
                    Ok(None) => break None,
                    Ok(Some(Ok(answer))) => {
                        if let Err(lost) = self.tell_depth(&rest[answered], &answer).await {
                            return Lane { channel: None, aside, lost: Some(lost) };
                        }
                        answered += 1;
                    }
                    Ok(Some(Err(error))) => break Some(Stumble::Error(error)),
                    Err(_) => break Some(Stumble::Silence),
                }
            };
            rest.drain(..answered);
            match stumble {
                None => channel = Some(open),
                Some(Stumble::Silence) => {
                    let queue = rest.remove(0);
                    let waiting = self.wait(queue.clone(), open, answers, self.patience);
                    aside.push((queue, Aside::Hanging(waiting)));
                }
                Some(Stumble::Error(error)) => {
                    drop(answers);
                    match self.stumbled(&error, &mut rest).await {
                        Ok(found) => aside.push(found),
                        Err(lost) => return Lane { channel: None, aside, lost: Some(lost) },
                    }
                }
            }
        }
        Lane { channel, aside, lost: None }
    }

    /// Reads one queue on a channel of its own.
    pub(super) async fn read_alone(&'a self, queue: String) -> Alone<'a> {
        let channel = match self.open().await {
            Ok(channel) => channel,
            Err(lost) => return Alone { queue, end: End::Lost(lost) },
        };
        let mut answers: Answers = [ask(&channel, &queue)].into_iter().collect();
        let Ok(answer) = timeout(self.patience, answers.next()).await else {
            let waiting = self.wait(queue.clone(), channel, answers, self.patience);
            return Alone { queue, end: End::Hanging(waiting) };
        };
        let end = self.finish(&queue, answer).await;
        self.close(&channel).await;
        Alone { queue, end }
    }

    /// Waits for an answer that keeps nobody else waiting any more, and tells at intervals that it is missing.
    ///
    /// The channel is kept until every answer on it has come: closing it while the broker may be closing it, too,
    /// would cost the connection.
    fn wait(
        &'a self,
        queue: String,
        channel: Channel,
        mut answers: Answers,
        waited: Duration,
    ) -> BoxFuture<'a, Alone<'a>> {
        async move {
            let mut waited = waited;
            let mut next_fact = self.timeout;
            let answer = loop {
                if let Ok(answer) = timeout(next_fact.saturating_sub(waited), answers.next()).await {
                    break answer;
                }
                waited = next_fact;
                next_fact += self.timeout;
                if let Err(lost) = self.tell(&queue, Reading::TimedOut).await {
                    return Alone { queue, end: End::Lost(lost) };
                }
                if waited >= HANGING_MAX {
                    return Alone { queue, end: End::Lost(Lost::Worn) };
                }
            };
            let end = self.finish(&queue, answer).await;
            // The other answers are for queues that have been asked for elsewhere meanwhile. Where even they do not
            // come, the channel is closed regardless.
            let _ = timeout(self.timeout, answers.for_each(|_| async {})).await;
            self.close(&channel).await;
            Alone { queue, end }
        }
        .boxed()
    }

    /// Closes a channel unless the broker has done so.
    async fn close(&self, channel: &Channel) {
        if channel.status().connected() {
            // What fails here is the connection, which is noticed where it is used next.
            let _ = timeout(self.timeout, channel.close(200, "done".into())).await;
        }
    }

    /// Tells the answer to a question that was asked alone.
    async fn finish(&self, queue: &str, answer: Option<lapin::Result<Queue>>) -> End<'a> {
        let told = match answer {
            Some(Ok(answer)) => self.tell_depth(queue, &answer).await.map(|()| End::Well),
            Some(Err(error)) => match self.meaning(&error) {
                Ok((reading, _)) => self.tell(queue, reading).await.map(|()| End::Refused),
                Err(lost) => Err(lost),
            },
            None => Ok(End::Refused),
        };
        told.unwrap_or_else(End::Lost)
    }

    /// Finds out which of `rest` an error is about, and takes it out.
    async fn stumbled(
        &self,
        error: &lapin::Error,
        rest: &mut Vec<String>,
    ) -> Result<(String, Aside<'a>), Lost> {
        let (reading, text) = self.meaning(error)?;
        let Some(place) = named_queue(&text, rest) else {
            return Ok((rest.remove(0), Aside::Suspect));
        };
        let queue = rest.remove(place);
        self.tell(&queue, reading).await?;
        Ok((queue, Aside::Refused))
    }

    fn meaning(&self, error: &lapin::Error) -> Result<(Reading, String), Lost> {
        match meaning(error, self.link.connection().status().connected()) {
            Meaning::Queue(reading, text) => Ok((reading, text)),
            Meaning::Channel => {
                let text = "the broker closed the channel without a reason";
                Ok((Reading::Refused(text.to_owned()), text.to_owned()))
            }
            Meaning::Exhausted => Err(Lost::Worn),
            Meaning::Connection(reason) => Err(Lost::Broken(reason)),
        }
    }

    /// Why the connection is lost, where this error ended it.
    pub(super) fn lost_by(&self, error: &lapin::Error) -> Lost {
        match self.meaning(error) {
            Ok((_, text)) => Lost::Broken(text),
            Err(lost) => lost,
        }
    }

    async fn open(&self) -> Result<Channel, Lost> {
        let one_less = |left: u16| left.checked_sub(1);
        if self.channels_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_err() {
            return Err(Lost::Worn);
        }
        match timeout(self.timeout, self.link.open_channel()).await {
            Ok(Ok(channel)) => Ok(channel),
            Ok(Err(error)) => Err(self.lost_by(&error)),
            Err(_) => Err(Lost::Broken("it does not answer any more".to_owned())),
        }
    }

    async fn tell_depth(&self, queue: &str, answer: &Queue) -> Result<(), Lost> {
        let ready = u64::from(answer.message_count());
        let consumers = u64::from(answer.consumer_count());
        self.tell(queue, Reading::Depth { ready, consumers }).await
    }

    /// The connection that is read over.
    pub(super) fn connection(&self) -> &'a Connection {
        self.link.connection()
    }

    /// Tells that a round is complete.
    pub(super) async fn tell_round(&self, took: Duration) -> Result<(), Lost> {
        let fact = Fact::Round { broker: self.broker.to_owned(), took };
        self.facts.send(fact).await.map_err(|_| Lost::Unwanted)
    }

    /// Tells what a queue said.
    pub(super) async fn tell(&self, queue: &str, reading: Reading) -> Result<(), Lost> {
        let fact = Fact::Queue {
            broker: self.broker.to_owned(),
            queue: queue.to_owned(),
            reading,
            at: clock::now(),
        };
        self.facts.send(fact).await.map_err(|_| Lost::Unwanted)
    }
}

/// What ended a run of answers.
enum Stumble {
    Error(lapin::Error),
    Silence,
}

/// Sends the question when it is first polled. The name must be short enough for the protocol.
fn ask(channel: &Channel, queue: &str) -> BoxFuture<'static, lapin::Result<Queue>> {
    let channel = channel.clone();
    let queue = ShortString::from(queue);
    let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    async move { channel.queue_declare(queue, options, FieldTable::default()).await }.boxed()
}
