//! A configuration file as a tree in which every key and value knows its place.
//!
//! serde's readers stop at the first mistake and forget where values stood; this tree is what lets all mistakes of
//! a file be reported together. It knows YAML and nothing of what the keys mean.

use std::borrow::Cow;
use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, Tag};

use super::source::{Place, Source};

/// How deep a file may be nested.
const DEPTH_MAX: usize = 32;

/// How many values a file may have once its aliases are replaced by what they stand for.
const NODES_MAX: usize = 200_000;

/// A value and its place.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// Where it is written.
    pub(super) place: Place,
    /// What it is.
    pub(super) kind: Kind,
}

/// What a value is.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    /// A text, number, truth value or nothing.
    Scalar(Scalar),
    /// A list.
    List(Vec<Node>),
    /// A section of keys, in the order of the file.
    Map(Vec<Entry>),
}

/// A key and its value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// The key.
    pub(super) key: String,
    /// Where the key is written.
    pub(super) place: Place,
    /// The value.
    pub(super) value: Node,
    /// Where it is written that this is taken from another entry, if it is.
    pub(super) taken_at: Option<Place>,
}

/// A single value as text.
#[derive(Clone, Debug)]
pub(super) struct Scalar {
    /// The text, expanded where it had `${...}`.
    pub(super) text: String,
    /// The text before it was expanded, where it had `${...}`.
    pub(super) written: Option<String>,
    /// Whether it stands in quotes or in a block of its own, and so is a text whatever it looks like.
    pub(super) quoted: bool,
    /// Whether it could not be expanded, which has been reported.
    pub(super) broken: bool,
}

impl Scalar {
    /// The text as it stands in the file.
    pub(super) fn as_written(&self) -> &str {
        self.written.as_deref().unwrap_or(&self.text)
    }

    /// Whether nothing was written.
    pub(super) fn is_null(&self) -> bool {
        !self.quoted
            && self.written.is_none()
            && matches!(self.text.as_str(), "" | "~" | "null" | "Null" | "NULL")
    }
}

impl Node {
    /// The keys and values of a section; none for anything else.
    pub(super) fn entries(&self) -> &[Entry] {
        match &self.kind {
            Kind::Map(entries) => entries,
            Kind::Scalar(_) | Kind::List(_) => &[],
        }
    }

    /// The entry with this key.
    pub(super) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }

    /// How many levels there are below this one, and how many values in all, itself included.
    fn extent(&self) -> (usize, usize) {
        let below = |extents: &mut dyn Iterator<Item = (usize, usize)>| {
            extents.fold((0, 1), |(deepest, all), (depth, nodes)| (deepest.max(depth + 1), all + nodes))
        };
        match &self.kind {
            Kind::Scalar(_) => (0, 1),
            Kind::List(items) => below(&mut items.iter().map(Node::extent)),
            Kind::Map(entries) => below(&mut entries.iter().map(|entry| entry.value.extent())),
        }
    }
}

/// A mistake in how a file is written. It becomes a problem once it is known what of the file is secret.
#[derive(Debug)]
pub(super) struct Mistake {
    /// Where.
    pub(super) place: Place,
    /// The path of the key.
    pub(super) key: String,
    /// What is wrong.
    pub(super) message: String,
    /// What to try.
    pub(super) suggestion: Option<&'static str>,
    /// Where the same key was written first.
    pub(super) first: Option<Place>,
}

/// Parses a file. Without a tree there is exactly one mistake, in the YAML itself; with a tree there may be several
/// that the tree could be built in spite of. An empty file is an empty section.
pub(super) fn parse(source: &Source) -> (Option<Node>, Vec<Mistake>) {
    let mut builder = Builder::new(source);
    for event in Parser::new_from_str(source.text()) {
        let outcome = match event {
            Ok((event, span)) => builder.take(event, span),
            Err(error) => Err(Box::new(builder.syntax(&error))),
        };
        if let Err(fatal) = outcome {
            return (None, vec![*fatal]);
        }
    }
    let empty = || Node { place: Place::default(), kind: Kind::Map(Vec::new()) };
    (Some(builder.root.unwrap_or_else(empty)), builder.mistakes)
}

/// What is being built, from the outside in.
struct Builder<'a> {
    source: &'a Source,
    /// The first byte of every character, where characters and bytes differ.
    offsets: Option<Vec<usize>>,
    open: Vec<Open>,
    anchors: BTreeMap<usize, Node>,
    nodes: usize,
    root: Option<Node>,
    documents: usize,
    mistakes: Vec<Mistake>,
}

/// A list or section whose end has not come yet.
struct Open {
    start: Place,
    anchor: usize,
    kind: Kind,
    /// In a section, the key whose value comes next.
    key: Option<Key>,
    /// In a section, the keys so far.
    seen: BTreeMap<String, Place>,
}

