//! A configuration that changed.

use std::time::Duration;

use crate::core::configure::{Change, Changes, Class};
use crate::core::difference::Differences;
use crate::core::event::Edit;
use crate::core::exit::ExitStatus;
use crate::core::ids::ProgramName;
use crate::core::observed::Phase;
use crate::core::scenario::{Scenario, scaled, service, target};
use crate::core::spec::{Backoff, Kind, ProgramSpec, RestartPolicy, RunSpec, StopSpec};
use crate::core::world::Limits;

#[test]
fn a_reload_touches_only_what_changed() {
    let mut scene = Scenario::new(vec![service("a", 2), service("b", 2), service("c", 1)]);
    scene.wait(5.0);
    let run = RunSpec { argv: vec!["new".into()], ..RunSpec::default() };
    let stop = StopSpec { timeout: Duration::from_secs(7), ..service("b", 2).stop };
    let changed = ProgramSpec { run, stop, ..service("b", 2) };
    let specs = vec![service("a", 3), changed, service("d", 1)];
    let before: Vec<_> = ["a:0", "a:1", "b:0"].map(|process| scene.incarnation(process)).into();
    let planned = scene.machine.changes(&specs);
    let of = |changes: &Changes, class| changes.of(class).join(",");
    assert_eq!(of(&planned, Class::Added), "d");
    assert_eq!(of(&planned, Class::Removed), "c");
    assert_eq!(of(&planned, Class::Restart), "b");
    assert_eq!(of(&planned, Class::InPlace), "a");
    let keys = Differences { restart: vec!["command".into()], in_place: vec!["stop.timeout".into()] };
    let b = Change { program: ProgramName::new("b").unwrap(), class: Class::Restart, keys, processes: 2 };
    assert_eq!(planned.0[1], b, "in the order of the file, with the keys and how many processes it concerns");
    let changes = scene.machine.configure(specs.clone(), Limits::default());
    assert_eq!(changes, planned, "a plan changes nothing and says just what will be done");
    scene.settle();
    assert_eq!(["a:0", "a:1"].map(|process| scene.incarnation(process)), before[..2]);
    assert_eq!(scene.live("a"), 3);
    assert_eq!(scene.ending("b").len(), 2);
    scene.obey("b");
    scene.obey("c");
    assert!(scene.incarnation("b:0") > before[2]);
    assert!(!scene.machine.world().programs.contains_key(&ProgramName::new("c").unwrap()));
    let again = scene.machine.configure(specs, Limits::default());
    assert_eq!(of(&again, Class::Unchanged), "a,b,d");
    assert_eq!(again.0.len(), 3);
    let spawns = scene.spawns();
    scene.settle();
    assert_eq!(scene.spawns(), spawns, "an equal configuration changes nothing");
}

#[test]
fn a_changed_command_is_tried_at_once_whatever_became_of_the_one_before() {
    let quitter = ProgramSpec {
        backoff: Backoff { give_up_after: Some(1), ..Backoff::default() },
        ..service("quitter", 1)
    };
    let mut scene = Scenario::new(vec![service("patient", 1), quitter.clone()]);
    scene.exit("patient:0", ExitStatus::Code(1), 0);
    scene.exit("quitter:0", ExitStatus::Code(1), 0);
    assert!(matches!(scene.phase("patient:0"), Phase::Backoff { .. }));
    assert!(matches!(scene.phase("quitter:0"), Phase::Failed { .. }));
    let run = RunSpec { argv: vec!["mended".into()], ..RunSpec::default() };
    let mended = |spec| ProgramSpec { run: run.clone(), ..spec };
    scene.machine.configure(vec![mended(service("patient", 1)), mended(quitter)], Limits::default());
    scene.settle();
    assert_eq!((scene.live("patient"), scene.live("quitter")), (1, 1));
}

#[test]
fn what_people_set_survives_a_reload_and_a_changed_count_touches_no_sibling() {
    let mut scene = Scenario::new(vec![
        service("stopped", 2),
        service("partly", 3),
        service("set", 2),
        scaled("orders", 1, 4),
    ]);
    scene.wait(5.0);
    scene.edit(Edit::Stop(target("stopped"))).unwrap();
    scene.edit(Edit::Stop(target("partly:1"))).unwrap();
    scene.edit(Edit::Scale(ProgramName::new("set").unwrap(), 4, None)).unwrap();
    scene.edit(Edit::Scale(ProgramName::new("orders").unwrap(), 3, None)).unwrap();
    for name in ["stopped", "partly"] {
        scene.obey(name);
    }
    scene.wait(5.0);
    let lives = |scene: &Scenario| {
        ["partly:0", "partly:2", "set:0", "set:1", "set:2", "set:3", "orders:0", "orders:1", "orders:2"]
            .map(|process| scene.incarnation(process))
    };
    let before = lives(&scene);
    let mut changed =
        vec![service("stopped", 5), service("partly", 4), service("set", 1), scaled("orders", 2, 9)];
    for spec in &mut changed {
        spec.stop.timeout *= 2;
        spec.backoff.max *= 2;
        spec.restart = RestartPolicy::OnFailure;
        spec.log.keep += 1;
    }
    let changes = scene.machine.configure(changed, Limits::default());
    assert_eq!(changes.of(Class::InPlace), ["stopped", "partly", "set", "orders"]);
    scene.settle();
    scene.wait(5.0);
    assert_eq!(lives(&scene), before, "nobody was replaced");
    assert_eq!(
        (scene.live("stopped"), scene.live("partly"), scene.live("set"), scene.live("orders")),
        (0, 3, 4, 3)
    );
    assert_ne!(scene.incarnation("partly:3"), before[0], "the fourth is new, the second stays stopped");
    let world = scene.machine.world();
    let held = |name: &str| {
        world.programs[&ProgramName::new(name).unwrap()].wish.hold.as_ref().map(|hold| hold.processes)
    };
    assert_eq!((held("set"), held("orders")), (Some(4), Some(3)));
}

#[test]
fn fewer_processes_end_only_those_that_are_too_many() {
    let mut scene = Scenario::new(vec![service("web", 4)]);
    scene.wait(5.0);
    let before = ["web:0", "web:1"].map(|process| scene.incarnation(process));
    let fewer = ProgramSpec { kind: Kind::Service { processes: 2 }, ..service("web", 4) };
    assert_eq!(scene.machine.configure(vec![fewer], Limits::default()).of(Class::InPlace), ["web"]);
    scene.settle();
    assert_eq!(scene.ending("web").len(), 2);
    scene.obey("web");
    assert_eq!(["web:0", "web:1"].map(|process| scene.incarnation(process)), before);
    assert_eq!(scene.live("web"), 2);
}
