//! Scaled programs: who starts, who goes, and who is spared.

use std::time::Duration;

use super::set_engine_target;
use crate::core::event::{Edit, Fact, Notice};
use crate::core::exit::ExitStatus;
use crate::core::gap::Gap;
use crate::core::ids::ProgramName;
use crate::core::observed::BrokerHealth;
use crate::core::plan::plan;
use crate::core::scenario::{Scenario, scaled, service, target};
use crate::core::schedule::Zone;
use crate::core::share::Share;
use crate::core::spec::{DelayedSpec, FloorSpec, Kind, ProgramSpec, ScaleSpec};

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

fn change(spec: &mut ProgramSpec, change: impl FnOnce(&mut ScaleSpec)) {
    let Kind::Scaled(scale) = &mut spec.kind else { panic!("{spec:?}") };
    change(scale);
}

#[test]
fn a_floor_by_the_clock_starts_processes_at_its_moment_and_lets_them_go_after_it() {
    let mut spec = scaled("orders", 1, 10);
    let floor = FloorSpec {
        cron: "0 8 * * *".parse().unwrap(),
        timezone: Zone::named("Europe/Berlin").unwrap(),
        lasts: Duration::from_secs(2 * 3_600),
        min: 4,
    };
    change(&mut spec, |scale| scale.floors = vec![floor]);
    let mut scene = Scenario::new(vec![spec]);
    let target = |scene: &Scenario| {
        let program = &scene.machine.world().programs[&ProgramName::new("orders").unwrap()];
        program.scaler.as_ref().unwrap().target
    };
    scene.set_clock("2026-11-23T06:59:00Z");
    scene.wait(30.0);
    assert_eq!(scene.live("orders"), 1);
    scene.wait(40.0);
    assert_eq!(scene.live("orders"), 4, "it is eight in Berlin");
    scene.wait(2.0 * 3_600.0);
    assert_eq!(target(&scene), 4, "without a reading nobody goes");
    for _ in 0..60 {
        scene.sample("orders", 0, 4);
        scene.wait(1.0);
    }
    assert_eq!(target(&scene), 1);
}

#[test]
fn who_takes_long_to_start_is_started_before_messages_come_back() {
    let mut spec = scaled("orders", 0, 10);
    let delayed = DelayedSpec { queue: "retry.60s".to_owned(), after: Duration::from_secs(60) };
    change(&mut spec, |scale| scale.delayed = vec![delayed]);
    let mut scene = Scenario::new(vec![spec]);
    scene.broker(BrokerHealth::Up);
    let mut live = Vec::new();
    for second in 0..70 {
        scene.wait(1.0);
        scene.sample("orders", 0, 0);
        scene.sample("retry.60s", if second < 5 { 0 } else { 100 }, 0);
        live.push(scene.live("orders"));
    }
    let first = live.iter().position(|live| *live > 0).expect("they are due at second 65");
    assert!((55..65).contains(&first), "ordered at second {first}: {live:?}");
}

#[test]
fn where_messages_have_an_order_none_starts_before_everything_of_the_one_before_has_ended() {
    let next = |ordered| {
        let mut spec = scaled("orders", 1, 1);
        change(&mut spec, |scale| scale.ordered = ordered);
        let mut scene = Scenario::new(vec![spec]);
        scene.wait(100.0);
        let (old, at) = (scene.incarnation("orders:0").unwrap(), scene.now);
        scene.machine.observe(Fact::Exited { incarnation: old, status: ExitStatus::Code(0), left: 0, at });
        scene.settle();
        (scene, old)
    };
    assert_eq!(next(false).0.live("orders"), 1, "nothing is known of anything left");
    let (mut scene, old) = next(true);
    assert_eq!(scene.live("orders"), 0);
    let waits =
        "waits until everything of the process before it has ended, because messages are done in order";
    assert_eq!(scene.gap("orders:0").as_deref(), Some(waits));
    scene.left(old, 2);
    scene.wait(3.0);
    assert_eq!(scene.live("orders"), 0);
    scene.left(old, 0);
    assert_eq!(scene.live("orders"), 1);
}

#[test]
fn several_servers_on_a_queue_each_run_their_part_of_the_same_number() {
    let run = |part| {
        let mut spec = scaled("orders", 0, 0);
        let share = Share { part, of: 3, min: 1, max: 20 };
        change(&mut spec, |scale| {
            (scale.min, scale.max) = (share.part_of(1), share.part_of(20));
            scale.share = Some(share);
        });
        let mut scene = Scenario::new(vec![spec]);
        scene.sample("orders", 0, 1);
        scene.wait(1.0);
        scene.sample("orders", 2_000, 1);
        let program = &scene.machine.world().programs[&ProgramName::new("orders").unwrap()];
        let decision = program.scaler.as_ref().unwrap().decision.clone().unwrap();
        let ran = (program.count(), decision.reason);
        // The engine counts those of all servers, also when it goes on after a pause or a stop.
        for (end, begin) in
            [(Edit::Pause as fn(_) -> Edit, Edit::Resume as fn(_) -> Edit), (Edit::Stop, Edit::Start)]
        {
            scene.edit(end(target("orders"))).unwrap();
            scene.edit(begin(target("orders"))).unwrap();
            let program = &scene.machine.world().programs[&ProgramName::new("orders").unwrap()];
            assert_eq!(program.count(), ran.0);
        }
        ran
    };
    let [first, second, third] = [1, 2, 3].map(run);
    assert_eq!([first.0, second.0, third.0], [7, 7, 6], "{first:?}");
    assert!(third.1.ends_with("; 6 of these 20 run here (part 3 of 3)"), "{third:?}");
}
