//! Rolling restarts: one after another, with and without a canary, and what halts them.

use std::time::Duration;

use crate::core::budget::{Budget, Resource};
use crate::core::command::Command;
use crate::core::event::{Edit, EditError};
use crate::core::exit::ExitStatus;
use crate::core::ids::{Incarnation, ProgramName};
use crate::core::observed::{Phase, StopCause};
use crate::core::plan::plan;
use crate::core::readiness::{ReadyBy, ReadySpec, Voice};
use crate::core::rollout::Rolling;
use crate::core::scenario::{Scenario, scaled, scheduled, service, target};
use crate::core::spec::{ProgramSpec, RestartPolicy, RunSpec};
use crate::core::world::Limits;

const ONE_BY_ONE: Rolling = Rolling { batch: 1, canary: None };
const CANARY: Rolling = Rolling { batch: 1, canary: Some(Duration::ZERO) };

/// A scene in which everything runs.
fn running(specs: Vec<ProgramSpec>) -> Scenario {
    let mut scene = Scenario::new(specs);
    scene.wait(60.0);
    scene
}

/// Five consumers that run.
fn consumers(max: u32) -> Scenario {
    let mut scene = Scenario::new(vec![scaled("orders", 1, max)]);
    super::set_engine_target(&mut scene, "orders", 4);
    scene.wait(60.0);
    assert_eq!(scene.live("orders"), 4);
    scene
}

fn roll(scene: &mut Scenario, name: &str, rolling: Rolling) -> Result<(), EditError> {
    scene.edit(Edit::Roll(target(name), rolling))
}

fn state(scene: &Scenario, program: &str) -> String {
    let program = &scene.machine.world().programs[&ProgramName::new(program).unwrap()];
    program.wish.rollout.as_ref().map_or("none", |rollout| rollout.state()).to_owned()
}

fn gap_of(scene: &Scenario, program: &str, slot: u32) -> String {
    let gaps = plan(scene.machine.world(), scene.now).gaps;
    let of = gaps.iter().filter(|(name, number, _)| name.as_str() == program && *number == Some(slot));
    of.map(|(_, _, gap)| gap.sentence(scene.now)).collect::<Vec<_>>().join("; ")
}

/// Lets those that were asked to end do so and the new ones become ready, until nothing is on the way.
fn go_on(scene: &mut Scenario, program: &str) {
    for _ in 0..100 {
        if scene.ending(program).is_empty() {
            return;
        }
        scene.obey(program);
        scene.wait(2.0);
    }
    panic!("it never comes to its end");
}

fn stops(scene: &Scenario) -> Vec<(u32, StopCause)> {
    let stop = |command: &Command| {
        if let Command::Stop { process, stop, .. } = command {
            Some((process.slot, stop.cause))
        } else {
            None
        }
    };
    scene.done.iter().filter_map(stop).collect()
}

#[test]
fn each_new_process_is_ready_before_the_next_old_one_goes() {
    let mut scene = running(vec![service("web", 3)]);
    let last = scene.machine.world().last_incarnation;
    roll(&mut scene, "web", ONE_BY_ONE).unwrap();
    for replaced in 0..3 {
        assert_eq!(scene.ending("web").len(), 1);
        let waiting: Vec<String> = (0..3).map(|slot| gap_of(&scene, "web", slot)).collect();
        let sentences = waiting.iter().filter(|gap| gap.contains("waits until web:")).count();
        assert_eq!(sentences, 2 - replaced, "{waiting:?}");
        scene.wait(4_000.0);
        assert_eq!(scene.ending("web").len(), 1, "it may finish its work");
        scene.obey("web");
        assert_eq!(scene.ending("web").len(), 0, "the new one is not ready yet");
        scene.wait(0.9);
        assert_eq!(scene.ending("web").len(), 0);
        scene.wait(0.2);
    }
    assert_eq!(state(&scene, "web"), "done");
    assert_eq!(scene.kills(), 0);
    assert_eq!(scene.live("web"), 3);
    assert!((0..3).all(|slot| scene.incarnation(&format!("web:{slot}")).unwrap() > last));
}

