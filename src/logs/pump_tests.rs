//! The pump over real pipes and real files.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::sync::mpsc::channel;
use std::thread;

use rustix::pipe::{fcntl_setpipe_size, pipe};

use super::lines::LINE_BYTES_MAX;
use super::source::{Format, LAST_LINE_CHARACTERS_MAX, PumpEvent, Sink, Source};
use super::testing::{Scene, all_of, named_pipe, parts_of, source, wait_until};
use crate::core::ids::Incarnation;

fn drained(number: u64) -> PumpEvent {
    PumpEvent::Drained(Incarnation(number))
}

#[test]
fn output_arrives_byte_for_byte_with_whatever_bytes_it_has() {
    let scene = Scene::new();
    let log = scene.path("logs/1.log");
    let mut writer = scene.open(1, Sink::Own(log.clone()), 0, 0);
    let all: Vec<u8> =
        (0..1_000_000u32).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    writer.write_all(&all).unwrap();
    writer.write_all(b"\n").unwrap();
    assert_eq!(scene.drain(1), [drained(1)]);
    let log = fs::read(log).unwrap();
    assert!(log[..all.len()] == all[..] && log.len() == all.len() + 1);
}

#[test]
fn a_new_pump_goes_on_after_the_last_byte_of_the_one_before() {
    let scene = Scene::new();
    let log = scene.path("1.log");
    fs::write(&log, "from before\n").unwrap();
    let mut writer = scene.open(1, Sink::Own(log.clone()), 0, 0);
    writer.write_all(b"new\n").unwrap();
    scene.drain(1);
    assert_eq!(fs::read(log).unwrap(), b"from before\nnew\n");
}

#[test]
fn files_are_rotated_at_line_ends_and_stay_in_order() {
    let scene = Scene::new();
    let (own, shared) = (scene.path("own.log"), scene.path("shared.log"));
    let mut writers = [
        scene.open(1, Sink::Own(own.clone()), 10_000, 1_000),
        scene.open(2, Sink::Lines(shared.clone()), 10_000, 1_000),
    ];
    let all: String = (0..20_000).map(|number| format!("line {number}\n")).collect();
    for (writer, (number, log)) in writers.iter_mut().zip([(1, own), (2, shared)]) {
        writer.write_all(all.as_bytes()).unwrap();
        assert_eq!(scene.drain(number), [drained(number)]);
        assert!(all_of(&log) == all.as_bytes());
        let parts = parts_of(&log);
        assert!(parts.len() > 20, "{}", parts.len());
        for part in &parts[1..] {
            let part = fs::read(part).unwrap();
            assert!((10_000..10_020).contains(&part.len()) && part.ends_with(b"\n"), "{}", part.len());
        }
    }
}

#[test]
fn a_line_without_an_end_is_rotated_at_twice_the_size() {
    let scene = Scene::new();
    let log = scene.path("1.log");
    let mut writer = scene.open(1, Sink::Own(log.clone()), 100_000, 100);
    let all = vec![b'x'; 1_000_000];
    writer.write_all(&all).unwrap();
    scene.drain(1);
    let sizes: Vec<u64> = parts_of(&log).iter().map(|part| fs::metadata(part).unwrap().len()).collect();
    assert_eq!(sizes, [200_001, 200_000, 200_000, 200_000, 200_000], "and its end is made a line's end");
}

#[test]
fn new_limits_hold_from_the_next_line_on() {
    let scene = Scene::new();
    let log = scene.path("1.log");
    let mut writer = scene.open(1, Sink::Own(log.clone()), 0, 0);
    writer.write_all(b"0123456789\n").unwrap();
    wait_until("it is written", || fs::read(&log).is_ok_and(|log| log.len() == 11));
    scene.pump.configure(source(1, scene.path("1.pipe"), Sink::Own(log.clone()), 5, 2));
    writer.write_all(b"next\n").unwrap();
    scene.drain(1);
    let parts: Vec<_> = parts_of(&log).iter().map(|part| fs::read(part).unwrap()).collect();
    assert_eq!(parts, [b"next\n".to_vec(), b"0123456789\n".to_vec()]);
}

