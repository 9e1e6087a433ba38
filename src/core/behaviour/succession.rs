//! One machine after another, over the same processes.

use std::time::Duration;

use crate::core::command::Command;
use crate::core::event::{Adopted, Edit, Fact};
use crate::core::exit::ExitStatus;
use crate::core::ids::ProcessId;
use crate::core::machine::Machine;
use crate::core::observed::{BrokerHealth, Life};
use crate::core::scenario::{Scenario, scaled, service};
use crate::core::spec::ProgramSpec;
use crate::core::world::Limits;

/// A machine after `scene`'s, in a controller that knows the memory and the processes that are not gone.
fn next_machine(scene: &Scenario, specs: Vec<ProgramSpec>) -> Machine {
    let json = serde_json::to_string(&scene.machine.memory()).unwrap();
    let mut next = Machine::new(Limits::default());
    next.configure(specs, Limits::default());
    next.recall(serde_json::from_str(&json).unwrap(), true);
    next.set_last_incarnation(scene.machine.world().last_incarnation);
    for (name, program) in &scene.machine.world().programs {
        for (slot, state) in &program.slots {
            let process = ProcessId::new(name.clone(), *slot);
            for (incarnation, leftover) in &state.leftovers {
                let Life { fingerprint, ordered_at, .. } = leftover.life;
                let (incarnation, stop) = (*incarnation, leftover.stop);
                let main = Some((7, ordered_at));
                let process = process.clone();
                next.adopt(Adopted { process, incarnation, fingerprint, ordered_at, stop, main });
            }
            let Some(Life { incarnation, fingerprint, ordered_at }) = state.phase.life().copied() else {
                continue;
            };
            let stop = state.phase.stop().copied();
            let main = Some((7, ordered_at));
            next.adopt(Adopted { process, incarnation, fingerprint, ordered_at, stop, main });
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
