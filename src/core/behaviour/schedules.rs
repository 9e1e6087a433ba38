//! Scenes of programs with a schedule. The clock shows 01:00 in Berlin when they begin.

use std::time::Duration;

use crate::core::command::Command;
use crate::core::event::{Edit, EditError, Fact, Notice};
use crate::core::exit::ExitStatus;
use crate::core::gap::Gap;
use crate::core::ids::ProgramName;
use crate::core::machine::Machine;
use crate::core::observed::{Phase, StopCause};
use crate::core::plan::plan;
use crate::core::runs::{RunResult, Runs};
use crate::core::scenario::{Scenario, scheduled, service, target, with};
use crate::core::spec::{Backoff, Missed, Overlap, ProgramSpec, RestartPolicy};
use crate::core::world::Limits;

const HOUR: f64 = 3_600.0;

fn report(cron: &str) -> ProgramSpec {
    scheduled("report", cron)
}

fn runs(scene: &Scenario) -> Runs {
    scene.machine.world().programs[&ProgramName::new("report").unwrap()].runs.clone().unwrap()
}

fn total(scene: &Scenario, result: RunResult) -> u64 {
    runs(scene).totals.get(&result).copied().unwrap_or_default()
}

fn last(scene: &Scenario) -> (RunResult, String) {
    let last = runs(scene).last.unwrap();
    (last.result, last.how)
}

/// What the page gives as the reason.
fn reason(scene: &Scenario) -> String {
    let gaps = plan(scene.machine.world(), scene.now).gaps;
    gaps.first().map(|(_, _, gap)| gap.sentence(scene.now)).unwrap_or_default()
}

fn starts_at(scene: &Scenario) -> Vec<f64> {
    let start = |command: &Command| {
        let Command::Spawn { life, .. } = command else { return None };
        Some(life.ordered_at.as_seconds() - 1_000.0)
    };
    scene.done.iter().filter_map(start).collect()
}

fn told(scene: &Scenario, is_meant: fn(&Notice) -> bool) -> usize {
    scene.notices.iter().filter(|notice| is_meant(notice)).count()
}

#[test]
fn a_run_begins_at_its_moment_and_the_page_says_when_the_next_one_is() {
    let mut scene = Scenario::new(vec![report("0 3 * * *")]);
    assert_eq!(scene.spawns(), 0);
    assert_eq!(reason(&scene), "runs next at 03:00 Europe/Berlin (in 2h); it has not run yet");
    scene.wait(2.0 * HOUR);
    assert_eq!(starts_at(&scene), [2.0 * HOUR]);
    scene.wait(180.0);
    scene.exit("report:0", ExitStatus::Code(0), 0);
    assert_eq!(last(&scene), (RunResult::Succeeded, "exit code 0".to_owned()));
    assert_eq!(
        reason(&scene),
        "runs next at 03:00 Europe/Berlin (in 23h 57m); the last run took 3m and succeeded"
    );
    scene.wait(24.0 * HOUR);
    assert_eq!(starts_at(&scene), [2.0 * HOUR, 26.0 * HOUR]);
}

#[test]
fn a_run_that_fails_is_not_started_again_before_its_time() {
    let mut scene = Scenario::new(vec![report("0 * * * *")]);
    scene.wait(HOUR);
    scene.exit("report:0", ExitStatus::Code(3), 0);
    scene.wait(HOUR - 1.0);
    assert_eq!((scene.spawns(), last(&scene)), (1, (RunResult::Failed, "exit code 3".to_owned())));
    assert!(matches!(scene.phase("report:0"), Phase::Exited { .. }));
    scene.wait(1.0);
    assert_eq!(scene.spawns(), 2);
}

#[test]
fn with_restart_on_failure_a_run_is_tried_again_until_it_succeeds_and_is_one_run() {
    let spec = ProgramSpec { restart: RestartPolicy::OnFailure, ..report("0 * * * *") };
    let mut scene = Scenario::new(vec![spec]);
    scene.wait(HOUR);
    scene.exit("report:0", ExitStatus::Code(3), 0);
    assert!(matches!(scene.phase("report:0"), Phase::Backoff { .. }));
    scene.wait(5.0);
    assert_eq!(scene.spawns(), 2);
    scene.exit("report:0", ExitStatus::Code(0), 0);
    assert_eq!((total(&scene, RunResult::Succeeded), total(&scene, RunResult::Failed)), (1, 0));
    scene.wait(HOUR - 10.0);
    assert_eq!(scene.spawns(), 2);
}

