//! `[ledger.NAME]`: which work was accepted, and how it is told that it was delivered.
//!
//! Ids are texts. They come from captures of a load and of a dependency, from the bodies that
//! reached a sink, or from what the system itself shows at a path.

use super::{
    Dependency, Load, Upstream, keys,
    scope::check_name,
    system::{above_zero, is_path},
};
use crate::input::{Fields, Item, Problems, Span, hint_among};
use serde_json::Value;
use std::{fmt, sync::Arc, time::Duration};
use toml::de::DeValue;

/// How long nothing may be delivered before what is missing counts as lost.
const SETTLE: Duration = Duration::from_secs(5);

/// Keys of `delivered` that only requests to a dependency can have.
const OF_REQUESTS: [&str; 3] = ["operation", "pattern", "applied"];

/// The longest id, in bytes: as long as what loads and dependencies capture.
const ID_BYTES_MAX: usize = 1_024;

/// Which work was accepted and which was delivered.
#[derive(Debug, Clone)]
pub struct Ledger {
    /// Its name.
    pub name: Arc<str>,
    /// The load whose operations are the work.
    pub load: Arc<str>,
    /// The load's capture that is the id.
    pub id: String,
    /// Where deliveries are seen; an id is delivered when any of them shows it.
    pub delivered: Vec<Delivered>,
    /// The load's capture that says the class of work.
    pub priority: Option<String>,
    /// What the system itself reports as dropped.
    pub dropped: Option<Dropped>,
    /// How much work the system itself says is waiting.
    pub backlog: Option<GaugeSpec>,
    /// So long nothing may be delivered, after the load has ended, before what is missing counts as
    /// lost.
    pub settle: Duration,
    /// Where it is declared.
    pub span: Span,
}

/// Where deliveries are seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivered {
    /// Requests to a dependency, each a delivery.
    Attempts {
        /// The dependency's name.
        dependency: Arc<str>,
        /// Only these operations; empty: all.
        operations: Vec<String>,
        /// The dependency's capture that is the id.
        id: String,
        /// What stands before and after the id in the captured value; a value that looks otherwise
        /// is no delivery.
        around: (String, String),
        /// Whether only those count that the dependency carried out.
        applied: bool,
    },
    /// Messages that reached a sink, each a delivery of every id in it.
    Messages {
        /// The dependency's name.
        dependency: Arc<str>,
        /// Where in the body the ids are.
        id: IdPath,
    },
    /// A listing of all that was delivered, shown by the system itself.
    Read(ReadSpec),
}

/// What the system itself reports as dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dropped {
    /// A listing of ids.
    Read(ReadSpec),
    /// A number.
    Count(GaugeSpec),
}

/// A listing of ids at a path of the system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadSpec {
    /// The path and query.
    pub path: String,
    /// Where in the body the ids are.
    pub id: IdPath,
}

/// A number at a path of the system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GaugeSpec {
    /// The path and query.
    pub path: String,
    /// Where in the body the number is.
    pub value: IdPath,
}

/// A path into a JSON document: a JSON pointer in which `*` stands for every entry of a list or an
/// object. Written `json:/events/*/id`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdPath(Vec<String>);

impl IdPath {
    /// Reads what stands after `json:`.
    pub fn parse(pointer: &str) -> Option<Self> {
        if pointer.is_empty() {
            return Some(Self(Vec::new()));
        }
        let parts = pointer.strip_prefix('/')?.split('/');
        Some(Self(
            parts
                .map(|part| part.replace("~1", "/").replace("~0", "~"))
                .collect(),
        ))
    }

    /// The values at the path, as texts, in the document's order, at most `limit`. `None` where
    /// the document has no such place; a list without entries has the place and no value.
    pub fn texts(&self, document: &Value, limit: usize) -> Option<Vec<String>> {
        let mut found = Vec::new();
        collect(document, &self.0, limit, &mut found).then_some(found)
    }

