//! The parent of all processes. It knows no program, only incarnations; it spawns, signals, reaps, and holds pipes and
//! sockets for a controller that may be replaced at any moment. It must never block and never decide.
//!
//! To be read in this order: [`protocol`] (what is said), [`frame`] (how it travels), `run` (the loop), `succession` (one
//! controller after the other), `obey` (orders), `reap` (how starts went and how processes ended), `children` (the table
//! of incarnations), [`shim`] (from spawn to exec), `standby` (a shim ahead of need), `tree` (which processes belong to an
//! incarnation), `sweep` (what is done with trees), `records` (what is written down of lives), `adopt` (how the lives of a
//! killed keeper are taken over), `upgrade` (the way to another version), `preflight` (whether it can be gone), `handover`
//! and `resume` (from one keeper to the next in the same process), `notify` (words to a service manager), `last_resort` (the end without a controller), `signals`,
//! `say`, `controller` (the keeper's view of its controller) and [`link`] (the controller's view of its keeper).

mod adopt;
mod children;
mod controller;
pub mod frame;
mod handover;
mod last_resort;
pub mod link;
mod notify;
mod obey;
mod preflight;
pub mod protocol;
mod reap;
mod records;
mod resume;
mod run;
mod say;
pub mod shim;
mod signals;
mod standby;
mod succession;
mod sweep;
mod tree;
mod upgrade;

pub use handover::{VARIABLE as HANDOVER_VARIABLE, is_due as is_handover_due};
pub use preflight::Verdict;
pub use resume::resume;
pub use run::{KeeperError, KeeperOptions, run};
