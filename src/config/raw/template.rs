//! Templates: what programs have in common, which does not run by itself.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny};
use serde_json::Value;

use super::Program;

/// An entry whose keys programs take. It has the keys of a program and lacks whatever those add. All that is in it is read
/// with the programs that extend it.
#[derive(Debug)]
pub(in crate::config) struct Template;

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

impl JsonSchema for Template {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Template".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = Program::json_schema(generator);
        for key in ["x-required", "x-completed-by"] {
            schema.remove(key);
        }
        schema.insert("description".to_owned(), "A template: keys that programs take with `extends`.".into());
        if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
            properties.values_mut().for_each(require_nothing);
        }
        schema
    }
}

/// What a section lacks may come from the program.
fn require_nothing(section: &mut Value) {
    if let Some(fields) = section.as_object_mut() {
        fields.remove("x-required");
        fields.remove("x-required-without");
    }
    let alternatives = section.get_mut("anyOf").and_then(Value::as_array_mut);
    alternatives.into_iter().flatten().for_each(require_nothing);
}
