//! What the machine does, told as scenes.

mod endings;
mod succession;
mod wishes;

use std::time::Duration;

use super::auxiliary::{AuxiliaryResult, Purpose};
use super::command::{Command, Scope};
use super::event::{Edit, EditError, Fact, Notice};
use super::exit::ExitStatus;
use super::gap::Gap;
use super::ids::{Incarnation, ProgramName};
use super::machine::Machine;
use super::observed::{BrokerHealth, Phase, StopCause};
use super::plan::plan;
use super::scenario::{Scenario, scaled, service, target};
use super::spec::{Backoff, ProgramSpec, RunSpec};
use super::world::Limits;

fn set_engine_target(scene: &mut Scenario, program: &str, target: u32) {
    // A hold is the operator's way to the same count; the engine itself has tests of its own.
    scene.edit(Edit::Scale(ProgramName::new(program).unwrap(), target, None)).unwrap();
}

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
fn a_restart_replaces_every_process_once_and_without_backoff() {
    let mut scene = Scenario::new(vec![service("web", 2)]);
    scene.wait(5.0);
    let before = [scene.incarnation("web:0"), scene.incarnation("web:1")];
    scene.edit(Edit::Restart(target("web"))).unwrap();
    assert_eq!(scene.ending("web").len(), 2);
    scene.obey("web");
    let after = [scene.incarnation("web:0"), scene.incarnation("web:1")];
    assert!(before.iter().zip(&after).all(|(before, after)| after > before));
    scene.wait(100.0);
    assert_eq!([scene.incarnation("web:0"), scene.incarnation("web:1")], after);
}

#[test]
fn a_service_follows_copy_and_scale_until_it_is_given_back_to_the_file() {
    let mut scene = Scenario::new(vec![service("web", 2)]);
    scene.edit(Edit::Copy(target("web"))).unwrap();
    assert_eq!(scene.live("web"), 3);
    scene.edit(Edit::Scale(ProgramName::new("web").unwrap(), 5, None)).unwrap();
    assert_eq!(scene.live("web"), 5);
    scene.wait(100_000.0);
    assert_eq!(scene.live("web"), 5);
    scene.edit(Edit::Auto(target("web"))).unwrap();
    scene.obey("web");
    assert_eq!(scene.live("web"), 2);
}

#[test]
fn stopping_one_process_of_a_service_leaves_its_siblings_alone() {
    let mut scene = Scenario::new(vec![service("web", 3)]);
    scene.edit(Edit::Stop(target("web:1"))).unwrap();
    scene.obey("web");
    assert_eq!(scene.live("web"), 2);
    assert_eq!(scene.phase("web:1"), Phase::Empty);
    scene.edit(Edit::Start(target("web:1"))).unwrap();
    assert_eq!(scene.live("web"), 3);
}

#[test]
fn a_hold_above_the_wish_of_the_engine_ends_by_itself_and_one_below_stays() {
    let mut scene = Scenario::new(vec![scaled("orders", 2, 10)]);
    scene.broker(BrokerHealth::Up);
    scene.wait(5.0);
    assert_eq!(scene.live("orders"), 2);
    scene.edit(Edit::Copy(target("orders"))).unwrap();
    assert_eq!(scene.live("orders"), 3);
    let program = &scene.machine.world().programs[&ProgramName::new("orders").unwrap()];
    let until = program.wish.hold.as_ref().unwrap().until.unwrap();
    assert_eq!(until.since(scene.now), Duration::from_secs(15 * 60));
    scene.wait(16.0 * 60.0);
    assert!(scene.notices.iter().any(|notice| matches!(notice, Notice::HoldEnded(_))));
    scene.edit(Edit::Scale(ProgramName::new("orders").unwrap(), 1, None)).unwrap();
    scene.wait(100_000.0);
    scene.obey("orders");
    assert_eq!(scene.live("orders"), 1);
}

#[test]
fn stopping_one_process_of_a_scaled_program_is_not_undone_by_starting_another() {
    let mut scene = Scenario::new(vec![scaled("orders", 3, 10)]);
    scene.wait(5.0);
    scene.edit(Edit::Stop(target("orders:1"))).unwrap();
    scene.obey("orders");
    scene.wait(1_000.0);
    assert_eq!(scene.live("orders"), 2);
    scene.edit(Edit::Auto(target("orders"))).unwrap();
    scene.wait(5.0);
    assert_eq!(scene.live("orders"), 3);
}

