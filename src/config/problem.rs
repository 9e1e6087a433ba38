//! What is wrong with a configuration, as a list: each problem with its place, and all of them shown together.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use annotate_snippets::{AnnotationKind, Level, Origin, Renderer, Snippet};

use super::source::{Place, Source};

/// How many problems are shown; the rest is counted.
const SHOWN_MAX: usize = 50;

/// One mistake in a configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file, as the user named it.
    pub file: PathBuf,
    /// Where in the file; absent when the file as a whole is meant.
    pub at: Option<Excerpt>,
    /// The path of the key, as in `programs.orders.scale.wait`; empty for the whole file.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What to try.
    pub suggestion: Option<String>,
    /// Another place in the same file that the problem has to do with, and how.
    pub earlier: Option<(Excerpt, String)>,
}

/// A line of a file, secrets masked, and a part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt {
    /// The line, from 1.
    pub line: usize,
    /// The column, in characters from 1.
    pub column: usize,
    /// The line's text, with secrets masked.
    pub text: String,
    /// The part that is meant, in bytes of `text`.
    pub span: Range<usize>,
}

impl Problem {
    /// A problem at a place of a file.
    pub(super) fn new(source: &Source, place: Place, key: &str, message: String) -> Self {
        Self {
            file: source.name.clone(),
            at: Some(source.excerpt(place)),
            key: key.to_owned(),
            message,
            suggestion: None,
            earlier: None,
        }
    }

    /// A problem with a file as a whole.
    pub(super) fn of_file(file: &Path, message: String) -> Self {
        Self {
            file: file.to_path_buf(),
            at: None,
            key: String::new(),
            message,
            suggestion: None,
            earlier: None,
        }
    }

    /// The same with something to try.
    #[must_use]
    pub(super) fn suggest(mut self, suggestion: impl Into<String>) -> Self {
        self.suggestion = Some(suggestion.into());
        self
    }

    /// The same with an earlier place in the same file.
    #[must_use]
    pub(super) fn because_of(mut self, source: &Source, place: Place, label: &str) -> Self {
        self.earlier = Some((source.excerpt(place), label.to_owned()));
        self
    }

    /// The message and the suggestion in one line.
    pub fn sentence(&self) -> String {
        match &self.suggestion {
            Some(suggestion) => format!("{}; {suggestion}", self.message),
            None => self.message.clone(),
        }
    }

    fn position(&self) -> (usize, usize) {
        self.at.as_ref().map_or((0, 0), |at| (at.line, at.column))
    }

    fn render(&self, renderer: &Renderer) -> String {
        let path = self.file.display().to_string();
        let sentence = self.sentence();
        let title = Level::ERROR.primary_title(&sentence);
        let Some(at) = &self.at else {
            return renderer.render(&[title.element(Origin::path(path))]);
        };
        let snippet = |excerpt: &Excerpt, kind: AnnotationKind, label: &str| {
            let label = (!label.is_empty()).then(|| label.to_owned());
            Snippet::source(excerpt.text.clone())
                .path(path.clone())
                .line_start(excerpt.line)
                .annotation(kind.span(excerpt.span.clone()).label(label))
        };
        let mut group = title.element(snippet(at, AnnotationKind::Primary, &self.key));
        if let Some((earlier, label)) = &self.earlier {
            group = group.element(snippet(earlier, AnnotationKind::Context, label));
        }
        let text = renderer.render(&[group]);
        let excerpts = [Some(at), self.earlier.as_ref().map(|(earlier, _)| earlier)];
        excerpts.into_iter().flatten().fold(text, |text, excerpt| with_true_column(text, &path, excerpt))
    }
}

/// The renderer counts columns in the line that is shown; where a secret in front is masked, the file has another.
fn with_true_column(text: String, path: &str, excerpt: &Excerpt) -> String {
    let shown = excerpt.text[..excerpt.span.start].chars().count() + 1;
    let line = excerpt.line;
    if shown == excerpt.column {
        return text;
    }
    text.replacen(&format!("{path}:{line}:{shown}"), &format!("{path}:{line}:{}", excerpt.column), 1)
}

/// All that is wrong with a configuration; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    list: Vec<Problem>,
}

