//! The `leveret` binary: parse, dispatch, exit code.

use std::process::ExitCode;

use leveret::keeper::shim;

fn main() -> ExitCode {
    // Before anything else: a shim must be fast, and it is started for every process.
    if std::env::args_os().nth(1).is_some_and(|argument| argument == shim::ARGUMENT) {
        return shim::run();
    }
    ExitCode::SUCCESS
}
