//! Checks a tree against a schema and makes of it what deserializes, collecting every mistake on the way.
//!
//! It knows the language of the schema and nothing of single keys; those are in `raw`. A value that is refused is left
//! out of the outcome, so that the rest can still be looked at.

use serde_json::Value as Schema;
use serde_yaml::{Mapping, Value};

use super::leaves::Leaf;
use super::problem::Problem;
use super::source::{Place, Source};
use super::suggestion::nearest;
use super::tree::{Entry, Kind, Node, Scalar};

/// Checks the tree of a whole file and returns what is left of it without its mistakes.
pub(super) fn check(source: &Source, root: &Node, schema: &Schema, problems: &mut Vec<Problem>) -> Value {
    let mut check = Check { source, problems, taken_at: None, lacks_base: false };
    let top = Spot { path: String::new(), name: "the file", place: root.place };
    check.value(root, schema, &top).unwrap_or_else(|| Value::Mapping(Mapping::new()))
}

struct Check<'a> {
    source: &'a Source,
    problems: &'a mut Vec<Problem>,
    /// Where it is written that the section at hand is taken from another entry: what is wrong in it is told there.
    taken_at: Option<Place>,
    /// Whether the entry at hand would take from another one what it lacks, and cannot, which was reported.
    lacks_base: bool,
}

/// The key whose value is looked at.
struct Spot<'a> {
    /// Its path from the top.
    path: String,
    /// Its own name.
    name: &'a str,
    /// Where it is written.
    place: Place,
}

impl Spot<'_> {
    fn below(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn title(&self) -> String {
        if self.path.is_empty() { self.name.to_owned() } else { format!("`{}`", self.name) }
    }
}

