//! From processes to the programs that a configuration would have in their place. Values only.

use std::collections::{BTreeMap, BTreeSet};

use super::process::{Launch, Runner};
use super::recording::{Recording, Seen};
use super::redaction::Shown;
use crate::amqp::management::census::QueueName;
use crate::core::ids::{NAME_BYTES_MAX, ProgramName};

/// What the name of a program is made of where its queue has no letter that a name may have.
const NAMELESS: &str = "consumer";

/// Processes that are alike.
#[derive(Clone, Debug)]
pub(super) struct Program {
    /// Its name in the configuration.
    pub(super) name: String,
    pub(super) launch: Launch,
    /// Its command without secrets.
    pub(super) shown: Shown,
    /// The queues that each process takes from.
    pub(super) queues: Vec<QueueName>,
    /// Whether it takes from queues that nobody names as well.
    pub(super) polls_unknown: bool,
    /// Who runs them.
    pub(super) runners: BTreeSet<Runner>,
    /// Their numbers.
    pub(super) pids: Vec<i32>,
    /// The most of them at one time.
    pub(super) processes: u32,
    /// The most consumers that one process has at one queue.
    pub(super) consumers_each: u32,
}

impl Program {
    /// The virtual host of its queues; of several, the first.
    pub(super) fn vhost(&self) -> Option<&str> {
        self.queues.first().map(|name| name.vhost.as_str())
    }
}

/// What processes of one program have in common.
type Kind<'a> = (BTreeSet<&'a QueueName>, &'a Launch);

/// All programs, by their queues.
pub(super) fn programs(recording: &Recording) -> Vec<Program> {
    let mut alike: BTreeMap<Kind<'_>, Vec<(i32, &Seen)>> = BTreeMap::new();
    for (identity, seen) in &recording.processes {
        if seen.queues.is_empty() && seen.polls.is_empty() {
            continue;
        }
        let key = (seen.queues.iter().collect(), &seen.process.launch);
        alike.entry(key).or_default().push((identity.pid, seen));
    }
    let mut taken = BTreeSet::new();
    let mut programs = Vec::new();
    for ((queues, launch), processes) in alike {
        let queues: Vec<QueueName> = queues.into_iter().cloned().collect();
        let name = name(&queues, &launch.words, &taken);
        taken.insert(name.clone());
        let seen = || processes.iter().map(|(_, seen)| *seen);
        programs.push(Program {
            shown: Shown::of(&name, &launch.words),
            name,
            launch: launch.clone(),
            queues,
            polls_unknown: seen().any(|seen| !seen.polls.is_empty()),
            runners: seen().map(|seen| seen.process.runner.clone()).collect(),
            pids: processes.iter().map(|(pid, _)| *pid).collect(),
            processes: recording.most_at_once(seen()).max(1),
            consumers_each: seen().map(|seen| seen.consumers).max().unwrap_or(1).max(1),
        });
    }
    programs
}

/// A name that no other has: that of the queue, or of the script where there are several queues or another has the first.
fn name(queues: &[QueueName], words: &[String], taken: &BTreeSet<String>) -> String {
    let script = script(words);
    let wanted = match queues {
        [only] => only.queue.clone(),
        _ => script.clone(),
    };
    let first = fit(&wanted);
    let candidates = [first.clone(), fit(&format!("{wanted}-{script}"))];
    let numbered = (2..).map(|number| {
        let number = format!("-{number}");
        let mut name = first.clone();
        name.truncate(NAME_BYTES_MAX - number.len());
        name + &number
    });
    let mut names = candidates.into_iter().chain(numbered);
    names.find(|name| !taken.contains(name)).unwrap_or(first)
}

/// What is run: the first word behind the interpreter that looks like a file, else the program itself.
fn script(words: &[String]) -> String {
    let stem = |word: &str| {
        // A process may have written a title in place of its command; what follows its first word may be anything.
        let word = word.split_whitespace().next().unwrap_or(word).trim_end_matches(':');
        let file = word.rsplit('/').next().unwrap_or(word);
        file.rsplit_once('.').filter(|(stem, _)| !stem.is_empty()).map_or(file, |(stem, _)| stem).to_owned()
    };
    let is_file = |word: &&String| {
        let ends = [".php", ".py", ".rb", ".js", ".mjs", ".ts", ".pl", ".sh", ".jar", ".exs"];
        !word.starts_with('-') && ends.iter().any(|end| word.ends_with(end))
    };
    let script = words.iter().skip(1).find(is_file).or(words.first());
    script.map_or_else(|| NAMELESS.to_owned(), |word| stem(word))
}

