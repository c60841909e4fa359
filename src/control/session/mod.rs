//! What was done by hand, as a scenario file: "make a scenario of what I just did".
//!
//! Pure: the same actions give the same bytes. What it writes is accepted by the reader of scenarios,
//! beside the system that `serve` was given or, where it was given none, beside the one that is written
//! with it. A first, commented set of requirements is made up; it is there to be sharpened.

mod stretches;
mod text;

#[cfg(test)]
mod tests;

use crate::{
    input::{Problems, Severity, Source},
    protocol::Protocol,
    scenario::{System, from_texts},
    units::Micros,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
};
use stretches::{Placed, Stretch};

/// The longest title, in characters.
const TITLE_MAX: usize = 120;

/// The most doubts about what was written that are passed on.
const DOUBTS_MAX: usize = 8;

/// What is said of a system file that was made up.
const PORTS: &str =
    "brownout.toml names the ports that `brownout serve` holds: end it before `brownout run`";

/// Something that was done by hand, or that ended by itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Action {
    /// When.
    pub at: Micros,
    /// What.
    pub what: What,
}

/// What was done.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// A fault came into force.
    Placed {
        /// Its number.
        id: u64,
        /// One line for people.
        label: String,
        /// The names of the dependencies.
        on: Vec<String>,
        /// Its `[[phase.fault]]` table, or one for each dependency.
        toml: Arc<str>,
    },
    /// It was lifted.
    Lifted {
        /// Its number.
        id: u64,
    },
    /// Its time was over.
    Expired {
        /// Its number.
        id: u64,
    },
    /// It was given more time: it stays in force, so that nothing changes.
    Renewed {
        /// Its number.
        id: u64,
    },
    /// A dependency was made.
    Made {
        /// Its name.
        name: String,
    },
    /// It was removed.
    Removed {
        /// Its name.
        name: String,
    },
}

/// A dependency as it stands: what must be known of it where no system file says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stood {
    /// Its name.
    pub name: String,
    /// What it speaks.
    pub protocol: Protocol,
    /// Where it listens.
    pub listen: String,
    /// What stands behind it, as a system file says it.
    pub upstream: String,
}

/// A scenario made of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// Its title.
    pub name: String,
    /// The scenario file.
    pub toml: String,
    /// What was left out or shortened, and what there is to doubt.
    pub notes: Vec<String>,
    /// A system file to go with it, where `serve` was given none.
    pub system: Option<String>,
}

/// Why there is no scenario.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Nothing {
    /// No fault was put in force.
    #[error("no fault was put in force in this session: there is nothing to make a scenario of")]
    NoFault,
    /// None of what the faults acted on can be named by a scenario.
    #[error("{} {} no scenario can name: {why}", if names.len() == 1 { "this dependency" } else { "these dependencies" }, names.join(", "))]
    Unnamed {
        /// Their names.
        names: Vec<String>,
        /// Why none can.
        why: &'static str,
    },
}

/// Makes a scenario of what was done until `now`. `name` is its title; an empty one is made up.
///
/// # Errors
/// There is nothing to make it of.
pub fn scenario(
    actions: &[Action],
    now: Micros,
    system: Option<&System>,
    dependencies: &[Stood],
    name: &str,
) -> Result<Saved, Nothing> {
    let known = Known::new(system, dependencies);
    let mut notes = Vec::new();
    let mut faults = stretches::faults(actions, now, &|on| known.meant(on), &mut notes);
    if faults.is_empty() {
        return Err(known.nothing(actions));
    }
    let mut stretches = stretches::stretches(&faults, &mut notes);
    let spoken = |name: &str| known.spoken(name, dependencies);
    stretches::go_on(&mut faults, &mut stretches, &spoken, &mut notes);
    stretches::remember(&mut faults, &stretches, &spoken, &mut notes);
    let hit = hit(&faults, &stretches);
    let title = title(name, &faults, &stretches);
    let system_name = known.system_name();
    let requirements = match system {
        Some(system) => text::Requirements::of(system, &hit),
        None => text::Requirements::made(dependencies, &hit),
    };
    let story = text::Story {
        title: &title,
        system: &system_name,
        steady: stretches::steady(actions, &faults),
        faults: &faults,
        stretches: &stretches,
    };
    let toml = text::scenario(&story, &requirements);
    let made = match system {
        Some(_) => None,
        None => Some(text::system(
            dependencies.iter().filter(|one| known.has(&one.name)),
        )),
    };
    if made.is_some() {
        notes.push(PORTS.to_owned());
    }
    notes.extend(doubts(&toml, &system_name, system, made.as_deref()));
    Ok(Saved {
        name: title,
        toml,
        notes,
        system: made,
    })
}

/// What faults may be put on in the scenario.
struct Known<'a> {
    /// Names and roles, each with the dependencies that it means.
    names: BTreeMap<&'a str, BTreeSet<&'a str>>,
    system: Option<&'a System>,
}

