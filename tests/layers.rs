//! What would prove that the layers of the crate hold: every `use` line is read, and no module
//! knows one that it must not.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Which modules of the crate each module may name.
const ALLOWED: &[(&str, &[&str])] = &[
    ("units", &[]),
    ("seed", &[]),
    ("statistics", &[]),
    ("dial", &[]),
    ("timer", &[]),
    ("input", &["units"]),
    // A fault's answer is put into bytes by the protocol; both are pure.
    ("protocol", &["fault", "input", "seed", "units"]),
    ("fault", &["input", "protocol", "seed", "units"]),
    // The model holds expectations, and expectations see the model: both are pure.
    (
        "scenario",
        &[
            "expectation",
            "fault",
            "history",
            "input",
            "policy",
            "protocol",
            "seed",
            "units",
        ],
    ),
    ("history", &["fault", "protocol", "scenario", "units"]),
    // What clients did is told by the history alone; a system's file may declare it beforehand.
    (
        "policy",
        &["history", "input", "protocol", "scenario", "units"],
    ),
    (
        "expectation",
        &[
            "fault", "history", "input", "policy", "protocol", "scenario", "units",
        ],
    ),
    // What is tried is written down, and what a history says of it is read; nothing is started.
    (
        "matrix",
        &[
            "expectation",
            "fault",
            "history",
            "input",
            "policy",
            "protocol",
            "scenario",
            "units",
        ],
    ),
    (
        "metastability",
        &["fault", "history", "statistics", "units"],
    ),
    // What was seen of known systems is held against what is known; the runs are made elsewhere.
    ("selftest", &["expectation", "statistics"]),
    (
        "proxy",
        &[
            "dial", "fault", "history", "protocol", "scenario", "seed", "timer", "units",
        ],
    ),
    (
        "load",
        &["dial", "history", "scenario", "seed", "timer", "units"],
    ),
    ("process", &["dial", "history", "input", "units"]),
    (
        "otel",
        &["dial", "history", "protocol", "proxy", "seed", "units"],
    ),
    ("embedded", &["dial", "history", "input", "protocol"]),
    ("reference", &["embedded", "seed"]),
    (
        "control",
        &[
            "expectation",
            "fault",
            "history",
            "input",
            "protocol",
            "proxy",
            "report",
            "run",
            "scenario",
            "seed",
            "units",
        ],
    ),
    // For others' tests: joins what a scenario's run joins, without a file or with one.
    (
        "rehearsal",
        &[
            "expectation",
            "fault",
            "history",
            "input",
            "process",
            "protocol",
            "proxy",
            "run",
            "scenario",
            "seed",
            "units",
        ],
    ),
    (
        "report",
        &[
            "expectation",
            "history",
            "matrix",
            "metastability",
            "policy",
            "scenario",
            "selftest",
            "statistics",
            "units",
        ],
    ),
    (
        "run",
        &[
            "dial",
            "embedded",
            "expectation",
            "fault",
            "history",
            "input",
            "load",
            "matrix",
            "policy",
            "process",
            "protocol",
            "proxy",
            "scenario",
            "seed",
            "units",
        ],
    ),
];

/// Texts that only these modules may hold: who prints, who exits, who owns sockets.
const RESERVED: &[(&str, &[&str])] = &[
    ("println!(", &["cli", "reference"]),
    ("process::exit(", &["cli"]),
    (
        "tokio::net",
        &[
            "control",
            "dial",
            "embedded",
            "load",
            "otel",
            "process",
            "proxy",
            "reference",
            "run",
        ],
    ),
    // Those of our own that fail are left out where others' are looked for.
    (
        "TcpStream::connect(",
        &["control", "dial", "proxy", "reference"],
    ),
    (
        "tokio::time::sleep",
        &[
            "control",
            "embedded",
            "load",
            "otel",
            "process",
            "proxy",
            "reference",
            "run",
            "timer",
        ],
    ),
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder)
        .expect("the sources are there")
        .flatten()
    {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The part of a file that is not its tests, without comments.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).expect("a source is text");
    let text = text
        .split("#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or_default()
        .to_owned();
    let lines = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// The modules that a text names by `crate::NAME` or within `crate::{ … }`.
fn named(code: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for part in code.split("crate::").skip(1) {
        match part.strip_prefix('{') {
            Some(list) => names.extend(top_level(list)),
            None => names.extend(word(part)),
        }
    }
    names
}

/// The first word of every entry of a `{ … }` list, nested lists passed over.
fn top_level(list: &str) -> Vec<String> {
    let mut depth = 0;
    let mut names = Vec::new();
    let mut entry = String::new();
    for letter in list.chars() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => names.extend(word(std::mem::take(&mut entry).trim())),
            _ if depth == 0 => entry.push(letter),
            _ => {}
        }
    }
    names.extend(word(entry.trim()));
    names
}

fn word(text: &str) -> Option<String> {
    let end = text.find(|letter: char| !letter.is_alphanumeric() && letter != '_');
    let word = &text[..end.unwrap_or(text.len())];
    (!word.is_empty()).then(|| word.to_owned())
}

/// Calls `check` with the module, the file and its code, for every file that is not a test.
fn every_file(mut check: impl FnMut(&str, &Path, &str)) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    sources(&root, &mut found);
    assert!(found.len() > 100, "the sources were found");
    for path in found {
        let below = path.strip_prefix(&root).expect("below src").to_owned();
        let parts: Vec<String> = below
            .components()
            .map(|part| part.as_os_str().to_string_lossy().into_owned())
            .collect();
        let test = parts.iter().any(|part| {
            matches!(
                part.as_str(),
                "tests" | "tests.rs" | "testing.rs" | "sample.rs"
            )
        });
        if !test {
            check(parts[0].trim_end_matches(".rs"), &below, &code(&path));
        }
    }
}

#[test]
fn no_module_names_one_that_it_must_not_know() {
    let modules: BTreeSet<&str> = ALLOWED
        .iter()
        .map(|(name, _)| *name)
        .chain(["cli"])
        .collect();
    let mut broken = Vec::new();
    every_file(|module, file, code| {
        let Some((_, allowed)) = ALLOWED.iter().find(|(name, _)| *name == module) else {
            assert!(
                matches!(module, "cli" | "fuzzing" | "lib" | "main"),
                "{module} has no place in the layers"
            );
            return;
        };
        for name in named(code) {
            let foreign = modules.contains(name.as_str()) && name != module;
            if foreign && !allowed.contains(&name.as_str()) {
                broken.push(format!("{} knows `{name}`", file.display()));
            }
        }
    });
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn only_the_command_line_prints_and_only_the_edges_touch_sockets_and_timers() {
    let mut broken = Vec::new();
    every_file(|module, file, code| {
        for (text, allowed) in RESERVED {
            if code.contains(text)
                && !allowed.contains(&module)
                && !matches!(module, "main" | "lib")
            {
                broken.push(format!("{} holds `{text}`", file.display()));
            }
        }
    });
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn the_reader_of_use_lines_sees_what_is_there() {
    let code = "use crate::{\n    fault::{Gate, Switch},\n    units::Micros,\n};\nfn f(x: crate::proxy::Proxy) {}";
    let names: Vec<String> = named(code).into_iter().collect();
    assert_eq!(names, ["fault", "proxy", "units"]);
}
