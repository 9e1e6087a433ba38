//! What a process is given: its user, its directory, its variables and its output.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Resource, Signal, getrlimit, getuid};
use serde_json::{Value, json};

use crate::support::daemon::Daemon;
use crate::support::proc::{self, Process};
use crate::support::run::{self, script, victim};
use crate::support::status::only_pid;
use crate::support::wait::wait_for;

const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn a_process_knows_which_it_is_and_nothing_of_leverets_own_connections() {
    let directory = run::directory("facts");
    let facts = victim(&format!("--facts {}/facts.$LEVERET_SLOT", directory.display()));
    let command = script(&directory.join("run.sh"), &format!("exec {facts}\n"));
    let own = [
        ("NOTIFY_SOCKET", "/nonexistent/notify"),
        ("WATCHDOG_USEC", "1000000"),
        ("WATCHDOG_PID", "1"),
        ("LISTEN_FDS", "1"),
        ("LISTEN_PID", "1"),
        ("LISTEN_FDNAMES", "x"),
        ("KEPT", "from outside"),
        ("CHANGED", "from outside"),
    ];
    let daemon = Daemon::start_with_environment(
        &format!(
            "defaults: {{environment: {{CHANGED: by default, ALSO: by default}}}}
programs:
  web:
    command: {command}
    processes: 2
    directory: {}
    environment: {{CHANGED: by the program}}
    umask: 027
    nice: 3
",
            directory.display()
        ),
        &own,
    );
    let program = daemon.wait_running("web");
    for slot in 0..2 {
        let facts = wait_facts(&directory.join(format!("facts.{slot}")));
        let variable = |name: &str| facts["environment"][name].clone();
        for (name, value) in [
            ("LEVERET_PROGRAM", "web".to_owned()),
            ("LEVERET_PROCESS", format!("web:{slot}")),
            ("LEVERET_SLOT", slot.to_string()),
            ("LEVERET_INCARNATION", program["processes"][slot]["incarnation"].to_string()),
            ("KEPT", "from outside".to_owned()),
            ("CHANGED", "by the program".to_owned()),
            ("ALSO", "by default".to_owned()),
        ] {
            assert_eq!(variable(name), value, "{name}");
        }
        for (name, _) in &own[..6] {
            assert_eq!(variable(name), Value::Null, "{name}");
        }
        assert_eq!(facts["pid"], program["processes"][slot]["pid"]);
        assert_eq!(facts["session"], facts["pid"], "a session of its own");
        assert_eq!(facts["parent"], daemon.keeper_pid());
        assert_eq!(facts["directory"], directory.display().to_string());
        assert_eq!((&facts["umask"], &facts["nice"]), (&json!("027"), &json!(3)));
        assert_eq!(facts["blocked_signals"], json!([]));
        assert_eq!(open_descriptors(&facts), ["0", "1", "2"]);
    }
}

/// The descriptors that it was given. The listing itself opens one, which is a directory of /proc.
fn open_descriptors(facts: &Value) -> Vec<String> {
    let found = facts["open_descriptors"].as_object().expect("they are listed");
    let is_given = |(_, target): &(&String, &Value)| {
        !target.as_str().is_some_and(|target| target.starts_with("/proc/") && target.ends_with("/fd"))
    };
    found.iter().filter(is_given).map(|(number, _)| number.clone()).collect()
}

#[test]
fn a_program_runs_as_its_user_with_the_users_groups_and_can_open_its_output_again() {
    if !getuid().is_root() {
        skip("not root: running programs as another user was NOT tested");
        return;
    }
    let directory = run::directory("nobody");
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o777)).expect("the directory is ours");
    let facts = victim(&format!("--facts {0}/$LEVERET_PROGRAM.facts", directory.display()));
    let command = script(
        &directory.join("run.sh"),
        &format!("echo reopened > /dev/stdout\necho again > /proc/self/fd/2\nexec {facts}\n"),
    );
    let daemon = Daemon::start(&format!(
        "programs:
  plain: {{command: {command}, user: nobody, environment: {{SHELL: /given}}}}
  grouped: {{command: {command}, user: nobody, group: daemon, environment: {{SHELL: /given}}}}
  numbered: {{command: {command}, user: 54321, group: 54322}}
"
    ));
    let nobody = (account("/etc/passwd", "nobody", 2), account("/etc/passwd", "nobody", 3));
    let daemon_group = account("/etc/group", "daemon", 2);
    let home = account_text("/etc/passwd", "nobody", 5);
    for (name, user, group) in
        [("plain", nobody.0, nobody.1), ("grouped", nobody.0, daemon_group), ("numbered", 54321, 54322)]
    {
        let facts = wait_facts(&directory.join(format!("{name}.facts")));
        assert_eq!((&facts["uid"], &facts["gid"]), (&json!(user), &json!(group)), "{name}");
        assert_eq!(facts["groups"], json!([group]), "{name}: none of root's groups is left");
        let variables = ["HOME", "USER", "LOGNAME", "SHELL"].map(|name| facts["environment"][name].clone());
        let expected = match name {
            "numbered" => [json!("/"), Value::Null, Value::Null, Value::Null],
            _ => [json!(home), json!("nobody"), json!("nobody"), json!("/given")],
        };
        assert_eq!(variables, expected, "{name}");
        let log = daemon.logs_directory().join(format!("{name}.0.log"));
        wait_for("what was written after opening anew", LIMIT, || {
            (fs::read_to_string(&log).ok()? == "reopened\nagain\n").then_some(())
        });
    }
}

