//! Logs: their last lines, and the live view.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use hyper::StatusCode;
use tempfile::TempDir;

use super::server::TestServer;
use crate::controller::snapshot::ProcessView;

/// A server whose `orders` has two processes with logs in a directory of their own.
fn with_logs() -> (TestServer, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let server = TestServer::start();
    let (first, second) = (directory.path().join("0.log"), directory.path().join("1.log"));
    server.change(|snapshot| {
        let process = snapshot.programs[0].processes[0].clone();
        snapshot.programs[0].processes = vec![
            ProcessView { log: Some(first), ..process.clone() },
            ProcessView { id: "orders:1".to_owned(), slot: 1, log: Some(second), ..process },
        ];
    });
    (server, directory)
}

fn log(directory: &TempDir, slot: u32) -> PathBuf {
    directory.path().join(format!("{slot}.log"))
}

fn append(path: &Path, text: &[u8]) {
    OpenOptions::new().create(true).append(true).open(path).unwrap().write_all(text).unwrap();
}

#[tokio::test]
async fn the_last_lines_are_plain_text_and_whole() {
    let (server, directory) = with_logs();
    append(&log(&directory, 0), b"one\ntwo\nthree \xff\n");
    let answer = server.get("/api/v1/logs/orders:0?lines=2").await;
    assert_eq!(answer.headers["content-type"], "text/plain; charset=utf-8");
    assert_eq!(answer.text, "two\nthree \u{fffd}\n");
    assert!(answer.headers["leveret-position"].to_str().unwrap().ends_with(":16"));
}

#[tokio::test]
async fn the_last_lines_of_a_program_name_their_process() {
    let (server, directory) = with_logs();
    append(&log(&directory, 0), b"a\nb\n");
    append(&log(&directory, 1), b"c\n");
    let answer = server.get("/api/v1/logs/orders?lines=1").await;
    assert_eq!(answer.text, "orders:0 | b\norders:1 | c\n");
}

#[tokio::test]
async fn a_log_that_was_not_begun_is_empty_and_one_that_cannot_be_is_told() {
    let (server, _directory) = with_logs();
    let answer = server.get("/api/v1/logs/orders:0").await;
    assert_eq!((answer.status, answer.text.as_str()), (StatusCode::OK, ""));
    for (path, status) in [
        ("/api/v1/logs/web", StatusCode::NOT_FOUND),
        ("/api/v1/logs/nope", StatusCode::NOT_FOUND),
        ("/api/v1/logs/nope/follow", StatusCode::NOT_FOUND),
        ("/logs/nope", StatusCode::NOT_FOUND),
        ("/api/v1/logs/..%2F..%2Fetc%2Fpasswd", StatusCode::NOT_FOUND),
        ("/api/v1/logs/orders:0?lines=10001", StatusCode::BAD_REQUEST),
        ("/api/v1/logs/orders:0?lines=-1", StatusCode::BAD_REQUEST),
        ("/api/v1/logs/orders:0/follow?from=x", StatusCode::BAD_REQUEST),
    ] {
        let answer = server.get(path).await;
        assert_eq!(answer.status, status, "{path}");
        assert!(!answer.error().is_empty(), "{path}");
    }
}

#[tokio::test]
async fn following_begins_at_the_end_and_tells_each_line_as_it_comes() {
    let (server, directory) = with_logs();
    append(&log(&directory, 0), b"old\n");
    let mut lines = server.stream("/api/v1/logs/orders:0/follow", &[]).await;
    append(&log(&directory, 0), b"new\nnot yet");
    let (process, line, id) = lines.line().await;
    assert_eq!((process.as_str(), line.as_str()), ("orders:0", "new"));
    assert!(id.unwrap().ends_with(":8"));
    append(&log(&directory, 0), b" whole\n");
    assert_eq!(lines.line().await.1, "not yet whole");
}

#[tokio::test]
async fn following_may_begin_with_the_last_lines() {
    let (server, directory) = with_logs();
    append(&log(&directory, 0), b"one\ntwo\nthree\n");
    let mut lines = server.stream("/api/v1/logs/orders:0/follow?lines=2", &[]).await;
    assert_eq!(lines.line().await.1, "two");
    assert_eq!(lines.line().await.1, "three");
    append(&log(&directory, 0), b"four\n");
    assert_eq!(lines.line().await.1, "four");
}

#[tokio::test]
async fn a_lost_stream_goes_on_after_the_last_line_that_arrived() {
    let (server, directory) = with_logs();
    let path = log(&directory, 0);
    append(&path, b"one\ntwo\n");
    let mut lines = server.stream("/api/v1/logs/orders:0/follow?lines=2", &[]).await;
    let (_, line, id) = lines.line().await;
    assert_eq!(line, "one");
    drop(lines);
    append(&path, b"three\n");
    let id = id.unwrap();
    let mut by_header = server.stream("/api/v1/logs/orders:0/follow", &[("last-event-id", &id)]).await;
    let mut by_query = server.stream(&format!("/api/v1/logs/orders:0/follow?from={id}"), &[]).await;
    for lines in [&mut by_header, &mut by_query] {
        assert_eq!(lines.line().await.1, "two");
        assert_eq!(lines.line().await.1, "three");
    }
}

