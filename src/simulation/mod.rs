//! A virtual world around the scaling engine: a queue, its consumers and a supervisor in virtual time.
//!
//! The engine in here is the one that the daemon runs. The same seed gives the same run to the last digit, so a run that
//! breaks a rule can be repeated. Nothing here reads a clock, sleeps, or touches a file.
//!
//! The model is simple on purpose: one queue, first in, first out; a consumer takes one message at a time (prefetch 1);
//! a consumer that is asked to end finishes the message it has; the broker answers at once and correctly, except where
//! a fault says otherwise.

pub mod report;
pub mod workload;
pub mod world;

#[cfg(test)]
mod machine;
#[cfg(test)]
mod tests;
