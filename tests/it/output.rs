//! What processes write: shown by `leveret logs`, followed live, rotated, sent to Leveret's own output, and never able to
//! slow or to swell anything.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::command::{finish, pid_of, wait_for_exit};
use crate::support::daemon::Daemon;
use crate::support::proc;
use crate::support::report::report;
use crate::support::run::{self, script, victim};
use crate::support::wait::{wait_for, wait_for_state};

const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn the_last_lines_of_a_process_are_shown_as_they_are_and_those_of_several_with_their_names() {
    let command = victim("--print-lines 30");
    let daemon = Daemon::start(&format!(
        "programs:\n  one: {{command: {command}}}\n  two: {{command: {command}, processes: 2}}\n"
    ));
    for log in ["one.0.log", "two.0.log", "two.1.log"] {
        wait_lines(&daemon.logs_directory().join(log), 30);
    }
    assert_eq!(daemon.cli_exits(0, &["logs", "one", "-n", "2"]), "line 29\nline 30\n");
    assert_eq!(daemon.cli_exits(0, &["logs", "one"]).lines().count(), 30, "50 unless told otherwise");
    assert_eq!(
        daemon.cli_exits(0, &["logs", "two", "-n", "2"]),
        "two:0 | line 29\ntwo:0 | line 30\ntwo:1 | line 29\ntwo:1 | line 30\n"
    );
    assert_eq!(daemon.cli_exits(0, &["logs", "two:1", "-n", "1"]), "line 30\n");
    assert_eq!(daemon.get_text("/api/v1/logs/one?lines=1"), "line 30\n");
}

#[test]
fn following_merges_the_processes_of_a_program_and_ends_on_ctrl_c_with_0() {
    let command = victim("--print-lines 100000 --rate 20");
    let daemon = Daemon::start(&format!("programs:\n  web: {{command: {command}, processes: 3}}\n"));
    daemon.wait_running("web");
    let output = run::directory("follow").join("output");
    let file = fs::File::create(&output).expect("the directory is ours");
    let mut follower =
        daemon.cli_command(&["logs", "web", "-f", "-n", "0"]).stdout(file).spawn().expect("it starts");
    wait_for("lines of all three", LIMIT, || {
        let text = fs::read_to_string(&output).ok()?;
        let names: BTreeSet<&str> = text.lines().filter_map(|line| Some(line.split_once(" | ")?.0)).collect();
        (names.iter().eq(&["web:0", "web:1", "web:2"]) && text.lines().count() > 30).then_some(())
    });
    proc::signal(pid_of(&follower), Signal::INT);
    assert_eq!(wait_for_exit("leveret logs -f", &mut follower, LIMIT).code(), Some(0));
    let text = fs::read_to_string(&output).expect("it is ours");
    for name in ["web:0", "web:1", "web:2"] {
        let numbers: Vec<u32> = text
            .lines()
            .filter_map(|line| line.strip_prefix(name)?.strip_prefix(" | line ")?.parse().ok())
            .collect();
        assert!(
            numbers.windows(2).all(|pair| pair[1] == pair[0] + 1),
            "{name}: in order, none missing: {numbers:?}"
        );
    }
}

#[test]
fn output_for_leverets_own_comes_by_whole_lines_with_the_process_in_front() {
    let directory = run::directory("stdout");
    let command = script(
        &directory.join("chatter.sh"),
        "i=0\nwhile [ $i -lt 200 ]; do i=$((i + 1)); printf 'first %s, ' $i; printf 'second %s\\n' $i; done\n\
         printf 'without an end' >&2\nexit 0\n",
    );
    let daemon = Daemon::start(&format!(
        "programs:\n  out: {{command: {command}, processes: 3, restart: never, log: {{path: stdout}}}}\n"
    ));
    daemon.wait_program("out", "all three ended", LIMIT, |program| {
        let mut processes = crate::support::status::processes(program);
        processes.all(|process| process["state"] == "exited").then_some(())
    });
    daemon.wait_output_count(" | without an end\n", 3, LIMIT);
    for slot in 0..3 {
        let prefix = format!("out:{slot} | ");
        let output = daemon.output();
        let lines: Vec<&str> = output.lines().filter_map(|line| line.strip_prefix(&prefix)).collect();
        let mut expected: Vec<String> =
            (1..=200).map(|number| format!("first {number}, second {number}")).collect();
        expected.push("without an end".to_owned());
        assert_eq!(lines, expected, "out:{slot}");
    }
    let said = daemon.cli_exits(4, &["logs", "out"]);
    assert!(said.contains("does not go to a file but to Leveret's own output"), "{said}");
    assert!(!daemon.logs_directory().join("out.0.log").exists());
}