#[test]
fn a_run_that_is_due_while_another_goes_on_is_left_out_waits_or_takes_its_place() {
    let scene = |overlap| {
        let mut scene = Scenario::new(vec![with(report("* * * * *"), |spec| spec.overlap = overlap)]);
        scene.wait(200.0);
        scene
    };
    let mut skips = scene(Overlap::Skip);
    assert_eq!((skips.spawns(), total(&skips, RunResult::Skipped)), (1, 2));
    skips.exit("report:0", ExitStatus::Code(0), 0);
    assert_eq!(skips.spawns(), 1, "the next one is at its own moment");

    let mut queues = scene(Overlap::Queue);
    assert_eq!((queues.spawns(), total(&queues, RunResult::Skipped)), (1, 1), "one waits at most");
    queues.exit("report:0", ExitStatus::Code(0), 0);
    assert_eq!(queues.spawns(), 2);
    queues.exit("report:0", ExitStatus::Code(0), 0);
    assert_eq!(queues.spawns(), 2);

    let mut replaces = scene(Overlap::Replace);
    assert!(
        matches!(replaces.phase("report:0"), Phase::Stopping(_, _, stop) if stop.cause == StopCause::Replaced)
    );
    assert!(replaces.kills() > 0, "it has had its stop timeout");
    replaces.obey("report");
    assert_eq!((replaces.spawns(), total(&replaces, RunResult::Stopped)), (2, 1));
}

#[test]
fn a_run_that_takes_too_long_is_stopped_then_killed_and_has_failed() {
    let spec = with(report("0 * * * *"), |spec| spec.timeout = Some(Duration::from_secs(600)));
    let mut scene = Scenario::new(vec![spec]);
    scene.wait(HOUR + 599.0);
    assert!(scene.ending("report").is_empty());
    scene.wait(1.0);
    assert_eq!(scene.ending("report"), ["report:0"]);
    assert_eq!(scene.kills(), 0);
    scene.wait(10.0);
    assert_eq!(scene.kills(), 1);
    scene.obey("report");
    assert_eq!(last(&scene), (RunResult::Failed, "took longer than 10m".to_owned()));
    scene.wait(1_000.0);
    assert_eq!(scene.spawns(), 1);
}

#[test]
fn the_timeout_is_for_all_attempts_of_a_run_together() {
    let spec = ProgramSpec { restart: RestartPolicy::OnFailure, ..report("0 * * * *") };
    let spec = with(spec, |spec| spec.timeout = Some(Duration::from_secs(2)));
    let mut scene = Scenario::new(vec![spec]);
    scene.wait(HOUR);
    for _ in 0..2 {
        scene.exit("report:0", ExitStatus::Code(1), 0);
        scene.wait(1.0);
    }
    scene.wait(10.0);
    assert_eq!(scene.phase("report:0"), Phase::Empty);
    assert_eq!(last(&scene), (RunResult::Failed, "took longer than 2s".to_owned()));
}

#[test]
fn one_that_cannot_be_started_has_failed_until_its_next_moment() {
    let mut scene = Scenario::new(vec![report("0 * * * *")]);
    scene.wait(HOUR - 1.0);
    let at = scene.now + Duration::from_secs(1);
    let plan = scene.machine.step(at);
    let [Command::Spawn { life, .. }] = plan.commands[..] else { panic!("{plan:?}") };
    let (step, cause) = ("exec ./report".to_owned(), "No such file or directory".to_owned());
    scene.now = at;
    scene.observe(Fact::CouldNotSpawn { incarnation: life.incarnation, step, cause, at });
    assert_eq!(
        last(&scene),
        (RunResult::Failed, "cannot start: exec ./report: No such file or directory".to_owned())
    );
    assert_eq!(scene.phase("report:0"), Phase::Exited { at });
}