#[test]
fn output_goes_elsewhere_from_one_line_to_the_next_where_that_is_configured() {
    let (mut reader, output) = output_pipe();
    let scene = Scene::printing_to(output);
    let [own, shared] = ["own.log", "shared.log"].map(|name| scene.path(name));
    let mut writer = scene.open(1, Sink::Own(own.clone()), 0, 0);
    writer.write_all(b"first\nhalf ").unwrap();
    wait_until("it is written", || fs::read(&own).is_ok_and(|log| log == b"first\nhalf "));
    let pipe = scene.path("1.pipe");
    scene.pump.configure(source(1, pipe.clone(), Sink::Lines(shared.clone()), 0, 0));
    writer.write_all(b"a line\nthird\n").unwrap();
    wait_until("it is written there", || fs::read(&shared).is_ok_and(|log| log == b"a line\nthird\n"));
    scene.pump.configure(source(1, pipe, Sink::Stdout, 0, 0));
    writer.write_all(b"fourth\n").unwrap();
    assert_eq!(scene.drain(1), [drained(1)]);
    scene.pump.stop();
    let mut text = Vec::new();
    reader.read_to_end(&mut text).unwrap();
    assert_eq!(text, b"orders:1 | fourth\n");
    assert_eq!(fs::read(&own).unwrap(), b"first\nhalf ");
}

#[test]
fn a_file_that_somebody_truncates_gets_no_hole() {
    let scene = Scene::new();
    let log = scene.path("1.log");
    let mut writer = scene.open(1, Sink::Own(log.clone()), 0, 0);
    writer.write_all(b"before\n").unwrap();
    wait_until("it is written", || fs::read(&log).is_ok_and(|log| log == b"before\n"));
    OpenOptions::new().write(true).open(&log).unwrap().set_len(0).unwrap();
    writer.write_all(b"after\n").unwrap();
    scene.drain(1);
    assert_eq!(fs::read(log).unwrap(), b"after\n");
}

#[test]
fn a_file_that_somebody_deletes_comes_back() {
    let scene = Scene::new();
    for (number, sink) in [(1, Sink::Own as fn(_) -> _), (2, Sink::Lines as fn(_) -> _)] {
        let log = scene.path(&format!("{number}.log"));
        let mut writer = scene.open(number, sink(log.clone()), 0, 0);
        writer.write_all(b"before\n").unwrap();
        wait_until("it is written", || fs::read(&log).is_ok_and(|log| log == b"before\n"));
        fs::remove_file(&log).unwrap();
        wait_until("it comes back", || {
            writer.write_all(b"after\n").unwrap();
            fs::read(&log).is_ok_and(|log| log.starts_with(b"after\n"))
        });
        scene.drain(number);
    }
}

#[test]
fn lines_of_several_processes_in_one_file_are_never_mixed() {
    let scene = Scene::new();
    let log = scene.path("all.log");
    let writers: Vec<_> = (1..=4u64)
        .map(|number| {
            let mut writer = scene.open(number, Sink::Lines(log.clone()), 0, 0);
            thread::spawn(move || {
                for line in 0..2_000 {
                    // In pieces, so that there are always lines that are not finished.
                    writer.write_all(format!("{number} {line} ").as_bytes()).unwrap();
                    writer.write_all(format!("end of {number} {line}").as_bytes()).unwrap();
                    if line < 1_999 {
                        writer.write_all(b"\n").unwrap();
                    }
                }
                writer
            })
        })
        .collect();
    let held: Vec<File> = writers.into_iter().map(|writer| writer.join().unwrap()).collect();
    for number in 1..=4 {
        scene.drain(number);
    }
    drop(held);
    let log = String::from_utf8(all_of(&log)).unwrap();
    for number in 1..=4 {
        let of_one: Vec<&str> = log.lines().filter(|line| line.starts_with(&format!("{number} "))).collect();
        let expected: Vec<String> =
            (0..2_000).map(|line| format!("{number} {line} end of {number} {line}")).collect();
        assert_eq!(of_one, expected);
    }
    assert_eq!(log.lines().count(), 8_000);
    assert!(log.ends_with('\n'), "the last words of a process are a line, too");
}

