//! From the words of the command line to an exit code.

use std::ffi::OsString;
use std::io::{self, BufWriter, IsTerminal as _};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::Daemon;
use super::address::Surroundings;
use super::arguments::{Arguments, CheckArgs, ClientCommand, Command};
use super::ask::ask;
use super::console::{Colour, Console, Style};
use super::detach::detach;
use super::exit::Exit;
use super::failure::Failure;
use super::live;
use super::observe::observe;
use super::simulate::simulate;
use crate::config::{self, settings::Settings};
use crate::core::words;

/// Reads the command line (the program's own name first), does what it says, and gives the exit code.
pub fn dispatch(words: impl IntoIterator<Item = OsString>, daemon: &Daemon) -> ExitCode {
    let surroundings = Surroundings::of_this_process();
    let style = Style::of_stdout(&surroundings);
    let (stdout, stderr) = (io::stdout(), io::stderr());
    let live = stderr.is_terminal();
    // Without a reader there is nothing to watch; then a failing write is how its absence is noticed.
    let reader = stdout.as_fd().try_clone_to_owned().ok();
    let (mut out, mut err) = (BufWriter::new(stdout.lock()), stderr);
    let mut console = Console { out: &mut out, err: &mut err, style, live, reader };
    let command = match Arguments::read(words) {
        Ok(arguments) => arguments.command,
        Err(error) => return usage(&error, &surroundings, &mut console).into(),
    };
    match command {
        Command::Run(arguments) => {
            let file = match arguments.config.clone() {
                Some(file) => Ok(file),
                None => default_file("leveret run -c FILE").inspect(|file| {
                    console.note(format_args!("the configuration is {}", file.display()));
                }),
            };
            match file {
                Ok(file) if arguments.detach => {
                    let outcome = detach(&arguments, &file, daemon.load_config, &mut console);
                    conclude(outcome, &surroundings, &mut console).into()
                }
                Ok(file) => {
                    drop(out);
                    (daemon.run)(arguments.options(file))
                }
                Err(failure) => conclude(Err(failure), &surroundings, &mut console).into(),
            }
        }
        Command::Demo(arguments) => {
            drop(out);
            (daemon.demo)(arguments)
        }
        Command::Check(arguments) => {
            check(&arguments, daemon.load_config, &surroundings, &mut console).into()
        }
        Command::Observe(arguments) => {
            let outcome = observe(&arguments, &surroundings, &mut console);
            conclude(outcome, &surroundings, &mut console).into()
        }
        Command::Simulate(arguments) => {
            let outcome = simulate(&arguments, &mut console);
            conclude(outcome, &surroundings, &mut console).into()
        }
        Command::Schema => {
            let said = console.say((daemon.schema)().trim_end());
            conclude(said.map(|()| Exit::Done), &surroundings, &mut console).into()
        }
        Command::Client(command) => {
            on_a_runtime(command, &surroundings, daemon.load_config, &mut console).into()
        }
    }
}

impl Surroundings {
    fn of_this_process() -> Self {
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self { environment, is_root: rustix::process::geteuid().is_root() }
    }
}

/// Wrong usage, or a help text that was asked for.
fn usage(error: &clap::Error, surroundings: &Surroundings, console: &mut Console<'_>) -> Exit {
    let text = error.render();
    if error.use_stderr() {
        let is_coloured = console.live && surroundings.allows_colour();
        // There is nowhere left to say that stderr is closed.
        drop(if is_coloured {
            write!(console.err, "{}", text.ansi())
        } else {
            write!(console.err, "{text}")
        });
        return Exit::Usage;
    }
    let is_coloured = console.style.colour;
    let written =
        if is_coloured { write!(console.out, "{}", text.ansi()) } else { write!(console.out, "{text}") };
    let written = written.and_then(|()| console.out.flush());
    conclude(written.map(|()| Exit::Done).map_err(Failure::from), surroundings, console)
}

/// The configuration file where none is named.
fn default_file(usage: &'static str) -> Result<PathBuf, Failure> {
    config::default_file(usage).map_err(|error| Failure::Usage(error.to_string()))
}

fn check(
    arguments: &CheckArgs,
    load: impl Fn(&Path, bool) -> Result<Settings, String>,
    surroundings: &Surroundings,
    console: &mut Console<'_>,
) -> Exit {
    let is_coloured = console.live && surroundings.allows_colour();
    let file = match arguments.file.clone().map_or_else(|| default_file("leveret check FILE"), Ok) {
        Ok(file) => file,
        Err(failure) => return conclude(Err(failure), surroundings, console),
    };
    match load(&file, is_coloured) {
        Ok(settings) => {
            for warning in &settings.warnings {
                console.note(format_args!("warning: {warning}"));
            }
            if arguments.live {
                return conclude(live::check(&settings, &file, console), surroundings, console);
            }
            let count = words::count(settings.programs.len(), "program");
            let said = console.say(format_args!("{}: good, {count}", file.display()));
            conclude(said.map(|()| Exit::Done), surroundings, console)
        }
        Err(problems) => {
            console.note(problems.trim_end());
            Exit::Usage
        }
    }
}

