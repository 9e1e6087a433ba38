//! What outlives a controller and Leveret itself: what people set, what the engine learned, and the journal of decisions.
//! Files are replaced whole, never edited in place, and carry a version.

pub mod journal;
pub mod state;
