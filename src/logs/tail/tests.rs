//! Readers of logs, on files as the pump leaves them.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::thread;

use super::position::inode;
use super::*;
use crate::logs::lines::LINE_BYTES_MAX;
use crate::logs::rotate::{rotate, rotated};
use crate::logs::source::Sink;
use crate::logs::testing::{Scene, wait_until};

fn log() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("web.log");
    (folder, path)
}

fn append(path: &Path, text: &str) {
    OpenOptions::new().append(true).create(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

fn texts(lines: &[Line]) -> Vec<&str> {
    lines.iter().map(|line| line.text.as_str()).collect()
}

fn read(follower: &mut Follower) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        let lines = follower.read(100).unwrap();
        if lines.is_empty() {
            return all;
        }
        all.extend(lines.into_iter().map(|line| line.text));
    }
}

#[test]
fn a_position_reads_back_as_it_was_written() {
    let position = Position { inode: 17, offset: 4_000_000_000_000 };
    assert_eq!(position.to_string().parse(), Ok(position));
    for text in ["", "1", "1:", ":1", "1:2:3", "-1:2", "+1:2", "a:b", "99999999999999999999:1"] {
        assert!(text.parse::<Position>().is_err(), "{text}");
    }
}

#[test]
fn the_last_lines_reach_back_into_rotated_files() {
    let (_folder, path) = log();
    for (number, text) in [(2, "a\nb\n"), (1, "c\nd\n"), (0, "e\nf\n")] {
        fs::write(rotated(&path, number), text).unwrap();
    }
    assert_eq!(texts(&last_lines(&path, 1).unwrap().lines), ["f"]);
    assert_eq!(texts(&last_lines(&path, 3).unwrap().lines), ["d", "e", "f"]);
    assert_eq!(texts(&last_lines(&path, 5).unwrap().lines), ["b", "c", "d", "e", "f"]);
    assert_eq!(texts(&last_lines(&path, usize::MAX).unwrap().lines), ["a", "b", "c", "d", "e", "f"]);
    let none = last_lines(&path, 0).unwrap();
    assert_eq!((none.lines.len(), none.position.offset), (0, 4));
}

#[test]
fn the_last_lines_of_a_long_file_are_whole_and_bounded() {
    let (_folder, path) = log();
    let all: Vec<String> = (0..200_000).map(|number| format!("line {number}")).collect();
    fs::write(&path, format!("{}\n", all.join("\n"))).unwrap();
    let tail = last_lines(&path, 10_000).unwrap();
    assert_eq!(texts(&tail.lines), all[190_000..]);
    assert_eq!(tail.position.offset, fs::metadata(&path).unwrap().len());
    assert_eq!(last_lines(&path, 50_000).unwrap().lines.len(), LINES_MAX);
}

#[test]
fn a_huge_line_is_shown_in_pieces_from_its_last_mebibyte() {
    let (_folder, path) = log();
    fs::write(&path, format!("first\n{}\nlast\n", "x".repeat(5_000_000))).unwrap();
    let lines = last_lines(&path, 10).unwrap().lines;
    assert_eq!(texts(&lines), ["last"], "a piece of a line of which the beginning is not seen is left out");
    fs::write(&path, format!("first\n{}\n", "x".repeat(5_000_000))).unwrap();
    let lines = last_lines(&path, 100).unwrap().lines;
    assert!(
        lines.len() == 64 && lines[..63].iter().all(|line| line.cut && line.text.len() == LINE_BYTES_MAX)
    );
}

#[test]
fn a_line_that_is_not_finished_is_told_apart_and_followed_as_a_whole() {
    let (_folder, path) = log();
    append(&path, "whole\nhal");
    let tail = last_lines(&path, 5).unwrap();
    assert_eq!(texts(&tail.lines), ["whole"]);
    assert_eq!(tail.unfinished.unwrap().text, "hal");
    let mut follower = Follower::new(&path, tail.position);
    assert_eq!(read(&mut follower), [""; 0]);
    append(&path, "f\n");
    assert_eq!(read(&mut follower), ["half"]);
}

#[test]
fn bytes_that_are_no_text_are_shown_as_such() {
    let (_folder, path) = log();
    fs::write(&path, b"a\xFFb\0c\n").unwrap();
    assert_eq!(texts(&last_lines(&path, 1).unwrap().lines), ["a\u{FFFD}b\0c"]);
}

#[test]
fn a_file_that_does_not_exist_yet_is_followed_from_its_first_line() {
    let (_folder, path) = log();
    let tail = last_lines(&path, 5).unwrap();
    assert_eq!(tail, Tail::default());
    let mut follower = Follower::new(&path, tail.position);
    assert_eq!(read(&mut follower), [""; 0]);
    append(&path, "one\n");
    rotate(&path, 3).unwrap();
    append(&path, "two\n");
    assert_eq!(read(&mut follower), ["one", "two"], "even if it was rotated meanwhile");
    assert_eq!(follower.gap(), None);
}