impl Check<'_> {
    fn value(&mut self, node: &Node, schema: &Schema, spot: &Spot<'_>) -> Option<Value> {
        let schema = alternative(node, schema);
        match (&node.kind, kind_of(schema)) {
            (Kind::Scalar(scalar), _) if scalar.broken => None,
            (Kind::Map(entries), Shape::Section) => self.section(entries, schema, spot),
            // `programs:` with nothing below it is a section in which everything is left out.
            (Kind::Scalar(scalar), Shape::Section) if scalar.is_null() => self.section(&[], schema, spot),
            (Kind::Scalar(_), Shape::Section) if schema.get("x-shorthand").is_some() => {
                self.shorthand(node, &schema["x-shorthand"], schema, spot)
            }
            (Kind::List(_), Shape::Section) if schema.get("x-list-shorthand").is_some() => {
                self.shorthand(node, &schema["x-list-shorthand"], schema, spot)
            }
            (Kind::List(items), Shape::List) => self.list(items, schema, spot),
            (Kind::Scalar(scalar), Shape::Single) => self.single(node, scalar, schema, spot),
            (Kind::Map(_) | Kind::List(_) | Kind::Scalar(_), _) => {
                let message =
                    format!("{} must be {}, not {}", spot.title(), expected(schema), self.seen(node));
                self.refuse(node, spot, message)
            }
        }
    }

    /// A section: either with keys of its own or with any names as keys.
    fn section(&mut self, entries: &[Entry], schema: &Schema, spot: &Spot<'_>) -> Option<Value> {
        let around = (self.taken_at, self.lacks_base);
        if let Some(key) = schema.get("x-completed-by") {
            let broken = |entry: &Entry| matches!(&entry.value.kind, Kind::Scalar(scalar) if scalar.broken);
            self.lacks_base = entries.iter().any(|entry| *key == *entry.key && broken(entry));
        }
        let mut section = Mapping::new();
        for entry in entries {
            self.taken_at = around.0.or(entry.taken_at);
            let below = Spot { path: spot.below(&entry.key), name: &entry.key, place: entry.place };
            let child = match schema.get("properties") {
                Some(properties) => match properties.get(&entry.key) {
                    Some(child) => child,
                    None => {
                        self.unknown(entry, schema, below.path);
                        continue;
                    }
                },
                None => {
                    self.name(entry, schema, &below);
                    &schema["additionalProperties"]
                }
            };
            if let Some(value) = self.value(&entry.value, child, &below) {
                // A key that is written twice has been reported; its mistakes are found, its value is not used.
                section.entry(entry.key.clone().into()).or_insert(value);
            }
        }
        self.taken_at = around.0;
        self.required(entries, schema, spot);
        self.lacks_base = around.1;
        Some(Value::Mapping(section))
    }

    fn required(&mut self, entries: &[Entry], schema: &Schema, spot: &Spot<'_>) {
        let is_written =
            |key: &str| entries.iter().any(|entry| entry.key == key && !is_left_out(&entry.value));
        let instead = schema.get("x-required-without").and_then(Schema::as_object).into_iter().flatten();
        let instead =
            instead.filter(|(other, _)| !is_written(other)).flat_map(|(_, keys)| strings(Some(keys)));
        let all = instead.chain(strings(schema.get("required")));
        for key in all.filter(|_| !self.lacks_base) {
            if !is_written(key) {
                let property = &schema["properties"][key];
                let example = &property["examples"][0];
                let example = example.as_str().map_or_else(|| example.to_string(), str::to_owned);
                let message = format!("{} has no `{key}`", spot.title());
                let place = self.taken_at.unwrap_or(spot.place);
                let problem = Problem::new(self.source, place, &spot.below(key), message);
                self.problems.push(problem.suggest(format!("add it, as in `{key}: {example}`")));
            }
        }
    }

    fn name(&mut self, entry: &Entry, schema: &Schema, spot: &Spot<'_>) {
        let Some(names) = schema.get("propertyNames") else { return };
        if let Err(refusal) = Leaf::of(names).read(&entry.key) {
            self.tell(Problem::new(self.source, entry.place, &spot.path, refusal.message));
        }
    }

    fn unknown(&mut self, entry: &Entry, schema: &Schema, path: String) {
        let key = entry.key.as_str();
        let problem = |message| Problem::new(self.source, entry.place, &path, message);
        if strings(schema.get("x-not-yet")).any(|known| known == key) {
            // `management: ${RABBITMQ_API:-}` asks for nothing where the variable is not set.
            let asks_for_nothing =
                matches!(&entry.value.kind, Kind::Scalar(scalar) if !scalar.broken && scalar.text.is_empty());
            if !asks_for_nothing {
                let problem = problem(format!("`{key}` is not supported yet"));
                self.tell(problem);
            }
            return;
        }
        if strings(schema.get("x-main-only")).any(|known| known == key) {
            let problem = problem(format!("`{key}` cannot be in an included file"));
            self.tell(problem.suggest("move it to the main file"));
            return;
        }
        let unknown = problem(format!("unknown key `{key}`"));
        self.tell(match known_like(key, schema) {
            Some(known) => unknown.suggest(format!("did you mean `{known}`?")),
            None => unknown,
        });
    }

    /// A single value, or a list, in place of a section stands for one of the section's keys.
    fn shorthand(&mut self, node: &Node, key: &Schema, schema: &Schema, spot: &Spot<'_>) -> Option<Value> {
        let key = key.as_str()?;
        let value = self.value(node, schema["properties"].get(key)?, spot)?;
        Some(Value::Mapping([(Value::from(key), value)].into_iter().collect()))
    }

    fn list(&mut self, items: &[Node], schema: &Schema, spot: &Spot<'_>) -> Option<Value> {
        if items.is_empty() && schema.get("minItems").is_some() {
            let message = format!("{} cannot be empty", spot.title());
            self.tell(Problem::new(self.source, spot.place, &spot.path, message));
            return None;
        }
        let mut list = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let spot = Spot { path: format!("{}[{index}]", spot.path), name: spot.name, place: item.place };
            list.extend(self.value(item, &schema["items"], &spot));
        }
        (list.len() == items.len()).then_some(Value::Sequence(list))
    }

    fn single(&mut self, node: &Node, scalar: &Scalar, schema: &Schema, spot: &Spot<'_>) -> Option<Value> {
        // `stdin: null` is a word as any other.
        let is_word = strings(schema.get("enum")).any(|word| word == scalar.text);
        if scalar.is_null() && !is_word {
            let message = format!("{} has no value", spot.title());
            return self.refuse(node, spot, message);
        }
        if is_left_out(node) && (schema.get("minLength").is_some() || !is_text(schema)) {
            return None;
        }
        if scalar.text.is_empty() && schema.get("minLength").is_some() {
            let message = format!("{} cannot be empty", spot.title());
            return self.refuse(node, spot, message);
        }
        match read(scalar, schema) {
            Ok(value) => Some(value),
            Err(refused) => {
                // What a variable or a file contains may be a secret, so nothing that quotes it is shown.
                let own_words = scalar.written.is_none() && !self.source.hides(node.place);
                let message = match refused.message {
                    Some(message) if own_words => format!("{}: {message}", spot.title()),
                    _ => format!("{} must be {}, not {}", spot.title(), expected(schema), self.seen(node)),
                };
                let place = if node.place.start == node.place.end { spot.place } else { node.place };
                let problem = Problem::new(self.source, place, &spot.path, message);
                self.tell(match refused.suggestion.filter(|_| own_words) {
                    Some(suggestion) => problem.suggest(suggestion),
                    None => problem,
                });
                None
            }
        }
    }

    fn refuse(&mut self, node: &Node, spot: &Spot<'_>, message: String) -> Option<Value> {
        // Sections and lists are long, so there the key is what is pointed at; nothing at all has no place.
        let single = matches!(node.kind, Kind::Scalar(_)) && node.place.start < node.place.end;
        let place = if single { node.place } else { spot.place };
        self.tell(Problem::new(self.source, place, &spot.path, message));
        None
    }

    /// What is wrong with a value that is taken is told of the one that it is taken from.
    fn tell(&mut self, problem: Problem) {
        if self.taken_at.is_none() {
            self.problems.push(problem);
        }
    }

    /// A value in words, for "not ...".
    fn seen(&self, node: &Node) -> String {
        match &node.kind {
            Kind::List(_) => "a list".to_owned(),
            Kind::Map(_) => "a section".to_owned(),
            Kind::Scalar(scalar) if scalar.written.is_some() => {
                let written = scalar.as_written();
                if self.source.hides(node.place) || written.chars().count() > 40 {
                    "what its value expands to".to_owned()
                } else {
                    format!("what \"{written}\" expands to")
                }
            }
            Kind::Scalar(scalar)
                if self.source.hides(node.place)
                    || scalar.text.chars().count() > 40
                    || scalar.text.contains('\n') =>
            {
                "this value".to_owned()
            }
            Kind::Scalar(scalar) => format!("\"{}\"", scalar.text),
        }
    }
}

