//! What should be, what is, and what to do about it, as values. No clock, no file, no socket, no thread, no log:
//! time and seeds come in as arguments, and maps are ordered, so that the same input gives the same output.

pub mod exit;
pub mod ids;
pub mod secret;
pub mod spec;
pub mod time;
