//! The task behind a probe: connects, reads round after round, and connects again.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::sync::mpsc::Sender;
use tokio::sync::watch::Receiver;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep};
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use super::fact::{BrokerState, Fact, Reading};
use super::probe::ProbeSettings;
use super::quarantine::Quarantine;
use super::reader::{Lost, Reader};
use super::rounds::Rounds;
use super::{Dial, Link};
use crate::sys::clock;

/// How long an answer may keep others waiting, at least.
const PATIENCE_MIN: Duration = Duration::from_secs(1);
/// A connection that lasted this long was a good one: the next failure begins with short waits again.
const GOOD_CONNECTION: Duration = Duration::from_secs(5);
/// How long exchanging a worn connection may take before the broker counts as unreachable.
const EXCHANGE: Duration = Duration::from_secs(2);

/// What reading one broker takes.
pub(super) struct Watch {
    settings: ProbeSettings,
    queues: Receiver<BTreeSet<String>>,
    facts: Sender<Fact>,
    stop: CancellationToken,
    ticker: Interval,
    backoff: Backoff,
    quarantine: Quarantine,
    state: Option<BrokerState>,
    /// Until when a missing connection is our own doing and not told.
    quiet_until: Option<Instant>,
}

/// Nobody wants to know more.
struct Unwanted;

impl Watch {
    /// Must be called on a tokio runtime.
    pub(super) fn new(
        settings: ProbeSettings,
        queues: Receiver<BTreeSet<String>>,
        facts: Sender<Fact>,
        stop: CancellationToken,
    ) -> Self {
        let mut ticker = interval_at(Instant::now() + settings.interval, settings.interval);
        ticker.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let seed = clock::now().as_micros() ^ (u64::from(std::process::id()) << 32);
        let quarantine = Quarantine::new(settings.interval);
        let backoff = Backoff::new(seed);
        Self { settings, queues, facts, stop, ticker, backoff, quarantine, state: None, quiet_until: None }
    }

    /// Reads until it is stopped or nobody receives the facts.
    pub(super) async fn run(mut self) {
        let stop = self.stop.clone();
        let mut link = None;
        tokio::select! {
            () = stop.cancelled() => {}
            // Ends only where nobody receives the facts.
            Unwanted = self.read_for_ever(&mut link) => {}
        }
        if let Some(link) = link {
            link.close().await;
        }
    }

    /// Keeps the connection in `link`, so that whoever ends this can close it in good order.
    async fn read_for_ever(&mut self, link: &mut Option<Link>) -> Unwanted {
        match self.keep_reading(link).await {
            Ok(never) => match never {},
            Err(unwanted) => unwanted,
        }
    }

    async fn keep_reading(&mut self, link: &mut Option<Link>) -> Result<std::convert::Infallible, Unwanted> {
        self.tell_state(BrokerState::Connecting).await?;
        loop {
            let open = match self.connect().await? {
                Ok(open) => link.insert(open),
                Err(state) => {
                    self.quiet_until = None;
                    self.tell_state(state).await?;
                    let wait = self.backoff.next();
                    self.tell_unreachable_during(sleep(wait)).await?;
                    continue;
                }
            };
            self.tell_state(BrokerState::Connected).await?;
            let since = clock::now();
            let lost = self.read(open).await;
            let lasted = clock::now().since(since);
            let fresh = lost != Lost::Worn;
            self.quarantine.begin_again(clock::now(), fresh);
            if lasted >= GOOD_CONNECTION {
                self.backoff.reset();
            }
            match lost {
                Lost::Unwanted => return Err(Unwanted),
                Lost::Worn => {
                    if let Some(worn) = link.take() {
                        tokio::spawn(worn.close());
                    }
                    self.quiet_until = Some(Instant::now() + self.settings.interval.max(EXCHANGE));
                    if lasted < self.settings.interval {
                        // A broker that allows hardly any channels must not be called without a pause.
                        let wait = self.backoff.next();
                        self.tell_unreachable_during(sleep(wait)).await?;
                    }
                }
                Lost::Broken(reason) => {
                    let text = format!("lost the connection to the broker at {}: {reason}", open.at());
                    *link = None;
                    self.quiet_until = None;
                    self.tell_state(BrokerState::Unreachable(text)).await?;
                    let wait = self.backoff.next();
                    self.tell_unreachable_during(sleep(wait)).await?;
                }
            }
        }
    }

    /// Connects, and meanwhile tells that no queue can be read.
    async fn connect(&mut self) -> Result<Result<Link, BrokerState>, Unwanted> {
        let host = rustix::system::uname();
        let dial = Dial {
            url: self.settings.broker.url.clone(),
            name: format!("leveret ({} pid {})", host.nodename().to_string_lossy(), std::process::id()),
            frame_max: self.settings.frame_max,
            timeout: self.settings.timeout,
        };
        let connected = self.tell_unreachable_during(Link::connect(&dial)).await?;
        Ok(connected.map_err(|error| error.state()))
    }

    /// Awaits `future`, and at every interval tells that no queue can be read.
    async fn tell_unreachable_during<T>(&mut self, future: impl Future<Output = T>) -> Result<T, Unwanted> {
        let mut future = std::pin::pin!(future);
        loop {
            tokio::select! {
                done = &mut future => return Ok(done),
                tick = self.ticker.tick() => {
                    if self.quiet_until.is_some_and(|until| tick < until) {
                        continue;
                    }
                    let queues = self.queues.borrow_and_update().clone();
                    for queue in queues {
                        self.tell_queue(queue, Reading::Unreachable).await?;
                    }
                }
            }
        }
    }

    /// Reads over one connection until it is lost.
    async fn read(&mut self, link: &Link) -> Lost {
        let Self { settings, queues, facts, ticker, quarantine, .. } = self;
        let patience = settings.interval.max(PATIENCE_MIN);
        let reader = Reader::new(link, &settings.broker.name, facts, settings.timeout, patience);
        ticker.reset_immediately();
        Rounds::new(&reader, quarantine).run(queues, ticker).await
    }

    async fn tell_state(&mut self, state: BrokerState) -> Result<(), Unwanted> {
        if self.state.as_ref() == Some(&state) {
            return Ok(());
        }
        self.state = Some(state.clone());
        let fact = Fact::Broker { broker: self.settings.broker.name.clone(), state, at: clock::now() };
        self.facts.send(fact).await.map_err(|_| Unwanted)
    }

    async fn tell_queue(&self, queue: String, reading: Reading) -> Result<(), Unwanted> {
        let broker = self.settings.broker.name.clone();
        let fact = Fact::Queue { broker, queue, reading, at: clock::now() };
        self.facts.send(fact).await.map_err(|_| Unwanted)
    }
}
