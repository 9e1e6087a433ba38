//! `${NAME}`, `${NAME:-default}` and `${file:PATH}` in values.
//!
//! Expansion works on the values of the finished tree, never on the text of the file and never on keys, so that what
//! a variable contains cannot become YAML. What it expands to is never shown in a message, since it may be a secret.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::problem::Problem;
use super::source::{FILE_BYTES_MAX, Source};
use super::tree::{Kind, Node, Scalar};
use crate::core::check::OWN_NAMES;

/// How to write a `${` that is meant literally.
const LITERAL_HINT: &str = "write `$${` where a literal `${` is meant";

/// Expands all values below `node`; one that cannot be expanded is marked and reported.
pub(super) fn expand_all(
    node: &mut Node,
    source: &Source,
    environment: &BTreeMap<String, String>,
    problems: &mut Vec<Problem>,
) {
    let expansion = Expansion { environment, directory: &source.directory };
    expansion.node(node, "", &mut |problem, node, key| {
        problems.push(Problem::new(source, node.place, key, problem.message).suggest(problem.suggestion));
    });
}

/// Why a value cannot be expanded.
#[derive(Debug, PartialEq, Eq)]
struct CannotExpand {
    message: String,
    suggestion: String,
}

struct Expansion<'a> {
    environment: &'a BTreeMap<String, String>,
    directory: &'a Path,
}

impl Expansion<'_> {
    fn node(&self, node: &mut Node, key: &str, report: &mut dyn FnMut(CannotExpand, &Node, &str)) {
        match &mut node.kind {
            Kind::Map(entries) => {
                for entry in entries {
                    let key = if key.is_empty() { entry.key.clone() } else { format!("{key}.{}", entry.key) };
                    self.node(&mut entry.value, &key, report);
                }
            }
            Kind::List(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    self.node(item, &format!("{key}[{index}]"), report);
                }
            }
            Kind::Scalar(scalar) => {
                if let Err(problem) = self.scalar(scalar, is_of_each_process(key)) {
                    scalar.broken = true;
                    report(problem, node, key);
                }
            }
        }
    }

    fn scalar(&self, scalar: &mut Scalar, keeps_own_names: bool) -> Result<(), CannotExpand> {
        if let Some(text) = self.text(&scalar.text, keeps_own_names)? {
            scalar.written = Some(std::mem::replace(&mut scalar.text, text));
        }
        Ok(())
    }

    /// The expanded text, or `None` where there is nothing to expand.
    fn text(&self, text: &str, keeps_own_names: bool) -> Result<Option<String>, CannotExpand> {
        if !text.contains("${") {
            return Ok(None);
        }
        let mut expanded = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(dollar) = rest.find('$') {
            expanded.push_str(&rest[..dollar]);
            rest = &rest[dollar..];
            if let Some(after) = rest.strip_prefix("$${") {
                expanded.push_str("${");
                rest = after;
            } else if let Some(after) = rest.strip_prefix("${") {
                let Some(end) = after.find('}') else {
                    return Err(refused("this `${` has no `}`", LITERAL_HINT));
                };
                match &after[..end] {
                    name if keeps_own_names && OWN_NAMES.contains(&name) => {
                        expanded.push_str(&rest[..end + 3]);
                    }
                    expression => expanded.push_str(&self.expression(expression)?),
                }
                rest = &after[end + 1..];
            } else {
                expanded.push('$');
                rest = &rest[1..];
            }
        }
        expanded.push_str(rest);
        Ok(Some(expanded))
    }

    /// The value of what stands between the braces.
    fn expression(&self, expression: &str) -> Result<String, CannotExpand> {
        if let Some(path) = expression.strip_prefix("file:") {
            return self.file(path);
        }
        let (name, default) = match expression.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (expression, None),
        };
        if !is_variable(name) {
            let message =
                format!("`${{{name}}}` is not `${{NAME}}`, `${{NAME:-default}}` or `${{file:PATH}}`");
            return Err(refused(&message, LITERAL_HINT));
        }
        if default.is_some_and(|default| default.contains("${")) {
            return Err(refused("a default cannot contain another `${`", "write its value"));
        }
        // As in the shell, `:-` is also for a variable that is set to nothing.
        match (self.environment.get(name), default) {
            (Some(value), Some(default)) if value.is_empty() => Ok(default.to_owned()),
            (Some(value), _) => Ok(value.clone()),
            (None, Some(default)) => Ok(default.to_owned()),
            (None, None) => Err(refused(
                &format!("the environment variable {name} is not set"),
                &format!(
                    "set it, write `${{{name}:-default}}`, or `$${{{name}}}` for a literal `${{{name}}}`"
                ),
            )),
        }
    }

    fn file(&self, path: &str) -> Result<String, CannotExpand> {
        let path = self.directory.join(path);
        let failed = |cause: String| {
            refused(&format!("cannot read {}: {cause}", path.display()), "name a small text file")
        };
        // Opening a pipe would wait for its writer for ever.
        let metadata = path.metadata().map_err(|error| failed(crate::sys::cause::plain(error)))?;
        if !metadata.is_file() {
            return Err(failed("it is not a plain file".to_owned()));
        }
        let mut bytes = Vec::new();
        let read = |bytes: &mut Vec<u8>| -> io::Result<usize> {
            File::open(&path)?.take(FILE_BYTES_MAX + 1).read_to_end(bytes)
        };
        read(&mut bytes).map_err(|error| failed(crate::sys::cause::plain(error)))?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(failed("it is larger than 1 MiB".to_owned()));
        }
        let mut text = String::from_utf8(bytes).map_err(|_| failed("it is not valid UTF-8".to_owned()))?;
        if text.ends_with('\n') {
            text.pop();
            if text.ends_with('\r') {
                text.pop();
            }
        }
        Ok(text)
    }
}

