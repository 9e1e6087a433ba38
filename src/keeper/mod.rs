//! The parent of all processes. It knows no program, only incarnations; it spawns, signals, reaps, and holds pipes and
//! sockets for a controller that may be replaced at any moment. It must never block and never decide.

pub mod protocol;
