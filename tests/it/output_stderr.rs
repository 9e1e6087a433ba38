//! Standard error in a file of its own: as safe as all other output, shown by `leveret logs --stderr`, and moved by a reload.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::support::daemon::Daemon;
use crate::support::run::{self, script, victim};
use crate::support::status::pids;
use crate::support::wait::{wait_for, wait_for_state};

const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn no_kill_and_no_upgrade_loses_or_doubles_a_line_of_either() {
    const PRINTERS: usize = 6;
    let directory = run::directory("both");
    let shown = directory.display();
    let printer = victim(&format!(
        "--rate 100 --on-stderr-too --print-until-term {shown}/printed.$LEVERET_SLOT --pids {shown}/starts"
    ));
    let printer = script(&directory.join("print.sh"), &format!("exec {printer}\n"));
    let mut daemon = Daemon::start(&format!(
        "programs: {{printer: {{command: {printer}, processes: {PRINTERS}, log: {{stderr: separate}}}}}}\n"
    ));
    let printers = pids(&daemon.wait_running("printer"));
    let file = |daemon: &Daemon, name: &str| {
        fs::read_to_string(daemon.logs_directory().join(name)).unwrap_or_default()
    };
    let wait_lines = |daemon: &Daemon| {
        let lines = |slot: usize| file(daemon, &format!("printer.{slot}.stderr.log")).lines().count();
        let before: Vec<usize> = (0..PRINTERS).map(lines).collect();
        wait_for_state("more lines of all", LIMIT, || {
            let now: Vec<usize> = (0..PRINTERS).map(lines).collect();
            let is_more = now.iter().zip(&before).all(|(now, before)| now > &(before + 20));
            is_more.then_some(()).ok_or_else(|| format!("{now:?} after {before:?}"))
        });
    };
    for round in 0..16 {
        wait_lines(&daemon);
        match round % 4 {
            0 | 1 => daemon.kill_controller(),
            2 => {
                daemon.kill_keeper();
                daemon.start_again();
            }
            _ => drop(daemon.cli_exits(0, &["upgrade"])),
        }
        assert_eq!(pids(&daemon.program("printer")), printers, "the same processes");
    }
    wait_lines(&daemon);
    daemon.cli_exits(0, &["stop", "all"]);

    let starts = fs::read_to_string(directory.join("starts")).expect("they wrote");
    assert_eq!(starts.lines().count(), PRINTERS, "none was started twice:\n{starts}");
    for slot in 0..PRINTERS {
        let count = fs::read_to_string(directory.join(format!("printed.{slot}"))).expect("it wrote");
        let count: usize = count.trim().parse().expect("a number");
        for (name, word) in [("log", "line"), ("stderr.log", "error")] {
            let expected: String = (1..=count).map(|number| format!("{word} {number}\n")).collect();
            let found = file(&daemon, &format!("printer.{slot}.{name}"));
            assert!(found == expected, "printer.{slot}.{name}:\n{found}");
        }
    }
    let pipes = daemon.directory().join("run/pipes");
    wait_for("the pipes to be removed", LIMIT, || {
        (fs::read_dir(&pipes).expect("it is there").count() == 0).then_some(())
    });
}

#[test]
fn it_is_shown_alone_where_it_has_a_file_and_else_it_is_said_how_to_give_it_one() {
    let directory = run::directory("shown");
    let talker = script(
        &directory.join("talk.sh"),
        "echo out $LEVERET_SLOT; echo oh $LEVERET_SLOT >&2\necho up >&2; exec sleep 1000\n",
    );
    let shared = directory.join("logs/errors.json");
    let daemon = Daemon::start(&format!(
        "programs:
  two: {{command: {talker}, processes: 2, log: {{stderr: separate}}}}
  json: {{command: {talker}, log: {{stderr: {}, format: json}}, ready: {{log: up}}}}
  none: {{command: {talker}}}
  own: {{command: {talker}, log: {{stderr: stdout}}}}
",
        shared.display()
    ));
    for name in ["two", "json", "none", "own"] {
        daemon.wait_running(name);
    }
    let wait_text = |arguments: &[&str], expected: &str| {
        wait_for_state("what it printed", LIMIT, || {
            let text = daemon.cli_exits(0, arguments);
            if text == expected { Ok(()) } else { Err(text) }
        });
    };
    wait_text(&["logs", "two", "--stderr"], "two:0 | oh 0\ntwo:0 | up\ntwo:1 | oh 1\ntwo:1 | up\n");
    wait_text(&["logs", "two"], "two:0 | out 0\ntwo:1 | out 1\n");
    wait_text(&["logs", "two:1", "--stderr", "-n", "1"], "up\n");
    let log = daemon.program("two")["processes"][1]["log_stderr"].clone();
    assert_eq!(log, daemon.logs_directory().join("two.1.stderr.log").display().to_string());
    assert_eq!(daemon.get_text("/api/v1/logs/two:0?stream=stderr"), "oh 0\nup\n");
    let page = daemon.get_text("/logs/two:0?stream=stderr");
    assert!(page.contains("Stderr of two:0") && page.contains("<div>oh 0</div>"), "{page}");
    assert!(daemon.get_text("/").contains("/logs/two:0?stream=stderr"));

    let lines = wait_for("two lines of JSON", LIMIT, || {
        let text = fs::read_to_string(&shared).ok()?;
        let lines = text.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>().ok()?;
        (lines.len() == 2).then_some(lines)
    });
    assert_eq!((&lines[0]["line"], &lines[0]["stream"]), (&"oh 0".into(), &"stderr".into()));
    let main = fs::read_to_string(daemon.logs_directory().join("json.0.log")).expect("it printed");
    assert!(!main.contains("stderr") && main.contains("\"line\":\"out 0\""), "{main}");

    for name in ["none", "own"] {
        let refused = daemon.cli_exits(4, &["logs", name, "--stderr"]);
        assert!(refused.contains(&format!("the stderr of {name} has no file of its own")), "{refused}");
    }
    daemon.wait_output("own | oh 0", LIMIT);
}

