//! Leveret keeps programs running and scales queue consumers by itself.
//!
//! The rules of the house:
//! - Actions change only what is desired. One function plans; one loop owns the state.
//! - [`core`] and [`scaling`] are values: no clock, no file, no socket, no thread, no log.
//! - [`keeper`] is the parent of all processes and the single authority on which of them exist.
//! - `keeper`, [`sys`], [`amqp`], [`logs`] and [`store`] import values only; [`controller`] ties them together;
//!   [`http`], [`metrics`] and [`cli`] read snapshots and send edits.

pub mod amqp;
pub mod cli;
pub mod config;
pub mod controller;
pub mod core;
pub mod demo;
#[cfg(test)]
mod formats;
pub mod http;
pub mod keeper;
pub mod logs;
pub mod metrics;
pub mod scaling;
pub mod simulation;
pub mod store;
pub mod sys;