#[test]
fn bytes_that_are_no_text_are_kept_in_the_file_and_shown_as_far_as_they_can_be() {
    let directory = run::directory("bytes");
    let command =
        script(&directory.join("bytes.sh"), "printf '\\377\\376 ok \\303\\244\\n'\nexec sleep 1000\n");
    let daemon = Daemon::start(&format!("programs:\n  web: {{command: {command}}}\n"));
    let log = daemon.logs_directory().join("web.0.log");
    wait_for("its line", LIMIT, || fs::read(&log).ok()?.ends_with(b"\n").then_some(()));
    assert_eq!(fs::read(&log).expect("it is there"), b"\xff\xfe ok \xc3\xa4\n");
    assert_eq!(daemon.cli_exits(0, &["logs", "web"]), "\u{fffd}\u{fffd} ok \u{e4}\n");
}

const FLOOD_MB: usize = 200;

#[test]
fn a_flood_grows_no_memory_stops_nobody_and_is_rotated() {
    let directory = run::directory("flood");
    let go = directory.join("go");
    let flood = victim(&format!("--flood-mb {FLOOD_MB} --print-lines 1 --prefix done"));
    // It waits until the test has looked at the memory before.
    let command = script(
        &directory.join("flood.sh"),
        &format!("while [ ! -e {} ]; do sleep 0.05; done\nexec {flood}\n", go.display()),
    );
    let neighbour = victim("--print-lines 100000 --rate 20");
    let daemon = Daemon::start(&format!(
        "programs:
  flood: {{command: {command}, log: {{max_size: 1MiB, keep: 2}}}}
  neighbour: {{command: {neighbour}}}
  web: {{command: sleep 1000}}
"
    ));
    for name in ["flood", "neighbour", "web"] {
        daemon.wait_running(name);
    }
    let controller = daemon.controller_pid();
    let before = peak_memory_kib(controller);
    let neighbours_log = daemon.logs_directory().join("neighbour.0.log");
    let lines_before = count_lines(&neighbours_log);
    fs::write(&go, "").expect("the directory is ours");

    let log = daemon.logs_directory().join("flood.0.log");
    wait_for("the flood", LIMIT, || log.with_file_name("flood.0.log.1").exists().then_some(()));
    daemon.cli_exits(0, &["restart", "web"]);
    wait_for("lines of the neighbour", LIMIT, || (count_lines(&neighbours_log) > lines_before).then_some(()));
    wait_for("the end of the flood", LIMIT, || {
        fs::read_to_string(&log).ok()?.ends_with("\ndone 1\n").then_some(())
    });

    assert_eq!(daemon.controller_pid(), controller, "it is still the same one");
    let grown = peak_memory_kib(controller).saturating_sub(before);
    assert!(grown < 8 * 1024, "the controller grew by {grown} KiB while {FLOOD_MB} MiB went through it");

    let mut files: Vec<String> = fs::read_dir(daemon.logs_directory())
        .expect("the logs have a directory")
        .map(|entry| entry.expect("it can be read").file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with("flood"))
        .collect();
    files.sort();
    assert_eq!(files, ["flood.0.log", "flood.0.log.1", "flood.0.log.2"]);
    for name in ["flood.0.log.1", "flood.0.log.2"] {
        let text = fs::read_to_string(daemon.logs_directory().join(name)).expect("it is text");
        assert!((1024 * 1024..=2 * 1024 * 1024).contains(&text.len()), "{name} has {} bytes", text.len());
        assert!(
            text.ends_with('\n') && text.lines().all(|line| line.len() == 99),
            "{name} is of whole lines"
        );
    }
    assert_eq!(daemon.cli_exits(0, &["logs", "flood", "-n", "1"]), "done 1\n");
}

/// The most memory that a process has ever had resident.
fn peak_memory_kib(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the kernel tells it");
    line.trim().trim_end_matches(" kB").trim().parse().expect("a number of KiB")
}

