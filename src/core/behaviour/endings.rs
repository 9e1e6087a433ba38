//! Ends that take their time, and what is left behind.

use std::time::Duration;

use super::set_engine_target;
use crate::core::auxiliary::{AuxiliaryResult, Purpose};
use crate::core::command::Command;
use crate::core::event::{Edit, Fact, Notice};
use crate::core::exit::ExitStatus;
use crate::core::ids::ProgramName;
use crate::core::machine::Machine;
use crate::core::scenario::{Scenario, scaled, service, target};
use crate::core::time::Time;
use crate::core::world::Limits;

#[test]
fn the_moment_of_a_kill_is_woken_for_although_only_time_passes() {
    let mut machine = Machine::new(Limits::default());
    machine.configure(vec![service("web", 1)], Limits::default());
    let mut now = Time::from_millis(1_000);
    let plan = machine.step(now);
    let [Command::Spawn { life, .. }] = plan.commands.as_slice() else { panic!("{plan:?}") };
    machine.observe(Fact::Spawned { incarnation: life.incarnation, pid: 7, at: now });
    machine.edit(&Edit::Stop(target("web")), "test", now).unwrap();
    let plan = machine.step(now);
    assert!(matches!(plan.commands.as_slice(), [Command::Stop { .. }]), "{plan:?}");
    for wait in [10, 2, 2] {
        let due = now + Duration::from_secs(wait);
        assert_eq!(machine.step(now).wake_at, Some(due));
        now = due;
        let plan = machine.step(now);
        assert!(matches!(plan.commands.as_slice(), [Command::Kill { .. }]), "{plan:?}");
        assert!(plan.wake_at.is_some(), "whoever outlives a kill is killed again");
    }
}

#[test]
fn a_drain_that_proves_manners_opens_the_way_for_the_others_when_that_is_due() {
    let mut scene = Scenario::new(vec![scaled("orders", 0, 10)]);
    set_engine_target(&mut scene, "orders", 3);
    scene.wait(100.0);
    set_engine_target(&mut scene, "orders", 0);
    assert_eq!(scene.ending("orders").len(), 1);
    let due = scene.now + Duration::from_secs(5);
    assert!(scene.wake_at.is_some_and(|wake_at| wake_at <= due), "{:?}", scene.wake_at);
    scene.wait(5.0);
    assert_eq!(scene.ending("orders").len(), 3);
}

#[test]
fn what_is_found_of_a_process_that_is_not_wanted_any_more_is_stopped_and_ends_before_a_shutdown_does() {
    let mut scene = Scenario::new(vec![scaled("orders", 0, 10), service("web", 1)]);
    set_engine_target(&mut scene, "orders", 1);
    scene.wait(100.0);
    let old = scene.incarnation("orders:0").unwrap();
    let at = scene.now;
    scene.machine.observe(Fact::Exited { incarnation: old, status: ExitStatus::Code(1), left: 0, at });
    set_engine_target(&mut scene, "orders", 0);
    scene.left(old, 2);
    assert!(matches!(scene.done.last(), Some(Command::StopLeft { incarnation, .. }) if *incarnation == old));
    scene.edit(Edit::Shutdown).unwrap();
    scene.obey("web");
    assert!(!scene.finished);
    scene.wait(11.0);
    assert!(matches!(scene.done.last(), Some(Command::Kill { incarnation, .. }) if *incarnation == old));
    scene.left(old, 0);
    assert!(scene.finished);
}

#[test]
fn what_a_removed_program_left_behind_keeps_it_until_it_is_gone() {
    let mut scene = Scenario::new(vec![service("web", 1)]);
    scene.wait(60.0);
    let old = scene.incarnation("web:0").unwrap();
    let at = scene.now;
    scene.machine.observe(Fact::Exited { incarnation: old, status: ExitStatus::Code(1), left: 0, at });
    scene.machine.configure(Vec::new(), Limits::default());
    scene.settle();
    scene.left(old, 1);
    assert!(matches!(scene.done.last(), Some(Command::StopLeft { incarnation, .. }) if *incarnation == old));
    scene.left(old, 0);
    assert!(scene.machine.world().programs.is_empty());
}

#[test]
fn a_restart_of_a_process_that_had_just_ended_and_left_others_waits_for_those_and_for_no_backoff() {
    let mut scene = Scenario::new(vec![service("web", 1)]);
    scene.wait(5.0);
    let old = scene.incarnation("web:0").unwrap();
    scene.exit("web:0", ExitStatus::Code(1), 1);
    scene.edit(Edit::Restart(target("web"))).unwrap();
    scene.wait(1.0);
    scene.left(old, 0);
    assert_eq!(scene.live("web"), 1);
}

#[test]
fn a_second_request_to_shut_down_also_kills_what_was_still_being_started() {
    let mut machine = Machine::new(Limits::default());
    machine.configure(vec![service("web", 1)], Limits::default());
    let now = Time::from_millis(1_000);
    let plan = machine.step(now);
    let [Command::Spawn { life, .. }] = plan.commands.as_slice() else { panic!("{plan:?}") };
    for edit in [Edit::Shutdown, Edit::ShutdownNow] {
        machine.edit(&edit, "test", now).unwrap();
    }
    // A reload in the middle of it changes nothing.
    machine.configure(vec![service("web", 1)], Limits::default());
    machine.observe(Fact::Spawned { incarnation: life.incarnation, pid: 7, at: now });
    let plan = machine.step(now);
    assert!(matches!(plan.commands.as_slice(), [Command::Stop { .. }, Command::Kill { .. }]), "{plan:?}");
}

#[test]
fn no_auxiliary_process_is_started_during_a_shutdown_and_what_one_left_behind_does_not_outlive_it() {
    let mut scene = Scenario::new(vec![service("web", 0)]);
    let name = || ProgramName::new("web").unwrap();
    let limit = Duration::from_secs(5);
    scene.machine.request_auxiliary(name(), Purpose::Check, vec!["check".into()], limit);
    let plan = scene.machine.step(scene.now);
    let [Command::SpawnAuxiliary { incarnation, .. }] = plan.commands.as_slice() else { panic!("{plan:?}") };
    let (incarnation, at) = (*incarnation, scene.now);
    scene.observe(Fact::Exited { incarnation, status: ExitStatus::Code(0), left: 1, at });
    assert!(matches!(scene.done.last(), Some(Command::KillStray { .. })), "{:?}", scene.done);
    scene.edit(Edit::Shutdown).unwrap();
    scene.machine.request_auxiliary(name(), Purpose::Hook, vec!["hook".into()], limit);
    scene.settle();
    let refused = |notice: &Notice| matches!(notice, Notice::Auxiliary(outcome) if matches!(outcome.result, AuxiliaryResult::CouldNotStart(_)));
    assert!(scene.notices.iter().any(refused));
    assert!(!scene.finished);
    scene.left(incarnation, 0);
    assert!(scene.finished);
}
