//! Processes that run well and are replaced: because they grew, or because they are old.

use std::time::Duration;

use crate::core::event::{Edit, Fact, Notice, RestartReason};
use crate::core::exit::ExitStatus;
use crate::core::ids::{Incarnation, ProgramName};
use crate::core::observed::{Phase, StopCause, StopManners};
use crate::core::readiness::Voice;
use crate::core::scenario::{Scenario, scaled, service, target};
use crate::core::spec::{ProgramSpec, RecycleSpec};
use crate::core::world::Program;

const LIMIT: u64 = 256 << 20;
const AGE: Duration = Duration::from_secs(600);

fn by_memory(spec: ProgramSpec) -> ProgramSpec {
    ProgramSpec { recycle: RecycleSpec { memory_bytes: Some(LIMIT), age: None }, ..spec }
}

fn by_age(spec: ProgramSpec) -> ProgramSpec {
    ProgramSpec { recycle: RecycleSpec { memory_bytes: None, age: Some(AGE) }, ..spec }
}

/// Three processes that have run for two minutes.
fn grown_up(spec: ProgramSpec) -> Scenario {
    let mut scene = Scenario::new(vec![spec]);
    scene.wait(120.0);
    scene
}

fn program<'a>(scene: &'a Scenario, name: &str) -> &'a Program {
    &scene.machine.world().programs[&ProgramName::new(name).unwrap()]
}

fn life(scene: &Scenario, process: &str) -> Incarnation {
    scene.incarnation(process).expect("it lives")
}

/// The memory of each of these in MiB, read now.
fn uses(scene: &mut Scenario, memory: &[(&str, u64)]) {
    let read = memory.iter().map(|(process, mebibytes)| (life(scene, process), mebibytes << 20)).collect();
    scene.observe(Fact::Memory(read));
}

#[test]
fn the_largest_goes_first_and_the_next_when_its_successor_is_of_use() {
    let mut scene = grown_up(by_memory(service("web", 3)));
    uses(&mut scene, &[("web:0", 300), ("web:1", 310), ("web:2", 100)]);
    assert_eq!(scene.ending("web"), ["web:1"]);
    let Phase::Stopping(_, _, stop) = scene.phase("web:1") else { panic!("it drains") };
    assert_eq!((stop.cause, stop.deadline), (StopCause::Recycle, None));
    assert_eq!(
        scene.gap("web:1").as_deref(),
        Some("recycled: memory 310 MiB > 256 MiB; draining for 0ms, it may finish its work")
    );
    let waits = "to be recycled: memory 300 MiB > 256 MiB; waits until the others are ready";
    assert_eq!(scene.gap("web:0").as_deref(), Some(waits));
    assert!(
        scene
            .notices
            .contains(&Notice::Recycled("web:1".parse().unwrap(), "memory 310 MiB > 256 MiB".to_owned()))
    );

    scene.wait(7_200.0);
    assert_eq!((scene.ending("web").len(), scene.kills()), (1, 0), "it takes as long as it takes");
    scene.obey("web");
    assert!(matches!(scene.phase("web:1"), Phase::Starting(..)), "its place is taken at once");
    assert!(scene.ending("web").is_empty(), "not before the new one is of use");
    scene.wait(2.0);
    assert_eq!(scene.ending("web"), ["web:0"]);
    scene.obey("web");
    assert_eq!(program(&scene, "web").restarts, [(RestartReason::Recycle, 2)].into());
    assert_eq!(program(&scene, "web").slots[&1].failures, 0);
}

#[test]
fn one_that_needs_much_from_its_start_is_left_in_peace_for_a_minute() {
    let mut scene = Scenario::new(vec![by_memory(service("web", 1))]);
    scene.wait(50.0);
    uses(&mut scene, &[("web:0", 300)]);
    assert!(scene.ending("web").is_empty());
    scene.wait(11.0);
    uses(&mut scene, &[("web:0", 300)]);
    assert_eq!(scene.ending("web"), ["web:0"]);
}

#[test]
fn what_was_read_of_one_life_says_nothing_of_the_next() {
    let mut scene = grown_up(by_memory(service("web", 1)));
    let before = life(&scene, "web:0");
    scene.exit("web:0", ExitStatus::Code(0), 0);
    scene.wait(120.0);
    scene.observe(Fact::Memory(vec![(before, 300 << 20)]));
    assert!(scene.ending("web").is_empty());
}

#[test]
fn those_that_started_together_grow_old_one_after_another() {
    let mut scene = Scenario::new(vec![by_age(service("web", 3))]);
    let first: Vec<_> = (0..3).map(|slot| life(&scene, &format!("web:{slot}"))).collect();
    scene.wait(0.79 * AGE.as_secs_f64());
    assert!(scene.ending("web").is_empty());
    let mut went = 0;
    for _ in 0..400 {
        let ending = scene.ending("web");
        assert!(ending.len() <= 1, "{ending:?}");
        went += ending.len();
        scene.obey("web");
        scene.wait(0.5);
    }
    assert_eq!(went, 3, "each once, within a fifth of the age");
    assert!((0..3).all(|slot| !first.contains(&life(&scene, &format!("web:{slot}")))));
}

#[test]
fn a_consumer_that_would_die_in_the_middle_of_work_goes_only_when_it_is_idle() {
    let mut scene = grown_up(by_memory(scaled("orders", 2, 4)));
    let name = ProgramName::new("orders").unwrap();
    scene.machine.world_mut().programs.get_mut(&name).unwrap().manners = StopManners::DiesOfIt;
    uses(&mut scene, &[("orders:0", 300), ("orders:1", 280)]);
    assert!(scene.ending("orders").is_empty());
    let stays = "to be recycled: memory 300 MiB > 256 MiB; it goes on, because these processes die of SIGTERM in the middle of work";
    assert_eq!(scene.gap("orders:0").as_deref(), Some(stays));
    scene.say("orders:1", Voice { busy: Some(false), ..Voice::default() });
    assert_eq!(scene.ending("orders"), ["orders:1"], "it says that it holds nothing");
}

#[test]
fn nothing_is_recycled_while_another_is_away_or_everything_ends() {
    let mut scene = grown_up(by_memory(service("web", 2)));
    scene.exit("web:1", ExitStatus::Code(1), 0);
    uses(&mut scene, &[("web:0", 300)]);
    assert!(scene.ending("web").is_empty(), "the other one waits for its restart");
    scene.edit(Edit::Stop(target("web"))).unwrap();
    let Phase::Stopping(_, _, stop) = scene.phase("web:0") else { panic!("it is asked to end") };
    assert_eq!(stop.cause, StopCause::Operator);
}
