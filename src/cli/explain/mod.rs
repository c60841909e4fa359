//! `brownout explain`: the long text of a word that files, reports or verdicts use.
//!
//! Keys, defaults and bounds come from the registries that read the files, so that they cannot
//! drift. A word may mean two things (`latency` is a fault and an expectation): both are explained.

mod topics;

use super::{Exit, Failure, args::Explain as Args, exit, list, say};
use crate::{
    expectation::EXPECTATIONS,
    fault::{FAULTS, FaultDef, Group},
    input::{About, Key, Shape, did_you_mean},
    protocol::{PROTOCOLS, ProtocolDef},
    report::layout::wrap,
};
use anstyle::Style;
use topics::{TOPICS, Topic};

/// The widest line.
const WIDTH: usize = 80;

const BOLD: Style = Style::new().bold();

/// Carries it out.
pub fn explain(args: &Args) -> Result<Exit, Failure> {
    let text = match &args.name {
        None => overview(),
        Some(name) => page(name).ok_or_else(|| unknown(name))?,
    };
    say::data(text.as_bytes())?;
    Ok(Exit::Pass)
}

/// Every name that can be explained, each once.
pub fn names() -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for (_, sorted) in sorts() {
        for name in sorted {
            if !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
    }
    names
}

/// The names by sort.
fn sorts() -> Vec<(&'static str, Vec<&'static str>)> {
    let mut sorts = vec![
        ("faults", FAULTS.iter().map(|def| def.name).collect()),
        (
            "expectations",
            EXPECTATIONS.iter().map(|def| def.name).collect(),
        ),
        (
            "protocols",
            PROTOCOLS.iter().map(|def| def.name).collect::<Vec<_>>(),
        ),
    ];
    for topic in TOPICS {
        match sorts.iter_mut().find(|(sort, _)| *sort == topic.sort) {
            Some((_, names)) => names.push(topic.name),
            None => sorts.push((topic.sort, vec![topic.name])),
        }
    }
    sorts
}

fn overview() -> String {
    let mut out = "Each of these can be explained: brownout explain NAME\n".to_owned();
    for (sort, names) in sorts() {
        out.push_str(&format!("\n{BOLD}{sort}{BOLD:#}\n"));
        out.push_str(&paragraph("  ", &names.join(", ")));
    }
    out
}

/// Everything that a word means, or nothing.
fn page(name: &str) -> Option<String> {
    let faults = FAULTS.iter().filter(|def| def.name == name).map(fault);
    let expectations = EXPECTATIONS
        .iter()
        .filter(|def| def.name == name)
        .map(expectation);
    let protocols = PROTOCOLS
        .iter()
        .filter(|def| def.name == name)
        .map(protocol);
    let topics = TOPICS.iter().filter(|topic| topic.name == name).map(topic);
    let parts: Vec<String> = faults
        .chain(expectations)
        .chain(protocols)
        .chain(topics)
        .collect();
    (!parts.is_empty()).then(|| parts.join(&format!("\n{}\n\n", "─".repeat(WIDTH))))
}

