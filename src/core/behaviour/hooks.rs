//! What runs before a process is started: it starts only when that has succeeded, and what comes of it otherwise.

use std::time::Duration;

use crate::core::command::Command;
use crate::core::event::{AdoptedPreparation, Edit, Fact, RestartReason};
use crate::core::exit::ExitStatus;
use crate::core::hooks::{Hook, Hooks, Preparation};
use crate::core::ids::Incarnation;
use crate::core::observed::Phase;
use crate::core::scenario::{Scenario, service, target};
use crate::core::spec::{Dependency, ProgramSpec, Until};
use crate::core::world::Limits;

fn prepared(spec: ProgramSpec) -> ProgramSpec {
    let hook = Hook { argv: vec!["./migrate.sh".to_owned()], timeout: Duration::from_secs(30) };
    ProgramSpec { hooks: Hooks { pre_start: Some(hook), ..Hooks::default() }, ..spec }
}

/// The hook that runs for a process.
fn hook(scene: &Scenario, process: &str) -> Incarnation {
    assert!(matches!(scene.phase(process), Phase::Preparing(..)), "{:?}", scene.phase(process));
    scene.incarnation(process).unwrap()
}

fn ends(scene: &mut Scenario, incarnation: Incarnation, status: ExitStatus) {
    let at = scene.now;
    scene.machine.observe(Fact::Exited { incarnation, status, left: 0, at });
    scene.observe(Fact::Left { incarnation, left: 0, at });
}

fn killed(scene: &Scenario) -> Vec<(Incarnation, bool)> {
    let killed = |command: &Command| {
        let Command::EndPreparation { incarnation, is_cancelled, .. } = command else { return None };
        Some((*incarnation, *is_cancelled))
    };
    scene.done.iter().filter_map(killed).collect()
}

#[test]
fn a_process_starts_when_its_hook_has_succeeded_and_the_hook_runs_before_every_start() {
    let mut scene = Scenario::new(vec![prepared(service("web", 2))]);
    scene.settle();
    let (first, second) = (hook(&scene, "web:0"), hook(&scene, "web:1"));
    assert_eq!(scene.spawns(), 0);
    let said = "starting: pre_start runs; it has failed in 30s if it has not ended";
    assert_eq!(scene.gap("web:0").as_deref(), Some(said));
    ends(&mut scene, first, ExitStatus::Code(0));
    assert_eq!((scene.spawns(), hook(&scene, "web:1")), (1, second));
    assert!(scene.incarnation("web:0").unwrap() > second, "it has a number of its own");
    scene.wait(60.0);
    scene.exit("web:0", ExitStatus::Code(0), 0);
    assert_eq!(scene.spawns(), 1, "a new one starts at once, and its hook runs first");
    let again = hook(&scene, "web:0");
    ends(&mut scene, again, ExitStatus::Code(0));
    assert_eq!(scene.spawns(), 2);
}

#[test]
fn a_hook_that_fails_is_a_start_that_failed() {
    let mut scene = Scenario::new(vec![prepared(service("web", 1))]);
    scene.settle();
    let first = hook(&scene, "web:0");
    ends(&mut scene, first, ExitStatus::Code(1));
    let said = scene.gap("web:0").unwrap();
    assert!(said.starts_with("cannot start: pre_start ended with exit code 1; starts again in "), "{said}");
    scene.wait(1.0);
    let second = hook(&scene, "web:0");
    scene.wait(30.0);
    assert_eq!(killed(&scene), [(second, false)]);
    ends(&mut scene, second, ExitStatus::Signal(9));
    let said = scene.gap("web:0").unwrap();
    let begins =
        "2 failures in a row, the last one: cannot start: pre_start did not end within 30s; starts again in ";
    assert!(said.starts_with(begins), "{said}");
    scene.wait(2.0);
    let (incarnation, at) = (hook(&scene, "web:0"), scene.now);
    let (step, cause) = ("exec ./migrate.sh".to_owned(), "Permission denied".to_owned());
    scene.observe(Fact::CouldNotSpawn { incarnation, step, cause, at });
    let said = scene.gap("web:0").unwrap();
    assert!(said.contains("cannot start: pre_start: exec ./migrate.sh: Permission denied"), "{said}");
    assert_eq!(scene.spawns(), 0);
    scene.wait(4.0);
    let last = hook(&scene, "web:0");
    ends(&mut scene, last, ExitStatus::Code(0));
    let program = scene.machine.world().programs.values().next().unwrap();
    assert_eq!(program.restarts.get(&RestartReason::SpawnFailed), Some(&1));
}

#[test]
fn nobody_waits_for_the_hook_of_a_process_that_is_not_wanted_any_more() {
    let mut scene = Scenario::new(vec![prepared(service("web", 1))]);
    scene.settle();
    let first = hook(&scene, "web:0");
    scene.edit(Edit::Stop(target("web"))).unwrap();
    assert_eq!(killed(&scene), [(first, true)]);
    scene.edit(Edit::Start(target("web"))).unwrap();
    assert_eq!(hook(&scene, "web:0"), first, "never two at one time");
    ends(&mut scene, first, ExitStatus::Code(0));
    let second = hook(&scene, "web:0");
    assert!(second > first && scene.spawns() == 0, "it was killed, whatever it says");
    let mut changed = prepared(service("web", 1));
    changed.run.argv.push("other".into());
    scene.machine.configure(vec![changed], Limits::default());
    scene.settle();
    assert_eq!(killed(&scene), [(first, true), (second, true)]);
    scene.edit(Edit::Shutdown).unwrap();
    assert!(!scene.finished, "it lives");
    ends(&mut scene, second, ExitStatus::Signal(9));
    assert!(scene.finished);
}

#[test]
fn what_was_prepared_for_a_start_that_cannot_be_now_is_prepared_again() {
    let needed = Dependency { program: "db".parse().unwrap(), until: Until::Started };
    let web = ProgramSpec { depends_on: vec![needed], ..prepared(service("web", 1)) };
    let mut scene = Scenario::new(vec![service("db", 1), web]);
    scene.wait(2.0);
    let first = hook(&scene, "web:0");
    scene.exit("db:0", ExitStatus::Code(1), 0);
    ends(&mut scene, first, ExitStatus::Code(0));
    assert_eq!((scene.spawns(), scene.phase("web:0")), (1, Phase::Empty));
    scene.wait(2.0);
    assert!(hook(&scene, "web:0") > first);
}

#[test]
fn the_next_controller_goes_on_with_the_hook_that_runs() {
    let mut scene = Scenario::new(vec![prepared(service("web", 1))]);
    scene.settle();
    let (incarnation, ordered_at) = (hook(&scene, "web:0"), scene.now);
    let mut next = Scenario::new(vec![prepared(service("web", 0))]);
    let fingerprint = next.machine.world().programs.values().next().unwrap().fingerprint;
    let process = "web:0".parse().unwrap();
    let preparation = Preparation::until(ordered_at + Duration::from_secs(30));
    let adopted =
        AdoptedPreparation { process, incarnation, fingerprint, ordered_at, preparation, run: None };
    next.machine.adopt_preparation(adopted.clone());
    next.machine.configure(vec![prepared(service("web", 1))], Limits::default());
    next.wait(10.0);
    assert_eq!((hook(&next, "web:0"), next.done.len()), (incarnation, 0));
    ends(&mut next, incarnation, ExitStatus::Code(0));
    assert_eq!(next.spawns(), 1);
    next.machine.adopt_preparation(adopted);
    assert!(matches!(next.phase("web:0"), Phase::Starting(..)), "its start has come");
}
