//! Starts, failures, and what follows them.

use std::time::Duration;

use crate::core::command::Command;
use crate::core::event::Fact;
use crate::core::exit::ExitStatus;
use crate::core::machine::Machine;
use crate::core::observed::Phase;
use crate::core::plan::plan;
use crate::core::scenario::{Scenario, service};
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
