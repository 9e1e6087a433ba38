//! The configuration file: the only place that knows YAML. From the file as written to validated values.
//!
//! A file goes through these hands: `source` reads it, `tree` parses it into values that know their places,
//! `secrets` finds what must not be shown, `interpolation` expands `${NAME}`, `check` compares the tree with the schema
//! of `raw` and leaves what deserializes, and `load`, `broker` and `program` make settings of that. Everyone adds to
//! one list of problems and nobody stops at the first.

mod broker;
mod budgets;
mod check;
mod dependencies;
mod directories;
mod document;
pub mod durations;
mod endpoint;
mod extends;
mod hooks;
mod include;
mod interpolation;
mod leaves;
mod load;
mod looks;
mod machine;
#[cfg(test)]
mod manual;
mod problem;
mod program;
mod raw;
mod ready;
mod scale;
mod schedule;
mod schema;
mod secrets;
pub mod settings;
mod source;
mod suggestion;
#[cfg(test)]
mod tests;
mod tree;

pub(crate) use broker::encode as encode_in_address;
pub use directories::{NoFile, default_file};
pub use endpoint::management_address;
pub use load::load;
pub use problem::{Excerpt, Problem, Problems};
pub use schema::schema;
pub(crate) use secrets::in_addresses as passwords_in_addresses;
