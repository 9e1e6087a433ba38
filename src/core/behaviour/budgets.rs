//! Of what there is only so much: who has it, who waits for it, and who gives it away.

use super::set_engine_target;
use crate::core::budget::{Budget, Resource};
use crate::core::event::Fact;
use crate::core::exit::ExitStatus;
use crate::core::gap::Gap;
use crate::core::ids::{ProcessId, ProgramName};
use crate::core::memory_left::MemoryLeft;
use crate::core::plan::plan;
use crate::core::scenario::{Scenario, scaled, scheduled, service};
use crate::core::spec::{Kind, ProgramSpec};
use crate::core::world::Limits;
use crate::scaling::budget::KEEPS;
use crate::scaling::decision::{Decision, Limit};

fn processes(limit: u64) -> Limits {
    let budgets = vec![Budget { of: Resource::Processes, limit }];
    Limits { starting: 100, budgets, ..Limits::default() }
}

fn with_priority(spec: ProgramSpec, priority: i32) -> ProgramSpec {
    let Kind::Scaled(mut scale) = spec.kind.clone() else { panic!("{spec:?}") };
    scale.priority = priority;
    ProgramSpec { kind: Kind::Scaled(scale), ..spec }
}

/// A backlog in each of the queues, read every second for so many seconds; those that were asked to end do so at once.
fn read(scene: &mut Scenario, queues: &[(&str, u64)], seconds: u32) {
    for _ in 0..seconds {
        scene.wait(1.0);
        for (queue, ready) in queues {
            let consumers = scene.live(queue);
            scene.sample(queue, *ready, consumers.into());
        }
        for (queue, _) in queues {
            scene.obey(queue);
        }
    }
}

fn decision(scene: &Scenario, program: &str) -> Decision {
    let program = &scene.machine.world().programs[&ProgramName::new(program).unwrap()];
    program.scaler.as_ref().unwrap().decision.clone().expect("it was asked")
}

fn waits_for_budget(scene: &Scenario, program: &str) -> usize {
    let gaps = plan(scene.machine.world(), scene.now).gaps;
    let is_of = |(name, _, gap): &&(ProgramName, Option<u32>, Gap)| {
        name.as_str() == program && matches!(gap, Gap::Budget { .. })
    };
    gaps.iter().filter(is_of).count()
}

#[test]
fn what_is_fixed_has_its_place_and_a_queue_gets_what_is_left() {
    let specs = vec![scaled("orders", 0, 20), service("web", 3), scheduled("nightly", "0 3 * * *")];
    let mut scene = Scenario::within(specs, processes(8));
    assert_eq!(scene.live("web"), 3);
    read(&mut scene, &[("orders", 10_000)], 5);
    assert_eq!(scene.live("orders"), 4, "one place is kept for the next run of the schedule");
    let decided = decision(&scene, "orders");
    assert_eq!((decided.limit, decided.target, decided.wanted), (Limit::Budget, 4, 20));
    assert_eq!(
        decided.reason,
        "20 consumers are needed, and the budget of 8 processes, which is shared, leaves 4"
    );
    // A place that becomes free is not taken by the queue: its owner comes back.
    scene.exit("web:1", crate::core::exit::ExitStatus::Code(1), 0);
    read(&mut scene, &[("orders", 10_000)], 5);
    assert_eq!((scene.live("orders"), scene.live("web")), (4, 3));
}

#[test]
fn nothing_starts_in_the_place_of_one_that_still_finishes_its_work() {
    let mut scene = Scenario::within(vec![scaled("mail", 0, 10), scaled("orders", 0, 10)], processes(4));
    set_engine_target(&mut scene, "orders", 4);
    scene.wait(10.0);
    set_engine_target(&mut scene, "orders", 1);
    set_engine_target(&mut scene, "mail", 3);
    let ending = scene.ending("orders").len() as u32;
    assert_eq!((scene.live("orders") + ending, scene.live("mail")), (4, 0));
    let gap = scene.gap("mail:0").expect("it says why it waits");
    assert_eq!(gap, "waits because the budget of 4 processes is used up");
    scene.wait(3_600.0);
    assert_eq!(scene.live("mail"), 0);
    for left in (0..3).rev() {
        let process = scene.ending("orders").remove(0);
        scene.exit(&process, crate::core::exit::ExitStatus::Code(0), 0);
        // The first one shows how it takes its stop signal; then the others are asked.
        assert_eq!((scene.live("mail"), waits_for_budget(&scene, "mail")), (3 - left, left as usize));
    }
}

