//! Making room for another controller while everything goes on: no connection is accepted any more, those that were are
//! answered, the state is written down, and then this one ends. Others wait in the sockets that the keeper holds.

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::control::Control;
use super::handle::{Accepted, Refusal};
use super::saver::Written;
use crate::keeper::protocol::{Order, UpgradeState};
use crate::sys::clock;

/// How far this controller is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaving {
    /// It stays.
    No,
    /// Those who asked are answered.
    Answering,
    /// The state is written down.
    Saving,
    /// Nothing keeps it any more.
    Left,
}

/// What serves the page and the command line.
#[derive(Debug, Default)]
pub(crate) struct Servers {
    tasks: JoinSet<()>,
    ending: CancellationToken,
}

impl Servers {
    /// Nothing yet; what is served ends with `ending`.
    pub(crate) fn new(ending: CancellationToken) -> Self {
        Self { tasks: JoinSet::new(), ending }
    }

    /// Serves, too.
    pub(crate) fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// How everything is told to end.
    pub(crate) fn ending(&self) -> CancellationToken {
        self.ending.clone()
    }

    /// Done when nobody is served any more. May be dropped at any moment.
    pub(super) async fn ended(&mut self) {
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(error) = ended
                && error.is_panic()
            {
                error!("what serves the page has panicked");
            }
        }
    }
}

impl Control {
    /// The keeper wants another controller here.
    pub(super) fn leave(&mut self) {
        if self.leaving == Leaving::No {
            self.leaving = Leaving::Answering;
            self.servers.ending().cancel();
        }
    }

    /// Nobody waits for an answer any more.
    pub(super) fn answered(&mut self) {
        if self.leaving == Leaving::Answering {
            self.leaving = Leaving::Saving;
            self.saver.last(clock::now());
        }
    }

    /// The state was written; the one that was begun after the last answer is the one to wait for.
    pub(super) fn left_state(&mut self, written: &Written) {
        if self.leaving == Leaving::Saving && written.is_last {
            self.leaving = Leaving::Left;
        }
    }

    /// Whether this controller can end now. What happens from here on the keeper tells the next one.
    pub(super) fn has_left(&self) -> bool {
        self.leaving == Leaving::Left && self.link.is_flushed()
    }

    /// The keeper does it; this controller is told to make room in its course.
    pub(super) fn begin_upgrade(&mut self) -> Result<Accepted, Refusal> {
        let conflict = |text: &str| Err(Refusal::Conflict(text.to_owned()));
        if !self.can_upgrade {
            return conflict(
                "the keeper that runs is of a version that cannot be upgraded in place; start Leveret again",
            );
        }
        if self.machine.world().shutdown.is_some() {
            return conflict("Leveret is shutting down");
        }
        if self.upgrade.as_ref().is_some_and(|upgrade| matches!(upgrade.state, UpgradeState::UnderWay(_))) {
            return conflict("an upgrade is under way");
        }
        self.order(&Order::Upgrade);
        info!("an upgrade was asked for");
        Ok(Accepted { message: "the upgrade begins".to_owned(), ..Accepted::default() })
    }
}
