//! The demo's load: messages that come calmly, then faster and faster, then all at once, and calmly again.

use std::time::Duration;

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use crate::amqp::{Dial, DialError, Link};
use crate::core::random::Random;
use crate::core::secret::Secret;

/// How long connecting may take, and then logging in.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long to wait before connecting again.
const RETRY: Duration = Duration::from_millis(500);
/// How often what is due is published.
const TICK: Duration = Duration::from_millis(50);

/// How the load rises and falls. A cycle is calm, ramp, burst at the ramp's end, fall, and calm again; then the next
/// one begins. From cycle to cycle peak and burst differ by up to a fifth, the same for the same seed.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Decides how cycles differ.
    pub seed: u64,
    /// Messages a second while it is calm.
    pub calm_rate: f64,
    /// Messages a second at the end of the ramp.
    pub peak_rate: f64,
    /// Messages at once at the end of the ramp.
    pub burst: f64,
    /// The first calm, in seconds.
    pub calm_s: f64,
    /// The ramp from calm to peak, in seconds.
    pub ramp_s: f64,
    /// The fall from peak to calm, in seconds.
    pub fall_s: f64,
    /// The last calm, in seconds.
    pub rest_s: f64,
}

impl Plan {
    /// One minute: 2 a second, up to 40 a second, 300 at once, and down again.
    pub fn minute(seed: u64) -> Self {
        Self {
            seed,
            calm_rate: 2.0,
            peak_rate: 40.0,
            burst: 300.0,
            calm_s: 10.0,
            ramp_s: 15.0,
            fall_s: 10.0,
            rest_s: 25.0,
        }
    }

    fn cycle_s(&self) -> f64 {
        self.calm_s + self.ramp_s + self.fall_s + self.rest_s
    }

    /// Messages that a cycle has brought when it is `at` seconds old.
    fn within_cycle(&self, cycle: u64, at: f64) -> f64 {
        let mut random = Random::new(self.seed ^ (cycle << 32));
        let peak = self.peak_rate * (0.8 + 0.4 * random.unit());
        let burst = self.burst * (0.8 + 0.4 * random.unit());
        // What a stretch brings whose rate goes evenly from one value to another.
        let stretch = |seconds: f64, length: f64, from: f64, to: f64| {
            let seconds = seconds.clamp(0.0, length);
            let slope = if length > 0.0 { (to - from) / length } else { 0.0 };
            from * seconds + slope * seconds * seconds / 2.0
        };
        let ramp = self.calm_s;
        let fall = ramp + self.ramp_s;
        let rest = fall + self.fall_s;
        stretch(at, self.calm_s, self.calm_rate, self.calm_rate)
            + stretch(at - ramp, self.ramp_s, self.calm_rate, peak)
            + if at >= fall { burst } else { 0.0 }
            + stretch(at - fall, self.fall_s, peak, self.calm_rate)
            + stretch(at - rest, self.rest_s, self.calm_rate, self.calm_rate)
    }
}

/// Follows a plan through its cycles.
#[derive(Debug)]
struct Load<'a> {
    plan: &'a Plan,
    cycle: u64,
    before: f64,
}

impl Load<'_> {
    /// How many messages the plan has brought after `elapsed`, which never goes back.
    fn due(&mut self, elapsed: Duration) -> u64 {
        let length = self.plan.cycle_s().max(0.1);
        let mut at = elapsed.as_secs_f64() - self.cycle as f64 * length;
        while at >= length {
            self.before += self.plan.within_cycle(self.cycle, length);
            self.cycle += 1;
            at -= length;
        }
        (self.before + self.plan.within_cycle(self.cycle, at)) as u64
    }
}