#[test]
fn a_waiting_process_says_for_whom_it_waits_and_how_far_it_is() {
    let mut scene = running(vec![service("web", 3)]);
    roll(&mut scene, "web", ONE_BY_ONE).unwrap();
    assert_eq!(scene.ending("web"), ["web:2"]);
    assert_eq!(gap_of(&scene, "web", 0), "waits until web:2 is ready (0 of 3 replaced)");
    scene.obey("web");
    scene.wait(2.0);
    assert_eq!(gap_of(&scene, "web", 0), "waits until web:1 is ready (1 of 3 replaced)");
    assert!(gap_of(&scene, "web", 1).contains("for a rolling restart; it may finish its work"));
}

#[test]
fn no_more_than_the_batch_are_on_their_way() {
    let mut scene = running(vec![service("web", 5)]);
    roll(&mut scene, "web", Rolling { batch: 2, canary: None }).unwrap();
    assert_eq!(scene.ending("web").len(), 2);
    let first = scene.ending("web").remove(0);
    scene.exit(&first, ExitStatus::Code(0), 0);
    assert_eq!(scene.ending("web").len(), 1, "one drains and one starts");
    scene.wait(2.0);
    assert_eq!(scene.ending("web").len(), 2);
    go_on(&mut scene, "web");
    assert_eq!(state(&scene, "web"), "done");
}

#[test]
fn a_new_process_that_dies_before_it_is_ready_halts_and_leaves_the_rest() {
    let mut scene = running(vec![service("web", 3)]);
    let before: Vec<_> = (0..2).map(|slot| scene.incarnation(&format!("web:{slot}"))).collect();
    roll(&mut scene, "web", ONE_BY_ONE).unwrap();
    scene.obey("web");
    scene.wait(0.3);
    scene.exit("web:2", ExitStatus::Code(255), 0);
    assert_eq!(state(&scene, "web"), "halted");
    scene.wait(3_600.0);
    assert_eq!((0..2).map(|slot| scene.incarnation(&format!("web:{slot}"))).collect::<Vec<_>>(), before);
    assert_eq!(
        gap_of(&scene, "web", 0),
        "goes on as before, because the rolling restart was halted: web:2 ended with exit code 255 after 300ms"
    );
    roll(&mut scene, "web", ONE_BY_ONE).unwrap();
    go_on(&mut scene, "web");
    assert_eq!(state(&scene, "web"), "done", "it may be tried again");
}

#[test]
fn a_new_process_that_cannot_be_started_halts() {
    let mut scene = running(vec![service("web", 2)]);
    roll(&mut scene, "web", ONE_BY_ONE).unwrap();
    scene.wait(0.1);
    scene.fails_to_start = Some(("chdir /srv/nope".to_owned(), "No such file or directory".to_owned()));
    scene.obey("web");
    assert_eq!(state(&scene, "web"), "halted");
    assert!(gap_of(&scene, "web", 0).contains("chdir /srv/nope: No such file or directory"));
    assert_eq!(scene.live("web"), 1);
}

#[test]
fn a_canary_of_a_scaled_program_comes_in_addition_and_one_of_before_goes_for_it() {
    let mut scene = consumers(8);
    roll(&mut scene, "orders", CANARY).unwrap();
    assert_eq!(scene.live("orders"), 5);
    assert!(stops(&scene).is_empty());
    assert!(gap_of(&scene, "orders", 0).contains("until orders:4 has proven itself as the canary"));
    scene.wait(70.0);
    assert!(scene.live("orders") < 5, "one of before goes");
    assert!(scene.incarnation("orders:4").is_some());
    assert!(!scene.ending("orders").contains(&"orders:4".to_owned()));
    go_on(&mut scene, "orders");
    for _ in 0..20 {
        scene.wait(70.0);
        scene.obey("orders");
    }
    assert_eq!(state(&scene, "orders"), "done");
    assert_eq!(scene.live("orders"), 4);
    assert_eq!(scene.kills(), 0);
}

#[test]
fn where_there_is_no_room_the_canary_takes_the_place_of_another() {
    let budgets = vec![Budget { of: Resource::Processes, limit: 3 }];
    let mut full = Scenario::within(vec![service("web", 3)], Limits { budgets, ..Limits::default() });
    full.wait(60.0);
    for mut scene in [consumers(4), running(vec![service("web", 1)]), full] {
        let name = scene.machine.world().order[0].to_string();
        let live = scene.live(&name);
        roll(&mut scene, &name, CANARY).unwrap();
        assert_eq!(scene.live(&name), live - 1);
        scene.obey(&name);
        scene.wait(0.05);
        assert!(scene.ending(&name).is_empty(), "the others wait for it");
        for _ in 0..20 {
            scene.wait(70.0);
            scene.obey(&name);
        }
        assert_eq!(state(&scene, &name), "done");
        assert_eq!(scene.live(&name), live);
    }
}

