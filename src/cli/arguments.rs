//! The words of the command line. The help texts are the manual.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use super::RunOptions;
use super::exit::Exit;
use super::observe::ObserveArgs;
use super::simulate::SimulateArgs;
use crate::config::durations::duration as parse_duration;
use crate::core::exit::{no_signal, signal_hint, signal_name, signal_number};
use crate::core::ids::{ProgramName, Target};
use crate::core::secret::Secret;

/// Runs programs, keeps them running, and scales queue consumers by itself.
#[derive(Debug, Parser)]
#[command(name = "leveret", version, after_help = epilogue(), max_term_width = 100)]
#[command(disable_help_subcommand = false, subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Arguments {
    /// Reads the words after the program's name.
    ///
    /// # Errors
    /// Wrong usage; asking for help or the version is one of clap's errors as well.
    pub(crate) fn read(words: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        Self::try_parse_from(words)
    }
}

/// What stands below the list of commands.
fn epilogue() -> String {
    let mut text = String::from(
        "NAME is a program (orders), one of its processes (orders:3), a project (@shop), or all.\n\n\
         Leveret is found by --server, by -c, by LEVERET_SERVER, or else by the Unix socket in the runtime\n\
         directory: /run/leveret for root, $XDG_RUNTIME_DIR/leveret or ~/.local/state/leveret for others.\n\n\
         Exit codes:\n",
    );
    for exit in Exit::ALL {
        text.push_str(&format!("  {}  {}\n", exit.code(), exit.meaning()));
    }
    text.push_str("\n`leveret help COMMAND` says more about a command.");
    text
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the programs of a configuration file, in the foreground
    ///
    /// Ends on SIGTERM or Ctrl-C, after every program has been stopped. SIGHUP reads the configuration again,
    /// SIGUSR1 opens log files anew.
    Run(RunArgs),
    /// Check a configuration file
    ///
    /// Prints every mistake with its line and exits with 2, or exits with 0. Nothing is started. With --live its brokers are asked
    /// as well.
    Check(CheckArgs),
    /// What a running Leveret is asked.
    #[command(flatten)]
    Client(ClientCommand),
    /// Show Leveret at work on an embedded broker, with a load that rises and falls
    ///
    /// Needs nothing else. Ctrl-C ends it and leaves nothing behind.
    Demo(DemoArgs),
    /// Watch the consumers that already run here, whoever runs them, and print the configuration that would replace them
    ///
    /// The first step of a move from supervisord, systemd or anything else. Finds by RabbitMQ's management API which processes of
    /// this machine take messages from which queues, looks on for a while, and says what Leveret would have saved and
    /// what the present number has missed. It only reads: the management API and /proc; of other users' processes as root.
    ///
    /// Ctrl-C ends the watching and prints the result; a second one prints it at once, without the comparison. Exits with 1 when the management API does not
    /// answer or nobody here consumes.
    Observe(ObserveArgs),
    /// Compare autoscalers on a workload in virtual time: Leveret's engine, KEDA, HPA, Horizon, Celery, Knative, AWS
    ///
    /// Says for each how long messages waited against the goal, what that cost in consumer-seconds, and how many
    /// consumers were stopped while busy. No running Leveret is needed. The same arguments give the same bytes.
    Simulate(SimulateArgs),
    /// Print the JSON schema of the configuration file
    #[command(hide = true)]
    Schema,
}