#[tokio::test]
async fn a_program_is_followed_with_all_its_processes_and_those_that_come_later() {
    let (server, directory) = with_logs();
    let mut lines = server.stream("/api/v1/logs/orders/follow", &[]).await;
    append(&log(&directory, 0), b"a\n");
    assert_eq!(lines.line().await.0, "orders:0");
    append(&log(&directory, 1), b"b\n");
    let (process, line, id) = lines.line().await;
    assert_eq!((process.as_str(), line.as_str()), ("orders:1", "b"));

    server.change(|snapshot| {
        let processes = &mut snapshot.programs[0].processes;
        let log = Some(directory.path().join("2.log"));
        processes.push(ProcessView { id: "orders:2".to_owned(), slot: 2, log, ..processes[0].clone() });
    });
    append(&log(&directory, 0), b"d\n");
    assert_eq!(lines.line().await.1, "d");
    append(&log(&directory, 2), b"c\n");
    assert_eq!(lines.line().await, ("orders:2".to_owned(), "c".to_owned(), lines_id(&directory, [4, 2, 2])));

    append(&log(&directory, 1), b"missed\n");
    let mut again = server.stream("/api/v1/logs/orders/follow", &[("last-event-id", &id.unwrap())]).await;
    let mut told = [again.line().await.1, again.line().await.1];
    told.sort();
    assert_eq!(told, ["d", "missed"]);
}

fn lines_id(directory: &TempDir, offsets: [u64; 3]) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    let parts = (0..).zip(offsets).map(|(slot, offset)| {
        let inode = fs::metadata(log(directory, slot)).unwrap().ino();
        format!("{slot}={inode}:{offset}")
    });
    Some(parts.collect::<Vec<_>>().join(","))
}

#[tokio::test]
async fn a_slot_that_is_filled_again_is_followed_from_where_it_was_left() {
    let (server, directory) = with_logs();
    append(&log(&directory, 1), b"old\n");
    let mut lines = server.stream("/api/v1/logs/orders/follow", &[]).await;
    let second = server.world.lock().unwrap().snapshot.programs[0].processes[1].clone();
    server.change(|snapshot| snapshot.programs[0].processes.truncate(1));
    append(&log(&directory, 0), b"a\n");
    assert_eq!(lines.line().await.1, "a");
    append(&log(&directory, 1), b"next life\n");
    server.change(|snapshot| snapshot.programs[0].processes.push(second));
    assert_eq!(lines.line().await.1, "next life");
}

#[tokio::test]
async fn following_a_program_ends_when_it_is_no_more_and_its_last_lines_are_told() {
    let (server, directory) = with_logs();
    let mut lines = server.stream("/api/v1/logs/orders/follow", &[]).await;
    append(&log(&directory, 0), b"last words\n");
    server.change(|snapshot| snapshot.programs.clear());
    assert_eq!(lines.line().await.1, "last words");
    assert_eq!(lines.next().await, None);
}

#[tokio::test]
async fn a_flood_is_told_whole_and_in_order() {
    let (server, directory) = with_logs();
    let mut lines = server.stream("/api/v1/logs/orders/follow", &[]).await;
    let flood: String =
        (0..20_000).map(|number| format!("line {number} of a flood that fills batches\n")).collect();
    append(&log(&directory, 0), flood.as_bytes());
    append(&log(&directory, 1), b"a quiet neighbour\n");
    let mut next = 0;
    let mut heard_neighbour = false;
    while next < 20_000 || !heard_neighbour {
        let (process, line, _) = lines.line().await;
        if process == "orders:1" {
            heard_neighbour = true;
            assert!(next < 20_000, "the neighbour had to wait for all of the flood");
        } else {
            assert_eq!(line, format!("line {next} of a flood that fills batches"));
            next += 1;
        }
    }
}

#[tokio::test]
async fn the_page_of_a_log_shows_text_only_and_where_to_go_on() {
    let (server, directory) = with_logs();
    append(&log(&directory, 0), b"\x1b[31m<b>red</b>\x1b[0m & \x1b]0;title\x07done\n");
    let page = server.get("/logs/orders:0").await.text;
    assert!(page.contains("<div>&#60;b&#62;red&#60;/b&#62; &#38; done</div>"), "{page}");
    let from = page.split_once("follow?plain=true&amp;from=").unwrap().1.split_once('"').unwrap().0;
    let mut lines = server.stream(&format!("/api/v1/logs/orders:0/follow?plain=true&from={from}"), &[]).await;
    append(&log(&directory, 0), b"\x1b[1mbold\x1b[0m\n");
    assert_eq!(lines.line().await.1, "bold");
    let page = server.get("/logs/orders").await.text;
    assert!(page.contains("<b>orders:0</b> "), "{page}");
}
