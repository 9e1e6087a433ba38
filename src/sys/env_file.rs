//! Files of environment variables, in the form that is known as dotenv. What is in them is secret: no error quotes it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::cause::plain;

/// The largest file, in bytes.
const BYTES_MAX: u64 = 1024 * 1024;

/// Why a file of variables cannot be used. No text of it quotes the file.
#[derive(Debug, thiserror::Error)]
pub enum EnvFileError {
    /// The system does not give it.
    #[error("{}", plain(.0))]
    Read(io::Error),
    /// It is a directory, a pipe or a device.
    #[error("this is not a file")]
    NoFile,
    /// It is larger than 1 MiB.
    #[error("this file is larger than 1 MiB")]
    TooLarge,
    /// A line is not what it should be.
    #[error("line {line}: {mistake}")]
    Line {
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        mistake: Mistake,
    },
}

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mistake {
    /// There is no `=`.
    #[error("a line is NAME=VALUE, a comment after `#`, or empty")]
    NoAssignment,
    /// The name has other characters than letters, digits and `_`.
    #[error("the name of a variable has letters, digits and `_`, and does not begin with a digit")]
    Name,
    /// The name is one of Leveret's own.
    #[error("variables that begin with LEVERET_ are set by Leveret itself")]
    OwnName,
    /// A quote is open at the end of the file.
    #[error("the quote that begins here is not closed")]
    OpenQuote,
    /// Something stands behind the closing quote.
    #[error("nothing but a comment may follow the closing quote")]
    AfterQuote,
    /// The character that ends texts in C.
    #[error("a value cannot contain the character with the number 0")]
    Zero,
    /// It is not text.
    #[error("this line is not UTF-8")]
    NotText,
}

/// Reads a file of variables; of a name that is there twice the last one counts.
///
/// # Errors
/// See [`EnvFileError`]. A file that is not there is [`io::ErrorKind::NotFound`] in [`EnvFileError::Read`].
pub fn read(path: &Path) -> Result<BTreeMap<String, String>, EnvFileError> {
    // A pipe would keep whoever opens it waiting.
    if !path.metadata().map_err(EnvFileError::Read)?.is_file() {
        return Err(EnvFileError::NoFile);
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(EnvFileError::Read)?;
    file.take(BYTES_MAX + 1).read_to_end(&mut bytes).map_err(EnvFileError::Read)?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(EnvFileError::TooLarge);
    }
    match String::from_utf8(bytes) {
        Ok(text) => parse(&text).map_err(|(line, mistake)| EnvFileError::Line { line, mistake }),
        Err(error) => {
            let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = 1 + valid.iter().filter(|byte| **byte == b'\n').count();
            Err(EnvFileError::Line { line, mistake: Mistake::NotText })
        }
    }
}

/// Reads `NAME=VALUE` lines. `export` may stand in front. A value without quotes ends at the end of its line or before
/// ` #`, without white space around it. Single quotes keep everything as it is. In double quotes `\n`, `\r`, `\t`, `\"`,
/// `\\` and `\$` stand for what they do in a shell. Quoted values may have several lines. Nothing is expanded.
fn parse(text: &str) -> Result<BTreeMap<String, String>, (usize, Mistake)> {
    let mut variables = BTreeMap::new();
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut line = 1;
    while !rest.is_empty() {
        let end = rest.find('\n').unwrap_or(rest.len());
        let content = rest[..end].trim();
        if content.is_empty() || content.starts_with('#') {
            rest = rest.get(end + 1..).unwrap_or_default();
            line += 1;
            continue;
        }
        let wrong = |mistake| (line, mistake);
        let equals = rest[..end].find('=').ok_or(wrong(Mistake::NoAssignment))?;
        let name = name_of(&rest[..equals]).map_err(wrong)?;
        let after = &rest[equals + 1..];
        let (value, taken) = value_of(after).map_err(wrong)?;
        if value.contains('\0') {
            return Err(wrong(Mistake::Zero));
        }
        variables.insert(name.to_owned(), value);
        line += after[..taken].matches('\n').count();
        rest = &after[taken..];
    }
    Ok(variables)
}

fn name_of(text: &str) -> Result<&str, Mistake> {
    let text = text.trim();
    let name = match text.strip_prefix("export") {
        Some(rest) if rest.starts_with(char::is_whitespace) => rest.trim_start(),
        Some(_) | None => text,
    };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if name.is_empty() || !name.bytes().all(is_plain) || name.as_bytes()[0].is_ascii_digit() {
        return Err(Mistake::Name);
    }
    if name.starts_with("LEVERET_") {
        return Err(Mistake::OwnName);
    }
    Ok(name)
}

