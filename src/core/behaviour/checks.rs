//! Processes that are looked at from outside: who becomes ready by that, and who is stopped for it.

use std::time::Duration;

use crate::core::auxiliary::{AuxiliaryResult, Purpose};
use crate::core::check::{Check, CheckFor, HealthSpec, Probe};
use crate::core::command::Command;
use crate::core::event::{Edit, Fact, Notice, RestartReason};
use crate::core::exit::ExitStatus;
use crate::core::ids::ProgramName;
use crate::core::observed::{Phase, StopCause};
use crate::core::readiness::{ReadyBy, ReadySpec, Unfit};
use crate::core::scenario::{Scenario, service, target};
use crate::core::spec::{Dependency, ProgramSpec, Until};
use crate::core::world::Limits;

fn check(address: &str) -> Check {
    let probe = Probe::Tcp(address.to_owned());
    Check { probe, interval: Duration::from_secs(1), timeout: Duration::from_secs(5) }
}

fn ready(spec: ProgramSpec, address: &str) -> ProgramSpec {
    let (by, timeout) = (ReadyBy::Check(check(address)), Some(Duration::from_secs(30)));
    ProgramSpec { ready: Some(ReadySpec { by, timeout }), ..spec }
}

fn healthy(spec: ProgramSpec, address: &str) -> ProgramSpec {
    ProgramSpec { health: Some(HealthSpec { check: check(address), failures: 3 }), ..spec }
}

/// A look finds something.
fn found(
    scene: &mut Scenario,
    process: &str,
    (purpose, address): (CheckFor, &str),
    result: Result<(), &str>,
) {
    let (incarnation, at) = (scene.incarnation(process).unwrap(), scene.now);
    let result = result.map_err(str::to_owned);
    scene.observe(Fact::Checked { incarnation, purpose, check: check(address), result, at });
}

/// Who was to be looked at, for what and how.
fn looks(scene: &Scenario) -> Vec<(String, CheckFor, String)> {
    let look = |command: &Command| match command {
        Command::Check { process, purpose, check: Check { probe: Probe::Tcp(address), .. }, .. } => {
            Some((process.to_string(), *purpose, address.clone()))
        }
        Command::Check { check: Check { probe: Probe::Http(_) | Probe::Command(_), .. }, .. }
        | Command::Spawn { .. }
        | Command::Prepare { .. }
        | Command::EndPreparation { .. }
        | Command::RunHook { .. }
        | Command::EndHook { .. }
        | Command::PrepareStop { .. }
        | Command::Stop { .. }
        | Command::StopNext { .. }
        | Command::StopLeft { .. }
        | Command::Limit { .. }
        | Command::Kill { .. }
        | Command::Watch { .. }
        | Command::SpawnAuxiliary { .. }
        | Command::KillAuxiliary { .. }
        | Command::KillStray { .. } => None,
    };
    scene.done.iter().filter_map(look).collect()
}

fn is_running(scene: &Scenario, process: &str) -> bool {
    matches!(scene.phase(process), Phase::Running(..))
}

#[test]
fn each_process_is_looked_at_where_it_is_until_it_is_found_well() {
    let mut scene = Scenario::new(vec![ready(service("web", 2), "here:80${LEVERET_SLOT}")]);
    scene.wait(5.0);
    let look = |slot: u32| (format!("web:{slot}"), CheckFor::Ready, format!("here:80{slot}"));
    assert_eq!(looks(&scene), [look(0), look(1)], "once each");
    let said = "starting: waits until here:801 takes connections; stopped in 25s if not";
    assert_eq!(scene.gap("web:1").as_deref(), Some(said));
    found(&mut scene, "web:1", (CheckFor::Ready, "here:801"), Err("here:801: Connection refused"));
    let said = "not ready: here:801: Connection refused; stopped in 25s if not";
    assert_eq!(scene.gap("web:1").as_deref(), Some(said));
    found(&mut scene, "web:1", (CheckFor::Ready, "here:800"), Ok(()));
    found(&mut scene, "web:1", (CheckFor::Health, "here:801"), Ok(()));
    assert!(!is_running(&scene, "web:1"), "that was another look");
    found(&mut scene, "web:1", (CheckFor::Ready, "here:801"), Ok(()));
    assert!(is_running(&scene, "web:1") && !is_running(&scene, "web:0"));
    scene.wait(3_600.0);
    assert_eq!(scene.ending("web"), ["web:0"], "it was never well");
    let told = scene
        .notices
        .iter()
        .any(|notice| matches!(notice, Notice::Unfit(process, Unfit::NotReady, None) if process.slot == 0));
    assert!(told, "{:?}", scene.notices);
}

