//! The kinds of faults that can be put in force by hand, for forms that are made of them.

use crate::{
    control::bench::fault::kinds,
    fault::{FaultDef, Group, gate},
    input::{Key, Shape},
    protocol::PROTOCOLS,
};
use serde_json::{Map, Value, json};

/// Keys of a file that mean nothing here, or are said otherwise.
const LEFT_OUT: &[&str] = &["kind", "on", "ramp", "one_of", "min_hits"];

/// All kinds, and the keys that all of them may have.
pub(super) fn listing() -> Value {
    json!({
        "kinds": kinds().map(kind).collect::<Vec<_>>(),
        "common": keys(gate::KEYS),
    })
}

fn kind(def: &'static FaultDef) -> Value {
    let carried = PROTOCOLS
        .iter()
        .filter(|one| (def.carried_by)(one.protocol).is_ok());
    let mut protocols: Vec<&str> = carried.map(|one| one.name).collect();
    // The example acts on the first.
    let example = def.example_protocol.def().name;
    protocols.sort_by_key(|name| *name != example);
    let refused: Vec<&str> = def.refuses.iter().map(|(key, _)| *key).collect();
    json!({
        "name": def.name,
        "summary": def.summary,
        "group": group(def.group),
        "protocols": protocols,
        "keys": keys(def.keys),
        "refuses": refused,
        "example": example_of(def),
    })
}

const fn group(group: Group) -> &'static str {
    match group {
        Group::Connection => "connection",
        Group::Stream => "stream",
        Group::Message => "message",
        Group::Capacity => "capacity",
        Group::Process => "process",
    }
}

fn keys(keys: &[Key]) -> Vec<Value> {
    let shown = keys
        .iter()
        .filter(|key| !LEFT_OUT.contains(&key.name) && !matches!(key.shape, Shape::Later(_)));
    shown.map(key).collect()
}

fn key(key: &Key) -> Value {
    let mut shown = shape(&key.shape);
    shown.insert("name".to_owned(), key.name.into());
    shown.insert("required".to_owned(), key.required.into());
    shown.insert("summary".to_owned(), key.doc.into());
    Value::Object(shown)
}

fn shape(shape: &Shape) -> Map<String, Value> {
    let mut shown = Map::new();
    let kind = match shape {
        Shape::Text => "text",
        Shape::OneOf(words) => {
            shown.insert("choices".to_owned(), json!(words));
            "one-of"
        }
        Shape::OneOfOr(words, prefix) => {
            shown.insert("choices".to_owned(), json!(words));
            shown.insert("prefix".to_owned(), json!(prefix));
            "one-of"
        }
        Shape::Bool => "bool",
        Shape::Integer(low, high) => {
            shown.insert("min".to_owned(), json!(low));
            shown.insert("max".to_owned(), json!(high));
            "integer"
        }
        Shape::Number(low, high) => {
            shown.insert("min".to_owned(), json!(low));
            shown.insert("max".to_owned(), json!(high));
            "number"
        }
        Shape::Duration => "duration",
        Shape::Rate => "rate",
        Shape::Share => "share",
        Shape::Bytes => "bytes",
        Shape::Bandwidth => "bandwidth",
        Shape::Factor => "factor",
        Shape::Date => "date",
        Shape::Texts => "texts",
        Shape::TextOrTexts => "text-or-texts",
        Shape::Table(inner) => {
            shown.insert("keys".to_owned(), keys(inner).into());
            "table"
        }
        Shape::Tables(inner) => {
            shown.insert("keys".to_owned(), keys(inner).into());
            "tables"
        }
        Shape::TextMap => "text-map",
        Shape::MapOf(_)
        | Shape::ScalarMap
        | Shape::Any
        | Shape::AnyOf(_)
        | Shape::Registry(_)
        | Shape::Later(_) => "any",
    };
    shown.insert("type".to_owned(), kind.into());
    shown
}

/// A kind's example, without what a phase or a name alone can say.
fn example_of(def: &FaultDef) -> Value {
    let table: toml::Table = def.example.parse().unwrap_or_default();
    let fault = table.get("phase").and_then(|phase| phase.get("fault"));
    let fault = fault
        .and_then(|fault| fault.get(0))
        .and_then(toml::Value::as_table);
    let entries = fault.into_iter().flatten();
    let said = entries.filter(|(key, _)| !LEFT_OUT.contains(&key.as_str()));
    said.map(|(key, value)| (key.clone(), plain(value)))
        .collect()
}

fn plain(value: &toml::Value) -> Value {
    match value {
        toml::Value::String(text) => text.as_str().into(),
        toml::Value::Integer(number) => (*number).into(),
        toml::Value::Float(number) => (*number).into(),
        toml::Value::Boolean(is) => (*is).into(),
        toml::Value::Datetime(moment) => moment.to_string().into(),
        toml::Value::Array(members) => members.iter().map(plain).collect(),
        toml::Value::Table(table) => table
            .iter()
            .map(|(key, value)| (key.clone(), plain(value)))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        control::{
            bench::fault::{Asked, Target},
            toxiproxy::json::Node,
        },
        protocol::PROTOCOLS,
    };

    #[test]
    fn every_example_can_be_put_in_force_as_it_stands() {
        let listing = listing();
        let kinds = listing["kinds"].as_array().expect("a list");
        assert!(kinds.len() > 20, "{}", kinds.len());
        for kind in kinds {
            let mut said = kind["example"].clone();
            said["kind"] = kind["name"].clone();
            said["on"] = "x".into();
            said["ttl"] = "30s".into();
            let spoken = kind["protocols"][0].as_str().expect("a protocol");
            let def = PROTOCOLS.iter().find(|def| def.name == spoken);
            let target = Target {
                name: "x".into(),
                role: None,
                protocol: def.expect("it is there").protocol,
                has_capacity: false,
            };
            let node = Node::read(said.to_string().as_bytes()).expect("it is JSON");
            let asked = Asked::read(&node, &[target]);
            assert!(asked.is_ok(), "{said}: {:?}", asked.err());
        }
    }
}
