//! The `leveret` binary: parse, dispatch, exit code.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use leveret::cli::{self, Daemon, Exit, Internal, RunOptions};
use leveret::config::settings::Settings;
use leveret::sys::cause::plain;
use leveret::{config, controller, keeper, sys};

/// What runs, wherever it was started from and whatever is there now.
const THIS_BINARY: &str = "/proc/self/exe";

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    // Before anything else: a shim must become its program as fast as it can.
    let internal = words.next().as_deref().and_then(Internal::of);
    if internal.is_none() && keeper::is_handover_due() {
        return resume();
    }
    match internal {
        Some(Internal::Shim) => keeper::shim::run(),
        Some(Internal::Controller) => controller(words),
        Some(Internal::Preflight) => preflight(words),
        Some(Internal::DemoConsumer) => cli::demo_consumer(words),
        None => cli::dispatch(
            std::env::args_os(),
            &Daemon { run, demo: cli::demo, load_config, schema: config::schema },
        ),
    }
}

/// Becomes the keeper.
fn run(options: RunOptions) -> ExitCode {
    let RunOptions { configuration, pid_file, is_detached } = options;
    if is_detached && let Err(error) = rustix::process::setsid() {
        return failed(&io::Error::from(error));
    }
    if let Some(path) = &pid_file
        && let Err(error) = sys::pid_file::write(path, std::process::id())
    {
        let text = format!("cannot write {}: {error}", path.display());
        return failed(&io::Error::new(error.kind(), text));
    }
    let role = |internal: Internal| vec![internal.argument().into(), configuration.clone().into_os_string()];
    let options = keeper::KeeperOptions {
        controller_argv: role(Internal::Controller),
        binary: THIS_BINARY.into(),
        controller: THIS_BINARY.into(),
        path: sys::binary::own_path(),
        preflight_argv: role(Internal::Preflight),
    };
    kept(keeper::run(options), pid_file.as_deref())
}

/// Goes on as the keeper that an earlier version was in this process.
fn resume() -> ExitCode {
    // The arguments are those of the keeper before.
    kept(keeper::resume(THIS_BINARY.into()), cli::pid_file(std::env::args_os()).as_deref())
}

fn kept(ended: Result<u8, keeper::KeeperError>, pid_file: Option<&Path>) -> ExitCode {
    let removed = pid_file.map_or(Ok(()), |path| sys::pid_file::remove(path, std::process::id()));
    if let Err(error) = removed {
        // There is nowhere left to say that stderr is closed.
        drop(writeln!(io::stderr(), "leveret: cannot remove the pid file: {}", plain(error)));
    }
    match ended {
        Ok(code) => ExitCode::from(code),
        Err(error) => failed(&error),
    }
}

/// Says whether this binary can take over from the keeper whose state comes on standard input.
fn preflight(mut words: impl Iterator<Item = OsString>) -> ExitCode {
    let Some(file) = words.next() else {
        return failed(&io::Error::other("this is a part of `leveret upgrade`"));
    };
    let verdict = controller::preflight::verdict(Path::new(&file));
    let text = serde_json::to_string(&verdict).expect("texts and numbers are always JSON");
    match writeln!(io::stdout(), "{text}") {
        Ok(()) => Exit::Done.into(),
        Err(error) => failed(&error),
    }
}

/// Becomes a controller of the keeper that started it.
fn controller(mut words: impl Iterator<Item = OsString>) -> ExitCode {
    let Some(file) = words.next() else {
        return failed(&io::Error::other("the controller is started by `leveret run`, not by hand"));
    };
    controller::start::log_to_stderr();
    // Longer than from one reading of usage to the next: a thread for what may wait is always there, so that work goes on
    // where the system gives no further one.
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .thread_keep_alive(std::time::Duration::from_secs(120))
        .build()
    {
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
    drop(writeln!(io::stderr(), "{}", plain(text)));
    Exit::Failed.into()
}
