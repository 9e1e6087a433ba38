//! Linux facts without policy: clocks, `/proc`, locks.

pub mod clock;
