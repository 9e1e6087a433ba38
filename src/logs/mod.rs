//! Output: from each process's named pipe into its file, and from there to whoever reads.

pub mod source;
