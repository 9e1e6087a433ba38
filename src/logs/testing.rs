//! What the tests of this room share: named pipes as the keeper holds them, a pump with its events, and a pump in a
//! process of its own that can be killed.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use rustix::fs::{CWD, Mode, mkfifoat};
use tempfile::TempDir;

use super::rotate::rotated;
use super::source::{Format, Keeping, PumpEvent, Sink, Source};
use super::{Pump, kill_tests};
use crate::core::ids::Incarnation;

/// How long a test waits for what must come before it fails.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// Makes a named pipe and holds it open as the keeper does; writing to it waits for room.
pub(super) fn named_pipe(path: &Path) -> File {
    mkfifoat(CWD, path, Mode::RUSR | Mode::WUSR).unwrap();
    OpenOptions::new().read(true).write(true).open(path).unwrap()
}

/// A folder with pipes, logs, a pump and what it told.
pub(super) struct Scene {
    pub(super) folder: TempDir,
    pub(super) pump: Pump,
    events: Receiver<PumpEvent>,
}

impl Scene {
    pub(super) fn new() -> Self {
        let nowhere = OpenOptions::new().write(true).open("/dev/null").unwrap();
        Self::printing_to(nowhere)
    }

    /// With a file in place of Leveret's own output.
    pub(super) fn printing_to(stdout: File) -> Self {
        let (sender, events) = channel();
        let tell = move |event| sender.send(event).unwrap_or_default();
        let pump = Pump::start_with(stdout.into(), tell).unwrap();
        Self { folder: tempfile::tempdir().unwrap(), pump, events }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Opens a new pipe into `sink` and gives the end to print to.
    pub(super) fn open(&self, number: u64, sink: Sink, max_size: u64, keep: u32) -> File {
        let pipe = self.path(&format!("{number}.pipe"));
        let writer = named_pipe(&pipe);
        self.pump.open(source(number, pipe, sink, max_size, keep));
        writer
    }

    /// Finishes the process and waits until it is drained: all that was told by then.
    pub(super) fn drain(&self, number: u64) -> Vec<PumpEvent> {
        self.pump.finish(Incarnation(number));
        self.events_until(|event| *event == PumpEvent::Drained(Incarnation(number)))
    }

    /// All that is told up to the event that is waited for.
    pub(super) fn events_until(&self, wanted: impl Fn(&PumpEvent) -> bool) -> Vec<PumpEvent> {
        let mut events = Vec::new();
        while !events.last().is_some_and(&wanted) {
            events.push(self.events.recv_timeout(PATIENCE).expect("the pump tells it"));
        }
        events
    }
}

pub(super) fn source(number: u64, pipe: PathBuf, sink: Sink, max_size: u64, keep: u32) -> Source {
    let label = format!("orders:{number}");
    let keeping = Keeping { max_size, keep, ..Keeping::default() };
    let format = if sink == Sink::Stdout { Format::Labelled } else { Format::Raw };
    let program = "orders".to_owned();
    Source {
        incarnation: Incarnation(number),
        pipe,
        is_errors: false,
        program,
        label,
        sink,
        format,
        keeping,
        awaited: None,
    }
}

/// The content of a log with its rotated files, the oldest first.
pub(super) fn all_of(path: &Path) -> Vec<u8> {
    let mut all = Vec::new();
    for file in parts_of(path).iter().rev() {
        all.extend_from_slice(&fs::read(file).unwrap());
    }
    all
}

/// The files of a log, the current one first.
pub(super) fn parts_of(path: &Path) -> Vec<PathBuf> {
    (0..).map(|number| rotated(path, number)).take_while(|path| path.exists()).collect()
}

/// Waits until something holds that nobody tells.
pub(super) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let mut rounds = 0;
    while !holds() {
        assert!(rounds < 30_000, "{what}");
        rounds += 1;
        thread::park_timeout(Duration::from_millis(2));
    }
}

/// A pump in a process of its own: this test program, started again for one ignored test.
pub(super) struct PumpProcess {
    child: Child,
    lines: Receiver<String>,
}

impl PumpProcess {
    /// Starts it over the sources and waits until it is about to open them.
    pub(super) fn start(folder: &Path, sources: &[Source]) -> Self {
        let list = folder.join("sources");
        fs::write(&list, sources.iter().map(written).collect::<String>()).unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "logs::kill_tests::the_pump_of_another_process", "--ignored", "--nocapture"])
            .env(kill_tests::SOURCES_VARIABLE, &list)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let process = Self { child, lines };
        process.wait_for_line("ready");
        process
    }

    /// The next line that begins so; those before it are dropped.
    pub(super) fn wait_for_line(&self, beginning: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(PATIENCE).expect("the process says it");
            if let Some(found) = line.find(beginning) {
                return line[found..].to_owned();
            }
        }
    }

    /// What it has said since, without waiting.
    pub(super) fn said(&self) -> Vec<String> {
        self.lines.try_iter().collect()
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The most memory it ever had, in KiB.
    pub(super) fn memory_peak_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    pub(super) fn kill(mut self) {
        self.child.kill().unwrap();
        self.reap();
    }

    /// Finishes all sources and waits until they are drained.
    pub(super) fn finish(mut self) {
        self.child.stdin.take().unwrap().write_all(b"finish\n").unwrap();
        self.wait_for_line("all drained");
        self.kill();
    }

    #[expect(clippy::disallowed_methods, reason = "there is no keeper here, and the test started it")]
    fn reap(&mut self) {
        self.child.wait().unwrap();
    }
}

impl Drop for PumpProcess {
    fn drop(&mut self) {
        // A test that failed half-way leaves no process; one that has been reaped refuses the signal.
        if self.child.kill().is_ok() {
            self.reap();
        }
    }
}

/// A source as a line of text, for the other process.
fn written(source: &Source) -> String {
    let (kind, path) = match &source.sink {
        Sink::Own(path) => ("own", path.to_str().unwrap()),
        Sink::Lines(path) => ("lines", path.to_str().unwrap()),
        Sink::Stdout => ("stdout", ""),
        Sink::LastLine => ("last", ""),
    };
    let pipe = source.pipe.to_str().unwrap();
    let (number, label) = (source.incarnation, &source.label);
    let Keeping { max_size, keep, .. } = source.keeping;
    let is_json = source.format == Format::Json;
    format!("{number}\t{pipe}\t{label}\t{kind}\t{path}\t{max_size}\t{keep}\t{is_json}\n")
}

/// The opposite of [`written`].
pub(super) fn read_back(line: &str) -> Source {
    let fields: Vec<&str> = line.split('\t').collect();
    let sink = match fields[3] {
        "own" => Sink::Own(fields[4].into()),
        "lines" => Sink::Lines(fields[4].into()),
        "last" => Sink::LastLine,
        _ => Sink::Stdout,
    };
    let number = fields[0].parse().unwrap();
    let (max_size, keep) = (fields[5].parse().unwrap(), fields[6].parse().unwrap());
    let mut source = source(number, fields[1].into(), sink, max_size, keep);
    source.label = fields[2].to_owned();
    if fields[7] == "true" {
        source.format = Format::Json;
    }
    source
}
