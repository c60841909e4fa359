//! What is tried, and in which order.

use super::{Aim, Beside, Cell, Kind, Matrix, Met, Reference, Trial};
use crate::scenario::System;
use std::sync::Arc;

/// What somebody wants to be tried.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// These dependencies, by name; empty: all.
    pub dependencies: Vec<Arc<str>>,
    /// These kinds; empty: all.
    pub kinds: Vec<Kind>,
}

impl Wanted {
    fn has_kind(&self, kind: Kind) -> bool {
        self.kinds.is_empty() || self.kinds.contains(&kind)
    }
}

/// The kinds that a dependency is put into beside the trouble that it saved the system from.
const BESIDE: &[Kind] = &[Kind::Hang, Kind::Error];

/// Every single trial, the most telling first: kind by kind in the order of [`Kind::ALL`], and of each
/// kind the dependencies that most loads call, and most often, first. Those that
/// only the system itself calls come behind, and those that nobody calls last, as trials that are not
/// made.
pub fn aims(reference: &Reference, system: &System, wanted: &Wanted) -> (Vec<Aim>, Vec<Trial>) {
    let meant =
        |name: &Arc<str>| wanted.dependencies.is_empty() || wanted.dependencies.contains(name);
    let mut called: Vec<(&Arc<str>, usize, f64)> = Vec::new();
    let mut left_out = Vec::new();
    for dependency in system.dependencies.iter().filter(|one| meant(&one.name)) {
        let name = &dependency.name;
        let of_it = reference.uses.iter().filter(|one| one.dependency == *name);
        let used: Vec<f64> = of_it
            .filter(|one| one.is_use())
            .map(super::Use::calls_each)
            .collect();
        if used.is_empty() && !reference.by_itself.contains(name) {
            left_out.push(name);
        } else {
            called.push((name, used.len(), used.iter().sum()));
        }
    }
    called.sort_by(|one, other| other.1.cmp(&one.1).then(other.2.total_cmp(&one.2)));
    let kinds = || Kind::ALL.iter().filter(|kind| wanted.has_kind(**kind));
    let mut aims = Vec::new();
    for kind in kinds() {
        aims.extend(called.iter().map(|(name, ..)| Aim::single(name, *kind)));
    }
    let why = "nothing calls it in the run without faults";
    let left_out = left_out
        .into_iter()
        .flat_map(|name| kinds().map(move |kind| Trial::left_out(Aim::single(name, *kind), why)));
    (aims, left_out.collect())
}

/// The pairs that are worth trying when all singles are done: a trouble that a load came through by
/// another path, and that path in trouble too. The other path is a dependency that was called more
/// than before, or, where a fallback answered, any other that the load calls anyway and that it came
/// through the trouble of as well. A pair of which one part alone was too much is none: it would show
/// nothing new. Of several troubles that led to the same dependency only the most telling one is
/// taken, and none of the slow ones: what answers late in the end needed nothing else.
pub fn pairs(matrix: &Matrix) -> Vec<Aim> {
    let mut pairs: Vec<Aim> = Vec::new();
    for trial in &matrix.trials {
        let may_be_saved = trial.aim.beside.is_none() && !trial.aim.kind.takes_delay();
        let Some(tried) = trial.tried().filter(|_| may_be_saved) else {
            continue;
        };
        let saved: Vec<&Cell> = tried
            .cells
            .iter()
            .filter(|cell| cell.uses && came_through(cell))
            .collect();
        for other in paths(matrix, &trial.aim.dependency, &tried.leant_on, &saved) {
            let is_known = pairs.iter().any(|pair| {
                let is_in = |name: &Arc<str>| pair.troubles().any(|(known, _)| known == name);
                is_in(&trial.aim.dependency) && is_in(&other)
            });
            if is_known {
                continue;
            }
            let tells = |kind: &&Kind| {
                let mut loads = saved.iter();
                loads.any(|cell| alone(matrix, &cell.load, &other, **kind) != Some(false))
            };
            let made: Vec<Aim> = BESIDE
                .iter()
                .filter(tells)
                .map(|kind| Aim {
                    beside: Some(Beside {
                        dependency: Arc::clone(&other),
                        kind: *kind,
                    }),
                    ..trial.aim.clone()
                })
                .collect();
            pairs.extend(made);
        }
    }
    pairs
}