#[test]
fn files_of_variables_are_read_at_each_start_and_a_missing_one_is_the_reason_why_nothing_starts() {
    let directory = run::directory("env-files");
    let command = script(&directory.join("run.sh"), "env | grep ^MARK_ | sort\nexec sleep 1000\n");
    let file = directory.join("own.env");
    let configuration = format!(
        "programs:
  web:
    command: {command}
    env_file: [{0}/own.env, {{path: {0}/none.env, optional: true}}]
    environment: {{MARK_C: given}}
    backoff: {{initial: 300ms, max: 500ms}}
",
        directory.display()
    );
    let daemon = Daemon::start_with_environment(&configuration, &[("MARK_A", "own"), ("MARK_B", "own")]);
    let process = || daemon.program("web")["processes"][0].clone();
    let reason = wait_for("the reason", LIMIT, || {
        let reason = process()["reason"].as_str()?.to_owned();
        reason.contains("env_file").then_some(reason)
    });
    let missing = format!("cannot start: env_file {}: No such file or directory", file.display());
    assert!(reason.contains(&missing), "{reason}");

    fs::write(&file, "MARK_B='of the file'\nMARK_C=hunter2\n").expect("the directory is ours");
    daemon.wait_running("web");
    let log = daemon.logs_directory().join("web.0.log");
    wait_for("the variables", LIMIT, || {
        (fs::read_to_string(&log).ok()? == "MARK_A=own\nMARK_B=of the file\nMARK_C=given\n").then_some(())
    });
    // The file was not there when the configuration was read.
    let pid = process()["pid"].clone();
    daemon.cli_exits(0, &["reload"]);
    let replaced = |pid: &Value| {
        wait_for("another process", LIMIT, || {
            let process = process();
            (process["state"] == "running" && process["pid"] != *pid).then(|| process["pid"].clone())
        })
    };
    let pid = replaced(&pid);
    daemon.cli_exits(0, &["reload"]);
    assert_eq!(process()["pid"], pid, "nothing changed");

    fs::write(&file, "MARK_B=changed\n'hunter2\n").expect("the directory is ours");
    let refused = daemon.cli_exits(2, &["reload"]);
    assert!(refused.contains("own.env: line 2: "), "{refused}");
    assert!(!refused.contains("hunter2"), "{refused}");
    fs::write(&file, "MARK_B=changed\n").expect("the directory is ours");
    daemon.cli_exits(0, &["reload"]);
    replaced(&pid);
    wait_for("the changed variable", LIMIT, || {
        fs::read_to_string(&log).ok()?.ends_with("MARK_A=own\nMARK_B=changed\nMARK_C=given\n").then_some(())
    });
}

#[test]
fn limits_are_those_of_the_configuration_and_what_cannot_be_set_says_so() {
    let directory = run::directory("limits");
    let mut script_text = String::new();
    for (option, name) in [("n", "nofile"), ("c", "core"), ("t", "cpu"), ("v", "memory"), ("s", "stack")] {
        script_text += &format!("echo {name} $(ulimit -S{option}) $(ulimit -H{option})\n");
    }
    script_text +=
        "echo oom $(cat /proc/self/oom_score_adj)\ngrep NoNewPrivs /proc/self/status\nexec sleep 1000\n";
    let command = script(&directory.join("run.sh"), &script_text);
    let daemon = Daemon::start(&format!(
        "defaults: {{backoff: {{initial: 1h, max: 1h}}}}
programs:
  web:
    command: {command}
    limits: {{nofile: {{soft: 100, hard: 200}}, core: 0, cpu: 1h, memory: 4GiB, stack: {{soft: 4MiB}}}}
    oom_score_adj: 500
    no_new_privs: true
  impossible: {{command: sleep 1000, limits: {{nofile: unlimited}}}}
  unlike: {{command: sleep 1000, limits: {{cpu: {{hard: 50s}}}}}}
"
    ));
    daemon.wait_running("web");
    let log = daemon.logs_directory().join("web.0.log");
    let text = wait_for("the limits", LIMIT, || {
        fs::read_to_string(&log).ok().filter(|text| text.contains("NoNewPrivs"))
    });
    let stack_hard =
        getrlimit(Resource::Stack).maximum.map_or("unlimited".to_owned(), |hard| (hard / 1024).to_string());
    let expected = format!(
        "nofile 100 200\ncore 0 0\ncpu 3600 3600\nmemory 4194304 4194304\nstack 4096 {stack_hard}\noom 500\nNoNewPrivs:\t1\n"
    );
    assert_eq!(text, expected);
    let pid = daemon.wait_running("unlike")["processes"][0]["pid"].clone();
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).expect("it runs");
    let cpu = limits.lines().find(|line| line.starts_with("Max cpu time")).expect("Linux has it");
    let cpu: Vec<_> = cpu.split_ascii_whitespace().skip(3).take(2).collect();
    assert_eq!(cpu, ["50", "50"], "the soft limit is never above the hard one");
    // Above fs.nr_open nobody may go, not even root.
    wait_for("the reason", LIMIT, || {
        let program = daemon.program("impossible");
        let reason = program["processes"][0]["reason"].as_str()?;
        reason.contains("cannot start: limit nofile: Operation not permitted").then_some(())
    });
}