fn count_lines(path: &Path) -> usize {
    fs::read_to_string(path).unwrap_or_default().lines().count()
}

fn wait_lines(path: &Path, count: usize) {
    wait_for_state("lines in a log", LIMIT, || match count_lines(path) {
        found if found == count => Ok(()),
        found => Err(format!("{found} lines in {}", path.display())),
    });
}

#[test]
fn a_line_that_never_ends_is_cut_where_it_is_shown_and_whole_in_its_file() {
    let directory = run::directory("long");
    let command = script(
        &directory.join("long.sh"),
        "head -c 100000 /dev/zero | tr '\\0' x\necho\necho after\nexec sleep 1000\n",
    );
    let daemon = Daemon::start(&format!("programs:\n  web: {{command: {command}}}\n"));
    let log = daemon.logs_directory().join("web.0.log");
    wait_lines(&log, 2);
    assert_eq!(fs::read_to_string(&log).expect("it is text").lines().next().map(str::len), Some(100_000));
    let shown = daemon.cli_exits(0, &["logs", "web"]);
    assert!(shown.ends_with("x\nafter\n"));
    assert!(shown.lines().all(|line| line.len() <= 16 * 1024), "cut into pieces of 16 KiB");
    assert_eq!(shown.matches('x').count(), 100_000, "and nothing of it is lost");
}

#[test]
fn lines_with_a_format_are_shared_by_programs_and_files_are_opened_anew_on_sigusr1() {
    let directory = run::directory("formats");
    let log = directory.join("all.json");
    let command = victim("--print-lines 200 --rate 2000");
    let again = script(&directory.join("again.sh"), "trap 'echo again' USR1\nwhile :; do sleep 0.05; done\n");
    let daemon = Daemon::start(&format!(
        "defaults: {{log: {{path: {log}, format: json}}}}
programs:
  one: {{command: {command}, processes: 2}}
  two: {{command: {command}}}
  again: {{command: {again}}}
",
        log = log.display()
    ));
    let lines = || -> Vec<serde_json::Value> {
        let text = fs::read_to_string(&log).unwrap_or_default();
        // Whoever reads while a line is being written sees a part of it.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let all = whole.lines().map(|line| serde_json::from_str(line).expect("each line is whole"));
        all.filter(|line: &serde_json::Value| line["event"].is_null()).collect()
    };
    wait_for_state("all lines", LIMIT, || match lines().len() {
        600 => Ok(()),
        found => Err(format!("{found} lines")),
    });
    for process in ["one:0", "one:1", "two"] {
        let of_it: Vec<_> = lines().into_iter().filter(|line| line["process"] == process).collect();
        let texts: Vec<_> =
            of_it.iter().map(|line| line["line"].as_str().expect("a text").to_owned()).collect();
        assert_eq!(texts, (1..=200).map(|number| format!("line {number}")).collect::<Vec<_>>(), "{process}");
        assert!(of_it.iter().all(|line| line["program"] == process.split(':').next().expect("a name")));
    }
    let moved = directory.join("all.json-moved");
    fs::rename(&log, &moved).expect("the directory is ours");
    daemon.signal(Signal::USR1);
    daemon.wait_output("log files are opened anew", LIMIT);
    daemon.cli_exits(0, &["signal", "again", "USR1"]);
    wait_for("the line at the path", LIMIT, || (lines().len() == 1).then_some(()));
    assert_eq!(lines()[0]["line"], "again");
    let events: BTreeSet<String> = fs::read_to_string(&moved)
        .expect("it is text")
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter_map(|line| Some(format!("{}: {}", line["process"], line["event"].as_str()?)))
        .collect();
    let started = |process: &str| {
        events.iter().any(|event| event.starts_with(&format!("\"{process}\": started as pid ")))
    };
    assert!(["one:0", "one:1", "two", "again"].into_iter().all(started), "{events:?}");
}

