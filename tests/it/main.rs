//! Leveret from the outside: real processes, a real broker, a real browser.

#[cfg(test)]
mod keeper;
