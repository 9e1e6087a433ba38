//! The door to a broker: which queues are to be read, and a task that reads them until the door is closed.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use tokio::sync::mpsc::Sender;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::fact::Fact;
use super::watch::Watch;
use crate::core::spec::BrokerSpec;

/// How a broker is to be read.
#[derive(Clone, Debug)]
pub struct ProbeSettings {
    /// Where the broker is.
    pub broker: BrokerSpec,
    /// The time between two rounds. A round that takes longer is not followed by a burst of others.
    pub interval: Duration,
    /// The longest time that connecting, logging in, opening a channel or reading a queue may take.
    pub timeout: Duration,
    /// The largest frame in bytes, at least 4096. lapin's two buffers have 32 times this.
    pub frame_max: u32,
}

impl ProbeSettings {
    /// A round each second, five seconds for every call, frames of 8 KiB.
    pub fn new(broker: BrokerSpec) -> Self {
        Self { broker, interval: Duration::from_secs(1), timeout: Duration::from_secs(5), frame_max: 8192 }
    }
}

/// Reads the queues of one broker. Dropping it ends its task and closes the connection.
pub struct Probe {
    broker: String,
    queues: watch::Sender<BTreeSet<String>>,
    _stop: DropGuard,
}

impl Probe {
    /// Starts reading `queues` on the current tokio runtime, and tells what it finds to `facts`.
    ///
    /// Every queue is told of at least once an interval, unless it is in quarantine: one that is missing, locked or
    /// refused is asked for apart from the others, every interval during the first minute and every 5 to 10 s later.
    /// A broker's state is told when it changes. Facts wait where `facts` is full, and the probe ends where nobody
    /// receives them.
    pub fn start(settings: ProbeSettings, queues: BTreeSet<String>, facts: Sender<Fact>) -> Self {
        let broker = settings.broker.name.clone();
        let (queues, wanted) = watch::channel(queues);
        let stop = CancellationToken::new();
        tokio::spawn(Watch::new(settings, wanted, facts, stop.clone()).run());
        Self { broker, queues, _stop: stop.drop_guard() }
    }

    /// Reads these queues from now on, in place of those before.
    pub fn set_queues(&self, queues: BTreeSet<String>) {
        self.queues.send_if_modified(|wanted| {
            let changed = *wanted != queues;
            *wanted = queues;
            changed
        });
    }
}

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probe").field("broker", &self.broker).finish_non_exhaustive()
    }
}
