//! How a fault is called in a line.

use crate::{
    fault::{FaultDef, Gate},
    input::{HIDDEN, is_named_after_a_secret, without_secrets},
};
use toml::de::{DeTable, DeValue};

/// The most characters that one parameter takes in a fault's label.
const LABEL_PART_MAX: usize = 60;

/// One line for people: `error on object-store, InternalError, applied maybe, 30%`.
pub fn label(def: &FaultDef, on: &str, table: &DeTable<'_>, gate: &Gate) -> String {
    let mut label = format!("{} on {on}", def.name);
    for key in def.keys {
        if let Some(value) = table.get(key.name) {
            let mut said = String::new();
            in_words(key.name, value.get_ref(), &mut said);
            // The kind's main parameter often bears the kind's own name.
            let said = said
                .strip_prefix(&format!("{} ", def.name))
                .unwrap_or(&said);
            label.push_str(", ");
            label.extend(said.chars().take(LABEL_PART_MAX));
        }
    }
    let picked = gate.to_string();
    if !picked.is_empty() {
        label.push_str(", ");
        label.push_str(&picked);
    }
    label
}

/// Appends a key and its value as people would say them.
fn in_words(key: &str, value: &DeValue<'_>, said: &mut String) {
    let join = |said: &mut String, text: &str| {
        if !said.is_empty() {
            said.push(' ');
        }
        said.extend(text.chars().filter(|c| !c.is_control()));
    };
    match value {
        DeValue::Boolean(true) => join(said, key),
        DeValue::Boolean(false) => join(said, &format!("not {key}")),
        DeValue::String(_) if is_named_after_a_secret(key) => {
            join(said, &format!("{key} {HIDDEN}"));
        }
        DeValue::String(text) => join(said, &format!("{key} {}", without_secrets(text))),
        DeValue::Integer(number) => join(said, &format!("{key} {number}")),
        DeValue::Float(number) => join(said, &format!("{key} {number}")),
        DeValue::Datetime(moment) => join(said, &format!("{key} {moment}")),
        DeValue::Array(items) => {
            join(said, key);
            for item in items.iter() {
                if let DeValue::String(text) = item.get_ref() {
                    join(said, text);
                }
            }
        }
        DeValue::Table(table) => {
            join(said, key);
            for (key, value) in table.iter() {
                in_words(key.get_ref(), value.get_ref(), said);
            }
        }
    }
}
