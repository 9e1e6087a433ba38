//! The task behind the metrics of a broker: reads them, tells what is new, waits, and reads them again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::sync::mpsc::Sender;
use tokio::sync::watch::Receiver;
use tokio::time::{Instant, sleep_until};

use super::MetricsSettings;
use super::tally::{self, Answer, CountedBy, Tally};
use crate::amqp::address;
use crate::amqp::backoff::Backoff;
use crate::amqp::fact::{Fact, Figures, ManagementState};
use crate::amqp::http::trouble::Trouble;
use crate::amqp::http::{Conversation, Target};
use crate::amqp::ledger::{Ledger, is_news};
use crate::core::spec::BrokerSpec;
use crate::core::time::Time;
use crate::sys::clock;

/// The longest wait after a failure.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// A queue has no metrics in its first seconds, so this many answers without it say that something is wrong.
const ABSENT_MOST: u32 = 2;

/// What reading the metrics of one broker takes.
pub(super) struct Watch {
    settings: MetricsSettings,
    target: Target,
    wanted: Receiver<BTreeSet<String>>,
    facts: Sender<Fact>,
    backoff: Backoff,
    state: ManagementState,
    counted: CountedBy,
    known: BTreeMap<String, Known>,
}

/// What is known of a queue.
#[derive(Debug, Default)]
struct Known {
    tally: Tally,
    ledger: Ledger,
    told: Option<(Figures, Time)>,
    /// How many answers in a row had nothing of it.
    absent: u32,
}

/// Why a round came to nothing.
enum Failed {
    Trouble(Trouble),
    /// Nobody wants to know more.
    Unwanted,
}

impl From<Trouble> for Failed {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

impl Watch {
    /// `None` where there is nobody to ask.
    pub(super) fn new(
        settings: MetricsSettings,
        wanted: Receiver<BTreeSet<String>>,
        facts: Sender<Fact>,
    ) -> Option<Self> {
        let vhost = address::parse(settings.broker.url.reveal())?.vhost;
        let target = Target::metrics(settings.broker.metrics.as_ref()?, &vhost)?;
        let seed = clock::now().as_micros() ^ (u64::from(std::process::id()) << 32);
        let backoff = Backoff::between(settings.interval, WAIT_MAX.max(settings.interval), seed);
        let (state, counted, known) = (ManagementState::Connecting, CountedBy::Queue, BTreeMap::new());
        Some(Self { settings, target, wanted, facts, backoff, state, counted, known })
    }

    /// Reads until nobody receives the facts.
    pub(super) async fn run(mut self) {
        loop {
            let began = Instant::now();
            let next = match self.round().await {
                Ok(()) => {
                    self.backoff.reset();
                    began + self.settings.interval
                }
                Err(Failed::Trouble(trouble)) => {
                    // Whoever answers next may be another one.
                    self.counted = CountedBy::Queue;
                    self.known.clear();
                    if !self.tell_state(ManagementState::Fails(trouble.to_string())).await {
                        return;
                    }
                    Instant::now() + self.backoff.next()
                }
                Err(Failed::Unwanted) => return,
            };
            sleep_until(next).await;
        }
    }

    /// Reads once about all queues.
    async fn round(&mut self) -> Result<(), Failed> {
        let queues = self.wanted.borrow_and_update().clone();
        self.known.retain(|queue, _| queues.contains(queue));
        let mut conversation = Conversation::begin(&self.target, self.settings.timeout).await?;
        let mut answer = ask(&mut conversation, self.counted, &queues).await?;
        if self.counted == CountedBy::Queue && !answer.counts_by_queue {
            self.counted = CountedBy::Channel;
            answer = ask(&mut conversation, self.counted, &queues).await?;
        }
        let at = clock::now();
        let mut facts = Vec::new();
        for queue in &queues {
            let known = self.known.entry(queue.clone()).or_default();
            let seen = answer.queues.remove(queue).unwrap_or_default();
            let Some((told, is_whole)) = known.tally.note(seen, self.counted) else {
                known.absent = known.absent.saturating_add(1);
                continue;
            };
            known.absent = 0;
            let figures = known.ledger.note(told, is_whole);
            if is_news(known.told, figures, at, self.settings.interval) {
                known.told = Some((figures, at));
                let (broker, queue) = (self.settings.broker.name.clone(), queue.clone());
                facts.push(Fact::Figures { broker, queue, figures, at });
            }
        }
        let state = self.absent().map_or(ManagementState::Answers, ManagementState::Limited);
        if !self.tell_state(state).await {
            return Err(Failed::Unwanted);
        }
        for fact in facts {
            self.facts.send(fact).await.map_err(|_| Failed::Unwanted)?;
        }
        Ok(())
    }

    /// What is to be known of queues that are never told of.
    fn absent(&self) -> Option<String> {
        let mut absent = self.known.iter().filter(|(_, known)| known.absent >= ABSENT_MOST);
        let (first, _) = absent.next()?;
        let more = match absent.count() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        Some(format!(
            "{} tells nothing of queue \"{first}\"{more} in virtual host {}: each node tells only of queues that it leads; \
             what came and went there is inferred from what AMQP tells",
            self.target.at(),
            self.target.vhost(),
        ))
    }

    /// Says whether anybody wants to know.
    async fn tell_state(&mut self, state: ManagementState) -> bool {
        if self.state == state {
            return !self.facts.is_closed();
        }
        self.state = state.clone();
        let fact = Fact::Metrics { broker: self.settings.broker.name.clone(), state };
        self.facts.send(fact).await.is_ok()
    }
}

async fn ask(
    conversation: &mut Conversation<'_>,
    counted: CountedBy,
    queues: &BTreeSet<String>,
) -> Result<Answer, Trouble> {
    let target = conversation.target();
    let text = conversation.read_text(&tally::path(target.vhost(), counted)).await?;
    let answer = tally::read(&text, target.vhost(), queues);
    if answer.tells_of_queues { Ok(answer) } else { Err(target.is_another("it tells of no queues")) }
}

/// Reads once, for a look by hand. `None` where there is nobody to ask.
///
/// # Errors
/// Why it does not tell, as a sentence.
pub(in crate::amqp) async fn look(broker: &BrokerSpec, limit: Duration) -> Option<Result<(), String>> {
    let vhost = address::parse(broker.url.reveal())?.vhost;
    let target = Target::metrics(broker.metrics.as_ref()?, &vhost)?;
    let answer = async {
        let mut conversation = Conversation::begin(&target, limit).await?;
        ask(&mut conversation, CountedBy::Queue, &BTreeSet::new()).await
    };
    Some(answer.await.map(|_| ()).map_err(|trouble| trouble.to_string()))
}
