//! A configuration that changed.

use crate::core::configure::Changes;
use crate::core::exit::ExitStatus;
use crate::core::ids::ProgramName;
use crate::core::observed::Phase;
use crate::core::scenario::{Scenario, service};
use crate::core::spec::{Backoff, ProgramSpec, RunSpec};
use crate::core::world::Limits;

#[test]
fn a_reload_touches_only_what_changed() {
    let mut scene = Scenario::new(vec![service("a", 2), service("b", 2), service("c", 1)]);
    scene.wait(5.0);
    let run = RunSpec { argv: vec!["new".into()], ..RunSpec::default() };
    let changed = ProgramSpec { run, ..service("b", 2) };
    let specs = vec![service("a", 3), changed, service("d", 1)];
    let before: Vec<_> = ["a:0", "a:1", "b:0"].map(|process| scene.incarnation(process)).into();
    let changes = scene.machine.configure(specs.clone(), Limits::default());
    assert_eq!(changes.added, ["d"]);
    assert_eq!(changes.removed, ["c"]);
    assert_eq!(changes.restarted, ["b"]);
    assert_eq!(changes.adjusted, ["a"]);
    scene.settle();
    assert_eq!(["a:0", "a:1"].map(|process| scene.incarnation(process)), before[..2]);
    assert_eq!(scene.live("a"), 3);
    assert_eq!(scene.ending("b").len(), 2);
    scene.obey("b");
    scene.obey("c");
    assert!(scene.incarnation("b:0") > before[2]);
    assert!(!scene.machine.world().programs.contains_key(&ProgramName::new("c").unwrap()));
    let again = scene.machine.configure(specs, Limits::default());
    assert_eq!(again, Changes::default());
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
