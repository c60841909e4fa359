//! A session's actions as faults with their times, and as stretches of time between two changes.

use super::{Action, What};
use crate::{
    fault::restart,
    protocol::Protocol,
    scenario::{FAULTS_MAX, PHASES_MAX},
    units::{Micros, format_duration},
};
use std::{collections::BTreeMap, time::Duration};

/// What changes within this time is one change: a hand needs longer to see anything.
const CHANGE: Duration = Duration::from_millis(500);

/// The longest stretch without faults between two others: nothing happens in it.
const QUIET_MAX: Duration = Duration::from_secs(60);

/// The baseline lasts as long as it was quiet before the first fault, within these bounds.
const STEADY_MIN: Duration = Duration::from_secs(10);
/// See [`STEADY_MIN`].
const STEADY_MAX: Duration = Duration::from_secs(30);

/// The keys of every kind that count what a fault met since it came into force.
const COUNTS: [&str; 3] = ["first", "after", "every"];

/// The kind that remembers what was used of it.
const QUOTA: &str = "quota";

/// The kind that is a sequence, timed from when it comes into force.
const RESTART: &str = "restart";

/// A fault on one dependency.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Placed {
    /// Its kind.
    pub kind: String,
    /// The dependency, or a role.
    pub on: String,
    /// The dependencies that this means.
    pub acts_on: Vec<String>,
    /// The other keys of its table.
    pub keys: toml::Table,
    /// The key whose count begins anew in each phase, where it is in force in several.
    pub forgets: Option<&'static str>,
    /// Its share falls on other connections in each phase, where it is in force in several.
    pub redraws: bool,
    /// It is what was left of one that began in an earlier phase.
    pub is_rest: bool,
    from: Micros,
    to: Micros,
}

/// A stretch of time in which nothing changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stretch {
    /// How long it was.
    pub lasts: Duration,
    /// What is in force, by place among the faults.
    pub faults: Vec<usize>,
}

/// The faults of a session and when each was in force, in the order in which they were placed.
/// `meant` says which dependencies a name means; what means none is left out, which is noted.
pub(super) fn faults(
    actions: &[Action],
    now: Micros,
    meant: &dyn Fn(&str) -> Vec<String>,
    notes: &mut Vec<String>,
) -> Vec<Placed> {
    let ends = ends(actions);
    let mut faults = Vec::new();
    for action in actions {
        let What::Placed {
            id, label, toml, ..
        } = &action.what
        else {
            continue;
        };
        // Also what was lifted at once was placed.
        let least = Micros(action.at.0.saturating_add(1));
        let to = ends.get(id).copied().unwrap_or(now).max(least);
        for (kind, on, keys) in tables(toml) {
            let acts_on = meant(&on);
            if acts_on.is_empty() {
                notes.push(format!(
                    "left out, because the scenario knows no dependency `{}`: {}",
                    super::one_line(&on),
                    super::one_line(label)
                ));
                continue;
            }
            faults.push(Placed {
                kind,
                on,
                acts_on,
                keys,
                forgets: None,
                redraws: false,
                is_rest: false,
                from: action.at,
                to,
            });
        }
    }
    notes.dedup();
    one_capacity(&mut faults, notes);
    faults
}

/// When each fault was no longer in force.
fn ends(actions: &[Action]) -> BTreeMap<u64, Micros> {
    let mut ends = BTreeMap::new();
    for action in actions {
        if let What::Lifted { id } | What::Expired { id } = &action.what {
            ends.entry(*id).or_insert(action.at);
        }
    }
    ends
}

/// The tables of a text: kind, dependency, other keys. What belongs to several faults of a phase is left out:
/// faults by hand come one by one.
fn tables(text: &str) -> Vec<(String, String, toml::Table)> {
    let Ok(mut whole) = text.parse::<toml::Table>() else {
        return Vec::new();
    };
    let Some(toml::Value::Table(mut phase)) = whole.remove("phase").map(first) else {
        return Vec::new();
    };
    let Some(toml::Value::Array(faults)) = phase.remove("fault") else {
        return Vec::new();
    };
    let read = faults.into_iter().filter_map(|fault| {
        let toml::Value::Table(mut keys) = fault else {
            return None;
        };
        keys.remove("one_of");
        let toml::Value::String(kind) = keys.remove("kind")? else {
            return None;
        };
        let toml::Value::String(on) = keys.remove("on")? else {
            return None;
        };
        Some((kind, on, keys))
    });
    read.collect()
}

/// `[[phase.fault]]` alone makes `phase` a table; below a `[[phase]]` it is the first of an array.
fn first(value: toml::Value) -> toml::Value {
    match value {
        toml::Value::Array(mut items) if !items.is_empty() => items.swap_remove(0),
        other => other,
    }
}

