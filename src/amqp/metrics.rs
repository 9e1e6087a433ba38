//! Reads what a broker exports for Prometheus where it is asked for single queues, of RabbitMQ 3.10 or later: an alternative
//! to its management API at less cost to it. One request for all queues of a broker every few seconds. It must never be
//! needed: whatever happens to it is told, and the probe goes on beside it.
//!
//! A node tells of itself alone: of the queues that it leads, and of what was done over its own connections.

mod exposition;
mod tally;
mod watch;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use tokio::sync::mpsc::Sender;
use tokio::sync::watch as wishes;
use tokio_util::sync::{CancellationToken, DropGuard};

use self::watch::Watch;
pub(super) use self::watch::look;
use super::fact::Fact;
use crate::core::spec::BrokerSpec;

/// How metrics are to be read.
#[derive(Clone, Debug)]
pub struct MetricsSettings {
    /// The broker; without [`BrokerSpec::metrics`] nothing is asked.
    pub broker: BrokerSpec,
    /// The time between two requests. Brokers renew their figures every 5 s, so asking more often tells nothing.
    pub interval: Duration,
    /// The longest time that a request may take, with its connection.
    pub timeout: Duration,
}

impl MetricsSettings {
    /// A request every 5 s, which may take as long.
    pub fn new(broker: BrokerSpec) -> Self {
        Self { broker, interval: Duration::from_secs(5), timeout: Duration::from_secs(5) }
    }
}

/// Reads the metrics of one broker. Dropping it ends its task.
pub struct Metrics {
    broker: String,
    queues: wishes::Sender<BTreeSet<String>>,
    _stop: DropGuard,
}

impl Metrics {
    /// Starts reading about `queues` on the current tokio runtime, and tells what it finds to `facts`.
    ///
    /// Its state is told when it changes; what was told of a queue is told again when it differs, and every second time
    /// otherwise. After a failure the waits grow from the interval to a minute.
    pub fn start(settings: MetricsSettings, queues: BTreeSet<String>, facts: Sender<Fact>) -> Self {
        let broker = settings.broker.name.clone();
        let (sender, wanted) = wishes::channel(queues);
        let stop = CancellationToken::new();
        if let Some(watch) = Watch::new(settings, wanted, facts) {
            let ended = stop.clone();
            tokio::spawn(async move {
                tokio::select! {
                    () = ended.cancelled() => {}
                    () = watch.run() => {}
                }
            });
        }
        Self { broker, queues: sender, _stop: stop.drop_guard() }
    }

    /// Reads about these queues from now on, in place of those before.
    pub fn set_queues(&self, queues: BTreeSet<String>) {
        self.queues.send_if_modified(|before| {
            let is_other = *before != queues;
            *before = queues;
            is_other
        });
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("broker", &self.broker).finish_non_exhaustive()
    }
}
