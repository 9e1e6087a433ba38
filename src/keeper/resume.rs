//! The keeper that takes the place of another one in the same process.

use std::io;
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::children::{Phase, Shim};
use super::controller::Controller;
use super::handover::{self, Arrived, Handover};
use super::run::{Keeper, KeeperError};
use crate::core::ids::Incarnation;
use crate::sys::cgroup;

/// Goes on where the keeper that was this process has stopped; see [`handover::is_due`]. `binary` becomes shims and
/// controllers.
pub fn resume(binary: PathBuf) -> Result<u8, KeeperError> {
    let (handover, arrived) = handover::receive().map_err(KeeperError::TakeOver)?;
    let mut keeper = Keeper::resume(handover, arrived, binary)?;
    keeper.upgraded();
    // Whoever ended meanwhile is a child as before; its signal may have come to the keeper that was.
    keeper.reap();
    keeper.request_sweep(Duration::ZERO);
    keeper.run()
}

impl Keeper {
    fn resume(handover: Handover, mut arrived: Arrived, binary: PathBuf) -> Result<Self, KeeperError> {
        let take_over = KeeperError::TakeOver;
        let shim = Shim {
            binary: binary.clone(),
            open_files: handover.open_files,
            open_files_max: handover.open_files_max,
            records: handover.records,
            cgroup_base: cgroup::base(),
        };
        let arguments = handover.controller_argv;
        let controller =
            Controller::unpack(handover.controller, binary, arguments, &mut arrived).map_err(take_over)?;
        let mut keeper = Self::set_up(shim, controller, &handover.caught_signals)?;
        keeper.children =
            handover::unpack_children(handover.children, handover.last_incarnation, &mut arrived)
                .map_err(take_over)?;
        for (key, place) in handover.kept {
            keeper.kept.insert(key, Arc::new(arrived.take(place).map_err(take_over)?));
        }
        keeper.path = handover.path;
        keeper.preflight_argv = handover.preflight_argv;
        keeper.started_at = handover.started_at;
        keeper.predecessors = handover.predecessors;
        keeper.has_said_unrecorded = handover.has_said_unrecorded;
        keeper.waiting_signals = handover.waiting_signals;
        keeper.upgrade = Some(handover.upgrade);
        keeper.watch_all().map_err(take_over)?;
        Ok(keeper)
    }

    /// Watches everything that tells something.
    fn watch_all(&self) -> io::Result<()> {
        if let Some(socket) = self.controller.socket() {
            self.watch(socket)?;
        }
        let spawning: Vec<(Incarnation, i32)> = self
            .children
            .iter()
            .filter_map(|(incarnation, child)| match &child.phase {
                Phase::Spawning { report, .. } => Some((*incarnation, report.as_raw_fd())),
                Phase::Running { .. } | Phase::CouldNotSpawn { .. } | Phase::Exited { .. } => None,
            })
            .collect();
        for (incarnation, report) in spawning {
            self.watch_report(incarnation, report);
        }
        for (incarnation, child) in self.children.iter() {
            if let Some(process) = child.adopted.as_ref().and_then(|adopted| adopted.process.as_ref()) {
                self.watch_adopted(*incarnation, process);
            }
        }
        Ok(())
    }
}