#[test]
fn a_start_by_name_runs_it_now_and_a_start_of_all_does_not() {
    let mut scene = Scenario::new(vec![report("0 3 * * *"), service("web", 1)]);
    scene.edit(Edit::Start(target("all"))).unwrap();
    scene.edit(Edit::Restart(target("all"))).unwrap();
    assert_eq!(scene.live("report"), 0);
    scene.edit(Edit::Start(target("report"))).unwrap();
    assert_eq!(scene.live("report"), 1);
    scene.edit(Edit::Start(target("report"))).unwrap();
    scene.exit("report:0", ExitStatus::Code(0), 0);
    assert_eq!((scene.live("report"), total(&scene, RunResult::Succeeded)), (0, 1), "it ran once");
    scene.wait(2.0 * HOUR);
    assert_eq!(scene.live("report"), 1, "and at its time as ever");
}

#[test]
fn a_restart_by_name_ends_the_run_and_begins_another() {
    let mut scene = Scenario::new(vec![report("0 3 * * *")]);
    scene.edit(Edit::Start(target("report"))).unwrap();
    scene.edit(Edit::Restart(target("all"))).unwrap();
    assert!(scene.ending("report").is_empty(), "a run goes on when all is restarted");
    scene.edit(Edit::Restart(target("report:0"))).unwrap();
    scene.obey("report");
    assert_eq!((scene.live("report"), scene.spawns(), total(&scene, RunResult::Stopped)), (1, 2, 1));
}

#[test]
fn a_run_between_two_attempts_gives_way_at_the_moment_of_the_next_one() {
    let every_minute = with(report("* * * * *"), |spec| spec.overlap = Overlap::Replace);
    let long = Duration::from_secs(100);
    let backoff = Backoff { initial: long, max: long, ..every_minute.backoff };
    let spec = ProgramSpec { restart: RestartPolicy::OnFailure, backoff, ..every_minute };
    let mut scene = Scenario::new(vec![spec]);
    scene.wait(60.0);
    scene.exit("report:0", ExitStatus::Code(1), 0);
    assert!(matches!(scene.phase("report:0"), Phase::Backoff { .. }));
    scene.wait(60.0);
    assert_eq!((scene.live("report"), scene.spawns(), total(&scene, RunResult::Stopped)), (1, 2, 1));
}

#[test]
fn a_stop_ends_the_run_and_suspends_the_schedule_until_a_start() {
    for name in ["report", "report:0"] {
        let mut scene = Scenario::new(vec![with(report("0 * * * *"), |spec| spec.missed = Missed::Once)]);
        scene.wait(HOUR);
        scene.edit(Edit::Stop(target(name))).unwrap();
        scene.obey("report");
        assert_eq!(last(&scene), (RunResult::Stopped, "by an operator".to_owned()));
        scene.wait(10.0 * HOUR);
        assert_eq!(scene.spawns(), 1, "{name}");
        scene.edit(Edit::Start(target("all"))).unwrap();
        scene.wait(1.0);
        assert_eq!(scene.spawns(), 1, "what came due while it was stopped was not missed");
        scene.wait(HOUR);
        assert_eq!(scene.spawns(), 2);
    }
}

#[test]
fn one_that_does_not_start_with_leveret_waits_for_a_start_by_hand() {
    let mut scene = Scenario::new(vec![ProgramSpec { autostart: false, ..report("* * * * *") }]);
    scene.wait(HOUR);
    assert_eq!(scene.spawns(), 0);
    assert_eq!(reason(&scene), "waits for a start by hand (autostart is off)");
}

#[test]
fn it_has_one_process_and_no_count() {
    let mut scene = Scenario::new(vec![report("0 3 * * *")]);
    let name = ProgramName::new("report").unwrap();
    for edit in [Edit::Copy(target("report")), Edit::Scale(name, 3, None)] {
        let Err(EditError::Invalid(sentence)) = scene.edit(edit) else { panic!("it was taken") };
        assert_eq!(
            sentence,
            "\"report\" runs by its schedule, one process at a time; start it to run it now"
        );
    }
    scene.edit(Edit::Copy(target("all"))).unwrap();
    assert_eq!(scene.machine.world().programs.values().next().unwrap().label(0), "report");
}