fn on_a_runtime(
    command: ClientCommand,
    surroundings: &Surroundings,
    load: impl Fn(&Path, bool) -> Result<Settings, String>,
    console: &mut Console<'_>,
) -> Exit {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let failure = Failure::Failed(format!("cannot begin: {error}"));
            return conclude(Err(failure), surroundings, console);
        }
    };
    runtime.block_on(client_command(command, surroundings, load, console))
}

/// Runs a command that talks to Leveret.
pub(crate) async fn client_command(
    command: ClientCommand,
    surroundings: &Surroundings,
    load: impl Fn(&Path, bool) -> Result<Settings, String>,
    console: &mut Console<'_>,
) -> Exit {
    let outcome = ask(command, surroundings, load, console).await;
    conclude(outcome, surroundings, console)
}

/// Says what went wrong, and gives the exit code.
fn conclude(outcome: Result<Exit, Failure>, surroundings: &Surroundings, console: &mut Console<'_>) -> Exit {
    match outcome {
        Ok(exit) => exit,
        Err(failure) => {
            let exit = failure.exit();
            if exit != Exit::Done {
                let is_coloured = console.live && surroundings.allows_colour();
                let style = Style { colour: is_coloured, ..Style::default() };
                let text = failure.to_string();
                console.note(format_args!("{} {}", style.paint(Colour::Red, "error:"), text.trim_end()));
            }
            exit
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::fixture::{self, Answer, FakeServer};

    #[tokio::test]
    async fn every_command_exits_with_5_where_no_leveret_is() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("leveret.sock");
        for line in [
            "status",
            "stop a",
            "scale a 3",
            "wait a --ready",
            "logs a -f",
            "explain a",
            "reload",
            "shutdown",
        ] {
            let outcome = fixture::run(&socket, line).await;
            assert_eq!(outcome.exit, Exit::Unreachable, "{line}");
            assert_eq!(
                outcome.err,
                format!(
                    "error: cannot reach Leveret at {}: No such file or directory; \
                     is `leveret run` running, or did you mean -c FILE or --server URL?\n",
                    socket.display()
                ),
                "{line}"
            );
        }
    }

    #[tokio::test]
    async fn a_socket_that_nobody_listens_on_is_as_unreachable() {
        let server = FakeServer::of(fixture::snapshot());
        let socket = server.socket();
        let kept = tempfile::tempdir().unwrap();
        let stale = kept.path().join("stale.sock");
        std::fs::hard_link(&socket, &stale).unwrap();
        server.end().await;
        let outcome = fixture::run(&stale, "status").await;
        assert_eq!(outcome.exit, Exit::Unreachable);
        assert!(outcome.err.contains("Connection refused;"), "{}", outcome.err);
    }

    #[tokio::test]
    async fn what_is_not_leveret_is_told_apart() {
        let page = FakeServer::start(|_, _| Answer::Text(404, "<html>\x1b[2J nginx</html>".into()));
        let outcome = fixture::run(&page.socket(), "status").await;
        assert_eq!(outcome.exit, Exit::Unreachable);
        assert!(
            outcome.err.contains("does not answer as Leveret does: status 404 <html> [2J nginx"),
            "{}",
            outcome.err
        );
        let other = FakeServer::start(|_, _| Answer::Json(200, json!({"version": 3})));
        assert_eq!(fixture::run(&other.socket(), "status").await.exit, Exit::Unreachable);
    }

    #[test]
    fn check_exits_with_0_or_2() {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut console = Console::for_tests(&mut out, &mut err);
        let arguments = CheckArgs { live: false, file: Some("a.yaml".into()) };
        let good =
            check(&arguments, |_, _| Ok(fixture::settings("/run")), &Surroundings::default(), &mut console);
        let bad =
            check(&arguments, |_, _| Err("a.yaml:1: no\n".into()), &Surroundings::default(), &mut console);
        assert_eq!((good, bad), (Exit::Done, Exit::Usage));
        assert_eq!(String::from_utf8(out).unwrap(), "a.yaml: good, 0 programs\n");
        assert_eq!(String::from_utf8(err).unwrap(), "warning: a directory is missing\na.yaml:1: no\n");
    }

    #[test]
    fn help_goes_to_stdout_with_0_and_wrong_usage_to_stderr_with_2() {
        let ask = |line: &str| {
            let words = std::iter::once("leveret").chain(line.split_whitespace()).map(Into::into);
            let error = Arguments::read(words).unwrap_err();
            let (mut out, mut err) = (Vec::new(), Vec::new());
            let exit = usage(&error, &Surroundings::default(), &mut Console::for_tests(&mut out, &mut err));
            (exit, out.is_empty(), err.is_empty())
        };
        assert_eq!(ask("--help"), (Exit::Done, false, true));
        assert_eq!(ask("help logs"), (Exit::Done, false, true));
        assert_eq!(ask("--version"), (Exit::Done, false, true));
        assert_eq!(ask("nonsense"), (Exit::Usage, true, false));
        assert_eq!(ask(""), (Exit::Usage, true, false));
    }
}
