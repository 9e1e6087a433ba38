//! The page and the API of the real daemon over TCP: what another web site can make a browser send changes nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::support::daemon::Daemon;
use crate::support::http::{Request, Response};
use crate::support::status::{all_pids, pids, text};
use crate::support::wait::wait_for;

const LIMIT: Duration = Duration::from_secs(60);

struct Site {
    daemon: Daemon,
    host: String,
}

impl Site {
    fn start() -> Self {
        let daemon = Daemon::start("programs:\n  web: {command: sleep 1000, processes: 2}\n");
        daemon.wait_running("web");
        let host = format!("127.0.0.1:{}", daemon.port());
        Self { daemon, host }
    }

    /// A request with our Host and these headers.
    fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Response {
        let headers: Vec<(&str, &str)> =
            [("Host", self.host.as_str())].into_iter().chain(headers.iter().copied()).collect();
        self.daemon.tcp(Request { method, path, headers: &headers, body })
    }

    fn origin(&self) -> String {
        format!("http://{}", self.host)
    }

    /// The change token as the page carries it.
    fn token(&self) -> String {
        let page = self.send("GET", "/", &[], "").body;
        let after = page.split_once("name=\"token\" value=\"").expect("the page has a token").1;
        after.split('"').next().expect("it ends").to_owned()
    }
}

const STOP: &str = "/api/v1/programs/web/stop";
const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");

#[test]
fn a_change_that_another_web_site_made_a_browser_send_is_refused_and_changes_nothing() {
    let site = Site::start();
    let before = all_pids(&site.daemon.status());
    let (own, token) = (site.origin(), site.token());
    let form = format!("token={token}");
    let wrong_token = format!("token={}", "0".repeat(64));
    let cases: [(&[(&str, &str)], &str); 9] = [
        (&[("Origin", "http://evil.example")], ""),
        (&[("Origin", "null")], ""),
        (&[("Sec-Fetch-Site", "cross-site")], ""),
        (&[("Sec-Fetch-Site", "same-site")], ""),
        (&[("Cookie", "a=b")], ""),
        (&[("Origin", &own), ("Sec-Fetch-Site", "same-origin")], ""),
        (&[("Origin", &own), FORM], &wrong_token),
        (&[("Origin", "http://evil.example"), FORM], &form),
        (&[("Sec-Fetch-Site", "cross-site"), ("X-Leveret-Token", &token)], ""),
    ];
    for (headers, body) in cases {
        let response = site.send("POST", STOP, headers, body);
        assert_eq!(response.status, 403, "{headers:?} {body:?}: {response:?}");
        assert!(!text(&response.json(), "error").is_empty());
    }
    assert_eq!(all_pids(&site.daemon.status()), before);
    assert_eq!(site.daemon.program("web")["desired"], 2);
}

#[test]
fn a_get_never_changes_anything() {
    let site = Site::start();
    let before = all_pids(&site.daemon.status());
    let paths = [
        "/?action=stop",
        "/?action=stop&program=web",
        "/index.html?action=stop",
        STOP,
        "/api/v1/all/stop",
        "/api/v1/reload",
        "/api/v1/shutdown",
    ];
    for path in paths {
        for method in ["GET", "HEAD"] {
            let status = site.send(method, path, &[], "").status;
            assert!(matches!(status, 200 | 308 | 405), "{method} {path}: {status}");
        }
    }
    let redirected = site.send("GET", "/index.html", &[], "");
    assert_eq!((redirected.status, redirected.header("location")), (308, Some("/")));
    assert_eq!(site.send("GET", "/nothing", &[], "").status, 404);
    assert_eq!(all_pids(&site.daemon.status()), before);
    assert_eq!(site.daemon.program("web")["desired"], 2);
}

#[test]
fn a_host_that_is_not_ours_is_refused_whatever_is_asked() {
    let site = Site::start();
    let before = all_pids(&site.daemon.status());
    let rebound = format!("evil.example:{}", site.daemon.port());
    for host in ["evil.example", &rebound, "127.0.0.1:1", ""] {
        for (method, path) in [("GET", "/"), ("GET", "/api/v1/status"), ("GET", "/metrics"), ("POST", STOP)] {
            let response = site.daemon.tcp(Request { method, path, headers: &[("Host", host)], body: "" });
            assert_eq!(response.status, 403, "{method} {path} at {host:?}: {response:?}");
            assert!(!response.body.contains("web"), "{}", response.body);
        }
    }
    let none = site.daemon.tcp(Request { method: "POST", path: STOP, headers: &[], body: "" });
    assert!(matches!(none.status, 400 | 403), "{none:?}");
    assert_eq!(all_pids(&site.daemon.status()), before);
    for host in ["localhost", "127.0.0.1", "[::1]"] {
        let host = format!("{host}:{}", site.daemon.port());
        let response =
            site.daemon.tcp(Request { method: "GET", path: "/", headers: &[("Host", &host)], body: "" });
        assert_eq!(response.status, 200, "{host}");
    }
}

