//! The one loop that owns the machine, and what stands around it: the executor, the snapshot, the clocks, the signals.

pub mod handle;
pub mod snapshot;