/// A dependency has one queue: an overload ends where another one of the same dependency begins.
fn one_capacity(faults: &mut [Placed], notes: &mut Vec<String>) {
    for later in 0..faults.len() {
        let (before, rest) = faults.split_at_mut(later);
        let new = &rest[0];
        for old in before {
            let both = old.kind == "overload" && new.kind == old.kind;
            let shared = old.acts_on.iter().any(|name| new.acts_on.contains(name));
            if both && shared && old.to > new.from {
                old.to = new.from;
                let what = format!(
                    "the first overload of {} ends where the second begins",
                    new.on
                );
                if !notes.contains(&what) {
                    notes.push(what);
                }
            }
        }
    }
}

/// The phases between the baseline and the recovery. The first stretch is the baseline's, without
/// faults; none follows the last one with faults.
pub(super) fn stretches(faults: &[Placed], notes: &mut Vec<String>) -> Vec<Stretch> {
    let mut all = between(faults);
    let before = all.len();
    settle(&mut all);
    if all.len() < before {
        notes.push(format!(
            "changes within {} of each other are one",
            format_duration(CHANGE)
        ));
    }
    join(&mut all);
    bound(&mut all, notes);
    let mut shortened = false;
    for stretch in &mut all {
        if stretch.faults.is_empty() && stretch.lasts > QUIET_MAX {
            stretch.lasts = QUIET_MAX;
            shortened = true;
        }
        stretch.lasts = rounded(stretch.lasts);
    }
    if shortened {
        notes.push(format!(
            "what was quiet for longer than {} between two faults is as long as that",
            format_duration(QUIET_MAX)
        ));
    }
    all
}

/// A restart by hand is one, and would be another one in each phase that begins while it is in force: the
/// later ones have what was left of it, and nothing once it was ready. `spoken` says the protocol of a
/// dependency.
pub(super) fn go_on(
    faults: &mut Vec<Placed>,
    stretches: &mut Vec<Stretch>,
    spoken: &dyn Fn(&str) -> Option<Protocol>,
    notes: &mut Vec<String>,
) {
    for index in 0..faults.len() {
        if faults[index].kind != RESTART {
            continue;
        }
        let mut gone: Option<Duration> = None;
        let mut is_cut = false;
        for stretch in stretches.iter_mut() {
            let Some(place) = stretch.faults.iter().position(|fault| *fault == index) else {
                continue;
            };
            if let Some(gone) = gone {
                is_cut = true;
                match left(&faults[index], gone, spoken) {
                    Some(rest) => {
                        faults.push(rest);
                        stretch.faults[place] = faults.len() - 1;
                    }
                    None => {
                        stretch.faults.remove(place);
                    }
                }
            }
            gone = Some(gone.unwrap_or_default() + stretch.lasts);
        }
        if is_cut {
            let fault = &faults[index];
            let cold = match fault.keys.contains_key("cold") {
                true => ", but not how cold it was after it",
                false => "",
            };
            notes.push(format!(
                "the restart of {} went on while something else changed: later phases have what was left of it{cold}",
                super::one_line(&fault.on)
            ));
        }
    }
    notes.dedup();
    join(stretches);
}

/// What is left of a restart after so long. Of dependencies that speak different protocols the sequences
/// differ: of those nothing.
fn left(
    fault: &Placed,
    gone: Duration,
    spoken: &dyn Fn(&str) -> Option<Protocol>,
) -> Option<Placed> {
    let protocol = spoken(fault.acts_on.first()?)?;
    let mut all = fault.acts_on.iter();
    let is_alike = all.all(|name| spoken(name) == Some(protocol));
    let keys = restart::rest(&fault.keys, protocol, gone).filter(|_| is_alike)?;
    Some(Placed {
        keys,
        is_rest: true,
        ..fault.clone()
    })
}

/// What counts on through a fault by hand begins anew in each phase of a scenario. Where a fault is in
/// force in several, a quota is given a name, by which its use is remembered; of others it is noted. So it is
/// of a share of the connections, which is drawn anew. (A share of the keys is the same in each phase, and
/// one of the requests is drawn for each.) `spoken` says the protocol of a dependency.
pub(super) fn remember(
    faults: &mut [Placed],
    stretches: &[Stretch],
    spoken: &dyn Fn(&str) -> Option<Protocol>,
    notes: &mut Vec<String>,
) {
    for (index, fault) in faults.iter_mut().enumerate() {
        let phases = stretches.iter().filter(|one| one.faults.contains(&index));
        if phases.count() < 2 {
            continue;
        }
        let counts = COUNTS.iter().find(|key| fault.keys.contains_key(**key));
        fault.forgets = counts.copied();
        // What is counted of connections is those that are open: there is nothing to remember.
        let counts = fault.keys.get("counts").and_then(toml::Value::as_str);
        let is_used_up = fault.kind == QUOTA && counts != Some("connections");
        if is_used_up && !fault.keys.contains_key("name") {
            // One of several dependencies would share what each had of its own.
            if fault.acts_on.len() == 1 {
                let name = format!("by hand {}", index + 1);
                fault.keys.insert("name".to_owned(), name.into());
            } else {
                fault.forgets = Some("limit");
            }
        }
        fault.redraws = is_of_connections(fault, spoken);
        if fault.redraws {
            notes.push(format!(
                "the share of {} on {} falls on other connections in each phase of the scenario; by hand it fell on the same",
                fault.kind,
                super::one_line(&fault.on)
            ));
        }
        if let Some(key) = fault.forgets {
            let on = super::one_line(&fault.on);
            notes.push(format!(
                "`{key}` of {} on {on} begins anew in each phase of the scenario; by hand it counted on",
                fault.kind
            ));
        }
    }
    notes.dedup();
}