#[test]
fn no_more_scaled_processes_start_at_one_time_than_the_limit() {
    let mut scene = Scenario::new(vec![scaled("orders", 10, 10), service("web", 20)]);
    assert_eq!(scene.live("web"), 20, "services are not held back");
    assert_eq!(scene.live("orders"), 4);
    let gaps = plan(scene.machine.world(), scene.now).gaps;
    assert!(gaps.iter().any(|(_, _, gap)| *gap == Gap::StartLimit { limit: 4 }));
    scene.wait(100.0);
    assert_eq!(scene.live("orders"), 10);
}

#[test]
fn scale_in_takes_what_is_not_running_yet_then_the_youngest() {
    let mut scene = Scenario::new(vec![scaled("orders", 0, 10)]);
    set_engine_target(&mut scene, "orders", 2);
    scene.wait(100.0);
    set_engine_target(&mut scene, "orders", 3);
    scene.wait(100.0);
    set_engine_target(&mut scene, "orders", 4);
    set_engine_target(&mut scene, "orders", 3);
    assert_eq!(scene.ending("orders"), ["orders:3"], "the one that was just started");
    scene.obey("orders");
    set_engine_target(&mut scene, "orders", 2);
    assert_eq!(scene.ending("orders"), ["orders:2"], "the youngest");
}

#[test]
fn a_busy_consumer_is_asked_to_end_and_then_never_killed() {
    let mut scene = Scenario::new(vec![scaled("orders", 0, 10)]);
    set_engine_target(&mut scene, "orders", 1);
    scene.wait(100.0);
    set_engine_target(&mut scene, "orders", 0);
    assert_eq!(scene.ending("orders"), ["orders:0"]);
    scene.wait(3.0 * 86_400.0);
    assert_eq!(scene.kills(), 0);
    scene.edit(Edit::Stop(target("orders"))).unwrap();
    scene.wait(11.0);
    assert_eq!(scene.kills(), 1, "an operator who insists gets the limit");
}

#[test]
fn draining_processes_count_against_the_maximum() {
    let mut scene = Scenario::new(vec![scaled("orders", 0, 3)]);
    set_engine_target(&mut scene, "orders", 3);
    scene.wait(100.0);
    set_engine_target(&mut scene, "orders", 2);
    assert_eq!(scene.ending("orders").len(), 1);
    set_engine_target(&mut scene, "orders", 3);
    assert_eq!(scene.live("orders"), 2);
    let gaps = plan(scene.machine.world(), scene.now).gaps;
    assert!(gaps.iter().any(|(_, _, gap)| *gap == Gap::AtMax { max: 3, draining: 1 }), "{gaps:?}");
    scene.obey("orders");
    assert_eq!(scene.live("orders"), 3);
}

#[test]
fn processes_that_die_of_the_stop_signal_are_noticed_by_the_first_one_and_spared_from_then_on() {
    let mut scene = Scenario::new(vec![scaled("orders", 0, 10)]);
    set_engine_target(&mut scene, "orders", 6);
    scene.wait(100.0);
    set_engine_target(&mut scene, "orders", 1);
    assert_eq!(scene.ending("orders").len(), 1, "the first one shows how it takes the signal");
    let first = scene.ending("orders").remove(0);
    scene.exit(&first, ExitStatus::Signal(15), 0);
    assert!(scene.notices.iter().any(|notice| matches!(notice, Notice::NoStopHandler(..))));
    assert_eq!(scene.ending("orders").len(), 0);
    scene.wait(100.0);
    assert_eq!(scene.live("orders"), 5);
    let gaps = plan(scene.machine.world(), scene.now).gaps;
    let spared = Gap::NoStopHandler { signal: "SIGTERM".into(), surplus: 4 };
    assert!(gaps.iter().any(|(_, _, gap)| *gap == spared), "{gaps:?}");
    scene.edit(Edit::Stop(target("orders"))).unwrap();
    assert_eq!(scene.ending("orders").len(), 5, "an operator may stop them all the same");
}

#[test]
fn that_a_service_dies_of_its_stop_signal_is_nothing_to_warn_of() {
    let mut scene = Scenario::new(vec![service("web", 1)]);
    scene.wait(100.0);
    scene.edit(Edit::Stop(target("web"))).unwrap();
    let only = scene.ending("web").remove(0);
    scene.exit(&only, ExitStatus::Signal(15), 0);
    assert!(!scene.notices.iter().any(|notice| matches!(notice, Notice::NoStopHandler(..))));
}

