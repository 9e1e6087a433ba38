//! Ends that take their time, and what is left behind.

use std::time::Duration;

use super::set_engine_target;
use crate::core::auxiliary::{AuxiliaryResult, Purpose};
use crate::core::command::{Command, Scope};
use crate::core::event::{Adopted, Edit, EditError, Fact, Notice};
use crate::core::exit::ExitStatus;
use crate::core::ids::ProgramName;
use crate::core::machine::Machine;
use crate::core::observed::Phase;
use crate::core::scenario::{Scenario, scaled, service, target};
use crate::core::spec::{Backoff, ProgramSpec, RestartPolicy, StopSpec, StopStep};
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
fn everything_ends_with_a_critical_program_and_its_exit_code() {
    let backoff = Backoff { initial: Duration::ZERO, give_up_after: Some(2), ..Backoff::default() };
    let critical = |restart| ProgramSpec { critical: true, restart, backoff, ..service("web", 1) };
    let (always, never) = (RestartPolicy::Always, RestartPolicy::Never);
    for (restart, statuses, code) in [
        (always, vec![ExitStatus::Code(1), ExitStatus::Code(3)], 3),
        (always, vec![ExitStatus::Code(1), ExitStatus::Signal(9)], 137),
        (never, vec![ExitStatus::Code(0)], 0),
        (never, vec![ExitStatus::Unknown], 1),
    ] {
        let mut scene = Scenario::new(vec![critical(restart), service("mail", 1)]);
        let (last, before) = statuses.split_last().unwrap();
        for status in before {
            scene.exit("web:0", *status, 0);
            assert_eq!(scene.live("web"), 1);
            assert_eq!(scene.machine.world().shutdown, None);
        }
        scene.exit("web:0", *last, 0);
        assert_eq!(scene.ending("mail").len(), 1, "everything else is asked to end");
        let mut next = Machine::new(Limits::default());
        next.edit(&Edit::Shutdown, "signal", scene.now).unwrap();
        next.recall(scene.machine.memory(), true, scene.now);
        for machine in [&scene.machine, &next] {
            assert_eq!(machine.world().shutdown.map(|shutdown| shutdown.exit_code), Some(code));
        }
        scene.obey("mail");
        assert!(scene.finished);
    }
}

#[test]
fn an_operator_may_stop_a_critical_program_and_others_may_end_for_good() {
    let restart = RestartPolicy::Never;
    let mut scene = Scenario::new(vec![
        ProgramSpec { critical: true, restart, ..service("web", 1) },
        ProgramSpec { restart, ..service("mail", 1) },
    ]);
    scene.edit(Edit::Stop(target("web"))).unwrap();
    scene.obey("web");
    scene.exit("mail:0", ExitStatus::Code(1), 0);
    assert_eq!(scene.machine.world().shutdown, None);
}

fn with_ladder(spec: ProgramSpec) -> ProgramSpec {
    let step = |after, signal| StopStep { after: Duration::from_secs(after), signal };
    let timeout = Duration::from_secs(45);
    let stop = StopSpec { timeout, then: vec![step(30, 3), step(40, 6)], ..StopSpec::default() };
    ProgramSpec { stop, ..spec }
}

fn signals(scene: &Scenario) -> Vec<i32> {
    let signal = |command: &Command| match command {
        Command::Stop { signal, .. } | Command::StopNext { signal, .. } => Some(*signal),
        Command::Kill { .. } => Some(9),
        Command::Spawn { .. }
        | Command::Prepare { .. }
        | Command::EndPreparation { .. }
        | Command::RunHook { .. }
        | Command::EndHook { .. }
        | Command::PrepareStop { .. }
        | Command::StopLeft { .. }
        | Command::Limit { .. }
        | Command::Watch { .. }
        | Command::Check { .. }
        | Command::SpawnAuxiliary { .. }
        | Command::KillAuxiliary { .. }
        | Command::KillStray { .. } => None,
    };
    scene.done.iter().filter_map(signal).collect()
}

#[test]
fn a_ladder_of_signals_is_climbed_up_to_the_kill() {
    let mut scene = Scenario::new(vec![with_ladder(service("web", 1))]);
    scene.wait(60.0);
    scene.edit(Edit::Stop(target("web"))).unwrap();
    for (seconds, sent) in [
        (29.9, vec![15]),
        (0.1, vec![15, 3]),
        (9.9, vec![15, 3]),
        (0.1, vec![15, 3, 6]),
        (4.9, vec![15, 3, 6]),
    ] {
        scene.wait(seconds);
        assert_eq!(signals(&scene), sent);
    }
    scene.wait(0.1);
    assert_eq!(signals(&scene), [15, 3, 6, 9]);
}

#[test]
fn scaling_in_sends_the_first_signal_alone_until_somebody_insists() {
    let mut scene = Scenario::new(vec![with_ladder(scaled("orders", 0, 10))]);
    set_engine_target(&mut scene, "orders", 1);
    scene.wait(100.0);
    set_engine_target(&mut scene, "orders", 0);
    scene.wait(3_600.0);
    assert_eq!(signals(&scene), [15]);
    scene.edit(Edit::Stop(target("orders"))).unwrap();
    scene.wait(29.9);
    assert_eq!(signals(&scene), [15]);
    scene.wait(0.2);
    assert_eq!(signals(&scene), [15, 3]);
    scene.obey("orders");
    scene.wait(100.0);
    assert_eq!(signals(&scene), [15, 3]);
}

