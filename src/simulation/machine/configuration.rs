//! Configurations as people change them: programs come, go, change what they run, how many, and what they are.

use std::collections::BTreeMap;
use std::time::Duration;

use super::dice::Dice;
use crate::core::budget::{Budget, Resource};
use crate::core::check::{Check, HealthSpec, Probe};
use crate::core::hooks::{Hook, Hooks};
use crate::core::ids::ProgramName;
use crate::core::readiness::{ReadyBy, ReadySpec};
use crate::core::schedule::Zone;
use crate::core::share::Share;
use crate::core::spec::{
    Backoff, DelayedSpec, Dependency, FloorSpec, Kind, LogSpec, Missed, OnCode, Overlap, ProgramSpec,
    QueueSpec, RecycleSpec, RestartPolicy, RunSpec, ScaleMode, ScaleSpec, ScheduleSpec, StopSpec, StopStep,
    StopTarget, Until,
};
use crate::core::world::Limits;
use crate::scaling::input::Order;

/// Names of programs.
pub(super) const NAMES: [&str; 6] = ["api", "billing", "mail", "orders", "search", "web"];
/// Names of brokers.
pub(super) const BROKERS: [&str; 2] = ["default", "other"];
/// Names of queues.
pub(super) const QUEUES: [&str; 3] = ["bills", "letters", "orders"];
/// Names of projects.
pub(super) const PROJECTS: [&str; 2] = ["shop", "office"];
/// How much memory a process may use that is recycled by it.
pub(super) const MEMORY_LIMIT: u64 = 256 << 20;
/// How old a process becomes that is recycled by its age.
pub(super) const AGE_LIMIT: Duration = Duration::from_secs(600);
/// What some programs use and of which there is only so much.
const NAMED_BUDGET: &str = "mysql";

/// How many a floor asks for.
pub(super) const FLOOR: u32 = 3;

/// How long a floor holds, from the first of every ten minutes on.
pub(super) const FLOOR_LASTS: Duration = Duration::from_secs(240);

/// Two messages a second.
const RATE_PER_HOUR: u64 = 7_200;
/// The longest stop timeout.
pub(super) const TIMEOUT_MOST: Duration = Duration::from_secs(30);

/// How long a process may take to become ready.
const READY_MOST: Duration = Duration::from_secs(20);

/// How long a hook may run.
pub(super) const HOOK_MOST: Duration = Duration::from_secs(5);

/// What the last argument of those is that a look from outside, or what they print, shows to be ready.
pub(super) const LOOKED_AT: &str = "0";

fn check() -> Check {
    let probe = Probe::Tcp("here:${LEVERET_SLOT}".to_owned());
    Check { probe, interval: Duration::from_secs(1), timeout: Duration::from_secs(1) }
}

/// A first configuration.
pub(super) fn programs(dice: &mut Dice) -> Vec<ProgramSpec> {
    let some = NAMES.iter().filter(|_| dice.chance(0.6)).copied().collect::<Vec<_>>();
    let mut programs: Vec<ProgramSpec> = some.into_iter().map(|name| program(name, dice)).collect();
    set_codes(&mut programs);
    set_ready(&mut programs);
    connect(&mut programs);
    programs
}

/// Lets some programs need the one before them by name, as far as it can come. What they run decides which do, so that it
/// changes with them.
fn connect(programs: &mut [ProgramSpec]) {
    let has_moments = |program: &ProgramSpec| matches!(program.kind, Kind::Scheduled(_));
    let others: Vec<ProgramSpec> = programs.iter().filter(|other| !has_moments(other)).cloned().collect();
    for program in programs.iter_mut().filter(|program| !has_moments(program)) {
        let before = others.iter().filter(|other| other.name < program.name).max_by_key(|other| &other.name);
        let needs = program.run.argv.last().is_some_and(|argument| argument == "3");
        program.depends_on = before
            .filter(|_| needs)
            .map(|before| Dependency { program: before.name.clone(), until: until(before) })
            .into_iter()
            .collect();
    }
}

fn until(needed: &ProgramSpec) -> Until {
    match needed.kind {
        Kind::Service { .. } if needed.restart != RestartPolicy::Always => Until::Completed,
        Kind::Service { .. } => Until::Ready,
        Kind::Scaled(_) | Kind::Scheduled(_) => Until::Started,
    }
}

