//! `leveret demo`: what a person sees in the first minute, and that nothing is left of it.

use std::fs::{self, File};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::command::{exit_of, pid_of, wait_for_exit};
use crate::support::http::{Request, send_tcp};
use crate::support::port::ReservedPort;
use crate::support::wait::wait_for_state;
use crate::support::{proc, run};

const LIMIT: Duration = Duration::from_secs(60);
/// The load rises and falls within a minute.
const CYCLE_LIMIT: Duration = Duration::from_secs(150);

#[test]
fn the_demo_scales_up_and_down_with_a_reason_each_time_and_leaves_nothing_behind() {
    let port = ReservedPort::reserve();
    let id = run::unique("demo");
    let directory = run::directory("demo");
    let output = directory.join("output");
    let temporary = directory.join("tmp");
    fs::create_dir(&temporary).expect("the directory is ours");
    let file = || File::options().create(true).append(true).open(&output).expect("the directory is ours");
    let mut demo = run::command(env!("CARGO_BIN_EXE_leveret"), &id)
        .args(["demo", "--port", &port.number().to_string()])
        .env("TMPDIR", &temporary)
        .stdout(file())
        .stderr(file())
        .spawn()
        .expect("it can be started");
    let said = || fs::read_to_string(&output).unwrap_or_default();
    let host = format!("127.0.0.1:{}", port.number());
    let mut look = |path: &str| -> Result<Value, String> {
        if let Some(status) = exit_of(&mut demo) {
            panic!("the demo ended by itself, {status}:\n{}", said());
        }
        let request = Request { method: "GET", path, headers: &[("Host", &host)], body: "" };
        let answer = send_tcp(port.number(), request).map_err(|error| error.to_string())?;
        serde_json::from_str(&answer.body).map_err(|error| error.to_string())
    };
    let running = |status: &Value| {
        let programs = status["programs"].as_array().into_iter().flatten();
        let scaled = programs.clone().find(|program| program["kind"] == "scaled");
        scaled.and_then(|program| program["running"].as_u64()).ok_or_else(|| status.to_string())
    };

    let least =
        wait_for_state("the least number of consumers", LIMIT, || match running(&look("/api/v1/status")?)? {
            0 => Err("none yet".to_owned()),
            count => Ok(count),
        });
    assert_eq!(least, 1);
    let mut peak = least;
    wait_for_state("several consumers, and then fewer again", CYCLE_LIMIT, || {
        let count = running(&look("/api/v1/status")?)?;
        peak = peak.max(count);
        if peak >= 5 && count <= peak / 2 { Ok(()) } else { Err(format!("{count} run, at most {peak} did")) }
    });
    let decisions = look("/api/v1/decisions?limit=1000").expect("it answers");
    let decisions = decisions.as_array().expect("it is a list");
    for direction in ["up", "down"] {
        assert!(
            decisions.iter().any(|decision| decision["direction"] == direction),
            "{direction}: {decisions:?}"
        );
    }
    assert!(
        decisions.iter().all(|decision| decision["reason"].as_str().is_some_and(|reason| reason.len() > 10))
    );
    assert!(said().contains(&format!("page     http://{host}\n")), "{}", said());

    proc::signal(pid_of(&demo), Signal::INT);
    let status = wait_for_exit("the demo", &mut demo, LIMIT);
    assert_eq!(status.code(), Some(0), "{}", said());
    assert!(said().contains("Nothing is left behind."), "{}", said());
    let left = proc::marked(&id);
    assert!(left.is_empty(), "{}", proc::describe(&left));
    assert_eq!(fs::read_dir(&temporary).expect("it is ours").count(), 0, "no folder is left");
}
