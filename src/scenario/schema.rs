//! The JSON Schema of both files, made of the keys that reading uses and of the registries.
//!
//! It says what may stand where. What refers to what, and what may stand beside what, is known to
//! `brownout check` alone.

use super::keys;
use crate::{
    expectation::EXPECTATIONS,
    fault::{FAULTS, FaultDef, gate},
    input::{Key, Shape},
};
use serde_json::{Map, Value, json};

/// JSON Schemas (draft 7) of scenario files and of system files, in this order.
pub fn schema() -> (Value, Value) {
    let mut scenario = document("A scenario of Brownout: an outage, and what is required in it");
    merge(&mut scenario, table(&[keys::SCENARIO_FILE], &[]));
    scenario.insert(
        "definitions".to_owned(),
        json!({ keys::FAULT: faults(), keys::EXPECTATION: expectations() }),
    );
    let mut system = document("A system under test of Brownout");
    merge(&mut system, table(&[keys::SYSTEM_FILE], &[]));
    (Value::Object(scenario), Value::Object(system))
}

fn document(title: &str) -> Map<String, Value> {
    let mut document = Map::new();
    document.insert(
        "$schema".to_owned(),
        "http://json-schema.org/draft-07/schema#".into(),
    );
    document.insert("title".to_owned(), title.into());
    document
}

fn merge(into: &mut Map<String, Value>, from: Value) {
    if let Value::Object(from) = from {
        into.extend(from);
    }
}

/// A table with the keys of all these lists, but for those left out.
fn table(lists: &[&[Key]], left_out: &[&str]) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for key in lists.iter().flat_map(|list| list.iter()) {
        if left_out.contains(&key.name) || matches!(key.shape, Shape::Later(_)) {
            continue;
        }
        let mut property = Map::new();
        merge(&mut property, shape(&key.shape));
        property.insert("description".to_owned(), key.doc.into());
        properties.insert(key.name.to_owned(), Value::Object(property));
        if key.required {
            required.push(key.name);
        }
    }
    let mut table = json!({
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    });
    if !required.is_empty() {
        table["required"] = json!(required);
    }
    table
}

fn shape(shape: &Shape) -> Value {
    match shape {
        Shape::Text => json!({ "type": "string" }),
        Shape::OneOfOr(words, prefix) => {
            json!({ "anyOf": [{ "enum": words }, pattern(&format!("^{prefix}.+"))] })
        }
        Shape::OneOf(words) => json!({ "enum": words }),
        Shape::Bool => json!({ "type": "boolean" }),
        Shape::Integer(low, high) => json!({ "type": "integer", "minimum": low, "maximum": high }),
        Shape::Number(low, high) => json!({ "type": "number", "minimum": low, "maximum": high }),
        Shape::Duration => pattern(r"^([0-9.]+ *(us|µs|ms|s|min|m|h) *)+$"),
        Shape::Rate => pattern(r"^[0-9.eE+-]+ */ *(s|min|m|h)$"),
        Shape::Share => pattern(r"^[0-9.eE+-]+ *%$"),
        Shape::Bytes => pattern(r"^[0-9.]+ *[A-Za-z]*B$"),
        Shape::Bandwidth => pattern(r"^[0-9.]+ *[A-Za-z]*B/s$"),
        Shape::Factor => pattern(r"^[0-9.eE+-]+ *x$"),
        Shape::Date => json!({ "type": "string", "format": "date" }),
        Shape::Texts => texts(),
        Shape::TextOrTexts => json!({ "anyOf": [{ "type": "string" }, texts()] }),
        Shape::Table(keys) => table(&[keys], &[]),
        Shape::Tables(keys) => json!({ "type": "array", "items": table(&[keys], &[]) }),
        Shape::MapOf(keys) => {
            json!({ "type": "object", "additionalProperties": table(&[keys], &[]) })
        }
        Shape::TextMap => {
            json!({ "type": "object", "additionalProperties": { "type": "string" } })
        }
        Shape::ScalarMap => json!({
            "type": "object",
            "additionalProperties": { "type": ["string", "number", "boolean"] },
        }),
        Shape::Any | Shape::Later(_) => json!({}),
        Shape::AnyOf(shapes) => {
            json!({ "anyOf": shapes.iter().map(self::shape).collect::<Vec<_>>() })
        }
        Shape::Registry(name) => json!({
            "type": "array",
            "items": { "$ref": format!("#/definitions/{name}") },
        }),
    }
}

fn pattern(pattern: &str) -> Value {
    json!({ "type": "string", "pattern": pattern })
}

