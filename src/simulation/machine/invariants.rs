//! The rules, each as a function with a sentence for whoever breaks it.

mod commands;
mod decisions;
mod errands;
mod looks;
mod memory;
mod occasions;
mod preparations;
mod recycling;
mod rollouts;
mod steps;

pub(super) use self::commands::command;
pub(super) use self::decisions::decisions;
pub(super) use self::memory::{Remembered, kept_over_daemon_restart, wishes};
pub(super) use self::occasions::{converged, equal_configuration, finished};
pub(super) use self::steps::after_step;
