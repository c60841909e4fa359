//! Which scenario of the new run is which of the old one, and what makes comparing them unfair.

use super::finding::Verdict;
use crate::{
    expectation::Status,
    report::{
        Digests, FaultReport, LoadReport, ScenarioReport, SuiteReport,
        series::{self, ScenarioSeries},
    },
};
use std::{collections::BTreeMap, path::Path};

/// A scenario that both runs have.
#[derive(Debug)]
pub struct Pair<'a> {
    /// In the old run.
    pub old: &'a ScenarioReport,
    /// In the new run.
    pub new: &'a ScenarioReport,
    /// What became of it over all repeats of the old run and of the new one, where it was repeated.
    pub series: (Option<&'a ScenarioSeries>, Option<&'a ScenarioSeries>),
    /// The change that is too small to matter.
    pub noise: f64,
    /// What makes comparing them unfair.
    pub unfair: Vec<String>,
}

impl Pair<'_> {
    /// The status in the old run and in the new one, over all repeats.
    pub fn status(&self) -> (Status, Status) {
        let of = |series: Option<&ScenarioSeries>, first: &ScenarioReport| {
            series.map_or(first.status, |series| series.outcome.status())
        };
        (of(self.series.0, self.old), of(self.series.1, self.new))
    }
}

/// The scenarios of two runs.
#[derive(Debug)]
pub struct Matched<'a> {
    /// Those that both have.
    pub pairs: Vec<Pair<'a>>,
    /// The files of those that only the old run has.
    pub only_old: Vec<String>,
    /// The files of those that only the new run has.
    pub only_new: Vec<String>,
    /// What makes comparing the runs unfair.
    pub unfair: Vec<String>,
}

/// The scenarios of both runs, matched by their file: the whole path, else its last part where
/// that names one scenario of each run. A scenario whose file was renamed is matched with none. Of a
/// scenario that was repeated the first repeat stands for its measures, which nobody chose for what it
/// shows.
pub fn matched<'a>(old: &'a SuiteReport, new: &'a SuiteReport, noise: f64) -> Matched<'a> {
    let mut left: Vec<&ScenarioReport> = firsts(old);
    let mut found: Vec<(&ScenarioReport, Option<&ScenarioReport>)> =
        firsts(new).into_iter().map(|one| (one, None)).collect();
    for by_name in [false, true] {
        let others: Vec<&str> = found
            .iter()
            .filter(|(_, was)| was.is_none())
            .map(|(one, _)| name(&one.file))
            .collect();
        for (one, was) in found.iter_mut().filter(|(_, was)| was.is_none()) {
            let same = |other: &&ScenarioReport| {
                if by_name {
                    name(&other.file) == name(&one.file)
                } else {
                    other.file == one.file
                }
            };
            let alone = left.iter().filter(|other| same(other)).count() == 1;
            let namesakes = others.iter().filter(|other| **other == name(&one.file));
            if alone && (!by_name || namesakes.count() == 1) {
                *was = left.iter().position(same).map(|at| left.remove(at));
            }
        }
    }
    let (old_run, new_run) = (old, new);
    let pair = |(new, old): &(&'a ScenarioReport, Option<&'a ScenarioReport>)| {
        old.map(|old| Pair {
            old,
            new,
            series: (series_of(old_run, old), series_of(new_run, new)),
            noise,
            unfair: unfair(old, new),
        })
    };
    let file = |one: &ScenarioReport| one.file.clone();
    Matched {
        pairs: found.iter().filter_map(pair).collect(),
        only_old: left.into_iter().map(file).collect(),
        only_new: found
            .iter()
            .filter(|(_, was)| was.is_none())
            .map(|(one, _)| file(one))
            .collect(),
        unfair: versions(old, new),
    }
}

/// The scenarios, of those that were repeated the first repeat.
fn firsts(report: &SuiteReport) -> Vec<&ScenarioReport> {
    match series::groups(report) {
        Some(groups) => groups.iter().filter_map(|(_, own)| own.first()).collect(),
        None => report.scenarios.iter().collect(),
    }
}

/// The series that a report is the first repeat of.
fn series_of<'a>(report: &'a SuiteReport, first: &ScenarioReport) -> Option<&'a ScenarioSeries> {
    let groups = series::groups(report)?;
    let mut groups = groups.into_iter();
    let own = groups.find(|(_, own)| own.first().is_some_and(|one| std::ptr::eq(one, first)));
    own.map(|(series, _)| series)
}

fn name(file: &str) -> &str {
    let last = Path::new(file).file_name().and_then(|name| name.to_str());
    last.unwrap_or(file)
}

fn versions(old: &SuiteReport, new: &SuiteReport) -> Vec<String> {
    let differ = old.brownout != new.brownout;
    let line = || {
        format!(
            "other versions of Brownout: {} and {}",
            old.brownout, new.brownout
        )
    };
    differ.then(line).into_iter().collect()
}