#[test]
fn what_was_wrong_with_one_that_was_not_ready_in_time_is_said_until_it_starts_again() {
    let mut scene = Scenario::new(vec![ready(service("web", 1), "here:80")]);
    found(&mut scene, "web:0", (CheckFor::Ready, "here:80"), Err("here:80: Connection refused"));
    scene.wait(30.0);
    scene.exit("web:0", ExitStatus::Code(0), 0);
    let said = scene.gap("web:0").unwrap();
    let begins = "was not ready in time (here:80: Connection refused); starts again in ";
    assert!(said.starts_with(begins), "{said}");
    let ended = scene.notices.iter().find_map(|notice| {
        let Notice::Ended(_, sentence) = notice else { return None };
        Some(sentence.clone())
    });
    let ended = ended.unwrap();
    assert!(
        ended.starts_with("was not ready in time (here:80: Connection refused), stopped after 30s"),
        "{ended}"
    );
}

#[test]
fn a_changed_look_is_taken_instead_and_the_one_before_says_nothing_any_more() {
    let mut scene = Scenario::new(vec![ready(service("web", 1), "here:80")]);
    scene.machine.configure(vec![ready(service("web", 1), "here:81")], Limits::default());
    scene.settle();
    let addresses: Vec<_> = looks(&scene).into_iter().map(|(.., address)| address).collect();
    assert_eq!(addresses, ["here:80", "here:81"]);
    let incarnation = scene.incarnation("web:0").unwrap();
    let is_checked = |scene: &Scenario, address: &str| {
        scene.machine.is_checked(incarnation, (CheckFor::Ready, &check(address)))
    };
    assert!(!is_checked(&scene, "here:80") && is_checked(&scene, "here:81"));
    found(&mut scene, "web:0", (CheckFor::Ready, "here:80"), Ok(()));
    assert!(!is_running(&scene, "web:0"));
    found(&mut scene, "web:0", (CheckFor::Ready, "here:81"), Ok(()));
    assert!(is_running(&scene, "web:0") && !is_checked(&scene, "here:81"));
    scene.machine.configure(vec![ready(service("web", 1), "here:82")], Limits::default());
    scene.settle();
    assert!(is_running(&scene, "web:0"), "what is of use stays so");
    assert_eq!(looks(&scene).len(), 2);
}

#[test]
fn one_that_runs_is_stopped_after_so_many_failed_looks_in_a_row_and_started_again() {
    let mut scene = Scenario::new(vec![healthy(ready(service("web", 1), "here:80"), "here:81")]);
    scene.wait(2.0);
    found(&mut scene, "web:0", (CheckFor::Health, "here:81"), Err("too early"));
    found(&mut scene, "web:0", (CheckFor::Ready, "here:80"), Ok(()));
    let look = |purpose, address: &str| ("web:0".to_owned(), purpose, address.to_owned());
    assert_eq!(looks(&scene), [look(CheckFor::Ready, "here:80"), look(CheckFor::Health, "here:81")]);
    let health = |scene: &mut Scenario, result| found(scene, "web:0", (CheckFor::Health, "here:81"), result);
    let unwell = Err("here:81: Connection refused");
    health(&mut scene, unwell);
    health(&mut scene, unwell);
    let said = "failed 2 of 3 health checks in a row: here:81: Connection refused";
    assert_eq!(scene.gap("web:0").as_deref(), Some(said));
    health(&mut scene, Ok(()));
    assert_eq!(scene.gap("web:0"), None);
    health(&mut scene, unwell);
    health(&mut scene, unwell);
    assert!(is_running(&scene, "web:0"));
    health(&mut scene, unwell);
    let Phase::Stopping(_, _, stop) = scene.phase("web:0") else { panic!("{:?}", scene.phase("web:0")) };
    assert_eq!(stop.cause, StopCause::Unfit(Unfit::Unhealthy));
    assert_eq!(stop.deadline, Some(scene.now + Duration::from_secs(10)));
    scene.exit("web:0", ExitStatus::Code(0), 0);
    let said = scene.gap("web:0").unwrap();
    let begins = "failed its health checks (here:81: Connection refused); starts again in ";
    assert!(said.starts_with(begins), "{said}");
    scene.wait(2.0);
    let program = scene.machine.world().programs.values().next().unwrap();
    assert_eq!(program.restarts[&RestartReason::Unhealthy], 1);
    assert_eq!(program.deaths.by_count()[0].0, "health checks");
    assert_eq!(looks(&scene).len(), 3, "the next one is looked at anew");
}

