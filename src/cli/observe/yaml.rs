//! Values as a configuration file of Leveret takes them, whatever they contain: quotes, `$`, line breaks.

use super::redaction::Part;

/// How wide comments are, in characters.
const WIDTH: usize = 112;

/// Characters that mean nothing to YAML, to a command line, or to an interpolation.
fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/' | '-')
}

/// A text as a value.
pub(super) fn text(text: &str) -> String {
    let is_word =
        text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/') && text.chars().all(is_plain);
    if is_word && !is_reserved(text) { text.to_owned() } else { quoted(&literal(text)) }
}

/// What YAML, of any version, takes for something else than a text.
fn is_reserved(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    ["true", "false", "null", "yes", "no", "on", "off", "y", "n"].contains(&lower.as_str())
}

/// A command: one line where that is what anybody would write, else a list of words.
pub(super) fn command(words: &[Vec<Part>]) -> String {
    let plain: Option<Vec<&str>> = words.iter().map(|word| plain_word(word)).collect();
    let is_line = |words: &Vec<&str>| match words.as_slice() {
        [] => false,
        [only] => only.starts_with('/'),
        [first, ..] => first.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '/' | '.')),
    };
    match plain.filter(is_line) {
        Some(words) => words.join(" "),
        None => format!("[{}]", words.iter().map(|word| of_parts(word)).collect::<Vec<_>>().join(", ")),
    }
}

/// A word that needs no quotes within a line.
fn plain_word(word: &[Part]) -> Option<&str> {
    match word {
        [Part::Text(text)] => {
            let is_plain = |c: char| is_plain(c) || matches!(c, ':' | '=' | '@' | '%' | '+' | ',');
            (!text.is_empty() && text.chars().all(is_plain) && !text.ends_with(':')).then_some(text)
        }
        _ => None,
    }
}

fn of_parts(parts: &[Part]) -> String {
    if let [Part::Text(only)] = parts {
        return text(only);
    }
    let part = |part: &Part| match part {
        Part::Text(text) => literal(text),
        Part::Variable(name) => format!("${{{name}}}"),
    };
    quoted(&parts.iter().map(part).collect::<String>())
}

/// With what would be an interpolation written so that it is none.
fn literal(text: &str) -> String {
    text.replace("${", "$${")
}

/// In double quotes. Source: YAML 1.2, 5.7.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            c if needs_escape(c) => quoted.push_str(&format!("\\u{:04X}", c as u32)),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// Characters that no YAML may contain, that end a line, or that a terminal obeys; none is beyond four digits.
fn needs_escape(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

/// A sentence as lines of a comment.
pub(super) fn comment(indent: usize, sentence: &str) -> String {
    let start = format!("{}# ", " ".repeat(indent));
    let clean: String = sentence.chars().map(|c| if needs_escape(c) { ' ' } else { c }).collect();
    let mut lines = String::new();
    let mut line = String::new();
    for word in clean.split(' ').filter(|word| !word.is_empty()) {
        if !line.is_empty() && start.len() + line.chars().count() + 1 + word.chars().count() > WIDTH {
            lines.push_str(&format!("{start}{line}\n"));
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push_str(&format!("{start}{line}\n"));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<Vec<Part>> {
        words.iter().map(|word| vec![Part::Text((*word).to_owned())]).collect()
    }

    #[test]
    fn a_command_is_a_line_where_anybody_would_write_one() {
        for (given, written) in [
            (
                &["php", "bin/console", "messenger:consume", "orders"][..],
                "php bin/console messenger:consume orders",
            ),
            (&["/usr/bin/worker"], "/usr/bin/worker"),
            (&["./worker", "--x=1", "-n"], "./worker --x=1 -n"),
            (&["true"], "[\"true\"]"),
            (&["php", "work er.php"], "[php, \"work er.php\"]"),
            (&["php", ""], "[php, \"\"]"),
            (&["a", "${b}", "$c"], "[a, \"$${b}\", \"$c\"]"),
            (&["a", "b:"], "[a, \"b:\"]"),
            (&["-x", "8080"], "[\"-x\", \"8080\"]"),
            (&["a", "\"q\" \\ \u{1b}[0m\n"], "[a, \"\\\"q\\\" \\\\ \\u001B[0m\\n\"]"),
        ] {
            assert_eq!(command(&words(given)), written);
        }
        let secret = vec![Part::Text("--x=".to_owned()), Part::Variable("X".to_owned())];
        assert_eq!(command(&[words(&["a"]), vec![secret]].concat()), "[a, \"--x=${X}\"]");
    }

    #[test]
    fn comments_are_wrapped_and_contain_no_line_break_of_somebody_else() {
        let wrapped = comment(2, &"word ".repeat(50));
        assert!(wrapped.lines().count() == 3 && wrapped.lines().all(|line| line.starts_with("  # word")));
        assert!(wrapped.lines().all(|line| line.chars().count() <= WIDTH));
        assert_eq!(comment(0, "a\nb\u{2028}c\u{1b}d"), "# a b c d\n");
    }
}