#[test]
fn a_line_that_a_killed_pump_has_torn_in_a_shared_file_is_ended() {
    let scene = Scene::new();
    let log = scene.path("all.log");
    fs::write(&log, "whole\nto").unwrap();
    let mut writer = scene.open(1, Sink::Lines(log.clone()), 0, 0);
    writer.write_all(b"torn\n").unwrap();
    scene.drain(1);
    assert_eq!(fs::read(log).unwrap(), b"whole\nto\ntorn\n");
}

#[test]
fn a_long_line_is_cut_even_where_it_can_never_be_whole_in_the_pipe() {
    let scene = Scene::new();
    let log = scene.path("all.log");
    let mut writer = scene.open(1, Sink::Lines(log.clone()), 0, 0);
    fcntl_setpipe_size(&writer, 4096).unwrap();
    writer.write_all(&[b"x".repeat(10_000), b"\n".to_vec()].concat()).unwrap();
    let mut other = scene.open(2, Sink::Lines(log.clone()), 0, 0);
    other.write_all(&[b"y".repeat(40_000), b"\n".to_vec()].concat()).unwrap();
    scene.drain(1);
    scene.drain(2);
    let log = fs::read_to_string(log).unwrap();
    assert_eq!(log.matches('x').count(), 10_000);
    let long: Vec<usize> = log.lines().filter(|line| line.starts_with('y')).map(str::len).collect();
    assert_eq!(long, [LINE_BYTES_MAX, LINE_BYTES_MAX, 40_000 - 2 * LINE_BYTES_MAX]);
}

/// A pipe in place of Leveret's own output, and the end that its reader has.
fn output_pipe() -> (File, File) {
    let (reader, writer) = pipe().unwrap();
    (File::from(reader), File::from(writer))
}

#[test]
fn on_leverets_own_output_each_line_has_its_process_in_front() {
    let (mut reader, output) = output_pipe();
    let scene = Scene::printing_to(output);
    let mut writer = scene.open(3, Sink::Stdout, 0, 0);
    writer.write_all(b"one\n\xFFtwo\nthe end").unwrap();
    assert_eq!(scene.drain(3), [drained(3)]);
    scene.pump.stop();
    let mut text = Vec::new();
    reader.read_to_end(&mut text).unwrap();
    assert_eq!(text, b"orders:3 | one\norders:3 | \xFFtwo\norders:3 | the end\n");
}

#[test]
fn an_output_that_nobody_reads_halts_only_those_who_print_to_it_and_loses_nothing() {
    let (mut reader, output) = output_pipe();
    let scene = Scene::printing_to(output);
    let mut halted = scene.open(1, Sink::Stdout, 0, 0);
    let all: String = (0..100_000).map(|number| format!("line {number}\n")).collect();
    let expected: Vec<String> = all.lines().map(|line| format!("orders:1 | {line}")).collect();
    let (begun, printing) = channel();
    let printer = thread::spawn(move || {
        // More than the pipes and the buffer between hold: it is halted in here.
        for part in all.as_bytes().chunks(50_000) {
            halted.write_all(part).unwrap();
            begun.send(()).unwrap_or_default();
        }
        halted
    });
    printing.recv().unwrap();
    let log = scene.path("2.log");
    let mut other = scene.open(2, Sink::Own(log.clone()), 0, 0);
    other.write_all(b"not halted\n").unwrap();
    assert_eq!(scene.drain(2), [drained(2)]);
    assert_eq!(fs::read(log).unwrap(), b"not halted\n");
    assert!(!printer.is_finished(), "nobody has read yet");
    let collector = thread::spawn(move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        text
    });
    let _held = printer.join().unwrap();
    assert_eq!(scene.drain(1), [drained(1)]);
    scene.pump.stop();
    let text = collector.join().unwrap();
    assert!(text.lines().eq(expected.iter().map(String::as_str)), "every line once and in order");
}