#[test]
fn one_that_finishes_its_work_opens_the_way_for_the_others() {
    let mut scene = Scenario::new(vec![scaled("orders", 0, 10)]);
    set_engine_target(&mut scene, "orders", 6);
    scene.wait(100.0);
    set_engine_target(&mut scene, "orders", 1);
    scene.obey("orders");
    assert_eq!(scene.ending("orders").len(), 4);
}

#[test]
fn while_the_broker_is_away_exits_do_not_count_and_starts_wait_for_its_return() {
    let mut scene = Scenario::new(vec![scaled("orders", 2, 10)]);
    scene.broker(BrokerHealth::Up);
    scene.wait(60.0);
    scene.broker(BrokerHealth::Unreachable);
    scene.exit("orders:0", ExitStatus::Code(255), 0);
    scene.wait(600.0);
    assert_eq!(scene.live("orders"), 1);
    let gaps = plan(scene.machine.world(), scene.now).gaps;
    assert!(gaps.iter().any(|(_, _, gap)| matches!(gap, Gap::BrokerUnreachable { .. })));
    scene.broker(BrokerHealth::Up);
    scene.wait(1.1);
    assert_eq!(scene.live("orders"), 2);
}

#[test]
fn a_refused_login_of_leveret_does_not_keep_consumers_from_starting() {
    let mut scene = Scenario::new(vec![scaled("orders", 2, 10)]);
    scene.broker(BrokerHealth::Refused);
    scene.wait(5.0);
    assert_eq!(scene.live("orders"), 2);
}

#[test]
fn a_consumer_that_notices_the_loss_of_its_broker_before_leveret_does_is_not_given_up() {
    let backoff = Backoff { give_up_after: Some(1), ..Backoff::default() };
    let mut scene = Scenario::new(vec![ProgramSpec { backoff, ..scaled("orders", 2, 10) }]);
    scene.broker(BrokerHealth::Up);
    scene.wait(60.0);
    scene.exit("orders:0", ExitStatus::Code(1), 0);
    scene.wait(60.0);
    scene.exit("orders:1", ExitStatus::Code(255), 0);
    scene.wait(0.1);
    scene.broker(BrokerHealth::Unreachable);
    scene.wait(60.0);
    scene.broker(BrokerHealth::Up);
    scene.wait(1.1);
    assert!(
        matches!(scene.phase("orders:0"), Phase::Failed { .. }),
        "long before: {:?}",
        scene.phase("orders:0")
    );
    assert!(scene.phase("orders:1").is_live(), "{:?}", scene.phase("orders:1"));
}