enum Key {
    Text(String, Place),
    /// Not a text; reported, and dropped with its value.
    Unusable,
}

impl<'a> Builder<'a> {
    fn new(source: &'a Source) -> Self {
        let text = source.text();
        let offsets = (!text.is_ascii())
            .then(|| text.char_indices().map(|(byte, _)| byte).chain([text.len()]).collect::<Vec<_>>());
        Self {
            source,
            offsets,
            open: Vec::new(),
            anchors: BTreeMap::new(),
            nodes: 0,
            root: None,
            documents: 0,
            mistakes: Vec::new(),
        }
    }

    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Box<Mistake>> {
        let place = self.place(span);
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) => self.document(place),
            Event::Alias(anchor) => self.alias(anchor, place),
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_tag(tag, place);
                let quoted = style != ScalarStyle::Plain;
                let place = self.without_comment(place, style);
                let scalar = Scalar { text: text.into_owned(), written: None, quoted, broken: false };
                self.finish(Node { place, kind: Kind::Scalar(scalar) }, anchor)
            }
            Event::SequenceStart(anchor, tag) => self.begin(Kind::List(Vec::new()), anchor, tag, place),
            Event::MappingStart(anchor, tag) => self.begin(Kind::Map(Vec::new()), anchor, tag, place),
            Event::SequenceEnd | Event::MappingEnd => self.end(place),
        }
    }

    fn document(&mut self, place: Place) -> Result<(), Box<Mistake>> {
        self.documents += 1;
        if self.documents > 1 {
            return Err(self.fatal(place, "a second document begins here; a file has one"));
        }
        Ok(())
    }

    fn alias(&mut self, anchor: usize, place: Place) -> Result<(), Box<Mistake>> {
        let Some(node) = self.anchors.get(&anchor).cloned() else {
            return Err(self.fatal(place, "this alias stands inside the value that it names"));
        };
        let (depth, nodes) = node.extent();
        if self.open.len() + depth >= DEPTH_MAX {
            return Err(self.fatal(place, "this alias nests the file too deeply"));
        }
        self.count(nodes, place)?;
        self.attach(node);
        Ok(())
    }

    fn begin(
        &mut self,
        kind: Kind,
        anchor: usize,
        tag: Option<Cow<'_, Tag>>,
        place: Place,
    ) -> Result<(), Box<Mistake>> {
        if self.open.len() >= DEPTH_MAX {
            return Err(self.fatal(place, "this is nested too deeply"));
        }
        self.refuse_tag(tag, place);
        self.open.push(Open { start: place, anchor, kind, key: None, seen: BTreeMap::new() });
        Ok(())
    }

    fn end(&mut self, place: Place) -> Result<(), Box<Mistake>> {
        let Some(open) = self.open.pop() else { return Ok(()) };
        let place = Place { start: open.start.start, end: place.end.max(open.start.end) };
        self.finish(Node { place, kind: open.kind }, open.anchor)
    }

    fn finish(&mut self, node: Node, anchor: usize) -> Result<(), Box<Mistake>> {
        self.count(1, node.place)?;
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        self.attach(node);
        Ok(())
    }

    /// Puts a finished value where it belongs: into the list, or as key or value into the section.
    fn attach(&mut self, node: Node) {
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return;
        };
        match &mut open.kind {
            Kind::List(items) => items.push(node),
            Kind::Map(entries) => match open.key.take() {
                None => self.key(node),
                Some(Key::Text(key, place)) => {
                    entries.push(Entry { key, place, value: node, taken_at: None })
                }
                Some(Key::Unusable) => {}
            },
            Kind::Scalar(_) => unreachable!("only lists and sections are ever open"),
        }
    }

    /// Takes the key of the entry that begins here, in the innermost section.
    fn key(&mut self, node: Node) {
        let path = self.path();
        let Some(open) = self.open.last_mut() else { return };
        let place = node.place;
        let Kind::Scalar(Scalar { text, quoted, .. }) = node.kind else {
            open.key = Some(Key::Unusable);
            self.mistake(place, path, "a key is a plain text, not a list or a section", None);
            return;
        };
        if text == "<<" && !quoted {
            open.key = Some(Key::Unusable);
            let hint =
                "write what programs have in common under `defaults:`, or in a template that they extend";
            self.mistake(place, path, "`<<` is not supported", Some(hint));
            return;
        }
        let first = open.seen.get(&text).copied();
        if first.is_none() {
            open.seen.insert(text.clone(), place);
        }
        open.key = Some(Key::Text(text.clone(), place));
        if first.is_some() {
            let message = format!("`{text}` is written twice");
            self.mistakes.push(Mistake { place, key: self.path(), message, suggestion: None, first });
        }
    }

    /// The keys that lead to what is being read.
    fn path(&self) -> String {
        let keys = self.open.iter().filter_map(|open| match &open.key {
            Some(Key::Text(key, _)) => Some(key.as_str()),
            Some(Key::Unusable) | None => None,
        });
        keys.collect::<Vec<_>>().join(".")
    }

    fn refuse_tag(&mut self, tag: Option<Cow<'_, Tag>>, place: Place) {
        if tag.is_some() {
            let message = "types written with `!` are not supported";
            self.mistake(place, self.path(), message, Some("write the value alone"));
        }
    }

    fn mistake(&mut self, place: Place, key: String, message: &str, suggestion: Option<&'static str>) {
        self.mistakes.push(Mistake { place, key, message: message.to_owned(), suggestion, first: None });
    }

    fn count(&mut self, nodes: usize, place: Place) -> Result<(), Box<Mistake>> {
        self.nodes += nodes;
        if self.nodes > NODES_MAX {
            return Err(self.fatal(place, "up to here the file has more than 200000 values"));
        }
        Ok(())
    }

    fn fatal(&self, place: Place, message: &str) -> Box<Mistake> {
        Box::new(Mistake {
            place,
            key: self.path(),
            message: message.to_owned(),
            suggestion: None,
            first: None,
        })
    }

    fn syntax(&self, error: &ScanError) -> Mistake {
        let start = self.byte(error.marker().index());
        let place = Place { start, end: start };
        let suggestion = syntax_hint(error.info(), &self.source.excerpt(place).text);
        let message = format!("this is not valid YAML: {}", error.info());
        Mistake { place, key: String::new(), message, suggestion, first: None }
    }

    /// Where an event is, without white space and line breaks at its end.
    fn place(&self, span: Span) -> Place {
        let (start, end) = (self.byte(span.start.index()), self.byte(span.end.index()));
        let text = self.source.text().get(start..end).unwrap_or_default();
        Place { start, end: start + text.trim_end().len() }
    }

    /// A text in quotes up to its closing quote; the parser's place goes on to the end of a comment after it.
    fn without_comment(&self, place: Place, style: ScalarStyle) -> Place {
        let quote = match style {
            ScalarStyle::DoubleQuoted => '"',
            ScalarStyle::SingleQuoted => '\'',
            ScalarStyle::Plain | ScalarStyle::Literal | ScalarStyle::Folded => return place,
        };
        let text = &self.source.text()[place.start..place.end];
        let mut quotes = 0;
        let mut escaped = false;
        for (at, character) in text.char_indices() {
            if escaped {
                escaped = false;
            } else if character == '\\' && quote == '"' && quotes > 0 {
                escaped = true;
            } else if character == quote {
                quotes += 1;
                // In single quotes, a doubled quote is one that belongs to the text.
                let closing = quotes % 2 == 0 && !(quote == '\'' && text[at + 1..].starts_with(quote));
                if closing {
                    return Place { start: place.start, end: place.start + at + 1 };
                }
            }
        }
        place
    }

    fn byte(&self, character: usize) -> usize {
        match &self.offsets {
            None => character.min(self.source.text().len()),
            Some(offsets) => offsets.get(character).copied().unwrap_or(self.source.text().len()),
        }
    }
}

