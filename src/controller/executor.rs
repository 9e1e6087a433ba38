//! Carries out what the core plans: commands become orders to the keeper, and what has ended is released.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::core::auxiliary::Auxiliary;
use crate::core::command::{Command, Scope};
use crate::core::exit::{ExitStatus, signal_number};
use crate::core::hooks::{Errand, Moment, Preparation};
use crate::core::ids::{Incarnation, ProcessId};
use crate::core::observed::{Life, Phase, Stop};
use crate::core::plan::signal_text;
use crate::core::runs::Run;
use crate::core::spec::{LogFormat, LogSpec, LogTarget, RunSpec};
use crate::core::time::Time;
use crate::core::world::{Program, World};
use crate::keeper::protocol::{CgroupOrder, NotifyOrder, Order, SpawnOrder};
use crate::logs::source::{Format, Keeping, Sink, Source};
use crate::sys::notify;

/// Where output pipes are, in the runtime directory: that is in memory, and making a file on a disk can wait for others
/// who write there, between a crash and the next start.
pub(super) const PIPES: &str = "pipes";

/// What the controller writes on every life that it orders, so that the next controller knows whose it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "role")]
pub(crate) enum Note {
    /// A process of a program.
    Process {
        /// Which.
        process: ProcessId,
        /// What it was made from.
        fingerprint: u64,
        /// When its start was ordered.
        ordered_at: Time,
        /// The request that it end, once it is made.
        stop: Option<Stop>,
        /// The run of a schedule that it is for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        run: Option<Run>,
    },
    /// What runs before a process is started.
    Preparation {
        /// Whose start it is for.
        process: ProcessId,
        /// What the process is to be made from.
        fingerprint: u64,
        /// When it was ordered.
        ordered_at: Time,
        /// When its tree is killed, and whether it was.
        preparation: Preparation,
        /// The run of a schedule that the start is for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        run: Option<Run>,
    },
    /// A hook about a life of a process.
    Hook {
        /// Of which process.
        process: ProcessId,
        /// When in its life.
        moment: Moment,
        /// Which life.
        about: Incarnation,
        /// When its tree is killed.
        deadline: Time,
    },
    /// An auxiliary process. The next controller does not wait for it and kills it.
    Auxiliary,
}

impl Note {
    fn of(world: &World, process: &ProcessId, life: &Life, stop: Option<Stop>) -> Self {
        let (fingerprint, ordered_at) = (life.fingerprint, life.ordered_at);
        let run = Self::run(world, process, life);
        Self::Process { process: process.clone(), fingerprint, ordered_at, stop, run }
    }

    fn of_preparation(world: &World, process: &ProcessId, life: &Life, preparation: Preparation) -> Self {
        let (fingerprint, ordered_at) = (life.fingerprint, life.ordered_at);
        let run = Self::run(world, process, life);
        Self::Preparation { process: process.clone(), fingerprint, ordered_at, preparation, run }
    }

    fn run(world: &World, process: &ProcessId, life: &Life) -> Option<Run> {
        // What an ended life left behind is of an earlier run.
        let is_present = world.slot(process).and_then(|slot| slot.phase.life()) == Some(life);
        let program = world.programs.get(&process.program).filter(|_| is_present && process.slot == 0);
        program.and_then(|program| program.runs.as_ref()?.current)
    }

    fn to_value(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("strings and numbers always serialize")
    }
}

/// Variables of Leveret's own that are about Leveret and not about its children.
fn concerns_leveret(name: &str) -> bool {
    name == "NOTIFY_SOCKET" || name.starts_with("WATCHDOG_") || name.starts_with("LISTEN_")
}