/// Whether it acts on a share of the connections.
fn is_of_connections(fault: &Placed, spoken: &dyn Fn(&str) -> Option<Protocol>) -> bool {
    let has_messages = |name: &String| spoken(name).is_none_or(Protocol::has_messages);
    let is_so = match fault.keys.get("by").and_then(toml::Value::as_str) {
        Some(by) => by == "connection",
        None => !fault.acts_on.iter().all(has_messages),
    };
    is_so && fault.keys.contains_key("share")
}

/// How long the baseline is: as long as it was quiet between the first action and the first fault.
pub(super) fn steady(actions: &[Action], faults: &[Placed]) -> Duration {
    let began = actions.iter().map(|action| action.at).min();
    let first = faults.iter().map(|fault| fault.from).min();
    let quiet = match (began, first) {
        (Some(began), Some(first)) => first.0.saturating_sub(began.0),
        _ => 0,
    };
    rounded(Duration::from_micros(quiet)).clamp(STEADY_MIN, STEADY_MAX)
}

/// From the first change to the last, one stretch between each two.
fn between(faults: &[Placed]) -> Vec<Stretch> {
    let mut moments: Vec<Micros> = faults.iter().flat_map(|one| [one.from, one.to]).collect();
    moments.sort_unstable();
    moments.dedup();
    let pairs = moments.windows(2).map(|pair| {
        let (from, to) = (pair[0], pair[1]);
        let in_force = |index: &usize| faults[*index].from <= from && faults[*index].to >= to;
        Stretch {
            lasts: Duration::from_micros(to.0 - from.0),
            faults: (0..faults.len()).filter(in_force).collect(),
        }
    });
    pairs.collect()
}

fn is_brief(stretch: &Stretch) -> bool {
    stretch.lasts < CHANGE
}

/// Takes out what is too brief to be meant, unless a fault is seen in it alone.
fn settle(stretches: &mut Vec<Stretch>) {
    let mut index = 0;
    while index < stretches.len() {
        let elsewhere = |fault: &usize| {
            let others = stretches.iter().enumerate();
            others
                .filter(|(other, _)| *other != index)
                .any(|(_, one)| one.faults.contains(fault))
        };
        if is_brief(&stretches[index]) && stretches[index].faults.iter().all(elsewhere) {
            stretches.remove(index);
        } else {
            index += 1;
        }
    }
}

/// Makes one of neighbours in which the same is in force, and takes the quiet off both ends.
fn join(stretches: &mut Vec<Stretch>) {
    let is_quiet = |stretch: &Stretch| stretch.faults.is_empty();
    while stretches.last().is_some_and(is_quiet) {
        stretches.pop();
    }
    let leading = stretches.iter().take_while(|one| is_quiet(one)).count();
    stretches.drain(..leading);
    stretches.dedup_by(|later, earlier| {
        let same = later.faults == earlier.faults;
        if same {
            earlier.lasts += later.lasts;
        }
        same
    });
}

/// Keeps as many of the last ones as a scenario may have.
fn bound(stretches: &mut Vec<Stretch>, notes: &mut Vec<String>) {
    for stretch in stretches.iter_mut() {
        if stretch.faults.len() > FAULTS_MAX {
            stretch.faults.truncate(FAULTS_MAX);
            notes.push(format!(
                "of more than {FAULTS_MAX} faults at once the first are here"
            ));
        }
    }
    // Beside them stand the baseline and the recovery.
    let (mut count, mut faults) = (0, 0);
    for stretch in stretches.iter().rev() {
        if count + 3 > PHASES_MAX || faults + stretch.faults.len() > FAULTS_MAX {
            break;
        }
        (count, faults) = (count + 1, faults + stretch.faults.len());
    }
    if count < stretches.len() {
        notes.push(format!(
            "the session has {} phases: the last {count} of them are here",
            stretches.len()
        ));
        stretches.drain(..stretches.len() - count);
        join(stretches);
    }
}

/// To whole seconds, at least one.
fn rounded(length: Duration) -> Duration {
    Duration::from_secs((length + Duration::from_millis(500)).as_secs().max(1))
}

/// What is in force in a stretch: `error on s3 and hang on db`.
pub(super) fn in_words(faults: &[Placed], stretch: &Stretch) -> String {
    let mut said: Vec<String> = Vec::new();
    for index in &stretch.faults {
        let fault = &faults[*index];
        let what = format!("{} on {}", fault.kind, fault.on);
        if !said.contains(&what) {
            said.push(what);
        }
    }
    match said.len() {
        0 => "quiet".to_owned(),
        1..=3 => said.join(" and "),
        more => format!("{} and {} more", said[..2].join(", "), more - 2),
    }
}
