//! Linux facts without policy: clocks, `/proc`, locks.

pub mod cause;
pub mod clock;
pub mod lock;
pub mod process;
pub mod zone;
