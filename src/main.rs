//! The `leveret` binary: parse, dispatch, exit code.

fn main() {}