#[test]
fn one_that_was_asked_to_end_is_not_looked_at_and_may_finish() {
    let mut scene = Scenario::new(vec![healthy(service("web", 1), "here:80")]);
    scene.wait(2.0);
    assert_eq!(looks(&scene).len(), 1);
    let mut changed = healthy(service("web", 1), "here:80");
    changed.run.argv.push("more".to_owned());
    scene.machine.configure(vec![changed], Limits::default());
    scene.settle();
    for _ in 0..9 {
        found(&mut scene, "web:0", (CheckFor::Health, "here:80"), Err("no answer"));
    }
    scene.wait(3_600.0);
    let Phase::Stopping(_, _, stop) = scene.phase("web:0") else { panic!("{:?}", scene.phase("web:0")) };
    assert_eq!((stop.cause, stop.deadline), (StopCause::Changed, None));
    assert_eq!(looks(&scene).len(), 1);
}

#[test]
fn whoever_waits_for_its_turn_in_a_shutdown_is_not_stopped_before_it_for_what_a_look_finds() {
    let needed = Dependency { program: ProgramName::new("db").unwrap(), until: Until::Ready };
    let web = ProgramSpec { depends_on: vec![needed], ..service("web", 1) };
    let mut scene = Scenario::new(vec![healthy(service("db", 1), "here:80"), web]);
    scene.wait(5.0);
    scene.edit(Edit::Shutdown).unwrap();
    for _ in 0..3 {
        found(&mut scene, "db:0", (CheckFor::Health, "here:80"), Err("here:80: Connection refused"));
    }
    assert!(is_running(&scene, "db:0"));
    scene.obey("web");
    assert_eq!(scene.ending("db"), ["db:0"]);
}

#[test]
fn a_command_about_a_process_is_killed_when_that_ends_or_is_asked_to() {
    let mut scene = Scenario::new(vec![service("web", 2)]);
    scene.wait(2.0);
    let request = |scene: &mut Scenario, process: &str| {
        let about = Some((process.parse().unwrap(), scene.incarnation(process).unwrap()));
        let (program, command) =
            (ProgramName::new("web").unwrap(), (vec!["check".into()], Duration::from_secs(5)));
        let id = scene.machine.request_auxiliary(program, about, Purpose::Check, command);
        scene.settle();
        id
    };
    let killed = |scene: &Scenario| -> Vec<_> {
        let killed = |command: &Command| {
            if let Command::KillAuxiliary { id, .. } = command { Some(*id) } else { None }
        };
        scene.done.iter().filter_map(killed).collect()
    };
    let (first, second) = (request(&mut scene, "web:0"), request(&mut scene, "web:1"));
    scene.wait(1.0);
    assert_eq!(killed(&scene), []);
    scene.edit(Edit::Stop(target("web:0"))).unwrap();
    assert_eq!(killed(&scene), [first]);
    let late = request(&mut scene, "web:0");
    let is_refused = |notice: &Notice| matches!(notice, Notice::Auxiliary(outcome) if outcome.id == late && matches!(outcome.result, AuxiliaryResult::CouldNotStart(_)));
    assert!(scene.notices.iter().any(is_refused), "{:?}", scene.notices);
    scene.exit("web:1", ExitStatus::Code(1), 0);
    assert_eq!(killed(&scene), [first, second]);
}

#[test]
fn one_that_prints_what_is_waited_for_is_of_use_from_then_on() {
    let by = |pattern: &str| ReadyBy::Log(pattern.to_owned());
    let spec = |pattern: &str| {
        let timeout = Some(Duration::from_secs(30));
        ProgramSpec { ready: Some(ReadySpec { by: by(pattern), timeout }), ..service("web", 1) }
    };
    let mut scene = Scenario::new(vec![spec("listening")]);
    scene.wait(10.0);
    let said = "starting: waits until it prints what matches \"listening\"; stopped in 20s if not";
    assert_eq!(scene.gap("web:0").as_deref(), Some(said));
    let prints = |scene: &mut Scenario, pattern: &str| {
        let (incarnation, at) = (scene.incarnation("web:0").unwrap(), scene.now);
        scene.observe(Fact::Printed { incarnation, pattern: pattern.to_owned(), at });
    };
    scene.machine.configure(vec![spec("ready")], Limits::default());
    prints(&mut scene, "listening");
    assert!(!is_running(&scene, "web:0"), "nobody waits for that any more");
    prints(&mut scene, "ready");
    assert!(is_running(&scene, "web:0"));
    scene.wait(3_600.0);
    assert!(scene.ending("web").is_empty());
}
