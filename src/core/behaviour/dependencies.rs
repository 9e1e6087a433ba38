//! Programs that need others: what waits at a start, and at an end.

use crate::core::command::Command;
use crate::core::event::Edit;
use crate::core::exit::ExitStatus;
use crate::core::gap::Gap;
use crate::core::ids::ProgramName;
use crate::core::plan::plan;
use crate::core::scenario::{Scenario, service, target};
use crate::core::spec::{Dependency, ProgramSpec, RestartPolicy, Until};

fn needing(spec: ProgramSpec, needed: &str, until: Until) -> ProgramSpec {
    let program = ProgramName::new(needed).unwrap();
    ProgramSpec { depends_on: vec![Dependency { program, until }], ..spec }
}

/// Why the program's first process waits.
fn waits(scene: &Scenario, program: &str) -> Option<String> {
    let gaps = plan(scene.machine.world(), scene.now).gaps;
    let of_program = |(name, _, gap): &(ProgramName, Option<u32>, Gap)| {
        (name.as_str() == program && matches!(gap, Gap::Dependency { .. } | Gap::NeededBy { .. }))
            .then(|| gap.sentence(scene.now))
    };
    gaps.iter().find_map(of_program)
}

#[test]
fn a_program_starts_when_what_it_needs_is_ready_and_says_what_it_waits_for() {
    let web = needing(service("web", 2), "database", Until::Ready);
    let mut scene = Scenario::new(vec![web, service("database", 2)]);
    assert_eq!((scene.live("database"), scene.live("web")), (2, 0));
    assert_eq!(waits(&scene, "web").as_deref(), Some("waits until database is ready"));
    scene.wait(5.0);
    assert_eq!(scene.live("web"), 2);
    assert_eq!(waits(&scene, "web"), None);
}

#[test]
fn started_is_enough_where_that_is_said() {
    let web = needing(service("web", 1), "database", Until::Started);
    let scene = Scenario::new(vec![web, service("database", 1)]);
    assert_eq!(scene.live("web"), 1);
}

#[test]
fn what_must_be_completed_is_waited_for_until_it_ends_well() {
    let migrate = ProgramSpec { restart: RestartPolicy::OnFailure, ..service("migrate", 1) };
    let web = needing(service("web", 1), "migrate", Until::Completed);
    let mut scene = Scenario::new(vec![migrate, web]);
    scene.wait(60.0);
    assert_eq!(scene.live("web"), 0);
    scene.exit("migrate:0", ExitStatus::Code(3), 0);
    let said = "waits until migrate, which fails and is started again, has ended well";
    assert_eq!(waits(&scene, "web").as_deref(), Some(said));
    scene.wait(60.0);
    scene.exit("migrate:0", ExitStatus::Code(0), 0);
    assert_eq!(scene.live("web"), 1);
    assert_eq!(scene.live("migrate"), 0);
}

#[test]
fn starting_all_once_more_waits_for_what_must_be_completed_once_more() {
    let migrate = ProgramSpec { restart: RestartPolicy::OnFailure, ..service("migrate", 1) };
    let web = needing(service("web", 1), "migrate", Until::Completed);
    let mut scene = Scenario::new(vec![migrate, web]);
    scene.exit("migrate:0", ExitStatus::Code(0), 0);
    scene.exit("web:0", ExitStatus::Code(1), 0);
    scene.edit(Edit::Start(target("all"))).unwrap();
    assert_eq!((scene.live("migrate"), scene.live("web")), (1, 0));
    scene.wait(1.0);
    scene.exit("migrate:0", ExitStatus::Code(0), 0);
    assert_eq!(scene.live("web"), 1);
}

#[test]
fn one_that_never_comes_is_told_with_the_reason() {
    let never = ProgramSpec { restart: RestartPolicy::Never, ..service("migrate", 1) };
    let web = needing(service("web", 1), "migrate", Until::Completed);
    let mut scene = Scenario::new(vec![never, web]);
    scene.exit("migrate:0", ExitStatus::Code(3), 0);
    assert_eq!(
        waits(&scene, "web").unwrap(),
        "waits until migrate, which ended: exit code 3, has ended well"
    );
    scene.edit(Edit::Stop(target("migrate"))).unwrap();
    assert_eq!(waits(&scene, "web").unwrap(), "waits until migrate, which is stopped, has ended well");
}

#[test]
fn a_crash_of_what_is_needed_stops_nobody_but_the_next_start_waits_for_it() {
    let web = needing(service("web", 1), "database", Until::Ready);
    let mut scene = Scenario::new(vec![service("database", 1), web]);
    scene.wait(5.0);
    scene.exit("database:0", ExitStatus::Signal(9), 0);
    assert_eq!(scene.live("web"), 1);
    scene.exit("web:0", ExitStatus::Signal(9), 0);
    scene.edit(Edit::Start(target("web"))).unwrap();
    assert_eq!(scene.live("web"), 0);
    scene.wait(10.0);
    assert_eq!(scene.live("web"), 1);
}

#[test]
fn at_the_end_those_that_need_others_end_first() {
    let web = needing(service("web", 2), "database", Until::Ready);
    let mut scene = Scenario::new(vec![service("database", 1), web, service("mail", 1)]);
    scene.wait(5.0);
    scene.edit(Edit::Shutdown).unwrap();
    assert_eq!((scene.ending("web").len(), scene.ending("mail").len()), (2, 1));
    assert_eq!(scene.ending("database"), Vec::<String>::new());
    assert_eq!(waits(&scene, "database").as_deref(), Some("stops when web, which needs it, has ended"));
    scene.exit("web:0", ExitStatus::Code(0), 0);
    assert_eq!(scene.ending("database").len(), 0);
    scene.exit("web:1", ExitStatus::Code(0), 0);
    assert_eq!(scene.ending("database"), ["database:0"]);
    scene.obey("mail");
    scene.obey("database");
    assert!(scene.finished);
}

#[test]
fn somebody_who_insists_does_not_wait_for_the_order() {
    let web = needing(service("web", 1), "database", Until::Ready);
    let mut scene = Scenario::new(vec![service("database", 1), web]);
    scene.wait(5.0);
    scene.edit(Edit::Shutdown).unwrap();
    scene.edit(Edit::ShutdownNow).unwrap();
    let stops = scene.done.iter().filter(|command| matches!(command, Command::Stop { .. })).count();
    assert_eq!(stops, 2);
    assert_eq!(scene.ending("database").len(), 1);
}

#[test]
fn stopping_only_what_is_needed_stops_it_at_once_and_both_together_in_order() {
    let web = needing(service("web", 1), "database", Until::Ready);
    let mut scene = Scenario::new(vec![service("database", 1), web]);
    scene.wait(5.0);
    scene.edit(Edit::Stop(target("database"))).unwrap();
    assert_eq!(scene.ending("database").len(), 1);
    scene.obey("database");
    scene.edit(Edit::Start(target("database"))).unwrap();
    scene.wait(5.0);
    scene.edit(Edit::Stop(target("all"))).unwrap();
    assert_eq!((scene.ending("web").len(), scene.ending("database").len()), (1, 0));
    scene.obey("web");
    assert_eq!(scene.ending("database").len(), 1);
}
