//! The configuration file: the only place that knows YAML. From the file as written to validated values.

pub mod settings;