#[test]
fn consumers_that_a_broker_refuses_are_never_given_up_and_start_again_when_it_lets_leveret_in() {
    let backoff = Backoff { give_up_after: Some(2), ..Backoff::default() };
    let mut scene = Scenario::new(vec![ProgramSpec { backoff, ..scaled("orders", 2, 10) }]);
    scene.broker(BrokerHealth::Up);
    scene.wait(60.0);
    scene.broker(BrokerHealth::Refused);
    for _ in 0..20 {
        if scene.incarnation("orders:0").is_some() {
            scene.exit("orders:0", ExitStatus::Code(255), 0);
        }
        scene.wait(60.0);
    }
    if scene.incarnation("orders:0").is_some() {
        scene.exit("orders:0", ExitStatus::Code(255), 0);
    }
    assert!(matches!(scene.phase("orders:0"), Phase::Backoff { .. }), "{:?}", scene.phase("orders:0"));
    scene.broker(BrokerHealth::Up);
    scene.wait(1.1);
    assert_eq!(scene.live("orders"), 2);
    scene.exit("orders:0", ExitStatus::Code(1), 0);
    let Phase::Backoff { since, until } = scene.phase("orders:0") else {
        panic!("{:?}", scene.phase("orders:0"))
    };
    assert!(until.since(since) <= Duration::from_secs(1), "the failures of before are forgotten");
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

#[test]
fn a_reload_touches_only_what_changed() {
    let mut scene = Scenario::new(vec![service("a", 2), service("b", 2), service("c", 1)]);
    scene.wait(5.0);
    let run = RunSpec { argv: vec!["new".into()], ..RunSpec::default() };
    let changed = ProgramSpec { run, ..service("b", 2) };
    let specs = vec![service("a", 3), changed, service("d", 1)];
    let before: Vec<_> = ["a:0", "a:1", "b:0"].map(|process| scene.incarnation(process)).into();
    let changes = scene.machine.configure(specs.clone(), Limits::default());
    assert_eq!(changes.added, ["d"]);
    assert_eq!(changes.removed, ["c"]);
    assert_eq!(changes.restarted, ["b"]);
    assert_eq!(changes.adjusted, ["a"]);
    scene.settle();
    assert_eq!(["a:0", "a:1"].map(|process| scene.incarnation(process)), before[..2]);
    assert_eq!(scene.live("a"), 3);
    assert_eq!(scene.ending("b").len(), 2);
    scene.obey("b");
    scene.obey("c");
    assert!(scene.incarnation("b:0") > before[2]);
    assert!(!scene.machine.world().programs.contains_key(&ProgramName::new("c").unwrap()));
    let again = scene.machine.configure(specs, Limits::default());
    assert_eq!(again, super::configure::Changes::default());
    let spawns = scene.spawns();
    scene.settle();
    assert_eq!(scene.spawns(), spawns, "an equal configuration changes nothing");
}

#[test]
fn a_changed_command_is_tried_at_once_whatever_became_of_the_one_before() {
    let quitter = ProgramSpec {
        backoff: Backoff { give_up_after: Some(1), ..Backoff::default() },
        ..service("quitter", 1)
    };
    let mut scene = Scenario::new(vec![service("patient", 1), quitter.clone()]);
    scene.exit("patient:0", ExitStatus::Code(1), 0);
    scene.exit("quitter:0", ExitStatus::Code(1), 0);
    assert!(matches!(scene.phase("patient:0"), Phase::Backoff { .. }));
    assert!(matches!(scene.phase("quitter:0"), Phase::Failed { .. }));
    let run = RunSpec { argv: vec!["mended".into()], ..RunSpec::default() };
    let mended = |spec| ProgramSpec { run: run.clone(), ..spec };
    scene.machine.configure(vec![mended(service("patient", 1)), mended(quitter)], Limits::default());
    scene.settle();
    assert_eq!((scene.live("patient"), scene.live("quitter")), (1, 1));
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
fn names_that_do_not_exist_are_refused_and_nothing_changes() {
    let mut scene = Scenario::new(vec![service("web", 1)]);
    for wrong in ["nope", "web:7", "@nope"] {
        let refused = scene.edit(Edit::Stop(target(wrong)));
        assert!(matches!(refused, Err(EditError::NoSuchName(_))), "{wrong}");
    }
    let over = scene.edit(Edit::Scale(ProgramName::new("web").unwrap(), 1_001, None));
    assert!(matches!(over, Err(EditError::Invalid(_))));
    assert_eq!(scene.live("web"), 1);
}

#[test]
fn a_new_machine_goes_on_where_the_one_before_stopped() {
    let mut scene = Scenario::new(vec![service("web", 2), scaled("orders", 1, 5)]);
    scene.wait(30.0);
    scene.exit("web:1", ExitStatus::Code(3), 0);
    scene.edit(Edit::Copy(target("orders"))).unwrap();
    scene.edit(Edit::Stop(target("web:0"))).unwrap();
    let memory = scene.machine.memory();
    let json = serde_json::to_string(&memory).unwrap();

    let mut next = Machine::new(Limits::default());
    next.configure(vec![service("web", 2), scaled("orders", 1, 5)], Limits::default());
    next.recall(serde_json::from_str(&json).unwrap(), true);
    next.set_last_incarnation(scene.machine.world().last_incarnation);
    for (name, program) in &scene.machine.world().programs {
        for (slot, state) in &program.slots {
            let (Some(life), Some(main)) = (state.phase.life(), state.phase.main()) else { continue };
            let stop = if let Phase::Stopping(_, _, stop) = &state.phase { Some(*stop) } else { None };
            next.adopt(super::event::Adopted {
                process: super::ids::ProcessId::new(name.clone(), *slot),
                incarnation: life.incarnation,
                fingerprint: life.fingerprint,
                ordered_at: life.ordered_at,
                stop,
                main: Some((main.pid, main.started_at)),
            });
        }
    }
    let plan = next.step(scene.now);
    assert!(plan.commands.is_empty(), "{:?}", plan.commands);
    let orders = &next.world().programs[&ProgramName::new("orders").unwrap()];
    assert_eq!(orders.wish.hold.as_ref().map(|hold| hold.processes), Some(2));
    let web = &next.world().programs[&ProgramName::new("web").unwrap()];
    assert!(matches!(web.slots[&1].phase, Phase::Backoff { .. }));
    assert!(matches!(&web.slots[&0].phase, Phase::Stopping(_, _, stop) if stop.cause == StopCause::Operator));
}

#[test]
fn a_restart_that_was_not_written_down_is_counted_by_the_next_machine() {
    let mut scene = Scenario::new(vec![service("web", 1)]);
    scene.wait(30.0);
    let memory = scene.machine.memory();
    let name = ProgramName::new("web").unwrap();
    let adopted = |incarnation| super::event::Adopted {
        process: super::ids::ProcessId::new(name.clone(), 0),
        incarnation: Incarnation(incarnation),
        fingerprint: scene.machine.world().programs[&name].fingerprint,
        ordered_at: scene.now,
        stop: None,
        main: Some((40 + incarnation as i32, scene.now)),
    };
    // The machine before saw the exit, started the next one and was gone before it had written that down.
    let mut next = Machine::new(Limits::default());
    next.configure(vec![service("web", 1)], Limits::default());
    next.recall(memory, true);
    let at = scene.now + Duration::from_secs(1);
    next.adopt(adopted(1));
    next.observe(Fact::Exited { incarnation: Incarnation(1), status: ExitStatus::Code(3), left: 0, at });
    next.observe(Fact::Left { incarnation: Incarnation(1), left: 0, at });
    next.adopt(adopted(2));
    assert!(next.step(at).commands.is_empty());
    let web = &next.world().programs[&name];
    assert_eq!((web.slots[&0].restarts, web.slots[&0].last_exit), (1, Some(ExitStatus::Code(3))));
    assert_eq!(web.restarts.values().sum::<u64>(), 1);
}

#[test]
fn processes_that_are_newer_than_the_memory_are_kept_until_readings_say_otherwise() {
    let mut scene = Scenario::new(vec![scaled("orders", 1, 5)]);
    let memory = scene.machine.memory();
    set_engine_target(&mut scene, "orders", 4);
    scene.wait(30.0);
    assert_eq!(scene.live("orders"), 4);

    let mut next = Machine::new(Limits::default());
    next.configure(vec![scaled("orders", 1, 5)], Limits::default());
    next.recall(memory, true);
    let orders = &scene.machine.world().programs[&ProgramName::new("orders").unwrap()];
    for (slot, state) in &orders.slots {
        let (Some(life), Some(main)) = (state.phase.life(), state.phase.main()) else { panic!("{state:?}") };
        next.adopt(super::event::Adopted {
            process: super::ids::ProcessId::new(orders.spec.name.clone(), *slot),
            incarnation: life.incarnation,
            fingerprint: life.fingerprint,
            ordered_at: life.ordered_at,
            stop: None,
            main: Some((main.pid, main.started_at)),
        });
    }
    for _ in 0..2 {
        assert_eq!(next.step(scene.now).commands, []);
    }
}

#[test]
fn an_auxiliary_process_runs_once_and_is_killed_at_its_limit() {
    let mut machine = Machine::new(Limits::default());
    machine.configure(vec![service("web", 0)], Limits::default());
    let name = ProgramName::new("web").unwrap();
    let limit = Duration::from_secs(5);
    let id = machine.request_auxiliary(name, Purpose::Check, vec!["check".into()], limit);
    let now = super::time::Time::from_millis(1_000);
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
fn a_burst_is_answered_by_the_reading_that_shows_it() {
    let mut scene = Scenario::new(vec![scaled("orders", 1, 10)]);
    scene.broker(BrokerHealth::Up);
    for _ in 0..5 {
        scene.wait(1.0);
        scene.sample("orders", 0, 1);
    }
    assert_eq!(scene.live("orders"), 1);
    scene.wait(1.0);
    scene.sample("orders", 2_000, 1);
    assert_eq!(scene.live("orders"), 5, "one runs, and as many as may start are starting");
    let name = ProgramName::new("orders").unwrap();
    assert_eq!(scene.machine.world().programs[&name].count(), 10);
    scene.wait(0.2);
    scene.sample("orders", 1_900, 5);
    assert_eq!(scene.live("orders"), 9, "those that the queue shows have started and make room for the next");
}
