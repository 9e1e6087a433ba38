//! The JSON schema of the configuration, from the types in `raw`: in the form that checks a file here, and in the form
//! that is published for editors.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::raw;

/// The schema of the configuration file for editors and other tools: JSON Schema draft 7, indented, with a newline at
/// the end. It is committed as `config/schema.json`.
pub fn schema() -> String {
    let mut published = of::<raw::File>();
    published["title"] = "Leveret configuration".into();
    publish(&mut published);
    format!("{published:#}\n")
}

/// The schema of `T` that the check of a file works with: nothing is referred to, no type is `null`.
pub(super) fn of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft07().with(|settings| settings.inline_subschemas = true);
    let mut schema = Value::from(settings.into_generator().into_root_schema_for::<T>());
    drop_null(&mut schema);
    set_required(&mut schema);
    schema
}

/// Takes the required keys from `x-required`: the generator takes every field for required whose schema is a function.
fn set_required(schema: &mut Value) {
    if let Some(fields) = schema.as_object_mut() {
        fields.remove("required");
        if let Some(required) = fields.remove("x-required") {
            fields.insert("required".to_owned(), required);
        }
    }
    for child in children(schema) {
        set_required(child);
    }
}

/// Removes what an optional field has in the schema: in the file a key is left out, never set to null.
fn drop_null(schema: &mut Value) {
    if let Some(types) = schema.get_mut("type").and_then(Value::as_array_mut) {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            schema["type"] = only.clone();
        }
    }
    if let Some(fields) = schema.as_object_mut()
        && let Some(Value::Array(alternatives)) = fields.get_mut("anyOf")
    {
        alternatives.retain(|alternative| alternative.get("type") != Some(&json!("null")));
        if let [Value::Object(only)] = alternatives.as_mut_slice() {
            let only = std::mem::take(only);
            fields.remove("anyOf");
            for (key, value) in only {
                fields.entry(key).or_insert(value);
            }
        }
    }
    for child in children(schema) {
        drop_null(child);
    }
}

/// Turns the checking form into the published one: without the extensions, and with `${...}` allowed wherever a
/// number, a truth value or a certain word stands.
fn publish(schema: &mut Value) {
    if let Some(key) = schema.get("x-completed-by").cloned() {
        require_unless(&key, schema);
    }
    for child in children(schema) {
        publish(child);
    }
    let Some(fields) = schema.as_object_mut() else { return };
    let list_shorthand = fields.get("x-list-shorthand").and_then(Value::as_str).map(str::to_owned);
    let shorthand = fields.get("x-shorthand").and_then(Value::as_str).map(str::to_owned);
    fields.retain(|key, _| !key.starts_with("x-"));
    if let Some(Value::Object(names)) = fields.get_mut("propertyNames") {
        names.retain(|key, _| !key.starts_with("x-"));
    }
    if let Some(key) = shorthand.or(list_shorthand) {
        let alone = fields["properties"][&key].clone();
        let section = extract(fields, &["type", "properties", "additionalProperties", "required"]);
        fields.insert("anyOf".to_owned(), json!([alone, section]));
    }
    let constrained = ["enum", "pattern", "minimum", "maximum"].iter().any(|key| fields.contains_key(*key));
    let closed = matches!(fields.get("type").and_then(Value::as_str), Some("integer" | "boolean"));
    if (constrained || closed) && fields.contains_key("type") {
        let keys = ["type", "enum", "pattern", "minimum", "maximum", "minLength", "maxLength", "format"];
        let mut typed = extract(fields, &keys);
        if let Some(typed) = typed.as_object_mut() {
            typed.remove("format");
        }
        fields.insert("anyOf".to_owned(), json!([typed, {"type": "string", "pattern": r"\$\{.*\}"}]));
    }
}

/// What a section and those in it require holds only where it does not take the keys of another, which `key` says.
fn require_unless(key: &Value, schema: &mut Value) {
    let mut properties = Map::new();
    for (name, section) in schema.get_mut("properties").and_then(Value::as_object_mut).into_iter().flatten() {
        if let Some(required) = section.as_object_mut().and_then(|fields| fields.remove("required")) {
            properties.insert(name.clone(), json!({"required": required}));
        }
    }
    let required = schema.as_object_mut().and_then(|fields| fields.remove("required"));
    schema["if"] = json!({"required": [key]});
    schema["else"] = json!({"required": required.unwrap_or_else(|| json!([])), "properties": properties});
}

