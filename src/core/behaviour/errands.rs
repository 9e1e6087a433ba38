//! Hooks about lives: what runs once a process is ready, before its stop signal, and when it has ended.

use std::time::Duration;

use crate::core::command::Command;
use crate::core::event::{AdoptedHook, Edit, Fact, Notice};
use crate::core::exit::ExitStatus;
use crate::core::hooks::{Hook, Hooks, Moment};
use crate::core::ids::Incarnation;
use crate::core::machine::Machine;
use crate::core::observed::Phase;
use crate::core::scenario::{Scenario, service, target};
use crate::core::spec::{Backoff, ProgramSpec};
use crate::core::time::Time;
use crate::core::world::Limits;

const LIMIT: Duration = Duration::from_secs(30);

fn with_hooks(processes: u32) -> ProgramSpec {
    let hook = |name: &str| Some(Hook { argv: vec![name.to_owned()], timeout: LIMIT });
    let hooks = Hooks {
        pre_start: None,
        post_ready: hook("./ready.sh"),
        pre_stop: hook("./stop.sh"),
        post_exit: hook("./exit.sh"),
    };
    ProgramSpec { hooks, ..service("web", processes) }
}

/// The hooks that were run: when in which life, with their own.
fn ran(scene: &Scenario) -> Vec<(Moment, u64)> {
    let run = |command: &Command| {
        let Command::RunHook { moment, about, .. } = command else { return None };
        Some((*moment, about.0))
    };
    scene.done.iter().filter_map(run).collect()
}

/// The life of the newest hook.
fn newest(scene: &Scenario) -> Incarnation {
    let run = |command: &Command| {
        let Command::RunHook { incarnation, .. } = command else { return None };
        Some(*incarnation)
    };
    scene.done.iter().rev().find_map(run).expect("one was run")
}

fn ends(scene: &mut Scenario, incarnation: Incarnation, status: ExitStatus) {
    let at = scene.now;
    scene.machine.observe(Fact::Exited { incarnation, status, left: 0, at });
    scene.observe(Fact::Left { incarnation, left: 0, at });
}

fn killed(scene: &Scenario) -> Vec<(Incarnation, bool)> {
    let killed = |command: &Command| {
        let Command::EndHook { incarnation, is_cancelled, .. } = command else { return None };
        Some((*incarnation, *is_cancelled))
    };
    scene.done.iter().filter_map(killed).collect()
}

fn asked(scene: &Scenario) -> usize {
    scene.done.iter().filter(|command| matches!(command, Command::Stop { .. })).count()
}

fn failures(scene: &Scenario) -> Vec<&str> {
    let failed = |notice: &'_ Notice| matches!(notice, Notice::HookFailed(..));
    let texts = scene.notices.iter().filter(|notice| failed(notice));
    texts
        .filter_map(|notice| if let Notice::HookFailed(_, why) = notice { Some(why.as_str()) } else { None })
        .collect()
}

#[test]
fn what_runs_when_a_process_is_ready_runs_once_and_its_failure_is_said_and_changes_nothing() {
    let mut scene = Scenario::new(vec![with_hooks(1)]);
    scene.settle();
    assert_eq!(ran(&scene), [], "it is starting");
    scene.wait(2.0);
    assert_eq!(ran(&scene), [(Moment::PostReady, 1)]);
    let hook = newest(&scene);
    ends(&mut scene, hook, ExitStatus::Code(3));
    assert_eq!(failures(&scene), ["post_ready ended with exit code 3"]);
    scene.wait(100.0);
    assert_eq!(ran(&scene).len(), 1);
    assert!(matches!(scene.phase("web:0"), Phase::Running(..)));
}

#[test]
fn what_runs_when_a_process_is_ready_is_for_nothing_once_that_is_asked_to_end() {
    let mut scene = Scenario::new(vec![with_hooks(1)]);
    scene.wait(2.0);
    let hook = newest(&scene);
    scene.edit(Edit::Stop(target("web"))).unwrap();
    assert_eq!(killed(&scene), [(hook, true)]);
    ends(&mut scene, hook, ExitStatus::Signal(9));
    assert_eq!(failures(&scene), Vec::<&str>::new());
}

#[test]
fn the_stop_signal_comes_when_the_hook_before_it_has_ended_and_the_timeout_begins_then() {
    let mut scene = Scenario::new(vec![with_hooks(1)]);
    scene.wait(2.0);
    scene.edit(Edit::Stop(target("web"))).unwrap();
    assert_eq!(ran(&scene).last(), Some(&(Moment::PreStop, 1)));
    assert_eq!(asked(&scene), 0);
    let said = "stopping: pre_stop runs; the stop signal follows in 30s if it has not ended";
    assert_eq!(scene.gap("web:0").as_deref(), Some(said));
    scene.wait(20.0);
    assert_eq!((asked(&scene), scene.kills()), (0, 0), "longer than its stop timeout");
    let hook = newest(&scene);
    ends(&mut scene, hook, ExitStatus::Code(1));
    assert_eq!((asked(&scene), failures(&scene)), (1, vec!["pre_stop ended with exit code 1"]));
    scene.wait(9.0);
    assert_eq!(scene.kills(), 0);
    scene.wait(2.0);
    assert_eq!(scene.kills(), 1);
}

#[test]
fn a_hook_before_the_stop_signal_that_takes_too_long_is_killed_and_the_signal_is_sent() {
    let mut scene = Scenario::new(vec![with_hooks(1)]);
    scene.wait(2.0);
    scene.edit(Edit::Restart(target("web"))).unwrap();
    let hook = newest(&scene);
    scene.wait(29.0);
    assert_eq!(asked(&scene), 0);
    scene.wait(1.1);
    assert_eq!((asked(&scene), killed(&scene).last()), (1, Some(&(hook, false))));
    ends(&mut scene, hook, ExitStatus::Signal(9));
    assert_eq!(failures(&scene), ["pre_stop did not end within 30s"]);
}