/// Why a message could not be published, or a queue not declared or deleted.
#[derive(Debug, thiserror::Error)]
pub enum ProducerError {
    /// There is no connection.
    #[error("{0}")]
    Connect(String),
    /// The broker said no or went away.
    #[error("the broker failed the demo's producer")]
    Broker(#[from] lapin::Error),
    /// The broker did not take a message: the queue is full.
    #[error("the queue {0} takes no more messages")]
    Full(String),
    /// The name is longer than 255 bytes.
    #[error("a queue's name has at most 255 bytes")]
    Name,
}

impl From<DialError> for ProducerError {
    fn from(error: DialError) -> Self {
        Self::Connect(error.to_string())
    }
}

/// Declares `queue`, durable, unless it is there.
///
/// # Errors
/// When the broker cannot be reached or refuses.
pub async fn declare_queue(url: &str, queue: &str) -> Result<(), ProducerError> {
    let publisher = Publisher::connect(url, queue).await?;
    publisher.link.close().await;
    Ok(())
}

/// Deletes `queue` with its messages; one that is not there is no error.
///
/// # Errors
/// When the broker cannot be reached or refuses.
pub async fn delete_queue(url: &str, queue: &str) -> Result<(), ProducerError> {
    let link = Link::connect(&dial(url)).await?;
    let channel = link.open_channel().await?;
    channel.queue_delete(short(queue)?, QueueDeleteOptions::default()).await?;
    link.close().await;
    Ok(())
}

/// Publishes one message for each number, with the number as its body, and returns when the broker has them.
///
/// # Errors
/// When the broker cannot be reached, refuses, or does not take a message.
pub async fn publish_all(
    url: &str,
    queue: &str,
    numbers: impl IntoIterator<Item = u64>,
) -> Result<(), ProducerError> {
    let publisher = Publisher::connect(url, queue).await?;
    publisher.publish(numbers).await?;
    publisher.link.close().await;
    Ok(())
}

/// Publishes to `queue` as `plan` says, numbering the messages, until `cancel`; declares the queue where it is missing
/// and connects again where the broker goes away. Returns how many messages the broker has taken.
///
/// What is due while the broker is away is left out, so that its return brings no flood.
pub async fn run(url: &str, queue: &str, plan: &Plan, cancel: CancellationToken) -> u64 {
    let mut progress =
        Progress { load: Load { plan, cycle: 0, before: 0.0 }, begun: Instant::now(), taken: 0 };
    // Publishing is never broken off between a message and its confirmation.
    while !cancel.is_cancelled() {
        if let Err(error) = produce(url, queue, &cancel, &mut progress).await {
            tracing::warn!(%error, "the demo's producer tries again");
            tokio::select! {
                () = sleep(RETRY) => {}
                () = cancel.cancelled() => {}
            }
        }
    }
    progress.taken
}

/// How far a producer has come, whatever becomes of its connections.
#[derive(Debug)]
struct Progress<'a> {
    load: Load<'a>,
    begun: Instant,
    /// Messages that the broker has taken.
    taken: u64,
}

/// Publishes over one connection.
async fn produce(
    url: &str,
    queue: &str,
    cancel: &CancellationToken,
    progress: &mut Progress<'_>,
) -> Result<(), ProducerError> {
    let publisher = tokio::select! {
        publisher = Publisher::connect(url, queue) => publisher?,
        () = cancel.cancelled() => return Ok(()),
    };
    let mut published = progress.load.due(progress.begun.elapsed());
    let mut ticker = interval(TICK);
    ticker.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            _ = ticker.tick() => {}
            () = cancel.cancelled() => {
                publisher.link.close().await;
                return Ok(());
            }
        }
        let count = progress.load.due(progress.begun.elapsed()).saturating_sub(published);
        publisher.publish(progress.taken + 1..=progress.taken + count).await?;
        published += count;
        progress.taken += count;
    }
}

/// A connection that publishes to one queue.
struct Publisher {
    link: Link,
    channel: Channel,
    queue: ShortString,
}

impl Publisher {
    async fn connect(url: &str, queue: &str) -> Result<Self, ProducerError> {
        let queue = short(queue)?;
        let link = Link::connect(&dial(url)).await?;
        let channel = link.open_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        channel.queue_declare(queue.clone(), options, FieldTable::default()).await?;
        Ok(Self { link, channel, queue })
    }

