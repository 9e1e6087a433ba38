//! Configurations as people change them: programs come, go, change what they run, how many, and what they are.

use std::time::Duration;

use super::dice::Dice;
use crate::core::ids::ProgramName;
use crate::core::schedule::Zone;
use crate::core::spec::{
    Backoff, Kind, LogSpec, Missed, Overlap, ProgramSpec, RestartPolicy, RunSpec, ScaleMode, ScaleSpec,
    ScheduleSpec, StopSpec, StopTarget,
};
use crate::core::world::Limits;

/// Names of programs.
pub(super) const NAMES: [&str; 6] = ["api", "billing", "mail", "orders", "search", "web"];
/// Names of brokers.
pub(super) const BROKERS: [&str; 2] = ["default", "other"];
/// Names of queues.
pub(super) const QUEUES: [&str; 3] = ["bills", "letters", "orders"];
/// Names of projects.
pub(super) const PROJECTS: [&str; 2] = ["shop", "office"];
/// The longest stop timeout.
pub(super) const TIMEOUT_MOST: Duration = Duration::from_secs(30);

/// A first configuration.
pub(super) fn programs(dice: &mut Dice) -> Vec<ProgramSpec> {
    let some = NAMES.iter().filter(|_| dice.chance(0.6)).copied().collect::<Vec<_>>();
    some.into_iter().map(|name| program(name, dice)).collect()
}

/// Some other limits.
pub(super) fn limits(dice: &mut Dice) -> Limits {
    Limits {
        starting: dice.pick(&[1, 2, 4, 4]),
        probe_interval: Duration::from_secs(1),
        seed: u64::from(dice.below(1_000_000)),
    }
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
        backoff: backoff(dice),
        stop: stop(dice),
        log: LogSpec::default(),
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
    ScaleSpec {
        broker: dice.pick(&BROKERS).to_owned(),
        queue: dice.pick(&QUEUES).to_owned(),
        wait: dice.pick(&[Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(60)]),
        min,
        max: (min + dice.below(7)).max(1),
        mode: if dice.chance(0.9) { ScaleMode::Auto } else { ScaleMode::DryRun },
    }
}

fn restart(dice: &mut Dice) -> RestartPolicy {
    let always = RestartPolicy::Always;
    dice.pick(&[always, always, always, RestartPolicy::OnFailure, RestartPolicy::Never])
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
    StopSpec {
        signal: dice.pick(&[15, 15, 15, 2]),
        to: dice.pick(&[StopTarget::Main, StopTarget::Main, StopTarget::Group]),
        timeout: dice.pick(&timeouts),
    }
}
