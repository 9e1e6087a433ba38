//! What a person types. Every command but those that are the daemon itself reads snapshots and sends edits over the
//! HTTP API; nothing here decides anything, and nothing here may touch a process or a file of the daemon's.

mod act;
mod address;
mod arguments;
mod client;
mod console;
mod demo;
mod exit;
mod explain;
mod failure;
#[cfg(test)]
mod fixture;
mod line;
mod logs;
mod patience;
mod progress;
mod reload;
mod select;
mod sse;
mod status;
mod table;
mod text;
mod wait;
mod watch;

use std::ffi::{OsStr, OsString};
use std::io::{self, BufWriter, IsTerminal as _};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::ExitCode;

use serde_json::json;

pub use self::arguments::{DemoArgs, RunArgs};
pub use self::demo::{demo, demo_consumer};
pub use self::exit::Exit;

use self::address::{Address, Surroundings};
use self::arguments::{Arguments, CheckArgs, ClientCommand, Command, ConnectionArgs};
use self::client::Client;
use self::console::{Colour, Console, Style};
use self::failure::Failure;
use self::progress::Verb;
use crate::config::settings::Settings;
use crate::core::ids::Target;

/// What the binary can be beside a client, as functions, so that this room needs none of the others.
#[derive(Clone, Copy, Debug)]
pub struct Daemon {
    /// `leveret run`: the keeper.
    pub run: fn(RunArgs) -> ExitCode,
    /// `leveret demo`.
    pub demo: fn(DemoArgs) -> ExitCode,
    /// Reads a configuration file. The error is every mistake in it, rendered for a person, in colour if told so.
    pub load_config: fn(&Path, bool) -> Result<Settings, String>,
    /// The JSON schema of the configuration file.
    pub schema: fn() -> String,
}

/// A role that Leveret gives to a process that it starts itself. No person types these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Internal {
    /// Sets up a process as ordered and becomes the program.
    Shim,
    /// All of the daemon but the keeper.
    Controller,
    /// A consumer of the demo.
    DemoConsumer,
}