#[test]
fn the_next_controller_goes_on_at_the_step_that_was_reached() {
    let specs = vec![with_ladder(service("web", 1))];
    let mut scene = Scenario::new(specs.clone());
    scene.wait(60.0);
    scene.edit(Edit::Stop(target("web"))).unwrap();
    scene.wait(31.0);
    let Phase::Stopping(life, main, stop) = scene.phase("web:0") else { panic!("it is stopping") };
    let note = serde_json::to_string(&stop).unwrap();
    let mut next = Scenario::new(Vec::new());
    next.now = scene.now;
    next.machine.configure(specs, Limits::default());
    next.machine.recall(scene.machine.memory(), true, scene.now);
    next.machine.adopt(Adopted {
        process: "web:0".parse().unwrap(),
        incarnation: life.incarnation,
        fingerprint: life.fingerprint,
        ordered_at: life.ordered_at,
        stop: serde_json::from_str(&note).unwrap(),
        main: Some((main.pid, main.started_at)),
        run: None,
        unheard: false,
    });
    next.wait(8.9);
    assert!(signals(&next).is_empty(), "{:?}", signals(&next));
    next.wait(0.1);
    assert_eq!(signals(&next), [6]);
    next.wait(5.0);
    assert_eq!(signals(&next), [6, 9]);
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
fn a_shutdown_that_has_taken_all_its_time_kills_what_is_left() {
    let mut patient = service("web", 2);
    patient.stop.timeout = Duration::from_secs(3_600);
    let limits = Limits { shutdown: Some(Duration::from_secs(60)), ..Limits::default() };
    let mut scene = Scenario::new(vec![patient.clone()]);
    scene.machine.configure(vec![patient], limits);
    scene.wait(5.0);
    scene.edit(Edit::Shutdown).unwrap();
    scene.wait(59.9);
    scene.exit("web:0", ExitStatus::Code(0), 0);
    assert_eq!(scene.kills(), 0);
    scene.wait(0.1);
    assert_eq!(scene.kills(), 1, "{:?}", scene.done);
    assert!(scene.notices.contains(&Notice::ShutdownOverdue(Duration::from_secs(60))));
    scene.exit("web:1", ExitStatus::Signal(9), 0);
    assert!(scene.finished);
}

#[test]
fn no_auxiliary_process_is_started_during_a_shutdown_and_what_one_left_behind_does_not_outlive_it() {
    let mut scene = Scenario::new(vec![service("web", 0)]);
    let name = || ProgramName::new("web").unwrap();
    let limit = Duration::from_secs(5);
    scene.machine.request_auxiliary(name(), None, Purpose::Check, (vec!["check".into()], limit));
    let plan = scene.machine.step(scene.now);
    let [Command::SpawnAuxiliary { incarnation, .. }] = plan.commands.as_slice() else { panic!("{plan:?}") };
    let (incarnation, at) = (*incarnation, scene.now);
    scene.observe(Fact::Exited { incarnation, status: ExitStatus::Code(0), left: 1, at });
    assert!(matches!(scene.done.last(), Some(Command::KillStray { .. })), "{:?}", scene.done);
    scene.edit(Edit::Shutdown).unwrap();
    scene.machine.request_auxiliary(name(), None, Purpose::Preflight, (vec!["preflight".into()], limit));
    scene.settle();
    let refused = |notice: &Notice| matches!(notice, Notice::Auxiliary(outcome) if matches!(outcome.result, AuxiliaryResult::CouldNotStart(_)));
    assert!(scene.notices.iter().any(refused));
    assert!(!scene.finished);
    scene.left(incarnation, 0);
    assert!(scene.finished);
}

#[test]
fn a_stop_signals_the_main_process_and_kills_the_tree_only_at_its_limit() {
    let mut scene = Scenario::new(vec![service("web", 1)]);
    scene.wait(5.0);
    scene.edit(Edit::Stop(target("web"))).unwrap();
    let signal = scene.done.last().cloned();
    assert!(matches!(signal, Some(Command::Stop { signal: 15, scope: Scope::Main, .. })), "{signal:?}");
    scene.wait(9.9);
    assert_eq!(scene.kills(), 0);
    scene.wait(0.2);
    assert_eq!(scene.kills(), 1);
    scene.exit("web:0", ExitStatus::Signal(9), 0);
    assert_eq!(scene.phase("web:0"), Phase::Empty);
    scene.wait(3_600.0);
    assert_eq!(scene.live("web"), 0, "a stop lasts");
}

#[test]
fn a_tree_that_outlives_a_kill_is_killed_again() {
    let mut scene = Scenario::new(vec![service("web", 1)]);
    scene.edit(Edit::Stop(target("web"))).unwrap();
    scene.wait(20.0);
    assert!(scene.kills() >= 4, "{}", scene.kills());
}

#[test]
fn a_leader_that_leaves_a_worker_behind_is_stopping_until_the_worker_has_ended() {
    let mut scene = Scenario::new(vec![service("web", 1)]);
    scene.wait(2.0);
    let life = scene.incarnation("web:0").unwrap();
    scene.edit(Edit::Stop(target("web:0"))).unwrap();
    scene.exit("web:0", ExitStatus::Signal(15), 1);
    assert_eq!(scene.ending("web"), ["web:0"]);
    let asked = scene.done.iter().filter(|command| matches!(command, Command::StopLeft { .. })).count();
    assert_eq!(asked, 1, "what is left gets the stop signal, once");
    scene.wait(5.0);
    assert_eq!(scene.kills(), 0);
    scene.left(life, 0);
    assert_eq!(scene.phase("web:0"), Phase::Empty);
}

#[test]
fn what_is_found_after_the_next_life_began_is_stopped_beside_it() {
    let mut scene = Scenario::new(vec![service("web", 1)]);
    scene.wait(60.0);
    let old = scene.incarnation("web:0").unwrap();
    let at = scene.now;
    scene.observe(Fact::Exited { incarnation: old, status: ExitStatus::Code(0), left: 0, at });
    let new = scene.incarnation("web:0").unwrap();
    assert_ne!(old, new);
    scene.left(old, 2);
    assert!(matches!(scene.done.last(), Some(Command::StopLeft { incarnation, .. }) if *incarnation == old));
    scene.wait(11.0);
    assert!(matches!(scene.done.last(), Some(Command::Kill { incarnation, .. }) if *incarnation == old));
    scene.left(old, 0);
    assert_eq!(scene.incarnation("web:0"), Some(new), "the new life goes on");
}

#[test]
fn a_shutdown_stops_everything_at_once_starts_nothing_and_then_is_finished() {
    let mut scene = Scenario::new(vec![service("web", 3), scaled("orders", 2, 5)]);
    scene.wait(30.0);
    scene.edit(Edit::Shutdown).unwrap();
    assert_eq!(scene.ending("web").len() + scene.ending("orders").len(), 5);
    assert!(matches!(scene.edit(Edit::Start(target("web"))), Err(EditError::Conflict(_))));
    let spawns = scene.spawns();
    scene.obey("web");
    assert!(!scene.finished);
    scene.wait(10.1);
    assert_eq!(scene.kills(), 2);
    scene.obey("orders");
    assert!(scene.finished);
    assert_eq!(scene.spawns(), spawns);
}

#[test]
fn a_second_request_to_shut_down_kills_what_is_left() {
    let mut scene = Scenario::new(vec![service("web", 2)]);
    scene.edit(Edit::Shutdown).unwrap();
    scene.wait(1.0);
    assert_eq!(scene.kills(), 0);
    scene.edit(Edit::ShutdownNow).unwrap();
    assert_eq!(scene.kills(), 2);
}

#[test]
fn an_auxiliary_process_runs_once_and_is_killed_at_its_limit() {
    let mut machine = Machine::new(Limits::default());
    machine.configure(vec![service("web", 0)], Limits::default());
    let name = ProgramName::new("web").unwrap();
    let limit = Duration::from_secs(5);
    let id = machine.request_auxiliary(name, None, Purpose::Check, (vec!["check".into()], limit));
    let now = Time::from_millis(1_000);
    let plan = machine.step(now);
    let [Command::SpawnAuxiliary { incarnation, deadline, .. }] = plan.commands.as_slice() else {
        panic!("{plan:?}")
    };
    let (incarnation, deadline) = (*incarnation, *deadline);
    machine.observe(Fact::Spawned { incarnation, pid: 7, at: now });
    assert!(machine.step(now).commands.is_empty());
    let plan = machine.step(deadline);
    assert_eq!(plan.commands, [Command::KillAuxiliary { id, incarnation }]);
    machine.observe(Fact::Exited { incarnation, status: ExitStatus::Signal(9), left: 0, at: deadline });
    machine.observe(Fact::Left { incarnation, left: 0, at: deadline });
    let notices = machine.take_notices();
    assert!(matches!(
        notices.as_slice(),
        [Notice::Auxiliary(outcome)] if outcome.id == id && outcome.result == AuxiliaryResult::TimedOut
    ));
    assert!(machine.world().auxiliaries.is_empty());
}

#[test]
fn what_a_leader_left_is_asked_once_when_somebody_insists_at_the_same_moment() {
    let mut scene = Scenario::new(vec![scaled("orders", 0, 10)]);
    set_engine_target(&mut scene, "orders", 1);
    scene.wait(100.0);
    set_engine_target(&mut scene, "orders", 0);
    let incarnation = scene.incarnation("orders:0").unwrap();
    let at = scene.now;
    scene.machine.observe(Fact::Exited { incarnation, status: ExitStatus::Code(0), left: 1, at });
    scene.edit(Edit::Stop(target("orders"))).unwrap();
    let asked = scene.done.iter().filter(|command| matches!(command, Command::StopLeft { .. })).count();
    assert_eq!(asked, 1);
}