impl Problems {
    /// Puts the problems in the order of `files`, and within a file in the order of its lines.
    pub(super) fn new(mut list: Vec<Problem>, files: &[PathBuf]) -> Self {
        let place_of = |file: &Path| files.iter().position(|known| known == file).unwrap_or(files.len());
        list.sort_by_key(|problem| (place_of(&problem.file), problem.position()));
        // A part of the file that is used again by an alias has its mistakes only once.
        list.dedup_by(|later, earlier| {
            later.at.is_some() && later.at == earlier.at && later.message == earlier.message
        });
        Self { list }
    }

    /// The problems, in the order in which they stand in the files.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.list.iter()
    }

    /// All problems as a compiler shows them, and a last line that counts them.
    pub fn render(&self, colour: bool) -> String {
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        let mut text = String::new();
        for problem in self.list.iter().take(SHOWN_MAX) {
            text.push_str(&problem.render(&renderer));
            text.push_str("\n\n");
        }
        if let Some(more) = self.list.len().checked_sub(SHOWN_MAX).filter(|more| *more > 0) {
            text.push_str(&format!("and {more} more\n\n"));
        }
        text.push_str(&self.count());
        text
    }

    fn count(&self) -> String {
        let mut files: Vec<String> = Vec::new();
        for problem in &self.list {
            let file = problem.file.display().to_string();
            if !files.contains(&file) {
                files.push(file);
            }
        }
        let errors = if self.list.len() == 1 { "error" } else { "errors" };
        format!("{} {errors} in {}", self.list.len(), files.join(", "))
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Problems {}

#[cfg(test)]
mod tests {
    use super::*;

    fn source() -> Source {
        Source::new("shop.yaml".into(), "/".into(), "a: 1\nb: 2\na: 3\n".to_owned())
    }

    #[test]
    fn a_problem_is_shown_with_its_line_and_the_key_path() {
        let problem = Problem::new(&source(), Place { start: 5, end: 6 }, "b", "unknown key `b`".to_owned())
            .suggest("did you mean `a`?");
        let problems = Problems::new(vec![problem], &[]);
        let expected = "\
error: unknown key `b`; did you mean `a`?
 --> shop.yaml:2:1
  |
2 | b: 2
  | ^ b

1 error in shop.yaml";
        assert_eq!(problems.to_string(), expected);
        assert!(problems.render(true).contains("\u{1b}["), "colour is there when it is asked for");
    }

    #[test]
    fn a_problem_with_an_earlier_place_shows_both_lines() {
        let source = source();
        let problem =
            Problem::new(&source, Place { start: 10, end: 11 }, "a", "`a` is written twice".to_owned())
                .because_of(&source, Place { start: 0, end: 1 }, "first here");
        let text = Problems::new(vec![problem], &[]).to_string();
        assert!(
            text.contains("3 | a: 3") && text.contains("1 | a: 1") && text.contains("first here"),
            "{text}"
        );
    }

    #[test]
    fn problems_come_in_the_order_of_files_and_lines_and_are_counted() {
        let at = |start| Problem::new(&source(), Place { start, end: start + 1 }, "", format!("at {start}"));
        let other = Problem::of_file(Path::new("other.yaml"), "gone".to_owned());
        let files = [PathBuf::from("shop.yaml"), PathBuf::from("other.yaml")];
        let problems = Problems::new(vec![other, at(10), at(0), at(0)], &files);
        let messages: Vec<_> = problems.iter().map(|problem| problem.message.as_str()).collect();
        assert_eq!(messages, ["at 0", "at 10", "gone"]);
        assert!(problems.to_string().ends_with("\n\n3 errors in shop.yaml, other.yaml"));
    }

    #[test]
    fn of_very_many_problems_the_rest_is_counted() {
        let source = Source::new("a".into(), "/".into(), "x\n".repeat(60));
        let many = (0..60).map(|n| Problem::new(&source, Place { start: 2 * n, end: 2 * n }, "", "m".into()));
        let text = Problems::new(many.collect(), &[]).to_string();
        assert!(text.ends_with("and 10 more\n\n60 errors in a"), "{text}");
    }
}
