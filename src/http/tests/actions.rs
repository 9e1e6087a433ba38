//! What a POST asks the loop for.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::StatusCode;
use tokio::net::UnixStream;
use tokio_util::sync::CancellationToken;

use super::server::{TestServer, World, canned_loop, request};
use crate::controller::handle::{Action, Origin, Refusal};
use crate::core::ids::{ProgramName, Target};
use crate::core::rollout::Rolling;
use crate::http::{fixture, serve_unix};

fn target(text: &str) -> Target {
    text.parse().unwrap()
}

#[tokio::test]
async fn every_action_on_every_kind_of_target_reaches_the_loop_as_it_was_meant() {
    let server = TestServer::start();
    let orders = ProgramName::new("orders").unwrap();
    let one_by_one = Rolling { batch: 1, canary: None };
    let half_an_hour = Some(Duration::from_secs(1800));
    let cases = [
        ("programs/orders/start", "", Action::Start(target("orders"))),
        ("programs/orders/stop", "", Action::Stop(target("orders"))),
        ("programs/orders/restart", "", Action::Restart(target("orders"))),
        ("programs/orders/copy", "", Action::Copy(target("orders"))),
        ("programs/orders/auto", "", Action::Auto(target("orders"))),
        ("programs/orders/pause", "", Action::Pause(target("orders"))),
        ("programs/orders/resume", "", Action::Resume(target("orders"))),
        (
            "programs/orders/scale",
            r#"{"processes":5,"for":"30m"}"#,
            Action::Scale(orders.clone(), 5, half_an_hour),
        ),
        ("programs/orders/scale", "processes=0", Action::Scale(orders, 0, None)),
        ("programs/orders/signal", r#"{"signal":"USR1"}"#, Action::Signal(target("orders"), 10)),
        ("processes/orders:3/signal", "signal=SIGHUP", Action::Signal(target("orders:3"), 1)),
        ("processes/orders:3/stop", "", Action::Stop(target("orders:3"))),
        ("processes/orders%3A3/start", "", Action::Start(target("orders:3"))),
        ("processes/orders:3/restart", "", Action::Restart(target("orders:3"))),
        ("processes/web/restart", "", Action::Restart(target("web:0"))),
        ("projects/shop/stop", "", Action::Stop(target("@shop"))),
        ("projects/shop/start", "", Action::Start(target("@shop"))),
        ("projects/shop/restart", "", Action::Restart(target("@shop"))),
        ("all/start", "", Action::Start(Target::All)),
        ("all/stop", "", Action::Stop(Target::All)),
        ("all/restart", "", Action::Restart(Target::All)),
        ("programs/orders/restart?rolling", "", Action::Roll(target("orders"), one_by_one)),
        ("programs/orders/restart?rolling=false", "", Action::Restart(target("orders"))),
        (
            "projects/shop/restart",
            r#"{"rolling": true, "batch": 3, "canary": "30s"}"#,
            Action::Roll(target("@shop"), Rolling { batch: 3, canary: Some(Duration::from_secs(30)) }),
        ),
        (
            "all/restart?batch=2&canary=true",
            "rolling=true",
            Action::Roll(Target::All, Rolling { batch: 2, canary: Some(Duration::ZERO) }),
        ),
        ("all/auto", "", Action::Auto(Target::All)),
        ("all/pause", "", Action::Pause(Target::All)),
        ("all/resume", "", Action::Resume(Target::All)),
    ];
    for (path, body, action) in cases {
        let answer = server.post(&format!("/api/v1/{path}"), body).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text);
        assert_eq!(answer.json()["processes"][0], "orders:0");
        assert_eq!(server.acts().pop(), Some((action, Origin::Api)), "{path}");
    }
}

#[tokio::test]
async fn what_cannot_be_meant_never_reaches_the_loop() {
    let server = TestServer::start();
    let cases = [
        ("programs/orders/explode", "", 404, "there is no action \"explode\""),
        ("programs/orders:3/stop", "", 404, "/api/v1/processes/orders:3/stop"),
        ("processes/nope/stop", "", 404, "there is no process \"nope\""),
        ("processes/orders/stop", "", 404, "there is no process \"orders\""),
        ("processes/orders:x/stop", "", 404, "is not a process"),
        ("projects/shop/scale", "processes=3", 400, "scale is for one program, and @shop is not one"),
        ("all/scale", "processes=3", 400, "scale is for one program"),
        ("programs/orders/scale", "", 400, "\"processes\" is missing"),
        ("programs/orders/scale", "processes=many", 400, "whole number"),
        ("programs/orders/scale", "processes=3&for=ever", 400, "such as 90s"),
        ("programs/orders/scale", "{\"processes\":3,", 400, "not a JSON object"),
        ("programs/orders/stop", "processes=3", 400, "no field \"processes\""),
        ("programs/orders/restart", "batch=2", 400, "add \"rolling\": true"),
        ("programs/orders/restart?canary", "", 400, "add \"rolling\": true"),
        ("programs/orders/restart?rolling=maybe", "", 400, "true or false"),
        ("programs/orders/restart?roling=true", "", 400, "no field \"roling\""),
        ("programs/orders/signal", "", 400, "\"signal\" is missing"),
        ("programs/orders/signal", "signal=NOPE", 400, "there is no signal NOPE; known are HUP"),
        ("programs/orders/signal", "signal=40", 400, "40 is a real-time signal, which Leveret cannot send"),
    ];
    for (path, body, status, sentence) in cases {
        let answer = server.post(&format!("/api/v1/{path}"), body).await;
        assert_eq!(answer.status.as_u16(), status, "{path} {body}: {}", answer.text);
        assert!(answer.error().contains(sentence), "{path} {body}: {}", answer.error());
    }
    assert_eq!(server.acts(), []);
}

