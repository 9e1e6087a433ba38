//! Leveret from the outside: real processes, a real broker, a real browser.

mod cli;
mod harness;
mod keeper;
mod scaling_burst;
mod scaling_hold;
mod scaling_in;
mod support;
