//! What `leveret demo` and the tests need to have something to scale: a broker, a producer and consumers.
//! Nothing here is used while Leveret does its work, and nothing here may be offered for production.

pub mod broker;
pub mod consumer;
pub mod producer;