#[test]
fn a_clock_that_is_set_forward_over_a_moment_misses_it_or_makes_it_good_once() {
    for (missed, spawns) in [(Missed::Skip, 0), (Missed::Once, 1)] {
        let spec = with(report("0 * * * *"), |spec| spec.missed = missed);
        let mut scene = Scenario::new(vec![spec]);
        scene.set_clock("2026-11-23T05:30:00Z");
        assert_eq!(scene.spawns(), spawns, "{missed:?}");
        assert_eq!(told(&scene, |notice| matches!(notice, Notice::ClockSet(_))), 1);
        assert_eq!(total(&scene, RunResult::Missed), u64::from(missed == Missed::Skip));
        assert_eq!(runs(&scene).next.unwrap().due % 3_600, 0);
        if spawns == 1 {
            scene.exit("report:0", ExitStatus::Code(0), 0);
        }
        scene.wait(1_800.0);
        assert_eq!((scene.spawns(), scene.clock().as_str()), (spawns + 1, "2026-11-23T06:00:00Z"));
    }
}

#[test]
fn a_moment_that_is_at_most_a_minute_ago_is_late_and_not_missed() {
    let mut scene = Scenario::new(vec![report("0 * * * *")]);
    scene.set_clock("2026-11-23T01:00:59Z");
    assert_eq!(scene.spawns(), 1);
    let mut scene = Scenario::new(vec![report("* * * * * *")]);
    scene.set_clock("2026-11-23T00:00:40Z");
    assert_eq!(scene.spawns(), 1, "of many moments the newest");
}

#[test]
fn a_clock_that_is_set_back_a_little_does_not_repeat_a_run_and_one_set_back_far_starts_anew() {
    let mut scene = Scenario::new(vec![report("0 * * * *")]);
    scene.wait(HOUR + 2.0);
    scene.exit("report:0", ExitStatus::Code(0), 0);
    scene.set_clock("2026-11-23T00:59:55Z");
    scene.wait(10.0);
    assert_eq!(scene.spawns(), 1);
    scene.set_clock("2026-11-22T20:59:55Z");
    scene.wait(10.0);
    assert_eq!(scene.spawns(), 2);
}

#[test]
fn while_there_is_a_schedule_the_clock_is_looked_at_every_minute() {
    let scene = Scenario::new(vec![report("0 3 * * *")]);
    assert_eq!(scene.wake_at, Some(scene.now + Duration::from_secs(60)));
}

#[test]
fn each_run_begins_a_little_later_and_always_at_the_same_moment() {
    let spec = with(report("0 * * * *"), |spec| spec.jitter = Duration::from_secs(30));
    let mut scene = Scenario::new(vec![spec]);
    for _ in 0..5 {
        scene.wait(HOUR);
        if scene.live("report") == 1 {
            scene.exit("report:0", ExitStatus::Code(0), 0);
        }
    }
    scene.wait(60.0);
    let starts = starts_at(&scene);
    assert_eq!(starts.len(), 5);
    let late: Vec<f64> = starts.iter().map(|start| start % HOUR).collect();
    assert!(late.iter().all(|late| *late <= 30.0) && late.iter().any(|late| *late > 1.0), "{late:?}");
}

#[test]
fn a_reload_leaves_the_run_alone_and_goes_by_the_new_moments() {
    let mut scene = Scenario::new(vec![report("0 * * * *")]);
    scene.wait(HOUR);
    let mut changed = report("30 * * * *");
    changed.run.argv.push("anew".into());
    scene.machine.configure(vec![changed], Limits::default());
    scene.settle();
    assert!(scene.ending("report").is_empty(), "a run that was begun goes on to its end");
    scene.exit("report:0", ExitStatus::Code(0), 0);
    scene.wait(1_800.0);
    assert_eq!(starts_at(&scene), [HOUR, 1.5 * HOUR]);
}

#[test]
fn a_service_that_becomes_a_schedule_ends_and_one_that_was_scheduled_becomes_a_service() {
    let mut scene = Scenario::new(vec![service("report", 2)]);
    scene.wait(5.0);
    scene.machine.configure(vec![report("0 * * * *")], Limits::default());
    scene.settle();
    assert_eq!(scene.ending("report").len(), 2);
    scene.obey("report");
    scene.wait(HOUR);
    assert_eq!((scene.live("report"), total(&scene, RunResult::Stopped)), (1, 0));
    scene.machine.configure(vec![service("report", 2)], Limits::default());
    scene.settle();
    assert_eq!(scene.live("report"), 2);
}

