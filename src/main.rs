//! The `leveret` binary: parse, dispatch, exit code.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use leveret::cli::{self, Daemon, Exit, Internal};
use leveret::config::settings::Settings;
use leveret::{config, controller, keeper};

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    // Before anything else: a shim must become its program as fast as it can.
    match words.next().as_deref().and_then(Internal::of) {
        Some(Internal::Shim) => keeper::shim::run(),
        Some(Internal::Controller) => controller(words),
        Some(Internal::DemoConsumer) => cli::demo_consumer(words),
        None => cli::dispatch(
            std::env::args_os(),
            &Daemon { run, demo: cli::demo, load_config, schema: config::schema },
        ),
    }
}

/// Becomes the keeper.
fn run(configuration: PathBuf) -> ExitCode {
    let controller = [Internal::Controller.argument().into(), configuration.into_os_string()];
    let options = keeper::KeeperOptions {
        controller_argv: controller.to_vec(),
        binary: PathBuf::from("/proc/self/exe"),
        controller: PathBuf::from("/proc/self/exe"),
    };
    match keeper::run(options) {
        Ok(code) => ExitCode::from(code),
        Err(error) => failed(&error),
    }
}

/// Becomes a controller of the keeper that started it.
fn controller(mut words: impl Iterator<Item = OsString>) -> ExitCode {
    let Some(file) = words.next() else {
        return failed(&io::Error::other("the controller is started by `leveret run`, not by hand"));
    };
    controller::start::log_to_stderr();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    match runtime.block_on(controller::start::run(PathBuf::from(file))) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            // There is nowhere left to say that stderr is closed.
            drop(controller::start::print(&error));
            ExitCode::from(error.exit_code())
        }
    }
}

fn load_config(file: &Path, colour: bool) -> Result<Settings, String> {
    let environment: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    config::load(file, &environment).map_err(|problems| problems.render(colour))
}

fn failed(error: &dyn std::error::Error) -> ExitCode {
    let mut text = format!("leveret: {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    // There is nowhere left to say that stderr is closed.
    drop(writeln!(io::stderr(), "{text}"));
    Exit::Failed.into()
}
