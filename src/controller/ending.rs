//! The end of everything: the last output, the last state, then the keeper is told to end.

use std::time::Duration;

use tracing::{info, warn};

use super::control::Control;
use super::kept::unix_path;
use super::start::StartError;
use crate::core::time::Time;
use crate::keeper::protocol::Order;
use crate::sys::clock;

/// How long the last output may take once everything has ended: nobody may be reading Leveret's own.
const LAST_OUTPUT: Duration = Duration::from_secs(5);

/// How far the end of Leveret is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finishing {
    /// Not wanted, or processes are left.
    No,
    /// No process is left; output is being read to its end, until this moment at the latest.
    Draining(Time),
    /// The last state is being written.
    Saving,
    /// The keeper was told to end.
    Told,
}

impl Finishing {
    /// When the waiting for the last output ends.
    pub(super) fn deadline(self) -> Option<Time> {
        match self {
            Self::Draining(until) => Some(until),
            Self::No | Self::Saving | Self::Told => None,
        }
    }
}

impl Control {
    /// Nothing lives any more: read what is left of the output, write the state, then end.
    pub(super) fn finish(&mut self) {
        let now = clock::now();
        if self.finishing == Finishing::No {
            self.finishing = Finishing::Draining(now + LAST_OUTPUT);
        }
        if let Finishing::Draining(until) = self.finishing
            && (self.releasing.is_empty() || until <= now)
        {
            if !self.releasing.is_empty() {
                warn!(
                    "the last output of {} could not be written and is lost",
                    crate::core::words::processes(self.releasing.len() as u32)
                );
            }
            self.finishing = Finishing::Saving;
            self.saver.last(now);
            self.save_if_due(now);
        }
        if self.finishing == Finishing::Saving && self.saver.is_at_rest() {
            self.finishing = Finishing::Told;
            info!("everything has ended");
            let path = unix_path(&self.settings.runtime_dir);
            if let Err(trouble) = std::fs::remove_file(&path) {
                warn!("cannot remove {}: {}", path.display(), crate::sys::cause::plain(trouble));
            }
            let shutdown = self.machine.world().shutdown;
            let code = shutdown.map_or(0, |shutdown| shutdown.exit_code);
            self.order(&Order::Exit { code });
        }
    }

    /// The keeper has closed the connection.
    pub(super) async fn keeper_gone(mut self) -> Result<u8, StartError> {
        let told = self.finishing == Finishing::Told;
        if !told {
            self.saver.last(clock::now());
            while !self.saver.is_at_rest() {
                self.save_if_due(clock::now());
                let written = self.saver.written().await;
                self.written(written);
            }
        }
        self.pump.stop();
        if told { Ok(0) } else { Err(StartError::KeeperGone) }
    }
}
