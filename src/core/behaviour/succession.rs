//! One machine after another, over the same processes.

use std::time::Duration;

use super::set_engine_target;
use crate::core::command::Command;
use crate::core::event::{Adopted, Edit, Fact};
use crate::core::exit::ExitStatus;
use crate::core::ids::{Incarnation, ProcessId, ProgramName};
use crate::core::machine::Machine;
use crate::core::observed::{BrokerHealth, Life, Phase, StopCause};
use crate::core::scenario::{Scenario, scaled, service, target};
use crate::core::spec::ProgramSpec;
use crate::core::world::Limits;

/// A machine after `scene`'s, in a controller that knows the memory and the processes that are not gone.
fn next_machine(scene: &Scenario, specs: Vec<ProgramSpec>) -> Machine {
    let json = serde_json::to_string(&scene.machine.memory()).unwrap();
    let mut next = Machine::new(Limits::default());
    next.configure(specs, Limits::default());
    next.recall(serde_json::from_str(&json).unwrap(), true, scene.now);
    next.set_last_incarnation(scene.machine.world().last_incarnation);
    for (name, program) in &scene.machine.world().programs {
        for (slot, state) in &program.slots {
            let process = ProcessId::new(name.clone(), *slot);
            for (incarnation, leftover) in &state.leftovers {
                let Life { fingerprint, ordered_at, .. } = leftover.life;
                let (incarnation, stop) = (*incarnation, leftover.stop);
                let main = Some((7, ordered_at));
                let process = process.clone();
                next.adopt(Adopted {
                    process,
                    incarnation,
                    fingerprint,
                    ordered_at,
                    stop,
                    main,
                    run: None,
                    unheard: false,
                });
            }
            let Some(Life { incarnation, fingerprint, ordered_at }) = state.phase.life().copied() else {
                continue;
            };
            let stop = state.phase.stop().copied();
            let main = Some((7, ordered_at));
            let run = program.runs.as_ref().and_then(|runs| runs.current);
            next.adopt(Adopted {
                process,
                incarnation,
                fingerprint,
                ordered_at,
                stop,
                main,
                run,
                unheard: false,
            });
        }
    }
    next
}

#[test]
fn a_shutdown_goes_on_with_the_next_controller() {
    let mut scene = Scenario::new(vec![service("web", 1)]);
    scene.wait(5.0);
    scene.edit(Edit::Shutdown).unwrap();
    let mut next = next_machine(&scene, vec![service("web", 1)]);
    let incarnation = scene.incarnation("web:0").unwrap();
    let at = scene.now;
    next.observe(Fact::Exited { incarnation, status: ExitStatus::Code(0), left: 0, at });
    next.observe(Fact::Left { incarnation, left: 0, at });
    let plan = next.step(at);
    assert!(plan.finished && plan.commands.is_empty(), "{plan:?}");
}

#[test]
fn leftovers_are_known_to_the_next_controller_and_not_asked_twice() {
    let mut scene = Scenario::new(vec![service("web", 1)]);
    scene.wait(60.0);
    let old = scene.incarnation("web:0").unwrap();
    let at = scene.now;
    scene.observe(Fact::Exited { incarnation: old, status: ExitStatus::Code(0), left: 0, at });
    let mut early = next_machine(&scene, vec![service("web", 1)]);
    early.observe(Fact::Exited { incarnation: old, status: ExitStatus::Code(0), left: 2, at });
    let plan = early.step(at);
    assert!(
        matches!(plan.commands.as_slice(), [Command::StopLeft { incarnation, .. }] if *incarnation == old)
    );

    scene.left(old, 2);
    let mut late = next_machine(&scene, vec![service("web", 1)]);
    late.observe(Fact::Exited { incarnation: old, status: ExitStatus::Code(0), left: 2, at });
    let plan = late.step(scene.now);
    assert!(plan.commands.is_empty(), "{plan:?}");
    let plan = late.step(scene.now + Duration::from_secs(10));
    assert!(matches!(plan.commands.as_slice(), [Command::Kill { incarnation, .. }] if *incarnation == old));
}

#[test]
fn consumers_go_on_waiting_for_their_broker_with_the_next_controller() {
    let specs = || vec![scaled("orders", 1, 5)];
    let mut scene = Scenario::new(specs());
    scene.broker(BrokerHealth::Unreachable);
    scene.exit("orders:0", ExitStatus::Code(255), 0);
    let mut next = next_machine(&scene, specs());
    let plan = next.step(scene.now);
    assert!(plan.commands.is_empty(), "{plan:?}");
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
    next.recall(serde_json::from_str(&json).unwrap(), true, scene.now);
    next.set_last_incarnation(scene.machine.world().last_incarnation);
    for (name, program) in &scene.machine.world().programs {
        for (slot, state) in &program.slots {
            let (Some(life), Some(main)) = (state.phase.life(), state.phase.main()) else { continue };
            let stop = if let Phase::Stopping(_, _, stop) = &state.phase { Some(*stop) } else { None };
            next.adopt(Adopted {
                process: ProcessId::new(name.clone(), *slot),
                incarnation: life.incarnation,
                fingerprint: life.fingerprint,
                ordered_at: life.ordered_at,
                stop,
                main: Some((main.pid, main.started_at)),
                run: None,
                unheard: false,
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
    let adopted = |incarnation| Adopted {
        process: ProcessId::new(name.clone(), 0),
        incarnation: Incarnation(incarnation),
        fingerprint: scene.machine.world().programs[&name].fingerprint,
        ordered_at: scene.now,
        stop: None,
        main: Some((40 + incarnation as i32, scene.now)),
        run: None,
        unheard: false,
    };
    // The machine before saw the exit, started the next one and was gone before it had written that down.
    let mut next = Machine::new(Limits::default());
    next.configure(vec![service("web", 1)], Limits::default());
    next.recall(memory, true, scene.now);
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
    next.recall(memory, true, scene.now);
    let orders = &scene.machine.world().programs[&ProgramName::new("orders").unwrap()];
    for (slot, state) in &orders.slots {
        let (Some(life), Some(main)) = (state.phase.life(), state.phase.main()) else { panic!("{state:?}") };
        next.adopt(Adopted {
            process: ProcessId::new(orders.spec.name.clone(), *slot),
            incarnation: life.incarnation,
            fingerprint: life.fingerprint,
            ordered_at: life.ordered_at,
            stop: None,
            main: Some((main.pid, main.started_at)),
            run: None,
            unheard: false,
        });
    }
    for _ in 0..2 {
        assert_eq!(next.step(scene.now).commands, []);
    }
}