fn unknown(name: &str) -> Failure {
    let all = "`brownout explain` lists all";
    let names = names();
    let hint = match did_you_mean(name, names.iter().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`? {all}"),
        None => all.to_owned(),
    };
    Failure::usage(format!("nothing is called `{name}`"), hint)
}

fn fault(def: &FaultDef) -> String {
    let mut out = head(def.name, "fault", def.summary);
    out.push_str(&paragraphs(def.about.text));
    let carried = match def.group {
        Group::Process => {
            "It is put on an instance of the system: on = \"instance:NAME\".".to_owned()
        }
        _ => {
            let carriers = PROTOCOLS
                .iter()
                .filter(|one| (def.carried_by)(one.protocol).is_ok());
            let carriers: Vec<&str> = carriers.map(|one| one.name).collect();
            format!("Carried by {}.", carriers.join(", "))
        }
    };
    out.push_str(&section("Where", &carried));
    if !def.ramps.is_empty() {
        let ramps = format!("Over the phase it can ramp: {}.", def.ramps.join(", "));
        out.push_str(&paragraph("  ", &ramps));
    }
    out.push_str(&section("What counts as an act", def.about.evidence));
    let doubt = "Where it acts on fewer than `min_hits` events (1) the verdicts of its phase are inconclusive: the outage did not take place.";
    out.push_str(&section(
        "When it is inconclusive",
        &joined(doubt, def.about.doubt),
    ));
    out.push_str(&rest(&def.about, def.example));
    out.push_str(&keys("Keys", def.keys));
    out.push_str(&paragraph(
        "  ",
        "Keys of every fault, to say on what and how often it acts: `brownout explain fault`.",
    ));
    out + &see_also(def.about.related)
}

fn expectation(def: &'static crate::expectation::ExpectationDef) -> String {
    let mut out = head(def.name, "expectation", def.summary);
    out.push_str(&paragraphs(def.about.text));
    out.push_str(&section("What evidence it uses", def.about.evidence));
    let common = "As every expectation: where no fault acted, the steady state was not steady, the load missed its schedule, or observations were dropped (`brownout explain inconclusive`).";
    out.push_str(&section(
        "When it is inconclusive",
        &joined(def.about.doubt, common),
    ));
    out.push_str(&rest(&def.about, def.example));
    out.push_str(&keys("Keys", def.keys));
    out.push_str(&paragraph(
        "  ",
        "Keys of every expectation: `brownout explain expectation`.",
    ));
    out + &see_also(def.about.related)
}

fn protocol(def: &ProtocolDef) -> String {
    let mut out = head(def.name, "protocol", def.summary);
    out.push_str(&paragraphs(def.about.text));
    out.push_str(&section("What is seen", def.about.evidence));
    let faults: Vec<&str> = FAULTS
        .iter()
        .filter(|fault| fault.group != Group::Process && (fault.carried_by)(def.protocol).is_ok())
        .map(|fault| fault.name)
        .collect();
    out.push_str(&section("Faults that it carries", &faults.join(", ")));
    if !def.when.is_empty() {
        out.push_str(&section(
            "Requests are picked (`when`) by",
            &def.when.join(", "),
        ));
    }
    let operations: Vec<&str> = def.protocol.operations().collect();
    if !operations.is_empty() {
        out.push_str(&section("Its operations", &operations.join(", ")));
    }
    out.push_str(&rest(&def.about, def.example));
    out.push_str(&paragraph(
        "  ",
        "Keys of every dependency: `brownout explain dependency`.",
    ));
    out + &see_also(def.about.related)
}

fn topic(topic: &Topic) -> String {
    let mut out = head(topic.name, topic.sort, topic.summary);
    out.push_str(&paragraphs(topic.text));
    if topic.name == "exit-status" {
        out.push_str(&statuses());
    }
    if !topic.example.text().is_empty() {
        out.push_str(&example(topic.example.text()));
    }
    out.push_str(&keys("Keys", (topic.keys)()));
    out + &see_also(topic.related)
}

fn statuses() -> String {
    let mut out = "\n".to_owned();
    for exit in exit::ALL.iter().rev() {
        out.push_str(&paragraph(
            &format!("  {:>3}  ", exit.code()),
            exit.meaning(),
        ));
    }
    out
}

fn head(name: &str, sort: &str, summary: &str) -> String {
    format!(
        "{BOLD}{name}{BOLD:#} ({sort})\n{}",
        paragraph("", &format!("{summary}."))
    )
}

/// What every kind has at its end: mistakes and an example.
fn rest(about: &About, text: &str) -> String {
    let mut out = String::new();
    if !about.mistakes.is_empty() {
        out.push_str(&title("Often got wrong"));
        for mistake in about.mistakes {
            out.push_str(&paragraph("  - ", mistake));
        }
    }
    out + &example(text)
}

fn example(text: &str) -> String {
    format!("{}{}", title("Example"), list::indented(text))
}

/// Keys with their shapes, bounds and defaults, those of a table below it.
fn keys(heading: &str, keys: &[Key]) -> String {
    if keys.is_empty() {
        return String::new();
    }
    let mut out = title(heading);
    for key in keys {
        out.push_str(&about_key(key, 2));
    }
    out
}

fn about_key(key: &Key, indent: usize) -> String {
    let (shape, below): (String, &[Key]) = match key.shape {
        Shape::Later(_) => return String::new(),
        Shape::Table(keys) => ("a table".to_owned(), keys),
        Shape::Tables(keys) => ("an array of tables".to_owned(), keys),
        Shape::MapOf(keys) => ("a table of named tables".to_owned(), keys),
        shape => (shape.describe(), &[]),
    };
    let lead = " ".repeat(indent);
    let required = if key.required { ", required" } else { "" };
    let mut out = format!("{lead}{BOLD}{}{BOLD:#}{required}\n", key.name);
    let text = format!("{}: {}", shape, key.doc);
    out.push_str(&paragraph(&" ".repeat(indent + 4), &text));
    // Deeper tables are explained by their own pages and by the schema.
    for key in below.iter().filter(|_| indent < 10) {
        out.push_str(&about_key(key, indent + 4));
    }
    out
}

fn see_also(related: &[&str]) -> String {
    section("See also", &related.join(", "))
}

fn title(text: &str) -> String {
    format!("\n{BOLD}{text}{BOLD:#}\n")
}

fn section(heading: &str, text: &str) -> String {
    format!("{}{}", title(heading), paragraph("  ", text))
}

fn joined(one: &str, other: &str) -> String {
    [one, other]
        .iter()
        .filter(|text| !text.is_empty())
        .copied()
        .collect::<Vec<_>>()
        .join(" ")
}

fn paragraphs(text: &str) -> String {
    text.split("\n\n")
        .map(|one| format!("\n{}", paragraph("", one)))
        .collect()
}

/// A text in lines, the first beginning with `first` and the rest indented as far.
fn paragraph(first: &str, text: &str) -> String {
    let wrapped = wrap(first, text, WIDTH);
    format!("{}\n", wrapped.trim_end_matches('\n'))
}

#[cfg(test)]
mod tests;