/// Some other limits.
pub(super) fn limits(dice: &mut Dice) -> Limits {
    let starting = dice.pick(&[1, 2, 4, 4]);
    let seed = u64::from(dice.below(1_000_000));
    // It follows from the seed, so that older seeds keep their worlds.
    let shutdown = seed.is_multiple_of(3).then(|| Duration::from_secs(seed % 60));
    Limits { starting, probe_interval: Duration::from_secs(1), shutdown, budgets: Vec::new(), seed }
}

/// Budgets that are just enough for what programs are sure to have, or for a little more. They follow from the rest, so
/// that older seeds keep their programs.
pub(super) fn budgets(programs: &[ProgramSpec], seed: u64) -> Vec<Budget> {
    let budget = |of, more| {
        let mut budget = Budget { of, limit: 0 };
        let least = |spec: &ProgramSpec| budget.named_use_of(spec) * u64::from(spec.least());
        budget.limit = programs.iter().map(least).sum::<u64>() + more;
        budget
    };
    let processes = seed.is_multiple_of(2).then(|| budget(Resource::Processes, seed / 6 % 5));
    let named = (seed % 3 < 2).then(|| budget(Resource::Named(NAMED_BUDGET.to_owned()), seed / 6 % 7));
    processes.into_iter().chain(named).collect()
}

/// Changes one thing or a few.
pub(super) fn change(programs: &mut Vec<ProgramSpec>, dice: &mut Dice) {
    for _ in 0..=dice.below(3) {
        let name = dice.pick(&NAMES);
        let present = programs.iter().position(|program| program.name.as_str() == name);
        match present {
            None => programs.insert(dice.below(programs.len() as u32 + 1) as usize, program(name, dice)),
            Some(index) if dice.chance(0.3) => drop(programs.remove(index)),
            Some(index) => alter(&mut programs[index], dice),
        }
    }
    set_codes(programs);
    set_ready(programs);
    connect(programs);
}

fn set_codes(programs: &mut [ProgramSpec]) {
    for program in programs {
        program.codes = codes(program.restart, &program.backoff);
        program.recycle = recycle(&program.run);
        program.hooks = hooks(program);
        let uses = match program.run.argv.last().map(String::as_str) {
            Some("1") => 1,
            Some("3") => 2,
            Some(_) | None => 0,
        };
        program.uses = (uses > 0).then(|| (NAMED_BUDGET.to_owned(), uses)).into_iter().collect();
        let name_length = program.name.as_str().len();
        if let Kind::Scaled(scale) = &mut program.kind {
            scale.priority = (name_length % 3) as i32;
        }
    }
}

/// Some say themselves that they are ready, or are so after a time; what they run decides which, so that it changes with
/// them and older seeds keep their worlds.
fn set_ready(programs: &mut [ProgramSpec]) {
    for program in programs {
        let is_scheduled = matches!(program.kind, Kind::Scheduled(_));
        let ready = match program.run.argv.last().map(String::as_str) {
            Some("2") if !is_scheduled => Some((ReadyBy::Notify, Some(READY_MOST))),
            Some(LOOKED_AT) if !is_scheduled => {
                // Half of them print it.
                let prints = program.name.as_str().len() % 2 == 0;
                let by = if prints { ReadyBy::Log("ready".to_owned()) } else { ReadyBy::Check(check()) };
                Some((by, Some(READY_MOST)))
            }
            Some("1") if !is_scheduled => Some((ReadyBy::After(Duration::from_secs(3)), None)),
            Some(_) | None => None,
        };
        program.run.notify = matches!(ready, Some((ReadyBy::Notify, _)));
        program.run.watchdog = program.run.notify.then_some(READY_MOST);
        let is_watched = !is_scheduled && program.run.argv.last().is_some_and(|argument| argument == "3");
        program.health = is_watched.then(|| HealthSpec { check: check(), failures: 3 });
        program.ready = ready.map(|(by, timeout)| ReadySpec { by, timeout });
    }
}

