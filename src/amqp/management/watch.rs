//! The task behind a management API: asks, tells what is new, waits, and asks again.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::mpsc::Sender;
use tokio::sync::watch::Receiver;
use tokio::time::{Instant, sleep_until};

use super::channels;
use super::figures::{self, PAGES_MAX};
use super::{ManagementSettings, Wanted};
use crate::amqp::address;
use crate::amqp::backoff::Backoff;
use crate::amqp::fact::{Fact, Figures, ManagementState, Trap};
use crate::amqp::http::trouble::Trouble;
use crate::amqp::http::{Conversation, Target};
use crate::amqp::ledger::{Ledger, is_news};
use crate::core::time::Time;
use crate::sys::clock;

/// The longest wait after a failure.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// What is to be known of a broker that counts no messages.
const NO_RATES: &str = "the management API counts no messages (management.rates_mode = none, or the collector of metrics \
                        is off), so their flow is inferred from what AMQP tells";

/// What follows where a list of channels does not come.
const NO_CHANNELS: &str = "it tells of queues and not of channels, so which process is idle is not known";

/// What asking one management API takes.
pub(super) struct Watch {
    settings: ManagementSettings,
    target: Target,
    wanted: Receiver<Wanted>,
    facts: Sender<Fact>,
    backoff: Backoff,
    state: ManagementState,
    /// Whether the broker counts messages; absent where it has to be asked.
    counts: Option<bool>,
    known: BTreeMap<String, Known>,
}

/// What is known of a queue.
#[derive(Debug, Default)]
struct Known {
    ledger: Ledger,
    /// What was told of its kind.
    trap: Option<Option<Trap>>,
    told: Option<(Figures, Time)>,
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
        settings: ManagementSettings,
        wanted: Receiver<Wanted>,
        facts: Sender<Fact>,
    ) -> Option<Self> {
        let vhost = address::parse(settings.broker.url.reveal())?.vhost;
        let target = Target::management(settings.broker.management.as_ref()?, &vhost)?;
        let seed = clock::now().as_micros() ^ (u64::from(std::process::id()) << 32);
        let backoff = Backoff::between(settings.interval, WAIT_MAX.max(settings.interval), seed);
        let (state, known) = (ManagementState::Connecting, BTreeMap::new());
        Some(Self { settings, target, wanted, facts, backoff, state, counts: None, known })
    }

    /// Asks until nobody receives the facts.
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
                    self.counts = None;
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

    /// Asks once about all queues.
    async fn round(&mut self) -> Result<(), Failed> {
        let Wanted { queues, channels } = self.wanted.borrow_and_update().clone();
        self.known.retain(|queue, _| queues.contains(queue));
        let target = &self.target;
        let mut conversation = Conversation::begin(target, self.settings.timeout).await?;
        let counts = match self.counts {
            Some(counts) => counts,
            None => {
                let overview = conversation.read("/overview?columns=rates_mode,disable_stats").await?;
                let is_off = overview["rates_mode"] == "none" || overview["disable_stats"] == true;
                *self.counts.insert(!is_off)
            }
        };
        let (mut traps, mut facts) = (Vec::new(), Vec::new());
        let mut number = 1;
        loop {
            let answer = conversation.read(&figures::path(target.vhost(), &queues, number)).await?;
            let at = clock::now();
            let Some((page, pages)) = figures::page(&answer) else {
                return Err(target.is_another("it sends no list of queues").into());
            };
            for (queue, listed) in page.into_iter().filter(|(queue, _)| queues.contains(*queue)) {
                let broker = self.settings.broker.name.clone();
                let known = self.known.entry(queue.to_owned()).or_default();
                if known.trap.replace(listed.trap) != Some(listed.trap) {
                    let (broker, queue) = (broker.clone(), queue.to_owned());
                    traps.push(Fact::Trap { broker, queue, trap: listed.trap });
                }
                let Some(told) = listed.told else { continue };
                let figures = known.ledger.note(told, counts);
                if is_news(known.told, figures, at, self.settings.interval) {
                    known.told = Some((figures, at));
                    facts.push(Fact::Figures { broker, queue: queue.to_owned(), figures, at });
                }
            }
            if number >= pages.min(PAGES_MAX) {
                break;
            }
            number += 1;
        }
        let mut state =
            if counts { ManagementState::Answers } else { ManagementState::Limited(NO_RATES.to_owned()) };
        if let Some(names) = channels {
            match channels::read(&mut conversation, target.vhost(), names).await {
                Ok(channels) => {
                    let broker = self.settings.broker.name.clone();
                    facts.push(Fact::Channels { broker, channels, at: clock::now() });
                }
                Err(trouble) => state = ManagementState::Limited(format!("{trouble}; {NO_CHANNELS}")),
            }
        }
        // Whoever waits for the first answer knows the kinds of queues with it.
        self.tell(traps).await?;
        if !self.tell_state(state).await {
            return Err(Failed::Unwanted);
        }
        self.tell(facts).await
    }

    async fn tell(&self, facts: Vec<Fact>) -> Result<(), Failed> {
        for fact in facts {
            self.facts.send(fact).await.map_err(|_| Failed::Unwanted)?;
        }
        Ok(())
    }

    /// Says whether anybody wants to know.
    async fn tell_state(&mut self, state: ManagementState) -> bool {
        if self.state == state {
            return !self.facts.is_closed();
        }
        self.state = state.clone();
        let fact = Fact::Management { broker: self.settings.broker.name.clone(), state };
        self.facts.send(fact).await.is_ok()
    }
}
