//! Asks a broker's management API for what AMQP does not tell: who has how many messages, and what came and went. One
//! request for all queues of a broker every few seconds. It must never be needed: whatever happens to it is told, and the
//! probe goes on beside it.

pub mod census;
mod channels;
mod figures;
mod kinds;
mod watch;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use tokio::sync::mpsc::Sender;
use tokio::sync::watch as wishes;
use tokio_util::sync::{CancellationToken, DropGuard};

pub(super) use kinds::read as read_kinds;

use self::watch::Watch;
use super::fact::Fact;
use crate::core::spec::BrokerSpec;

/// How a management API is to be asked.
#[derive(Clone, Debug)]
pub struct ManagementSettings {
    /// The broker; without [`BrokerSpec::management`] nothing is asked.
    pub broker: BrokerSpec,
    /// The time between two requests. Brokers renew their figures every 5 s, so asking more often tells nothing.
    pub interval: Duration,
    /// The longest time that a request may take, with its connection.
    pub timeout: Duration,
}

impl ManagementSettings {
    /// A request every 5 s, which may take as long.
    pub fn new(broker: BrokerSpec) -> Self {
        Self { broker, interval: Duration::from_secs(5), timeout: Duration::from_secs(5) }
    }
}

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Wanted {
    queues: BTreeSet<String>,
    channels: Option<Names>,
}

/// Whether the names of connections are asked for with channels, which takes one more request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// They are.
    Asked,
    /// They are not.
    NotAsked,
}

/// Asks the management API of one broker. Dropping it ends its task.
pub struct Management {
    broker: String,
    wanted: wishes::Sender<Wanted>,
    _stop: DropGuard,
}

impl Management {
    /// Starts asking about `queues` on the current tokio runtime, and tells what it finds to `facts`.
    ///
    /// Its state is told when it changes; what was told of a queue is told again when it differs, and every second time
    /// otherwise. After a failure the waits grow from the interval to a minute.
    pub fn start(settings: ManagementSettings, queues: BTreeSet<String>, facts: Sender<Fact>) -> Self {
        let broker = settings.broker.name.clone();
        let (sender, wanted) = wishes::channel(Wanted { queues, channels: None });
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
        Self { broker, wanted: sender, _stop: stop.drop_guard() }
    }

    /// Asks about these queues from now on, in place of those before.
    pub fn set_queues(&self, queues: BTreeSet<String>) {
        self.change(|wanted| wanted.queues = queues);
    }

    /// Asks about all channels of the virtual host as well, or no longer.
    pub fn set_channels(&self, channels: Option<Names>) {
        self.change(|wanted| wanted.channels = channels);
    }

    fn change(&self, change: impl FnOnce(&mut Wanted)) {
        self.wanted.send_if_modified(|wanted| {
            let before = wanted.clone();
            change(wanted);
            *wanted != before
        });
    }
}

impl fmt::Debug for Management {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Management").field("broker", &self.broker).finish_non_exhaustive()
    }
}