/// With what a name may not have replaced.
pub(super) fn fit(text: &str) -> String {
    let fitting = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let mut name = String::new();
    for c in text.chars() {
        match c {
            c if fitting(c) => name.push(c),
            _ if name.ends_with('-') => {}
            _ => name.push('-'),
        }
    }
    let mut name = name.trim_start_matches(['-', '.']).trim_end_matches('-').to_owned();
    name.truncate(NAME_BYTES_MAX);
    if ProgramName::new(name.as_str()).is_ok() { name } else { NAMELESS.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amqp::management::census::{Found, Takes};
    use crate::cli::observe::recording::tests::{consumes, launched, place, taker};

    fn found(takers: &[(u16, &str)], command: impl Fn(i32) -> String) -> Vec<Program> {
        let takers = takers.iter().map(|(port, queue)| taker(*port, consumes(queue))).collect();
        let mut recording = Recording::default();
        let found = Found { takers, ..Found::default() };
        recording.note_look(0, &found, place, |identity| Some(launched(&command(identity.pid))));
        programs(&recording)
    }

    #[test]
    fn a_title_names_a_program_by_its_first_word_alone() {
        assert_eq!(script(&["worker: orders password=hunter2".to_owned()]), "worker");
        assert_eq!(script(&["/usr/bin/php8.2".to_owned(), "bin/consume.php".to_owned()]), "consume");
    }

    #[test]
    fn processes_with_the_same_queues_and_command_are_one_program() {
        let takers =
            [(1_000, "orders"), (1_001, "orders"), (1_002, "mails"), (1_002, "low"), (1_003, "mails")];
        let found = found(&takers, |_| "php /srv/work.php".to_owned());
        let told: Vec<_> = found.iter().map(|program| (program.name.as_str(), program.processes)).collect();
        assert_eq!(told, [("work", 1), ("mails", 1), ("orders", 2)]);
        assert_eq!(found[2].pids, [1_000, 1_001]);
        assert_eq!((found[0].queues.len(), found[0].vhost()), (2, Some("/")));
    }

    #[test]
    fn other_commands_are_other_programs_with_names_of_their_own() {
        let takers = [(1_000, "orders"), (1_001, "orders"), (1_002, "orders"), (1_003, "orders")];
        let found = found(&takers, |pid| format!("python3 -u run.py --worker {pid}"));
        let names: Vec<_> = found.iter().map(|program| program.name.as_str()).collect();
        assert_eq!(names, ["orders", "orders-run", "orders-2", "orders-3"]);
    }

    #[test]
    fn names_are_such_as_a_configuration_takes() {
        for (queue, expected) in [
            ("orders", "orders"),
            ("shop/orders: new!", "shop-orders-new"),
            ("..orders", "orders"),
            ("all", "consumer"),
            ("größe", "gr-e"),
            ("キュー", "consumer"),
            ("", "consumer"),
        ] {
            assert_eq!(fit(queue), expected, "{queue}");
        }
        let long = "q".repeat(80);
        let found = found(&[(1_000, &long), (1_001, &long), (1_002, &long)], |pid| format!("work {pid}"));
        assert!(found.iter().all(|program| ProgramName::new(program.name.clone()).is_ok()), "{found:?}");
        assert_eq!(found.iter().map(|program| &program.name).collect::<BTreeSet<_>>().len(), 3);
    }

    #[test]
    fn a_worker_whose_queue_nobody_names_is_a_program_without_one() {
        let mut recording = Recording::default();
        let found = Found { takers: vec![taker(1_000, Takes::Polls)], ..Found::default() };
        recording.note_look(0, &found, place, |_| Some(launched("/usr/bin/php artisan queue:work")));
        let found = programs(&recording);
        assert_eq!((found[0].name.as_str(), found[0].polls_unknown, found[0].queues.len()), ("php", true, 0));
    }
}
