//! What makes a fault of one phase the same as one of another, so that both meet the same keys.

use crate::fault::FaultDef;
use toml::de::{DeTable, DeValue};

/// The gate's keys that say where a fault is put, how many it hits and when, and not what it is.
const HOW_MANY: &[&str] = &[
    "kind", "on", "share", "one_of", "first", "every", "after", "ramp", "min_hits",
];

/// A fault's kind with all that its table says but how many it hits, in the order of the keys' names.
/// A list of one is the same as that one.
pub fn likeness(def: &FaultDef, table: &DeTable<'_>) -> String {
    let mut text = def.name.to_owned();
    entries(table, &mut text, |key| !HOW_MANY.contains(&key));
    text
}

fn entries(table: &DeTable<'_>, text: &mut String, is_wanted: impl Fn(&str) -> bool) {
    let mut entries: Vec<_> = table
        .iter()
        .map(|(key, value)| (&**key.get_ref(), value.get_ref()))
        .filter(|(key, _)| is_wanted(key))
        .collect();
    entries.sort_unstable_by_key(|(key, _)| *key);
    text.push('{');
    for (key, entry) in entries {
        // Quoted, so that no text can be taken for the structure around it.
        text.push_str(&format!("{key:?}="));
        value(entry, text);
        text.push(',');
    }
    text.push('}');
}

fn value(one: &DeValue<'_>, text: &mut String) {
    match one {
        DeValue::String(string) => text.push_str(&format!("{string:?}")),
        DeValue::Integer(number) => text.push_str(&number.to_string()),
        DeValue::Float(number) => text.push_str(&number.to_string()),
        DeValue::Boolean(is) => text.push_str(&is.to_string()),
        DeValue::Datetime(moment) => text.push_str(&moment.to_string()),
        DeValue::Array(items) => match items.first() {
            Some(only) if items.len() == 1 => value(only.get_ref(), text),
            _ => {
                text.push('[');
                for item in items.iter() {
                    value(item.get_ref(), text);
                    text.push(',');
                }
                text.push(']');
            }
        },
        DeValue::Table(table) => entries(table, text, |_| true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> String {
        let root = DeTable::parse(text).expect("TOML");
        likeness(crate::fault::find("error").expect("a kind"), root.get_ref())
    }

    #[test]
    fn how_many_it_hits_and_how_it_is_written_do_not_make_another_fault() {
        let one = of(
            "kind = 'error'\non = 'db'\nerror = '40001'\nby = 'key'\nwhen = { operation = 'GET', table = 'a' }",
        );
        for other in [
            "by = \"key\"\nerror = \"40001\"\nkind = \"error\"\non = \"core-db\"\n[when]\ntable = 'a'\noperation = ['GET']",
            "kind = 'error'\non = 'db'\nerror = '40001'\nby = 'key'\nshare = '3%'\none_of = 'x'\nfirst = 1\nevery = 2\nafter = 3\nmin_hits = 0\nramp = { share = ['1%', '2%'] }\nwhen = { operation = 'GET', table = 'a' }",
        ] {
            assert_eq!(of(other), one);
        }
    }

    #[test]
    fn what_it_does_and_to_which_requests_makes_another_fault() {
        let texts = [
            "error = '40001'\nby = 'key'",
            "error = '40P01'\nby = 'key'",
            "error = '40001'\nby = 'header:x'",
            "error = '40001'\nby = 'key'\nwhen = { operation = 'GET' }",
            "error = '40001'\nby = 'key'\nwhen = { operation = ['GET', 'PUT'] }",
            "error = '40001'\nby = 'key'\nwhen = { table = 'GET' }",
        ];
        let distinct: std::collections::BTreeSet<String> = texts.map(of).into_iter().collect();
        assert_eq!(distinct.len(), texts.len());
    }
}
