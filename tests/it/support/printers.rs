//! Programs that print numbered lines and keep books of their own: which lives they began, and how far each one came.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::daemon::Daemon;
use super::run::{self, script, victim};

/// The lives that each process began, by process: `web:3`, also where a program has only one.
pub(crate) type Lives = BTreeMap<String, Vec<u64>>;

/// A directory with the books, and the command that writes them.
#[derive(Debug)]
pub(crate) struct Printers {
    directory: PathBuf,
    command: String,
}

impl Printers {
    /// Each process prints so many lines a second until SIGTERM and exits with 10 and its slot.
    pub(crate) fn new(lines_per_second: usize) -> Self {
        let directory = run::directory("printers");
        let shown = directory.display();
        let printer = victim(&format!(
            "--pids {shown}/starts --role $LEVERET_PROGRAM:$LEVERET_SLOT/$LEVERET_INCARNATION --rate {lines_per_second} \
             --print-until-term {shown}/printed.$LEVERET_PROGRAM.$LEVERET_SLOT --term-exit-code $((10 + LEVERET_SLOT))"
        ));
        let command = script(&directory.join("print.sh"), &format!("exec {printer}\n"));
        Self { directory, command }
    }

    /// Has processes of any user write into the books.
    pub(crate) fn open_to_all(&self) {
        let mode = fs::Permissions::from_mode(0o777);
        fs::set_permissions(&self.directory, mode).expect("the directory is ours");
    }

    pub(crate) fn command(&self) -> &str {
        &self.command
    }

    /// The command of a program that does this instead, and writes down its lives as well.
    pub(crate) fn other_command(&self, name: &str, body: &str) -> String {
        let starts = self.directory.join("starts");
        let text = format!(
            "echo $LEVERET_PROGRAM:$LEVERET_SLOT/$LEVERET_INCARNATION $$ >> {}\n{body}\n",
            starts.display()
        );
        script(&self.directory.join(name), &text)
    }

    /// What the processes themselves wrote down at their starts. Panics if a life began twice.
    pub(crate) fn lives(&self) -> Lives {
        let text = fs::read_to_string(self.directory.join("starts")).expect("they wrote");
        let mut lives = Lives::new();
        for line in text.lines() {
            let (role, _) = line.split_once(' ').expect("a role and a pid");
            let (process, life) = role.split_once('/').expect("the role has both");
            lives.entry(process.to_owned()).or_default().push(life.parse().expect("a number"));
        }
        let mut all: Vec<u64> = lives.values().flatten().copied().collect();
        all.sort_unstable();
        assert!(all.windows(2).all(|pair| pair[0] != pair[1]), "a life was started twice: {lives:?}");
        lives
    }

    /// How many lives began so far.
    pub(crate) fn begun(&self) -> usize {
        fs::read_to_string(self.directory.join("starts")).unwrap_or_default().lines().count()
    }

    /// The pid of the last life that a process began.
    pub(crate) fn last_pid(&self, process: &str) -> Option<i32> {
        let text = fs::read_to_string(self.directory.join("starts")).ok()?;
        let of_it = text.lines().rev().filter_map(|line| line.strip_prefix(process)?.strip_prefix('/'));
        of_it.filter_map(|life| life.split_once(' ')?.1.parse().ok()).next()
    }

    /// How many lines each life of a process says that it has printed; those that were killed say nothing.
    pub(crate) fn said(&self, process: &str) -> Vec<usize> {
        let path = self.directory.join(format!("printed.{}", file_name(process)));
        let text = fs::read_to_string(path).unwrap_or_default();
        text.lines().map(|line| line.parse().expect("a number")).collect()
    }
}

/// What is in the file of a process.
pub(crate) fn log(daemon: &Daemon, process: &str) -> String {
    let path: &Path = &daemon.logs_directory().join(format!("{}.log", file_name(process)));
    fs::read_to_string(path).unwrap_or_default()
}

/// How far each life came that is in the file of a process. Panics unless each counts from 1 without a gap.
pub(crate) fn printed(daemon: &Daemon, process: &str) -> Vec<usize> {
    let mut ends = Vec::new();
    for line in log(daemon, process).lines() {
        let number: usize = line
            .strip_prefix("line ")
            .and_then(|number| number.parse().ok())
            .unwrap_or_else(|| panic!("{process}: {line:?}"));
        match ends.last_mut() {
            Some(last) if number == *last + 1 => *last = number,
            Some(_) | None => {
                assert_eq!(number, 1, "{process}: it follows {:?}", ends.last());
                ends.push(1);
            }
        }
    }
    ends
}

fn file_name(process: &str) -> String {
    process.replace(':', ".")
}
