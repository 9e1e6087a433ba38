//! Runs over many seeds.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::run::Run;

/// How many seeds are run; `LEVERET_SIMULATION_SEEDS` asks for more.
const SEEDS: u64 = 200;

/// How many actions a run has before it comes to rest.
const ACTIONS: u32 = 300;

/// The same for the seeds that once failed.
const ACTIONS_OF_REGRESSIONS: u32 = 1_500;

/// How many failures are told beside the first one.
const OTHERS_TOLD: usize = 40;

const REGRESSIONS: &str = include_str!("regressions.txt");

/// A rule that was broken, and where.
struct Failure {
    seed: u64,
    sentence: String,
    report: String,
}

/// Runs a seed, and returns its command log or what was wrong.
fn simulate(seed: u64, actions: u32) -> Result<String, Failure> {
    let mut run = Run::new(seed);
    match live(&mut run, actions) {
        Ok(()) => Ok(run.log),
        Err((step, sentence)) => {
            let recent: Vec<_> = run.actions.iter().map(String::as_str).collect();
            let report = format!(
                "seed {seed}, action {step}, second {:.6}: {sentence}\nthe last actions:\n  {}\nsee it again: \
                 LEVERET_SIMULATION_SEED={seed} LEVERET_SIMULATION_ACTIONS={actions} cargo test --lib simulation::machine",
                run.now.as_seconds(),
                recent.join("\n  ")
            );
            Err(Failure { seed, sentence, report })
        }
    }
}

fn live(run: &mut Run, actions: u32) -> Result<(), (u32, String)> {
    run.settle().map_err(|broken| (0, broken))?;
    for step in 1..=actions {
        run.act().map_err(|broken| (step, broken))?;
    }
    run.come_to_rest().map_err(|broken| (actions + 1, broken))
}

/// A number from the environment.
fn asked(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is \"{text}\" and should be a number")))
}

fn regressions() -> Vec<u64> {
    let lines = REGRESSIONS.lines().filter(|line| !line.starts_with('#'));
    let seeds = lines.filter_map(|line| line.split_whitespace().next());
    seeds.map(|seed| seed.parse().expect("a line begins with a seed")).collect()
}

/// Runs them all on every processor, and tells the first failure in full and some others in a line.
fn simulate_all(seeds: &[(u64, u32)]) {
    let next = AtomicU64::new(0);
    let failures: Mutex<Vec<(usize, Failure)>> = Mutex::new(Vec::new());
    let work = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed) as usize;
            let Some((seed, actions)) = seeds.get(index) else { return };
            if let Err(failure) = simulate(*seed, *actions) {
                failures.lock().unwrap().push((index, failure));
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let mut failures = failures.into_inner().unwrap();
    failures.sort_by_key(|(index, _)| *index);
    let others: Vec<_> = failures
        .iter()
        .skip(1)
        .take(OTHERS_TOLD)
        .map(|(_, failure)| format!("seed {}: {}", failure.seed, failure.sentence))
        .collect();
    if let Some((_, first)) = failures.first() {
        let count = failures.len();
        panic!("{}\n{count} of {} runs fail:\n{}", first.report, seeds.len(), others.join("\n"));
    }
}

#[test]
fn every_rule_holds_in_every_world() {
    let actions = asked("LEVERET_SIMULATION_ACTIONS").map(|actions| actions as u32);
    if let Some(seed) = asked("LEVERET_SIMULATION_SEED") {
        return simulate_all(&[(seed, actions.unwrap_or(ACTIONS))]);
    }
    let count = asked("LEVERET_SIMULATION_SEEDS").unwrap_or(SEEDS);
    let mut seeds: Vec<_> = regressions().into_iter().map(|seed| (seed, ACTIONS_OF_REGRESSIONS)).collect();
    seeds.extend((0..count).map(|seed| (seed, actions.unwrap_or(ACTIONS))));
    simulate_all(&seeds);
}

#[test]
fn the_same_seed_gives_the_same_commands_to_the_last_byte() {
    for seed in 0..8 {
        let logs =
            [(); 2].map(|()| simulate(seed, ACTIONS).unwrap_or_else(|failure| panic!("{}", failure.report)));
        assert!(!logs[0].is_empty());
        assert!(logs[0] == logs[1], "two runs of seed {seed} differ");
    }
}