/// A number in a file like /etc/passwd.
fn account(file: &str, name: &str, field: usize) -> u32 {
    account_text(file, name, field).parse().expect("a number stands there")
}

fn account_text(file: &str, name: &str, field: usize) -> String {
    let text = fs::read_to_string(file).expect("every Linux has it");
    let line = text.lines().find(|line| line.split(':').next() == Some(name)).expect("every Debian has it");
    line.split(':').nth(field).expect("a line has all its fields").to_owned()
}

fn wait_facts(path: &Path) -> Value {
    let text = wait_for("the facts of a process", LIMIT, || fs::read_to_string(path).ok());
    serde_json::from_str(&text).expect("the victim writes JSON, whole or not at all")
}

#[expect(clippy::print_stderr, reason = "whoever runs the tests must see what was not tested")]
fn skip(why: &str) {
    eprintln!("SKIPPED: {why}");
}

#[test]
fn standard_input_is_empty_or_closed() {
    let look = "[/usr/bin/python3, -c, \"import sys; sys.exit(3 if sys.stdin is None else 4)\"]";
    let daemon = Daemon::start(&format!(
        "programs:
  closed: {{command: {look}, stdin: closed, restart: never}}
  empty: {{command: {look}, stdin: null, restart: never}}
"
    ));
    for (name, exit) in [("closed", "exit code 3"), ("empty", "exit code 4")] {
        assert_eq!(daemon.wait_process(name, "exited")["exit"], exit, "{name}");
    }
}

#[test]
fn what_hides_from_everything_else_is_known_by_its_control_group() {
    let base = leveret::sys::cgroup::base();
    let Some(base) = base.filter(|base| base.join("cgroup.procs").exists() && can_write(base)) else {
        skip("no control groups of version 2 can be written to here: they were NOT tested");
        return;
    };
    let directory = run::directory("hidden");
    let pids = directory.join("pids");
    let hider = victim(&format!("--daemonize --marker {} --pids {}", run::unique("hider"), pids.display()));
    let yaml = format!(
        "programs:\n  hider: {{command: {hider}, cgroup: {{pids_max: 1000}}, stop: {{timeout: 20s}}, restart: never}}\n"
    );
    let mut daemon = Daemon::start(&yaml);
    let hidden = |count: usize| {
        wait_for("the hidden one", LIMIT, || {
            let text = fs::read_to_string(&pids).unwrap_or_default();
            let found: Vec<i32> =
                text.lines().filter_map(|line| line.strip_prefix("daemon ")?.parse().ok()).collect();
            (found.len() == count).then(|| found[count - 1])
        })
    };
    let lives = |pid: i32| Process::read(pid).is_some_and(|process| !process.is_zombie());
    let group = base.join(format!("leveret-{}.hider", daemon.keeper_pid()));
    for round in 1..=2 {
        let main = only_pid(&daemon.wait_running("hider"));
        let hidden = hidden(round);
        let own = fs::read_to_string(format!("/proc/{hidden}/cgroup")).expect("it lives");
        let name = group.file_name().and_then(|name| name.to_str()).expect("it is text");
        assert!(own.contains(name), "{own}");
        if round == 2 {
            // Another keeper knows it as well.
            daemon.kill_keeper();
            daemon.start_again();
            daemon.wait_running("hider");
        }
        // It has another session, another parent and no variables; its group says whose it is.
        assert!(proc::signal(main, Signal::KILL));
        daemon.wait_process("hider", "exited");
        wait_for("the hidden one ended", LIMIT, || (!lives(hidden)).then_some(()));
        if round == 1 {
            daemon.cli_exits(0, &["start", "hider"]);
        }
    }
    wait_for("the groups removed", LIMIT, || (!group.exists()).then_some(()));
}

fn can_write(directory: &Path) -> bool {
    rustix::fs::access(directory, rustix::fs::Access::WRITE_OK).is_ok()
}