#[test]
fn the_pages_own_form_works_with_its_token_also_after_the_controller_was_replaced() {
    let site = Site::start();
    let (own, token) = (site.origin(), site.token());
    let form = format!("token={token}&from=page");
    let headers = [("Origin", own.as_str()), ("Sec-Fetch-Site", "same-origin"), FORM];
    let answer = site.send("POST", "/api/v1/programs/web/copy", &headers, &form);
    assert_eq!(answer.status, 303, "{answer:?}");
    let back = site.send("GET", answer.header("location").expect("a redirect has one"), &[], "");
    assert!(back.body.contains("web: 3 processes until released"), "{}", back.body);
    site.daemon.wait_program("web", "three", LIMIT, |program| (pids(program).len() == 3).then_some(()));
    assert_eq!(site.daemon.program("web")["hold"]["by"], "page");

    site.daemon.kill_controller();
    let answer = site.send("POST", "/api/v1/processes/web:2/stop", &headers, &form);
    assert_eq!(answer.status, 303, "{answer:?}");
    site.daemon.wait_process("web:2", "stopped");
}

#[test]
fn the_metrics_can_be_read_and_have_the_names_that_others_depend_on() {
    let site = Site::start();
    site.daemon.cli_exits(0, &["restart", "web:1"]);
    let response = wait_for("processor time and memory read", LIMIT, || {
        let response = site.send("GET", "/metrics", &[], "");
        (response.body.matches("\nleveret_process_resident_memory_bytes{").count() == 2).then_some(response)
    });
    assert!(
        response.header("content-type").is_some_and(|value| value.starts_with("text/plain; version=0.0.4"))
    );
    let names: BTreeSet<&str> = response.body.lines().filter_map(sample_name).collect();
    for name in [
        "leveret_build_info",
        "leveret_processes",
        "leveret_processes_desired",
        "leveret_process_restarts_total",
        "leveret_process_uptime_seconds",
        "leveret_process_start_time_seconds",
        "leveret_process_cpu_seconds_total",
        "leveret_process_resident_memory_bytes",
        "leveret_stop_duration_seconds_bucket",
        "leveret_stop_duration_seconds_sum",
        "leveret_stop_duration_seconds_count",
    ] {
        assert!(names.contains(name), "{name} is missing:\n{}", response.body);
    }
    for line in [
        "leveret_processes{program=\"web\",state=\"running\"} 2",
        "leveret_processes_desired{program=\"web\"} 2",
        "leveret_process_restarts_total{program=\"web\",reason=\"operator\"} 1",
    ] {
        assert!(response.body.lines().any(|found| found == line), "{line}:\n{}", response.body);
    }
}

/// The name in a line of the text format; panics where the line is not one of it.
fn sample_name(line: &str) -> Option<&str> {
    if line.is_empty() || line.starts_with("# HELP ") || line.starts_with("# TYPE ") {
        return None;
    }
    let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
    assert!(value.parse::<f64>().is_ok(), "no number: {line}");
    let name = series.split('{').next().expect("a split has a first part");
    assert!(name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_'), "no name: {line}");
    assert!(series.len() == name.len() || series.ends_with('}'), "labels that do not end: {line}");
    Some(name)
}

#[test]
fn health_and_readiness_are_told_without_a_token() {
    let site = Site::start();
    for path in ["/healthz", "/readyz"] {
        assert_eq!(site.send("GET", path, &[], "").status, 200, "{path}");
    }
    let daemon = Daemon::start("programs:\n  broken: {command: /nonexistent/worker}\n");
    let host = format!("127.0.0.1:{}", daemon.port());
    daemon.wait_process("broken", "backoff");
    let ask =
        |path| daemon.tcp(Request { method: "GET", path, headers: &[("Host", &host)], body: "" }).status;
    assert_eq!((ask("/healthz"), ask("/readyz")), (200, 503));
}