impl Internal {
    /// The first argument that means this role.
    pub fn argument(self) -> &'static str {
        match self {
            Self::Shim => "__exec",
            Self::Controller => "__controller",
            Self::DemoConsumer => "__demo-consumer",
        }
    }

    /// The role that `argument` means. Cheap: the shim asks this before anything else.
    pub fn of(argument: &OsStr) -> Option<Self> {
        [Self::Shim, Self::Controller, Self::DemoConsumer]
            .into_iter()
            .find(|internal| argument == internal.argument())
    }
}

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
            drop(out);
            (daemon.run)(arguments)
        }
        Command::Demo(arguments) => {
            drop(out);
            (daemon.demo)(arguments)
        }
        Command::Check(arguments) => {
            check(&arguments, daemon.load_config, &surroundings, &mut console).into()
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

fn check(
    arguments: &CheckArgs,
    load: impl Fn(&Path, bool) -> Result<Settings, String>,
    surroundings: &Surroundings,
    console: &mut Console<'_>,
) -> Exit {
    let is_coloured = console.live && surroundings.allows_colour();
    match load(&arguments.file, is_coloured) {
        Ok(settings) => {
            for warning in &settings.warnings {
                console.note(format_args!("warning: {warning}"));
            }
            let programs = settings.programs.len();
            let count = if programs == 1 { "1 program".to_owned() } else { format!("{programs} programs") };
            let said = console.say(format_args!("{}: good, {count}", arguments.file.display()));
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
async fn client_command(
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

async fn ask(
    command: ClientCommand,
    surroundings: &Surroundings,
    load: impl Fn(&Path, bool) -> Result<Settings, String>,
    console: &mut Console<'_>,
) -> Result<Exit, Failure> {
    let find = async |connection: &ConnectionArgs| find(connection, surroundings, &load).await;
    match command {
        ClientCommand::Status(arguments) => {
            let client = find(&arguments.connection).await?;
            status::status(&arguments, &client, surroundings, console).await
        }
        ClientCommand::Start(arguments) => {
            act::act(Verb::Start, &arguments, &find(&arguments.connection).await?, console).await
        }
        ClientCommand::Stop(arguments) => {
            act::act(Verb::Stop, &arguments, &find(&arguments.connection).await?, console).await
        }
        ClientCommand::Restart(arguments) => {
            act::act(Verb::Restart, &arguments, &find(&arguments.connection).await?, console).await
        }
        ClientCommand::Copy(arguments) => {
            act::act(Verb::Copy, &arguments, &find(&arguments.connection).await?, console).await
        }
        ClientCommand::Signal(arguments) => {
            let body = json!({"signal": arguments.signal});
            let client = find(&arguments.connection).await?;
            act::post(&arguments.name, "signal", Some(&body), &client, console).await
        }
        ClientCommand::Pause(arguments) => {
            let target = no_process(&arguments.name, "pause")?;
            act::post(target, "pause", None, &find(&arguments.connection).await?, console).await
        }
        ClientCommand::Resume(arguments) => {
            let target = no_process(&arguments.name, "resume")?;
            act::post(target, "resume", None, &find(&arguments.connection).await?, console).await
        }
        ClientCommand::Auto(arguments) => {
            let target = no_process(&arguments.name, "auto")?;
            act::post(target, "auto", None, &find(&arguments.connection).await?, console).await
        }
        ClientCommand::Scale(arguments) => {
            let hold = arguments.hold.map(|hold| format!("{}s", hold.as_secs_f64().ceil()));
            let body = match hold {
                Some(hold) => json!({"processes": arguments.processes, "for": hold}),
                None => json!({"processes": arguments.processes}),
            };
            let client = find(&arguments.connection).await?;
            act::post(&Target::Program(arguments.name), "scale", Some(&body), &client, console).await
        }
        ClientCommand::Wait(arguments) => {
            wait::wait(&arguments, &find(&arguments.connection).await?, console).await
        }
        ClientCommand::Logs(arguments) => {
            logs::logs(&arguments, &find(&arguments.connection).await?, console).await
        }
        ClientCommand::Explain(arguments) => {
            explain::explain(&arguments, &find(&arguments.connection).await?, console).await
        }
        ClientCommand::Reload(connection) => reload::reload(&find(&connection).await?, console).await,
        ClientCommand::Shutdown(arguments) => {
            wait::shutdown(&arguments, &find(&arguments.connection).await?, console).await
        }
    }
}

fn no_process<'a>(target: &'a Target, command: &str) -> Result<&'a Target, Failure> {
    match target {
        Target::Process(process) => {
            Err(Failure::Usage(format!("{command} takes a program; did you mean {}?", process.program)))
        }
        Target::All | Target::Project(_) | Target::Program(_) => Ok(target),
    }
}

/// The Leveret that the user means.
async fn find(
    connection: &ConnectionArgs,
    surroundings: &Surroundings,
    load: impl Fn(&Path, bool) -> Result<Settings, String>,
) -> Result<Client, Failure> {
    if let Some(server) = &connection.server {
        return Ok(Client::new(Address::parse(server)?));
    }
    if let Some(file) = &connection.config {
        let settings = load(file, false).map_err(Failure::Usage)?;
        return Ok(Client::new(Address::Unix(settings.runtime_dir.join(address::SOCKET))));
    }
    if let Some(server) = surroundings.server() {
        return Ok(Client::new(Address::parse(server)?));
    }
    Client::first_of(surroundings.sockets(Path::exists)).await.ok_or_else(|| {
        Failure::Usage(
            "there is no place to look for Leveret's socket; say where it is by --server".to_owned(),
        )
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::cli::fixture::{Answer, FakeServer};

    #[test]
    fn the_internal_roles_are_told_by_the_first_argument() {
        for internal in [Internal::Shim, Internal::Controller, Internal::DemoConsumer] {
            assert_eq!(Internal::of(OsStr::new(internal.argument())), Some(internal));
        }
        assert_eq!(Internal::of(OsStr::new("run")), None);
    }

    #[tokio::test]
    async fn orders_that_are_not_waited_for_are_posted_where_they_belong() {
        let server = FakeServer::of(fixture::snapshot());
        let cases = [
            ("signal orders:1 hup", "processes/orders:1/signal", json!({"signal": "HUP"})),
            ("signal @shop USR1", "projects/shop/signal", json!({"signal": "USR1"})),
            ("pause", "all/pause", serde_json::Value::Null),
            ("pause @shop", "projects/shop/pause", serde_json::Value::Null),
            ("resume orders", "programs/orders/resume", serde_json::Value::Null),
            ("auto orders", "programs/orders/auto", serde_json::Value::Null),
            ("auto all", "all/auto", serde_json::Value::Null),
            ("scale orders 5", "programs/orders/scale", json!({"processes": 5})),
            ("scale orders 5 --for 30m", "programs/orders/scale", json!({"processes": 5, "for": "1800s"})),
        ];
        for (line, path, body) in cases {
            let outcome = fixture::run(&server.socket(), line).await;
            assert_eq!(outcome.exit, Exit::Done, "{line}");
            let seen = server.seen().pop().unwrap();
            assert_eq!((seen.line, seen.body), (format!("POST /api/v1/{path}"), body), "{line}");
            assert_eq!(outcome.out, format!("did POST /api/v1/{path}\n"), "{line}");
        }
    }

    #[tokio::test]
    async fn what_makes_no_sense_for_a_process_is_wrong_usage() {
        let server = FakeServer::of(fixture::snapshot());
        for line in ["pause orders:1", "resume orders:1", "auto orders:1"] {
            let outcome = fixture::run(&server.socket(), line).await;
            assert_eq!(outcome.exit, Exit::Usage, "{line}");
            assert!(outcome.err.ends_with("takes a program; did you mean orders?\n"), "{}", outcome.err);
        }
        assert!(server.seen().is_empty());
    }

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
                     is `leveret run` running, or did you mean --server?\n",
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

    #[tokio::test]
    async fn of_several_sockets_the_one_that_answers_is_taken() {
        let stale = FakeServer::of(fixture::snapshot());
        let directory = tempfile::tempdir().unwrap();
        let stale_socket = directory.path().join("stale.sock");
        std::fs::hard_link(stale.socket(), &stale_socket).unwrap();
        stale.end().await;
        let server = FakeServer::of(fixture::snapshot());
        let candidates = vec![Address::Unix(stale_socket.clone()), Address::Unix(server.socket())];
        let client = Client::first_of(candidates).await.unwrap();
        assert_eq!(client.address(), &Address::Unix(server.socket()));
        let client = Client::first_of(vec![Address::Unix(stale_socket.clone()); 2]).await.unwrap();
        assert_eq!(client.address(), &Address::Unix(stale_socket));
    }

    #[tokio::test]
    async fn the_servers_address_is_found_in_the_order_that_is_documented() {
        let variable = |server: &str| Surroundings {
            environment: BTreeMap::from([("LEVERET_SERVER".to_owned(), server.to_owned())]),
            is_root: false,
        };
        let settings = |_: &Path, _: bool| Ok(settings("/run/here"));
        let connection = |server: Option<&str>, config: Option<&str>| ConnectionArgs {
            server: server.map(str::to_owned),
            config: config.map(Into::into),
        };
        let found = async |connection: ConnectionArgs| {
            let client = find(&connection, &variable("http://environment:1"), settings).await.unwrap();
            client.address().to_string()
        };
        assert_eq!(found(connection(Some("http://flag:1"), None)).await, "http://flag:1");
        assert_eq!(found(connection(None, Some("a.yaml"))).await, "/run/here/leveret.sock");
        assert_eq!(found(connection(None, None)).await, "http://environment:1");
    }

    fn settings(runtime_dir: &str) -> Settings {
        Settings {
            listen: "127.0.0.1:0".parse().unwrap(),
            allowed_hosts: Vec::new(),
            state_dir: "/nonexistent".into(),
            runtime_dir: runtime_dir.into(),
            socket: Default::default(),
            probe_interval: std::time::Duration::from_secs(1),
            brokers: Vec::new(),
            programs: Vec::new(),
            warnings: vec!["a directory is missing".to_owned()],
        }
    }

    #[test]
    fn check_exits_with_0_or_2() {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut console = Console::for_tests(&mut out, &mut err);
        let arguments = CheckArgs { file: "a.yaml".into() };
        let good = check(&arguments, |_, _| Ok(settings("/run")), &Surroundings::default(), &mut console);
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