fn next_machine(scene: &Scenario, spec: ProgramSpec, same_processes: bool) -> Machine {
    let json = serde_json::to_string(&scene.machine.memory()).unwrap();
    let mut next = Machine::new(Limits { seed: 9, ..Limits::default() });
    next.observe(Fact::Wall(scene.machine.world().wall.unwrap()));
    next.configure(vec![spec], next.world().limits.clone());
    next.recall(serde_json::from_str(&json).unwrap(), same_processes, scene.now);
    next.set_last_incarnation(scene.machine.world().last_incarnation);
    next
}

#[test]
fn what_came_due_while_leveret_was_away_is_made_good_once_or_left_out() {
    for (missed, spawns) in [(Missed::Skip, 0), (Missed::Once, 1)] {
        let spec = with(report("0 * * * *"), |spec| spec.missed = missed);
        let scene = Scenario::new(vec![spec.clone()]);
        let mut next = next_machine(&scene, spec, false);
        let away = scene.now + Duration::from_secs(5 * 3_600 + 1_800);
        assert_eq!(next.step(away).commands.len(), spawns, "{missed:?}");
    }
}

#[test]
fn a_schedule_that_is_new_has_missed_nothing() {
    let scene = Scenario::new(vec![with(report("0 3 1 * *"), |spec| spec.missed = Missed::Once)]);
    let spec = with(report("0 * * * *"), |spec| spec.missed = Missed::Once);
    let mut next = next_machine(&scene, spec, false);
    assert_eq!(next.step(scene.now + Duration::from_secs(5 * 3_600)).commands, []);
}

#[test]
fn a_run_whose_end_leveret_did_not_see_is_said_to_be_that() {
    let mut scene = Scenario::new(vec![report("0 * * * *")]);
    scene.wait(HOUR);
    let next = next_machine(&scene, report("0 * * * *"), false);
    let runs = next.world().programs.values().next().unwrap().runs.clone().unwrap();
    assert_eq!(runs.current, None);
    assert_eq!(
        runs.last.unwrap().words(),
        "the last run did not come to its end: Leveret ended while it ran"
    );
}

#[test]
fn the_next_controller_does_not_run_again_what_its_predecessor_began_and_did_not_write_down() {
    let mut scene = Scenario::new(vec![report("0 * * * *")]);
    scene.wait(HOUR - 1.0);
    let mut next = next_machine(&scene, report("0 * * * *"), true);
    scene.wait(1.5);
    let program = scene.machine.world().programs.values().next().unwrap();
    let life = *program.slots[&0].phase.life().unwrap();
    let adopted = crate::core::event::Adopted {
        process: "report:0".parse().unwrap(),
        incarnation: life.incarnation,
        fingerprint: life.fingerprint,
        ordered_at: life.ordered_at,
        stop: None,
        main: Some((7, life.ordered_at)),
        run: program.runs.as_ref().unwrap().current,
        unheard: false,
    };
    next.adopt(adopted);
    assert_eq!(next.step(scene.now).commands, []);
    let (incarnation, at) = (life.incarnation, scene.now);
    next.observe(Fact::Exited { incarnation, status: ExitStatus::Code(0), left: 0, at });
    assert_eq!(next.step(at + Duration::from_secs(1)).commands, []);
    let gaps = next.step(at + Duration::from_secs(2)).gaps;
    assert!(matches!(&gaps[..], [(_, None, Gap::WaitsForSchedule { last: Some(_), .. })]), "{gaps:?}");
}

#[test]
fn a_run_that_is_cut_does_not_hurry_what_drains_since_its_program_was_another_kind() {
    let mut scene = Scenario::new(vec![service("report", 2)]);
    scene.wait(5.0);
    let spec = with(report("* * * * *"), |spec| spec.timeout = Some(Duration::from_secs(5)));
    scene.machine.configure(vec![spec], Limits::default());
    scene.settle();
    scene.exit("report:0", ExitStatus::Code(0), 0);
    scene.wait(66.0);
    assert_eq!(scene.ending("report"), ["report:0", "report:1"]);
    scene.wait(30.0);
    let Phase::Stopping(_, _, stop) = scene.phase("report:1") else { panic!("it drains") };
    assert_eq!((stop.cause, stop.deadline, stop.killed_at), (StopCause::Changed, None, None));
}