/// Why a single value is refused.
#[derive(Default)]
struct Refused {
    /// A message of its own, in place of "must be ...".
    message: Option<String>,
    suggestion: Option<String>,
}

/// Reads a single value as its schema says.
fn read(scalar: &Scalar, schema: &Schema) -> Result<Value, Refused> {
    let text = scalar.text.as_str();
    // Quotes make a text of a number, except where they are needed to write `${NAME}`.
    let quoted = scalar.quoted && scalar.written.is_none();
    if let Some(words) = schema.get("enum") {
        let words: Vec<&str> = strings(Some(words)).collect();
        return if words.contains(&text) {
            Ok(text.into())
        } else {
            let suggestion = nearest(text, words).map(|word| format!("did you mean `{word}`?"));
            Err(Refused { message: None, suggestion })
        };
    }
    match schema["type"].as_str() {
        Some("boolean") => match text {
            "true" if !quoted => Ok(true.into()),
            "false" if !quoted => Ok(false.into()),
            "true" | "false" => Err(without_quotes()),
            _ => Err(Refused { message: None, suggestion: truth(text).map(|word| format!("write {word}")) }),
        },
        Some("integer") => match text.parse::<i64>() {
            Ok(_) if quoted => Err(without_quotes()),
            Ok(number) if in_range(number, schema) => Ok(number.into()),
            Ok(_) | Err(_) => Err(Refused::default()),
        },
        _ => Leaf::of(schema)
            .read(text)
            .map_err(|refusal| Refused { message: Some(refusal.message), suggestion: refusal.suggestion }),
    }
}

fn without_quotes() -> Refused {
    Refused { message: None, suggestion: Some("remove the quotes".to_owned()) }
}

/// The truth value that older YAML took a word for.
fn truth(text: &str) -> Option<&'static str> {
    match text.to_ascii_lowercase().as_str() {
        "yes" | "on" | "y" | "true" | "1" => Some("true"),
        "no" | "off" | "n" | "false" | "0" => Some("false"),
        _ => None,
    }
}

