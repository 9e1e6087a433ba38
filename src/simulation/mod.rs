//! Virtual worlds: queues, consumers and supervisors in virtual time.
//!
//! [`queue`] is a world of one queue whose number of consumers is decided by a [`policy`]: the engine of the daemon
//! ([`own`]) or a re-implementation of another autoscaler's published rules ([`rivals`]). [`comparison`] runs several of
//! them over the same [`workload`]s, which are built in ([`builtin`]) or read from a file ([`csv`]); [`advice`] tries settings
//! on one of them.
//!
//! The engine in here is the one that the daemon runs. The same seed gives the same run to the last digit, so a run that
//! breaks a rule can be repeated. Nothing here reads a clock, sleeps, or touches a file.

pub mod advice;
pub mod builtin;
pub mod catalogue;
pub mod comparison;
pub mod csv;
pub mod journal;
pub mod own;
pub mod policy;
pub mod queue;
pub mod report;
pub mod rivals;
pub mod statistics;
pub mod workload;

#[cfg(test)]
mod machine;
#[cfg(test)]
mod several;
#[cfg(test)]
mod tests;