fn came_through(cell: &Cell) -> bool {
    matches!(cell.met, Met::Answered | Met::Degraded)
}

/// Whether a load came through this trouble of a dependency alone; `None` where that was not shown.
fn alone(matrix: &Matrix, load: &str, dependency: &str, kind: Kind) -> Option<bool> {
    let is_it = |trial: &&Trial| {
        let aim = &trial.aim;
        aim.beside.is_none() && *aim.dependency == *dependency && aim.kind == kind
    };
    let trial = matrix.trials.iter().find(is_it)?;
    let mut cells = trial.tried()?.cells.iter();
    let cell = cells.find(|cell| *cell.load == *load)?;
    cell.met.is_telling().then(|| came_through(cell))
}

/// The dependencies that may have saved these loads from the trouble of another.
fn paths(
    matrix: &Matrix,
    troubled: &Arc<str>,
    leant_on: &[Arc<str>],
    saved: &[&Cell],
) -> Vec<Arc<str>> {
    if saved.is_empty() {
        return Vec::new();
    }
    let mut paths = leant_on.to_vec();
    let uses = matrix.reference.iter().flat_map(|one| &one.uses);
    let others: Vec<&super::Use> = uses
        .filter(|one| one.is_use() && one.dependency != *troubled)
        .collect();
    for cell in saved.iter().filter(|cell| cell.met == Met::Degraded) {
        let own = others.iter().filter(|one| one.load == cell.load);
        for one in own {
            let survives =
                |kind: &Kind| alone(matrix, &cell.load, &one.dependency, *kind) == Some(true);
            if BESIDE.iter().any(survives) && !paths.contains(&one.dependency) {
                paths.push(Arc::clone(&one.dependency));
            }
        }
    }
    paths
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{history::sample, matrix::Use};

    #[test]
    fn kind_by_kind_and_of_each_what_most_loads_call_comes_first() {
        let used = |load: &str, dependency: &str, calls| Use {
            load: load.into(),
            dependency: dependency.into(),
            operations: 10,
            calls,
            asked: Default::default(),
        };
        let reference = Reference {
            sick: None,
            uses: vec![
                used("ask", "s3", 0),
                used("train", "s3", 90),
                used("ask", "backup", 1),
                used("train", "backup", 1),
            ],
            by_itself: Vec::new(),
            named_by: Vec::new(),
            starts_us: 0,
            history: None,
        };
        let wanted = Wanted {
            dependencies: Vec::new(),
            kinds: vec![Kind::Slow, Kind::Hang],
        };
        let (made, left_out) = aims(&reference, &sample::system(), &wanted);
        let said: Vec<String> = made.iter().map(ToString::to_string).collect();
        assert_eq!(said, ["backup hang", "s3 hang", "backup slow", "s3 slow"]);
        let others: Vec<String> = left_out.iter().map(|one| one.aim.to_string()).collect();
        assert!(others.contains(&"pager hang".to_owned()), "{others:?}");
        let polled = Reference {
            by_itself: vec!["pager".into()],
            ..reference.clone()
        };
        let (made, left_out) = aims(&polled, &sample::system(), &wanted);
        assert_eq!(made[2].to_string(), "pager hang", "behind the loads' own");
        assert!(left_out.iter().all(|one| *one.aim.dependency != *"pager"));
        let wanted = Wanted {
            dependencies: vec!["s3".into()],
            kinds: Vec::new(),
        };
        let (made, left_out) = aims(&reference, &sample::system(), &wanted);
        assert_eq!((made.len(), left_out.len()), (Kind::ALL.len(), 0));
    }
}