/// The value that `text` begins with, and how many bytes it takes up to and with the end of its last line.
fn value_of(text: &str) -> Result<(String, usize), Mistake> {
    let line_end = |from: usize| text[from..].find('\n').map_or(text.len(), |at| from + at);
    let blank = text.len() - text.trim_start_matches([' ', '\t']).len();
    let (value, end) = match text[blank..].chars().next() {
        Some(quote @ ('"' | '\'')) => {
            let (value, closed) = quoted(&text[blank + 1..], quote).ok_or(Mistake::OpenQuote)?;
            let from = blank + 1 + closed;
            let end = line_end(from);
            let tail = text[from..end].trim();
            if !tail.is_empty() && !tail.starts_with('#') {
                return Err(Mistake::AfterQuote);
            }
            (value, end)
        }
        Some(_) | None => {
            let end = line_end(0);
            let line = &text[..end];
            // Directly after the `=`, and within a word, it belongs to the value, as in COLOUR=#fff.
            let is_comment = |at: &usize| line[..*at].ends_with([' ', '\t']);
            let comment = line.match_indices('#').map(|(at, _)| at).find(is_comment);
            (line[..comment.unwrap_or(end)].trim().to_owned(), end)
        }
    };
    Ok((value, (end + 1).min(text.len())))
}

/// What stands in quotes, and where the text goes on after the closing one; nothing where there is none.
fn quoted(text: &str, quote: char) -> Option<(String, usize)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            _ if character == quote => return Some((value, at + 1)),
            '\\' if quote == '"' => {
                let (_, escaped) = characters.next()?;
                match escaped {
                    'n' => value.push('\n'),
                    'r' => value.push('\r'),
                    't' => value.push('\t'),
                    '"' | '\\' | '$' => value.push(escaped),
                    other => value.extend(['\\', other]),
                }
            }
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn one(text: &str) -> String {
        let variables = parse(text).unwrap();
        let all: Vec<_> = variables.iter().map(|(name, value)| format!("{name}={value}")).collect();
        all.join("|")
    }

    #[test]
    fn values_are_read_as_shells_and_dotenv_libraries_do() {
        for (text, expected) in [
            ("A=1", "A=1"),
            ("# c\n\n  A = 1  # c\r\nexport B=2\nexport\tC=3\n", "A=1|B=2|C=3"),
            ("A=", "A="),
            ("A=  # only a comment", "A="),
            ("A=#fff # c", "A=#fff"),
            ("A=a#b c\\n", "A=a#b c\\n"),
            ("A='a # \"b\" \\n $X'  # c", "A=a # \"b\" \\n $X"),
            ("A=\"a # 'b' \\n\\t\\\"\\\\\\$X \\q\" # c", "A=a # 'b' \n\t\"\\$X \\q"),
            ("A=\"one\ntwo\"\nB='x\ny'\nC=z", "A=one\ntwo|B=x\ny|C=z"),
            ("A=1\nA=2", "A=2"),
            ("A=$B ${C}", "A=$B ${C}"),
            ("exported=1", "exported=1"),
            ("\u{feff}A=amqp://u:p@h/v?x=y", "A=amqp://u:p@h/v?x=y"),
            ("", ""),
        ] {
            assert_eq!(one(text), expected, "{text:?}");
        }
    }

    #[test]
    fn mistakes_have_their_line_and_quote_nothing() {
        for (text, line, mistake) in [
            ("A=1\nhunter2\n", 2, Mistake::NoAssignment),
            ("A=\"x\ny\"\n\n1B=hunter2", 4, Mistake::Name),
            ("A B=hunter2", 1, Mistake::Name),
            ("=hunter2", 1, Mistake::Name),
            ("LEVERET_SLOT=1", 1, Mistake::OwnName),
            ("A=1\nB='hunter2\nC=1\n", 2, Mistake::OpenQuote),
            ("B=\"hunter2\\", 1, Mistake::OpenQuote),
            ("A='x' hunter2", 1, Mistake::AfterQuote),
            ("A=x\0y", 1, Mistake::Zero),
        ] {
            assert_eq!(parse(text), Err((line, mistake)), "{text:?}");
            assert!(!EnvFileError::Line { line, mistake }.to_string().contains("hunter2"));
        }
    }

    #[test]
    fn what_is_no_text_file_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.env");
        assert_eq!(read(&path).unwrap_err().to_string(), "No such file or directory");
        assert_eq!(read(directory.path()).unwrap_err().to_string(), "this is not a file");
        std::fs::write(&path, b"A=1\nB=\xff\n").unwrap();
        assert_eq!(read(&path).unwrap_err().to_string(), "line 2: this line is not UTF-8");
        std::fs::write(&path, vec![b'#'; BYTES_MAX as usize + 1]).unwrap();
        assert_eq!(read(&path).unwrap_err().to_string(), "this file is larger than 1 MiB");
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "[A-C1= \t\r\n\"'#\\\\$ä\0]{0,60}") {
            drop(parse(&text));
        }

        #[test]
        fn any_value_comes_back_out_of_quotes(value in "[^\0]{0,40}") {
            let escaped = value.replace('\\', "\\\\").replace('"', "\\\"");
            let variables = parse(&format!("A=\"{escaped}\"")).unwrap();
            prop_assert_eq!(variables.get("A"), Some(&value));
        }
    }
}