    /// The number at the path.
    pub fn number(&self, document: &Value) -> Option<f64> {
        let [text] = &self.texts(document, 2)?[..] else {
            return None;
        };
        text.parse().ok().filter(|value: &f64| value.is_finite())
    }
}

impl fmt::Display for IdPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("json:")?;
        for part in &self.0 {
            write!(f, "/{}", part.replace('~', "~0").replace('/', "~1"))?;
        }
        Ok(())
    }
}

/// Appends the values at a path; whether the document has the place. Entries of a list that lack
/// it are passed over as long as another one has it, or the list is empty.
fn collect(value: &Value, path: &[String], limit: usize, found: &mut Vec<String>) -> bool {
    let Some((part, rest)) = path.split_first() else {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Number(_) | Value::Bool(_) => value.to_string(),
            Value::Null | Value::Array(_) | Value::Object(_) => return false,
        };
        if found.len() < limit {
            found.push(cut(text));
        }
        return true;
    };
    match value {
        Value::Array(items) if part == "*" => any_of(items.iter(), rest, limit, found),
        Value::Object(entries) if part == "*" => any_of(entries.values(), rest, limit, found),
        Value::Array(items) => part
            .parse()
            .ok()
            .and_then(|index: usize| items.get(index))
            .is_some_and(|item| collect(item, rest, limit, found)),
        Value::Object(entries) => entries
            .get(part)
            .is_some_and(|entry| collect(entry, rest, limit, found)),
        _ => false,
    }
}

fn any_of<'a>(
    values: impl ExactSizeIterator<Item = &'a Value>,
    rest: &[String],
    limit: usize,
    found: &mut Vec<String>,
) -> bool {
    let empty = values.len() == 0;
    values.fold(empty, |any, value| collect(value, rest, limit, found) | any)
}

/// A value within the bound, cut where a letter ends.
fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(ID_BYTES_MAX));
    text
}

impl Ledger {
    /// Whether the system itself is asked for something.
    pub fn asks_the_system(&self) -> bool {
        self.backlog.is_some()
            || self.dropped.is_some()
            || self
                .delivered
                .iter()
                .any(|one| matches!(one, Delivered::Read(_)))
    }
}

/// Reads all of them.
pub(super) fn read(
    root: &Fields<'_>,
    loads: &[Load],
    dependencies: &[Dependency],
    problems: &mut Problems,
) -> Vec<Ledger> {
    let tables = root.named_tables("ledger", "ledger", problems);
    if tables.len() > keys::NAMED_MAX {
        let message = format!("more than {} ledgers", keys::NAMED_MAX);
        root.problem(problems, "ledger", message, None);
    }
    let reader = Reader {
        root,
        loads,
        dependencies,
    };
    tables
        .iter()
        .filter_map(|(name, table)| {
            check_name(name, "a ledger", table.source, problems);
            reader.ledger(name, table, problems)
        })
        .collect()
}

struct Reader<'a> {
    root: &'a Fields<'a>,
    loads: &'a [Load],
    dependencies: &'a [Dependency],
}