fn texts() -> Value {
    json!({ "type": "array", "items": { "type": "string" } })
}

fn faults() -> Value {
    let kind = |def: &FaultDef| {
        let refused: Vec<&str> = def.refuses.iter().map(|(key, _)| *key).collect();
        of_kind(
            def.name,
            def.summary,
            table(&[gate::KEYS, def.keys], &refused),
        )
    };
    json!({ "oneOf": FAULTS.iter().map(kind).collect::<Vec<_>>() })
}

fn expectations() -> Value {
    let kinds = EXPECTATIONS
        .iter()
        .map(|def| of_kind(def.name, def.summary, table(&[keys::EXPECT, def.keys], &[])));
    json!({ "oneOf": kinds.collect::<Vec<_>>() })
}

/// A table that is meant where its `kind` is this.
fn of_kind(name: &str, summary: &str, mut table: Value) -> Value {
    let description = table["properties"]["kind"]["description"].take();
    table["properties"]["kind"] = json!({ "const": name, "description": description });
    table["title"] = name.into();
    table["description"] = summary.into();
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::PROTOCOLS;
    use jsonschema::Validator;
    use toml::Value as Toml;

    fn validators() -> (Validator, Validator) {
        let (scenario, system) = schema();
        let validator = |schema: &Value| jsonschema::draft7::new(schema).unwrap();
        (validator(&scenario), validator(&system))
    }

    /// TOML as an editor's validator sees it: dates are texts.
    fn json(value: &Toml) -> Value {
        match value {
            Toml::Datetime(moment) => moment.to_string().into(),
            Toml::Array(items) => items.iter().map(json).collect(),
            Toml::Table(table) => table
                .iter()
                .map(|(key, value)| (key.clone(), json(value)))
                .collect(),
            Toml::String(text) => text.as_str().into(),
            Toml::Integer(number) => (*number).into(),
            Toml::Float(number) => (*number).into(),
            Toml::Boolean(truth) => (*truth).into(),
        }
    }

    fn check(validator: &Validator, text: &str, good: bool) {
        let value = json(&Toml::Table(text.parse().unwrap()));
        let errors: Vec<String> = validator
            .iter_errors(&value)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert_eq!(errors.is_empty(), good, "{text}\n{errors:#?}");
    }

    fn with_fault(fault: &str) -> String {
        format!("title = \"x\"\nexpect = []\n[[phase]]\nname = \"a\"\nlasts = \"1s\"\n{fault}")
    }

    #[test]
    fn every_example_of_the_registries_is_valid() {
        let (scenario, system) = validators();
        for def in FAULTS {
            check(&scenario, &with_fault(def.example), true);
        }
        for def in EXPECTATIONS {
            check(
                &scenario,
                &format!("title = \"x\"\nphase = []\n{}", def.example),
                true,
            );
        }
        for def in PROTOCOLS {
            check(&system, &format!("[system]\n{}", def.example), true);
        }
    }

    #[test]
    fn unknown_keys_and_kinds_and_units_are_invalid() {
        let (scenario, system) = validators();
        let hang = "[[phase.fault]]\nkind = \"hang\"\non = \"s3\"\n";
        check(&scenario, &with_fault(hang), true);
        for wrong in [
            "kin = 1",
            "share = \"30\"",
            "first = 0",
            "by = \"dice\"",
            "when = { operations = \"x\" }",
        ] {
            check(&scenario, &with_fault(&format!("{hang}{wrong}")), false);
        }
        check(
            &scenario,
            &with_fault("[[phase.fault]]\nkind = \"hong\"\non = \"s3\"\n"),
            false,
        );
        check(&scenario, "title = \"x\"\nphase = []", false);
        check(&system, "[system]\nready = { within = \"20\" }", false);
        check(&system, "[system]\n[ledger.x]", false);
        check(&system, "[system]\n[load.a]\nrate = \"1/s\"", false);
    }

    #[test]
    fn all_that_a_load_can_say_is_valid() {
        let (_, system) = validators();
        check(
            &system,
            r#"
            [system]
            [load.a]
            rate = "90/min"
            request = { path = "/{v}", headers = { a = "b" }, json = { x = [1, "{v}", { y = 1.5 }] } }
            vars = { v = { zipf = 1.1, of = 3 }, w = { one_of = ["a"] } }
            timeout = "1m 30s"
            ok = { status = 200, json = { "/a" = true, "/b" = "> 3" } }
            degraded = { status = "2xx", header = { x = "*" } }
            then = { request = { path = "/" }, until = { status = "200" }, within = "2s" }
            "#,
            true,
        );
    }
}