#[test]
fn the_live_view_of_a_raw_file_tells_what_becomes_of_the_process_between_whole_lines() {
    let command = victim("--print-lines 3 --exit-after 0.5 --exit-code 7");
    let daemon = Daemon::start(&format!(
        "programs:\n  web: {{command: {command}, backoff: {{initial: 1s, max: 1s}}}}\n"
    ));
    let output = run::directory("live").join("output");
    let file = fs::File::create(&output).expect("the directory is ours");
    let mut follower =
        daemon.cli_command(&["logs", "web", "-f", "-n", "0"]).stdout(file).spawn().expect("it starts");
    let text = wait_for("two lives", LIMIT, || {
        let text = fs::read_to_string(&output).ok()?;
        (text.matches("* ended with exit code 7").count() > 1).then_some(text)
    });
    proc::signal(pid_of(&follower), Signal::INT);
    wait_for_exit("leveret logs -f", &mut follower, LIMIT);
    assert!(text.lines().any(|line| line.starts_with("* started as pid ")), "{text}");
    assert!(text.lines().all(|line| line.starts_with("* ") || line.starts_with("line ")), "{text}");
    let log = fs::read_to_string(daemon.logs_directory().join("web.0.log")).expect("it is text");
    assert!(log.lines().all(|line| line.starts_with("line ")), "raw is what was printed: {log}");
}

/// A directory on a disk of its own of one megabyte, where one may be mounted.
fn small_disk(directory: &Path) -> Option<SmallDisk> {
    let mut mount = run::command("mount", &run::unique("mount"));
    mount.args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(directory);
    finish("mount", mount, LIMIT).status.success().then(|| SmallDisk(directory.to_owned()))
}

struct SmallDisk(std::path::PathBuf);

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let mut unmount = run::command("umount", &run::unique("umount"));
        unmount.arg("--lazy").arg(&self.0);
        finish("umount", unmount, LIMIT);
    }
}

#[test]
fn a_full_disk_halts_nobody_is_told_once_and_is_used_again_when_there_is_room() {
    let directory = run::directory("full");
    let place = directory.join("disk");
    fs::create_dir(&place).expect("the directory is ours");
    let Some(disk) = small_disk(&place) else {
        return report("nothing: no small disk can be mounted here, which takes root");
    };
    let flood = victim("--flood-mb 20 --exit-code 0");
    let line = victim("--print-lines 100000 --rate 20");
    let go = directory.join("go");
    let command = script(
        &directory.join("flood.sh"),
        &format!(
            "while [ ! -e {} ]; do sleep 0.05; done\n{flood}\ntouch {}\nexec sleep 1000\n",
            go.display(),
            directory.join("through").display()
        ),
    );
    let place = place.display();
    let daemon = Daemon::start(&format!(
        "programs:
  flood: {{command: {command}, log: {{path: {place}/flood.log, max_size: 0}}}}
  line: {{command: {line}, log: {{path: {place}/line.log, format: prefixed}}}}
"
    ));
    daemon.wait_running("flood");
    daemon.wait_running("line");
    fs::write(&go, "").expect("the directory is ours");
    let through = directory.join("through");
    wait_for("the end of the flood, which nothing halts", LIMIT, || through.exists().then_some(()));
    daemon.wait_output("No space left on device; it is dropped until there is room", LIMIT);
    let dropped = |program: &str| -> f64 {
        let beginning = format!("leveret_log_dropped_bytes_total{{program=\"{program}\"}} ");
        let metrics = daemon.get_text("/metrics");
        let line = metrics.lines().find_map(|line| line.strip_prefix(&beginning)).expect("it is exported");
        line.parse().expect("a number")
    };
    wait_for("what was dropped in the metrics", LIMIT, || (dropped("flood") > 10e6).then_some(()));
    // What the flood left of the disk.
    let mut filler = fs::File::create(disk.0.join("filler")).expect("it has a place");
    while filler.write_all(b"x").is_ok() {}
    wait_for("the other one refused, too", LIMIT, || (dropped("line") > 0.0).then_some(()));
    // There is room again.
    for name in ["flood.log", "filler"] {
        fs::write(disk.0.join(name), "").expect("it is ours");
    }
    daemon.wait_output("bytes were dropped meanwhile", LIMIT);
    let log = disk.0.join("line.log");
    let lines = count_lines(&log);
    wait_for("more lines", LIMIT, || (count_lines(&log) > lines).then_some(()));
    let text = fs::read_to_string(&log).expect("it is text");
    assert!(
        text.lines().all(|line| line.contains(" line | line ") || line.contains(" line * ")),
        "every line is whole:\n{text}"
    );
    let output = daemon.output();
    assert_eq!(output.matches("it is dropped until there is room").count(), 1, "{output}");
    assert_eq!(output.matches("bytes were dropped meanwhile").count(), 1, "{output}");
}