fn in_range(number: i64, schema: &Schema) -> bool {
    let bound = |key: &str| schema.get(key).and_then(Schema::as_i64);
    bound("minimum").is_none_or(|minimum| minimum <= number)
        && number <= bound("maximum").unwrap_or(i64::from(u32::MAX))
}

/// Whether a value is a `${NAME:-}` that expanded to nothing.
pub(super) fn is_left_out(node: &Node) -> bool {
    matches!(&node.kind, Kind::Scalar(scalar) if scalar.written.is_some() && !scalar.broken && scalar.text.is_empty())
}

/// What a schema asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Section,
    List,
    Single,
}

fn kind_of(schema: &Schema) -> Shape {
    match schema["type"].as_str() {
        Some("object") => Shape::Section,
        Some("array") => Shape::List,
        _ => Shape::Single,
    }
}

fn is_text(schema: &Schema) -> bool {
    kind_of(schema) == Shape::Single && !matches!(schema["type"].as_str(), Some("boolean" | "integer"))
}

/// Of several schemas the one that has the shape of the value, or the first.
fn alternative<'a>(node: &Node, schema: &'a Schema) -> &'a Schema {
    let Some(alternatives) = schema.get("anyOf").and_then(Schema::as_array) else { return schema };
    let shape = match node.kind {
        Kind::Map(_) => Shape::Section,
        Kind::List(_) => Shape::List,
        Kind::Scalar(_) => Shape::Single,
    };
    alternatives.iter().find(|schema| kind_of(schema) == shape).or(alternatives.first()).unwrap_or(schema)
}

/// What a schema asks for, for a sentence like "must be a list".
pub(super) fn expected(schema: &Schema) -> String {
    match schema["type"].as_str() {
        _ if schema.get("enum").is_some() => {
            let words: Vec<_> = strings(schema.get("enum")).map(|word| format!("`{word}`")).collect();
            match words.as_slice() {
                [all @ .., last] if !all.is_empty() => format!("{} or {last}", all.join(", ")),
                words => words.join(""),
            }
        }
        Some("object") => match schema.get("properties").and_then(Schema::as_object) {
            Some(keys) => {
                let required: Vec<_> = strings(schema.get("required")).collect();
                let others = keys.keys().map(String::as_str).filter(|key| !required.contains(key));
                let keys = required.iter().copied().chain(others).take(3);
                let keys: Vec<_> = keys.map(|key| format!("`{key}`")).collect();
                format!("a section of keys like {}", keys.join(", "))
            }
            None => "a section of names and values".to_owned(),
        },
        Some("array") => "a list".to_owned(),
        Some("boolean") => "true or false".to_owned(),
        Some("integer") => match (schema.get("minimum"), schema.get("maximum")) {
            (Some(minimum), Some(maximum)) => format!("a whole number from {minimum} to {maximum}"),
            (Some(minimum), None) => format!("a whole number from {minimum}"),
            (None, Some(maximum)) => format!("a whole number up to {maximum}"),
            (None, None) => "a whole number".to_owned(),
        },
        _ => Leaf::of(schema).expected().to_owned(),
    }
}

/// What the user may have meant with a key that a section does not have.
fn known_like(key: &str, schema: &Schema) -> Option<String> {
    let properties = schema.get("properties")?.as_object()?;
    // A key of a subsection that was written one level too high.
    let deeper = properties
        .iter()
        .find(|(_, child)| child.get("properties").is_some_and(|properties| properties.get(key).is_some()));
    if let Some((section, _)) = deeper {
        return Some(format!("{section}.{key}"));
    }
    let renamed = schema.get("x-renamed").and_then(Schema::as_object);
    let other_names = renamed.into_iter().flat_map(|renamed| renamed.keys());
    let known = nearest(key, properties.keys().chain(other_names).map(String::as_str))?;
    let ours = renamed.and_then(|renamed| renamed.get(known)?.as_str());
    Some(ours.unwrap_or(known).to_owned())
}

/// The texts of a list in a schema.
fn strings(list: Option<&Schema>) -> impl Iterator<Item = &str> {
    list.and_then(Schema::as_array).into_iter().flatten().filter_map(Schema::as_str)
}
