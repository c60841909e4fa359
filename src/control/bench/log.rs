//! What was done by hand, in the order in which it was done: the session that a scenario can be made
//! of.

use crate::{
    control::session::{Action, What},
    units::Micros,
};
use std::collections::{BTreeSet, VecDeque};

/// The most actions that are kept; beyond them the oldest is forgotten that placed nothing of what is
/// in force.
pub(crate) const ACTIONS_MAX: usize = 1_000;

/// The most bytes that they take together, roughly; more than the faults that may be in force at once.
const BYTES_MAX: usize = 16 << 20;

/// A session.
#[derive(Debug, Default)]
pub(crate) struct Log {
    since: Micros,
    actions: VecDeque<Action>,
    bytes: usize,
    /// The faults that were placed and are in force.
    in_force: BTreeSet<u64>,
    /// How many actions were forgotten.
    forgotten: u64,
}

impl Log {
    /// Begins a new one, with what is in force already.
    pub(crate) fn restart(&mut self, at: Micros, in_force: impl Iterator<Item = What>) {
        *self = Self {
            since: at,
            ..Self::default()
        };
        in_force.for_each(|what| self.note(at, what));
    }

    /// Notes what was done.
    pub(crate) fn note(&mut self, at: Micros, what: What) {
        match &what {
            What::Placed { id, .. } => {
                self.in_force.insert(*id);
            }
            What::Lifted { id } | What::Expired { id } => {
                self.in_force.remove(id);
            }
            // A lease is renewed as long as its program lives: the last time says it all.
            What::Renewed { .. } => {
                if let Some(place) = self.actions.iter().rposition(|one| one.what == what) {
                    self.remove(place);
                }
            }
            What::Made { .. } | What::Removed { .. } => {}
        }
        let action = Action { at, what };
        self.bytes += cost(&action);
        self.actions.push_back(action);
        while self.actions.len() > ACTIONS_MAX || self.bytes > BYTES_MAX {
            let Some(place) = self.actions.iter().position(|one| !self.is_needed(one)) else {
                return;
            };
            self.remove(place);
            self.forgotten += 1;
        }
    }

    /// Whether it put something in force that still is.
    fn is_needed(&self, action: &Action) -> bool {
        matches!(&action.what, What::Placed { id, .. } if self.in_force.contains(id))
    }

    fn remove(&mut self, place: usize) {
        if let Some(action) = self.actions.remove(place) {
            self.bytes -= cost(&action);
        }
    }

    /// When it began.
    pub(crate) fn since(&self) -> Micros {
        self.since
    }

    /// What was done.
    pub(crate) fn actions(&self) -> Vec<Action> {
        self.actions.iter().cloned().collect()
    }

    /// How many actions were forgotten, because there were more than are kept.
    pub(crate) fn forgotten(&self) -> u64 {
        self.forgotten
    }
}

/// The bytes that an action takes, roughly.
fn cost(action: &Action) -> usize {
    let texts = match &action.what {
        What::Placed {
            label, on, toml, ..
        } => {
            let names = on.iter().map(|name| name.len() + size_of::<String>());
            label.len() + toml.len() + names.sum::<usize>()
        }
        What::Made { name } | What::Removed { name } => name.len(),
        What::Lifted { .. } | What::Expired { .. } | What::Renewed { .. } => 0,
    };
    size_of::<Action>() + texts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(id: u64, toml: &str) -> What {
        What::Placed {
            id,
            label: "error on s3".to_owned(),
            on: vec!["s3".to_owned()],
            toml: toml.into(),
        }
    }

    #[test]
    fn the_oldest_goes_first() {
        let mut log = Log::default();
        for id in 0..ACTIONS_MAX as u64 + 5 {
            log.note(Micros(id), What::Lifted { id });
        }
        let actions = log.actions();
        assert_eq!(actions.len(), ACTIONS_MAX);
        assert_eq!(actions[0].what, What::Lifted { id: 5 });
        assert_eq!(log.forgotten(), 5);
        log.restart(Micros(7), std::iter::once(What::Lifted { id: 1 }));
        assert_eq!((log.since(), log.actions().len()), (Micros(7), 1));
        assert_eq!(log.forgotten(), 0);
    }

    #[test]
    fn a_fault_that_is_renewed_all_the_while_stays() {
        let mut log = Log::default();
        log.note(Micros(1), placed(1, "x"));
        for at in 2..3_000 {
            log.note(Micros(at), What::Renewed { id: 1 });
        }
        let what: Vec<What> = log.actions().into_iter().map(|one| one.what).collect();
        assert_eq!(what, [placed(1, "x"), What::Renewed { id: 1 }]);
        assert_eq!(log.actions()[1].at, Micros(2_999));
        assert_eq!(log.forgotten(), 0);
    }

    #[test]
    fn what_is_in_force_is_not_forgotten_and_what_is_lifted_is() {
        let mut log = Log::default();
        log.note(Micros(0), placed(1, "x"));
        for nth in 2..3_000 {
            log.note(Micros(nth), placed(nth, "y"));
            log.note(Micros(nth), What::Lifted { id: nth });
        }
        let actions = log.actions();
        assert_eq!(actions.len(), ACTIONS_MAX);
        assert_eq!(actions[0].what, placed(1, "x"));
        log.note(Micros(5_000), What::Expired { id: 1 });
        log.note(Micros(5_000), placed(5_000, "z"));
        assert!(log.actions().iter().all(|one| one.what != placed(1, "x")));
    }

    #[test]
    fn it_never_holds_more_bytes_than_it_may() {
        let mut log = Log::default();
        let long = "x".repeat(60 << 10);
        for id in 0..900 {
            log.note(Micros(id), placed(id, &long));
            log.note(Micros(id), What::Lifted { id });
        }
        assert!(log.bytes <= BYTES_MAX, "{}", log.bytes);
        let all: usize = log.actions().iter().map(cost).sum();
        assert_eq!(all, log.bytes);
        let kept = log.actions();
        assert_eq!(
            kept.last().map(|one| &one.what),
            Some(&What::Lifted { id: 899 })
        );
        assert!(kept.len() < 900 && log.forgotten() > 0, "{}", kept.len());
    }
}