/// What differs of what was asked for, the gravest first.
fn unfair(old: &ScenarioReport, new: &ScenarioReport) -> Vec<String> {
    let mut notes = Vec::new();
    for (which, one) in [("old", old), ("new", new)] {
        if let Some(trouble) = &one.trouble {
            notes.push(format!(
                "the {which} run did not come to its end ({})",
                trouble.kind.heading()
            ));
        }
        for doubt in &one.doubts {
            notes.push(format!("the {which} run is in doubt: {doubt}"));
        }
    }
    if old.speed != new.speed {
        notes.push(format!("other speeds: {}x and {}x", old.speed, new.speed));
    }
    match (&old.digests, &new.digests) {
        (Some(before), Some(after)) => notes.extend(files(before, after)),
        _ => notes.push(
            "whether both ran the same scenario is not known: one of the reports was written \
             before that was noted"
                .to_owned(),
        ),
    }
    if old.seed != new.seed {
        notes.push(format!(
            "other seeds ({} and {}): loads and faults were drawn anew",
            old.seed, new.seed
        ));
    }
    let machine = |one: &ScenarioReport| {
        let machine = one.machine.as_ref();
        machine.map(|it| (it.os.clone(), it.architecture.clone(), it.processors))
    };
    if machine(old) != machine(new) {
        notes.push("other machines: times may differ for that alone".to_owned());
    }
    notes
}

fn files(old: &Digests, new: &Digests) -> Vec<String> {
    let mut notes = Vec::new();
    if old.scenario != new.scenario {
        let phases = differing(&old.phases, &new.phases);
        notes.push(if phases.is_empty() {
            "the scenario's file changed, but not its phases".to_owned()
        } else {
            format!("the scenario's phases changed: {}", phases.join(", "))
        });
    }
    let loads = differing(&old.loads, &new.loads);
    if !loads.is_empty() {
        notes.push(format!("other loads: {}", loads.join(", ")));
    }
    let ledgers = differing(&old.ledgers, &new.ledgers);
    let noted = !(old.ledgers.is_empty() || new.ledgers.is_empty());
    if noted && !ledgers.is_empty() {
        notes.push(format!("other ledgers: {}", ledgers.join(", ")));
    }
    if matches!((old.hold_us, new.hold_us), (Some(old), Some(new)) if old != new) {
        notes.push("the scenario's `hold` changed".to_owned());
    }
    if old.system != new.system {
        notes.push("the system's file is another".to_owned());
    }
    notes
}

/// The names whose digests differ, or that only one has.
fn differing(old: &BTreeMap<String, String>, new: &BTreeMap<String, String>) -> Vec<String> {
    let lacking = new.keys().filter(|name| !old.contains_key(*name));
    let changed = old
        .iter()
        .filter(|(name, digest)| new.get(*name) != Some(digest));
    let names = changed.map(|(name, _)| name).chain(lacking);
    names.map(|name| format!("`{name}`")).collect()
}

