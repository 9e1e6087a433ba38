//! Programs that take keys of others: `extends`, followed in the trees of all files before they are checked.
//!
//! A key that is taken keeps a mark of who took it: what is wrong with its value is told where it is written, once, and
//! not again for everyone who takes it. What is lacking is told of the one who lacks it.

use std::collections::BTreeMap;
use std::path::Path;

use super::check::is_left_out;
use super::document::Document;
use super::problem::Problem;
use super::program::{OWN_OUTPUT, SEPARATE};
use super::source::{Place, path_in};
use super::suggestion::nearest;
use super::tree::{Entry, Kind, Node};

/// The key.
const KEY: &str = "extends";

/// Where there are entries that others can take keys of. A template does not run.
const SECTIONS: [&str; 2] = ["programs", "templates"];

/// How many others an entry may extend, one through the other.
const CHAIN_MAX: usize = 16;

/// Keys that mean something only in place of each other: who writes one of a group takes none of the other groups.
const INSTEAD: [(&str, &[&[&str]]); 2] =
    [("", &[&["processes"], &["scale"], &["schedule"]]), ("stop", &[&["steps"], &["signal", "timeout"]])];

/// Sections that say one thing in one of several ways, and so are taken whole.
const WHOLE: [&str; 2] = ["ready", "health"];

/// Gives every entry the keys that it takes from others, and reports those that cannot be.
pub(super) fn resolve(documents: &mut [Document], problems: &mut Vec<Problem>) {
    refuse_shared_names(documents, problems);
    let mut outcome = Vec::new();
    let bases = Bases::of(documents);
    for (index, document) in documents.iter().enumerate() {
        for section in SECTIONS {
            for (position, entry) in document.entries_in(section).iter().enumerate() {
                if let Some(name) = named(&entry.value) {
                    let extended = bases.extended(documents, Heir { index, section, entry, name }, problems);
                    outcome.push((index, section, position, extended));
                }
            }
        }
    }
    for (index, section, position, extended) in outcome {
        if let Some(entry) = documents[index].entry_in(section, position) {
            match extended {
                Some(node) => entry.value = node,
                None => mark_as_reported(&mut entry.value),
            }
        }
    }
}

/// Whose keys a program or a template takes; nothing where that cannot be read, which is told with its type.
fn named(node: &Node) -> Option<&str> {
    let value = &node.entry(KEY)?.value;
    match &value.kind {
        Kind::Scalar(scalar) if !scalar.broken && !scalar.is_null() && !is_left_out(value) => {
            Some(&scalar.text)
        }
        Kind::Scalar(_) | Kind::List(_) | Kind::Map(_) => None,
    }
}

/// A template and a program of one name could not be told apart.
fn refuse_shared_names(documents: &[Document], problems: &mut Vec<Problem>) {
    for document in documents {
        for name in document.names_in("templates") {
            if documents.iter().any(|other| other.names_in("programs").any(|program| program == name)) {
                let message = format!("`{name}` is the name of a program as well");
                let problem = document.problem(&["templates", name], message);
                problems.push(problem.suggest("give the template a name of its own"));
            }
        }
    }
}

/// Who takes keys of others.
struct Heir<'a> {
    /// Which file it is in.
    index: usize,
    section: &'a str,
    entry: &'a Entry,
    /// Whose keys it takes.
    name: &'a str,
}