impl Reader<'_> {
    fn ledger(
        &self,
        name: &Item<String>,
        table: &Fields<'_>,
        problems: &mut Problems,
    ) -> Option<Ledger> {
        let accepted = table.table("accepted", problems);
        let load = accepted.as_ref().and_then(|accepted| {
            let load = accepted.text("load", problems)?;
            self.load(accepted, load, problems)
        });
        let id = accepted
            .as_ref()
            .and_then(|accepted| self.capture_of(load, accepted, "id", problems));
        let delivered = self.delivered(table, problems);
        let priority = self.capture_of(load, table, "priority", problems);
        let dropped = self.dropped(table, problems);
        let backlog = table
            .table("backlog", problems)
            .and_then(|fields| gauge(&fields, problems));
        let settle = above_zero(table, "settle", SETTLE, problems);
        Some(Ledger {
            name: name.value.as_str().into(),
            load: load?.into(),
            id: id?,
            delivered,
            priority,
            dropped,
            backlog,
            settle,
            span: table.span.clone(),
        })
    }

    /// The name of a load that is declared, right or wrong. What is wrong with the load itself was
    /// reported where it stands.
    fn load<'b>(
        &'b self,
        fields: &Fields<'_>,
        text: Item<String>,
        problems: &mut Problems,
    ) -> Option<&'b str> {
        let known: Vec<&str> = self.root.names_in("load").collect();
        if let Some(name) = known.iter().find(|name| **name == text.value) {
            return Some(name);
        }
        let message = format!("unknown load `{}`", text.value);
        let hint = if known.is_empty() {
            "the system declares no load whose work could be counted".to_owned()
        } else {
            hint_among(&text.value, known)
        };
        problems.error(fields.source, text.span, message, hint);
        None
    }

    /// The capture that a key names, of a load; one that could not be read is taken at its word.
    fn capture_of(
        &self,
        load: Option<&str>,
        fields: &Fields<'_>,
        key: &'static str,
        problems: &mut Problems,
    ) -> Option<String> {
        let name = fields.text(key, problems)?;
        let load = load?;
        if let Some(load) = self.loads.iter().find(|one| *one.name == *load) {
            let what = format!("load `{}`", load.name);
            let known = load.capture.keys().map(String::as_str);
            if !check_capture(fields, &name, &what, known, problems) {
                return None;
            }
        }
        Some(name.value)
    }

    fn delivered(&self, table: &Fields<'_>, problems: &mut Problems) -> Vec<Delivered> {
        let tables = match table.raw("delivered").map(|value| value.get_ref()) {
            None => return Vec::new(),
            Some(DeValue::Array(_)) => table.raw_tables("delivered", problems),
            Some(_) => table.raw_table("delivered", problems).into_iter().collect(),
        };
        if tables.is_empty() || tables.len() > keys::NAMED_MAX {
            table.problem(
                problems,
                "delivered",
                format!("a ledger has 1 to {} places of delivery", keys::NAMED_MAX),
                None,
            );
        }
        let name = format!("`delivered` of {}", table.name());
        let mut all = Vec::new();
        for (inner, span) in tables {
            let keys = keys::DELIVERED;
            let fields = Fields::new(inner, span, table.source, &*name, keys, &[], problems);
            if let Some(one) = self.one_delivered(&fields, problems) {
                check_twice(&fields, &all, &one, problems);
                all.push(one);
            }
        }
        all
    }

    fn one_delivered(&self, fields: &Fields<'_>, problems: &mut Problems) -> Option<Delivered> {
        let dependency = fields.text("dependency", problems);
        let read = fields.table("read", problems);
        let id = fields.text("id", problems);
        match (dependency, read) {
            (Some(dependency), None) => self.at_dependency(fields, &dependency, &id?, problems),
            (None, Some(read)) => {
                for key in OF_REQUESTS {
                    if fields.has(key) {
                        let message = format!("`{key}` is of requests to a dependency");
                        fields.problem(problems, key, message, None);
                    }
                }
                let path = path(&read, problems);
                let id = json_path(fields, &id?, problems);
                Some(Delivered::Read(ReadSpec {
                    path: path?,
                    id: id?,
                }))
            }
            _ => {
                if fields.has("dependency") == fields.has("read") {
                    problems.error(
                        fields.source,
                        fields.span.clone(),
                        format!("{} needs either `dependency` or `read`", fields.name()),
                        "{ dependency = \"s3\", operation = \"PutObject\", id = \"CAPTURE\" } or { read = { path = \"/ledger\" }, id = \"json:/ids/*\" }".to_owned(),
                    );
                }
                None
            }
        }
    }

    fn at_dependency(
        &self,
        fields: &Fields<'_>,
        name: &Item<String>,
        id: &Item<String>,
        problems: &mut Problems,
    ) -> Option<Delivered> {
        let Some(dependency) = self
            .dependencies
            .iter()
            .find(|one| *one.name == *name.value)
        else {
            let known = self.dependencies.iter().map(|one| &*one.name);
            let message = format!("unknown dependency `{}`", name.value);
            let hint = hint_among(&name.value, known);
            problems.error(fields.source, name.span.clone(), message, hint);
            return None;
        };
        let operations = fields.texts("operation", problems).unwrap_or_default();
        let applied = fields.bool("applied", problems);
        if id.value.starts_with("json:") {
            for key in OF_REQUESTS {
                if fields.has(key) {
                    let message = format!("`{key}` says nothing about the bodies that a sink took");
                    fields.problem(problems, key, message, None);
                }
            }
            if dependency.upstream != Upstream::Embedded("sink") {
                problems.error(
                    fields.source,
                    id.span.clone(),
                    format!("`{}` is no sink: bodies are not kept", dependency.name),
                    "give it a `capture` and name that, or `upstream = \"embedded:sink\"`"
                        .to_owned(),
                );
            }
            return Some(Delivered::Messages {
                dependency: Arc::clone(&dependency.name),
                id: json_path(fields, id, problems)?,
            });
        }
        let known = dependency.capture.keys().map(String::as_str);
        let what = format!("dependency `{}`", dependency.name);
        if !check_capture(fields, id, &what, known, problems) {
            return None;
        }
        Some(Delivered::Attempts {
            dependency: Arc::clone(&dependency.name),
            operations: operations.into_iter().map(|text| text.value).collect(),
            id: id.value.clone(),
            around: around(fields, problems),
            applied: applied.unwrap_or(true),
        })
    }

    fn dropped(&self, table: &Fields<'_>, problems: &mut Problems) -> Option<Dropped> {
        let fields = table.table("dropped", problems)?;
        let path = path(&fields, problems);
        let id = fields.text("id", problems);
        let value = fields.text("value", problems);
        match (id, value) {
            (Some(id), None) => Some(Dropped::Read(ReadSpec {
                path: path?,
                id: json_path(&fields, &id, problems)?,
            })),
            (None, Some(value)) => Some(Dropped::Count(GaugeSpec {
                path: path?,
                value: json_path(&fields, &value, problems)?,
            })),
            _ => {
                if fields.has("id") == fields.has("value") {
                    problems.error(
                        fields.source,
                        fields.span.clone(),
                        format!("{} needs either `id` or `value`", fields.name()),
                        "`id = \"json:/dropped/*\"` for a listing, `value = \"json:/dropped\"` for a number".to_owned(),
                    );
                }
                None
            }
        }
    }
}

