//! Leveret from the outside: real processes, a real broker, a real browser.

mod harness;
mod support;