impl Pair<'_> {
    /// Why nothing measured over the whole run can be compared.
    pub fn incomparable(&self) -> Option<String> {
        if self.old.trouble.is_some() || self.new.trouble.is_some() {
            return Some("a run did not come to its end".to_owned());
        }
        if self.old.speed != self.new.speed {
            return Some("the runs had other speeds".to_owned());
        }
        let digests = |one: &ScenarioReport| one.digests.as_ref().map(|all| all.phases.clone());
        match (digests(self.old), digests(self.new)) {
            (Some(old), Some(new)) if old == new => {
                let mut phases = self.new.phases.iter();
                phases.find_map(|phase| self.faults_acted(&phase.name))
            }
            (Some(_), Some(_)) => Some("the scenario's phases changed".to_owned()),
            _ => Some("whether the phases are the same is not known".to_owned()),
        }
    }

    /// Why what a requirement was judged by was asked for otherwise: the runs had other speeds or loads, or
    /// other phases up to the last one of these; none of them: all. Where a report does not say what was
    /// asked for, it is taken at its word.
    pub fn asked_otherwise(&self, phases: &[String]) -> Option<String> {
        if self.old.speed != self.new.speed {
            return Some("the runs had other speeds".to_owned());
        }
        let (old, new) = (self.old.digests.as_ref()?, self.new.digests.as_ref()?);
        let loads = differing(&old.loads, &new.loads);
        if !loads.is_empty() {
            return Some(format!("the runs had other loads: {}", loads.join(", ")));
        }
        let own = self.new.phases.iter();
        let last = own.rev().position(|phase| phases.contains(&phase.name));
        let count = self.new.phases.len() - last.unwrap_or(0);
        let digests = |one: &ScenarioReport, of: &Digests| -> Vec<(String, Option<String>)> {
            let phases = one.phases.iter().take(count);
            let digest = |name: &String| (name.clone(), of.phases.get(name).cloned());
            phases.map(|phase| digest(&phase.name)).collect()
        };
        let (before, after) = (digests(self.old, old), digests(self.new, new));
        let changed = after
            .iter()
            .zip(before.iter().map(Some).chain(std::iter::repeat(None)));
        let mut changed = changed.filter(|(after, before)| Some(*after) != *before);
        let ((name, _), _) = changed.next()?;
        Some(format!("the phase `{name}` changed"))
    }

    /// The same of the outage as a whole.
    pub fn other_outage(&self) -> Option<String> {
        let faults = self.new.faults.iter().chain(&self.old.faults);
        let faulty: Vec<String> = faults.map(|fault| fault.phase.clone()).collect();
        self.asked_otherwise(&faulty)
    }

    /// Why nothing measured in this phase can be compared.
    pub fn incomparable_phase(&self, phase: &str) -> Option<String> {
        if self.old.trouble.is_some() || self.new.trouble.is_some() {
            return Some("a run did not come to its end".to_owned());
        }
        if self.old.speed != self.new.speed {
            return Some("the runs had other speeds".to_owned());
        }
        let digest = |one: &ScenarioReport| {
            let digests = one.digests.as_ref();
            digests.and_then(|all| all.phases.get(phase).cloned())
        };
        match (digest(self.old), digest(self.new)) {
            (Some(old), Some(new)) if old == new => self.faults_acted(phase),
            (Some(_), Some(_)) => Some(format!("the phase `{phase}` changed")),
            _ => Some(format!(
                "whether the phase `{phase}` is the same is not known"
            )),
        }
    }

    /// A fault of the phase that acted in one of the runs only, and should have acted in the other,
    /// makes two different outages of it. Where a run is not in doubt for it, the system itself
    /// kept away from what was faulty, and that is its merit.
    fn faults_acted(&self, phase: &str) -> Option<String> {
        let unlike = |fault: &&FaultReport| {
            let others = |one: &ScenarioReport| {
                let mut faults = one.faults.iter();
                let missing = faults.any(|other| other.id == fault.id && other.hits == 0);
                missing && !one.doubts.is_empty()
            };
            fault.phase == phase && fault.hits > 0 && (others(self.old) || others(self.new))
        };
        let mut faults = self.old.faults.iter().chain(&self.new.faults);
        let fault = faults.find(unlike)?;
        Some(format!("`{}` acted in one of the runs only", fault.label))
    }

    /// Why nothing measured of this load can be compared.
    pub fn incomparable_load(&self, load: &str) -> Option<String> {
        let digest = |one: &ScenarioReport| {
            let digests = one.digests.as_ref();
            digests.map(|all| all.loads.get(load).cloned())
        };
        if digest(self.old) != digest(self.new) {
            return Some(format!("the load `{load}` changed"));
        }
        let missed = |one: &ScenarioReport| one.loads.iter().any(|it| it.name == load && late(it));
        (missed(self.old) || missed(self.new))
            .then(|| format!("the load `{load}` missed its schedule"))
    }

    /// Why nothing measured of this ledger can be compared. Reports by a Brownout that did not note
    /// what ledgers were asked for are taken at their word.
    pub fn incomparable_ledger(&self, ledger: &str) -> Option<String> {
        let digest = |one: &'_ ScenarioReport| {
            let digests = one.digests.as_ref();
            digests.and_then(|all| all.ledgers.get(ledger).cloned())
        };
        let (old, new) = (digest(self.old)?, digest(self.new)?);
        (old != new).then(|| format!("the ledger `{ledger}` changed"))
    }

    /// The phases that both runs have, in order, with whether a fault is in force in them.
    pub fn phases(&self) -> impl Iterator<Item = (&str, bool)> {
        let both = self.new.phases.iter().filter(|phase| {
            let began = |one: &ScenarioReport| {
                let mut phases = one.phases.iter();
                phases.any(|other| other.name == phase.name && other.began.is_some())
            };
            began(self.old) && began(self.new)
        });
        both.map(|phase| {
            let mut faults = self.new.faults.iter();
            let faulty = faults.any(|fault| fault.phase == phase.name);
            (phase.name.as_str(), faulty)
        })
    }
}

/// Whether a load missed its schedule, as verdicts have it: more than two operations, and more
/// than one in a hundred.
fn late(load: &LoadReport) -> bool {
    load.missed > 2 && load.missed * 100 > load.outcomes.total()
}

/// A verdict that stands only where nothing makes the measure incomparable.
pub fn unless(why: Option<String>, verdict: Verdict) -> Verdict {
    why.map_or(verdict, Verdict::unknown)
}
