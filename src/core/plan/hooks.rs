//! What is done about the hook that runs before a process is started.

use super::{Planner, process};
use crate::core::command::Command;
use crate::core::gap::Gap;
use crate::core::hooks::Preparation;
use crate::core::observed::{Life, StopCause};
use crate::core::world::Program;

impl Planner<'_> {
    /// A process whose hook runs: it is started once that has succeeded, and not waited for once it is not wanted any more.
    pub(super) fn preparing(
        &mut self,
        program: &Program,
        number: u32,
        life: &Life,
        preparation: &Preparation,
        stop_for: Option<StopCause>,
    ) {
        if preparation.has_succeeded {
            // What does not hold any more is forgotten as time passes, so that this is for the present alone.
            if stop_for.is_none() {
                self.begin(program, number);
            }
            return;
        }
        self.gap(program, Some(number), Gap::Prepares { until: preparation.deadline });
        let limit = if stop_for.is_some() { self.now } else { preparation.deadline };
        if self.is_due(preparation.killed_at, limit) {
            let (process, incarnation) = (process(program, number), life.incarnation);
            let is_cancelled = stop_for.is_some();
            self.plan.commands.push(Command::EndPreparation { process, incarnation, is_cancelled });
        }
    }
}
