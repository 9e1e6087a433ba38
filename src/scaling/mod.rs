//! How many consumers a queue needs. Pure: it knows no processes beyond counts, and no clock.
//!
//! The broker tells two numbers over AMQP, messages *ready* and *consumers*, and neither how many messages arrive nor
//! how long one takes. The engine infers both ([`estimate`], [`service`]), or is told more and need not (`flow`), computes the number that keeps the goal
//! ([`erlang`], `need`), goes up to it at once, and comes down only after a window without need (`policy`).
//! Every outcome carries one sentence (`reason`). [`engine`] ties them together.
//!
//! Terms, in seconds and messages per second: `T` the goal, `S` the work per message, `L` the start-up of a consumer,
//! `R` messages ready, `c` consumers, `a = arrivals x S` the offered load, that is, how many are busy on average.

pub mod budget;
pub mod decision;
mod delayed;
mod effect;
pub mod engine;
pub mod erlang;
pub mod estimate;
mod flow;
pub mod hands;
pub mod input;
mod need;
mod policy;
mod polling;
pub mod profile;
mod rate;
mod reason;
pub mod service;
mod several;
mod silence;
mod stuck;
mod track;
mod window;

pub use engine::Engine;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_of_hands;
#[cfg(test)]
mod tests_of_several;