#[test]
fn a_canary_that_dies_leaves_everything_as_it_was() {
    for mut scene in [consumers(8), running(vec![service("web", 4)])] {
        let name = scene.machine.world().order[0].to_string();
        let lives = |scene: &Scenario| -> Vec<Option<Incarnation>> {
            (0..4).map(|slot| scene.incarnation(&format!("{name}:{slot}"))).collect()
        };
        let before = lives(&scene);
        let rolling = Rolling { batch: 4, canary: Some(Duration::from_secs(30)) };
        roll(&mut scene, &name, rolling).unwrap();
        // Ready, where one is after a second.
        scene.wait(20.0);
        assert_eq!(state(&scene, &name), "canary");
        scene.exit(&format!("{name}:4"), ExitStatus::Code(1), 0);
        assert_eq!(state(&scene, &name), "halted", "{name}");
        scene.wait(3_600.0);
        assert_eq!(lives(&scene), before);
        assert!(stops(&scene).is_empty(), "{:?}", stops(&scene));
        assert_eq!(scene.live(&name), 4);
    }
}

#[test]
fn programs_that_are_named_together_go_on_together_and_halt_together() {
    let of_shop = |spec: ProgramSpec| ProgramSpec { project: Some("shop".to_owned()), ..spec };
    let specs = vec![of_shop(service("mail", 2)), of_shop(service("web", 2)), service("other", 1)];
    let mut scene = running(specs);
    roll(&mut scene, "@shop", CANARY).unwrap();
    assert_eq!(state(&scene, "other"), "none");
    scene.wait(0.5);
    scene.exit("mail:2", ExitStatus::Code(1), 0);
    scene.wait(60.0);
    assert_eq!((state(&scene, "mail"), state(&scene, "web")), ("halted".into(), "halted".into()));
    assert_eq!(stops(&scene).iter().filter(|(_, cause)| *cause == StopCause::Rollout).count(), 0);
    assert!(gap_of(&scene, "web", 0).ends_with("that of mail was halted"), "{}", gap_of(&scene, "web", 0));
}

#[test]
fn an_operator_who_stops_the_program_ends_it_and_one_who_restarts_it_at_once_too() {
    for edit in [Edit::Stop(target("web")), Edit::Restart(target("web"))] {
        let mut scene = running(vec![service("web", 3)]);
        roll(&mut scene, "web", ONE_BY_ONE).unwrap();
        scene.edit(edit).unwrap();
        assert_eq!(state(&scene, "web"), "ended");
        assert_eq!(scene.ending("web").len(), 3);
        scene.wait(11.0);
        assert!(scene.kills() > 0, "they insist");
    }
}

#[test]
fn a_second_one_takes_the_place_of_the_first() {
    let mut scene = running(vec![service("web", 4)]);
    roll(&mut scene, "web", ONE_BY_ONE).unwrap();
    scene.obey("web");
    scene.wait(2.0);
    let replaced = scene.incarnation("web:3").unwrap();
    roll(&mut scene, "web", Rolling { batch: 4, canary: None }).unwrap();
    assert_eq!(scene.ending("web").len(), 4, "the one that was replaced is of before now");
    go_on(&mut scene, "web");
    assert!(scene.incarnation("web:3").unwrap() > replaced);
    assert_eq!(state(&scene, "web"), "done");
}

#[test]
fn a_reload_in_between_joins_what_is_under_way() {
    let mut scene = running(vec![service("web", 3)]);
    roll(&mut scene, "web", ONE_BY_ONE).unwrap();
    scene.obey("web");
    scene.wait(2.0);
    let run = RunSpec { argv: vec!["other".into()], ..RunSpec::default() };
    let changed = ProgramSpec { run, ..service("web", 3) };
    scene.machine.configure(vec![changed], Limits::default());
    scene.settle();
    assert_eq!(scene.ending("web").len(), 1, "still one at a time");
    go_on(&mut scene, "web");
    assert_eq!(state(&scene, "web"), "done");
    let program = scene.machine.world().programs.values().next().unwrap();
    let made_anew = |phase: &Phase| phase.life().unwrap().fingerprint == program.fingerprint;
    assert!(program.slots.values().all(|slot| made_anew(&slot.phase)));
}

