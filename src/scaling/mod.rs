//! How many consumers a queue needs. Pure: it knows no processes beyond counts, and no clock.

pub mod decision;
pub mod input;
