//! Output: from each process's named pipe into its file, and from there to whoever reads.
//!
//! [`Pump`] moves, [`tail`] reads what has been moved. A byte is in the pipe or in the file, and a controller that
//! is killed at any moment leaves nothing that the next one would have to know: where to go on is read from the
//! file itself. Nothing here may wait for a process, for a reader or for a slow terminal, or grow with what a
//! process prints.

mod awaited;
mod compress;
mod dress;
mod file;
mod lines;
mod plumbing;
mod pump;
mod reason;
mod refusals;
mod remarks;
mod rotate;
pub mod source;
mod stdout;
mod stream;
pub mod tail;
mod waiting;

pub use pump::Pump;

#[cfg(test)]
mod kill_tests;
#[cfg(test)]
mod pump_tests;
#[cfg(test)]
mod testing;