#[test]
fn an_output_whose_reader_is_gone_halts_nobody_and_is_told_once() {
    let (reader, output) = output_pipe();
    drop(reader);
    let scene = Scene::printing_to(output);
    let mut writer = scene.open(1, Sink::Stdout, 0, 0);
    writer.write_all(&b"nobody hears it\n".repeat(50_000)).unwrap();
    let sentence = "the output of orders:1 cannot be written to Leveret's own output: Broken pipe; \
                    it is dropped until that works";
    assert_eq!(scene.drain(1), [PumpEvent::Trouble(sentence.to_owned()), drained(1)]);
}

#[test]
fn a_sink_that_refuses_output_is_told_once_and_halts_nobody() {
    let full = std::path::PathBuf::from("/dev/full");
    for (number, sink) in [(1, Sink::Own(full.clone())), (2, Sink::Lines(full))] {
        let scene = Scene::new();
        let mut writer = scene.open(number, sink, 0, 0);
        writer.write_all(&b"lost\n".repeat(100_000)).unwrap();
        let sentence = format!(
            "the output of orders:{number} cannot be written to /dev/full: No space left on device; \
             it is dropped until there is room"
        );
        assert_eq!(scene.drain(number), [PumpEvent::Trouble(sentence), drained(number)]);
        assert_eq!(scene.pump.dropped_bytes(), [("orders".to_owned(), 500_000)].into());
        let over = format!(
            "the output of orders:{number} has ended before it could be written to /dev/full again; \
             500,000 bytes were dropped"
        );
        assert_eq!(scene.events_until(|_| true), [PumpEvent::Recovered(over)]);
    }
}

#[test]
fn a_missing_pipe_is_told_and_its_process_is_drained_all_the_same() {
    let scene = Scene::new();
    let pipe = scene.path("none");
    scene.pump.open(source(1, pipe.clone(), Sink::Stdout, 0, 0));
    let sentence = format!(
        "the output of orders:1 cannot be read from {}: No such file or directory; \
         it is lost until the process is restarted",
        pipe.display()
    );
    assert_eq!(scene.drain(1), [PumpEvent::Trouble(sentence), drained(1)]);
    assert_eq!(scene.drain(77), [drained(77)], "and so is one that was never opened");
}

#[test]
fn a_process_that_prints_nothing_has_no_file() {
    let scene = Scene::new();
    let writers: Vec<File> = (0..100)
        .map(|number| scene.open(number, Sink::Own(scene.path(&format!("logs/{number}.log"))), 0, 0))
        .collect();
    for number in 0..100 {
        assert_eq!(scene.drain(number), [drained(number)]);
    }
    assert!(!scene.path("logs").exists());
    drop(writers);
}

#[test]
fn the_last_words_of_a_process_end_before_the_next_process_begins() {
    let scene = Scene::new();
    let log = scene.path("1.log");
    let mut first = scene.open(1, Sink::Own(log.clone()), 0, 0);
    first.write_all(b"panic: out of").unwrap();
    scene.drain(1);
    let mut second = scene.open(2, Sink::Own(log.clone()), 0, 0);
    second.write_all(b"hello\n").unwrap();
    scene.drain(2);
    assert_eq!(fs::read(log).unwrap(), b"panic: out of\nhello\n");
}

#[test]
fn what_was_printed_before_the_stop_is_written_and_the_rest_stays_in_the_pipe() {
    let scene = Scene::new();
    let log = scene.path("1.log");
    let mut writer = scene.open(1, Sink::Own(log.clone()), 0, 0);
    writer.write_all(b"before\n").unwrap();
    scene.pump.stop();
    assert_eq!(fs::read(&log).unwrap(), b"before\n");
    writer.write_all(b"after\n").unwrap();
    let mut left = [0; 6];
    writer.read_exact(&mut left).unwrap();
    assert_eq!(&left, b"after\n");
}

/// A source with more to it than a path and a size.
fn with(mut source: Source, change: impl FnOnce(&mut Source)) -> Source {
    change(&mut source);
    source
}

