//! How much there may be of everything, and how it ends.

use std::time::Duration;

use http_body_util::BodyExt;
use hyper::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::server::TestServer;
use crate::http::context::Limits;

#[tokio::test]
async fn a_body_that_is_too_long_is_refused_and_the_longest_one_is_not() {
    let server = TestServer::start();
    let limit = Limits::default().body_bytes;
    let answer = server.post("/api/v1/programs/orders/stop", &"a".repeat(limit + 1)).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(answer.error().contains("65536 bytes"));
    let padded = format!("{}processes=3", " ".repeat(limit - "processes=3".len()));
    assert_eq!(server.post("/api/v1/programs/orders/scale", &padded).await.status, StatusCode::OK);
    assert_eq!(server.acts().len(), 1);
}

#[tokio::test]
async fn a_head_that_is_too_long_is_refused() {
    let server = TestServer::start();
    let long = "a".repeat(Limits::default().header_bytes);
    let answer = server.send("GET", "/", &[("x-long", &long)], "").await;
    assert_eq!(answer.status, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
}

#[tokio::test]
async fn a_connection_that_never_finishes_its_head_is_closed() {
    let limits = Limits { header_timeout: Duration::from_millis(50), ..Limits::default() };
    let server = TestServer::start_within(limits);
    for begun in ["", "GET / HTTP/1.1\r\nHost: loc"] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(begun.as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        assert!(!String::from_utf8_lossy(&rest).contains("200 OK"));
    }
}

#[tokio::test]
async fn a_body_that_never_comes_is_not_waited_for_for_ever() {
    let limits = Limits { request_timeout: Duration::from_millis(50), ..Limits::default() };
    let server = TestServer::start_within(limits);
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = format!(
        "POST /api/v1/reload HTTP/1.1\r\nHost: {}\r\nContent-Length: 10\r\nConnection: close\r\n\r\n",
        server.address
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert_eq!(server.world.lock().unwrap().reloads, 0);
}

#[tokio::test]
async fn there_are_only_so_many_streams_and_one_that_ends_makes_room() {
    let limits = Limits { streams: 2, ..Limits::default() };
    let server = TestServer::start_within(limits);
    let mut first = server.stream("/api/v1/events", &[]).await;
    first.next().await.unwrap();
    let _second = server.stream("/api/v1/events?as=page", &[]).await;
    for path in ["/api/v1/events", "/api/v1/logs/orders:0/follow"] {
        let answer = server.get(path).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert!(answer.error().contains("2 live streams"), "{}", answer.error());
    }
    drop(first);
    while server.open("GET", "/api/v1/events", &[], "").await.status() != StatusCode::OK {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_connection_beyond_the_most_is_served_when_another_one_ends() {
    let limits = Limits { connections: 1, ..Limits::default() };
    let server = TestServer::start_within(limits);
    let first = server.open("GET", "/api/v1/events", &[], "").await;
    let second = tokio::spawn({
        let address = server.address;
        async move {
            let stream = TcpStream::connect(address).await.unwrap();
            super::server::request(stream, &address.to_string(), "GET", "/healthz", &[], "").await.status()
        }
    });
    // The first goes on being served while the second waits.
    let mut body = first.into_body();
    body.frame().await.unwrap().unwrap();
    assert!(!second.is_finished());
    drop(body);
    assert_eq!(second.await.unwrap(), StatusCode::OK);
}

#[tokio::test]
async fn at_the_end_streams_end_too() {
    let server = TestServer::start();
    let mut events = server.stream("/api/v1/events", &[]).await;
    let mut lines = server.stream("/api/v1/logs/orders:0/follow", &[]).await;
    events.next().await.unwrap();
    server.shutdown.cancel();
    while events.next().await.is_some() {}
    assert_eq!(lines.next().await, None);
    let mut server = server;
    (&mut server.task).await.unwrap().unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn a_connection_that_was_accepted_before_the_end_is_answered_though_its_request_comes_later() {
    let server = TestServer::start();
    let quiet = TcpStream::connect(server.address).await.unwrap();
    // The second is accepted after the first.
    assert_eq!(server.get("/healthz").await.status, StatusCode::OK);
    server.shutdown.cancel();
    while TcpStream::connect(server.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    let host = server.address.to_string();
    let answer = super::server::request(quiet, &host, "GET", "/healthz", &[], "").await;
    assert_eq!(
        (answer.status(), &answer.headers()["connection"]),
        (StatusCode::OK, &"close".parse().unwrap())
    );
}
