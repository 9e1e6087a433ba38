//! Programs with a schedule, by a real clock.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::support::daemon::Daemon;
use crate::support::run::{self, script};
use crate::support::status::{only_pid, text};
use crate::support::wait::wait_for_state;

const LIMIT: Duration = Duration::from_secs(60);
const KILLS: usize = 5;

fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

fn wait_lines(path: &Path, enough: usize) {
    wait_for_state("more runs", LIMIT, || match lines(path).len() {
        count if count >= enough => Ok(()),
        count => Err(format!("{count} of {enough}")),
    });
}

fn runs(program: &Value, result: &str) -> u64 {
    program["schedule"]["runs_by_result"][result].as_u64().unwrap_or_default()
}

#[test]
fn a_schedule_of_every_second_goes_on_over_killed_controllers_and_no_moment_runs_twice() {
    let directory = run::directory("ticks");
    let ticks = directory.join("ticks");
    let tick =
        script(&directory.join("tick.sh"), &format!("echo $LEVERET_INCARNATION >> {}\n", ticks.display()));
    let daemon = Daemon::start(&format!(
        "programs: {{tick: {{command: {tick}, schedule: {{cron: \"* * * * * *\", timezone: UTC}}}}}}\n"
    ));
    wait_lines(&ticks, 3);
    for _ in 0..KILLS {
        daemon.kill_controller();
        wait_lines(&ticks, lines(&ticks).len() + 2);
    }
    daemon.cli_exits(0, &["stop", "tick"]);

    let program = daemon.program("tick");
    assert_eq!((text(&program, "kind"), &program["next_run"]), ("scheduled", &Value::Null), "{program:#}");
    let ran = lines(&ticks);
    let lives: BTreeSet<&String> = ran.iter().collect();
    assert_eq!(lives.len(), ran.len(), "every life is one run: {ran:?}");
    let output = daemon.output();
    let begun: Vec<&str> =
        output.lines().filter_map(|line| Some(line.split_once("tick: a run begins, due at ")?.1)).collect();
    let moments: BTreeSet<&&str> = begun.iter().collect();
    assert_eq!(moments.len(), begun.len(), "no moment comes twice: {begun:?}");
    let known = runs(&program, "succeeded") + runs(&program, "stopped");
    assert_eq!(known, ran.len() as u64, "every run is known, whoever saw its end: {program:#}\n{output}");
}

#[test]
fn a_run_that_takes_too_long_is_ended_and_those_that_are_due_meanwhile_are_left_out() {
    let daemon = Daemon::start(
        "programs:
  slow:
    command: sleep 600
    schedule: {cron: '* * * * * *', timeout: 3s}
",
    );
    let program = daemon.wait_program("slow", "a run that took too long", LIMIT, |program| {
        (program["schedule"]["last"]["result"] == "failed").then(|| program.clone())
    });
    assert_eq!(program["schedule"]["last"]["exit"], "took longer than 3s");
    assert!(runs(&program, "skipped") >= 1, "{program:#}");
    daemon.wait_output("is left out, because the one before goes on", LIMIT);
    let failed = daemon.metric("leveret_schedule_runs_total{program=\"slow\",result=\"failed\"}");
    assert!(failed.is_some_and(|failed| failed >= 1.0), "{failed:?}");
    assert!(daemon.metric("leveret_schedule_next_run_time_seconds{program=\"slow\"}").is_some());
    assert_eq!(daemon.metric("leveret_schedule_last_success_time_seconds{program=\"slow\"}"), None);
}

#[test]
fn a_run_by_hand_takes_the_place_of_waiting_and_the_next_one_is_shown() {
    let directory = run::directory("report");
    let gate = directory.join("gate");
    let wait = format!("until [ -e {} ]; do sleep 0.05; done\nexit 3\n", gate.display());
    let report = script(&directory.join("report.sh"), &wait);
    let daemon = Daemon::start(&format!(
        "programs:
  report:
    command: {report}
    schedule: {{cron: 0 3 1 1 *, timezone: Europe/Berlin, timeout: 1h}}
"
    ));
    let program = daemon.program("report");
    let next = text(&program, "next_run");
    assert!(next.ends_with("-01-01T03:00:00+01:00"), "{next}");
    assert!(text(&program, "reason").contains("at 03:00 Europe/Berlin"), "{program:#}");
    assert!(text(&program, "reason").ends_with("; it has not run yet"), "{program:#}");
    assert_eq!(daemon.status()["ready"], true, "nothing is to run yet");

    daemon.cli_exits(0, &["start", "report"]);
    let pid = only_pid(&daemon.wait_running("report"));
    daemon.kill_controller();
    let program = daemon.wait_running("report");
    assert_eq!(only_pid(&program), pid, "the run goes on");
    assert!(text(&program, "reason").starts_with("a run is under way for "), "{program:#}");
    fs::write(&gate, "").expect("the directory is ours");
    let program = daemon.wait_program("report", "its end", LIMIT, |program| {
        program["schedule"]["last"].is_object().then(|| program.clone())
    });
    assert_eq!(program["schedule"]["last"]["exit"], "exit code 3");
    assert_eq!((runs(&program, "failed"), &program["desired"]), (1, &Value::from(0)));
    let explained = daemon.cli_exits(0, &["explain", "report"]);
    assert!(explained.contains("the last run failed after "), "{explained}");
}
