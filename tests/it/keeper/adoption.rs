//! A keeper that was killed, and the one that takes over what it left.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use leveret::core::command::Scope;
use leveret::core::exit::ExitStatus;
use leveret::core::ids::Incarnation;
use leveret::keeper::protocol::{
    Fact, Inventory, InventoryProcess, InventoryState, Order, Recording, SpawnOrder,
};
use leveret::sys::process;
use rustix::process::Signal;
use serde_json::json;

use super::rig::{Controller, Rig, drain, is_alive, read_line};
use super::{Gate, SIGKILL, SIGTERM, kill, wait_gone};
use crate::support::wait::wait_for;

const LIMIT: Duration = Duration::from_secs(30);

fn marked(mut order: SpawnOrder) -> SpawnOrder {
    order.environment.insert("LEVERET_KEEPER".to_owned(), format!("test-{}", std::process::id()));
    order
}

fn find<'a>(inventory: &'a Inventory, order: &SpawnOrder) -> &'a InventoryProcess {
    let is_it = |process: &&InventoryProcess| process.incarnation == order.incarnation;
    inventory.processes.iter().find(is_it).expect("it is in the inventory")
}

fn running(process: &InventoryProcess) -> Option<i32> {
    if let InventoryState::Running { pid, .. } = process.state { Some(pid) } else { None }
}

fn end_all(controller: &mut Controller, orders: &[&SpawnOrder]) {
    for order in orders {
        controller.signal(order, SIGKILL, Scope::Tree);
        controller.wait_left(order, 0);
    }
}

#[test]
fn what_a_killed_keeper_left_is_taken_over_once_with_its_output_and_its_notes() {
    let mut rig = Rig::start();
    let mut controller = rig.adopting_controller();
    assert_eq!(controller.inventory.recording, Recording::Yes);
    let mut gate = Gate::new(&rig);
    let script = format!("echo before; while read line < {}; do echo after; done", gate.path.display());
    let talks = rig.shell(&script);
    let ends = rig.shell("exec sleep 1000");
    let released = rig.order(&["true"]);
    let pid = controller.spawned(&talks);
    let mortal = controller.spawned(&ends);
    controller.spawned(&released);
    controller.wait_left(&released, 0);
    controller.send(&Order::Release { incarnation: released.incarnation });
    controller.send(&Order::Note { incarnation: talks.incarnation, note: json!("later") });
    // The answer to an order says that those before it were carried out.
    let first = controller.inventory.keeper_pid;
    controller.send(&Order::Adopt { records: rig.path("lives") });
    controller.wait_for(|fact| matches!(fact, Fact::Inventory(_)).then_some(()));
    rig.kill_keeper();
    kill(mortal);
    wait_gone(mortal);

    for keeper in 1..=3 {
        controller = rig.start_again();
        let inventory = &controller.inventory;
        assert_eq!(inventory.last_incarnation, ends.incarnation);
        assert_eq!(inventory.predecessors.len(), keeper);
        assert_eq!(inventory.predecessors[0].pid, first);
        let process = find(inventory, &talks);
        assert_eq!((running(process), process.adopted), (Some(pid), true));
        assert_eq!((&process.note, &process.output), (&json!("later"), &talks.output));
        assert_eq!(find(inventory, &ends).note, ends.note);
        let state = &find(inventory, &ends).state;
        assert!(
            matches!(state, InventoryState::Exited { status: ExitStatus::Unknown, pid, .. } if *pid == mortal),
            "{state:?}"
        );
        assert!(!inventory.processes.iter().any(|process| process.incarnation == released.incarnation));
        controller.wait_left(&ends, 0);
        rig.kill_keeper();
    }
    let mut controller = rig.start_again();
    gate.let_through(1);
    wait_for("the line", LIMIT, || (process::children(pid).ok()?.is_empty()).then_some(()));
    assert!(drain(&talks.output).starts_with("before\n"));
    let refused = rig_order_with(&talks, 2);
    controller.spawn(&refused);
    assert_eq!(controller.wait_could_not_spawn(&refused).1, "incarnation 2 was ordered before");

    controller.signal(&talks, SIGTERM, Scope::Main);
    assert_eq!(controller.wait_exited(&talks).0, ExitStatus::Unknown);
    controller.wait_left(&talks, 0);
    assert!(!is_alive(pid));
    for order in [&talks, &ends] {
        controller.send(&Order::Release { incarnation: order.incarnation });
    }
    controller.send(&Order::Exit { code: 3 });
    controller.exit(0);
    assert_eq!(rig.exit_code(), Some(3));
    assert!(!talks.output.exists() && !rig.path("lives").exists());
}