#[test]
fn each_line_is_written_in_its_format_also_the_last_words() {
    let scene = Scene::new();
    let logs = [(1, Format::Prefixed), (2, Format::Json)].map(|(number, format)| {
        let (pipe, log) = (scene.path(&format!("{number}.pipe")), scene.path(&format!("logs/{number}.log")));
        let mut writer = named_pipe(&pipe);
        let source = source(number, pipe, Sink::Lines(log.clone()), 0, 0);
        scene.pump.open(with(source, |source| source.format = format));
        writer.write_all(b"one\nhalf").unwrap();
        wait_until("the whole line is there", || fs::read(&log).is_ok_and(|log| log.ends_with(b"\n")));
        writer.write_all(b" a line\nlast words").unwrap();
        assert_eq!(scene.drain(number), [drained(number)]);
        fs::read_to_string(log).unwrap()
    });
    let prefixed: Vec<_> = logs[0].lines().map(|line| line.split_once(' ').unwrap()).collect();
    let texts: Vec<_> = prefixed.iter().map(|(_, text)| *text).collect();
    assert_eq!(texts, ["orders:1 | one", "orders:1 | half a line", "orders:1 | last words"]);
    assert!(prefixed.iter().all(|(time, _)| time.parse::<jiff::Timestamp>().is_ok()), "{prefixed:?}");
    let objects: Vec<serde_json::Value> =
        logs[1].lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let lines: Vec<_> = objects.iter().map(|object| object["line"].as_str().unwrap()).collect();
    assert_eq!(lines, ["one", "half a line", "last words"]);
    assert_eq!((&objects[0]["program"], &objects[0]["process"]), (&"orders".into(), &"orders:2".into()));
}

#[test]
fn an_old_file_is_rotated_by_the_next_line_and_all_but_the_newest_are_compressed() {
    let scene = Scene::new();
    let (pipe, log) = (scene.path("1.pipe"), scene.path("logs/1.log"));
    let mut writer = named_pipe(&pipe);
    scene.pump.open(with(source(1, pipe, Sink::Own(log.clone()), 0, 3), |source| {
        source.keeping.max_age = Some(std::time::Duration::from_millis(20));
        source.keeping.compress = true;
    }));
    let third = log.with_file_name("1.log.3.gz");
    wait_until("files are rotated and compressed", || {
        writer.write_all(b"a line\n").unwrap();
        third.exists()
    });
    scene.drain(1);
    assert!(log.with_file_name("1.log.1").exists(), "the newest is as it was written");
    let mut text = String::new();
    flate2::read::GzDecoder::new(File::open(third).unwrap()).read_to_string(&mut text).unwrap();
    assert!(text.lines().count() > 0 && text.lines().all(|line| line == "a line"), "{text}");
}

#[test]
fn a_file_that_was_moved_away_is_opened_anew_at_its_path_when_that_is_asked_for() {
    let scene = Scene::new();
    let log = scene.path("1.log");
    let mut writer = scene.open(1, Sink::Own(log.clone()), 0, 0);
    writer.write_all(b"before\n").unwrap();
    wait_until("it is written", || fs::read(&log).is_ok_and(|log| log == b"before\n"));
    let moved = scene.path("1.log-20260101");
    fs::rename(&log, &moved).unwrap();
    scene.pump.reopen();
    writer.write_all(b"after\n").unwrap();
    scene.drain(1);
    assert_eq!(
        (fs::read(moved).unwrap(), fs::read(log).unwrap()),
        (b"before\n".to_vec(), b"after\n".to_vec())
    );
}

