//! The parent of all processes. It knows no program, only incarnations; it spawns, signals, reaps, and holds pipes and
//! sockets for a controller that may be replaced at any moment. It must never block and never decide.
//!
//! To be read in this order: [`protocol`] (what is said), [`frame`] (how it travels), `run` (the loop), `children` (the
//! table of incarnations), [`shim`] (from spawn to exec), `standby` (a shim ahead of need), `tree` (which processes belong to an incarnation), `sweep` (what
//! is done with trees), `records` (what is written down of lives), `adopt` (how the lives of a killed keeper are taken
//! over), `signals`, `controller` (the keeper's view of its controller) and [`link`] (the controller's view
//! of its keeper).

mod adopt;
mod children;
mod controller;
pub mod frame;
pub mod link;
pub mod protocol;
mod records;
mod run;
pub mod shim;
mod signals;
mod standby;
mod sweep;
mod tree;

pub use run::{KeeperError, KeeperOptions, run};
