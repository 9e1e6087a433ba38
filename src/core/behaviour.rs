//! What the machine does, told as scenes.

mod brokers;
mod budgets;
mod checks;
mod dependencies;
mod endings;
mod errands;
mod hooks;
mod lives;
mod readiness;
mod recycling;
mod reloads;
mod rollouts;
mod scaling;
mod schedules;
mod succession;
mod wishes;

use super::event::Edit;
use super::ids::ProgramName;
use super::scenario::Scenario;

fn set_engine_target(scene: &mut Scenario, program: &str, target: u32) {
    // A hold is the operator's way to the same count; the engine itself has tests of its own.
    scene.edit(Edit::Scale(ProgramName::new(program).unwrap(), target, None)).unwrap();
}
