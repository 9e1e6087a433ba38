//! `docs/configuration.md`: every key with what it takes, its default and its meaning, from the schema that checks the
//! files, so that it can say nothing else than what is so.

use std::fmt::Write as _;

use serde_json::Value;

use super::check::expected;
use super::{raw, schema};
use crate::core::difference::{Effect, keys};
use crate::core::scenario::service;

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
- Durations are written as `250ms`, `5s`, `1h30m`, `7d`, sizes as `50MiB` or `1GB`.
- What is set under `defaults` holds for every program that does not say otherwise.

## Programs that are alike

`extends: NAME` takes the keys of another program, or of a template; what is written itself wins, and what neither has
comes from `defaults`. A template is an entry under `templates` with the keys of a program; it does not run, and lacks whatever the
programs that extend it add. [config/scaled.yaml](../config/scaled.yaml) uses one.

```yaml
templates:
  consumer:
    directory: /srv/shop
    environment: {APP_ENV: prod}
    scale: {wait: 5s, max: 20}
programs:
  orders:
    extends: consumer
    command: php bin/console messenger:consume orders
    scale: {queue: orders}                  # and wait: 5s, max: 20
  refunds:
    extends: orders                         # a program can be extended as well
    command: php bin/console messenger:consume refunds
    environment: {LOCALE: de}               # and APP_ENV: prod
    scale: {queue: refunds, max: 4}         # and wait: 5s
```

- Sections are taken key by key, also `restart.codes`; lists, single values, `ready`, `health`, and what is deeper than a section's own
  keys are taken as they are or not at all.
- Who has one of `processes`, `scale` and `schedule` takes none of the other two; likewise `stop.steps`, and `stop.signal` with
  `stop.timeout`.
- Templates and programs may be in any of the files, and are extended from any; relative paths begin where they are written. Programs
  and templates do not share names, do not extend each other in a circle, and a chain has 16 at most.
- `project`, `depends_on`, `autostart` and all else is taken too. A reload that changes a template changes the programs that extend it,
  each as if the change were written there.
";

/// The manual, in Markdown.
pub(super) fn manual() -> String {
    let whole = schema::of::<raw::File>();
    let mut text = HEAD.to_owned();
    let top = entries(&whole);
    table(&mut text, "The file", "", &top);
    for (key, section) in top {
        match named(section) {
            Some(_) if key == "templates" => {}
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

/// Keys that are seen through others: what a shell is to run is the command, what is taken of another is one's own.
const PART_OF_ANOTHER: [&str; 2] = ["extends", "shell"];

/// Where the table of [`effects`] begins and ends in the manual of the lifecycle.
const BEGIN: &str = "<!-- what a reload does, generated -->";
const END: &str = "<!-- end of what is generated -->";

/// What a reload does with each key of a program, as a table in Markdown.
fn effects() -> String {
    let mut groups: Vec<(Effect, Vec<String>)> = Vec::new();
    for (name, effect) in effects_by_key() {
        let name = match name.split_once(' ') {
            Some((key, rest)) => format!("`{key}` {rest}"),
            None => format!("`{name}`"),
        };
        match groups.iter_mut().find(|(of, _)| *of == effect) {
            Some((_, names)) => names.push(name),
            None => groups.push((effect, vec![name])),
        }
    }
    let mut text = "\n| keys | what a change does |\n| --- | --- |\n".to_owned();
    for (effect, names) in groups {
        let effect = match effect {
            Effect::Restart => "**restart**: the processes are replaced",
            Effect::InPlace(when) => &format!("in place, {when}"),
        };
        let _ = writeln!(text, "| {} | {effect} |", names.join(", "));
    }
    text.push('\n');
    text
}

fn effects_by_key() -> Vec<(String, Effect)> {
    let any = service("any", 1);
    keys(&any, &any).into_iter().map(|key| (key.name, key.effect)).collect()
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

    const LIFECYCLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/lifecycle.md");

    #[test]
    fn the_manual_of_the_lifecycle_says_what_a_reload_does_with_each_key() {
        let text = std::fs::read_to_string(LIFECYCLE).unwrap();
        let begin = text.find(BEGIN).expect("the place is marked") + BEGIN.len();
        let end = text.find(END).expect("the place is marked");
        let table = effects();
        if std::env::var_os("LEVERET_UPDATE").is_some() {
            let text = format!("{}\n{table}{}", &text[..begin], &text[end..]);
            std::fs::write(LIFECYCLE, text).unwrap();
        } else {
            assert!(
                text[begin..end].trim() == table.trim(),
                "docs/lifecycle.md is stale: write it anew with `LEVERET_UPDATE=1 cargo test --lib manual`"
            );
        }
    }

    #[test]
    fn a_reload_knows_what_to_do_with_every_key_of_a_program() {
        let whole = schema::of::<raw::File>();
        let program = &whole["properties"]["programs"]["additionalProperties"];
        let known: Vec<String> = effects_by_key().into_iter().map(|(name, _)| name).collect();
        let is_known = |path: &str| {
            let is_above =
                |name: &String| path.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with('.'));
            known.iter().any(|name| name == path || is_above(name))
        };
        let mut looked_at = 0;
        for (key, section) in entries(program) {
            let below: Vec<String> =
                entries(section).iter().map(|(inner, _)| format!("{key}.{inner}")).collect();
            let paths = if below.is_empty() { vec![key.to_owned()] } else { below };
            for path in paths.iter().filter(|path| !PART_OF_ANOTHER.contains(&path.as_str())) {
                assert!(is_known(path), "src/core/difference.rs does not know {path}");
                looked_at += 1;
            }
        }
        assert!(looked_at > 30, "only {looked_at} keys were looked at");
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
