//! Leveret from the outside: real processes, a real broker, a real browser.

mod broker_outage;
mod broker_queues;
mod broker_tls;
mod cli;
mod harness;
#[cfg(test)]
mod keeper;
mod scaling_burst;
mod scaling_hold;
mod scaling_in;
mod support;
