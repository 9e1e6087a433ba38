//! What should be, what is, and what to do about it, as values. No clock, no file, no socket, no thread, no log:
//! time and seeds come in as arguments, and maps are ordered, so that the same input gives the same output.
//!
//! Facts ([`event::Fact`]) and edits ([`event::Edit`]) go into the [`machine::Machine`]; [`plan::plan`] is the only source of
//! commands ([`command::Command`]).

pub mod auxiliary;
#[cfg(test)]
mod behaviour;
pub mod budget;
pub mod check;
pub mod command;
pub mod configure;
pub mod deaths;
pub mod dependency;
pub mod desired;
pub mod difference;
pub mod edit;
pub mod event;
pub mod exit;
pub mod floors;
pub mod gap;
pub mod hooks;
pub mod ids;
pub mod learned;
pub mod lifecycle;
pub mod machine;
pub mod memory;
pub mod memory_left;
pub mod observed;
pub mod pattern;
pub mod plan;
pub mod random;
pub mod readiness;
pub mod recycle;
pub mod restart;
pub mod rollout;
pub mod runs;
#[cfg(test)]
pub(crate) mod scenario;
pub mod schedule;
pub mod secret;
pub mod share;
pub mod slots;
pub mod spec;
pub mod time;
pub mod words;
pub mod world;