/// The commands that talk to a running Leveret.
#[derive(Debug, Subcommand)]
pub(crate) enum ClientCommand {
    /// Show what should run, what does, and why
    ///
    /// Exits with 3 when a program runs fewer processes than desired or one of its processes is in backoff or
    /// failed, and when a process that was named does not run.
    Status(StatusArgs),
    /// Start programs or processes, and wait until they run
    ///
    /// Clears a backoff and an earlier stop. Exits with 1 when a process fails on its way.
    Start(ActArgs),
    /// Stop programs or processes, and wait until they have ended
    ///
    /// The stop signal is sent; after the program's stop timeout the whole process tree is killed.
    Stop(ActArgs),
    /// Replace every running process by a new one, and wait until the new ones run
    ///
    /// Exits with 1 when a new process fails.
    ///
    /// With --rolling some processes at a time are asked to end; each may finish its work, however long that takes, and
    /// the next one follows when the new one is ready. When a new one fails, the rest stays as it is. Ctrl-C ends the
    /// waiting, not the restart.
    Restart(RestartArgs),
    /// Add one process to a program, and wait until it runs
    ///
    /// On a scaled program this is a hold that ends by itself after 15 minutes; on a service it lasts. `auto` ends it.
    Copy(ActArgs),
    /// Send a signal to the main processes, once
    Signal(SignalArgs),
    /// Freeze scaling: of everything, a project or a program
    ///
    /// Processes are still kept running; their number stays as it is.
    Pause(FreezeArgs),
    /// Let scaling go on after a pause
    Resume(FreezeArgs),
    /// Wait until a name is ready or drained
    Wait(WaitArgs),
    /// Set how many processes a program has, and wait until so many run; those that are too many finish what they have begun
    ///
    /// Those that are too many finish their work first, however long that takes. Exits with 1 when a process fails.
    ///
    /// On a scaled program this is a hold: one above the engine's wish ends by itself (after 15 minutes, or --for),
    /// one below it lasts until `auto`. On a service it lasts until `auto` gives the number back to the file.
    Scale(ScaleArgs),
    /// Give the number of processes back to the engine or to the configuration file
    Auto(NameArgs),
    /// Show what processes wrote
    ///
    /// Lines of one process are shown as they are; those of several have the process in front: `orders:3 | ...`.
    /// With -f, Ctrl-C ends it, with exit code 0.
    Logs(LogsArgs),
    /// Say why a program has as many processes as it has
    Explain(ExplainArgs),
    /// Read the configuration file again
    ///
    /// Only what changed is touched, and it is said which keys make processes start anew. A file with errors changes
    /// nothing; they are printed and the exit code is 2. See docs/lifecycle.md for what each key does.
    Reload(ReloadArgs),
    /// Have another version of Leveret take over without stopping anything, and wait until it has
    ///
    /// Put the new binary where the one that runs was started from, then run this. Processes, their output and open
    /// connections go on. A binary that cannot take over is refused, and the old one goes on. SIGUSR2 does the same.
    Upgrade(ConnectionArgs),
    /// Stop every program, then Leveret, and wait until it is gone
    Shutdown(ShutdownArgs),
}

/// Where Leveret is.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Finding Leveret")]
pub(crate) struct ConnectionArgs {
    /// The address: http://HOST:PORT or unix:/PATH; else LEVERET_SERVER, else the Unix socket
    #[arg(long, value_name = "URL", conflicts_with = "config")]
    pub(crate) server: Option<String>,
    /// Find the Unix socket by the runtime_dir of this configuration file
    #[arg(short = 'c', long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

/// Of `run`.
#[derive(Clone, Debug, Args)]
pub(crate) struct RunArgs {
    /// The configuration file; else leveret.yaml here, else /etc/leveret/leveret.yaml
    #[arg(short = 'c', long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Go on in the background, and return once every program that starts with Leveret runs; exits with 2 if the
    /// configuration has errors, with 1 if something fails. What Leveret has to say goes to leveret.log in the state
    /// directory
    #[arg(long)]
    pub(crate) detach: bool,
    /// With --detach, wait this long at most; Leveret goes on
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, requires = "detach", default_value = "60s")]
    pub(crate) timeout: Duration,
    /// Write the process id to this file; it is removed at the end
    #[arg(long, value_name = "FILE")]
    pub(crate) pid_file: Option<PathBuf>,
    /// This is what --detach has started.
    #[arg(long, hide = true, conflicts_with = "detach")]
    pub(crate) detached: bool,
}