/// One delivery must not be counted twice: as a request and as the message that it carried.
fn check_twice(
    fields: &Fields<'_>,
    before: &[Delivered],
    one: &Delivered,
    problems: &mut Problems,
) {
    let place = |delivered: &Delivered| match delivered {
        Delivered::Attempts { dependency, .. } => Some((Arc::clone(dependency), false)),
        Delivered::Messages { dependency, .. } => Some((Arc::clone(dependency), true)),
        Delivered::Read(_) => None,
    };
    let Some((dependency, message)) = place(one) else {
        return;
    };
    let clash = before
        .iter()
        .filter_map(place)
        .any(|(other, was_message)| other == dependency && was_message != message);
    if clash {
        fields.problem(
            problems,
            "dependency",
            format!("`{dependency}` is counted by its requests and by their bodies"),
            "one delivery would count twice; keep one of them".to_owned(),
        );
    }
}

fn check_capture<'a>(
    fields: &Fields<'_>,
    name: &Item<String>,
    what: &str,
    known: impl Iterator<Item = &'a str> + Clone,
    problems: &mut Problems,
) -> bool {
    if known.clone().any(|one| one == name.value) {
        return true;
    }
    let hint = if known.clone().next().is_none() {
        "give it a `capture`".to_owned()
    } else {
        hint_among(&name.value, known)
    };
    let message = format!("{what} captures no `{}`", name.value);
    problems.error(fields.source, name.span.clone(), message, hint);
    false
}