#[test]
fn a_process_that_ends_meanwhile_needs_no_signal_and_one_that_ends_by_itself_no_hook() {
    let mut scene = Scenario::new(vec![with_hooks(1)]);
    scene.wait(2.0);
    scene.edit(Edit::Stop(target("web"))).unwrap();
    let hook = newest(&scene);
    scene.exit("web:0", ExitStatus::Code(0), 0);
    assert_eq!((asked(&scene), scene.phase("web:0")), (0, Phase::Empty));
    assert!(!killed(&scene).iter().any(|(killed, _)| *killed == hook), "it may do the rest");
    let order = [(Moment::PostReady, 1), (Moment::PreStop, 1), (Moment::PostExit, 1)];
    assert_eq!(ran(&scene), order);
    scene.edit(Edit::Start(target("web"))).unwrap();
    scene.wait(2.0);
    let life = scene.incarnation("web:0").unwrap().0;
    scene.exit("web:0", ExitStatus::Code(1), 0);
    assert!(!ran(&scene).contains(&(Moment::PreStop, life)));
}

#[test]
fn what_runs_after_an_end_does_not_keep_the_next_start_waiting_and_they_take_turns() {
    let backoff = Backoff { initial: Duration::ZERO, ..Backoff::default() };
    let mut scene = Scenario::new(vec![ProgramSpec { backoff, ..with_hooks(1) }]);
    scene.settle();
    scene.exit("web:0", ExitStatus::Code(7), 0);
    let first = newest(&scene);
    assert_eq!((ran(&scene), scene.spawns()), (vec![(Moment::PostExit, 1)], 2));
    let second = scene.incarnation("web:0").unwrap();
    scene.exit("web:0", ExitStatus::Signal(9), 0);
    assert_eq!(ran(&scene).len(), 1, "the first one goes on");
    ends(&mut scene, first, ExitStatus::Code(0));
    assert_eq!(ran(&scene), [(Moment::PostExit, 1), (Moment::PostExit, second.0)]);
    for _ in 0..20 {
        scene.wait(0.5);
        if matches!(scene.phase("web:0"), Phase::Starting(..) | Phase::Running(..)) {
            scene.exit("web:0", ExitStatus::Code(7), 0);
        }
    }
    let program = scene.machine.world().programs.values().next().unwrap();
    let ended = program.errands.keys().filter(|(moment, _)| *moment == Moment::PostExit).count();
    assert!(ended <= 9, "they do not pile up: {ended}");
}

#[test]
fn the_end_of_leveret_waits_for_hooks_unless_somebody_insists() {
    let mut scene = Scenario::new(vec![with_hooks(2)]);
    scene.wait(2.0);
    scene.edit(Edit::Shutdown).unwrap();
    let stopping: Vec<_> = ran(&scene).into_iter().filter(|(moment, _)| *moment == Moment::PreStop).collect();
    assert_eq!((stopping.len(), asked(&scene)), (2, 0));
    scene.exit("web:0", ExitStatus::Code(0), 0);
    scene.exit("web:1", ExitStatus::Code(0), 0);
    assert!(!scene.finished);
    scene.edit(Edit::ShutdownNow).unwrap();
    let running: Vec<_> = scene.machine.world().lives.keys().copied().collect();
    for incarnation in running {
        assert!(killed(&scene).iter().any(|(killed, _)| *killed == incarnation));
        ends(&mut scene, incarnation, ExitStatus::Signal(9));
    }
    assert!(scene.finished);
}

#[test]
fn the_next_controller_runs_what_was_not_run_and_nothing_again() {
    let mut scene = Scenario::new(vec![with_hooks(1)]);
    scene.wait(2.0);
    let ready = newest(&scene);
    let process: crate::core::ids::ProcessId = "web:0".parse().unwrap();
    let next = |memory: bool| {
        let mut machine = Machine::new(Limits::default());
        machine.configure(vec![with_hooks(1)], Limits::default());
        if memory {
            machine.recall(scene.machine.memory(), true, scene.now);
        }
        machine
    };
    let adopted = crate::core::event::Adopted {
        process: process.clone(),
        incarnation: Incarnation(1),
        fingerprint: with_hooks(1).run.fingerprint(),
        ordered_at: Time::from_millis(1_000_000),
        stop: None,
        main: Some((1_001, Time::from_millis(1_000_000))),
        run: None,
        unheard: false,
    };
    for knows in [true, false] {
        let mut machine = next(knows);
        if !knows {
            let deadline = scene.now + LIMIT;
            let (moment, about) = (Moment::PostReady, Incarnation(1));
            let hook = AdoptedHook { process: process.clone(), moment, about, incarnation: ready, deadline };
            machine.adopt_hook(hook);
        }
        machine.adopt(adopted.clone());
        let plan = machine.step(scene.now);
        let again = plan.commands.iter().any(|command| matches!(command, Command::RunHook { .. }));
        assert!(!again, "{knows}: {:?}", plan.commands);
        let (status, at) = (ExitStatus::Code(0), scene.now);
        machine.observe(Fact::Exited { incarnation: Incarnation(1), status, left: 0, at });
        let plan = machine.step(scene.now);
        let ended = |command: &Command| matches!(command, Command::RunHook { moment: Moment::PostExit, .. });
        assert!(plan.commands.iter().any(ended), "{:?}", plan.commands);
    }
}