impl<'a> Known<'a> {
    fn new(system: Option<&'a System>, dependencies: &'a [Stood]) -> Self {
        let mut names: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        let mut add = |name: &'a str, means: &'a str| {
            names.entry(name).or_default().insert(means);
        };
        match system {
            Some(system) => {
                for one in &system.dependencies {
                    add(&one.name, &one.name);
                    if let Some(role) = &one.role {
                        add(role, &one.name);
                    }
                }
            }
            None => {
                for one in dependencies.iter().filter(|one| fits(&one.name)) {
                    add(&one.name, &one.name);
                }
            }
        }
        Self { names, system }
    }

    fn has(&self, name: &str) -> bool {
        self.names.contains_key(name)
    }

    /// What a dependency speaks.
    fn spoken(&self, name: &str, dependencies: &[Stood]) -> Option<Protocol> {
        match self.system {
            Some(system) => {
                let mut all = system.dependencies.iter();
                all.find(|one| *one.name == *name).map(|one| one.protocol)
            }
            None => {
                let found = dependencies.iter().find(|one| one.name == name);
                found.map(|one| one.protocol)
            }
        }
    }

    /// The dependencies that a name or a role means.
    fn meant(&self, name: &str) -> Vec<String> {
        let meant = self.names.get(name).into_iter().flatten();
        meant.map(|name| (*name).to_owned()).collect()
    }

    /// The file that the scenario names as its system's.
    fn system_name(&self) -> String {
        let named = self
            .system
            .map(|system| PathBuf::from(&*system.source.name));
        let file = named.as_ref().and_then(|path| path.file_name());
        file.map_or_else(
            || "brownout.toml".to_owned(),
            |name| name.to_string_lossy().into_owned(),
        )
    }

    /// Why nothing can be made of these.
    fn nothing(&self, actions: &[Action]) -> Nothing {
        let mut names: Vec<String> = Vec::new();
        for action in actions {
            if let What::Placed { on, .. } = &action.what {
                let unknown = on.iter().filter(|name| !self.has(name));
                names.extend(unknown.cloned());
            }
        }
        names.sort();
        names.dedup();
        if names.is_empty() {
            return Nothing::NoFault;
        }
        let why = match self.system {
            Some(_) => "the system file has none of that name",
            None => "it is gone, or its name holds other signs than letters, digits, - and _",
        };
        Nothing::Unnamed { names, why }
    }
}

/// Whether a system file can have a dependency of this name.
fn fits(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    !name.is_empty() && name.len() <= 64 && name.chars().all(fits)
}

/// The names and roles that something was put on, in the order in which it first was.
fn hit(faults: &[Placed], stretches: &[Stretch]) -> Vec<String> {
    let mut hit: Vec<String> = Vec::new();
    for stretch in stretches {
        for fault in &stretch.faults {
            if !hit.contains(&faults[*fault].on) {
                hit.push(faults[*fault].on.clone());
            }
        }
    }
    hit
}

/// One line: what was asked for, or what happened.
fn title(name: &str, faults: &[Placed], stretches: &[Stretch]) -> String {
    let name = one_line(name);
    if !name.is_empty() {
        return name;
    }
    let mut said: Vec<String> = Vec::new();
    for stretch in stretches.iter().filter(|one| !one.faults.is_empty()) {
        let what = stretches::in_words(faults, stretch);
        if !said.contains(&what) {
            said.push(what);
        }
    }
    let more = said.len().saturating_sub(3);
    said.truncate(3);
    let mut title = format!("By hand: {}", said.join(", then "));
    if more > 0 {
        title.push_str(&format!(", and {more} more"));
    }
    one_line(&title)
}

/// A text without what would break a line, not longer than a title may be.
fn one_line(text: &str) -> String {
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let plain: String = plain.collect();
    let mut words = plain.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((end, _)) = words.char_indices().nth(TITLE_MAX) {
        words.truncate(end);
    }
    words.trim_end().to_owned()
}

/// What the reader of scenarios has to say of it: phases too short for what is required in them.
fn doubts(toml: &str, name: &str, system: Option<&System>, made: Option<&str>) -> Vec<String> {
    let (text, folder) = match (system, made) {
        (Some(system), _) => (system.source.clone(), system.folder.clone()),
        (None, Some(made)) => (Source::new(name, made), PathBuf::from(".")),
        (None, None) => return Vec::new(),
    };
    let mut problems = Problems::default();
    let scenario = Source::new("by-hand.toml", toml);
    from_texts(scenario, text, folder, &mut problems);
    let said = problems.into_sorted().into_iter().map(|problem| {
        let hint = problem.hint.map(|hint| format!(" ({hint})"));
        let doubt = match problem.severity {
            Severity::Error => "it will be refused: ",
            Severity::Warning => "",
        };
        format!("{doubt}{}{}", problem.message, hint.unwrap_or_default())
    });
    let mut doubts: Vec<String> = Vec::new();
    for doubt in said {
        if !doubts.contains(&doubt) {
            doubts.push(doubt);
        }
    }
    let more = doubts.len().saturating_sub(DOUBTS_MAX);
    doubts.truncate(DOUBTS_MAX);
    if more > 0 {
        doubts.push(format!("`brownout check` has {more} more remarks"));
    }
    doubts
}