/// Moves some keys of a schema into a schema of their own.
fn extract(fields: &mut Map<String, Value>, keys: &[&str]) -> Value {
    let moved = keys.iter().filter_map(|key| Some(((*key).to_owned(), fields.remove(*key)?)));
    Value::Object(moved.collect())
}

/// The schemas within a schema.
fn children(schema: &mut Value) -> Vec<&mut Value> {
    let mut children = Vec::new();
    let Some(fields) = schema.as_object_mut() else { return children };
    for (key, value) in fields {
        match (key.as_str(), value) {
            ("properties", Value::Object(properties)) => children.extend(properties.values_mut()),
            ("anyOf", Value::Array(alternatives)) => children.extend(alternatives),
            ("items" | "additionalProperties", value @ Value::Object(_)) => children.push(value),
            _ => {}
        }
    }
    children
}

#[cfg(test)]
mod tests {
    use super::super::leaves::{Leaf, READS};
    use super::*;

    const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/schema.json");

    #[test]
    fn the_committed_schema_is_the_one_that_the_code_has() {
        if std::env::var_os("LEVERET_UPDATE").is_some() {
            std::fs::write(COMMITTED, schema()).unwrap();
        }
        let committed = std::fs::read_to_string(COMMITTED).unwrap_or_default();
        assert!(
            committed == schema(),
            "config/schema.json is stale: regenerate it with `LEVERET_UPDATE=1 cargo test --lib schema`"
        );
    }

    fn visit(schema: &Value, path: &str, look: &mut dyn FnMut(&Value, &str)) {
        look(schema, path);
        let mut copy = schema.clone();
        if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
            for (key, value) in properties {
                visit(value, &format!("{path}.{key}"), look);
            }
            copy["properties"] = json!({});
        }
        for child in children(&mut copy) {
            visit(child, path, look);
        }
    }

    #[test]
    fn every_key_has_a_description_and_none_is_null() {
        let mut keys = 0;
        visit(&of::<raw::File>(), "", &mut |schema, path| {
            let kinds = schema.get("type").map(Value::to_string).unwrap_or_default();
            assert!(!kinds.contains("\"null\""), "{path} can be null");
            for schema in [Some(schema), schema.get("propertyNames")].into_iter().flatten() {
                if let Some(reads) = schema.get(READS) {
                    let kind = Leaf::named(reads.as_str().unwrap());
                    assert!(kind.is_some(), "{path} has a kind without a reader: {reads}");
                }
            }
            if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
                for (key, value) in properties {
                    keys += 1;
                    let described = value["description"].as_str().is_some_and(|text| text.ends_with('.'));
                    assert!(described, "{path}.{key} has no description: {value}");
                }
            }
        });
        assert!(keys > 50, "only {keys} keys were looked at");
    }

    #[test]
    fn the_published_schema_has_no_extensions_and_allows_expansion() {
        let published: Value = serde_json::from_str(&schema()).unwrap();
        assert!(!schema().contains("\"x-"));
        let program = &published["properties"]["programs"]["additionalProperties"];
        let scale = &program["properties"]["scale"];
        assert_eq!((&program["required"], &scale["required"]), (&Value::Null, &Value::Null));
        assert_eq!(program["if"], json!({"required": ["extends"]}));
        assert_eq!(program["else"]["required"], json!(["command"]));
        assert_eq!(program["else"]["properties"]["scale"], Value::Null);
        assert_eq!(
            scale["properties"]["max"]["anyOf"],
            json!([{"type": "integer", "minimum": 1, "maximum": 1000}, {"type": "string", "pattern": r"\$\{.*\}"}])
        );
        let broker = &published["properties"]["brokers"]["additionalProperties"];
        assert_eq!(broker["anyOf"][0]["type"], "string");
        assert_eq!(broker["anyOf"][1]["type"], "object");
    }
}
