//! Processes that run well and are replaced, because they are old or use too much memory: one at a time, none cut short.

use std::fs;
use std::time::Duration;

use crate::support::daemon::Daemon;
use crate::support::run::{self, script};
use crate::support::wait::wait_for;

/// One that is recycled by its memory has lived for a minute.
const LIMIT: Duration = Duration::from_secs(150);

#[test]
fn the_old_and_the_large_are_replaced_one_at_a_time_after_their_work() {
    let directory = run::directory("recycling");
    let record = directory.join("record");
    let shown = record.display();
    let aging = script(
        &directory.join("aging.sh"),
        &format!(
            "trap 'sleep 0.3; echo end $LEVERET_PROCESS >> {shown}; exit 0' TERM
echo begin $LEVERET_PROCESS >> {shown}
while :; do sleep 0.05; done
"
        ),
    );
    let large = "import signal; held = bytearray(48 << 20); signal.pause()";
    let daemon = Daemon::start(&format!(
        "programs:
  aging: {{command: {aging}, processes: 2, recycle: {{age: 4s}}, ready: {{after: 500ms}}}}
  large: {{command: [/usr/bin/python3, -c, \"{large}\"], recycle: {{memory: 40MiB}}}}
  small: {{command: sleep infinity, recycle: {{memory: 40MiB}}}}
"
    ));
    let large = daemon.wait_running("large")["processes"][0]["pid"].clone();
    let small = daemon.wait_running("small")["processes"][0]["pid"].clone();

    let text = wait_for("four of them to grow old", LIMIT, || {
        let text = fs::read_to_string(&record).ok()?;
        (text.matches("end ").count() >= 4).then_some(text)
    });
    let mut living = 0;
    for (number, line) in text.lines().enumerate() {
        living += if line.starts_with("begin ") { 1 } else { -1 };
        assert!(number < 2 || (1..=2).contains(&living), "line {number}: {living} live\n{text}");
    }
    let view = daemon.program("aging");
    assert!(view["restarts_by_reason"]["recycle"].as_u64().is_some_and(|restarts| restarts >= 3), "{view:#}");
    daemon.wait_output("is recycled: age, 4s at most", LIMIT);

    daemon.wait_output("large is recycled: memory ", LIMIT);
    daemon.wait_program("large", "a new one", LIMIT, |view| {
        let process = &view["processes"][0];
        (process["state"] == "running" && process["pid"] != large).then_some(())
    });
    assert_eq!(daemon.program("small")["processes"][0]["pid"], small);
}
