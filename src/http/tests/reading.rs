//! What a GET shows.

use hyper::StatusCode;

use super::server::TestServer;
use crate::controller::snapshot::{ProgramView, Snapshot};

#[tokio::test]
async fn the_status_is_the_snapshot_as_it_is_written() {
    let server = TestServer::start();
    let answer = server.get("/api/v1/status").await;
    assert_eq!(answer.status, StatusCode::OK);
    let snapshot: Snapshot = serde_json::from_value(answer.json()).unwrap();
    assert_eq!(snapshot, server.world.lock().unwrap().snapshot);
}

#[tokio::test]
async fn the_status_of_one_program_leaves_the_others_out() {
    let server = TestServer::start();
    let answer = server.get("/api/v1/status?program=web").await.json();
    let names: Vec<&str> = answer["programs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|program| program["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["web"]);
    let answer = server.get("/api/v1/status?program=nope").await;
    assert_eq!(
        (answer.status, answer.error()),
        (StatusCode::NOT_FOUND, "there is no program \"nope\"".to_owned())
    );
}

#[tokio::test]
async fn a_misspelt_query_is_refused_rather_than_ignored() {
    let server = TestServer::start();
    for path in ["/api/v1/status?progam=web", "/api/v1/decisions?limit=x", "/api/v1/events?as=xml"] {
        let answer = server.get(path).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path}");
        assert!(answer.error().contains("query"), "{path}");
    }
}

#[tokio::test]
async fn an_explanation_is_the_loops_own() {
    let server = TestServer::start();
    let answer = server.get("/api/v1/explain/orders").await.json();
    assert_eq!(answer["program"], "orders");
    assert!(answer["reason"].as_str().unwrap().contains("120 messages"));
    for name in ["nope", "orders:0", "%2e%2e"] {
        assert_eq!(
            server.get(&format!("/api/v1/explain/{name}")).await.status,
            StatusCode::NOT_FOUND,
            "{name}"
        );
    }
}

#[tokio::test]
async fn decisions_are_asked_for_by_program_and_number_within_bounds() {
    let server = TestServer::start();
    assert_eq!(server.get("/api/v1/decisions").await.json()[0]["to"], 4);
    server.get("/api/v1/decisions?program=orders&limit=1000").await.json();
    let asked = server.world.lock().unwrap().decisions_asked.clone();
    assert_eq!(asked, [(None, 50), (Some("orders".to_owned()), 1000)]);
    for limit in ["0", "1001"] {
        let answer = server.get(&format!("/api/v1/decisions?limit={limit}")).await;
        assert_eq!(
            (answer.status, answer.error()),
            (StatusCode::BAD_REQUEST, "limit is 1 to 1000".to_owned())
        );
    }
}

#[tokio::test]
async fn the_metrics_have_the_type_that_prometheus_expects() {
    let server = TestServer::start();
    let answer = server.get("/metrics").await;
    assert_eq!(answer.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    assert!(answer.text.contains("\nleveret_broker_up{broker=\"billing\"} 0\n"), "{}", answer.text);
}

#[tokio::test]
async fn it_is_healthy_while_the_loop_answers_and_ready_once_all_is_as_it_should_be() {
    let server = TestServer::start();
    assert_eq!(server.get("/healthz").await.text, "ok\n");
    assert_eq!(server.get("/readyz").await.text, "ready\n");
    server.change(|snapshot| snapshot.ready = false);
    let answer = server.get("/readyz").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.error(), "not ready yet: orders runs 1 of 4, mail runs 1 of 4, failing runs 0 of 1");
    server.change(|snapshot| (snapshot.ready, snapshot.shutting_down) = (true, true));
    assert_eq!(server.get("/readyz").await.error(), "Leveret is ending");
    assert_eq!(server.get("/healthz").await.status, StatusCode::OK);
}

#[tokio::test]
async fn the_page_shows_every_program_process_queue_and_reason() {
    let server = TestServer::start();
    let answer = server.get("/").await;
    assert_eq!(answer.headers["content-type"], "text/html; charset=utf-8");
    for text in [
        "0.1.0",
        "120 messages wait and one consumer needs 6 s for them, so 4 are wanted",
        "cannot connect to 10.0.0.9:5672: connection refused",
        "the broker is unreachable",
        "management API answering",
        "metrics endpoint limited</span> <span class=\"quiet\">the metrics endpoint tells nothing of a queue",
        "management API failing</span> <span class=\"quiet\">the management API did not answer within 5 s",
        "held at 3 by an operator (page) for another 10m",
        "starts again in 16s after 7 failures in a row",
        "last: exit code 1",
        "18.0 MiB",
        "polling",
        "4242",
        "@shop",
        "formaction=\"/api/v1/programs/mail/auto\"",
        "formaction=\"/api/v1/processes/orders:0/stop\"",
        "href=\"/logs/orders:0\"",
        "action=\"/api/v1/programs/orders/scale\"",
        "name=\"processes\" value=\"4\" min=\"0\" max=\"40\"",
        "name=\"processes\" value=\"1\" min=\"0\" max=\"1000\"",
    ] {
        assert!(answer.text.contains(text), "the page does not show {text}");
    }
    assert!(answer.text.contains(&server.token));
}