/// Whether a value differs from process to process, so that the names of a process stay in it until one is looked at.
fn is_of_each_process(key: &str) -> bool {
    let section = key.split_once('[').map_or(key, |(section, _)| section);
    let is_look = |kind: &str| matches!(kind, "http" | "tcp" | "command");
    let (above, kind) = section.rsplit_once('.').unwrap_or_default();
    is_look(kind) && (above.ends_with(".ready") || above.ends_with(".health"))
}

/// Whether `name` can be the name of a variable in `${NAME}`.
fn is_variable(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn refused(message: &str, suggestion: &str) -> CannotExpand {
    CannotExpand { message: message.to_owned(), suggestion: suggestion.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(text: &str) -> Result<Option<String>, CannotExpand> {
        let environment = [("A", "one"), ("EMPTY", ""), ("EVIL", "${A}: [x]")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        Expansion { environment: &environment, directory: Path::new("/nowhere") }.text(text, false)
    }

    #[test]
    fn variables_and_defaults_are_expanded_and_literals_kept() {
        for (text, expanded) in [
            ("${A}", "one"),
            ("x${A}y${A}", "xoneyone"),
            ("${A:-two}", "one"),
            ("${B:-two}", "two"),
            ("${B:-}", ""),
            ("${EMPTY}", ""),
            ("${EMPTY:-two}", "two"),
            ("${B:-amqp://g:g@h/%2f}", "amqp://g:g@h/%2f"),
            ("$${A} and ${A}", "${A} and one"),
            ("$A ${A} $", "$A one $"),
            ("${EVIL}", "${A}: [x]"),
        ] {
            assert_eq!(expand(text), Ok(Some(expanded.to_owned())), "{text}");
        }
        assert_eq!(expand("$A costs $5"), Ok(None));
    }

    #[test]
    fn the_names_of_a_process_stay_where_each_has_its_own() {
        let environment = [("LEVERET_SLOT".to_owned(), "9".to_owned())].into();
        let expansion = Expansion { environment: &environment, directory: Path::new("/nowhere") };
        let expand = |text: &str, key: &str| expansion.text(text, is_of_each_process(key));
        let text = "${LEVERET_SLOT:-1}:80${LEVERET_SLOT}/";
        assert_eq!(expand(text, "programs.a.ready.http"), Ok(Some("9:80${LEVERET_SLOT}/".to_owned())));
        assert_eq!(
            expand("${LEVERET_SLOT}", "defaults.health.command[2]"),
            Ok(Some("${LEVERET_SLOT}".to_owned()))
        );
        assert_eq!(expand(text, "programs.a.command"), Ok(Some("9:809/".to_owned())));
        assert!(expand("${LEVERET_PROGRAM}", "programs.a.user").is_err());
    }

    #[test]
    fn what_cannot_be_expanded_says_what_to_try() {
        let message = |text| expand(text).unwrap_err();
        assert_eq!(message("${B}").message, "the environment variable B is not set");
        assert!(message("${i%.*}").suggestion.contains("$${"));
        assert_eq!(message("echo ${A").message, "this `${` has no `}`");
        assert!(message("${}").message.contains("is not `${NAME}`"));
        assert_eq!(message("${B:-${A}}").message, "a default cannot contain another `${`");
    }

    #[test]
    fn a_file_is_read_from_the_configurations_directory_without_its_last_newline() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("secret"), "hunter2\r\n").unwrap();
        std::fs::write(directory.path().join("binary"), [0xff]).unwrap();
        let environment = BTreeMap::new();
        let expansion = Expansion { environment: &environment, directory: directory.path() };
        assert_eq!(expansion.text("${file:secret}", false), Ok(Some("hunter2".to_owned())));
        for (text, cause) in [
            ("${file:none}", "No such file or directory"),
            ("${file:.}", "it is not a plain file"),
            ("${file:binary}", "it is not valid UTF-8"),
        ] {
            let message = expansion.text(text, false).unwrap_err().message;
            assert!(message.contains(cause), "{message}");
        }
    }
}
