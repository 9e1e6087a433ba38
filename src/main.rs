//! The `leveret` binary: parse, dispatch, exit code.

use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use leveret::cli::{self, Daemon, DemoArgs, Exit, Internal, RunArgs};
use leveret::config::settings::Settings;

fn main() -> ExitCode {
    // Before anything else: a shim must become its program as fast as it can.
    match std::env::args_os().nth(1).as_deref().and_then(Internal::of) {
        Some(role @ (Internal::Shim | Internal::Controller | Internal::DemoConsumer)) => {
            absent(role.argument())
        }
        None => cli::dispatch(std::env::args_os(), &Daemon { run, demo, load_config, schema }),
    }
}

fn run(_: RunArgs) -> ExitCode {
    absent("run")
}

fn demo(_: DemoArgs) -> ExitCode {
    absent("demo")
}

fn load_config(file: &Path, _: bool) -> Result<Settings, String> {
    Err(format!("this build of Leveret cannot read {}: it is the client alone", file.display()))
}

fn schema() -> String {
    "{}".to_owned()
}

/// This build has the client and not the daemon.
fn absent(what: &str) -> ExitCode {
    // There is nowhere left to say that stderr is closed.
    drop(writeln!(io::stderr(), "error: this build of Leveret is the client alone and has no {what}"));
    Exit::Failed.into()
}
