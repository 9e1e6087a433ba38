//! Programs that need others, with real processes.

use std::fs;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::daemon::Daemon;
use crate::support::run::{self, script};
use crate::support::wait::wait_for;

const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn a_program_starts_after_what_it_needs_has_ended_well_and_ends_before_what_it_needs() {
    let directory = run::directory("dependencies");
    let (done, record) = (directory.join("done"), directory.join("record"));
    let (done, shown) = (done.display(), record.display());
    let migrate = script(&directory.join("migrate.sh"), &format!("sleep 1; echo well > {done}\n"));
    let service = script(
        &directory.join("service.sh"),
        &format!(
            "[ \"$1\" = alone ] || [ -e {done} ] || exit 9
trap 'sleep 0.5; echo $LEVERET_PROGRAM >> {shown}; exit 0' TERM
while :; do sleep 0.05; done
"
        ),
    );
    let mut daemon = Daemon::start(&format!(
        "programs:
  web: {{command: {service}, depends_on: [database, {{program: migrate, until: completed}}]}}
  migrate: {{command: {migrate}, restart: on-failure, depends_on: [{{program: database, until: started}}]}}
  database: {{command: {service} alone}}
"
    ));
    let reason = daemon.program("web")["reason"].to_string();
    assert!(reason.contains("waits until "), "{reason}");
    let web = daemon.wait_running("web");
    assert_eq!(web["processes"][0]["restarts"], 0, "it was not started before");
    assert_eq!(daemon.program("migrate")["processes"][0]["state"], "exited");

    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait_exit().code(), Some(0));
    let order = wait_for("the record", LIMIT, || fs::read_to_string(&record).ok());
    assert_eq!(order, "web\ndatabase\n");
}

#[test]
fn what_cannot_come_about_is_refused_before_anything_starts() {
    let daemon = Daemon::start("programs: {web: {command: sleep 1000}}\n");
    let mistakes = [
        ("[databse]", "there is no program `databse`; did you mean `database`?"),
        ("[{program: database, until: completed}]", "is started again after every end"),
        ("[web]", "programs need each other in a circle: web -> web"),
    ];
    for (needs, said) in mistakes {
        let yaml = format!(
            "programs:\n  web: {{command: sleep 1000, depends_on: {needs}}}\n  database: {{command: sleep 1000}}\n"
        );
        daemon.write_config(&yaml);
        let refused = daemon.cli_exits(2, &["reload"]);
        assert!(refused.contains(said), "{refused}");
    }
    assert_eq!(daemon.wait_running("web")["running"], 1);
}
