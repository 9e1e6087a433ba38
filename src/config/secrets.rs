//! Finds what must not be shown of a configuration file: passwords, broker addresses, the values of environment
//! variables. It hides too much rather than too little, also in a file that is wrong.

use std::ops::Range;

use super::tree::{Entry, Kind, Node};

/// Words in the names of keys whose values are secrets.
const TELLTALES: [&str; 10] =
    ["pass", "pwd", "secret", "token", "url", "credential", "private", "api_key", "management", "metrics"];

/// The keys of a broker whose values may be shown.
const BROKER_OPEN: [&str; 5] = ["host", "port", "user", "vhost", "tls"];

/// The passwords of all addresses in `text`, whatever stands around them.
pub(crate) fn in_addresses(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for (scheme_end, separator) in text.match_indices("://") {
        let start = scheme_end + separator.len();
        let rest = &text[start..];
        let word = &rest[..rest.find(char::is_whitespace).unwrap_or(rest.len())];
        // An unencoded `/` or `@` in a password is a mistake, and just then the line is shown.
        let Some(end) = word.rfind('@') else { continue };
        let Some(colon) = word[..end].find(':') else { continue };
        found.push(start + colon + 1..start + end);
    }
    found
}

/// What looks like a secret in a text that could not be parsed: the rest of the line after a telltale key.
pub(super) fn in_lines(text: &str) -> Vec<Range<usize>> {
    let mut found = in_addresses(text);
    let mut line_start = 0;
    for line in text.split_inclusive('\n') {
        let visible = line.trim_end();
        for (colon, _) in visible.match_indices(':') {
            let before = visible[..colon].trim_end_matches(['"', '\'', ' ']);
            let name =
                before.rsplit(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or(before);
            if is_telltale(name) {
                let value =
                    colon + 1 + (visible[colon + 1..].len() - visible[colon + 1..].trim_start().len());
                found.push(line_start + value..line_start + visible.len());
                break;
            }
        }
        line_start += line.len();
    }
    found
}

/// What is a secret in a file that could be parsed.
pub(super) fn in_tree(text: &str, root: &Node) -> Vec<Range<usize>> {
    let mut found = in_addresses(text);
    for entry in root.entries() {
        if entry.key == "brokers" {
            for broker in entry.value.entries() {
                brokers_secrets(broker, &mut found);
            }
        } else {
            by_key(entry, &mut found);
        }
    }
    found
}

fn brokers_secrets(broker: &Entry, found: &mut Vec<Range<usize>>) {
    match &broker.value.kind {
        Kind::Map(entries) => {
            for entry in entries.iter().filter(|entry| !BROKER_OPEN.contains(&entry.key.as_str())) {
                all_values(&entry.value, found);
            }
        }
        Kind::Scalar(_) | Kind::List(_) => all_values(&broker.value, found),
    }
}

fn by_key(entry: &Entry, found: &mut Vec<Range<usize>>) {
    if entry.key == "environment" || is_telltale(&entry.key) {
        return all_values(&entry.value, found);
    }
    in_node(&entry.value, found);
}

fn in_node(node: &Node, found: &mut Vec<Range<usize>>) {
    match &node.kind {
        Kind::Map(entries) => entries.iter().for_each(|entry| by_key(entry, found)),
        Kind::List(items) => items.iter().for_each(|item| in_node(item, found)),
        Kind::Scalar(_) => {}
    }
}

fn all_values(node: &Node, found: &mut Vec<Range<usize>>) {
    match &node.kind {
        Kind::Scalar(scalar) if is_reference(scalar.as_written()) => {}
        Kind::Scalar(_) => found.push(node.place.start..node.place.end),
        Kind::List(items) => items.iter().for_each(|item| all_values(item, found)),
        Kind::Map(entries) => entries.iter().for_each(|entry| all_values(&entry.value, found)),
    }
}

/// Whether a value only names where the secret is, as `${AMQP_URL}` does.
fn is_reference(text: &str) -> bool {
    text.strip_prefix("${")
        .and_then(|rest| rest.strip_suffix('}'))
        .is_some_and(|inner| !inner.contains([':', '-', '$', '{', '}']))
}

fn is_telltale(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    TELLTALES.iter().any(|word| key.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(text: &str, hidden: Vec<Range<usize>>) -> String {
        let mut source = super::super::source::Source::new("a".into(), "/".into(), text.to_owned());
        source.hide(hidden);
        source.excerpt(super::super::source::Place::default()).text
    }

    #[test]
    fn the_password_of_an_address_is_found_wherever_it_stands() {
        for (text, shown) in [
            ("command: run amqp://me:hunter2@host/v --x", "command: run amqp://me:***@host/v --x"),
            ("amqp://me:p@ss/w:rd@host", "amqp://me:***@host"),
            ("http://host:80/path", "http://host:80/path"),
        ] {
            assert_eq!(masked(text, in_addresses(text)), shown);
        }
    }

    #[test]
    fn in_a_text_that_is_no_yaml_the_rest_of_a_telltale_line_is_hidden() {
        for (text, shown) in [
            ("  password: hunter2", "  password: ***"),
            ("x: {db_password : hunter2, y: z", "x: {db_password : ***"),
            ("\"url\": amqp//hunter2", "\"url\": ***"),
            ("command: echo: hi", "command: echo: hi"),
        ] {
            assert_eq!(masked(text, in_lines(text)), shown);
        }
    }
}