    /// Publishes and waits until the broker has confirmed.
    async fn publish(&self, numbers: impl IntoIterator<Item = u64>) -> Result<(), ProducerError> {
        let mut confirms = Vec::new();
        for number in numbers {
            let body = number.to_string();
            let publish = self.channel.basic_publish(
                ShortString::default(),
                self.queue.clone(),
                BasicPublishOptions::default(),
                body.as_bytes(),
                BasicProperties::default(),
            );
            confirms.push(publish.await?);
        }
        for confirm in confirms {
            match confirm.await? {
                Confirmation::Ack(_) | Confirmation::NotRequested => {}
                Confirmation::Nack(_) => return Err(ProducerError::Full(self.queue.to_string())),
            }
        }
        Ok(())
    }
}

fn dial(url: &str) -> Dial {
    Dial {
        url: Secret::new(url),
        name: "leveret demo producer".to_owned(),
        frame_max: 8192,
        timeout: CONNECT_TIMEOUT,
    }
}

fn short(queue: &str) -> Result<ShortString, ProducerError> {
    ShortString::try_new(queue).map_err(|_| ProducerError::Name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::broker::{Broker, BrokerOptions, Fault};

    fn due(seed: u64, seconds: &[f64]) -> Vec<u64> {
        let plan = Plan::minute(seed);
        let mut load = Load { plan: &plan, cycle: 0, before: 0.0 };
        seconds.iter().map(|at| load.due(Duration::from_secs_f64(*at))).collect()
    }

    #[test]
    fn the_load_rises_bursts_falls_and_begins_again() {
        let found = due(1, &[0.0, 5.0, 10.0, 24.9, 25.1, 35.0, 60.0, 70.0]);
        let gained: Vec<u64> = found.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert_eq!(&gained[..2], [10, 10], "calm");
        assert!((200..450).contains(&gained[2]), "ramp: {gained:?}");
        assert!((240..=370).contains(&gained[3]), "burst: {gained:?}");
        assert!((150..260).contains(&gained[4]), "fall: {gained:?}");
        assert_eq!(&gained[5..], [50, 20], "rest, and the next calm");
    }

    #[test]
    fn a_seed_gives_one_load_and_its_cycles_differ() {
        let minutes: Vec<f64> = (0..10).map(|n| f64::from(n) * 60.0).collect();
        assert_eq!(due(7, &minutes), due(7, &minutes));
        assert_ne!(due(7, &minutes), due(8, &minutes));
        let found = due(7, &minutes);
        let gained: std::collections::BTreeSet<u64> =
            found.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(gained.len() > 5, "{gained:?}");
    }

    #[test]
    fn a_load_that_was_not_asked_for_a_while_has_lost_nothing() {
        let often: Vec<f64> = (0..=3_000).map(|n| f64::from(n) / 10.0).collect();
        assert_eq!(due(3, &often).last(), due(3, &[0.0, 300.0]).last());
    }

    #[tokio::test]
    async fn a_producer_goes_on_after_the_broker_was_away_and_counts_what_was_taken() {
        let broker = Broker::start(BrokerOptions::default()).await.unwrap();
        let plan = Plan { calm_rate: 200.0, ..Plan::minute(1) };
        let cancel = CancellationToken::new();
        let (url, stop) = (broker.url(), cancel.clone());
        let producer = tokio::spawn(async move { run(&url, "q", &plan, stop).await });
        let published = |least: u64| {
            let broker = &broker;
            async move {
                while broker.depth("q").is_none_or(|counts| counts.published < least) {
                    sleep(Duration::from_millis(5)).await;
                }
            }
        };
        published(20).await;
        broker.set_fault(Fault::DropAllConnections);
        let before = broker.depth("q").map_or(0, |counts| counts.published);
        published(before + 20).await;
        cancel.cancel();
        let taken = producer.await.unwrap();
        let counts = broker.depth("q").unwrap();
        // A message whose confirmation was lost with the connection may be in the queue and not be counted.
        assert!(counts.published >= taken && taken >= 20, "{counts:?} {taken}");
        delete_queue(&broker.url(), "q").await.unwrap();
        assert_eq!(broker.depth("q"), None);
    }
}
