//! What the tests stand on: a private RabbitMQ node, the daemon under test, publishers, consumers, and ways to wait and to look.
//!
//! Nothing here ever waits for a guess of time, uses a port that it did not ask the system for, or outlives the test
//! process: see [`run`].

pub(crate) mod certificate;
pub(crate) mod command;
pub(crate) mod consumer;
pub(crate) mod daemon;
pub(crate) mod http;
pub(crate) mod ledger;
pub(crate) mod port;
pub(crate) mod printers;
pub(crate) mod proc;
pub(crate) mod publish;
pub(crate) mod rabbit;
pub(crate) mod report;
pub(crate) mod run;
pub(crate) mod scaled;
pub(crate) mod status;
pub(crate) mod wait;
pub(crate) mod wrapped;
