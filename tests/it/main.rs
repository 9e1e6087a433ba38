//! Leveret from the outside: real processes, a real broker, a real browser.

mod cli;
mod harness;
#[cfg(test)]
mod keeper;
mod support;
