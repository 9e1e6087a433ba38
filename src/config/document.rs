//! One file of the configuration, read, expanded and checked, with what is needed to point at its keys.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use super::problem::Problem;
use super::source::{Place, Source};
use super::tree::{Entry, Kind, Mistake, Node};
use super::{check, interpolation, schema, secrets, tree};

/// A file and the places of its keys.
#[derive(Debug)]
pub(super) struct Document {
    /// The file.
    pub(super) source: Source,
    root: Node,
}

impl Document {
    /// Reads a file as a tree in which all is expanded; what is wrong goes to `problems`. Nothing is left of a file that
    /// is not YAML.
    pub(super) fn open(
        mut source: Source,
        environment: &BTreeMap<String, String>,
        problems: &mut Vec<Problem>,
    ) -> Option<Self> {
        let (root, mistakes) = tree::parse(&source);
        let hidden = match &root {
            Some(root) => secrets::in_tree(source.text(), root),
            None => secrets::in_lines(source.text()),
        };
        source.hide(hidden);
        problems.extend(mistakes.into_iter().map(|mistake| problem_of(&source, mistake)));
        let mut root = root?;

        interpolation::expand_all(&mut root, &source, environment, problems);
        Some(Self { source, root })
    }

    /// What the file says as a `T`, without what is wrong with it, which goes to `problems`.
    pub(super) fn read<T: JsonSchema + DeserializeOwned>(&self, problems: &mut Vec<Problem>) -> Option<T> {
        let checked = check::check(&self.source, &self.root, &schema::of::<T>(), problems);
        // The error is not shown, because it may quote a secret; the check leaves nothing that could cause one.
        let read = serde_yaml::from_value(checked);
        if read.is_err() {
            let message = "Leveret accepts this file and cannot read it; please report it".to_owned();
            problems.push(Problem::of_file(&self.source.name, message));
        }
        read.ok()
    }

    /// The texts of a list at the top of the file, before anybody has checked them.
    pub(super) fn texts_in(&self, key: &str) -> impl Iterator<Item = &str> {
        let items = match self.root.entry(key).map(|entry| &entry.value.kind) {
            Some(Kind::List(items)) => &items[..],
            Some(Kind::Scalar(_) | Kind::Map(_)) | None => &[],
        };
        items.iter().filter_map(|item| match &item.kind {
            Kind::Scalar(scalar) if !scalar.broken && !scalar.text.is_empty() => Some(scalar.text.as_str()),
            Kind::Scalar(_) | Kind::List(_) | Kind::Map(_) => None,
        })
    }

    /// The entries of a section at the top of the file.
    pub(super) fn entries_in(&self, section: &str) -> &[Entry] {
        self.root.entry(section).map_or(&[], |entry| entry.value.entries())
    }

    /// An entry of a section at the top of the file, by its position.
    pub(super) fn entry_in(&mut self, section: &str, position: usize) -> Option<&mut Entry> {
        let Kind::Map(sections) = &mut self.root.kind else { return None };
        let section = sections.iter_mut().find(|entry| entry.key == section)?;
        match &mut section.value.kind {
            Kind::Map(entries) => entries.get_mut(position),
            Kind::Scalar(_) | Kind::List(_) => None,
        }
    }

    /// The names in a section at the top of the file, also of entries with mistakes.
    pub(super) fn names_in(&self, section: &str) -> impl Iterator<Item = &str> {
        self.entries_in(section).iter().map(|entry| entry.key.as_str())
    }

    /// Whether there is something at a path of keys.
    pub(super) fn has(&self, path: &[&str]) -> bool {
        self.walk(path).1 == path.len()
    }

    /// A problem with the value at a path of keys, or with the nearest key above it that is written.
    pub(super) fn problem(&self, path: &[&str], message: impl Into<String>) -> Problem {
        Problem::new(&self.source, self.walk(path).0, &path.join("."), message.into())
    }

    /// The keys of this file that there are problems with so far.
    pub(super) fn reported(&self, problems: &[Problem]) -> Reported {
        let own = problems.iter().filter(|problem| problem.file == self.source.name);
        Reported(own.map(|problem| problem.key.clone()).collect())
    }

    /// The line of a key, from 1.
    pub(super) fn line(&self, path: &[&str]) -> usize {
        self.source.line(self.walk(path).0)
    }

    /// Where the value at `path` is, or of the last key on the way there that exists, and how many keys exist.
    fn walk(&self, path: &[&str]) -> (Place, usize) {
        let mut node = &self.root;
        let mut place = Place::default();
        for (depth, key) in path.iter().enumerate() {
            let Some(entry) = node.entry(key) else { return (place, depth) };
            node = &entry.value;
            place = match &node.kind {
                Kind::Scalar(_) if node.place.start < node.place.end => node.place,
                Kind::Scalar(_) | Kind::List(_) | Kind::Map(_) => entry.place,
            };
        }
        (place, path.len())
    }
}

/// Keys with a known problem. What is built on a value that was refused would only be the same mistake again.
#[derive(Debug)]
pub(super) struct Reported(BTreeSet<String>);

impl Reported {
    /// Whether there is a problem with the key at `path` or with one below it.
    pub(super) fn has(&self, path: &[&str]) -> bool {
        let path = path.join(".");
        let below = format!("{path}.");
        self.0.contains(&path)
            || self.0.range(below.clone()..).next().is_some_and(|key| key.starts_with(&below))
    }
}

fn problem_of(source: &Source, mistake: Mistake) -> Problem {
    let mut problem = Problem::new(source, mistake.place, &mistake.key, mistake.message);
    if let Some(suggestion) = mistake.suggestion {
        problem = problem.suggest(suggestion);
    }
    match mistake.first {
        Some(first) => problem.because_of(source, first, "first written here"),
        None => problem,
    }
}