/// What stands around the id in a captured value, by `pattern`.
fn around(fields: &Fields<'_>, problems: &mut Problems) -> (String, String) {
    let Some(pattern) = fields.text("pattern", problems) else {
        return Default::default();
    };
    match pattern.value.split_once("{id}") {
        Some((before, after)) if !after.contains("{id}") => (before.to_owned(), after.to_owned()),
        _ => {
            fields.problem(
                problems,
                "pattern",
                "a pattern says once where the id is",
                "\"bucket/models/{id}.json\"".to_owned(),
            );
            Default::default()
        }
    }
}

fn gauge(fields: &Fields<'_>, problems: &mut Problems) -> Option<GaugeSpec> {
    let path = path(fields, problems);
    let value = fields.text("value", problems);
    Some(GaugeSpec {
        path: path?,
        value: json_path(fields, &value?, problems)?,
    })
}

fn path(fields: &Fields<'_>, problems: &mut Problems) -> Option<String> {
    let path = fields.text("path", problems)?;
    if !is_path(&path.value) || path.value.starts_with('{') {
        let message = "a path begins with `/` and holds no spaces";
        fields.problem(problems, "path", message, None);
    }
    Some(path.value)
}

fn json_path(fields: &Fields<'_>, text: &Item<String>, problems: &mut Problems) -> Option<IdPath> {
    let path = text.value.strip_prefix("json:").and_then(IdPath::parse);
    if path.is_none() {
        problems.error(
            fields.source,
            text.span.clone(),
            format!("`{}` is no place in a JSON body", text.value),
            "\"json:/id\", or \"json:/events/*/id\" for every entry of a list".to_owned(),
        );
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn texts(path: &str, document: &Value) -> Option<Vec<String>> {
        IdPath::parse(path).unwrap().texts(document, 100)
    }

    #[test]
    fn a_path_finds_every_entry_that_a_star_stands_for() {
        let document = json!({
            "id": 7,
            "events": [{ "id": "a" }, { "no": 1 }, { "id": "b" }],
            "by/name": { "x": ["p"], "y": ["q", "r"] },
            "none": [],
        });
        for (path, expected) in [
            ("/id", Some(vec!["7"])),
            ("/events/*/id", Some(vec!["a", "b"])),
            ("/events/1/id", None),
            ("/events/2/id", Some(vec!["b"])),
            ("/by~1name/*/*", Some(vec!["p", "q", "r"])),
            ("/none/*", Some(vec![])),
            ("/events", None),
            ("/missing/*", None),
            ("/events/*/missing", None),
        ] {
            let expected = expected.map(|list| list.into_iter().map(str::to_owned).collect());
            assert_eq!(texts(path, &document), expected, "{path}");
        }
        assert_eq!(texts("/*", &json!(["a", "b"])).unwrap(), ["a", "b"]);
        assert_eq!(texts("", &json!("alone")).unwrap(), ["alone"]);
    }

    #[test]
    fn no_more_ids_are_taken_than_the_limit_and_none_is_longer_than_its_own() {
        let path = IdPath::parse("/*").unwrap();
        let many: Value = (0..50).collect::<Vec<u32>>().into();
        assert_eq!(path.texts(&many, 20).unwrap().len(), 20);
        let long = json!(["ß".repeat(1_000)]);
        assert_eq!(path.texts(&long, 20).unwrap()[0].len(), ID_BYTES_MAX);
    }

    #[test]
    fn a_number_is_one_finite_number() {
        let path = IdPath::parse("/depth").unwrap();
        for (document, expected) in [
            (json!({ "depth": 3 }), Some(3.0)),
            (json!({ "depth": "2.5" }), Some(2.5)),
            (json!({ "depth": "inf" }), None),
            (json!({ "depth": [1] }), None),
            (json!({}), None),
        ] {
            assert_eq!(path.number(&document), expected, "{document}");
        }
    }

    #[test]
    fn a_path_prints_as_it_reads() {
        for text in ["/events/*/id", "/a~1b/~0", ""] {
            assert_eq!(
                IdPath::parse(text).unwrap().to_string(),
                format!("json:{text}")
            );
        }
        assert_eq!(IdPath::parse("events"), None);
    }
}
