//! Who is not let in, and that nothing happens then.

use hyper::StatusCode;

use super::server::TestServer;

const STOP: &str = "/api/v1/programs/orders/stop";

#[tokio::test]
async fn a_get_never_changes_anything_whatever_it_says() {
    let server = TestServer::start();
    let page = server.get("/").await.text;
    for path in
        ["/?action=stop", "/?action=stop&processname=orders", "/index.html?action=stopall", "/?note=x&note=y"]
    {
        let answer = server.get(path).await;
        assert!(answer.text == page || answer.status.is_redirection(), "{path}");
    }
    for path in
        [STOP, "/api/v1/all/stop", "/api/v1/reload", "/api/v1/shutdown", "/api/v1/processes/orders:0/stop"]
    {
        for method in ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"] {
            let answer = server.send(method, path, &[], "").await;
            assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
            assert_eq!(answer.headers["allow"], "POST", "{method} {path}");
        }
    }
    assert_eq!(server.acts(), []);
    assert_eq!(server.world.lock().unwrap().reloads, 0);
}

#[tokio::test]
async fn another_web_site_changes_nothing_with_or_without_the_token() {
    let server = TestServer::start();
    let signs: [&[(&str, &str)]; 7] = [
        &[("origin", "https://evil.example")],
        &[("origin", "null")],
        &[("origin", "http://127.0.0.1:1")],
        &[("origin", "http://localhost.evil.example")],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site")],
        &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")],
    ];
    for headers in signs {
        for token in ["", &server.token] {
            let body = format!("token={token}&from=page");
            let answer = server.send("POST", STOP, headers, &body).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{headers:?}");
            assert_eq!(answer.error(), "this request comes from another web site");
        }
    }
    assert_eq!(server.acts(), []);
}

#[tokio::test]
async fn a_browser_of_our_own_page_needs_the_token() {
    let server = TestServer::start();
    let own = format!("http://{}", server.address);
    let signs: [&[(&str, &str)]; 3] =
        [&[("origin", &own)], &[("sec-fetch-site", "same-origin")], &[("cookie", "a=b")]];
    for headers in signs {
        for body in ["", "token=", "token=0000", r#"{"token": "x"}"#] {
            let answer = server.send("POST", STOP, headers, body).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{headers:?} {body}");
            assert!(answer.error().contains("token"), "{headers:?} {body}");
        }
    }
    assert_eq!(server.acts(), []);
    for headers in signs {
        let answer = server.send("POST", STOP, headers, &format!("token={}", server.token)).await;
        assert_eq!(answer.status, StatusCode::OK, "{headers:?}");
        let with_header = [headers, &[("x-leveret-token", &server.token)]].concat();
        assert_eq!(server.send("POST", STOP, &with_header, "").await.status, StatusCode::OK, "{headers:?}");
    }
    assert_eq!(server.acts().len(), 6);
}

#[tokio::test]
async fn a_name_that_is_not_ours_is_answered_to_by_nothing_at_all() {
    let server = TestServer::start();
    let port = server.address.port();
    let foreign = ["evil.example", &format!("evil.example:{port}"), "localhost:1", "127.0.0.1", ""];
    for host in foreign {
        for path in ["/", "/api/v1/status", "/metrics", "/healthz", "/assets/page.js", "/nope"] {
            let answer = server.send("GET", path, &[("host", host)], "").await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{host} {path}");
            assert!(answer.error().contains("allowed_hosts"), "{host} {path}");
        }
        assert_eq!(
            server.send("POST", STOP, &[("host", host)], "").await.status,
            StatusCode::FORBIDDEN,
            "{host}"
        );
    }
    let two = [("host", server.address.to_string()), ("host", "evil.example".to_owned())];
    let two: Vec<(&str, &str)> = two.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(server.send("GET", "/", &two, "").await.status, StatusCode::FORBIDDEN);
    assert_eq!(server.send("GET", "http://evil.example/", &[], "").await.status, StatusCode::FORBIDDEN);
    assert_eq!(server.acts(), []);
}

#[tokio::test]
async fn a_name_of_ours_is_answered_to() {
    let server = TestServer::start();
    let port = server.address.port();
    let own = [format!("localhost:{port}"), format!("127.0.0.1:{port}"), format!("[::1]:{port}")];
    for host in own.iter().map(String::as_str).chain(["leveret.example.com", "leveret.example.com:8443"]) {
        let answer = server.send("GET", "/healthz", &[("host", host)], "").await;
        assert_eq!(answer.status, StatusCode::OK, "{host}");
    }
    // As behind a proxy that ends TLS.
    let headers = [("host", "leveret.example.com"), ("origin", "https://leveret.example.com")];
    let body = format!("token={}", server.token);
    assert_eq!(server.send("POST", STOP, &headers, &body).await.status, StatusCode::OK);
}

#[tokio::test]
async fn another_web_site_may_link_to_the_page_and_embed_nothing_of_it() {
    let server = TestServer::start();
    let link = [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")];
    assert_eq!(server.send("GET", "/", &link, "").await.status, StatusCode::OK);
    let embed = [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors")];
    assert_eq!(server.send("GET", "/api/v1/status", &embed, "").await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_shutdown_over_tcp_needs_the_token_even_from_a_script() {
    let server = TestServer::start();
    let answer = server.post("/api/v1/shutdown", "").await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert!(answer.error().contains("Unix socket"), "{}", answer.error());
    assert_eq!(server.acts(), []);
    let answer = server.send("POST", "/api/v1/shutdown", &[("x-leveret-token", &server.token)], "").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(server.acts().len(), 1);
}

#[tokio::test]
async fn an_upgrade_over_tcp_needs_the_token_as_well() {
    let server = TestServer::start();
    let answer = server.post("/api/v1/upgrade", "").await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert!(answer.error().contains("Unix socket"), "{}", answer.error());
    let answer = server.send("POST", "/api/v1/upgrade", &[("x-leveret-token", &server.token)], "").await;
    assert_eq!(answer.status, StatusCode::OK);
}

#[tokio::test]
async fn what_is_not_there_is_told_with_its_name() {
    let server = TestServer::start();
    for path in ["/nope", "/api/v1/nope", "/api/v2/status", "/api", "/logs", "/index.php", "/assets/"] {
        let answer = server.get(path).await;
        assert_eq!(
            (answer.status, answer.error()),
            (StatusCode::NOT_FOUND, format!("there is nothing at {path}"))
        );
    }
}

#[tokio::test]
async fn what_can_only_be_read_cannot_be_posted_to() {
    let server = TestServer::start();
    for path in ["/", "/api/v1/status", "/metrics", "/healthz", "/logs/orders:0"] {
        let answer = server.post(path, "").await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
        assert_eq!(answer.headers["allow"], "GET,HEAD", "{path}");
        assert!(answer.error().contains("POST"), "{path}");
    }
}
