//! `brownout list`: what files may name, straight from the registries that read them.

use super::{
    Exit, Failure,
    args::{List, Subject},
    say,
};
use crate::{
    expectation::EXPECTATIONS,
    fault::{FAULTS, FaultDef, Group, gate},
    input::{Key, Shape, did_you_mean},
    protocol::{PROTOCOLS, ProtocolDef},
    scenario::EXPECT_KEYS,
};
use anstyle::Style;

const BOLD: Style = Style::new().bold();

/// One thing that files may name.
pub(super) struct Entry {
    /// Its name.
    pub(super) name: &'static str,
    /// What it is listed under, where there are groups.
    pub(super) group: Option<&'static str>,
    /// One line.
    pub(super) summary: &'static str,
    /// How it is written.
    pub(super) example: &'static str,
    /// Its own keys.
    pub(super) keys: &'static [Key],
    /// Keys that all of its sort have.
    pub(super) common: &'static [Key],
    /// What else is to be known about it.
    pub(super) more: Vec<String>,
}

/// Carries it out.
pub fn list(args: &List) -> Result<Exit, Failure> {
    let entries = entries(args.subject);
    let text = match &args.name {
        None => whole(&entries),
        Some(name) => {
            let entry = entries
                .iter()
                .find(|entry| entry.name == name)
                .ok_or_else(|| unknown(args.subject, name, &entries))?;
            single(entry)
        }
    };
    say::data(text.as_bytes())?;
    Ok(Exit::Pass)
}

/// Everything of one sort, in the registry's order.
pub(super) fn entries(subject: Subject) -> Vec<Entry> {
    match subject {
        Subject::Faults => FAULTS.iter().map(fault).collect(),
        Subject::Expectations => EXPECTATIONS
            .iter()
            .map(|def| Entry {
                name: def.name,
                group: None,
                summary: def.summary,
                example: def.example,
                keys: def.keys,
                common: EXPECT_KEYS,
                more: Vec::new(),
            })
            .collect(),
        Subject::Protocols => PROTOCOLS.iter().map(protocol).collect(),
    }
}

fn fault(def: &'static FaultDef) -> Entry {
    let carriers: Vec<&str> = PROTOCOLS
        .iter()
        .filter(|one| (def.carried_by)(one.protocol).is_ok())
        .map(|one| one.name)
        .collect();
    let carried = match def.group {
        Group::Process => "put on `instance:NAME`".to_owned(),
        _ => format!("carried by {}", carriers.join(", ")),
    };
    Entry {
        name: def.name,
        group: Some(match def.group {
            Group::Connection => "connections",
            Group::Stream => "bytes",
            Group::Message => "requests and answers",
            Group::Capacity => "what a dependency can carry",
            Group::Process => "instances",
        }),
        summary: def.summary,
        example: def.example,
        keys: def.keys,
        common: gate::KEYS,
        more: vec![carried],
    }
}

fn protocol(def: &'static ProtocolDef) -> Entry {
    let carried: Vec<&str> = FAULTS
        .iter()
        .filter(|fault| fault.group != Group::Process && (fault.carried_by)(def.protocol).is_ok())
        .map(|fault| fault.name)
        .collect();
    Entry {
        name: def.name,
        group: None,
        summary: def.summary,
        example: def.example,
        keys: &[],
        common: &[],
        more: vec![format!("faults: {}", carried.join(", "))],
    }
}

/// Every entry with its example.
fn whole(entries: &[Entry]) -> String {
    let mut out = String::new();
    let mut group = None;
    for entry in entries {
        if entry.group != group {
            group = entry.group;
            out.push_str(&format!("# {}\n\n", group.unwrap_or_default()));
        }
        out.push_str(&head(entry));
        out.push_str(&indented(entry.example));
        out.push('\n');
    }
    out
}

/// One entry with all that is known about it.
fn single(entry: &Entry) -> String {
    let mut out = head(entry);
    for line in &entry.more {
        out.push_str(&format!("{line}\n"));
    }
    out.push_str(&format!("\n{}", indented(entry.example)));
    out.push_str(&about_keys("\nKeys of its own:\n", entry.keys));
    out.push_str(&about_keys("\nKeys that all kinds have:\n", entry.common));
    out
}

fn about_keys(title: &str, keys: &[Key]) -> String {
    if keys.is_empty() {
        return String::new();
    }
    let keys: String = keys.iter().map(|key| about_key(key, 2)).collect();
    format!("{title}{keys}")
}

fn head(entry: &Entry) -> String {
    format!("{BOLD}{}{BOLD:#}: {}\n", entry.name, entry.summary)
}

/// An example as it stands in a text.
pub(super) fn indented(example: &str) -> String {
    example
        .trim_end()
        .lines()
        .map(|line| format!("    {line}").trim_end().to_owned() + "\n")
        .collect()
}

/// A key with its shape, and the keys of its table below it.
fn about_key(key: &Key, indent: usize) -> String {
    let (shape, below): (String, &[Key]) = match key.shape {
        Shape::Table(keys) => ("a table".to_owned(), keys),
        Shape::Tables(keys) => ("an array of tables".to_owned(), keys),
        Shape::MapOf(keys) => ("a table of named tables".to_owned(), keys),
        shape => (shape.describe(), &[]),
    };
    let lead = " ".repeat(indent);
    let required = if key.required { ", required" } else { "" };
    let mut out = format!("{lead}{} ({shape}{required}): {}\n", key.name, key.doc);
    for key in below {
        out.push_str(&about_key(key, indent + 2));
    }
    out
}

fn unknown(subject: Subject, name: &str, entries: &[Entry]) -> Failure {
    let (one, many) = match subject {
        Subject::Faults => ("fault", "faults"),
        Subject::Expectations => ("expectation", "expectations"),
        Subject::Protocols => ("protocol", "protocols"),
    };
    let all = format!("`brownout list {many}` shows all");
    let hint = match did_you_mean(name, entries.iter().map(|entry| entry.name)) {
        Some(near) => format!("did you mean `{near}`? {all}"),
        None => all,
    };
    Failure::usage(format!("unknown {one} `{name}`"), hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_listed_with_its_shape_and_the_keys_below_it() {
        const INNER: &[Key] = &[Key::required("path", Shape::Text, "where to")];
        let key = Key::optional("ready", Shape::Table(INNER), "when it counts as ready");
        assert_eq!(
            about_key(&key, 2),
            "  ready (a table): when it counts as ready\n    path (a text, required): where to\n"
        );
    }

    #[test]
    fn everything_registered_is_listed_with_its_example() {
        for subject in [Subject::Faults, Subject::Expectations, Subject::Protocols] {
            let entries = entries(subject);
            let text = whole(&entries);
            for entry in &entries {
                assert!(text.contains(&head(entry)), "{}", entry.name);
                assert!(text.contains(&indented(entry.example)), "{}", entry.name);
            }
        }
    }
}