#[test]
fn a_line_of_leverets_own_comes_after_what_was_printed_before_and_breaks_no_line() {
    let scene = Scene::new();
    let (pipe, log) = (scene.path("1.pipe"), scene.path("1.log"));
    let mut writer = named_pipe(&pipe);
    let source =
        with(source(1, pipe, Sink::Lines(log.clone()), 0, 0), |source| source.format = Format::Prefixed);
    scene.pump.say(source.clone(), "started as pid 7".to_owned());
    scene.pump.open(source.clone());
    wait_until("it is written", || fs::read(&log).is_ok_and(|log| log.ends_with(b"as pid 7\n")));
    writer.write_all(b"one\nlast wo").unwrap();
    scene.pump.say(source, "exited with code 1".to_owned());
    writer.write_all(b"rds").unwrap();
    scene.drain(1);
    let text = fs::read_to_string(log).unwrap();
    let texts: Vec<_> = text.lines().map(|line| line.split_once(' ').unwrap().1).collect();
    let expected = [
        "orders:1 * started as pid 7",
        "orders:1 | one",
        "orders:1 | last words",
        "orders:1 * exited with code 1",
    ];
    assert_eq!(texts, expected);
}

#[test]
fn of_output_that_goes_nowhere_the_last_line_is_told_and_nobody_waits() {
    let scene = Scene::new();
    for (number, text, last) in [
        (1, format!("{}\n  the end \n\n", "x".repeat(300_000)), Some("the end".to_owned())),
        (2, "no end of the line".to_owned(), Some("no end of the line".to_owned())),
        (3, "y".repeat(LAST_LINE_CHARACTERS_MAX + 1), Some("y".repeat(LAST_LINE_CHARACTERS_MAX))),
        (4, "\n\n".to_owned(), None),
    ] {
        let mut writer = scene.open(number, Sink::LastLine, 0, 0);
        writer.write_all(text.as_bytes()).unwrap();
        let told = last.map(|line| PumpEvent::LastLine(Incarnation(number), line));
        let expected: Vec<_> = told.into_iter().chain([drained(number)]).collect();
        assert_eq!(scene.drain(number), expected);
    }
}

#[test]
fn what_is_waited_for_is_told_once_wherever_output_goes_and_no_byte_is_lost() {
    for (number, sink) in [(1, "own"), (2, "lines"), (3, "last"), (4, "refused")] {
        let scene = Scene::new();
        let (pipe, log) = (scene.path("pipe"), scene.path("log"));
        let sink = match sink {
            "own" => Sink::Own(log.clone()),
            "lines" => Sink::Lines(log.clone()),
            "refused" => Sink::Own("/dev/null/no/directory".into()),
            _ => Sink::LastLine,
        };
        let mut writer = named_pipe(&pipe);
        let awaited = Some("^it is ready$".to_owned());
        let is_written = sink == Sink::Own(log.clone()) || sink == Sink::Lines(log.clone());
        scene.pump.open(Source { awaited, ..source(number, pipe, sink, 0, 0) });
        let before = format!("{}\nit is read", "it is not ready\n".repeat(10_000));
        writer.write_all(before.as_bytes()).unwrap();
        writer.write_all(b"y\nand on\nit is ready\nit is ready\n").unwrap();
        let told = scene.drain(number);
        let matched = told.iter().filter(|event| matches!(event, PumpEvent::Matched(..))).count();
        assert_eq!(matched, 1, "{told:?}");
        if is_written {
            let expected = format!("{before}y\nand on\nit is ready\nit is ready\n");
            assert!(all_of(&log) == expected.as_bytes(), "{number}");
        }
    }
}

#[test]
fn a_part_of_a_line_waits_for_its_end_only_until_what_is_waited_for_was_seen() {
    let scene = Scene::new();
    let (pipe, log) = (scene.path("pipe"), scene.path("log"));
    let mut writer = named_pipe(&pipe);
    let awaited = Some("ready".to_owned());
    scene.pump.open(Source { awaited, ..source(1, pipe, Sink::Own(log.clone()), 0, 0) });
    writer.write_all(b"one\nit is ").unwrap();
    wait_until("the first line is there", || log.exists() && all_of(&log) == b"one\n");
    writer.write_all(b"ready: ").unwrap();
    let told = scene.events_until(|_| true);
    assert_eq!(told, [PumpEvent::Matched(Incarnation(1), "ready".to_owned())]);
    wait_until("the part of a line is there", || all_of(&log) == b"one\nit is ready: ");
}
