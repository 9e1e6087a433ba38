//! What a process is given: its user, its directory, its variables and its output.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use rustix::process::getuid;
use serde_json::{Value, json};

use crate::support::daemon::Daemon;
use crate::support::run::{self, script, victim};
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
  plain: {{command: {command}, user: nobody}}
  grouped: {{command: {command}, user: nobody, group: daemon}}
  numbered: {{command: {command}, user: 54321, group: 54322}}
"
    ));
    let nobody = (account("/etc/passwd", "nobody", 2), account("/etc/passwd", "nobody", 3));
    let daemon_group = account("/etc/group", "daemon", 2);
    for (name, user, group) in
        [("plain", nobody.0, nobody.1), ("grouped", nobody.0, daemon_group), ("numbered", 54321, 54322)]
    {
        let facts = wait_facts(&directory.join(format!("{name}.facts")));
        assert_eq!((&facts["uid"], &facts["gid"]), (&json!(user), &json!(group)), "{name}");
        assert_eq!(facts["groups"], json!([group]), "{name}: none of root's groups is left");
        let log = daemon.logs_directory().join(format!("{name}.0.log"));
        wait_for("what was written after opening anew", LIMIT, || {
            (fs::read_to_string(&log).ok()? == "reopened\nagain\n").then_some(())
        });
    }
}

/// A number in a file like /etc/passwd.
fn account(file: &str, name: &str, field: usize) -> u32 {
    let text = fs::read_to_string(file).expect("every Linux has it");
    let line = text.lines().find(|line| line.split(':').next() == Some(name)).expect("every Debian has it");
    line.split(':').nth(field).and_then(|number| number.parse().ok()).expect("a number stands there")
}

fn wait_facts(path: &Path) -> Value {
    let text = wait_for("the facts of a process", LIMIT, || fs::read_to_string(path).ok());
    serde_json::from_str(&text).expect("the victim writes JSON, whole or not at all")
}

#[expect(clippy::print_stderr, reason = "whoever runs the tests must see what was not tested")]
fn skip(why: &str) {
    eprintln!("SKIPPED: {why}");
}
