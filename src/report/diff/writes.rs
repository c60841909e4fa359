//! Writes: what became of them, by witness and fault window.
//!
//! Each write belongs to one window, and met one fate there. A window is the same in both runs where it
//! is of the same fault, in force for the n-th time. Of a fate that no write of either run met there is
//! nothing to tell, nor of one that all of them met. A loss or a doubling, of which the old run had none
//! with its witness, keeps a comparison from being green, chance or not.

use super::{
    SectionDef,
    finding::{Counted, Found, Good, POINTS, share},
    pairs::{Pair, unless},
};
use crate::report::{WriteWindowReport, WritesReport};
use std::collections::BTreeMap;

/// The registry's entry.
pub const WRITES: SectionDef = SectionDef {
    name: "writes",
    compare,
};

/// A fate of a write.
struct Fate {
    /// As the report calls it.
    name: &'static str,
    count: fn(&WriteWindowReport) -> u64,
    good: Good,
    /// Whether it matters however few writes meet it.
    is_grave: bool,
}

const FATES: &[Fate] = &[
    Fate {
        name: "kept",
        count: |one| one.kept,
        good: Good::More,
        is_grave: false,
    },
    Fate {
        name: "lost",
        count: |one| one.lost,
        good: Good::Less,
        is_grave: true,
    },
    Fate {
        name: "recovered",
        count: |one| one.recovered,
        good: Good::Neither,
        is_grave: false,
    },
    Fate {
        name: "doubled",
        count: |one| one.doubled,
        good: Good::Less,
        is_grave: true,
    },
    Fate {
        name: "indeterminate",
        count: |one| one.indeterminate,
        good: Good::Less,
        is_grave: false,
    },
];

/// A window's place among those of its witness: its fault, and the how manieth of that it is. The one
/// without a fault is the last.
type Place = (u32, usize);

fn compare(pair: &Pair<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for new in &pair.new.writes {
        let old = pair.old.writes.iter().find(|one| is_same(one, new));
        found.extend(one_witness(pair, new, old, Some(new)));
    }
    let gone = pair.old.writes.iter();
    let gone = gone.filter(|old| pair.new.writes.iter().all(|one| !is_same(one, old)));
    found.extend(gone.flat_map(|old| one_witness(pair, old, Some(old), None)));
    found
}

fn is_same(one: &WritesReport, other: &WritesReport) -> bool {
    (&one.witness, &one.name) == (&other.witness, &other.name)
}

fn places(writes: Option<&WritesReport>) -> BTreeMap<Place, &WriteWindowReport> {
    let mut times: BTreeMap<u32, usize> = BTreeMap::new();
    let windows = writes.into_iter().flat_map(|one| &one.windows);
    windows
        .map(|window| {
            let fault = window.fault.map_or(u32::MAX, u32::from);
            let time = times.entry(fault).or_default();
            *time += 1;
            ((fault, *time), window)
        })
        .collect()
}

/// Compares what one witness knows of; a run that has no such witness saw no write there.
fn one_witness(
    pair: &Pair<'_>,
    witness: &WritesReport,
    old: Option<&WritesReport>,
    new: Option<&WritesReport>,
) -> Vec<Found> {
    let (old, new) = (places(old), places(new));
    let mut all: Vec<Place> = old.keys().chain(new.keys()).copied().collect();
    all.sort_unstable();
    all.dedup();
    let why = incomparable(pair, witness);
    let spared = |fate: &Fate| old.values().all(|window| (fate.count)(window) == 0);
    let news: Vec<&str> = FATES
        .iter()
        .filter(|fate| fate.is_grave && spared(fate))
        .map(|fate| fate.name)
        .collect();
    let rows = all.into_iter().flat_map(|place| {
        let windows = (old.get(&place).copied(), new.get(&place).copied());
        let mut of = witness.subject();
        if let (_, Some(window)) | (Some(window), None) = windows {
            of.push_str(&format!(", {}", window.place()));
        }
        if place.1 > 1 {
            of.push_str(&format!(" (in force for the {}. time)", place.1));
        }
        one_window(pair, &of, windows, &news, why.as_ref())
    });
    rows.collect()
}

fn incomparable(pair: &Pair<'_>, witness: &WritesReport) -> Option<String> {
    let name = &witness.name;
    pair.incomparable().or_else(|| match &*witness.witness {
        "ledger" => {
            let mut ledgers = pair.new.ledgers.iter();
            let load = ledgers.find(|one| one.name == *name).map(|one| &one.load);
            let own = load.and_then(|load| pair.incomparable_load(load));
            own.or_else(|| pair.incomparable_ledger(name))
        }
        "read-back" => pair.incomparable_load(name),
        _ => None,
    })
}

fn one_window(
    pair: &Pair<'_>,
    of: &str,
    (old, new): (Option<&WriteWindowReport>, Option<&WriteWindowReport>),
    news: &[&str],
    why: Option<&String>,
) -> Vec<Found> {
    let told = FATES.iter().filter_map(|fate| {
        let counted = |one: Option<&WriteWindowReport>| Counted {
            hits: one.map_or(0, fate.count),
            all: one.map_or(0, WriteWindowReport::total),
            clumping: one
                .and_then(|one| one.clumping.get(fate.name).copied())
                .unwrap_or(1.0),
        };
        let (before, after) = (counted(old), counted(new));
        let hits = before.hits + after.hits;
        if hits == 0 || hits == before.all + after.all {
            return None;
        }
        let margin = if fate.is_grave {
            0.0
        } else {
            pair.noise * POINTS
        };
        let (old, new, verdict) = share(before, after, fate.good, margin);
        let verdict = verdict.of_loss(after.hits > 0 && news.contains(&fate.name));
        Some(Found {
            of: of.to_owned(),
            what: format!("writes {}", fate.name),
            old,
            new,
            verdict: unless(why.cloned(), verdict),
        })
    });
    told.collect()
}