#[test]
fn what_is_of_no_use_yet_goes_first_and_is_not_waited_for() {
    let mut scene = Scenario::new(vec![service("web", 2)]);
    scene.wait(0.5);
    roll(&mut scene, "web", ONE_BY_ONE).unwrap();
    assert_eq!(scene.ending("web").len(), 1);
    go_on(&mut scene, "web");
    assert_eq!(state(&scene, "web"), "done");
}

#[test]
fn a_program_with_a_failing_process_is_tried_at_once() {
    let mut scene = running(vec![service("web", 2)]);
    scene.exit("web:1", ExitStatus::Code(1), 0);
    assert!(matches!(scene.phase("web:1"), Phase::Backoff { .. }));
    roll(&mut scene, "web", CANARY).unwrap();
    assert!(matches!(scene.phase("web:1"), Phase::Starting(..)), "it is the canary");
    assert!(stops(&scene).is_empty());
    scene.wait(2.0);
    go_on(&mut scene, "web");
    assert_eq!(state(&scene, "web"), "done");
}

#[test]
fn a_job_that_rests_is_not_run_again_by_a_word_for_many() {
    let never = ProgramSpec { restart: RestartPolicy::Never, ..service("migrate", 1) };
    let mut scene = running(vec![never, service("web", 1)]);
    scene.exit("migrate:0", ExitStatus::Code(0), 0);
    roll(&mut scene, "all", ONE_BY_ONE).unwrap();
    go_on(&mut scene, "web");
    assert_eq!(state(&scene, "migrate"), "done");
    assert!(matches!(scene.phase("migrate:0"), Phase::Exited { .. }));
    roll(&mut scene, "migrate", ONE_BY_ONE).unwrap();
    assert!(matches!(scene.phase("migrate:0"), Phase::Starting(..)), "by its name it is meant");
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let mut scene = running(vec![service("web", 2), scheduled("nightly", "0 3 * * *")]);
    let invalid = |refused: Result<(), EditError>| matches!(refused, Err(EditError::Invalid(_)));
    assert!(invalid(roll(&mut scene, "web:1", ONE_BY_ONE)));
    assert!(invalid(roll(&mut scene, "nightly", ONE_BY_ONE)));
    assert!(invalid(roll(&mut scene, "web", Rolling { batch: 0, canary: None })));
    scene.edit(Edit::Stop(target("web"))).unwrap();
    assert!(matches!(roll(&mut scene, "all", ONE_BY_ONE), Err(EditError::Conflict(_))));
    assert!(matches!(roll(&mut scene, "nobody", ONE_BY_ONE), Err(EditError::NoSuchName(_))));
}

#[test]
fn the_engine_takes_those_of_before_away_first() {
    let mut scene = consumers(4);
    roll(&mut scene, "orders", ONE_BY_ONE).unwrap();
    scene.obey("orders");
    let new = scene.incarnation("orders:3");
    scene.wait(70.0);
    scene.obey("orders");
    super::set_engine_target(&mut scene, "orders", 2);
    for _ in 0..20 {
        scene.wait(70.0);
        scene.obey("orders");
    }
    assert_eq!(scene.incarnation("orders:3"), new);
    assert_eq!((state(&scene, "orders").as_str(), scene.live("orders")), ("done", 2));
}

#[test]
fn a_new_process_that_does_not_become_ready_in_time_halts_and_until_then_the_next_one_waits() {
    let by = ReadySpec { by: ReadyBy::Notify, timeout: Some(Duration::from_secs(30)) };
    let mut spec = ProgramSpec { ready: Some(by), ..service("web", 2) };
    spec.run.notify = true;
    let mut scene = Scenario::new(vec![spec]);
    let says_ready = || Voice { ready: true, ..Voice::default() };
    for process in ["web:0", "web:1"] {
        scene.say(process, says_ready());
    }
    roll(&mut scene, "web", ONE_BY_ONE).unwrap();
    scene.obey("web");
    scene.wait(20.0);
    assert!(scene.ending("web").is_empty(), "it has not said that it is ready");
    scene.say("web:1", says_ready());
    assert_eq!(scene.ending("web"), ["web:0"]);
    scene.obey("web");
    scene.wait(31.0);
    assert_eq!(state(&scene, "web"), "halted");
    let program = &scene.machine.world().programs[&ProgramName::new("web").unwrap()];
    let (_, end) = program.halted_rollout().unwrap();
    assert_eq!(end.why, "web:0 was not ready in time");
}