impl RunArgs {
    /// How to run, once the configuration file is known.
    pub(crate) fn options(&self, configuration: PathBuf) -> RunOptions {
        RunOptions { configuration, pid_file: self.pid_file.clone(), is_detached: self.detached }
    }
}

/// Of `check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Also ask its brokers, once, what stands against it: queues that are missing or may not be read, kinds of queues, prefetch,
    /// how long a message may be held, consumers of nobody in the file. Exits with 1 if there is anything
    #[arg(long)]
    pub(crate) live: bool,
    /// The configuration file; else leveret.yaml here, else /etc/leveret/leveret.yaml
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
}

/// Of `status`.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// Only this: a program, a process, @project or all
    #[arg(value_name = "NAME", value_parser = target)]
    pub(crate) name: Option<Target>,
    /// Print JSON, as the API gives it
    #[arg(long)]
    pub(crate) json: bool,
    /// Keep the screen up to date until Ctrl-C
    #[arg(short = 'w', long, conflicts_with = "json")]
    pub(crate) watch: bool,
    /// Where Leveret is.
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
}

/// Of `start`, `stop` and `copy`.
#[derive(Debug, Args)]
pub(crate) struct ActArgs {
    /// A program, a process (orders:3), @project or all
    #[arg(value_name = "NAME", required = true, value_parser = target)]
    pub(crate) names: Vec<Target>,
    /// Return at once instead of waiting until it has come about
    #[arg(long, conflicts_with = "timeout")]
    pub(crate) no_wait: bool,
    /// Wait this long at most (60s, 5m), then exit with 1; what was asked for goes on
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) timeout: Option<Duration>,
    /// Where Leveret is.
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
}

/// Of `restart`.
#[derive(Debug, Args)]
pub(crate) struct RestartArgs {
    /// What to restart, and how to wait.
    #[command(flatten)]
    pub(crate) act: ActArgs,
    /// Wait until it has come about, which is so unless --no-wait is given
    #[arg(long, conflicts_with = "no_wait")]
    pub(crate) wait: bool,
    /// One process after another: the next only when the new one is ready
    #[arg(long)]
    pub(crate) rolling: bool,
    /// So many processes of each program at a time
    #[arg(long, value_name = "N", requires = "rolling", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) batch: u32,
    /// One new process first; the others are touched only if it lives
    #[arg(long, requires = "rolling")]
    pub(crate) canary: bool,
    /// The canary has to live for so long after it is ready
    #[arg(long, value_name = "DURATION", requires = "rolling", value_parser = parse_duration)]
    pub(crate) canary_for: Option<Duration>,
}

/// Of `signal`.
#[derive(Debug, Args)]
pub(crate) struct SignalArgs {
    /// A program, a process, @project or all
    #[arg(value_name = "NAME", value_parser = target)]
    pub(crate) name: Target,
    /// The signal: USR1, SIGUSR1 or 10; not a real-time one
    #[arg(value_name = "SIG", value_parser = signal)]
    pub(crate) signal: String,
    /// Where Leveret is.
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
}

/// Of `pause` and `resume`.
#[derive(Debug, Args)]
pub(crate) struct FreezeArgs {
    /// A program or @project; everything when left out
    #[arg(value_name = "NAME", value_parser = target, default_value = "all", hide_default_value = true)]
    pub(crate) name: Target,
    /// Where Leveret is.
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
}

/// Of `wait`.
#[derive(Debug, Args)]
#[group(id = "condition", required = true, multiple = false, args = ["ready", "drained"])]
pub(crate) struct WaitArgs {
    /// A program, a process, @project or all
    #[arg(value_name = "NAME", value_parser = target)]
    pub(crate) name: Target,
    /// Until as many processes run as are desired
    #[arg(long)]
    pub(crate) ready: bool,
    /// Until no process is left that was asked to end and still finishes its work
    #[arg(long)]
    pub(crate) drained: bool,
    /// Wait this long at most (60s, 5m), then exit with 1
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) timeout: Option<Duration>,
    /// Where Leveret is.
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
}