/// What to try about a mistake in the YAML, for those that are easily made.
fn syntax_hint(info: &str, line: &str) -> Option<&'static str> {
    if info.contains("unknown anchor") {
        Some("put quotes around a value that begins with `*`")
    } else if info.contains("mapping values are not allowed") {
        Some("put quotes around a value that contains `: `")
    } else if info.contains("tab") {
        Some("indent with spaces")
    } else if info.contains("flow") && line.contains("${") {
        Some("within `{ }` and `[ ]`, put quotes around a value with `${`")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn source(text: &str) -> Source {
        Source::new("a.yaml".into(), "/".into(), text.to_owned())
    }

    fn one_problem(text: &str) -> String {
        let source = source(text);
        let (_, mistakes) = parse(&source);
        assert_eq!(mistakes.len(), 1, "{mistakes:?}");
        let at = source.excerpt(mistakes[0].place);
        format!("{}:{} {}", at.line, at.column, sentence(&mistakes[0]))
    }

    fn sentence(mistake: &Mistake) -> String {
        let hint = mistake.suggestion.map(|hint| format!("; {hint}")).unwrap_or_default();
        format!("{}{hint}", mistake.message)
    }

    fn parse_one(text: &str) -> Vec<String> {
        let source = source(text);
        let root = parse(&source).0.unwrap();
        root.entries().iter().map(|entry| text_of(&source, entry.value.place).to_owned()).collect()
    }

    fn text_of(source: &Source, place: Place) -> &str {
        &source.text()[place.start..place.end]
    }

    #[test]
    fn keys_and_values_know_their_places() {
        let source = source("# ü\r\na: \"ä b\"   # c\r\nb:\r\n  - 1\r\n  - {c: d}\r\n");
        let (root, mistakes) = parse(&source);
        let root = root.unwrap();
        assert!(mistakes.is_empty());
        let a = root.entry("a").unwrap();
        assert_eq!((text_of(&source, a.place), text_of(&source, a.value.place)), ("a", "\"ä b\""));
        let Kind::List(items) = &root.entry("b").unwrap().value.kind else { panic!("a list") };
        let quoted = parse_one("a: \"x\\\"y\" # \"c\"\nb: 'it''s' # 'c'\n");
        assert_eq!(quoted, ["\"x\\\"y\"", "'it''s'"]);
        assert_eq!(text_of(&source, items[0].place), "1");
        assert_eq!(text_of(&source, items[1].place), "{c: d}");
        assert_eq!(text_of(&source, items[1].entry("c").unwrap().value.place), "d");
    }

    #[test]
    fn an_alias_stands_for_the_value_that_it_names() {
        let source = source("a: &x {b: 1}\nc: *x\n");
        let root = parse(&source).0.unwrap();
        assert!(root.entry("c").unwrap().value.entry("b").is_some());
    }

    #[test]
    fn mistakes_that_leave_the_file_readable_are_found_together() {
        let source = source("a: 1\n<<: {b: 2}\na: 3\n[x]: 4\nc: !!str 5\n");
        let (root, mistakes) = parse(&source);
        let found: Vec<_> = mistakes.iter().map(sentence).collect();
        assert_eq!(
            found,
            [
                "`<<` is not supported; write what programs have in common under `defaults:`, or in a template that they \
                 extend",
                "`a` is written twice",
                "a key is a plain text, not a list or a section",
                "types written with `!` are not supported; write the value alone",
            ]
        );
        assert_eq!(mistakes[1].first, Some(Place { start: 0, end: 1 }));
        assert!(root.unwrap().entry("c").is_some());
    }

    #[test]
    fn mistakes_in_the_yaml_come_with_line_column_and_what_to_try() {
        for (text, expected) in [
            (
                "a:\n  command: echo: hi\n",
                "2:16 this is not valid YAML: mapping values are not allowed in this context; put quotes around a \
                 value that contains `: `",
            ),
            (
                "include: [*.yaml]\n",
                "1:11 this is not valid YAML: while parsing node, found unknown anchor; put quotes around a value \
                 that begins with `*`",
            ),
            (
                "a:\n\tb: 1\n",
                "2:2 this is not valid YAML: tabs disallowed within this context (block indentation); indent with \
                 spaces",
            ),
            (
                "a: {q: ${Q}}\n",
                "1:9 this is not valid YAML: while parsing a flow mapping, did not find expected ',' or '}'; within \
                 `{ }` and `[ ]`, put quotes around a value with `${`",
            ),
            ("a: 1\n---\nb: 2\n", "2:1 a second document begins here; a file has one"),
        ] {
            assert_eq!(one_problem(text), expected);
        }
    }

    #[test]
    fn depth_and_size_are_bounded_also_by_way_of_aliases() {
        assert!(one_problem(&"[".repeat(40)).ends_with("this is nested too deeply"));
        let mut text = String::from("a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n");
        for n in 1..10 {
            let names = vec![format!("*a{}", n - 1); 10].join(", ");
            text.push_str(&format!("a{n}: &a{n} [{names}]\n"));
        }
        assert!(one_problem(&text).contains("more than 200000 values"));
        let mut text = String::from("a0: &a0 [1]\n");
        for n in 1..40 {
            text.push_str(&format!("a{n}: &a{n} [*a{}]\n", n - 1));
        }
        assert!(one_problem(&text).contains("nests the file too deeply"));
        assert!(one_problem("a: &x [*x]\n").contains("inside the value that it names"));
    }

    #[test]
    fn an_empty_file_is_an_empty_section() {
        for text in ["", "# nothing\n", "---\n"] {
            let source = source(text);
            let (root, mistakes) = parse(&source);
            assert!(mistakes.is_empty() && root.is_some(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "[a-c:&*!<>\\-?{}\\[\\],#|\"'% \t\r\nä$]{0,60}") {
            let source = source(&text);
            let (root, mistakes) = parse(&source);
            prop_assert!(root.is_some() || mistakes.len() == 1);
        }
    }
}
