//! Reads queues: one connection per broker that never publishes, passive declares only. No policy.

pub mod fact;