#[test]
fn a_higher_priority_takes_over_as_those_below_it_end_and_leaves_them_one() {
    let high = with_priority(scaled("high", 0, 10), 1);
    let mut scene = Scenario::within(vec![scaled("low", 0, 10), high], processes(6));
    read(&mut scene, &[("low", 10_000), ("high", 0)], 10);
    assert_eq!((scene.live("low"), scene.live("high")), (6, 0));
    read(&mut scene, &[("low", 10_000), ("high", 10_000)], 10);
    assert_eq!((scene.live("low"), scene.live("high")), (1, 5));
    assert_eq!(decision(&scene, "low").limit, Limit::Budget);
}

#[test]
fn equal_ones_share_in_the_end_and_who_has_something_keeps_it_for_a_while() {
    let mut scene = Scenario::within(vec![scaled("a", 0, 10), scaled("b", 0, 10)], processes(6));
    read(&mut scene, &[("a", 10_000), ("b", 0)], 10);
    assert_eq!(scene.live("a"), 6);
    read(&mut scene, &[("a", 10_000), ("b", 10_000)], 10);
    assert_eq!((scene.live("a"), scene.live("b")), (5, 1), "nobody starves");
    read(&mut scene, &[("a", 10_000), ("b", 10_000)], KEEPS.as_secs() as u32);
    let (a, b) = (scene.live("a"), scene.live("b"));
    assert!(a + b == 6 && a.min(b) >= 2, "{a} and {b}");
    let starts = scene.spawns();
    read(&mut scene, &[("a", 10_000), ("b", 10_000)], 300);
    assert!(scene.spawns() <= starts + 2, "they do not take turns");
}

#[test]
fn where_there_are_more_queues_than_places_they_take_turns() {
    let mut scene = Scenario::within(vec![scaled("a", 0, 10), scaled("b", 0, 10)], processes(1));
    let (mut a, mut b) = (0, 0);
    for _ in 0..300 {
        read(&mut scene, &[("a", 10_000), ("b", 10_000)], 1);
        a += scene.live("a");
        b += scene.live("b");
        assert!(scene.live("a") + scene.live("b") <= 1);
    }
    assert!(a.min(b) > 100, "{a} and {b} of 300 s");
}

#[test]
fn a_named_budget_holds_those_that_use_it_and_nobody_else() {
    let uses = |spec: ProgramSpec, count| ProgramSpec { uses: [("mysql".to_owned(), count)].into(), ..spec };
    let specs = vec![uses(scaled("a", 0, 10), 2), uses(service("b", 1), 1), scaled("c", 0, 10)];
    let budgets = vec![Budget { of: Resource::Named("mysql".into()), limit: 8 }];
    let mut scene = Scenario::within(specs, Limits { starting: 100, budgets, ..Limits::default() });
    read(&mut scene, &[("a", 10_000), ("c", 10_000)], 5);
    assert_eq!((scene.live("a"), scene.live("b"), scene.live("c")), (3, 1, 10));
    assert!(decision(&scene, "a").reason.contains("the budget of 8 mysql"), "{:?}", decision(&scene, "a"));
}