fn alter(program: &mut ProgramSpec, dice: &mut Dice) {
    match dice.below(8) {
        0 | 1 => program.run = run(dice),
        2 => program.kind = kind(dice),
        3 => program.stop = stop(dice),
        4 => program.restart = restart(dice),
        5 => program.backoff = backoff(dice),
        6 => program.autostart = dice.chance(0.8),
        _ => match &mut program.kind {
            Kind::Service { processes } => *processes = dice.below(5),
            Kind::Scaled(scale) => {
                let ScaleSpec { broker, queue, .. } = scale.clone();
                *scale = ScaleSpec { broker, queue, ..self::scale(dice) };
                (scale.more, scale.order) = further(&scale.queue, scale.max);
                bound(scale);
            }
            Kind::Scheduled(schedule) => *schedule = self::schedule(dice),
        },
    }
}

fn program(name: &str, dice: &mut Dice) -> ProgramSpec {
    ProgramSpec {
        name: ProgramName::new(name).expect("a constant that is a name"),
        project: dice.chance(0.5).then(|| dice.pick(&PROJECTS).to_owned()),
        run: run(dice),
        kind: kind(dice),
        autostart: dice.chance(0.9),
        restart: restart(dice),
        codes: BTreeMap::new(),
        backoff: backoff(dice),
        critical: false,
        recycle: RecycleSpec::default(),
        stop: stop(dice),
        log: LogSpec::default(),
        depends_on: Vec::new(),
        ready: None,
        health: None,
        hooks: Hooks::default(),
        uses: BTreeMap::new(),
    }
}

fn run(dice: &mut Dice) -> RunSpec {
    RunSpec { argv: vec!["run".to_owned(), dice.below(4).to_string()], ..RunSpec::default() }
}

fn kind(dice: &mut Dice) -> Kind {
    match dice.below(10) {
        0..4 => Kind::Service { processes: dice.below(5) },
        4 | 5 => Kind::Scheduled(schedule(dice)),
        _ => Kind::Scaled(scale(dice)),
    }
}

fn schedule(dice: &mut Dice) -> ScheduleSpec {
    let crons = ["*/5 * * * * *", "30 * * * * *", "*/2 * * * *", "0 * * * *", "0 3 * * *", "15 2 * * sun"];
    ScheduleSpec {
        cron: dice.pick(&crons).parse().expect("a constant that is a schedule"),
        timezone: Zone::named(dice.pick(&["UTC", "Europe/Berlin", "Australia/Lord_Howe"])).expect("a zone"),
        overlap: dice.pick(&[Overlap::Skip, Overlap::Queue, Overlap::Replace]),
        missed: dice.pick(&[Missed::Skip, Missed::Once]),
        timeout: dice.chance(0.5).then(|| dice.seconds(1, 120)),
        jitter: dice.pick(&[Duration::ZERO, Duration::ZERO, Duration::from_secs(20)]),
    }
}

fn scale(dice: &mut Dice) -> ScaleSpec {
    let min = dice.below(3);
    let (broker, queue) = (dice.pick(&BROKERS).to_owned(), dice.pick(&QUEUES).to_owned());
    let wait = dice.pick(&[Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(60)]);
    let max = (min + dice.below(7)).max(1);
    let mode = if dice.chance(0.9) { ScaleMode::Auto } else { ScaleMode::DryRun };
    let mut scale = ScaleSpec { mode, ..ScaleSpec::new(broker, queue, wait, min, max) };
    (scale.more, scale.order) = further(&scale.queue, scale.max);
    bound(&mut scale);
    scale
}

/// Some are bounded by more than a least and a most; which follows from the rest, so that older seeds keep their worlds.
fn bound(scale: &mut ScaleSpec) {
    // Some of those that are alone are so because messages have their order.
    scale.ordered = scale.max <= 2 && scale.queue != QUEUES[0];
    if scale.ordered {
        (scale.min, scale.max) = (scale.min.min(1), 1);
    }
    scale.rate_per_hour = (scale.wait == Duration::from_secs(60) && scale.max >= 4).then_some(RATE_PER_HOUR);
    let is_short = scale.wait == Duration::from_secs(1);
    scale.share = (is_short && scale.max >= 4 && scale.queue != QUEUES[0]).then(|| {
        let share = Share { part: 1 + scale.min % 2, of: 2, min: 0, max: 0 };
        Share { min: share.total_of(scale.min), max: share.total_of(scale.max), ..share }
    });
    let has_floor = scale.wait == Duration::from_secs(5) && scale.max >= FLOOR;
    scale.floors = has_floor.then(floor).into_iter().collect();
    // What comes back from a queue that others consume is as good as any.
    let waits_long = scale.wait == Duration::from_secs(60) && scale.more.is_empty();
    let elsewhere = QUEUES.iter().find(|name| **name != scale.queue).filter(|_| waits_long);
    let after = Duration::from_secs(20);
    scale.delayed =
        elsewhere.map(|queue| DelayedSpec { queue: (*queue).to_owned(), after }).into_iter().collect();
}

