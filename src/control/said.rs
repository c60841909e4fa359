//! What a request says in JSON, as the table of a file that says the same: so that it is read by the
//! reader of files, with the same words for what is wrong. Each value keeps its place in the request.

use super::toxiproxy::json::{self, Node};
use crate::{
    fault::{Behaviour, FaultDef, Gate, gate},
    input::{Fields, Problems, Source, Span},
    protocol::Protocol,
    scenario::fault_likeness,
};
use std::sync::Arc;
use toml::de::DeTable;

/// A table in the making.
#[derive(Debug, Default, Clone)]
pub(crate) struct Table {
    text: String,
    /// Where what stands in the text was said, the outer before what it holds.
    places: Vec<(Span, String)>,
}

impl Table {
    /// Opens a table of this name; what is put next stands in it.
    pub(crate) fn open(&mut self, path: &[&str]) {
        let path: Vec<String> = path.iter().map(|part| key(part)).collect();
        self.text.push_str(&format!("[{}]\n", path.join(".")));
    }

    /// Appends a key with its value, which was said at this place of the request.
    pub(crate) fn put(&mut self, name: &str, place: &str, value: &Node) {
        let at = self.places.len();
        let start = self.text.len();
        self.places.push((start..start, place.to_owned()));
        self.text.push_str(&key(name));
        self.text.push_str(" = ");
        self.write(value, place);
        self.places[at].0.end = self.text.len();
        self.text.push('\n');
    }

    /// Its text.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Where in the request the text of a span was said; `None` where it was not said at all.
    pub(crate) fn place(&self, span: Option<&Span>) -> Option<&str> {
        let start = span?.start;
        let holds = |place: &&(Span, String)| place.0.contains(&start);
        let innermost = self.places.iter().rev().find(holds)?;
        Some(&innermost.1)
    }

    fn write(&mut self, value: &Node, place: &str) {
        match value {
            Node::Null => self.text.push_str("\"\""),
            Node::Bool(bool) => self.text.push_str(&bool.to_string()),
            Node::Integer(number) => self.text.push_str(&number.to_string()),
            Node::Number(number) => self.text.push_str(&format!("{number:?}")),
            Node::Text(text) => self.text.push_str(&quoted(text)),
            Node::List(members) => {
                self.text.push('[');
                for (at, member) in members.iter().enumerate() {
                    self.text.push_str(if at > 0 { ", " } else { "" });
                    let start = self.text.len();
                    self.within(start, member, &format!("{place}[{at}]"));
                }
                self.text.push(']');
            }
            Node::Object(entries) => {
                self.text.push('{');
                let said = entries.iter().filter(|(_, value)| !value.is_null());
                for (at, (name, member)) in said.enumerate() {
                    self.text.push_str(if at > 0 { ", " } else { " " });
                    let start = self.text.len();
                    self.text.push_str(&key(name));
                    self.text.push_str(" = ");
                    self.within(start, member, &format!("{place}.{name}"));
                }
                self.text.push_str(" }");
            }
        }
    }

    /// Writes a member, whose text with its key begins at `start`.
    fn within(&mut self, start: usize, member: &Node, place: &str) {
        let at = self.places.len();
        self.places.push((start..start, place.to_owned()));
        self.write(member, place);
        self.places[at].0.end = self.text.len();
    }
}

/// A key as TOML has it.
fn key(name: &str) -> String {
    let is_bare = |letter: char| letter.is_ascii_alphanumeric() || "_-".contains(letter);
    if !name.is_empty() && name.chars().all(is_bare) {
        name.to_owned()
    } else {
        quoted(name)
    }
}

/// A text as TOML has it, which escapes as JSON does, and one letter more.
fn quoted(text: &str) -> String {
    // A text is always written.
    let text = serde_json::to_string(text).unwrap_or_default();
    text.replace('\u{7f}', "\\u007f")
}

/// A fault as it was read.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) behaviour: Arc<dyn Behaviour>,
    pub(crate) gate: Gate,
    /// What makes it the same fault as another that is put somewhere else, or hits more or fewer.
    pub(crate) likeness: String,
}

/// Reads a `[[phase.fault]]` table, without its header, that is to act without a scenario. `name` is
/// how messages call it.
pub(crate) fn fault(
    def: &'static FaultDef,
    name: &str,
    source: &Source,
    protocol: Protocol,
    problems: &mut Problems,
) -> Option<Read> {
    let before = problems.error_count();
    let table = match DeTable::parse(&source.text) {
        Ok(table) => table,
        Err(error) => {
            problems.error(source, error.span(), error.message(), None);
            return None;
        }
    };
    let fields = Fields::unchecked(table.get_ref(), 0..0, source, name, gate::KEYS);
    fields.check_keys(&[def.keys], problems);
    let gate = Gate::parse(&fields, problems);
    let open = Gate::default();
    let behaviour = def.read(&fields, protocol, gate.as_ref().unwrap_or(&open), problems);
    for key in ["ramp", "one_of"] {
        if fields.has(key) {
            let hint = "a scenario of `brownout run` has phases".to_owned();
            let message = format!("`{key}` needs a phase of a scenario");
            fields.problem(problems, key, message, hint);
        }
    }
    let (behaviour, gate) = (behaviour?, gate?);
    (problems.error_count() == before).then(|| Read {
        behaviour,
        gate,
        likeness: fault_likeness(def, table.get_ref()),
    })
}

/// A value as it was said, without what says nothing.
pub(crate) fn shown(value: &Node) -> serde_json::Value {
    serde_json::from_str(&json::written(value)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(text: &str) -> Node {
        Node::read(text.as_bytes()).expect("it is JSON")
    }

    fn table(text: &str) -> Table {
        let mut table = Table::default();
        let said = node(text);
        for (key, value) in said.object().expect("an object").unwrap_or_default() {
            table.put(key, key, value);
        }
        table
    }

    #[test]
    fn json_is_written_as_toml_that_says_the_same() {
        let said = r#"{"a":"x\"\u007f\n","b c":[1,2.5,true],"d":{"e":"f","g":null,"h i":{}}}"#;
        let written = table(said);
        let read: toml::Table = written.text().parse().expect("it is TOML");
        assert_eq!(read["a"].as_str(), Some("x\"\u{7f}\n"));
        assert_eq!(read["b c"].to_string(), "[1, 2.5, true]");
        assert_eq!(read["d"]["e"].as_str(), Some("f"));
        assert_eq!(read["d"].get("g"), None);
    }

    #[test]
    fn what_is_wrong_is_found_where_it_was_said() {
        let table = table(r#"{"kind":"error","when":{"key":["a","bad"],"path":"/x"}}"#);
        let place = |text: &str| {
            let start = table.text().find(text).expect("it is there");
            table.place(Some(&(start..start + 1))).map(str::to_owned)
        };
        assert_eq!(place("kind").as_deref(), Some("kind"));
        assert_eq!(place("\"bad\"").as_deref(), Some("when.key[1]"));
        assert_eq!(place("path").as_deref(), Some("when.path"));
        assert_eq!(place("when").as_deref(), Some("when"));
        assert_eq!(table.place(None), None);
    }

    proptest::proptest! {
        #[test]
        fn no_text_leaves_its_place(key in "\\PC{0,12}", text in "(\\PC|\n|\r|\t|\u{0}|\u{7f}|\\\\|\"){0,24}") {
            let mut table = Table::default();
            table.put(&key, "p", &Node::Text(text.clone()));
            let read: toml::Table = table.text().parse().expect("it is TOML");
            assert_eq!(read.len(), 1);
            assert_eq!(read[&key].as_str(), Some(&*text));
        }
    }
}