/// What can be extended, by name: the file, and what is written there.
struct Bases<'a>(BTreeMap<&'a str, (usize, &'a Node)>);

impl<'a> Bases<'a> {
    fn of(documents: &'a [Document]) -> Self {
        let mut bases = BTreeMap::new();
        for section in SECTIONS {
            for (index, document) in documents.iter().enumerate() {
                for entry in document.entries_in(section) {
                    bases.entry(entry.key.as_str()).or_insert((index, &entry.value));
                }
            }
        }
        Self(bases)
    }

    /// The entry with all that it takes, or nothing if that was refused.
    fn extended(&self, documents: &[Document], heir: Heir<'_>, problems: &mut Vec<Problem>) -> Option<Node> {
        let document = &documents[heir.index];
        let own = heir.entry.key.as_str();
        let mut wrong = |message: String, suggestion: String| {
            let problem = document.problem(&[heir.section, own, KEY], message);
            problems.push(problem.suggest(suggestion));
        };
        if !self.0.contains_key(heir.name) {
            let hint = match nearest(heir.name, self.0.keys().copied().filter(|name| *name != own)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "write the name of a program, or of an entry under `templates`".to_owned(),
            };
            wrong(format!("there is no program and no template `{}`", heir.name), hint);
            return None;
        }
        let mut way = vec![own];
        let mut bases = Vec::new();
        let mut next = Some(heir.name);
        while let Some((name, (index, node))) = next.and_then(|name| self.0.get_key_value(name)) {
            if *name == own {
                // Told once, by the one whose name comes first.
                if way.iter().all(|name| *name >= own) {
                    way.push(own);
                    let message = format!("these extend each other in a circle: {}", way.join(" -> "));
                    wrong(message, format!("leave one `{KEY}` out"));
                }
                return None;
            }
            if way.contains(name) {
                // The circle is that of others, who tell it.
                return None;
            }
            if bases.len() == CHAIN_MAX {
                let message = format!("`{own}` extends more than {CHAIN_MAX} others, one through the other");
                wrong(message, "extend fewer".to_owned());
                return None;
            }
            way.push(name);
            bases.push((*index, *node));
            next = named(node);
        }
        let place = heir.entry.value.entry(KEY)?.value.place;
        let mut extended = heir.entry.value.clone();
        for (index, base) in bases {
            let mut base = base.clone();
            if index != heir.index {
                let directory = &documents[index].source.directory;
                move_to(&mut base, place, directory);
            }
            take(&mut extended, base, &mut Vec::new(), place);
        }
        Some(extended)
    }
}

/// Adds to `own` what it does not have of `base`. `place` is where it is written that it does so.
fn take(own: &mut Node, base: Node, path: &mut Vec<String>, place: Place) {
    let (Kind::Map(own), Kind::Map(base)) = (&mut own.kind, base.kind) else { return };
    let section = path.join(".");
    // A variable may well be empty; of anything else that means that it is not written.
    own.retain(|entry| section == "environment" || !is_left_out(&entry.value));
    let excluded: Vec<&str> =
        INSTEAD.iter().filter(|(of, _)| *of == section).flat_map(|(_, groups)| others(own, groups)).collect();
    for mut entry in base {
        if entry.key == KEY || excluded.contains(&entry.key.as_str()) {
            continue;
        }
        match own.iter_mut().find(|written| written.key == entry.key) {
            Some(written) => {
                path.push(entry.key);
                if is_joined(path) {
                    take(&mut written.value, entry.value, path, place);
                }
                path.pop();
            }
            None => {
                entry.taken_at = Some(place);
                own.push(entry);
            }
        }
    }
}

/// The keys of the groups that are not written, where one of the groups is.
fn others<'a>(own: &[Entry], groups: &'a [&'a [&'a str]]) -> Vec<&'a str> {
    let is_written = |group: &[&str]| own.iter().any(|entry| group.contains(&entry.key.as_str()));
    if !groups.iter().any(|group| is_written(group)) {
        return Vec::new();
    }
    groups.iter().filter(|group| !is_written(group)).flat_map(|group| group.iter().copied()).collect()
}

/// Whether a section is taken key by key and not as a whole.
fn is_joined(path: &[String]) -> bool {
    match path {
        [section] => !WHOLE.contains(&section.as_str()),
        [section, key] => section == "restart" && key == "codes",
        _ => false,
    }
}

/// What is told of a value that is written in another file is told where it is taken, and its relative paths begin
/// where they are written.
fn move_to(node: &mut Node, place: Place, directory: &Path) {
    for entry in entries(node) {
        match entry.key.as_str() {
            "directory" => settle(&mut entry.value, directory),
            "log" => {
                let files = entries(&mut entry.value).iter_mut();
                let files = files.filter(|inner| ["path", "stderr"].contains(&inner.key.as_str()));
                files.for_each(|inner| settle(&mut inner.value, directory));
            }
            "env_file" => settle_files(&mut entry.value, directory),
            _ => {}
        }
    }
    set_place(node, place);
}

fn settle_files(node: &mut Node, directory: &Path) {
    match &mut node.kind {
        Kind::Scalar(_) => settle(node, directory),
        Kind::List(items) => items.iter_mut().for_each(|item| settle_files(item, directory)),
        Kind::Map(entries) => {
            let paths = entries.iter_mut().filter(|entry| entry.key == "path");
            paths.for_each(|entry| settle(&mut entry.value, directory));
        }
    }
}

fn settle(node: &mut Node, directory: &Path) {
    if let Kind::Scalar(scalar) = &mut node.kind
        && !scalar.text.is_empty()
        && !OWN_OUTPUT.contains(&scalar.text.as_str())
        && scalar.text != SEPARATE
        // The path is text that came from text.
        && let Some(path) = path_in(directory, Path::new(&scalar.text)).to_str()
    {
        scalar.text = path.to_owned();
    }
}

fn set_place(node: &mut Node, place: Place) {
    node.place = place;
    match &mut node.kind {
        Kind::Scalar(_) => {}
        Kind::List(items) => items.iter_mut().for_each(|item| set_place(item, place)),
        Kind::Map(entries) => {
            for entry in entries {
                entry.place = place;
                set_place(&mut entry.value, place);
            }
        }
    }
}

fn entries(node: &mut Node) -> &mut [Entry] {
    match &mut node.kind {
        Kind::Map(entries) => entries,
        Kind::Scalar(_) | Kind::List(_) => &mut [],
    }
}

/// So that nobody asks for what would have come from there.
fn mark_as_reported(node: &mut Node) {
    for entry in entries(node) {
        if entry.key == KEY
            && let Kind::Scalar(scalar) = &mut entry.value.kind
        {
            scalar.broken = true;
        }
    }
}
