//! A queue and its consumers in virtual time, or several whose consumers share a budget.
//!
//! The model: first in, first out. A consumer fetches up to `prefetch` messages, which wait in its hand where nobody else
//! can have them, and works on one at a time. The broker gives messages to consumers with room in turn. A consumer
//! that is asked to end finishes the message that it has begun and gives the others back to the head of the queue. The
//! broker answers correctly, except where a fault says otherwise; its management figures are a few seconds old.
//!
//! A message's wait ends when a consumer begins to work on it, not when it is fetched.

mod consumers;
mod record;
mod scenario;
mod shared;
mod world;

pub use consumers::Consumers;
pub use record::{Moment, Run};
pub use scenario::{Fault, FaultKind, Scenario};
pub use shared::run_all;
pub use world::run;
