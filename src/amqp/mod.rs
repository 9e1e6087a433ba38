//! Reads queues: one connection per broker that never publishes, passive declares only; and, where it is configured, the
//! broker's management API or the metrics that it exports. No policy.
//!
//! [`probe::Probe`] is the door to the first, [`management::Management`] and [`metrics::Metrics`] to the second. They tell what they find as
//! [`fact::Fact`]s, among them every failure, and never give up. lapin logs at error level whatever its caller does about
//! an error, and its trace level shows logins: a subscriber must switch the target `lapin` off.

mod address;
mod backoff;
mod dial;
pub mod fact;
mod http;
mod ledger;
pub mod management;
pub mod metrics;
pub mod probe;
mod quarantine;
mod reader;
mod refusal;
mod rounds;
pub mod survey;
mod watch;

pub(crate) use dial::{Dial, DialError, Link};

#[cfg(test)]
mod tests;
