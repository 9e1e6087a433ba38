//! Reading what the pump has written: the last lines of a file, and the lines that come after a position.
//!
//! Readers look at files only and never at the pump, so that a reader who is slow or gone costs nobody anything.
//! What is read at once is bounded, whatever is in the file.

mod follow;
mod last;
mod position;

pub use follow::{Follower, Gap};
pub use last::{LINES_MAX, Tail, last_lines};
pub use position::{Line, Position, PositionError};

#[cfg(test)]
mod tests;