#[test]
fn a_reload_moves_it_at_once_and_replaces_processes_only_where_it_is_separated_or_joined() {
    let directory = run::directory("moved");
    let release = directory.join("say");
    let talker = script(
        &directory.join("talk.sh"),
        &format!(
            "trap 'exit 0' TERM; n=0; while :; do while [ ! -e {0}.$n ]; do sleep 0.05; done; \
             echo said $n >&2; n=$((n + 1)); done\n",
            release.display()
        ),
    );
    let yaml = |log: &str| format!("programs: {{web: {{command: {talker}, log: {log}}}}}\n");
    let first = directory.join("first.log");
    let second = directory.join("second.log");
    let daemon = Daemon::start(&yaml(&format!("{{stderr: {}}}", first.display())));
    let before = pids(&daemon.wait_running("web"));
    let say = |number: usize| fs::write(format!("{}.{number}", release.display()), "").expect("it is ours");
    let wait_text = |path: &Path, expected: &str| {
        wait_for_state(&format!("{expected:?} in {}", path.display()), LIMIT, || {
            let text = fs::read_to_string(path).unwrap_or_default();
            if text == expected { Ok(()) } else { Err(text) }
        });
    };
    say(0);
    wait_text(&first, "said 0\n");
    daemon.write_config(&yaml(&format!("{{stderr: {}}}", second.display())));
    let told = daemon.cli_exits(0, &["reload"]);
    assert!(told.contains("log.stderr"), "{told}");
    say(1);
    wait_text(&second, "said 1\n");
    wait_text(&first, "said 0\n");
    assert_eq!(pids(&daemon.program("web")), before, "it is the same process");

    for number in 0..=1 {
        fs::remove_file(format!("{}.{number}", release.display())).expect("it is there");
    }
    daemon.write_config(&yaml("{}"));
    let told = daemon.cli_exits(0, &["reload"]);
    assert!(told.contains("log.stderr (set or left out)"), "{told}");
    wait_for("another process", LIMIT, || (pids(&daemon.wait_running("web")) != before).then_some(()));
    say(0);
    wait_text(&daemon.logs_directory().join("web.0.log"), "said 0\n");
}

#[test]
fn it_is_rotated_as_the_rest_is() {
    let command = victim("--rate 2000 --on-stderr-too --print-until-term /dev/null");
    let daemon = Daemon::start(&format!(
        "programs: {{web: {{command: {command}, log: {{stderr: separate, max_size: 2KiB, keep: 2}}}}}}\n"
    ));
    for name in ["web.0.log", "web.0.stderr.log"] {
        wait_for(&format!("{name}.2"), LIMIT, || {
            daemon.logs_directory().join(format!("{name}.2")).exists().then_some(())
        });
        assert!(!daemon.logs_directory().join(format!("{name}.3")).exists());
    }
}

#[test]
fn what_a_rolling_restart_fell_over_is_told_from_it() {
    let directory = run::directory("words");
    let release = directory.join("release");
    fs::write(&release, "good").expect("it is ours");
    let worker = script(
        &directory.join("worker.sh"),
        &format!(
            "echo began; if [ \"$(cat {})\" = bad ]; then echo 'no such class: Orders' >&2; exit 3; fi\nexec sleep 1000\n",
            release.display()
        ),
    );
    let daemon = Daemon::start(&format!(
        "programs: {{web: {{command: {worker}, processes: 2, log: {{stderr: separate}}}}}}\n"
    ));
    daemon.wait_running("web");
    fs::write(&release, "bad").expect("it is ours");
    let told = daemon.cli_exits(1, &["restart", "web", "--rolling", "--wait"]);
    assert!(told.contains("no such class: Orders"), "{told}");
}
