//! `docs/configuration.md`: every key with what it takes, its default and its meaning, from the schema that checks the
//! files, so that it can say nothing else than what is so.

use std::fmt::Write as _;

use serde_json::Value;

use super::check::expected;
use super::{raw, schema};

/// What stands above the keys.
const HEAD: &str = "\
# Configuration

Generated from the schema that checks every file; `LEVERET_UPDATE=1 cargo test --lib manual` writes it anew.

The file is YAML. `leveret check FILE` reports all mistakes at once, with line and column, and exits with 0 or 2; a key
that is not here is a mistake. [config/leveret.yaml](../config/leveret.yaml) is an example that runs anywhere, and
[config/schema.json](../config/schema.json) serves editors.

- In every value `${NAME}` is replaced by the variable of Leveret's environment, `${NAME:-default}` by a default where it
  is not set, `${file:PATH}` by a file's content; `$${` is a literal `${`.
- Relative paths begin in the directory of the file that they are written in.
- Durations are written as `250ms`, `5s`, `1h30m`, sizes as `50MiB` or `1GB`.
- What is set under `defaults` holds for every program that does not say otherwise.
";

/// The manual, in Markdown.
pub(super) fn manual() -> String {
    let whole = schema::of::<raw::File>();
    let mut text = HEAD.to_owned();
    let top = entries(&whole);
    table(&mut text, "The file", "", &top);
    for (key, section) in top {
        match named(section) {
            Some(section) => sections(&mut text, &format!("{key}.NAME"), section),
            None if key == "defaults" => defaults(&mut text, section),
            None => sections(&mut text, key, section),
        }
    }
    text
}

/// A section and those within it.
fn sections(text: &mut String, path: &str, section: &Value) {
    let keys = entries(section);
    if keys.is_empty() {
        return;
    }
    table(text, &format!("`{path}`"), &note(section), &keys);
    for (key, value) in keys {
        match value.get("items") {
            None => sections(text, &format!("{path}.{key}"), value),
            Some(item) => sections(text, &format!("{path}.{key}[]"), item),
        }
    }
}

/// The keys of `defaults` mean the same as those of a program.
fn defaults(text: &mut String, section: &Value) {
    let keys: Vec<String> = entries(section).into_iter().map(|(key, _)| format!("`{key}`")).collect();
    let _ = write!(
        text,
        "\n## `defaults`\n\n{} The keys are those of a program: {}.\n",
        meaning(section),
        keys.join(", ")
    );
}

/// The section that stands under each name, where the names are the user's.
fn named(section: &Value) -> Option<&Value> {
    section.get("additionalProperties").filter(|inner| inner.get("properties").is_some())
}

fn entries(section: &Value) -> Vec<(&str, &Value)> {
    let keys = section.get("properties").and_then(Value::as_object);
    keys.into_iter().flatten().map(|(key, value)| (key.as_str(), value)).collect()
}

/// What is not in the table: what a single value stands for.
fn note(section: &Value) -> String {
    let alone = section["x-shorthand"].as_str();
    alone.map_or_else(String::new, |key| format!(" A single value stands for `{key}`."))
}

fn table(text: &mut String, title: &str, note: &str, keys: &[(&str, &Value)]) {
    let _ = write!(text, "\n## {title}\n\n");
    if !note.is_empty() {
        let _ = write!(text, "{}\n\n", note.trim_start());
    }
    text.push_str("| key | value | default | meaning |\n| --- | --- | --- | --- |\n");
    for (key, value) in keys {
        let _ = writeln!(text, "| `{key}` | {} | {} | {} |", kind(value), default(value), meaning(value));
    }
}

fn kind(value: &Value) -> String {
    let example = value["examples"].get(0).map(|example| format!(", as in `{}`", plain(example)));
    let kind = match value.get("anyOf").and_then(Value::as_array) {
        Some(alternatives) => alternatives.iter().map(expected).collect::<Vec<_>>().join(", or "),
        None if entries(value).is_empty() => expected(value),
        None => "a section".to_owned(),
    };
    cell(&(kind + &example.unwrap_or_default()))
}

fn default(value: &Value) -> String {
    value.get("default").map_or_else(String::new, |default| cell(&format!("`{}`", plain(default))))
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn meaning(value: &Value) -> String {
    cell(value["description"].as_str().unwrap_or_default())
}

/// A text that may stand in a table.
fn cell(text: &str) -> String {
    text.replace('\n', " ").replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");

    #[test]
    fn the_committed_manual_is_the_one_that_the_schema_gives() {
        if std::env::var_os("LEVERET_UPDATE").is_some() {
            std::fs::write(COMMITTED, manual()).unwrap();
        }
        let committed = std::fs::read_to_string(COMMITTED).unwrap_or_default();
        assert!(
            committed == manual(),
            "docs/configuration.md is stale: write it anew with `LEVERET_UPDATE=1 cargo test --lib manual`"
        );
    }

    #[test]
    fn every_key_of_the_file_is_in_it_with_its_default() {
        let manual = manual();
        let lines = [
            "| `listen` | an address with a port as in 127.0.0.1:7865 | `127.0.0.1:7865` |",
            "## `programs.NAME.scale`",
            "| `max` | a whole number from 1 to 1000, as in `20` |  |",
            "| `until` | `started`, `ready` or `completed` | `ready` |",
        ];
        for line in lines {
            assert!(manual.contains(line), "{line} is not in\n{manual}");
        }
    }
}
