//! Scaled programs: who starts, who goes, and who is spared.

use super::set_engine_target;
use crate::core::event::{Edit, Notice};
use crate::core::exit::ExitStatus;
use crate::core::gap::Gap;
use crate::core::ids::ProgramName;
use crate::core::observed::BrokerHealth;
use crate::core::plan::plan;
use crate::core::scenario::{Scenario, scaled, service, target};

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
