//! Patterns that are looked for in what processes print: regular expressions over bytes, line by line.

use regex_automata::meta::{Config, Regex};
use regex_automata::util::syntax;

/// The longest pattern, in bytes.
pub const PATTERN_BYTES_MAX: usize = 256;

/// How much memory a compiled pattern may take, in bytes.
const COMPILED_BYTES_MAX: usize = 256 * 1024;

/// Why a text is no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// It is longer than [`PATTERN_BYTES_MAX`].
    #[error("a pattern has at most {PATTERN_BYTES_MAX} bytes")]
    Length,
    /// It is no regular expression.
    #[error("this is no regular expression")]
    Syntax,
    /// Compiled, it would be too large.
    #[error("this pattern would need too much memory")]
    Size,
}

/// Compiles a pattern. `^` and `$` are the ends of a line; classes are those of ASCII.
///
/// # Errors
/// See [`PatternError`].
pub fn compile(pattern: &str) -> Result<Regex, PatternError> {
    if pattern.len() > PATTERN_BYTES_MAX {
        return Err(PatternError::Length);
    }
    let bytes = syntax::Config::new().unicode(false).utf8(false).multi_line(true);
    let bounded = Config::new().nfa_size_limit(Some(COMPILED_BYTES_MAX)).utf8_empty(false);
    let built = Regex::builder().configure(bounded).syntax(bytes).build(pattern);
    built.map_err(|error| match error.syntax_error() {
        Some(_) => PatternError::Syntax,
        None => PatternError::Size,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_found_in_a_line_among_whatever_bytes() {
        let found = |pattern: &str, text: &[u8]| compile(pattern).unwrap().is_match(text);
        assert!(found("listening on port \\d+", b"\xff\nnow listening on port 8080\n"));
        assert!(found("^ready$", b"not yet\nready\nlater"));
        assert!(!found("^ready$", b"not ready\n"));
        assert!(found("größe", "die größe".as_bytes()));
        assert!(found("(?i)READY", b"ready"));
        assert_eq!(compile("(").unwrap_err(), PatternError::Syntax);
        assert_eq!(compile("(a{999}){999}").unwrap_err(), PatternError::Size);
        assert_eq!(compile(&"x".repeat(PATTERN_BYTES_MAX + 1)).unwrap_err(), PatternError::Length);
    }
}