#[tokio::test]
async fn the_page_shows_what_stands_against_a_reload() {
    let server = TestServer::start();
    server.change(|snapshot| snapshot.config_error = Some("line 3: <unknown key>".to_owned()));
    let text = server.get("/").await.text;
    assert!(text.contains("line 3: &#60;unknown key&#62;"), "{text}");
}

#[tokio::test]
async fn whatever_a_name_or_a_reason_contains_never_becomes_markup() {
    let server = TestServer::start();
    server.change(|snapshot| {
        let program = &mut snapshot.programs[0];
        program.reason = "<script>alert(1)</script>".to_owned();
        program.queues[0].queue = "\"><img src=x onerror=alert(2)>".to_owned();
    });
    let text = server.get("/").await.text;
    assert!(!text.contains("<script>alert") && !text.contains("<img src=x"), "{text}");
}

#[tokio::test]
async fn a_page_of_a_thousand_processes_folds_them_up() {
    let server = TestServer::start();
    server.change(|snapshot| {
        let program = &mut snapshot.programs[0];
        program.processes = vec![program.processes[0].clone(); 1_000];
    });
    let text = server.get("/").await.text;
    assert!(text.contains("<summary>1000 processes: 1000 running</summary>"));
}

#[tokio::test]
async fn a_page_without_programs_says_what_to_do() {
    let server = TestServer::start();
    server.change(|snapshot| snapshot.programs = Vec::<ProgramView>::new());
    assert!(server.get("/").await.text.contains("There are no programs."));
}

#[tokio::test]
async fn the_old_name_of_the_page_leads_to_it() {
    let server = TestServer::start();
    let answer = server.get("/index.html").await;
    assert_eq!(
        (answer.status, &answer.headers["location"]),
        (StatusCode::PERMANENT_REDIRECT, &"/".parse().unwrap())
    );
}

#[tokio::test]
async fn what_the_page_needs_is_there_and_nothing_else_is() {
    let server = TestServer::start();
    let page = server.get("/").await.text;
    for (file, kind) in [
        ("page.js", "text/javascript; charset=utf-8"),
        ("page.css", "text/css; charset=utf-8"),
        ("icon.svg", "image/svg+xml"),
        ("log.js", "text/javascript; charset=utf-8"),
    ] {
        let answer = server.get(&format!("/assets/{file}")).await;
        assert_eq!(answer.headers["content-type"], kind, "{file}");
        assert!(file == "log.js" || page.contains(&format!("/assets/{file}")), "{file}");
    }
    for path in ["/assets/nope.js", "/assets/..%2f..%2fCargo.toml"] {
        assert_eq!(server.get(path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn every_answer_carries_the_headers_that_keep_a_browser_in_check() {
    let server = TestServer::start();
    for path in ["/", "/api/v1/status", "/nope", "/assets/page.js"] {
        let headers = server.get(path).await.headers;
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(policy.contains("default-src 'self'") && policy.contains("frame-ancestors 'none'"), "{path}");
        assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
        assert_eq!(headers["cache-control"], "no-store", "{path}");
        assert_eq!(headers["referrer-policy"], "same-origin", "{path}");
    }
}

#[tokio::test]
async fn the_page_and_its_files_keep_to_their_own_content_policy() {
    let server = TestServer::start();
    for path in ["/", "/assets/page.js", "/assets/log.js", "/assets/page.css"] {
        let text = server.get(path).await.text;
        for forbidden in ["style=\"", "onclick", "<script>", "innerHTML", "eval(", "//cdn", "@import"] {
            assert!(!text.contains(forbidden), "{path} contains {forbidden}");
        }
    }
}

#[tokio::test]
async fn live_updates_begin_with_the_snapshot_and_tell_every_change() {
    let server = TestServer::start();
    let mut events = server.stream("/api/v1/events", &[]).await;
    let first = events.next().await.unwrap();
    assert_eq!(first.name.as_deref(), Some("status"));
    let snapshot: Snapshot = serde_json::from_str(&first.data).unwrap();
    assert_eq!(snapshot, server.world.lock().unwrap().snapshot);
    server.change(|snapshot| snapshot.programs[0].desired = 9);
    let second: Snapshot = serde_json::from_str(&events.next().await.unwrap().data).unwrap();
    assert_eq!(second.programs[0].desired, 9);
}

#[tokio::test]
async fn live_updates_of_the_page_are_the_part_of_it_that_changes() {
    let server = TestServer::start();
    let mut events = server.stream("/api/v1/events?as=page", &[]).await;
    let event = events.next().await.unwrap();
    assert_eq!(event.name.as_deref(), Some("page"));
    assert!(event.data.contains("id=\"program-orders\""));
    // A form needs the token where there are no scripts; a page that is updated has it already.
    let token = format!(
        "<input type=\"hidden\" name=\"token\" value=\"{}\"><input type=\"hidden\" name=\"from\" value=\"page\">\n",
        server.token
    );
    let page = server.get("/").await.text.replace(&token, "");
    assert!(page.contains(event.data.trim()), "the page is made in two ways");
    assert!(!event.data.contains(&server.token));
}
