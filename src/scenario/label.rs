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
            in_words(key.name, value.get_ref(), false, &mut said);
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

/// Tables in which every text may be a secret.
const TABLES: [&str; 3] = ["env", "header", "headers"];

/// Appends a key and its value as people would say them. Nobody is shown what may be a secret: texts in
/// a table of headers, or below a name that says so.
fn in_words(key: &str, value: &DeValue<'_>, is_secret: bool, said: &mut String) {
    let is_secret = is_secret || TABLES.contains(&key) || is_named_after_a_secret(key);
    let join = |said: &mut String, text: &str| {
        if !said.is_empty() {
            said.push(' ');
        }
        said.extend(text.chars().filter(|c| !c.is_control()));
    };
    let shown = |text: &str| match is_secret {
        true => HIDDEN.to_owned(),
        false => without_secrets(text),
    };
    match value {
        DeValue::Boolean(true) => join(said, key),
        DeValue::Boolean(false) => join(said, &format!("not {key}")),
        DeValue::String(text) => join(said, &format!("{key} {}", shown(text))),
        DeValue::Integer(number) => join(said, &format!("{key} {}", shown(&number.to_string()))),
        DeValue::Float(number) => join(said, &format!("{key} {}", shown(&number.to_string()))),
        DeValue::Datetime(moment) => join(said, &format!("{key} {moment}")),
        DeValue::Array(items) => {
            join(said, key);
            for item in items.iter() {
                if let DeValue::String(text) = item.get_ref() {
                    join(said, &shown(text));
                }
            }
        }
        DeValue::Table(table) => {
            join(said, key);
            for (key, value) in table.iter() {
                in_words(key.get_ref(), value.get_ref(), is_secret, said);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words(text: &str) -> String {
        let table = DeTable::parse(text).expect("TOML").into_inner();
        let mut said = String::new();
        for (key, value) in &table {
            in_words(key.get_ref(), value.get_ref(), false, &mut said);
        }
        said
    }

    #[test]
    fn nothing_that_may_be_a_secret_is_in_a_label() {
        for (text, said) in [
            ("status = 503", "status 503"),
            ("body = 'x?token=hunter2&a=b'", "body x?token=***&a=b"),
            ("urls = ['a://u:hunter2@h', 'b']", "urls a://u:***@h b"),
            ("tokens = ['hunter2', 'hunter3']", "tokens *** ***"),
            ("pin_token = 1234321", "pin_token ***"),
            ("password = 'hunter2'", "password ***"),
            (
                "headers = { X-Pin = 'hunter2', Set-Cookie = ['hunter2'], retry-after = 7 }",
                "headers Set-Cookie *** X-Pin *** retry-after ***",
            ),
            (
                "answer = { header = { a = 'hunter2' }, to = 'b' }",
                "answer header a *** to b",
            ),
        ] {
            assert_eq!(words(text), said);
        }
    }

    proptest! {
        /// A history carries the file without its secrets: what is judged by it says the same.
        #[test]
        fn a_file_without_its_secrets_says_the_same(
            key in prop_oneof!["[a-z]{1,6}", Just("headers".to_owned()), Just("token".to_owned())],
            name in "[a-z]{1,6}",
            text in "[a-z?&=:/@{}]{0,20}",
        ) {
            let file = format!("{key} = {{ {name} = '{text}' }}");
            let redacted = crate::input::redacted(&file);
            prop_assert_eq!(words(&redacted), words(&file));
        }
    }
}
