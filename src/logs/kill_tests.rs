//! The pump in a process of its own: killed at any moment, flooded, and without room on the disk.

use std::fs;
use std::io::{BufRead, Write, stdin, stdout};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use super::Pump;
use super::source::{Format, PumpEvent, Sink};
use super::testing::{PumpProcess, all_of, named_pipe, parts_of, read_back, source, wait_until};

/// Where the other process finds its sources.
pub(super) const SOURCES_VARIABLE: &str = "LEVERET_TEST_SOURCES";

/// What the other process does; run by `PumpProcess` only.
#[test]
#[ignore = "it is the other process of the tests below"]
fn the_pump_of_another_process() {
    // Somebody who runs all ignored tests has no sources for it.
    let Some(list) = std::env::var_os(SOURCES_VARIABLE) else { return };
    // A write beyond the limit of a file's size is to fail as one to a full disk does, and not to kill.
    signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::new(AtomicBool::new(false))).unwrap();
    say("ready");
    let (sender, drained) = channel();
    let pump = Pump::start(move |event| match event {
        PumpEvent::Drained(_) => sender.send(()).unwrap_or_default(),
        PumpEvent::LastLine(..) | PumpEvent::Matched(..) => {}
        PumpEvent::Trouble(sentence) => say(&format!("trouble: {sentence}")),
        PumpEvent::Recovered(sentence) => say(&format!("recovered: {sentence}")),
    })
    .unwrap();
    let sources: Vec<_> = fs::read_to_string(list).unwrap().lines().map(read_back).collect();
    for source in &sources {
        pump.open(source.clone());
    }
    if stdin().lock().lines().next().is_none() {
        return pump.stop();
    }
    for source in &sources {
        pump.finish(source.incarnation);
    }
    for _ in &sources {
        drained.recv().unwrap();
    }
    say("all drained");
}

fn say(text: &str) {
    writeln!(stdout(), "{text}").unwrap();
}

/// Prints numbered lines, as many as it is given leave for, until nobody gives any more: the number of lines.
fn numbered_writer(path: &Path, name: &str) -> (Sender<u32>, JoinHandle<u32>) {
    let mut pipe = named_pipe(path);
    let name = name.to_owned();
    let (leave, leaves) = channel();
    let writer = thread::spawn(move || {
        let mut number = 0;
        for lines in leaves {
            for _ in 0..lines {
                pipe.write_all(numbered_line(&name, number).as_bytes()).unwrap();
                number += 1;
            }
        }
        number
    });
    (leave, writer)
}

/// Lines of different lengths.
fn numbered_line(name: &str, number: u32) -> String {
    format!("{name} {number} {}\n", "x".repeat((number * 7 % 120) as usize))
}

fn numbered_lines(name: &str, count: u32) -> String {
    (0..count).map(|number| numbered_line(name, number)).collect()
}

/// A sequence of numbers without a pattern, the same each time.
struct Arbitrary(u64);

impl Arbitrary {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

#[test]
fn over_sixty_kills_every_line_is_in_the_own_file_exactly_once_and_in_a_shared_one_at_least_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let mut json = source(5, path("5.pipe"), Sink::Lines(path("json.log")), 50_000, 10_000);
    json.format = Format::Json;
    let sources = [
        source(1, path("1.pipe"), Sink::Own(path("1.log")), 0, 0),
        source(2, path("2.pipe"), Sink::Own(path("2.log")), 50_000, 10_000),
        source(3, path("3.pipe"), Sink::Lines(path("shared.log")), 50_000, 10_000),
        source(4, path("4.pipe"), Sink::Lines(path("shared.log")), 50_000, 10_000),
        json,
    ];
    let writers: Vec<_> =
        (1..=5).map(|n| numbered_writer(&path(&format!("{n}.pipe")), &n.to_string())).collect();
    let mut arbitrary = Arbitrary(0x9E37_79B9_7F4A_7C15);
    for _ in 0..60 {
        let process = PumpProcess::start(folder.path(), &sources);
        for (leave, _) in &writers {
            leave.send(1_500).unwrap();
        }
        thread::park_timeout(Duration::from_micros(arbitrary.below(8_000)));
        process.kill();
    }
    let process = PumpProcess::start(folder.path(), &sources);
    let counts: Vec<u32> = writers
        .into_iter()
        .map(|(leave, writer)| {
            drop(leave);
            writer.join().unwrap()
        })
        .collect();
    process.finish();
    for (name, count) in [("1", counts[0]), ("2", counts[1])] {
        let log = all_of(&path(&format!("{name}.log")));
        assert!(log == numbered_lines(name, count).as_bytes(), "{name}: a line is missing, doubled or torn");
    }
    assert!(parts_of(&path("2.log")).len() > 10, "it was rotated while it was killed");
    let shared = String::from_utf8(all_of(&path("shared.log"))).unwrap();
    let shared: std::collections::BTreeSet<&str> = shared.lines().collect();
    for (name, count) in [("3", counts[2]), ("4", counts[3])] {
        let missing =
            (0..count).find(|number| !shared.contains(numbered_line(name, *number).trim_end_matches('\n')));
        assert_eq!(missing, None, "of {name}");
    }
    // A kill may have torn an object, which is written again on a line of its own.
    let objects = String::from_utf8(all_of(&path("json.log"))).unwrap();
    let objects = objects.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let lines: std::collections::BTreeSet<String> =
        objects.filter_map(|object| object["line"].as_str().map(str::to_owned)).collect();
    let missing =
        (0..counts[4]).find(|number| !lines.contains(numbered_line("5", *number).trim_end_matches('\n')));
    assert_eq!(missing, None, "of the objects");
}