/// Holds for the first minutes of every ten.
fn floor() -> FloorSpec {
    FloorSpec {
        cron: "*/10 * * * *".parse().expect("a constant that is a schedule"),
        timezone: Zone::named("UTC").expect("a zone"),
        lasts: FLOOR_LASTS,
        min: FLOOR,
    }
}

/// Some consume others beside it; which follows from the rest, so that older seeds keep their worlds.
fn further(queue: &str, max: u32) -> (Vec<QueueSpec>, Order) {
    let others = QUEUES.iter().filter(|name| **name != queue).take(max as usize % 3);
    let more = others.enumerate().map(|(place, name)| QueueSpec {
        name: (*name).to_owned(),
        wait: Duration::from_secs(2 + 30 * place as u64),
    });
    (more.collect(), if max.is_multiple_of(2) { Order::Fair } else { Order::Strict })
}

fn restart(dice: &mut Dice) -> RestartPolicy {
    let always = RestartPolicy::Always;
    dice.pick(&[always, always, always, RestartPolicy::OnFailure, RestartPolicy::Never])
}

/// Some have words of their own for some codes; which follows from the rest, so that older seeds keep their worlds.
fn codes(restart: RestartPolicy, backoff: &Backoff) -> BTreeMap<i32, OnCode> {
    match (restart, backoff.give_up_after) {
        (RestartPolicy::OnFailure, Some(_)) => [(0, OnCode::Recycle), (1, OnCode::StayDown)].into(),
        (RestartPolicy::Never, _) => [(1, OnCode::Backoff)].into(),
        (RestartPolicy::Always | RestartPolicy::OnFailure, _) => BTreeMap::new(),
    }
}

/// Some have something to run at moments of their lives; what they run and their name decide which.
fn hooks(program: &ProgramSpec) -> Hooks {
    let runs = |arguments: &[&str]| {
        program.run.argv.last().is_some_and(|argument| arguments.contains(&argument.as_str()))
    };
    let is_even = program.name.as_str().len().is_multiple_of(2);
    let hook = |has_it: bool| has_it.then(|| Hook { argv: vec!["hook".to_owned()], timeout: HOOK_MOST });
    Hooks {
        pre_start: hook(is_even && runs(&["0", "1", "3"])),
        post_ready: hook(runs(&["0", "2"])),
        pre_stop: hook(runs(&["0", "3"])),
        post_exit: hook(runs(&["1", "3"])),
    }
}

/// Some are replaced when they have grown, some when they are old; which follows from what they run.
fn recycle(run: &RunSpec) -> RecycleSpec {
    match run.argv.last().map(String::as_str) {
        Some("1") => RecycleSpec { memory_bytes: Some(MEMORY_LIMIT), age: None },
        Some("2") => RecycleSpec { memory_bytes: None, age: Some(AGE_LIMIT) },
        Some(_) | None => RecycleSpec::default(),
    }
}

fn backoff(dice: &mut Dice) -> Backoff {
    Backoff {
        initial: dice.pick(&[Duration::ZERO, Duration::from_secs(1), Duration::from_secs(5)]),
        max: dice.pick(&[Duration::from_secs(10), Duration::from_secs(60)]),
        reset_after: Duration::from_secs(10),
        give_up_after: dice.pick(&[None, None, Some(1), Some(3)]),
    }
}

fn stop(dice: &mut Dice) -> StopSpec {
    let timeouts = [Duration::ZERO, Duration::from_secs(1), Duration::from_secs(10), TIMEOUT_MOST];
    let signal = dice.pick(&[15, 15, 15, 2]);
    let to = dice.pick(&[StopTarget::Main, StopTarget::Main, StopTarget::Group]);
    let timeout = dice.pick(&timeouts);
    // Which follows from the rest, so that older seeds keep their worlds.
    let steps = if timeout == TIMEOUT_MOST { 2 } else { 0 };
    let then = (1..=steps).map(|step| StopStep { after: timeout.mul_f64(f64::from(step) / 4.0), signal: 3 });
    StopSpec { signal, to, timeout, then: then.collect() }
}
