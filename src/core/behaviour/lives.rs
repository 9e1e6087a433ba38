//! Starts, failures, and what follows them.

use std::time::Duration;

use crate::core::command::Command;
use crate::core::event::{Edit, Fact};
use crate::core::exit::ExitStatus;
use crate::core::machine::Machine;
use crate::core::observed::Phase;
use crate::core::plan::plan;
use crate::core::scenario::{Scenario, service, target};
use crate::core::spec::{OnCode, ProgramSpec};
use crate::core::world::Limits;

#[test]
fn every_process_is_started_once_and_planning_again_changes_nothing() {
    let mut scene = Scenario::new(vec![service("web", 3), service("mail", 1)]);
    assert_eq!(scene.spawns(), 4);
    for _ in 0..3 {
        scene.settle();
    }
    assert_eq!(scene.spawns(), 4);
    assert!(plan(scene.machine.world(), scene.now).commands.is_empty());
}

#[test]
fn a_crash_is_followed_by_a_growing_wait_and_health_forgives() {
    let mut scene = Scenario::new(vec![service("web", 1)]);
    for failures in 1..=3 {
        scene.wait(0.1);
        scene.exit("web:0", ExitStatus::Code(1), 0);
        let Phase::Backoff { since, until } = scene.phase("web:0") else { panic!("no backoff") };
        let full = f64::from(1 << (failures - 1));
        let wait = until.since(since).as_secs_f64();
        assert!(wait <= full && wait >= 0.75 * full, "{wait}");
        scene.wait(full);
        assert_eq!(scene.live("web"), 1);
    }
    scene.wait(3_600.0);
    scene.exit("web:0", ExitStatus::Signal(11), 0);
    let Phase::Backoff { since, until } = scene.phase("web:0") else { panic!("no backoff") };
    assert!(until.since(since) <= Duration::from_secs(1));
}

#[test]
fn a_clean_exit_after_a_useful_life_is_replaced_at_once() {
    let mut scene = Scenario::new(vec![service("web", 1)]);
    scene.wait(60.0);
    let before = scene.incarnation("web:0");
    scene.exit("web:0", ExitStatus::Code(0), 0);
    assert_ne!(scene.incarnation("web:0"), before);
    assert_eq!(scene.live("web"), 1);
}

#[test]
fn ends_are_tallied_and_the_tally_outlives_leveret() {
    let codes = [(64, OnCode::StayDown)].into();
    let mut scene = Scenario::new(vec![ProgramSpec { codes, ..service("web", 1) }]);
    for status in [ExitStatus::Code(1), ExitStatus::Signal(9), ExitStatus::Code(1)] {
        scene.wait(5.0);
        scene.exit("web:0", status, 0);
    }
    scene.wait(5.0);
    scene.exit("web:0", ExitStatus::Code(64), 0);
    assert!(matches!(scene.phase("web:0"), Phase::Exited { .. }), "{:?}", scene.phase("web:0"));
    scene.wait(100.0);
    assert_eq!(scene.live("web"), 0);
    scene.edit(Edit::Start(target("web"))).unwrap();
    scene.wait(5.0);
    scene.edit(Edit::Stop(target("web"))).unwrap();
    scene.obey("web");
    let tally = |machine: &Machine| {
        let program = machine.world().programs.values().next().unwrap();
        let causes = program.deaths.by_count().into_iter();
        causes.map(|(cause, death)| format!("{} {cause}", death.count)).collect::<Vec<_>>()
    };
    let expected = ["2 exit code 1", "1 exit code 64", "1 killed by SIGKILL"];
    assert_eq!(tally(&scene.machine), expected, "an end that somebody asked for is not in it");
    for same_processes in [true, false] {
        let mut next = Machine::new(Limits::default());
        next.configure(vec![service("web", 1)], Limits::default());
        next.recall(scene.machine.memory(), same_processes, scene.now);
        assert_eq!(tally(&next), expected);
    }
}

#[test]
fn a_failed_start_says_which_step_failed_and_waits() {
    let mut scene = Scenario::new(vec![service("web", 1)]);
    scene.wait(60.0);
    // Orders are not answered by the scene itself from here on.
    let mut machine = Machine::new(Limits::default());
    machine.configure(vec![service("web", 1)], Limits::default());
    let now = scene.now;
    let plan = machine.step(now);
    let [Command::Spawn { life, .. }] = plan.commands.as_slice() else { panic!("{plan:?}") };
    machine.observe(Fact::CouldNotSpawn {
        incarnation: life.incarnation,
        step: "chdir /srv/nope".into(),
        cause: "No such file or directory".into(),
        at: now,
    });
    let gaps = machine.step(now).gaps;
    let (_, _, gap) = gaps.first().unwrap();
    assert!(
        gap.sentence(now).starts_with("cannot start: chdir /srv/nope: No such file or directory"),
        "{gap:?}"
    );
}