#[tokio::test]
async fn a_refusal_of_the_loop_is_told_with_its_status() {
    let server = TestServer::start();
    let cases = [
        (Refusal::NoSuchName("there is no program \"x\"".to_owned()), 404),
        (Refusal::Invalid("no".to_owned()), 400),
        (Refusal::Conflict("Leveret is ending".to_owned()), 409),
        (Refusal::Configuration("line 3".to_owned()), 422),
        (Refusal::Ending, 503),
    ];
    for (refusal, status) in cases {
        server.world.lock().unwrap().refusal = Some(refusal.clone());
        let answer = server.post("/api/v1/programs/x/stop", "").await;
        assert_eq!((answer.status.as_u16(), answer.error()), (status, refusal.to_string()));
        let answer = server.post("/api/v1/reload", "").await;
        assert_eq!((answer.status.as_u16(), answer.error()), (status, refusal.to_string()));
    }
}

#[tokio::test]
async fn a_reload_tells_what_changed() {
    let server = TestServer::start();
    let answer = server.post("/api/v1/reload", "").await;
    assert_eq!(answer.json()["added"][0], "mail");
    assert_eq!(server.world.lock().unwrap().reloads, 1);
}

#[tokio::test]
async fn what_a_reload_would_do_is_read_and_changes_nothing() {
    let server = TestServer::start();
    let answer = server.get("/api/v1/reload/plan").await;
    assert_eq!(answer.json()["removed"][0], "mail");
    assert_eq!(server.world.lock().unwrap().reloads, 0);
    let refusal = Refusal::Configuration("line 3".to_owned());
    server.world.lock().unwrap().refusal = Some(refusal.clone());
    let answer = server.get("/api/v1/reload/plan").await;
    assert_eq!((answer.status.as_u16(), answer.error()), (422, refusal.to_string()));
}

#[tokio::test]
async fn a_button_without_javascript_leads_back_to_the_page_that_says_what_came_of_it() {
    let server = TestServer::start();
    let own = format!("http://{}", server.address);
    let headers = [("origin", own.as_str()), ("sec-fetch-site", "same-origin")];
    let body = format!("token={}&from=page", server.token);
    let answer = server.send("POST", "/api/v1/programs/orders/stop", &headers, &body).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    assert_eq!(server.acts(), [(Action::Stop(target("orders")), Origin::Page)]);
    let location = answer.headers["location"].to_str().unwrap().to_owned();
    assert!(server.get(&location).await.text.contains("done: Stop"));

    server.world.lock().unwrap().refusal = Some(Refusal::Conflict("not <now>".to_owned()));
    let answer = server.send("POST", "/api/v1/programs/orders/stop", &headers, &body).await;
    let location = answer.headers["location"].to_str().unwrap().to_owned();
    let page = server.get(&location).await.text;
    assert!(page.contains("class=\"said error\"") && page.contains("not &#60;now&#62;"));
    assert!(!server.get("/").await.text.contains("not &#60;now&#62;"));
}

#[tokio::test]
async fn the_form_of_a_count_works_as_a_browser_without_scripts_sends_it() {
    let server = TestServer::start();
    let own = format!("http://{}", server.address);
    let headers = [("origin", own.as_str()), ("sec-fetch-site", "same-origin")];
    for (duration, expected) in [("", "None"), ("30m", "Some(1800s)")] {
        let body = format!("processes=3&for={duration}&token={}&from=page", server.token);
        let answer = server.send("POST", "/api/v1/programs/orders/scale", &headers, &body).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text);
        let act = format!("{:?}", server.acts().last().unwrap());
        assert!(act.contains(&format!("3, {expected}")), "{act}");
    }
}

#[tokio::test]
async fn whoever_may_open_the_unix_socket_needs_neither_token_nor_host() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("leveret.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let world = Arc::new(Mutex::new(World { snapshot: fixture::snapshot(), ..World::default() }));
    let (handle, _changed) = canned_loop(Arc::clone(&world));
    let shutdown = CancellationToken::new();
    let server = tokio::spawn(serve_unix(listener, handle, shutdown.clone()));
    for (path_asked, action) in [
        ("/api/v1/programs/orders/stop", Action::Stop(target("orders"))),
        ("/api/v1/shutdown", Action::Shutdown),
    ] {
        let stream = UnixStream::connect(&path).await.unwrap();
        let response = request(stream, "whatever", "POST", path_asked, &[("cookie", "a=b")], "").await;
        assert_eq!(response.status(), StatusCode::OK, "{path_asked}");
        assert_eq!(world.lock().unwrap().acts.pop(), Some((action, Origin::CommandLine)));
    }
    shutdown.cancel();
    server.await.unwrap().unwrap();
}
