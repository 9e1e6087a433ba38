//! The one loop that owns the machine, and what stands around it: the executor, the snapshot, the clocks, the signals.

mod announce;
mod answer;
mod brokers;
mod control;
mod directories;
mod earlier;
mod ending;
pub(crate) mod executor;
pub mod handle;
mod hearing;
mod kept;
mod last_words;
mod leaving;
mod lives;
mod locks;
pub mod preflight;
mod reloading;
mod remembered;
mod rollout_view;
mod saver;
pub mod snapshot;
pub(crate) mod sockets;
pub mod start;
pub(crate) mod takeover;
mod telling;
mod usage;
mod view;