#[test]
fn a_flood_neither_delays_another_process_nor_grows_memory_nor_the_disk() {
    const FLOOD_BYTES: usize = 200_000_000;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let sources = [
        source(1, path("1.pipe"), Sink::Own(path("1.log")), 1 << 20, 2),
        source(2, path("2.pipe"), Sink::Own(path("2.log")), 1 << 20, 2),
    ];
    let mut flood = named_pipe(&path("1.pipe"));
    let mut quiet = named_pipe(&path("2.pipe"));
    let process = PumpProcess::start(folder.path(), &sources);
    let before_kib = process.memory_peak_kib();
    let quiet_arrived = Arc::new(AtomicBool::new(false));
    let arrived = Arc::clone(&quiet_arrived);
    let (begun, flooding) = channel();
    let flooder = thread::spawn(move || {
        let block = "all work and no play\n".repeat(3_000);
        let mut written = 0;
        // The flood goes on until the other line is there: it did not have to wait for the flood's end.
        while written < FLOOD_BYTES || !arrived.load(Ordering::Relaxed) {
            flood.write_all(block.as_bytes()).unwrap();
            written += block.len();
            if written > FLOOD_BYTES / 10 {
                begun.send(()).unwrap_or_default();
            }
        }
    });
    flooding.recv().unwrap();
    quiet.write_all(b"I am here, too\n").unwrap();
    wait_until("the line arrives", || fs::read(path("2.log")).is_ok_and(|log| log == b"I am here, too\n"));
    quiet_arrived.store(true, Ordering::Relaxed);
    flooder.join().unwrap();
    let grown_kib = process.memory_peak_kib().saturating_sub(before_kib);
    process.finish();
    // A sixth of the flood; the program's own pages, which are read in as they are needed, count as well.
    assert!(grown_kib < 32 * 1024, "memory has grown by {grown_kib} KiB");
    let parts = parts_of(&path("1.log"));
    assert_eq!(parts.len(), 3, "{parts:?}");
    for part in parts {
        assert!(fs::metadata(&part).unwrap().len() < (1 << 20) + 100, "{part:?}");
    }
}

#[test]
fn a_full_disk_is_told_once_and_output_goes_on_by_itself_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let sources = [
        source(1, path("1.pipe"), Sink::Own(path("1.log")), 0, 0),
        source(2, path("2.pipe"), Sink::Lines(path("2.log")), 0, 0),
    ];
    for (source, number) in sources.into_iter().zip(1..) {
        let log = path(&format!("{number}.log"));
        let mut pipe = named_pipe(&source.pipe);
        let process = PumpProcess::start(folder.path(), &[source]);
        let pid = Pid::from_raw(process.pid() as i32);
        let limit = |bytes| prlimit(pid, Resource::Fsize, Rlimit { current: bytes, maximum: None }).unwrap();
        limit(Some(100_000));
        // The process is never halted by it: all of this is taken.
        pipe.write_all(numbered_lines("x", 10_000).as_bytes()).unwrap();
        let trouble = process.wait_for_line("trouble");
        let expected = format!(
            "trouble: the output of orders:{number} cannot be written to {}: File too large; \
             it is dropped until there is room",
            log.display()
        );
        assert_eq!(trouble, expected);
        limit(None);
        let mut said = Vec::new();
        wait_until("it recovers", || {
            pipe.write_all(b"is there room?\n").unwrap();
            said.extend(process.said());
            said.iter().any(|line| line.starts_with("recovered"))
        });
        assert_eq!(said.len(), 1, "nothing else is told: {said:?}");
        pipe.write_all(b"the last line\n").unwrap();
        process.finish();
        let log = fs::read(&log).unwrap();
        assert!(log.starts_with(numbered_lines("x", 100).as_bytes()), "what there was room for is kept");
        assert!(log.ends_with(b"is there room?\nthe last line\n"));
    }
}