fn rig_order_with(order: &SpawnOrder, number: u64) -> SpawnOrder {
    SpawnOrder { incarnation: Incarnation(number), ..order.clone() }
}

#[test]
fn a_pipe_whose_name_was_removed_is_found_through_its_process() {
    let mut rig = Rig::start();
    let mut controller = rig.adopting_controller();
    let order = rig.shell("echo kept; exec sleep 1000");
    let pid = controller.spawned(&order);
    wait_for("the program", LIMIT, || {
        let words = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        words.starts_with(b"sleep").then_some(())
    });
    rig.kill_keeper();
    std::fs::remove_file(&order.output).unwrap();
    let mut controller = rig.start_again();
    assert_eq!(drain(&order.output), "kept\n");
    end_all(&mut controller, &[&order]);
}

#[test]
fn what_an_adopted_leader_leaves_is_found_wherever_it_went_and_killed_with_the_tree() {
    let mut rig = Rig::start();
    let mut controller = rig.adopting_controller();
    // One in a session of its own that loses its parent, one in the leader's.
    let script = "(setsid sh -c 'echo $$; exec sleep 1000' &); sleep 1000 & echo $!; wait";
    let order = marked(rig.shell(script));
    let leader = controller.spawned(&order);
    let left: Vec<i32> = (0..2).map(|_| read_line(&order.output).parse().unwrap()).collect();
    let bystander = marked(rig.shell("exec sleep 1000"));
    let stranger = controller.spawned(&bystander);
    rig.kill_keeper();
    let mut controller = rig.start_again();
    assert_eq!(running(find(&controller.inventory, &order)), Some(leader));
    // Not to the tree: the leader only.
    controller.signal(&order, SIGTERM, Scope::Main);
    controller.wait_exited_leaving(&order, 2);
    assert!(!is_alive(leader) && left.iter().all(|pid| is_alive(*pid)));
    controller.signal(&order, SIGKILL, Scope::Tree);
    controller.wait_left(&order, 0);
    assert!(!left.iter().any(|pid| is_alive(*pid)));
    assert!(is_alive(stranger));
    end_all(&mut controller, &[&bystander]);
}

#[test]
fn a_leader_that_ended_meanwhile_is_told_with_those_it_left() {
    let mut rig = Rig::start();
    let mut controller = rig.adopting_controller();
    let order = marked(rig.shell("sleep 1000 & echo $!; wait"));
    let leader = controller.spawned(&order);
    let left: i32 = read_line(&order.output).parse().unwrap();
    rig.kill_keeper();
    kill(leader);
    wait_gone(leader);
    let mut controller = rig.start_again();
    let state = find(&controller.inventory, &order).state.clone();
    assert!(matches!(state, InventoryState::Exited { left: 1, .. }), "{state:?}");
    assert!(is_alive(left));
    end_all(&mut controller, &[&order]);
    assert!(!is_alive(left));
}