/// Of `scale`.
#[derive(Debug, Args)]
pub(crate) struct ScaleArgs {
    /// The program
    #[arg(value_name = "NAME", value_parser = program)]
    pub(crate) name: ProgramName,
    /// How many processes
    #[arg(value_name = "N")]
    pub(crate) processes: u32,
    /// How long the hold of a scaled program lasts
    #[arg(long = "for", value_name = "DURATION", value_parser = hold_duration)]
    pub(crate) hold: Option<Duration>,
    /// Return at once instead of waiting until it has come about
    #[arg(long, conflicts_with = "timeout")]
    pub(crate) no_wait: bool,
    /// Wait this long at most (60s, 5m), then exit with 1; what was asked for goes on
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) timeout: Option<Duration>,
    /// Where Leveret is.
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
}

/// Of commands that take one name and nothing else.
#[derive(Debug, Args)]
pub(crate) struct NameArgs {
    /// A program, @project or all
    #[arg(value_name = "NAME", value_parser = target)]
    pub(crate) name: Target,
    /// Where Leveret is.
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
}

/// Of `logs`.
#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// A program, a process, @project or all
    #[arg(value_name = "NAME", value_parser = target)]
    pub(crate) name: Target,
    /// Go on with what is written from now on, until Ctrl-C
    #[arg(short = 'f', long)]
    pub(crate) follow: bool,
    /// Stderr, where it has a file of its own (`log: {stderr: ..}`)
    #[arg(long)]
    pub(crate) stderr: bool,
    /// How many of the last lines of each process
    #[arg(short = 'n', long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(..=10_000))]
    pub(crate) lines: u32,
    /// Where Leveret is.
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
}

/// Of `explain`.
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// The program
    #[arg(value_name = "NAME", value_parser = program)]
    pub(crate) name: ProgramName,
    /// Print JSON, as the API gives it
    #[arg(long)]
    pub(crate) json: bool,
    /// Where Leveret is.
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
}

/// Of `reload`.
#[derive(Debug, Args)]
pub(crate) struct ReloadArgs {
    /// Only say what a reload would do to each program
    #[arg(long)]
    pub(crate) plan: bool,
    /// Print JSON, as the API gives it
    #[arg(long)]
    pub(crate) json: bool,
    /// Where Leveret is.
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
}

/// Of `shutdown`.
#[derive(Debug, Args)]
pub(crate) struct ShutdownArgs {
    /// Return at once instead of waiting until Leveret is gone
    #[arg(long, conflicts_with = "timeout")]
    pub(crate) no_wait: bool,
    /// Wait this long at most (60s, 5m), then exit with 1; the shutdown goes on
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) timeout: Option<Duration>,
    /// Where Leveret is.
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
}

/// Of `demo`.
#[derive(Clone, Debug, Args)]
pub struct DemoArgs {
    /// Use this RabbitMQ instead of the embedded broker, in a queue of its own that is deleted at the end
    #[arg(long, value_name = "URL", value_parser = secret)]
    pub amqp: Option<Secret>,
    /// The port of the page; the next free one if it is taken
    #[arg(long, value_name = "N", default_value_t = 7865, value_parser = clap::value_parser!(u16).range(1..))]
    pub port: u16,
}

/// The address of a broker may hold a password, which no message and no Debug may show.
fn secret(text: &str) -> Result<Secret, std::convert::Infallible> {
    Ok(Secret::new(text))
}

fn target(text: &str) -> Result<Target, String> {
    text.parse().map_err(|error: crate::core::ids::NameError| error.to_string())
}

