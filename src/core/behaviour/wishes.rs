//! What people and the file want, where both have something to say.

use std::time::Duration;

use super::set_engine_target;
use crate::core::event::{Edit, EditError, Fact, Notice};
use crate::core::exit::ExitStatus;
use crate::core::ids::ProgramName;
use crate::core::observed::{BrokerHealth, Phase};
use crate::core::scenario::{Scenario, scaled, service, target};
use crate::core::spec::ProgramSpec;
use crate::core::world::Limits;
use crate::scaling::decision::DataTrouble;
use crate::scaling::input::Observation;

#[test]
fn a_hold_that_ends_leaves_a_process_stopped_that_an_operator_stopped() {
    let mut scene = Scenario::new(vec![service("web", 2)]);
    let until = scene.now + Duration::from_secs(60);
    scene.edit(Edit::Scale(ProgramName::new("web").unwrap(), 3, Some(until))).unwrap();
    scene.edit(Edit::Stop(target("web:1"))).unwrap();
    scene.obey("web");
    scene.wait(61.0);
    scene.obey("web");
    assert_eq!((scene.live("web"), scene.phase("web:1")), (1, Phase::Empty));
    scene.edit(Edit::Auto(target("web"))).unwrap();
    assert_eq!(scene.live("web"), 1, "and so does giving back the count");
    scene.edit(Edit::Start(target("web:1"))).unwrap();
    assert_eq!(scene.live("web"), 2);
}

#[test]
fn copying_a_service_adds_a_process_even_where_one_was_stopped_and_its_place_given_up() {
    let mut scene = Scenario::new(vec![service("web", 2)]);
    scene.edit(Edit::Copy(target("web"))).unwrap();
    scene.edit(Edit::Stop(target("web:2"))).unwrap();
    scene.obey("web");
    scene.edit(Edit::Auto(target("web"))).unwrap();
    scene.edit(Edit::Copy(target("web"))).unwrap();
    assert_eq!(scene.live("web"), 3);
}

#[test]
fn stopping_a_process_that_drains_already_takes_no_other_with_it() {
    let mut scene = Scenario::new(vec![scaled("orders", 0, 10)]);
    set_engine_target(&mut scene, "orders", 3);
    scene.wait(100.0);
    set_engine_target(&mut scene, "orders", 2);
    let draining = scene.ending("orders").remove(0);
    scene.edit(Edit::Stop(target(&draining))).unwrap();
    assert_eq!(scene.live("orders"), 2);
    scene.wait(11.0);
    assert_eq!(scene.kills(), 1, "but now there is a limit");
}

#[test]
fn a_failed_program_whose_command_is_corrected_starts_with_the_reload() {
    let given_up = |command: &str| {
        let mut spec = service("web", 1);
        spec.backoff.give_up_after = Some(1);
        spec.run.argv = vec![command.into()];
        spec
    };
    let mut scene = Scenario::new(vec![given_up("wrong")]);
    scene.wait(1.0);
    scene.exit("web:0", ExitStatus::Code(127), 0);
    assert!(matches!(scene.phase("web:0"), Phase::Failed { .. }));
    scene.machine.configure(vec![given_up("right")], Limits::default());
    scene.settle();
    assert_eq!(scene.live("web"), 1);
}

#[test]
fn a_program_that_is_to_start_with_leveret_after_a_reload_does_so() {
    let mut scene = Scenario::new(vec![ProgramSpec { autostart: false, ..service("web", 1) }]);
    assert_eq!(scene.live("web"), 0);
    scene.machine.configure(vec![service("web", 1)], Limits::default());
    scene.settle();
    assert_eq!(scene.live("web"), 1);
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
fn each_kind_of_trouble_with_the_data_is_told_once_until_they_are_good_again() {
    let mut scene = Scenario::new(vec![scaled("orders", 1, 10)]);
    let told = |scene: &mut Scenario| -> Vec<Option<DataTrouble>> {
        let notices = std::mem::take(&mut scene.notices).into_iter();
        let decided = notices.filter_map(|notice| {
            let Notice::Decided(_, decision) = notice else { return None };
            Some(decision.trouble)
        });
        decided.collect()
    };
    assert_eq!(told(&mut scene), [Some(DataTrouble::NotRead)]);
    for times in 0..5 {
        for trouble in [DataTrouble::NoQueue, DataTrouble::Lost] {
            let at = scene.now;
            let observation = if trouble == DataTrouble::Lost {
                Observation::Lost { at, why: "the broker is not connected" }
            } else {
                Observation::NoQueue { at }
            };
            scene.observe(Fact::Queue { broker: "default".into(), queue: "orders".into(), observation });
            scene.wait(1.0);
            let expected = if times == 0 { vec![Some(trouble)] } else { Vec::new() };
            assert_eq!(told(&mut scene), expected, "round {times}");
        }
    }
    scene.sample("orders", 0, 1);
    assert_eq!(told(&mut scene), [None]);
}

#[test]
fn a_count_by_hand_and_its_end_do_not_start_a_process_that_was_stopped_by_itself() {
    let mut scene = Scenario::new(vec![service("web", 3)]);
    scene.wait(2.0);
    scene.edit(Edit::Stop(target("web:1"))).unwrap();
    scene.obey("web");
    let name = ProgramName::new("web").unwrap();
    for count in [0, 0] {
        scene.edit(Edit::Scale(name.clone(), count, None)).unwrap();
        scene.obey("web");
    }
    scene.edit(Edit::Auto(target("web"))).unwrap();
    scene.wait(2.0);
    assert_eq!(scene.live("web"), 2);
    assert_eq!(scene.phase("web:1"), Phase::Empty);
}
