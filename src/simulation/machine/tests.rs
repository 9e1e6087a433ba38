//! Runs over many seeds.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::flaws::Flaw;
use super::run::Run;

/// How many seeds are run; `LEVERET_SIMULATION_SEEDS` asks for more, from `LEVERET_SIMULATION_FIRST` on.
const SEEDS: u64 = 300;

/// How many actions a run has at least before it comes to rest; `LEVERET_SIMULATION_ACTIONS` asks for more.
const ACTIONS: u32 = 150;

/// How many steps of the machine, each held against every rule, a run has at least before it comes to rest. An action is
/// mostly several.
const STEPS: u64 = 2_000;

/// How many seeds a soak runs before it says how far it is.
const SEEDS_OF_A_LINE: usize = 20;

/// How many actions a machine with a defect has at least to be found out in a run.
const ACTIONS_TO_FIND_OUT: u32 = 300;

/// How many seeds a machine with a defect has to be found out in; `LEVERET_SIMULATION_FLAW` asks for just one defect.
const SEEDS_TO_FIND_OUT: u64 = 120;

/// The same for the seeds that once failed.
const ACTIONS_OF_REGRESSIONS: u32 = 1_500;

/// How many failures are told beside the first one.
const OTHERS_TOLD: usize = 40;

/// How many failures by other rules are told where the one that is meant says nothing.
const OTHERS_TOLD_OF_A_DEFECT: usize = 4;

const REGRESSIONS: &str = include_str!("regressions.txt");

/// A rule that was broken, and where.
struct Failure {
    seed: u64,
    sentence: String,
    report: String,
}

/// Runs a seed, and returns its command log or what was wrong.
fn simulate(seed: u64, actions: u32, flaw: Option<Flaw>) -> Result<String, Failure> {
    let mut run = Run::new(seed, flaw);
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
    let mut action = 0;
    while action < actions || run.steps < STEPS {
        action += 1;
        run.act().map_err(|broken| (action, broken))?;
    }
    run.come_to_rest().map_err(|broken| (action + 1, broken))
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
            if let Err(failure) = simulate(*seed, *actions, None) {
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
    let first = asked("LEVERET_SIMULATION_FIRST").unwrap_or(0);
    seeds.extend((first..first + count).map(|seed| (seed, actions.unwrap_or(ACTIONS))));
    simulate_all(&seeds);
}

#[test]
#[ignore = "goes on for as long as one likes: make soak"]
#[expect(clippy::print_stdout, reason = "somebody sits and waits")]
fn soak() {
    let actions =
        asked("LEVERET_SIMULATION_ACTIONS").map_or(ACTIONS_OF_REGRESSIONS, |actions| actions as u32);
    let count = asked("LEVERET_SIMULATION_SEEDS").unwrap_or(SEEDS);
    let first = asked("LEVERET_SIMULATION_FIRST").unwrap_or(0);
    let mut seeds = first..first + count;
    loop {
        let some: Vec<_> = seeds.by_ref().take(SEEDS_OF_A_LINE).map(|seed| (seed, actions)).collect();
        let Some((next, _)) = some.last() else { return };
        simulate_all(&some);
        println!("{} of {count} seeds of {actions} actions hold", next + 1 - first);
    }
}

#[test]
fn every_rule_finds_out_the_machine_that_breaks_it() {
    let only = std::env::var("LEVERET_SIMULATION_FLAW").ok();
    let is_meant = |flaw: &Flaw| only.as_ref().is_none_or(|only| format!("{flaw:?}") == *only);
    let flaws: Vec<_> = Flaw::ALL.into_iter().filter(|(flaw, _)| is_meant(flaw)).collect();
    assert!(!flaws.is_empty(), "there is no defect {only:?}");
    let missed: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            flaws.into_iter().map(|(flaw, words)| scope.spawn(move || find_out(flaw, words))).collect();
        threads.into_iter().filter_map(|thread| thread.join().unwrap().err()).collect()
    });
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

/// Runs a machine with a defect until the rule that it breaks says so.
fn find_out(flaw: Flaw, words: &str) -> Result<(), String> {
    let mut others = Vec::new();
    for seed in 0..SEEDS_TO_FIND_OUT {
        match simulate(seed, ACTIONS_TO_FIND_OUT, Some(flaw)) {
            Err(failure) if failure.sentence.contains(words) => return Ok(()),
            Err(failure) if others.len() < OTHERS_TOLD_OF_A_DEFECT => {
                others.push(format!("  seed {seed}: {}", failure.sentence));
            }
            Err(_) | Ok(_) => {}
        }
    }
    Err(format!("{flaw:?} is not found out by the rule that says \"{words}\", but:\n{}", others.join("\n")))
}

#[test]
fn dice_that_nobody_can_throw_again_are_found_out() {
    let differs = (0..SEEDS_TO_FIND_OUT).any(|seed| {
        let [one, other] = [(); 2].map(|()| simulate(seed, ACTIONS, Some(Flaw::ThrowsItsOwnDice)));
        matches!((one, other), (Ok(one), Ok(other)) if one != other)
    });
    assert!(differs, "no two runs of a seed differ");
}

#[test]
fn the_same_seed_gives_the_same_commands_to_the_last_byte() {
    for seed in 0..8 {
        let logs = [(); 2]
            .map(|()| simulate(seed, ACTIONS, None).unwrap_or_else(|failure| panic!("{}", failure.report)));
        assert!(!logs[0].is_empty());
        assert!(logs[0] == logs[1], "two runs of seed {seed} differ");
    }
}