fn program(text: &str) -> Result<ProgramName, String> {
    match target(text)? {
        Target::Program(name) => Ok(name),
        Target::All | Target::Project(_) | Target::Process(_) => {
            Err("this command takes the name of one program".to_owned())
        }
    }
}

fn hold_duration(text: &str) -> Result<Duration, String> {
    let duration = parse_duration(text).map_err(|error| error.to_string())?;
    if duration < Duration::from_secs(1) { Err("a hold lasts at least 1s".to_owned()) } else { Ok(duration) }
}

/// The signal in one form for the API: its name without SIG.
fn signal(text: &str) -> Result<String, String> {
    match signal_number(text).and_then(signal_name) {
        Some(name) => Ok(name[3..].to_owned()),
        None => Err(format!("{}; {}", no_signal(text), signal_hint(text))),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn read(line: &str) -> Result<Command, clap::Error> {
        let words = std::iter::once("leveret").chain(line.split_whitespace()).map(OsString::from);
        Arguments::read(words).map(|arguments| arguments.command)
    }

    fn client(line: &str) -> ClientCommand {
        match read(line).unwrap() {
            Command::Client(command) => command,
            other @ (Command::Run(_)
            | Command::Check(_)
            | Command::Demo(_)
            | Command::Observe(_)
            | Command::Simulate(_)
            | Command::Schema) => {
                panic!("{line}: {other:?}")
            }
        }
    }

    #[test]
    fn the_definition_has_no_contradiction() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_command_is_read_with_what_it_takes() {
        assert!(
            matches!(read("run -c a.yaml").unwrap(), Command::Run(a) if a.config == Some("a.yaml".into()))
        );
        assert!(matches!(read("run").unwrap(), Command::Run(a) if a.config.is_none()));
        assert!(
            matches!(read("check a.yaml").unwrap(), Command::Check(a) if a.file == Some("a.yaml".into()))
        );
        assert!(matches!(read("check").unwrap(), Command::Check(a) if a.file.is_none()));
        assert!(
            matches!(client("status"), ClientCommand::Status(a) if a.name.is_none() && !a.json && !a.watch)
        );
        assert!(matches!(client("status orders:3 --json"), ClientCommand::Status(a)
            if matches!(a.name, Some(Target::Process(_))) && a.json));
        assert!(matches!(client("status @shop --watch"), ClientCommand::Status(a) if a.watch));
        assert!(matches!(client("start a b:1 @c all"), ClientCommand::Start(a) if a.names.len() == 4));
        assert!(matches!(client("stop a --no-wait"), ClientCommand::Stop(a) if a.no_wait));
        assert!(matches!(client("restart a --timeout 60s"), ClientCommand::Restart(a)
            if a.act.timeout == Some(Duration::from_secs(60))));
        assert!(matches!(client("copy a"), ClientCommand::Copy(a) if !a.no_wait && a.timeout.is_none()));
        assert!(matches!(client("signal a sigusr1"), ClientCommand::Signal(a) if a.signal == "USR1"));
        assert!(matches!(client("signal a 10"), ClientCommand::Signal(a) if a.signal == "USR1"));
        assert!(matches!(client("pause"), ClientCommand::Pause(a) if a.name == Target::All));
        assert!(matches!(client("resume @shop"), ClientCommand::Resume(a)
            if a.name == Target::Project("shop".into())));
        assert!(matches!(client("wait a --drained"), ClientCommand::Wait(a) if a.drained && !a.ready));
        assert!(matches!(client("wait a --ready --timeout 5m"), ClientCommand::Wait(a)
            if a.ready && a.timeout == Some(Duration::from_secs(300))));
        assert!(matches!(client("scale a 5 --for 30m"), ClientCommand::Scale(a)
            if a.processes == 5 && a.hold == Some(Duration::from_secs(1800))));
        assert!(matches!(client("auto a"), ClientCommand::Auto(_)));
        assert!(matches!(client("logs a"), ClientCommand::Logs(a) if a.lines == 50 && !a.follow));
        assert!(matches!(client("logs a:1 -f -n 5"), ClientCommand::Logs(a) if a.lines == 5 && a.follow));
        assert!(matches!(client("explain a --json"), ClientCommand::Explain(a) if a.json));
        assert!(matches!(client("reload --server unix:/x"), ClientCommand::Reload(a)
            if a.connection.server.as_deref() == Some("unix:/x") && !a.plan && !a.json));
        assert!(matches!(client("reload --plan --json"), ClientCommand::Reload(a) if a.plan && a.json));
        assert!(matches!(client("shutdown --no-wait"), ClientCommand::Shutdown(a) if a.no_wait));
        assert!(matches!(read("demo").unwrap(), Command::Demo(a) if a.port == 7865 && a.amqp.is_none()));
        assert!(matches!(read("demo --amqp amqp://x --port 9000").unwrap(), Command::Demo(a)
            if a.port == 9000 && a.amqp == Some(Secret::new("amqp://x"))));
        assert!(matches!(read("simulate a.csv").unwrap(), Command::Simulate(a)
            if a.file == Some("a.csv".into()) && a.max == 200 && !a.json));
        assert!(
            matches!(read("observe").unwrap(), Command::Observe(a) if a.lasts == Duration::from_secs(600)
            && a.every == Duration::from_secs(5) && a.wait == Duration::from_secs(5) && a.management.is_none())
        );
        assert!(
            matches!(read("observe --for 1h --every 10s --record a.csv --json").unwrap(), Command::Observe(a)
            if a.lasts == Duration::from_secs(3_600) && a.record == Some("a.csv".into()) && a.json)
        );
        assert!(matches!(read("schema").unwrap(), Command::Schema));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_exit_code_2() {
        let wrong = [
            "",
            "start",
            "stop",
            "import supervisord.conf",
            "simulate",
            "simulate a.csv --workload step",
            "simulate --workload thirty-queues",
            "simulate a.csv --wait 5",
            "simulate a.csv --seeds 0",
            "start a --no-wait --timeout 5s",
            "start a/b",
            "start a --timeout 5",
            "signal a",
            "signal a NOPE",
            "signal a 40",
            "wait a",
            "wait a --ready --drained",
            "scale a",
            "scale a -1",
            "scale a 3 --no-wait --timeout 5s",
            "scale a:1 3",
            "scale @a 3",
            "scale a 3 --for 10ms",
            "explain a:0",
            "logs",
            "status --json --watch",
            "status --server http://x -c y",
            "demo --port 0",
            "observe --for 0s",
            "observe --every 500ms",
            "observe --wait 5",
            "observe --management http://mq --management-file f",
        ];
        for line in wrong {
            let error = read(line).expect_err(line);
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn a_misspelt_signal_is_answered_with_the_nearest() {
        assert!(signal("USR").unwrap_err().contains("did you mean"), "{:?}", signal("USR"));
        assert!(signal("SIGTREM").unwrap_err().ends_with("did you mean TERM?"));
        assert!(signal("HORSE-RADISH").unwrap_err().contains("known are HUP, INT,"));
        assert!(
            signal("40").unwrap_err().starts_with("40 is a real-time signal, which Leveret cannot send;")
        );
    }

    #[test]
    fn the_help_tells_every_exit_code_and_hides_what_is_internal() {
        let help = Arguments::command().render_help().to_string();
        for exit in Exit::ALL {
            assert!(help.contains(&format!("  {}  {}", exit.code(), exit.meaning())), "{help}");
        }
        assert!(!help.contains("schema"), "{help}");
        assert!(!help.contains("__"), "{help}");
    }

    #[test]
    fn every_command_explains_itself() {
        for command in Arguments::command().get_subcommands() {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{} {}", command.get_name(), argument.get_id());
            }
        }
    }
}
