//! `docs/formats.md`: everything that files may name, as one page. It is made from the same keys
//! and registries that read the files, and a test keeps the page in step.

use super::{
    args::Subject,
    list::{Entry, entries},
};
use crate::{
    input::{Key, Shape},
    scenario::{SCENARIO_FILE, SYSTEM_FILE},
};
use std::path::Path;

const HEAD: &str = "\
# The files

Two files make a run: the system says once what is under test, and a scenario says what happens to
it and what is required. Values carry their unit in the text. Whatever this page does not name is a
problem that `brownout check` shows with its place; `brownout schema` prints the same as JSON
Schema, for editors.

This page is made from the registries that read the files: `UPDATE_DOCS=1 cargo test formats`.
";

/// The whole page.
fn page() -> String {
    let mut page = HEAD.to_owned();
    page.push_str("\n## The system file\n");
    page.push_str(&tables("", "", SYSTEM_FILE));
    page.push_str("\n## The scenario file\n");
    page.push_str(&tables("", "", SCENARIO_FILE));
    for (title, subject) in [
        ("Faults: `[[phase.fault]]`", Subject::Faults),
        ("Expectations: `[[expect]]`", Subject::Expectations),
        ("Protocols", Subject::Protocols),
    ] {
        page.push_str(&format!("\n## {title}\n"));
        page.push_str(&registry(&entries(subject)));
    }
    page
}

/// A table's keys, then the tables below it.
fn tables(path: &str, heading: &str, keys: &[Key]) -> String {
    let mut out = String::new();
    if !heading.is_empty() {
        out.push_str(&format!("\n### `{heading}`\n"));
    }
    out.push_str(&rows(keys));
    for key in keys {
        let name = if path.is_empty() {
            key.name.to_owned()
        } else {
            format!("{path}.{}", key.name)
        };
        out.push_str(&match key.shape {
            Shape::Table(keys) => tables(&name, &format!("[{name}]"), keys),
            Shape::Tables(keys) => tables(&name, &format!("[[{name}]]"), keys),
            Shape::AnyOf(shapes) => shapes
                .iter()
                .find_map(|shape| match shape {
                    Shape::Table(keys) => Some(tables(&name, &format!("[{name}]"), keys)),
                    _ => None,
                })
                .unwrap_or_default(),
            Shape::MapOf(keys) => {
                let name = format!("{name}.NAME");
                tables(&name, &format!("[{name}]"), keys)
            }
            _ => String::new(),
        });
    }
    out
}

/// The keys themselves; those of later versions are left out.
fn rows(keys: &[Key]) -> String {
    let mut out = "\n| key | value | meaning |\n|---|---|---|\n".to_owned();
    for key in keys {
        let value = match key.shape {
            Shape::Later(_) => continue,
            Shape::Table(_) => "a table, see below".to_owned(),
            Shape::Tables(_) => "an array of tables, see below".to_owned(),
            Shape::MapOf(_) => "named tables, see below".to_owned(),
            shape => shape.describe(),
        };
        let required = if key.required { " **required**" } else { "" };
        out.push_str(&format!(
            "| `{}`{required} | {} | {} |\n",
            key.name,
            cell(&value),
            cell(key.doc)
        ));
    }
    out
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// All kinds of one sort, after the keys that they share.
fn registry(entries: &[Entry]) -> String {
    let mut out = String::new();
    if let Some(common) = entries.first().map(|entry| entry.common)
        && !common.is_empty()
    {
        out.push_str("\nKeys that all kinds have:\n");
        out.push_str(&rows(common));
    }
    for entry in entries {
        let mut about = sentence(entry.summary);
        for more in &entry.more {
            about.push_str(&format!(" {}", sentence(more)));
        }
        let example = entry.example.trim_end();
        out.push_str(&format!("\n### {}\n\n{about}\n", entry.name));
        out.push_str(&format!("\n```toml\n{example}\n```\n"));
        if !entry.keys.is_empty() {
            out.push_str(&rows(entry.keys));
        }
    }
    out
}

/// A fragment with a capital and a full stop.
fn sentence(fragment: &str) -> String {
    let mut letters = fragment.chars();
    let first = letters.next().map(char::to_uppercase);
    format!(
        "{}{}.",
        first.into_iter().flatten().collect::<String>(),
        letters.as_str()
    )
}

#[test]
fn the_page_of_formats_is_in_step_with_the_registries() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/formats.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, page()).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    for (number, (written, made)) in written.lines().zip(page().lines()).enumerate() {
        let line = number + 1;
        assert_eq!(
            written, made,
            "docs/formats.md:{line}; UPDATE_DOCS=1 writes it anew"
        );
    }
    assert!(
        written == page(),
        "docs/formats.md has another end; UPDATE_DOCS=1 writes it anew"
    );
}