#[test]
fn following_goes_through_any_number_of_rotations() {
    let (_folder, path) = log();
    append(&path, "old\n");
    let mut follower = Follower::new(&path, last_lines(&path, 1).unwrap().position);
    append(&path, "one\n");
    assert_eq!(read(&mut follower), ["one"]);
    append(&path, "two\n");
    for text in ["three\n", "four\n", "five\n"] {
        rotate(&path, 5).unwrap();
        append(&path, text);
    }
    assert_eq!(read(&mut follower), ["two", "three", "four", "five"]);
    rotate(&path, 5).unwrap();
    assert_eq!(read(&mut follower), [""; 0], "the new file is not there yet");
    append(&path, "six\n");
    assert_eq!(read(&mut follower), ["six"]);
    assert_eq!(follower.gap(), None);
}

#[test]
fn a_follower_beside_a_pump_that_rotates_all_the_time_sees_every_line_once() {
    let scene = Scene::new();
    let path = scene.path("web.log");
    let mut writer = scene.open(1, Sink::Own(path.clone()), 2_000, 300);
    let expected: Vec<String> = (0..40_000).map(|number| format!("line {number}")).collect();
    let all = expected.join("\n") + "\n";
    let writing = thread::spawn(move || {
        writer.write_all(all.as_bytes()).unwrap();
        writer
    });
    let mut follower = Follower::new(&path, Position::default());
    let mut lines = Vec::new();
    wait_until("all lines are read", || {
        lines.extend(read(&mut follower));
        lines.len() >= expected.len()
    });
    assert!(lines == expected);
    assert_eq!(follower.gap(), None);
    let _held = writing.join().unwrap();
    assert!(rotated(&path, 200).exists(), "it was rotated beside the reader");
}

#[test]
fn following_goes_on_after_a_rotation_that_was_cut_off() {
    let (_folder, path) = log();
    append(&path, "one\n");
    let mut follower = Follower::new(&path, Position::default());
    assert_eq!(read(&mut follower), ["one"]);
    rotate(&path, 5).unwrap();
    append(&path, "two\n");
    fs::rename(rotated(&path, 1), rotated(&path, 2)).unwrap();
    assert_eq!(read(&mut follower), ["two"]);
    assert_eq!(follower.gap(), None);
}

#[test]
fn a_reader_that_comes_back_goes_on_where_it_was() {
    let (_folder, path) = log();
    append(&path, "one\ntwo\nthree\n");
    let mut follower = Follower::new(&path, Position::default());
    let lines = follower.read(1_000).unwrap();
    rotate(&path, 2).unwrap();
    append(&path, "four\n");
    let mut later = Follower::new(&path, lines[1].position.to_string().parse().unwrap());
    assert_eq!(read(&mut later), ["three", "four"]);
    assert_eq!(later.position(), Position { inode: inode(&fs::metadata(&path).unwrap()), offset: 5 });
    assert_eq!(later.gap(), None);
}

#[test]
fn a_truncated_file_is_read_from_its_beginning_and_that_is_told_once() {
    let (_folder, path) = log();
    append(&path, "a long line\n");
    let mut follower = Follower::new(&path, last_lines(&path, 1).unwrap().position);
    fs::write(&path, "new\n").unwrap();
    assert_eq!(read(&mut follower), ["new"]);
    assert_eq!(follower.gap(), Some(Gap::Truncated));
    assert_eq!(follower.gap(), None);
}

#[test]
fn a_file_that_was_rotated_away_unread_is_told() {
    let (_folder, path) = log();
    append(&path, "one\n");
    let tail = last_lines(&path, 1).unwrap();
    // Its inode must not be given to another file, as file systems like to.
    let _held = fs::File::open(&path).unwrap();
    for text in ["two\n", "three\n", "four\n"] {
        rotate(&path, 1).unwrap();
        append(&path, text);
    }
    let mut later = Follower::new(&path, tail.position);
    assert_eq!(read(&mut later), ["four"]);
    assert_eq!(later.gap(), Some(Gap::Replaced));
}

#[test]
fn a_follower_that_holds_its_file_finishes_it_before_it_goes_to_another() {
    let (folder, path) = log();
    append(&path, "one\n");
    let mut follower = Follower::new(&path, Position::default());
    assert_eq!(read(&mut follower), ["one"]);
    append(&path, "two\nlast wor");
    fs::rename(&path, folder.path().join("web.log-20260101")).unwrap();
    assert_eq!(read(&mut follower), ["two"], "there is no other yet");
    append(&path, "three\n");
    assert_eq!(read(&mut follower), ["last wor", "three"]);
}

#[test]
fn a_long_line_is_followed_in_pieces_however_little_is_asked_for() {
    let (_folder, path) = log();
    let long = "ä".repeat(LINE_BYTES_MAX);
    append(&path, &format!("{long}\nend\n"));
    let mut follower = Follower::new(&path, Position::default());
    let mut lines = Vec::new();
    loop {
        let more = follower.read(1).unwrap();
        if more.is_empty() {
            break;
        }
        lines.extend(more);
    }
    let cut: Vec<bool> = lines.iter().map(|line| line.cut).collect();
    assert_eq!(cut, [true, false, false]);
    assert_eq!(lines[..2].iter().map(|line| line.text.as_str()).collect::<String>(), long);
}
