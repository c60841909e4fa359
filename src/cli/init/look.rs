//! Looks into a folder: reads what is there, says what cannot be read, and goes on with the rest.

use super::{
    compose::{Service, services},
    depends::{Clue, Dependency, Real, find},
    dotenv,
    start::{FILES, Port, Started, command, port},
};
use crate::cli::paths::in_words;
use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read},
    path::Path,
};

/// The largest file that is looked at, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The most `.env` files that are looked at.
const ENV_FILES_MAX: usize = 20;

/// Compose files, the one that compose itself prefers first.
const COMPOSE: &[&str] = &[
    "compose.yaml",
    "compose.yml",
    "docker-compose.yaml",
    "docker-compose.yml",
];

/// `.env` files in the order of their weight; others come after them, by name.
const ENV_FILES: &[&str] = &[
    ".env.local",
    ".env.development.local",
    ".env.development",
    ".env.dev",
    ".env",
];

/// What a folder says.
#[derive(Debug, Default)]
pub struct Found {
    /// What was read, by name.
    pub read: Vec<String>,
    /// What could not be read, a line each: "`.env`, line 3: …".
    pub troubles: Vec<String>,
    /// What was left alone or assumed.
    pub notes: Vec<String>,
    /// How the system is started.
    pub started: Option<Started>,
    /// Where it listens, and why that is thought.
    pub port: Option<(Port, String)>,
    /// The path of its health check.
    pub ready: Option<String>,
    /// What it depends on.
    pub dependencies: Vec<Dependency>,
    /// What stays real.
    pub real: Vec<Real>,
}

/// Looks into a folder. `more` are variables that were typed, which win; `service` is the compose
/// service that is the system; `line` is how it is started, where that was typed.
///
/// # Errors
/// The folder cannot be read, or it has no service of this name: a fragment.
pub fn look(
    folder: &Path,
    more: &[Clue],
    service: Option<&str>,
    line: Option<&str>,
) -> Result<Found, String> {
    let mut found = Found::default();
    let mut clues = more.to_vec();
    for name in env_files(folder)? {
        found.env_file(folder, &name, &mut clues);
    }
    let services = found.compose(folder, &clues);
    let app = app(&services, service)?;
    if let Some(app) = app {
        let compose = found.compose_name().to_owned();
        for variable in &app.environment {
            add(
                &mut clues,
                &variable.name,
                &variable.value,
                format!("{compose}:{}", variable.line),
            );
        }
    }
    let files = found.others(folder);
    found.started = match line {
        Some(line) => Some(Started {
            words: super::start::words(line),
            origin: "--command".to_owned(),
        })
        .filter(|started| {
            let program = started.words.first();
            !line.trim().is_empty() && program.is_some_and(|word| !word.is_empty())
        }),
        None => command(&files, app),
    };
    let variables: Vec<&str> = clues.iter().map(|clue| clue.name.as_str()).collect();
    let words = found
        .started
        .as_ref()
        .map_or(&[][..], |started| &started.words);
    found.port = port(words, &variables, app, &files);
    found.ready = app.and_then(|app| app.healthy.clone());
    let others: Vec<Service> = services
        .iter()
        .filter(|one| app.is_none_or(|app| one.name != app.name))
        .cloned()
        .collect();
    let findings = find(&clues, &others);
    found.dependencies = findings.dependencies;
    found.real = findings.real;
    found.notes.extend(findings.notes);
    Ok(found)
}

/// The service that is the system: the one that was named, else the only one that is built here,
/// else, of several, the first that publishes a port.
fn app<'a>(services: &'a [Service], named: Option<&str>) -> Result<Option<&'a Service>, String> {
    if let Some(named) = named {
        let found = services.iter().find(|service| service.name == named);
        return found.map(Some).ok_or_else(|| {
            let known = services.iter().map(|service| service.name.as_str());
            let hint = crate::input::hint_among(named, known);
            format!("no service of the compose file is named `{named}` ({hint})")
        });
    }
    let mut built = services.iter().filter(|service| service.built);
    let first = built.clone().next();
    Ok(built.find(|service| !service.ports.is_empty()).or(first))
}

fn env_files(folder: &Path) -> Result<Vec<String>, String> {
    let entries = std::fs::read_dir(folder).map_err(|error| {
        format!(
            "cannot read the folder `{}`: {}",
            folder.display(),
            in_words(&error)
        )
    })?;
    let mut names: Vec<String> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name == ".env" || name.starts_with(".env."))
        .collect();
    let weight = |name: &String| {
        let known = ENV_FILES.iter().position(|one| one == name);
        (known.unwrap_or(ENV_FILES.len()), name.clone())
    };
    names.sort_by_key(weight);
    names.truncate(ENV_FILES_MAX);
    Ok(names)
}

/// Adds a variable, unless it is known already.
fn add(clues: &mut Vec<Clue>, name: &str, value: &str, origin: String) {
    if !value.is_empty() && !clues.iter().any(|clue| clue.name == name) {
        clues.push(Clue {
            name: name.to_owned(),
            value: value.to_owned(),
            origin,
        });
    }
}

impl Found {
    fn env_file(&mut self, folder: &Path, name: &str, clues: &mut Vec<Clue>) {
        let Some(text) = self.text(folder, name) else {
            return;
        };
        let (variables, troubles) = dotenv::read(&text);
        for trouble in troubles {
            self.troubles.push(format!(
                "`{name}`, line {}: {}",
                trouble.line, trouble.message
            ));
        }
        for variable in variables {
            add(
                clues,
                &variable.name,
                &variable.value,
                format!("{name}:{}", variable.line),
            );
        }
    }

    fn compose(&mut self, folder: &Path, clues: &[Clue]) -> Vec<Service> {
        for name in COMPOSE {
            let Some(text) = self.text(folder, name) else {
                continue;
            };
            let value = |wanted: &str| {
                let clue = clues.iter().find(|clue| clue.name == wanted)?;
                Some(clue.value.clone())
            };
            let (services, trouble) = services(&text, &value);
            if let Some((line, message)) = trouble {
                self.troubles
                    .push(format!("`{name}`, line {line}: {message}"));
            }
            return services;
        }
        Vec::new()
    }

    /// The compose file that was read.
    fn compose_name(&self) -> &str {
        let found = self
            .read
            .iter()
            .find(|name| COMPOSE.contains(&name.as_str()));
        found.map_or("the compose file", String::as_str)
    }

    fn others(&mut self, folder: &Path) -> BTreeMap<String, String> {
        let mut files = BTreeMap::new();
        for name in FILES {
            if let Some(text) = self.text(folder, name) {
                files.insert((*name).to_owned(), text);
            }
        }
        files
    }

    /// The text of a file, if it is there and can be read.
    fn text(&mut self, folder: &Path, name: &str) -> Option<String> {
        let path = folder.join(name);
        if !path.is_file() {
            return None;
        }
        match read(&path) {
            Ok(text) => {
                self.read.push(name.to_owned());
                Some(text)
            }
            Err(why) => {
                self.troubles.push(format!("`{name}`: {why}"));
                None
            }
        }
    }
}

fn read(path: &Path) -> Result<String, String> {
    let mut bytes = Vec::new();
    let taken: io::Result<usize> =
        File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
    taken.map_err(|error| in_words(&error))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err("it is larger than 1 MiB".to_owned());
    }
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned())
}