#[test]
fn a_process_that_is_not_proven_is_left_alone() {
    let mut rig = Rig::start();
    let mut controller = rig.adopting_controller();
    let orders: Vec<SpawnOrder> = (0..2).map(|_| rig.shell("exec sleep 1000")).collect();
    let pids: Vec<i32> = orders.iter().map(|order| controller.spawned(order)).collect();
    rig.kill_keeper();
    // The number belongs to another process now; and one whose environment names another life.
    let path = |order: &SpawnOrder| rig.path("lives").join(order.incarnation.to_string());
    let mut reused: serde_json::Value =
        serde_json::from_slice(&std::fs::read(path(&orders[0])).unwrap()).unwrap();
    reused["start_time_ticks"] = 1.into();
    std::fs::write(path(&orders[0]), reused.to_string()).unwrap();
    let mut other: serde_json::Value =
        serde_json::from_slice(&std::fs::read(path(&orders[1])).unwrap()).unwrap();
    other["incarnation"] = 7.into();
    std::fs::remove_file(path(&orders[1])).unwrap();
    std::fs::write(rig.path("lives").join("7"), other.to_string()).unwrap();

    let mut controller = rig.start_again();
    assert!(matches!(find(&controller.inventory, &orders[0]).state, InventoryState::Exited { .. }));
    assert_eq!(controller.inventory.processes.len(), 1);
    assert_eq!(controller.inventory.last_incarnation, Incarnation(7));
    controller.signal(&orders[0], SIGKILL, Scope::Tree);
    controller.wait_left(&orders[0], 0);
    assert!(pids.iter().all(|pid| is_alive(*pid)));
    let told = format!("pid {}, which an earlier keeper started as incarnation 7, is left alone", pids[1]);
    assert_eq!(rig.stderr().matches(&told).count(), 1, "{}", rig.stderr());
}

#[test]
fn a_keeper_killed_while_it_starts_fifty_leaves_none_that_is_not_known() {
    for round in 0..4 {
        let mut rig = Rig::start();
        let mut controller = rig.adopting_controller();
        let mark = format!("{}-{round}", std::process::id());
        let orders: Vec<SpawnOrder> = (0..50)
            .map(|_| {
                let mut order = rig.order(&["sleep", "1000"]);
                order.environment.insert("LEVERET_TEST_ADOPTION".to_owned(), mark.clone());
                order
            })
            .collect();
        for order in &orders {
            controller.spawn(order);
        }
        for _ in 0..round * 10 {
            controller.wait_for(|fact| matches!(fact, Fact::Spawned { .. }).then_some(()));
        }
        rig.kill_keeper();
        let mut controller = rig.start_again();
        let known: BTreeSet<i32> = controller.inventory.processes.iter().filter_map(running).collect();
        assert!(known.len() >= round * 10, "{} of {}", known.len(), round * 10);
        // Whatever is not known is started again, as a controller does; a shim that came late would be a second one.
        let adopted: BTreeSet<Incarnation> =
            controller.inventory.processes.iter().map(|process| process.incarnation).collect();
        let missing = orders.iter().filter(|order| !adopted.contains(&order.incarnation));
        let again: Vec<SpawnOrder> = missing
            .map(|order| {
                let mut next = rig.order(&["sleep", "1000"]);
                next.environment.insert("LEVERET_TEST_ADOPTION".to_owned(), mark.clone());
                next.environment.insert("LEVERET_TEST_FOR".to_owned(), order.incarnation.to_string());
                next
            })
            .collect();
        for order in &again {
            controller.spawned(order);
        }
        let mut lives: BTreeMap<String, usize> = BTreeMap::new();
        for pid in process::all().unwrap().into_iter().filter(|pid| is_alive(*pid)) {
            let environ = process::environ(pid).unwrap_or_default();
            if process::value_in(&environ, "LEVERET_TEST_ADOPTION") == Some(mark.as_bytes()) {
                let value = |name| process::value_in(&environ, name).map(<[u8]>::to_vec);
                let number = value("LEVERET_TEST_FOR").or_else(|| value("LEVERET_INCARNATION")).unwrap();
                *lives.entry(String::from_utf8(number).unwrap()).or_default() += 1;
            }
        }
        assert!(lives.values().all(|count| *count == 1), "{lives:?}");
        let gone = controller.inventory.processes.iter().filter(|process| running(process).is_none()).count();
        assert_eq!(lives.len() + gone, 50);
        let ended: Vec<&SpawnOrder> =
            orders.iter().filter(|order| adopted.contains(&order.incarnation)).chain(&again).collect();
        end_all(&mut controller, &ended);
        rig.signal_keeper(Signal::CONT);
    }
}