/// Whose life is ordered.
#[derive(Clone, Copy, Debug)]
enum Whose<'a> {
    /// A process of a program, and whether that is scaled.
    Process(&'a ProcessId, bool),
    /// A hook of this name, for a process.
    Hook(&'a ProcessId, &'static str),
    /// A hook about a life of a process, and what is known of that.
    HookAbout(&'a ProcessId, Moment, &'a Errand),
    /// An auxiliary process, perhaps about another one: it has no means to say how that is.
    Auxiliary(Option<&'a ProcessId>),
}

/// Turns commands into orders.
#[derive(Debug)]
pub(crate) struct Executor {
    environment: BTreeMap<String, String>,
    pipes: PathBuf,
    logs: PathBuf,
    sockets: PathBuf,
}

impl Executor {
    /// An executor whose processes inherit `environment`, whose logs are in `state_dir` and whose pipes and sockets are in
    /// `runtime_dir`.
    pub(crate) fn new(environment: BTreeMap<String, String>, state_dir: &Path, runtime_dir: &Path) -> Self {
        let environment = environment.into_iter().filter(|(name, _)| !concerns_leveret(name)).collect();
        let (pipes, logs) = (runtime_dir.join(PIPES), state_dir.join("logs"));
        Self { environment, pipes, logs, sockets: notify::directory(runtime_dir) }
    }

    /// The orders that carry out one command, in their order. `world` is as it is after the command was applied.
    pub(crate) fn orders(&self, command: &Command, world: &World) -> Vec<Order> {
        match command {
            Command::Spawn { process, life } => {
                let Some(program) = world.programs.get(&process.program) else { return Vec::new() };
                let note = Note::of(world, process, life, None).to_value();
                let (run, is_scaled) = (&program.spec.run, program.spec.scale().is_some());
                let whose = Whose::Process(process, is_scaled);
                vec![self.spawn(run, &run.argv, life.incarnation, whose, note)]
            }
            Command::Prepare { process, life, deadline } => {
                let Some(program) = world.programs.get(&process.program) else { return Vec::new() };
                let Some(hook) = &program.spec.hooks.pre_start else { return Vec::new() };
                let note =
                    Note::of_preparation(world, process, life, Preparation::until(*deadline)).to_value();
                let whose = Whose::Hook(process, "pre_start");
                vec![self.spawn(&program.spec.run, &hook.argv, life.incarnation, whose, note)]
            }
            Command::Stop { process, incarnation, stop, signal, scope }
            | Command::StopNext { process, incarnation, stop, signal, scope } => {
                let signal = Order::Signal { incarnation: *incarnation, signal: *signal, scope: *scope };
                [signal].into_iter().chain(note(world, process, *incarnation, *stop)).collect()
            }
            Command::Limit { process, incarnation, stop }
            | Command::PrepareStop { process, incarnation, stop } => {
                note(world, process, *incarnation, *stop).into_iter().collect()
            }
            Command::StopLeft { process, incarnation, stop, signal } => {
                let signal = Order::Signal { incarnation: *incarnation, signal: *signal, scope: Scope::Main };
                [signal].into_iter().chain(note(world, process, *incarnation, *stop)).collect()
            }
            // The controller does that itself.
            Command::Watch { .. } | Command::Check { .. } => Vec::new(),
            Command::RunHook { process, moment, about, incarnation, deadline } => {
                let Some(program) = world.programs.get(&process.program) else { return Vec::new() };
                let errand = program.errands.get(&(*moment, *about));
                let (Some(hook), Some(errand)) = (program.spec.hooks.at(*moment), errand) else {
                    return Vec::new();
                };
                let (process, moment, about, deadline) = (process.clone(), *moment, *about, *deadline);
                let whose = Whose::HookAbout(&process, moment, errand);
                let note = Note::Hook { process: process.clone(), moment, about, deadline };
                vec![self.spawn(&program.spec.run, &hook.argv, *incarnation, whose, note.to_value())]
            }
            Command::EndPreparation { process, incarnation, .. } => {
                let note = note_of_end(world, process, *incarnation);
                [kill(*incarnation)].into_iter().chain(note).collect()
            }
            Command::Kill { incarnation, .. }
            | Command::EndHook { incarnation, .. }
            | Command::KillAuxiliary { incarnation, .. }
            | Command::KillStray { incarnation } => {
                vec![kill(*incarnation)]
            }
            Command::SpawnAuxiliary { id, incarnation, .. } => {
                let Some(Auxiliary { program, about, argv, .. }) = world.auxiliaries.get(id) else {
                    return Vec::new();
                };
                let Some(program) = world.programs.get(program) else { return Vec::new() };
                let whose = Whose::Auxiliary(about.as_ref().map(|(process, _)| process));
                vec![self.spawn(&program.spec.run, argv, *incarnation, whose, Note::Auxiliary.to_value())]
            }
        }
    }

    /// Whether a process that need not say anything gets the means to: there is a place, and nobody has another in mind.
    fn may_listen(&self, run: &RunSpec) -> bool {
        let longest = self.sockets.join(u64::MAX.to_string());
        let fits = longest.as_os_str().len() <= notify::PATH_BYTES_MAX;
        fits && !run.environment.contains_key(notify::VARIABLE)
    }

    fn spawn(
        &self,
        run: &RunSpec,
        argv: &[String],
        incarnation: Incarnation,
        whose: Whose<'_>,
        note: serde_json::Value,
    ) -> Order {
        let (named, process, is_scaled) = match whose {
            Whose::Process(process, is_scaled) => (Some(process), Some(process), is_scaled),
            Whose::Hook(process, _) | Whose::HookAbout(process, ..) => (Some(process), None, false),
            Whose::Auxiliary(about) => (about, None, false),
        };
        let mut given = run.environment.clone();
        given.insert("LEVERET_INCARNATION".to_owned(), incarnation.to_string());
        if let Some(process) = named {
            given.insert("LEVERET_PROGRAM".to_owned(), process.program.to_string());
            given.insert("LEVERET_PROCESS".to_owned(), process.to_string());
            given.insert("LEVERET_SLOT".to_owned(), process.slot.to_string());
        }
        match whose {
            Whose::Hook(_, name) => drop(given.insert("LEVERET_HOOK".to_owned(), name.to_owned())),
            Whose::HookAbout(_, moment, errand) => given.extend(told_of(moment, errand)),
            Whose::Process(..) | Whose::Auxiliary(_) => {}
        }
        let may_say = run.notify || is_scaled && self.may_listen(run);
        let notify = process
            .filter(|_| may_say)
            .map(|_| NotifyOrder { path: self.sockets.join(incarnation.to_string()), required: run.notify });
        if let Some(NotifyOrder { path, .. }) = &notify {
            given.insert(notify::VARIABLE.to_owned(), path.to_string_lossy().into_owned());
        }
        if let (Some(watchdog), Some(_)) = (run.watchdog, &notify) {
            given.insert(notify::WATCHDOG_VARIABLE.to_owned(), watchdog.as_micros().to_string());
        }
        let names: BTreeSet<String> = given.keys().cloned().collect();
        let mut environment = self.environment.clone();
        environment.extend(given);
        Order::Spawn(Box::new(SpawnOrder {
            incarnation,
            argv: argv.to_vec(),
            environment,
            given: Some(names),
            env_files: run.env_files.clone(),
            directory: run.directory.clone(),
            user: run.user.clone(),
            group: run.group.clone(),
            umask: run.umask,
            nice: run.nice,
            limits: run.limits.clone(),
            oom_score_adj: run.oom_score_adj,
            no_new_privs: run.no_new_privs,
            stdin: run.stdin,
            cgroup: process
                .zip(run.cgroup.clone())
                .map(|(process, limits)| CgroupOrder { name: process.program.to_string(), limits }),
            output: self.pipe(incarnation),
            errors: process.filter(|_| run.separate_errors).map(|_| self.pipe_of_errors(incarnation)),
            notify,
            note,
        }))
    }

    fn pipe(&self, incarnation: Incarnation) -> PathBuf {
        self.pipes.join(incarnation.to_string())
    }

    fn pipe_of_errors(&self, incarnation: Incarnation) -> PathBuf {
        self.pipes.join(format!("{incarnation}.stderr"))
    }

    /// What an auxiliary process prints: only its last line is of interest.
    pub(crate) fn auxiliary_source(&self, incarnation: Incarnation) -> Source {
        let (program, label) = (String::new(), format!("auxiliary process {incarnation}"));
        let (sink, format, keeping) = (Sink::LastLine, Format::Raw, Keeping::default());
        let (pipe, awaited, is_errors) = (self.pipe(incarnation), None, false);
        Source { incarnation, pipe, is_errors, program, label, sink, format, keeping, awaited }
    }

    /// Where all that a life prints is to be moved: its output, and its stderr where that has a pipe of its own. A life that
    /// was made from another version of its program may or may not have one.
    pub(crate) fn sources(&self, program: &Program, slot: u32, incarnation: Incarnation) -> Vec<Source> {
        let output = self.source(program, slot, incarnation);
        let RunSpec { separate_errors, .. } = &program.spec.run;
        let present = life(program, slot, incarnation);
        let is_of_before = |life: &Life| life.fingerprint != program.fingerprint;
        let errors = present.filter(|life| *separate_errors || is_of_before(life)).map(|_| {
            let (sink, format) = self.destination(program, slot, true);
            let pipe = self.pipe_of_errors(incarnation);
            Source { pipe, is_errors: true, sink, format, ..output.clone() }
        });
        [Some(output), errors].into_iter().flatten().collect()
    }

    /// Where the output of a life is to be moved.
    pub(crate) fn source(&self, program: &Program, slot: u32, incarnation: Incarnation) -> Source {
        let (sink, format) = self.destination(program, slot, false);
        let LogSpec { max_size, max_age, keep, compress, .. } = &program.spec.log;
        Source {
            incarnation,
            pipe: self.pipe(incarnation),
            is_errors: false,
            program: program.spec.name.to_string(),
            label: program.label(slot),
            sink,
            format,
            keeping: Keeping { max_size: *max_size, max_age: *max_age, keep: *keep, compress: *compress },
            awaited: awaited(program, slot, incarnation),
        }
    }

    /// Where the output of a slot goes, or its stderr, and what lines look like there.
    fn destination(&self, program: &Program, slot: u32, is_errors: bool) -> (Sink, Format) {
        let LogSpec { to, stderr, format, .. } = &program.spec.log;
        // Where stderr is not separated any more, that of a life from before goes where all else goes.
        let separate = stderr.as_ref().filter(|_| is_errors);
        let to = separate.unwrap_or(to);
        let format = match (format, to) {
            (Some(LogFormat::Raw), _) | (None, LogTarget::PerProcess | LogTarget::File(_)) => Format::Raw,
            (None, LogTarget::Stdout) => Format::Labelled,
            (Some(LogFormat::Prefixed), _) => Format::Prefixed,
            (Some(LogFormat::Json), _) => Format::Json,
        };
        let own = || self.own_log(program, slot, separate.is_some());
        let sink = match to {
            LogTarget::PerProcess if format == Format::Raw => Sink::Own(own()),
            LogTarget::PerProcess => Sink::Lines(own()),
            LogTarget::File(path) => Sink::Lines(path.clone()),
            LogTarget::Stdout => Sink::Stdout,
        };
        (sink, format)
    }

    /// The file that the output of a slot is in.
    pub(crate) fn log(&self, program: &Program, slot: u32) -> Option<PathBuf> {
        self.file(program, slot, &program.spec.log.to, false)
    }

    /// The file that the stderr of a slot is in, where it does not go with all else.
    pub(crate) fn log_of_errors(&self, program: &Program, slot: u32) -> Option<PathBuf> {
        self.file(program, slot, program.spec.log.stderr.as_ref()?, true)
    }

    fn file(&self, program: &Program, slot: u32, to: &LogTarget, is_errors: bool) -> Option<PathBuf> {
        match to {
            LogTarget::PerProcess => Some(self.own_log(program, slot, is_errors)),
            LogTarget::File(path) => Some(path.clone()),
            LogTarget::Stdout => None,
        }
    }

    fn own_log(&self, program: &Program, slot: u32, is_errors: bool) -> PathBuf {
        let which = if is_errors { "stderr.log" } else { "log" };
        self.logs.join(format!("{}.{slot}.{which}", program.spec.name))
    }
}

/// A life of a process in a slot, present or ended with something left; none where it is that of a hook.
fn life(program: &Program, slot: u32, incarnation: Incarnation) -> Option<&Life> {
    let slot = program.slots.get(&slot)?;
    let is_hook = matches!(slot.phase, Phase::Preparing(..));
    let present = slot.phase.life().filter(|life| life.incarnation == incarnation && !is_hook);
    present.or_else(|| slot.leftovers.get(&incarnation).map(|leftover| &leftover.life))
}

/// The pattern that is to be looked for in what a life prints, as long as it is not ready.
fn awaited(program: &Program, slot: u32, incarnation: Incarnation) -> Option<String> {
    let slot = program.slots.get(&slot)?;
    // What a hook prints says nothing of the process.
    let is_hook = matches!(slot.phase, Phase::Preparing(..));
    let is_present = slot.phase.life().is_some_and(|life| life.incarnation == incarnation && !is_hook);
    let pattern = program.spec.awaited_output().filter(|_| is_present && !slot.is_ready());
    pattern.map(str::to_owned)
}

/// What a hook is told of the life that it is about.
fn told_of(moment: Moment, errand: &Errand) -> Vec<(String, String)> {
    let ended = errand.ended.and_then(|status| match status {
        ExitStatus::Code(code) => Some(("LEVERET_EXIT_CODE", code.to_string())),
        ExitStatus::Signal(number) => Some(("LEVERET_EXIT_SIGNAL", signal_text(number))),
        ExitStatus::Unknown => None,
    });
    let pid = errand.pid.map(|pid| ("LEVERET_PID", pid.to_string()));
    let name = ("LEVERET_HOOK", moment.key().to_owned());
    let told = [Some(name), pid, ended].into_iter().flatten();
    told.map(|(name, value)| (name.to_owned(), value)).collect()
}

fn kill(incarnation: Incarnation) -> Order {
    Order::Signal { incarnation, signal: signal_number("KILL").unwrap_or(9), scope: Scope::Tree }
}

/// What the next controller should know of a hook that was killed: whether that is a failure.
fn note_of_end(world: &World, process: &ProcessId, incarnation: Incarnation) -> Option<Order> {
    let Phase::Preparing(life, preparation) = &world.slot(process)?.phase else { return None };
    let is_present = life.incarnation == incarnation;
    let note = is_present.then(|| Note::of_preparation(world, process, life, *preparation))?;
    Some(Order::Note { incarnation, note: note.to_value() })
}

/// What the next controller should know of a request to end. It follows the signal: a controller that dies in between has
/// asked, and the next one asks again; the other way round nobody would ever ask.
fn note(world: &World, process: &ProcessId, incarnation: Incarnation, stop: Stop) -> Option<Order> {
    let slot = world.slot(process)?;
    let present = slot.phase.life().filter(|life| life.incarnation == incarnation);
    let life = present.or_else(|| slot.leftovers.get(&incarnation).map(|leftover| &leftover.life))?;
    let note = Note::of(world, process, life, Some(stop)).to_value();
    Some(Order::Note { incarnation, note })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::core::event::Fact;
    use crate::core::hooks::Hooks;
    use crate::core::ids::{ProgramName, Target};
    use crate::core::machine::Machine;
    use crate::core::spec::{Backoff, Kind, ProgramSpec, RecycleSpec, RestartPolicy, StopSpec};
    use crate::core::world::Limits;

    fn web() -> ProgramSpec {
        ProgramSpec {
            name: ProgramName::new("web").unwrap(),
            project: None,
            run: RunSpec {
                argv: vec!["./server".into()],
                environment: BTreeMap::from([("PORT".into(), "80".into()), ("PATH".into(), "/srv".into())]),
                ..RunSpec::default()
            },
            kind: Kind::Service { processes: 1 },
            autostart: true,
            restart: RestartPolicy::Always,
            codes: BTreeMap::new(),
            backoff: Backoff::default(),
            critical: false,
            recycle: RecycleSpec::default(),
            stop: StopSpec { timeout: Duration::from_secs(5), ..StopSpec::default() },
            log: LogSpec::default(),
            depends_on: Vec::new(),
            ready: None,
            health: None,
            hooks: Hooks::default(),
            uses: BTreeMap::new(),
        }
    }

    fn executor() -> Executor {
        let own = ["PATH", "HOME", "NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_FDS"];
        let environment = own.map(|name| (name.to_owned(), "own".to_owned())).into();
        Executor::new(environment, Path::new("/var/lib/leveret"), Path::new("/run/leveret"))
    }

    fn carry_out(machine: &mut Machine, now: Time) -> Vec<Order> {
        let plan = machine.step(now);
        let executor = executor();
        plan.commands.iter().flat_map(|command| executor.orders(command, machine.world())).collect()
    }

    #[test]
    fn a_process_gets_leverets_environment_its_own_and_its_names_but_not_what_is_about_leveret() {
        let mut machine = Machine::new(Limits::default());
        machine.configure(vec![web()], Limits::default());
        let orders = carry_out(&mut machine, Time::from_millis(1));
        let [Order::Spawn(order)] = orders.as_slice() else { panic!("{orders:?}") };
        let told: Vec<_> = order.environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let expected = [
            "HOME=own",
            "LEVERET_INCARNATION=1",
            "LEVERET_PROCESS=web:0",
            "LEVERET_PROGRAM=web",
            "LEVERET_SLOT=0",
            "PATH=/srv",
            "PORT=80",
        ];
        assert_eq!(told, expected);
        let given: Vec<_> = order.given.iter().flatten().map(String::as_str).collect();
        let own =
            ["LEVERET_INCARNATION", "LEVERET_PROCESS", "LEVERET_PROGRAM", "LEVERET_SLOT", "PATH", "PORT"];
        assert_eq!(given, own, "no file and no account says otherwise");
        assert_eq!(order.output, Path::new("/run/leveret/pipes/1"));
    }

    #[test]
    fn a_stop_is_written_on_the_life_after_its_signal_was_sent() {
        let mut machine = Machine::new(Limits::default());
        machine.configure(vec![web()], Limits::default());
        let now = Time::from_millis(1_000);
        carry_out(&mut machine, now);
        let incarnation = Incarnation(1);
        machine.observe(Fact::Spawned { incarnation, pid: 7, at: now });
        let stop = crate::core::event::Edit::Stop(Target::All);
        machine.edit(&stop, "test", now).unwrap();
        let orders = carry_out(&mut machine, now);
        let [Order::Signal { signal: 15, scope: Scope::Main, .. }, Order::Note { note, .. }] =
            orders.as_slice()
        else {
            panic!("{orders:?}")
        };
        let note: Note = serde_json::from_value(note.clone()).unwrap();
        let Note::Process { stop: Some(stop), .. } = note else { panic!("{note:?}") };
        assert_eq!(stop.deadline, Some(now + Duration::from_secs(5)));
    }

    #[test]
    fn each_process_has_a_file_of_its_own_unless_the_configuration_says_otherwise() {
        let mut spec = web();
        let executor = executor();
        let program = |spec: &ProgramSpec| Program::new(spec.clone(), &Limits::default());
        let own = executor.log(&program(&spec), 3);
        assert_eq!(own, Some(PathBuf::from("/var/lib/leveret/logs/web.3.log")));
        spec.log.to = LogTarget::Stdout;
        assert_eq!(executor.log(&program(&spec), 3), None);
        let source = |spec: &ProgramSpec| executor.source(&program(spec), 3, Incarnation(9));
        assert_eq!((source(&spec).sink, source(&spec).format), (Sink::Stdout, Format::Labelled));
        spec.log.format = Some(LogFormat::Raw);
        assert_eq!((source(&spec).sink, source(&spec).format), (Sink::Stdout, Format::Raw));
        spec.log = LogSpec { format: Some(LogFormat::Json), ..LogSpec::default() };
        let own = PathBuf::from("/var/lib/leveret/logs/web.3.log");
        assert_eq!((source(&spec).sink, source(&spec).format), (Sink::Lines(own), Format::Json));
        spec.log.to = LogTarget::File("/var/log/web.log".into());
        assert_eq!(executor.log(&program(&spec), 3), Some(PathBuf::from("/var/log/web.log")));
    }

    #[test]
    fn stderr_has_a_pipe_and_a_file_of_its_own_where_it_is_to() {
        let mut spec = web();
        spec.log.stderr = Some(LogTarget::PerProcess);
        spec.run.separate_errors = true;
        let mut machine = Machine::new(Limits::default());
        machine.configure(vec![spec.clone()], Limits::default());
        let orders = carry_out(&mut machine, Time::from_millis(1));
        let [Order::Spawn(order)] = orders.as_slice() else { panic!("{orders:?}") };
        assert_eq!(order.errors.as_deref(), Some(Path::new("/run/leveret/pipes/1.stderr")));
        let executor = executor();
        let of = |machine: &Machine| {
            let sources = executor.sources(&machine.world().programs[&spec.name], 0, Incarnation(1));
            sources.into_iter().map(|source| (source.pipe, source.sink)).collect::<Vec<_>>()
        };
        let (pipe, log) =
            (PathBuf::from("/run/leveret/pipes/1"), PathBuf::from("/var/lib/leveret/logs/web.0.log"));
        let errors = PathBuf::from("/run/leveret/pipes/1.stderr");
        let own = PathBuf::from("/var/lib/leveret/logs/web.0.stderr.log");
        assert_eq!(of(&machine), [(pipe.clone(), Sink::Own(log.clone())), (errors.clone(), Sink::Own(own))]);

        // The life from before goes on printing into both, and its stderr goes where all else goes.
        machine.configure(vec![web()], Limits::default());
        assert_eq!(of(&machine), [(pipe, Sink::Own(log.clone())), (errors, Sink::Own(log))]);
    }

    #[test]
    fn notes_of_earlier_versions_are_understood() {
        for (place, text) in crate::formats::each("note.json") {
            let note: Note = crate::formats::read(&place, &text);
            let Note::Process { process, stop: Some(_), .. } = note else { panic!("{place}: {note:?}") };
            assert_eq!(process.to_string(), "stubborn:0");
        }
    }
}