#[test]
fn memory_is_charged_by_what_the_others_of_a_program_use() {
    let budgets = vec![Budget { of: Resource::Memory, limit: 1 << 30 }];
    let mut scene = Scenario::within(
        vec![scaled("orders", 1, 20)],
        Limits { starting: 100, budgets, ..Limits::default() },
    );
    let life = scene.incarnation("orders:0").unwrap();
    scene.observe(Fact::Memory(vec![(life, 300 << 20)]));
    read(&mut scene, &[("orders", 10_000)], 5);
    assert_eq!(scene.live("orders"), 3);
    assert!(decision(&scene, "orders").reason.contains("the memory budget of 1 GiB"));
    // The others turn out to be smaller.
    let lives = (0..3).map(|slot| scene.incarnation(&format!("orders:{slot}")).unwrap());
    let read_now = lives.map(|life| (life, 100 << 20)).collect();
    scene.observe(Fact::Memory(read_now));
    read(&mut scene, &[("orders", 10_000)], 5);
    assert_eq!(scene.live("orders"), 10);
}

#[test]
fn none_starts_beyond_its_guarantee_where_the_machine_is_about_to_run_out_of_memory() {
    let specs = vec![scaled("orders", 1, 20), service("web", 3)];
    let mut scene = Scenario::within(specs, Limits { starting: 100, ..Limits::default() });
    let life = scene.incarnation("orders:0").unwrap();
    scene.observe(Fact::Memory(vec![(life, 100 << 20)]));
    let tell = |scene: &mut Scenario, left: u64| {
        scene.observe(Fact::MemoryLeft(MemoryLeft { left: left << 20, total: 2_000 << 20, at: scene.now }));
        read(scene, &[("orders", 10_000)], 1);
    };
    tell(&mut scene, 410);
    assert_eq!(scene.live("orders"), 4, "a twentieth stays free, and each is charged with 100 MiB");
    // They have not used it yet.
    tell(&mut scene, 410);
    assert!(scene.live("orders") <= 7);
    tell(&mut scene, 50);
    let before = scene.live("orders");
    tell(&mut scene, 50);
    assert_eq!(scene.live("orders"), before);
    let gaps = plan(scene.machine.world(), scene.now).gaps;
    assert!(gaps.iter().any(|(_, _, gap)| *gap == Gap::MemoryShort { left: 50 << 20 }), "{gaps:?}");
    // What is guaranteed starts all the same.
    let at = scene.now;
    let web = scene.incarnation("web:0").unwrap();
    scene.observe(Fact::Exited { incarnation: web, status: ExitStatus::Code(0), left: 0, at });
    scene.wait(30.0);
    assert_eq!(scene.live("web"), 3);
    tell(&mut scene, 2_000);
    scene.wait(1.0);
    assert!(scene.live("orders") > before);
}

#[test]
fn nobody_is_scaled_in_for_others_as_long_as_its_queue_cannot_be_read() {
    let high = with_priority(scaled("high", 0, 10), 1);
    let mut scene = Scenario::within(vec![scaled("low", 0, 10), high], processes(6));
    read(&mut scene, &[("low", 10_000), ("high", 0)], 10);
    assert_eq!(scene.live("low"), 6);
    // Readings of the one stop to come.
    read(&mut scene, &[("high", 0)], 5);
    read(&mut scene, &[("high", 10_000)], 60);
    assert_eq!((scene.live("low"), scene.live("high")), (6, 0));
}

#[test]
fn only_idle_ones_give_way_at_first_and_busy_ones_finish_what_they_have_begun() {
    let high = with_priority(scaled("high", 0, 10), 1);
    let mut scene = Scenario::within(vec![scaled("low", 0, 10), high], processes(3));
    read(&mut scene, &[("low", 10_000), ("high", 0)], 10);
    let of_low: Vec<ProcessId> = (0..3).map(|slot| format!("low:{slot}").parse().unwrap()).collect();
    assert!(of_low.iter().all(|process| scene.incarnation(&process.to_string()).is_some()));
    scene.wait(1.0);
    scene.sample("low", 10_000, 3);
    scene.sample("high", 10_000, 0);
    // They may finish for as long as it takes, and nothing takes their place before.
    scene.wait(3_600.0);
    assert_eq!((scene.live("high"), scene.kills()), (0, 0));
    assert_eq!(scene.live("low") + scene.ending("low").len() as u32, 3);
}
